//! The world: a virtual clock, servers, devices, and one loop in which everything happens.
//!
//! Nothing here asks for the time, for randomness or for the order of a hash map: the same calls on a world of the same
//! [`Options`] give the same [`Trace`] and the same [`World::digest`].

mod adversary;
mod audit;
mod end;
mod fault;
mod mishaps;
mod people;
mod perform;
mod stand;
mod thief;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use dmls::effect::EpochInfo;
use dmls::id::{EpochId, Timestamp};
use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;
use sha2::{Digest, Sha256};

use crate::client::{Client, MachineError};
use crate::entropy::Stream;
use crate::net::{Net, server_of};
use crate::trace::{Entry, Fact, Name, ServerName, Trace};

pub use fault::Fault;
pub use people::Word;

/// When every world begins.
const BEGINNING: Timestamp = Timestamp(1_700_000_000_000);
/// A request takes at least so long, and up to so much more.
const LATENCY: u64 = 5;
const LATENCY_MORE: u64 = 36;

/// Which cryptography a run used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crypto {
    /// The real one.
    #[default]
    Real,
    /// A fast stand-in, which shows nothing about secrecy.
    StandIn,
}

impl Crypto {
    /// One word for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::StandIn => "fast",
        }
    }
}

/// What a world is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// All randomness follows from it.
    pub seed: u64,
    /// The homeservers.
    pub servers: Vec<ServerName>,
    /// The cryptography.
    pub crypto: Crypto,
    /// Whether servers give out events that they soft-failed to those who ask by id. Synapse does not.
    pub soft_failed_by_id: bool,
}

/// What happened so far, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commits that entered a room.
    pub commits: usize,
    /// Sealed messages that entered a room.
    pub messages: usize,
    /// Requests of devices.
    pub requests: usize,
    /// Virtual milliseconds.
    pub millis: u64,
}

/// Devices on homeservers, and their time.
pub struct World {
    pub(crate) options: Options,
    now: Timestamp,
    /// The servers.
    pub net: Net,
    clients: BTreeMap<Name, Client>,
    rooms: BTreeSet<RoomId>,
    trace: Trace,
    digest: Sha256,
    chances: Stream,
    /// When stores are looked at: nothing else depends on it.
    audits: Stream,
    step: usize,
    last_post: Timestamp,
    counts: Counts,
    /// What malicious devices keep for themselves.
    #[cfg(dmls_mutants)]
    plotters: BTreeMap<Name, adversary::Plotter>,
    /// What thieves took, each with the entry of the trace that tells of it.
    stolen: Vec<(usize, Client)>,
    /// The epochs that devices knew in full, as they last did: some are stubs by now.
    chronicle: BTreeMap<(Name, RoomId), BTreeMap<EpochId, EpochInfo>>,
}

impl World {
    /// An empty world.
    pub fn new(options: Options) -> Self {
        crate::suites::record_in_this_thread(true);
        let net = Net::new(&options.servers, Stream::new(options.seed, "net"), options.soft_failed_by_id);
        Self {
            net,
            now: BEGINNING,
            clients: BTreeMap::new(),
            rooms: BTreeSet::new(),
            trace: Trace::default(),
            digest: Sha256::new(),
            chances: Stream::new(options.seed, "latency"),
            audits: Stream::new(options.seed, "audits"),
            step: 0,
            last_post: BEGINNING,
            counts: Counts::default(),
            #[cfg(dmls_mutants)]
            plotters: BTreeMap::new(),
            stolen: Vec::new(),
            chronicle: BTreeMap::new(),
            options,
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What happened so far, in numbers.
    pub fn counts(&self) -> Counts {
        Counts { millis: self.now.0 - BEGINNING.0, ..self.counts }
    }

    /// SHA-256 over everything that was published, in order.
    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// All devices, by name.
    pub fn clients(&self) -> impl Iterator<Item = (&Name, &Client)> {
        self.clients.iter()
    }

    /// Whether there is a device of this name.
    pub fn has(&self, name: &Name) -> bool {
        self.clients.contains_key(name)
    }

    /// Whether the user's server exists.
    pub fn is_served(&self, user: &str) -> bool {
        self.options.servers.contains(&server_of(user))
    }

    /// What follows belongs to this step of a script.
    pub fn set_step(&mut self, step: usize) {
        self.step = step;
    }

    /// A device.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn client(&mut self, name: &Name) -> Result<&mut Client, Fault> {
        self.clients.get_mut(name).ok_or_else(|| Fault::NoSuchDevice(name.clone()))
    }

    /// Adds a device of `user`; the user's other devices and everybody who shares a room with it hear of it.
    ///
    /// # Errors
    /// [`Fault::Machine`].
    pub fn add(&mut self, name: &Name, user: &str, endorsement: Endorsement) -> Result<(), Fault> {
        let client = Client::new(self.options.seed, self.options.crypto.suite(), name, user, endorsement)
            .map_err(|error| fault(name, &error))?;
        self.clients.insert(name.clone(), client);
        self.note_began(name)?;
        self.announce(user);
        self.stir(name);
        Ok(())
    }

    /// Tells the trace of a device.
    fn note_began(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        let (device, server, key, endorsed) =
            (client.device.clone(), client.home.clone(), client.key(), client.endorsed());
        self.note(Fact::Began { name: name.clone(), device, server, key, endorsed });
        Ok(())
    }

    /// The server lists the user's devices anew.
    fn announce(&mut self, user: &str) {
        let devices = self.clients.values().filter(|client| client.device.user == user && !client.logged_out);
        let listed: BTreeMap<_, _> = devices.map(|client| (client.device.clone(), client.facts.clone())).collect();
        self.net.list(user, listed.into_values().collect(), self.now);
        self.rouse();
    }

    fn note(&mut self, fact: Fact) {
        self.trace.entries.push(Entry { at: self.now, step: self.step, fact });
    }

    /// Takes note of what happened among the servers.
    fn note_net(&mut self) {
        for fact in self.net.facts() {
            self.note(fact);
        }
    }

    /// Bytes left a device.
    fn publish(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.digest.update((part.len() as u64).to_be_bytes());
            self.digest.update(part);
        }
    }

    /// How long the next request takes.
    fn latency(&mut self) -> u64 {
        LATENCY + self.chances.below(LATENCY_MORE)
    }

    /// A device has something to do soon.
    fn stir(&mut self, name: &Name) {
        let soon = self.now.plus(self.latency());
        if let Some(client) = self.clients.get_mut(name).filter(|client| client.is_up()) {
            client.rests = false;
            client.turn = Some(client.turn.map_or(soon, |turn| turn.min(soon)));
        }
    }

    /// Devices whose servers have news for them will sync soon.
    fn rouse(&mut self) {
        let news = |client: &Client| client.is_up() && self.net.has_news(&client.device, client.since());
        let names: Vec<_> =
            self.clients.iter().filter(|(_, client)| news(client)).map(|(name, _)| name.clone()).collect();
        for name in names {
            // Whoever is about to do something syncs first anyway.
            let busy = self
                .clients
                .get(&name)
                .and_then(|client| client.turn)
                .is_some_and(|turn| turn <= self.now.plus(LATENCY));
            if !busy {
                self.stir(&name);
            }
        }
    }

    /// Lets everything happen that happens within so many milliseconds.
    ///
    /// # Errors
    /// [`Fault::Machine`]; [`Fault::Busy`] if there is no end to it.
    pub fn run_for(&mut self, millis: u64) -> Result<(), Fault> {
        self.run_until(self.now.plus(millis))
    }

    fn run_until(&mut self, until: Timestamp) -> Result<(), Fault> {
        let (mut turns, start, commits) = (0, self.now, self.counts.commits);
        self.note_net();
        self.rouse();
        loop {
            let client = self.clients.iter().filter(|(_, client)| client.is_up());
            let client = client.filter_map(|(name, client)| Some((client.turn?, name))).min();
            let (turn, name) = client.map_or((None, None), |(turn, name)| (Some(turn), Some(name.clone())));
            let due = self.net.due();
            let Some(next) = turn.into_iter().chain(due).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            turns += 1;
            match name {
                Some(name) if turn == Some(next) => self.turn(&name)?,
                _ => self.net.deliver(self.now),
            }
            self.note_net();
            self.rouse();
            if turns > MAX_TURNS {
                return Err(Fault::Busy { turns, now: self.now });
            }
            if self.counts.commits > commits + MAX_COMMITS + 10 * self.clients.len() {
                return Err(Fault::NeverSettles { millis: self.now.0 - start.0, commits: self.counts.commits });
            }
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Lets everything happen until no room event was posted for `quiet` milliseconds.
    ///
    /// # Errors
    /// [`Fault::NeverSettles`] after `limit` milliseconds; as [`World::run_for`] otherwise.
    pub fn settle(&mut self, quiet: u64, limit: u64) -> Result<(), Fault> {
        let start = self.now;
        self.last_post = self.now;
        while self.now < self.last_post.plus(quiet) {
            if self.now > start.plus(limit) {
                return Err(Fault::NeverSettles { millis: self.now.0 - start.0, commits: self.counts.commits });
            }
            self.run_until(self.last_post.plus(quiet))?;
        }
        Ok(())
    }
}

/// So many turns in one stretch of time are no life any more.
const MAX_TURNS: usize = 2_000_000;
/// So many commits in one stretch of time, and ten for each device, answer each other and nothing else.
const MAX_COMMITS: usize = 150;

fn fault(name: &Name, error: &MachineError) -> Fault {
    Fault::Machine { name: name.clone(), code: error.code(), text: error.to_string() }
}
