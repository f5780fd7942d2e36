//! Loopback ports that stay ours.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::error::Error;

/// A loopback port that no other process can be given.
///
/// The socket is bound but does not listen, so a connection is refused unless the server that the port is meant for
/// listens: it may bind it too, as both set `SO_REUSEADDR`. The port so survives a stop and start of that server.
#[derive(Debug)]
pub(super) struct Reserved {
    _socket: TcpSocket,
    pub(super) port: u16,
}

impl Reserved {
    /// Reserves `preferred` if it is free, else any free port.
    pub(super) fn new(preferred: Option<u16>) -> Result<Self, Error> {
        if let Some(port) = preferred
            && let Ok(reserved) = Self::bind(port)
        {
            return Ok(reserved);
        }
        Self::bind(0).map_err(Error::system("reserving a loopback port"))
    }

    fn bind(port: u16) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(loopback(port))?;
        let port = socket.local_addr()?.port();
        Ok(Self { _socket: socket, port })
    }
}

/// Listens on `preferred` if it is free, else on any free loopback port.
pub(super) async fn listen(preferred: Option<u16>) -> Result<TcpListener, Error> {
    if let Some(port) = preferred
        && let Ok(listener) = TcpListener::bind(loopback(port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(loopback(0)).await.map_err(Error::system("listening on loopback"))
}

/// Gives the port of a listener.
pub(super) fn port_of(listener: &TcpListener) -> Result<u16, Error> {
    Ok(listener.local_addr().map_err(Error::system("reading a listener's port"))?.port())
}

/// Gives the address of a loopback port.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
