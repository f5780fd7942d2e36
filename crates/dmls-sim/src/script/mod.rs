//! Scripts: what happens in a run, one step a line, so that a run that failed is a short file.
//!
//! ```text
//! seed 17
//! servers hs1 hs2
//! device alice @alice:hs1
//! create alice
//! say alice good morning
//! close
//! ```
//!
//! A step that makes no sense (a device that is not there, something that a server refuses) does nothing, so that any
//! part of a script is a script.

mod ploy;
mod text;

use crate::client::CrashPoint;
use crate::net::Faults;
use crate::trace::{Name, ServerName};
use crate::world::{Crypto, Options};

pub use ploy::{Lie, Ploy};
pub use text::{BadLine, parse};

/// The one room of every script.
pub const ROOM: &str = "!room";

/// A run that can be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Seed, servers, cryptography.
    pub options: Options,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Script {
    /// A script without steps.
    pub fn new(seed: u64, servers: &[&str]) -> Self {
        let servers = servers.iter().map(|name| ServerName::from(*name)).collect();
        let options = Options { seed, servers, crypto: Crypto::Real, soft_failed_by_id: false };
        Self { options, steps: Vec::new() }
    }
}

/// One step. Devices are named as in the script, users by their full ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A device of a user comes to be.
    Device(Name, String),
    /// A device makes the room.
    Create(Name),
    /// A device's user invites somebody.
    Invite(Name, String),
    /// A device's user joins.
    Join(Name),
    /// A device's user leaves.
    Leave(Name),
    /// A device's user kicks somebody.
    Kick(Name, String),
    /// A device's user bans somebody.
    Ban(Name, String),
    /// A device's user gives somebody power.
    Power(Name, String, i64),
    /// A device is given a message to send.
    Say(Name, String),
    /// A device is asked for a rekey.
    Rekey(Name),
    /// A device is logged out for good.
    Logout(Name),
    /// A device loses its network.
    Offline(Name),
    /// It has it again.
    Online(Name),
    /// A device loses what it has not stored, and is down.
    Crash(Name),
    /// The same at a point to come.
    CrashAt(Name, CrashPoint),
    /// A device that is down is started.
    Restart(Name),
    /// A device's disk takes so many more writes and then fails once.
    FillDisk(Name, usize),
    /// A second copy of a device begins to live beside it.
    Clone(Name, Name),
    /// A copy of a device's store is laid aside.
    Copy(Name),
    /// A device goes back to that copy.
    Restore(Name),
    /// A thief copies a device's store.
    Steal(Name),
    /// Somebody claims all one-time keys of a device.
    Exhaust(Name),
    /// A device's clock is off by so many milliseconds.
    Clock(Name, i64),
    /// A device of a malicious member does something; from then on nothing is asked of it.
    Plot(Name, Ploy),
    /// A device is logged in anew under the same id with new keys; whoever has the old ones goes on with them.
    Replace(Name),
    /// A server lies from now on.
    Lie(ServerName, Lie),
    /// A server tells all that it kept back, and the truth.
    Truth(ServerName),
    /// Two servers lose sight of each other.
    Cut(ServerName, ServerName),
    /// They see each other again.
    Heal(ServerName, ServerName),
    /// A server is restarted, and forgets all but the newest of what it could not send.
    RestartServer(ServerName),
    /// What a link does from now on; a server's link to itself is how it reaches its own clients.
    Link(ServerName, ServerName, Faults),
    /// So many milliseconds pass.
    Wait(u64),
    /// Time passes until nothing is posted for a while.
    Settle,
    /// Everything is mended, all are online and settle, everybody says a last message, and all settle again.
    Close,
}
