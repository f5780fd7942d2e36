//! One running copy of a device: the real machine on a store in memory, with a clock, a network and mishaps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dmls::device::{OwnDevice, SigningKey};
use dmls::entropy::{Entropy, EntropyError};
use dmls::error::LoadError;
use dmls::group::{Group, Settings};
use dmls::id::{Device, GroupId, SignatureKey, Timestamp};
use dmls::journal::Journal as _;
use dmls::suite::Suite;
use dmls_matrix::error::Error;
use dmls_matrix::facts::{DeviceFacts, Endorsement};
use dmls_matrix::request::OutgoingRequest;
use dmls_matrix::{Machine, Parameters, RoomId};
use dmls_store::MemoryStore;
use dmls_store::StoreError;
use ed25519_dalek::Signer as _;

use crate::entropy::Stream;
use crate::net::{Since, server_of};
use crate::trace::{Name, ServerName};

/// The machine's errors in this world.
pub type MachineError = Error<StoreError>;

/// Where a device crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Instead of the transaction with the write after so many more.
    Write(usize),
    /// Nowhere: its disk has no room for the transaction after so many more, and it goes on.
    Full(usize),
    /// Instead of the transaction after so many more.
    Commit(usize),
    /// Right after the transaction after so many more, before anything follows from it.
    Stored(usize),
    /// Before it carries out the request after so many more.
    Request(usize),
    /// After the server did what the request after so many more asked, before the device hears of it.
    Answer(usize),
    /// As [`CrashPoint::Answer`], but only the connection breaks: the device hears that it failed, and goes on.
    Cut(usize),
    /// As [`CrashPoint::Cut`], and the device crashes once it has taken that in.
    Torn(usize),
}

/// What becomes of the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It comes.
    Whole,
    /// The device crashes before it comes.
    Never,
    /// It breaks off.
    Half {
        /// And the device crashes then.
        crashes: bool,
    },
}

/// What a device was shown of one room's members: who is joined, and whose membership ended.
pub(crate) type Members = (BTreeSet<String>, BTreeSet<String>);

/// One running copy of a device.
pub struct Client {
    /// Who it is.
    pub device: Device,
    /// The cipher suite of its keys.
    pub suite: &'static dyn Suite,
    /// Its user's server.
    pub home: ServerName,
    /// `None` while it is down.
    pub machine: Option<Machine<MemoryStore>>,
    /// What a machine that is down will find.
    pub store: MemoryStore,
    /// Its randomness.
    pub entropy: Stream,
    /// Milliseconds by which its clock is ahead.
    pub skew: i64,
    /// Whether it reaches its server.
    pub online: bool,
    /// Its store was never copied or replaced.
    pub honest: bool,
    /// Whether its user's server no longer lists it.
    pub logged_out: bool,
    pub(crate) facts: DeviceFacts,
    /// Its keys, for who looks at its store from outside.
    own: Arc<OwnDevice>,
    /// Requests that were listed and not carried out yet.
    pub(crate) todo: VecDeque<OutgoingRequest>,
    /// The last listing gave nothing.
    pub(crate) rests: bool,
    /// When it last asked for news.
    pub(crate) synced: Timestamp,
    /// When it does something next, by the world's clock.
    pub(crate) turn: Option<Timestamp>,
    pub(crate) crash: Option<CrashPoint>,
    /// Requests that it began to carry out, syncs and what its user asked for among them.
    pub requests: usize,
    /// A copy of the store that was laid aside.
    pub(crate) aside: Option<MemoryStore>,
    pub(crate) taken: BTreeSet<String>,
    pub(crate) members: BTreeMap<RoomId, Members>,
    pub(crate) told: BTreeMap<String, Vec<DeviceFacts>>,
    pub(crate) desired: BTreeMap<RoomId, (BTreeMap<Device, SignatureKey>, BTreeSet<String>)>,
}

/// The generation of every device's MLS key.
const GENERATION: u32 = 1;

fn parameters(suite: &'static dyn Suite) -> Parameters {
    // Not many: what becomes of old epochs is to be seen in the runs of a night.
    Parameters { suite, known_epochs: 72, ..Parameters::default() }
}

impl Client {
    /// A new device of a user, with keys from its own randomness.
    pub(crate) fn new(
        seed: u64,
        suite: &'static dyn Suite,
        name: &Name,
        user: &str,
        endorsement: Endorsement,
    ) -> Result<Self, MachineError> {
        let device = Device::new(user, name.0.to_uppercase());
        Self::enrolled(seed, suite, &format!("device {name}"), device, endorsement)
    }

    /// A device with keys from the randomness for `purpose`.
    pub(crate) fn enrolled(
        seed: u64,
        suite: &'static dyn Suite,
        purpose: &str,
        device: Device,
        endorsement: Endorsement,
    ) -> Result<Self, MachineError> {
        let mut entropy = Stream::new(seed, purpose);
        let matrix_key = ed25519_dalek::SigningKey::from_bytes(&seed_of(&mut entropy)?);
        let mut machine = Machine::open_with(MemoryStore::new(), device.clone(), parameters(suite))?;
        // The machine draws its key from the same place.
        let signing = SigningKey::generate_in(suite, &mut entropy.clone())?;
        let request = machine.credential_request(&mut entropy)?;
        let (ed25519, signature) =
            (matrix_key.verifying_key().to_bytes(), matrix_key.sign(&request.payload).to_bytes());
        machine.install_credential(ed25519, signature)?;
        let own = OwnDevice::new(signing, device.clone(), ed25519, GENERATION, signature);
        let own = Arc::new(own.map_err(|_| Error::BadCredential)?);
        let facts = DeviceFacts { device: device.clone(), ed25519, mls_key: Some(request.mls_key.0), endorsement };
        Ok(Self {
            home: server_of(&device.user),
            device,
            suite,
            machine: Some(machine),
            store: MemoryStore::new(),
            entropy,
            skew: 0,
            online: true,
            honest: true,
            logged_out: false,
            facts,
            own,
            todo: VecDeque::new(),
            rests: false,
            synced: Timestamp::default(),
            turn: None,
            crash: None,
            requests: 0,
            aside: None,
            taken: BTreeSet::new(),
            members: BTreeMap::new(),
            told: BTreeMap::new(),
            desired: BTreeMap::new(),
        })
    }

    /// A copy that goes on from the same store.
    pub(crate) fn fork(&self, seed: u64, name: &Name) -> Result<Self, MachineError> {
        Ok(Self {
            device: self.device.clone(),
            home: self.home.clone(),
            machine: Some(self.copy()?),
            store: MemoryStore::new(),
            entropy: Stream::new(seed, &format!("device {name}")),
            honest: false,
            facts: self.facts.clone(),
            own: self.own.clone(),
            todo: VecDeque::new(),
            crash: None,
            aside: None,
            taken: self.taken.clone(),
            members: self.members.clone(),
            told: self.told.clone(),
            desired: self.desired.clone(),
            ..*self
        })
    }

    /// A machine on a copy of its store, with what waits for the next transaction.
    pub(crate) fn copy(&self) -> Result<Machine<MemoryStore>, MachineError> {
        let mut store = self.journal().clone();
        store.heal();
        let waiting = self.machine.as_ref().map(Machine::unstored).unwrap_or_default();
        store.commit(&waiting).map_err(Error::Store)?;
        Machine::open_with(store, self.device.clone(), parameters(self.suite))
    }

    /// Its store as it is now.
    pub fn journal(&self) -> &MemoryStore {
        self.machine.as_ref().map_or(&self.store, Machine::journal)
    }

    /// The core's group of a room, as its store has it.
    ///
    /// # Errors
    /// [`LoadError`] if the store cannot be read.
    pub fn stored_group(&self, room: &RoomId) -> Result<Group, LoadError<StoreError>> {
        Group::load(GroupId::new(room.as_str()), self.own.clone(), Settings::default(), self.journal())
    }

    /// Its MLS key.
    pub fn key(&self) -> SignatureKey {
        SignatureKey(self.facts.mls_key.unwrap_or_default())
    }

    /// Whether its owner vouches for it.
    pub fn endorsed(&self) -> bool {
        self.facts.endorsement == Endorsement::Endorsed
    }

    /// Whether it runs and reaches its server.
    pub fn is_up(&self) -> bool {
        self.online && self.machine.is_some()
    }

    /// The time by its own clock.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.skew))
    }

    /// When something is due by its own clock, by the world's.
    pub(crate) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let local = self.clock(now);
        let wake = self.machine.as_ref()?.next_wake(local)?;
        Some(now.plus(wake.0.saturating_sub(local.0).max(1)))
    }

    /// Where its newest sync ended.
    pub(crate) fn since(&self) -> Since {
        Since::parse(self.machine.as_ref().and_then(|machine| machine.sync_position()))
    }

    /// Drops everything that is not stored.
    pub(crate) fn go_down(&mut self) {
        if let Some(machine) = self.machine.take() {
            self.store = machine.into_journal();
            self.store.heal();
        }
        self.todo.clear();
        self.crash = None;
        self.rests = false;
        self.turn = None;
    }

    /// Starts again from what is stored.
    pub(crate) fn come_up(&mut self) -> Result<(), MachineError> {
        if self.machine.is_none() {
            let (store, parameters) = (std::mem::take(&mut self.store), parameters(self.suite));
            self.machine = Some(Machine::open_with(store, self.device.clone(), parameters)?);
        }
        Ok(())
    }

    /// A request is about to leave; `true` where the device crashes instead.
    pub(crate) fn crashes_before(&mut self) -> bool {
        self.requests += 1;
        match &mut self.crash {
            Some(CrashPoint::Request(0)) => true,
            Some(CrashPoint::Request(left)) => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    /// The server did what was asked; what becomes of its answer.
    pub(crate) fn arrival(&mut self) -> Arrival {
        let (left, arrival) = match &mut self.crash {
            Some(CrashPoint::Answer(left)) => (left, Arrival::Never),
            Some(CrashPoint::Cut(left)) => (left, Arrival::Half { crashes: false }),
            Some(CrashPoint::Torn(left)) => (left, Arrival::Half { crashes: true }),
            _ => return Arrival::Whole,
        };
        if *left > 0 {
            *left -= 1;
            return Arrival::Whole;
        }
        self.crash = None;
        arrival
    }

    /// Whether what this device was shown is what the trace was told last, as after most turns.
    pub(crate) fn was_told(&self, room: &RoomId) -> bool {
        let (Some((joined, left)), Some((devices, told_left))) = (self.members.get(room), self.desired.get(room))
        else {
            return false;
        };
        let shown = joined.iter().filter_map(|user| self.told.get(user)).flatten();
        let mut endorsed = shown.filter(|facts| facts.endorsement == Endorsement::Endorsed && facts.mls_key.is_some());
        let mut count = 0;
        let known = endorsed.all(|facts| {
            count += 1;
            devices.get(&facts.device).map(|key| key.0) == facts.mls_key
        });
        known && count == devices.len() && left == told_left
    }

    /// The endorsed devices of joined users, and the users who left, as this device was shown them.
    pub(crate) fn shown(&self, room: &RoomId) -> Option<(BTreeMap<Device, SignatureKey>, BTreeSet<String>)> {
        let (joined, left) = self.members.get(room)?;
        let devices = joined.iter().filter_map(|user| self.told.get(user)).flatten();
        let endorsed = devices.filter(|facts| facts.endorsement == Endorsement::Endorsed);
        let keyed = endorsed.filter_map(|facts| Some((facts.device.clone(), SignatureKey(facts.mls_key?))));
        Some((keyed.collect(), left.clone()))
    }
}

fn seed_of(entropy: &mut Stream) -> Result<[u8; 32], EntropyError> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed)?;
    Ok(seed)
}
