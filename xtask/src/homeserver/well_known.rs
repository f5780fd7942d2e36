//! Answers the servers' look-ups of one another's federation address.
//!
//! The switch answers them itself, whatever is cut or stopped, because Synapse asks DNS when a look-up fails
//! (Server-Server API §"Resolving server names").

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::names::ServerNumber;
use super::switch::FEDERATION_PORT;

/// The longest request head that is read.
const LONGEST_HEAD: usize = 16 * 1024;

/// Answers one request on a connection that the caller meant for `server`, port 443.
pub(super) async fn answer(stream: TcpStream, acceptor: TlsAcceptor, server: ServerNumber) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let head = read_head(&mut stream).await?;
    let response = if head.starts_with(b"GET /.well-known/matrix/server ") {
        let body = format!("{{\"m.server\": \"{server}:{FEDERATION_PORT}\"}}");
        response("200 OK", &body)
    } else {
        response("404 Not Found", "{}")
    };
    write_all(&mut stream, response.as_bytes()).await
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

async fn write_all<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await
}

/// Reads up to and including the blank line that ends an HTTP head.
///
/// One byte at a time, so that nothing after the head is taken from the stream.
pub(super) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}
