//! The machine: everything one device does in all its rooms, without IO.

mod account;
mod answers;
mod calls;
mod events;
pub(crate) mod facts;
#[cfg(dmls_mutants)]
pub mod insider;
mod intake;
mod keys;
#[cfg(dmls_mutants)]
mod portrait;
mod reading;
mod requests;
mod schedule;
mod sending;
mod to_device;

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::{Device, SignatureKey, Timestamp};
use dmls::journal::{Journal, Write};
use dmls::package::KeyPackages;
use dmls::suite::{Suite, X25519_ED25519};

use crate::error::Error;
use crate::id::{RequestId, RoomId};
use crate::ledger::Ledger;
use crate::room::Room;
use crate::table;
use crate::view::Report;

use account::Account;
use facts::FactBook;
use keys::KeyState;
use requests::{Pause, Ticket};
use to_device::WaitingWelcome;

/// What the device's own Ed25519 key is to sign, so that it vouches for the MLS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The bytes to be signed by the device key.
    pub payload: Vec<u8>,
    /// The MLS signature public key, to be published in the signed device keys.
    pub mls_key: SignatureKey,
}

/// Times and limits, with the defaults of the protocol.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// How long a device of D waits for a Welcome before it joins by external commit, in milliseconds.
    pub external_join_after: u64,
    /// How many one-time key packages are kept on the server.
    pub key_packages: u64,
    /// Below how many they are refilled.
    pub refill_below: u64,
    /// Bytes of MLSMessage that fit into one room event.
    pub event_limit: usize,
    /// How many epochs of a room are known in full; of older ones by which nothing is decided any more a stub remains.
    pub known_epochs: usize,
    /// The cipher suite of this device's keys.
    pub suite: &'static dyn Suite,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            external_join_after: 20_000,
            key_packages: 50,
            refill_below: 25,
            event_limit: 47_000,
            known_epochs: 512,
            suite: X25519_ED25519,
        }
    }
}

/// Where raw room events were got from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The timeline, oldest first.
    Timeline,
    /// Paging backwards, newest first.
    Backwards,
}

/// One device's DMLS in all its rooms.
///
/// **The loop of a host**: take in a sync with [`Machine::receive_sync`]; then, until it is empty, carry out every
/// request of [`Machine::outgoing_requests`] and hand each answer to [`Machine::mark_request_as_sent`] or
/// [`Machine::mark_request_as_failed`]; sync again, at the latest when [`Machine::next_wake`] says so.
///
/// A call is at most one transaction of the journal, or several if it is very large; what a call gives out, it gives out
/// after everything that this depends on is stored. What comes again by itself after a crash may wait for the next
/// transaction, in which it costs little: that the server took a message, a commit or media, and syncs that showed
/// nothing new.
/// A host that ends calls [`Machine::store`]. After a store error nothing stays in memory that is not stored.
pub struct Machine<J: Journal> {
    journal: Ledger<J>,
    /// A store failed and memory could not be read anew: it may hold what is not on disk.
    is_ahead: bool,
    parameters: Parameters,
    account: Account,
    keys: KeyState,
    packages: KeyPackages,
    facts: FactBook,
    position: Option<String>,
    /// When the last sync was taken in, since the start.
    synced: Option<Timestamp>,
    /// All rooms in the store.
    known: BTreeSet<RoomId>,
    /// Those in memory.
    rooms: BTreeMap<RoomId, Room>,
    /// Those that could not be read, with the code why: they stop nobody else.
    broken: BTreeMap<RoomId, String>,
    welcomes: BTreeMap<[u8; 32], WaitingWelcome>,
    tickets: BTreeMap<RequestId, Ticket>,
    pauses: BTreeMap<RequestId, Pause>,
    wake: Option<Timestamp>,
    /// What rooms did by themselves and nobody was told yet.
    untold: Report,
}

const POSITION: &[u8] = b"position";

impl<J: Journal> Machine<J> {
    /// Opens the machine of `device` on its journal, with default [`Parameters`].
    pub fn open(journal: J, device: Device) -> Result<Self, Error<J::Error>> {
        Self::open_with(journal, device, Parameters::default())
    }

    /// Opens the machine with other parameters.
    pub fn open_with(journal: J, device: Device, parameters: Parameters) -> Result<Self, Error<J::Error>> {
        let journal = Ledger::new(journal);
        let account = Account::load(device, parameters.suite, &journal)?;
        Ok(Self {
            is_ahead: false,
            parameters,
            account,
            keys: KeyState::load(&journal)?,
            packages: KeyPackages::load(&journal)?,
            facts: FactBook::load(&journal)?,
            position: table::get(&journal, &[], table::ACCOUNT, POSITION)?,
            synced: None,
            known: known_rooms(&journal)?,
            rooms: BTreeMap::new(),
            broken: BTreeMap::new(),
            welcomes: to_device::load_welcomes(&journal)?,
            tickets: BTreeMap::new(),
            pauses: BTreeMap::new(),
            wake: None,
            untold: Report::default(),
            journal,
        })
    }

    /// Closes the machine, as a crash would: [`Machine::store`] first. Gives the journal back.
    pub fn into_journal(self) -> J {
        self.journal.into_journal()
    }

    /// The journal, to read the host's own tables.
    pub fn journal(&self) -> &J {
        self.journal.journal()
    }

    /// The journal, for the host's own tables.
    pub fn journal_mut(&mut self) -> &mut J {
        self.journal.journal_mut()
    }

    /// Stores what may wait: before the machine is closed, and before the journal is asked to forget what was deleted.
    pub fn store(&mut self) -> Result<(), Error<J::Error>> {
        let stored = self.journal.store();
        stored.map_err(|error| {
            // If it cannot be read either, the next call tries again and says so.
            self.is_ahead = true;
            let _ = self.recover();
            Error::Store(error)
        })
    }

    /// What waits for the next transaction and is lost in a crash.
    pub fn unstored(&self) -> Vec<Write> {
        self.journal.unstored()
    }

    /// The end of a call: what may not wait is stored, also what was done before an error came.
    fn conclude<T>(&mut self, done: Result<T, Error<J::Error>>) -> Result<T, Error<J::Error>> {
        if self.journal.is_due() {
            self.store()?;
        }
        done
    }

    /// In the middle of a call that takes in more than memory should hold.
    fn unload(&mut self) -> Result<(), Error<J::Error>> {
        if self.journal.is_full() { self.store() } else { Ok(()) }
    }

    /// The beginning of a call: after a failed store all that is in memory may be ahead of the disk, and is read anew.
    fn recover(&mut self) -> Result<(), Error<J::Error>> {
        if !self.is_ahead {
            return Ok(());
        }
        self.rooms.clear();
        self.broken.clear();
        // Without a position everything is shown again.
        self.position = None;
        self.known = known_rooms(&self.journal)?;
        self.account = Account::load(self.account.device.clone(), self.parameters.suite, &self.journal)?;
        self.keys = KeyState::load(&self.journal)?;
        self.packages = KeyPackages::load(&self.journal)?;
        self.facts = FactBook::load(&self.journal)?;
        self.welcomes = to_device::load_welcomes(&self.journal)?;
        self.position = table::get(&self.journal, &[], table::ACCOUNT, POSITION)?;
        self.is_ahead = false;
        Ok(())
    }
}

fn known_rooms<J: Journal>(journal: &J) -> Result<BTreeSet<RoomId>, Error<J::Error>> {
    let damaged = || Error::Damaged(table::ROOM.0);
    let keys = journal.scan(table::ROOM, b"").map_err(Error::Store)?;
    let name = |key: Vec<u8>| String::from_utf8(key.get(4..).unwrap_or_default().to_vec()).map(RoomId);
    keys.into_iter().map(|(key, _)| name(key).map_err(|_| damaged())).collect()
}
