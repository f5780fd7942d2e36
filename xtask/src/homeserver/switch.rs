//! The CONNECT proxies through which all federation runs, one a server, so that each knows its connections' source.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::links::Links;
use super::names::ServerNumber;
use super::ports::loopback;
use super::status::LinkState;
use super::well_known::{self, read_head};

/// The port of every server's name under which its federation is reached.
pub(super) const FEDERATION_PORT: u16 = 8448;
/// The port of every server's name under which its federation address is looked up.
const LOOK_UP_PORT: u16 = 443;

/// What the proxies share.
pub(super) struct Switch {
    pub(super) links: Arc<Links>,
    pub(super) acceptor: TlsAcceptor,
    /// The loopback ports where the servers' federation is, in the servers' order.
    pub(super) federation_ports: Vec<u16>,
}

/// The link of a connection's two ends; none if a server connects to itself.
type Link = Option<watch::Receiver<LinkState>>;

impl Switch {
    /// Forwards the connections of `source` for ever.
    pub(super) async fn serve(self: Arc<Self>, source: ServerNumber, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, say: let others end first.
                tokio::task::yield_now().await;
                continue;
            };
            let switch = Arc::clone(&self);
            // A connection that fails is its two ends' concern.
            tokio::spawn(async move { switch.forward(source, stream).await });
        }
    }

    async fn forward(&self, source: ServerNumber, mut stream: TcpStream) -> std::io::Result<()> {
        let head = read_head(&mut stream).await?;
        let Some((target, port)) = parse_connect(&head) else {
            return refuse(stream, "405 Method Not Allowed").await;
        };
        match port {
            LOOK_UP_PORT => {
                accept(&mut stream).await?;
                well_known::answer(stream, self.acceptor.clone(), target).await
            }
            FEDERATION_PORT => self.federate(source, target, stream).await,
            _ => refuse(stream, "403 Forbidden").await,
        }
    }

    async fn federate(&self, source: ServerNumber, target: ServerNumber, mut stream: TcpStream) -> std::io::Result<()> {
        let port = self.federation_ports.get(target.index());
        let (Some(port), Ok(mut link)) = (port, self.link(source, target)) else {
            return refuse(stream, "502 Bad Gateway").await;
        };
        if !passable(&mut link).await {
            return refuse(stream, "502 Bad Gateway").await;
        }
        let Ok(remote) = TcpStream::connect(loopback(*port)).await else {
            return refuse(stream, "502 Bad Gateway").await;
        };
        accept(&mut stream).await?;
        tunnel(stream, remote, link).await;
        Ok(())
    }

    fn link(&self, source: ServerNumber, target: ServerNumber) -> Result<Link, super::Error> {
        if source == target {
            return Ok(None);
        }
        self.links.watch(source, target).map(Some)
    }
}

/// Reads `CONNECT hs2.test:8448 HTTP/1.x`.
fn parse_connect(head: &[u8]) -> Option<(ServerNumber, u16)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("CONNECT ")?.split(' ').next()?;
    let (host, port) = target.rsplit_once(':')?;
    Some((host.parse().ok()?, port.parse().ok()?))
}

async fn accept(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await
}

async fn refuse(mut stream: TcpStream, status: &str) -> std::io::Result<()> {
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(response.as_bytes()).await
}

/// Waits while the link is dropped; then tells whether it is up.
async fn passable(link: &mut Link) -> bool {
    let Some(link) = link else { return true };
    let state = link.wait_for(|state| *state != LinkState::Dropped).await.map(|state| *state);
    matches!(state, Ok(LinkState::Up))
}

/// Returns when the link is cut.
async fn until_cut(mut link: Link) {
    match &mut link {
        None => std::future::pending().await,
        Some(link) => {
            let _gone_or_cut = link.wait_for(|state| *state == LinkState::Cut).await;
        }
    }
}

/// Forwards both ways until both ends are done, one fails or the link is cut.
async fn tunnel(near: TcpStream, far: TcpStream, link: Link) {
    let _unsupported = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let both =
        async { tokio::try_join!(pump(near_read, far_write, link.clone()), pump(far_read, near_write, link.clone())) };
    tokio::select! {
        _ = both => {}
        () = until_cut(link.clone()) => {}
    }
}

/// Forwards one way while the link is up, and stands still while it is dropped.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: Link) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if !passable(&mut link).await {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_heads_are_parsed() {
        let head = b"CONNECT hs2.test:8448 HTTP/1.0\r\nHost: x\r\n\r\n";
        assert_eq!(parse_connect(head), Some((ServerNumber::HS2, 8448)));
        assert_eq!(parse_connect(b"GET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(parse_connect(b"CONNECT matrix.org:443 HTTP/1.1\r\n\r\n"), None);
    }
}
