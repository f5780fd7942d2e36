//! What `status` shows.

use serde::{Deserialize, Serialize};

use super::names::ServerNumber;

/// The state of an instance's servers and links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The servers, in order.
    pub servers: Vec<ServerStatus>,
    /// Every pair of servers, in order.
    pub links: Vec<LinkStatus>,
}

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name, such as `hs1.test`.
    pub name: ServerNumber,
    /// Where clients reach it, such as `http://127.0.0.1:40001`.
    pub url: String,
    /// Whether its process is alive.
    pub running: bool,
}

/// The state of the link of two servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The lower server.
    pub a: ServerNumber,
    /// The higher server.
    pub b: ServerNumber,
    /// What happens to connections between them, in both directions.
    pub state: LinkState,
}

/// What happens to connections between two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// They pass.
    Up,
    /// They are refused; those that existed were ended.
    Cut,
    /// They hang; those that existed stand still.
    Dropped,
}
