//! Inputs that wait for something, with caps for each sender (SPEC §6.2).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::defence;
use crate::id::{EpochId, Locator, Timestamp};

/// Waiting inputs of one sender in one group.
const MAX_COUNT: usize = 500;
/// Bytes of waiting inputs of one sender in one group.
const MAX_BYTES: usize = 16 << 20;

/// What kind of input waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Commit,
    Message,
}

/// What it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum On {
    /// The commit that makes this epoch, found perhaps at the locator.
    Epoch(EpochId, Option<Locator>),
    /// M of the commit itself, which would make this epoch and resolves these.
    MergeValue { epoch: EpochId, resolves: Vec<EpochId> },
    /// What its sender said before it in this epoch: so much is missing that its key is out of reach.
    Earlier { epoch: EpochId, generation: u32 },
    /// The Welcome to the epoch that the commit itself makes: it removes this device and adds it anew.
    Welcome(EpochId),
}

/// One waiting input. Public bytes: commits and ciphertexts only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) kind: Kind,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
    pub(crate) locator: Option<Locator>,
    pub(crate) from: String,
    pub(crate) hint: Option<Locator>,
    pub(crate) on: On,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

impl Waiting {
    /// Same bytes at the same place are the same input.
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.locator.as_ref().map_or("", |locator| locator.0.as_str()));
        hash.update([0]);
        hash.update(&self.bytes);
        hash.finalize().into()
    }
}

/// All waiting inputs of a group.
///
/// **Invariant**: `shares` and `later` say what `waiting` holds.
#[derive(Default)]
pub(crate) struct Pending {
    waiting: BTreeMap<[u8; 32], Waiting>,
    shares: BTreeMap<String, Share>,
    /// Messages that wait for what their sender said before, by sender, epoch and generation.
    later: BTreeSet<(String, EpochId, u32, [u8; 32])>,
}

/// What of one sender waits.
#[derive(Default)]
struct Share {
    count: usize,
    bytes: usize,
}

impl Pending {
    /// Room for one more input of this sender. What waits for earlier messages is bounded by its bytes alone: a long talk
    /// is many messages.
    pub(crate) fn has_room(&self, waiting: &Waiting) -> bool {
        let Some(share) = self.shares.get(&waiting.from) else { return true };
        let few = share.count < MAX_COUNT || matches!(waiting.on, On::Earlier { .. });
        !defence::on("D5") || few && share.bytes + waiting.bytes.len() <= MAX_BYTES
    }

    pub(crate) fn insert(&mut self, waiting: Waiting) -> [u8; 32] {
        let key = waiting.key();
        self.remove(&key);
        let share = self.shares.entry(waiting.from.clone()).or_default();
        share.bytes += waiting.bytes.len();
        match waiting.on {
            On::Earlier { epoch, generation } => {
                self.later.insert((waiting.from.clone(), epoch, generation, key));
            }
            _ => share.count += 1,
        }
        self.waiting.insert(key, waiting);
        key
    }

    pub(crate) fn remove(&mut self, key: &[u8; 32]) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        if let Some(share) = self.shares.get_mut(&waiting.from) {
            share.bytes -= waiting.bytes.len();
            match waiting.on {
                On::Earlier { epoch, generation } => {
                    self.later.remove(&(waiting.from.clone(), epoch, generation, *key));
                }
                _ => share.count -= 1,
            }
        }
        Some(waiting)
    }

    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<&Waiting> {
        self.waiting.get(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether commits wait.
    pub(crate) fn has_commits(&self) -> bool {
        self.waiting.values().any(|waiting| waiting.kind == Kind::Commit)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], &Waiting)> {
        self.waiting.iter()
    }

    /// Those that may go on when `epoch` is here: waiting for it as base or epoch, or among the heads they resolve.
    pub(crate) fn freed_by(&self, epoch: &EpochId) -> Vec<[u8; 32]> {
        let frees = |on: &On| match on {
            On::Epoch(id, _) | On::Welcome(id) => id == epoch,
            On::MergeValue { resolves, .. } => resolves.contains(epoch),
            On::Earlier { .. } => false,
        };
        let mut keys: Vec<_> = self.waiting.iter().filter(|(_, waiting)| frees(&waiting.on)).collect();
        keys.sort_by_key(|(key, waiting)| (waiting.kind == Kind::Message, waiting.since, **key));
        keys.into_iter().map(|(key, _)| *key).collect()
    }

    /// Messages of this sender and epoch up to this generation that wait for what came before, the first one first.
    pub(crate) fn freed_by_message(&self, from: &str, epoch: &EpochId, reach: u32) -> Vec<[u8; 32]> {
        let start = (from.to_owned(), *epoch, 0, [0; 32]);
        let of_sender = self.later.range(start..).take_while(|(sender, of, ..)| sender == from && of == epoch);
        of_sender.take_while(|(_, _, generation, _)| *generation <= reach).map(|(.., key)| *key).collect()
    }

    /// Puts off the deadlines of all that waited between the two moments by that time, and gives those that changed.
    pub(crate) fn put_back(&mut self, from: Timestamp, to: Timestamp, most: u64) -> Vec<Waiting> {
        let mut changed = Vec::new();
        for waiting in self.waiting.values_mut() {
            let gone = to.0.saturating_sub(waiting.since.max(from).0);
            let until = waiting.until.plus(gone).min(waiting.since.plus(most)).max(waiting.until);
            if until != std::mem::replace(&mut waiting.until, until) {
                changed.push(waiting.clone());
            }
        }
        changed
    }

    /// Those whose time is up.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<[u8; 32]> {
        if !defence::on("F15") {
            return Vec::new();
        }
        let generation = |waiting: &Waiting| match waiting.on {
            On::Earlier { generation, .. } => generation,
            On::Epoch(..) | On::MergeValue { .. } | On::Welcome(_) => 0,
        };
        // Of messages that waited for earlier ones the first goes first: each later one passes over what lies before.
        let mut expired: Vec<_> = self.waiting.iter().filter(|(_, waiting)| waiting.until <= now).collect();
        expired.sort_by_key(|(key, waiting)| (generation(waiting), **key));
        expired.into_iter().map(|(key, _)| *key).collect()
    }
}
