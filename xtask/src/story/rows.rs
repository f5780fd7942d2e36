//! What the command prints with `--json`, one object a line.

use std::fmt;

use serde::Deserialize;

/// A device of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Device {
    /// The full user id.
    pub user: String,
    /// The device id.
    pub device: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.user, self.device)
    }
}

/// Number and creator of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EpochName {
    /// Its number as MLS counts it.
    pub number: u64,
    /// Its creator's user.
    pub user: String,
    /// Its creator's device.
    pub device: String,
}

/// A line of `send`.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// The room event.
    pub event_id: String,
    /// The epoch's name.
    pub epoch: EpochName,
    /// The epoch.
    pub epoch_id: String,
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Utd {
    /// The stable code.
    pub code: String,
    /// A sentence.
    pub text: String,
    /// What is being done about it.
    pub doing: String,
    /// The precise code.
    pub reason: Option<String>,
}

/// A line of `messages`.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// The room event, once the server has it.
    pub event_id: Option<String>,
    /// The Matrix user that sent it.
    pub sender: String,
    /// What it says, if it can be read.
    pub body: Option<String>,
    /// The epoch, if it is known.
    pub epoch_id: Option<String>,
    /// The devices that can read it, if they are known and were asked for.
    #[serde(default)]
    pub readers: Option<Vec<Device>>,
    /// Why it cannot be read.
    pub utd: Option<Utd>,
}

impl Message {
    /// Gives the code of a message that cannot be read.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.utd.as_ref().map(|utd| utd.code.as_str())
    }
}

/// A line of `members`.
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    /// The device.
    pub device: Device,
    /// Whether its user is joined.
    pub in_room: bool,
    /// Whether it is in the canonical head.
    pub in_head: bool,
    /// Whether its owner vouches for it.
    pub endorsed: bool,
    /// Why not, if something is amiss.
    pub reason: Option<String>,
}

/// A line of `log`.
#[derive(Clone, Debug, Deserialize)]
pub struct Epoch {
    /// The epoch.
    pub epoch_id: String,
    /// Its number as MLS counts it.
    pub number: u64,
    /// Who made it.
    pub creator: Device,
    /// The epoch that it was made on.
    pub parent: Option<String>,
    /// The heads that it merged in.
    pub resolves: Vec<String>,
    /// genesis, commit, merge or external.
    pub kind: String,
    /// The devices that it added.
    pub added: Vec<Device>,
    /// The devices that it removed.
    pub removed: Vec<Device>,
    /// Whether nothing is built on it.
    pub head: bool,
    /// Whether this device would send in it.
    pub canonical: bool,
}

/// A line of `rooms`.
#[derive(Clone, Debug, Deserialize)]
pub struct Room {
    /// The room.
    pub room_id: String,
    /// Joined, invited or left.
    pub membership: String,
}
