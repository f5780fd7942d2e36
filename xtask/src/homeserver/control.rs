//! How a command talks to the process that runs an instance: one line of JSON each way, on a loopback port.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::error::Error;
use super::names::{ServerNumber, UserId};
use super::paths::{self, Layout};
use super::ports::{listen, loopback, port_of};
use super::random::Secret;
use super::status::{LinkState, Status};
use super::supervisor::{Files, Supervisor};

/// The longest request line that is read.
const LONGEST_REQUEST: u64 = 64 * 1024;

/// Where an instance is controlled; a file in its directory, which only its user can read.
#[derive(Serialize, Deserialize)]
struct Address {
    port: u16,
    token: Secret,
}

/// What a command asks for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Request {
    Ensure,
    Status,
    Cut { a: ServerNumber, b: ServerNumber },
    Drop { a: ServerNumber, b: ServerNumber },
    Heal { a: ServerNumber, b: ServerNumber },
    Stop { server: ServerNumber },
    Start { server: ServerNumber },
    User { server: ServerNumber, name: String, password: Secret },
    Down,
}

/// What a command is told.
#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(super) enum Reply {
    Done,
    Started { servers: Vec<ServerNumber> },
    Status { status: Status },
    User { id: UserId },
    Failed { code: String, message: String },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    token: Secret,
    request: Request,
}

/// What the process itself must know of.
pub(super) enum Notice {
    /// The instance was asked for again: its lifetime starts anew.
    Renewed,
    /// The instance has gone, and who asked for that was told.
    Down,
}

/// Opens the instance to control; served for ever in the background.
pub(super) async fn serve(supervisor: &Arc<Supervisor>, notices: mpsc::UnboundedSender<Notice>) -> Result<(), Error> {
    let listener = listen(None).await?;
    let address = Address { port: port_of(&listener)?, token: Secret::random()? };
    paths::write_json(&supervisor.layout.control(), &address)?;
    tokio::spawn(accept(listener, Arc::clone(supervisor), address.token, notices));
    Ok(())
}

async fn accept(
    listener: TcpListener,
    supervisor: Arc<Supervisor>,
    token: Secret,
    notices: mpsc::UnboundedSender<Notice>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        // A command that goes away early does not get its answer.
        tokio::spawn(answer(stream, Arc::clone(&supervisor), token.clone(), notices.clone()));
    }
}

async fn answer(
    mut stream: tokio::net::TcpStream,
    supervisor: Arc<Supervisor>,
    token: Secret,
    notices: mpsc::UnboundedSender<Notice>,
) -> std::io::Result<()> {
    let mut line = String::new();
    let (reading, mut writing) = stream.split();
    tokio::io::BufReader::new(reading.take(LONGEST_REQUEST)).read_line(&mut line).await?;
    let envelope: Envelope = serde_json::from_str(&line)?;
    if envelope.token != token {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let notice = match envelope.request {
        Request::Ensure => Some(Notice::Renewed),
        Request::Down => Some(Notice::Down),
        _ => None,
    };
    let reply = handle(&supervisor, envelope.request).await;
    let reply = reply.unwrap_or_else(|error| failed(&error));
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    let written = writing.write_all(text.as_bytes()).await;
    if let Some(notice) = notice {
        // The receiver is gone if the process ends anyway.
        let _gone = notices.send(notice);
    }
    written
}

fn failed(error: &Error) -> Reply {
    Reply::Failed { code: error.code().to_owned(), message: error.to_string() }
}

async fn handle(supervisor: &Arc<Supervisor>, request: Request) -> Result<Reply, Error> {
    match request {
        Request::Ensure => {
            return Ok(Reply::Started { servers: supervisor.ensure().await? });
        }
        Request::Status => {
            return Ok(Reply::Status { status: supervisor.status().await });
        }
        Request::User { server, name, password } => {
            return Ok(Reply::User { id: supervisor.user(server, &name, &password).await? });
        }
        Request::Cut { a, b } => supervisor.sever(a, b, LinkState::Cut)?,
        Request::Drop { a, b } => supervisor.sever(a, b, LinkState::Dropped)?,
        Request::Heal { a, b } => supervisor.heal(a, b).await?,
        Request::Stop { server } => supervisor.stop(server).await?,
        Request::Start { server } => supervisor.start(server).await?,
        Request::Down => supervisor.shut_down(Files::Remove).await?,
    }
    Ok(Reply::Done)
}

/// Asks the process that runs the instance, and waits for its answer.
///
/// # Errors
/// [`Error::NotUp`] if there is no such process, [`Error::Switch`] with what it reported.
pub(super) fn request(layout: &Layout, request: Request) -> Result<Reply, Error> {
    let not_up = || Error::NotUp(layout.instance.clone());
    let text = std::fs::read(layout.control()).map_err(|_| not_up())?;
    let address: Address = serde_json::from_slice(&text).map_err(|_| not_up())?;
    let stream = TcpStream::connect(loopback(address.port)).map_err(|_| not_up())?;
    let envelope = Envelope { token: address.token, request };
    let reply = exchange(stream, &envelope).map_err(|error| Error::SwitchLost(error.to_string()))?;
    match reply {
        Reply::Failed { code, message } => Err(Error::Switch { code, message }),
        reply => Ok(reply),
    }
}

fn exchange(mut stream: TcpStream, envelope: &Envelope) -> std::io::Result<Reply> {
    let mut text = serde_json::to_string(envelope)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}
