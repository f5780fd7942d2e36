//! The driver: one device's profile, its machine and its identity, driven against its homeserver.
//!
//! [`Local`] reads a profile without any network. [`Client`] drives it: [`Client::run`] syncs, carries the machine's
//! requests to the homeserver and hands the answers back, until what the caller waits for has come ([`Until`]).
//! Everything that counts is stored before it is sent, so a client may be dropped, or its process killed, at any point.

mod account;
mod carry;
mod error;
mod flight;
mod local;
mod note;
mod profile;
mod pull;
mod refresh;
mod rooms;
mod run;
mod session;
mod setup;
mod system;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dmls::id::Timestamp;
use dmls_matrix::RoomId;

use crate::http::{Api, Patience};
use crate::identity::Identity;
use flight::Flight;

pub use account::Checkup;
pub use error::{ClientError, MachineError};
pub use local::Local;
pub use note::{Note, Observer};
pub use profile::{KeySource, Profile};
pub use rooms::{Created, NewRoom};
pub use run::{Ended, Until};
pub use session::{Session, Stage};
pub use setup::{Login, Standing};
pub use system::{SystemEntropy, now};

/// Label of the identity database's key among the store's subkeys.
const IDENTITY_LABEL: &str = "matrix-sdk-crypto";

/// How patient a command is with its homeserver; the machine has its own patience on top.
const PATIENCE: Patience =
    Patience { attempt: Duration::from_secs(35), limited: Duration::from_secs(60), offline: Duration::from_secs(2) };

/// One device, driven against its homeserver.
pub struct Client {
    local: Local,
    identity: Arc<Identity>,
    api: Api,
    flight: Flight,
    observer: Observer,
    /// A sync was taken in since the client was opened.
    synced: bool,
    /// When devices are asked for without an occasion; read from the store when first needed.
    refresh_at: Option<Timestamp>,
    /// Rooms in which something changed since the caller last asked.
    changed: BTreeSet<RoomId>,
}

impl Client {
    /// The profile.
    pub fn local(&mut self) -> &mut Local {
        &mut self.local
    }

    /// The device's Matrix identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Rooms in which something changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<RoomId> {
        std::mem::take(&mut self.changed)
    }

    /// Ends what is under way and gives the profile back; what was not answered is asked again next time.
    pub fn into_local(self) -> Local {
        self.local
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({:?})", self.local.session)
    }
}
