//! The facade: one group, as one device sees it.
//!
//! A host calls [`Group::handle`] with everything that happens, stores what comes back and publishes what follows.
//! It asks [`Group::readiness`] before it seals, [`Group::due`] for what the group should do by itself, and
//! [`Group::needs`] for what to fetch. After a failed store the group in memory is ahead of the disk: drop it, load it.

mod asks;
#[cfg(test)]
mod asks_tests;
mod commits;
mod grants;
mod header;
#[cfg(dmls_mutants)]
mod insider;
mod joins;
mod members;
mod messages;
mod outgoing;
mod past;
#[cfg(test)]
mod past_tests;
#[cfg(dmls_mutants)]
pub mod portrait;
mod records;
#[cfg(test)]
mod tests;
mod turns;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::dag::Dag;
use crate::device::OwnDevice;
use crate::effect::{Applied, Notice, Outcome, Publish, Settled, Verdict};
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::held::HeldEpochs;
use crate::id::{Device, EpochId, GroupId, Locator, SignatureKey, Timestamp};
use crate::input::Input;
use crate::journal::{Durable, Write};
use crate::pending::{On, Pending};

pub use header::{CommitHeader, MessageHeader, inspect_commit, inspect_message};
#[cfg(dmls_mutants)]
pub(crate) use insider::{grant_context, welcome_info};
pub use messages::{SealContext, verify_content};
pub use outgoing::Orders;
pub use view::Standing;

use asks::{Ask, Closed, Tries};
use records::Traffic;

/// Parameters, with the defaults of SPEC §5.6.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of MLSMessage that fit into one published commit.
    pub commit_limit: usize,
    /// Milliseconds between the turns of those who may commit what is due, at least.
    pub slot: u64,
    /// Milliseconds before others are asked for what a grant should have brought.
    pub grace: u64,
    /// Milliseconds that an input may wait, of those in which the host was in touch with the network.
    pub patience: u64,
    /// Milliseconds that an input may wait at the very most.
    pub patience_most: u64,
    /// After so many milliseconds without an input or a tick the host was out of touch.
    pub silence: u64,
    /// Epochs that are not held and are known in full; of older ones by which nothing is decided any more a stub remains.
    pub max_known: usize,
    /// Milliseconds for which an epoch that is no head is held to process late commits and messages.
    pub window: u64,
    /// Epochs of one user that are no heads and are held, at most.
    pub max_held: usize,
    /// Milliseconds before a device that cannot follow the others asks to be added anew.
    pub ask_after: u64,
    /// Milliseconds between one ask and the next for the same reason; doubles with each.
    pub ask_pause: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_limit: 47_000,
            slot: 500,
            grace: 30_000,
            patience: 24 * 3_600_000,
            patience_most: 30 * 24 * 3_600_000,
            silence: 3_600_000,
            max_known: 512,
            window: 7 * 24 * 3_600_000,
            max_held: 512,
            ask_after: 60_000,
            ask_pause: 120_000,
        }
    }
}

/// A membership that ended, and what was known of it then.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Departure {
    /// How many departures were known before it.
    order: usize,
    user: String,
    joined: Option<Locator>,
}

/// One group, as one device sees it.
pub struct Group {
    id: GroupId,
    own: Arc<OwnDevice>,
    settings: Settings,
    dag: Dag,
    /// Since when this device is of D again, as long as it did not ask for that.
    of_d_since: Option<Timestamp>,
    held: HeldEpochs,
    traffic: BTreeMap<EpochId, Traffic>,
    /// Raw commits, to be served again to members that lack them.
    commit_bytes: BTreeMap<EpochId, Vec<u8>>,
    pending: Pending,
    /// Epochs whose commits were refused although others may have processed them.
    closed: BTreeMap<EpochId, Closed>,
    /// Who asked to be added anew, by the keys that they asked under.
    asks: BTreeMap<SignatureKey, Ask>,
    /// This device's own asks.
    tries: BTreeMap<EpochId, Tries>,
    departures: BTreeMap<Locator, Departure>,
    /// When something first became due; traffic does not push it.
    due_since: Option<Timestamp>,
    turns: turns::Turns,
    /// Who answered with the merge value of which epoch.
    answered: BTreeSet<(EpochId, Device)>,
    /// How old it was when it was last asked which epochs are held for too long.
    retained: Option<u64>,
    age: records::Age,
    /// The epoch this device last sent in, to tell others what it left.
    last_sent: Option<EpochId>,
    /// When the host was in touch, to within half of `silence`; kept only while something waits.
    heard: Option<Timestamp>,
}

/// What one call gathers.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    settled: Vec<Settled>,
    notices: Vec<Notice>,
    publish: Vec<Publish>,
}

impl Batch {
    fn done(self, verdict: Verdict) -> Durable<Outcome> {
        let Self { writes, settled, notices, publish } = self;
        Durable::new(writes, Outcome { verdict, settled, notices, publish })
    }
}

fn rejected(reason: Reason, who: Option<Device>) -> Verdict {
    Verdict::Rejected { reason, who }
}

impl Group {
    /// A group of which this device is in no epoch yet.
    pub fn new(group: GroupId, own: Arc<OwnDevice>, settings: Settings) -> Self {
        let held = HeldEpochs::new(records::prefix(&group));
        Self {
            id: group,
            own,
            settings,
            dag: Dag::default(),
            of_d_since: None,
            held,
            traffic: BTreeMap::new(),
            commit_bytes: BTreeMap::new(),
            pending: Pending::default(),
            closed: BTreeMap::new(),
            asks: BTreeMap::new(),
            tries: BTreeMap::new(),
            departures: BTreeMap::new(),
            due_since: None,
            turns: turns::Turns::default(),
            answered: BTreeSet::new(),
            retained: None,
            age: records::Age::default(),
            last_sent: None,
            heard: None,
        }
    }

    /// The group's name.
    pub fn id(&self) -> &GroupId {
        &self.id
    }

    /// Takes in one thing that happened and gives its verdict, whichever way it came (SPEC §6.1).
    pub fn handle(
        &mut self,
        input: Input,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Outcome>, GroupError> {
        let mut batch = Batch::default();
        let verdict = match input {
            Input::Desired(desired) => self.take_desired(desired, now, &mut batch),
            Input::Departed { user, event } => self.take_departure(user, event, &mut batch),
            Input::Commit { bytes, locator, from } => self.take_commit(bytes, locator, from, now, &mut batch)?,
            Input::Message { bytes, locator, from, commit } => {
                self.take_message(bytes, locator, from, commit, now, &mut batch)?
            }
            Input::Ask { bytes, from } => self.take_ask(&bytes, &from, &mut batch),
            Input::Published { epoch, locator } => self.take_published(&epoch, locator, &mut batch),
            Input::Abandoned { epoch } => self.take_abandoned(&epoch, &mut batch),
            Input::MergeReply { epoch, value, from } => self.take_merge_reply(&epoch, &value, from, now, &mut batch)?,
            Input::MergeRequest { epoch, from } => self.answer_merge_request(epoch, from, entropy, &mut batch)?,
            Input::CommitRequest { epochs, from } => self.answer_commit_request(&epochs, from, &mut batch),
            Input::Tick => {
                self.retain(now, &mut batch);
                Verdict::Applied(Applied::Fact)
            }
        };
        self.note_heard(now, &mut batch);
        self.settle_expired(now, &mut batch);
        self.note_due(now, &mut batch);
        Ok(batch.done(verdict))
    }

    /// Puts deadlines off by the time in which the host was out of touch: nobody could give it then what it lacks.
    fn note_heard(&mut self, now: Timestamp, batch: &mut Batch) {
        let last = self.heard.unwrap_or(now);
        let recent = (last..last.plus(self.settings.silence / 2)).contains(&now);
        if self.pending.is_empty() || self.heard.is_some() && recent {
            return;
        }
        if last.plus(self.settings.silence) < now {
            for waiting in self.pending.put_back(last, now, self.settings.patience_most) {
                batch.writes.push(self.waiting_record(&waiting));
            }
        }
        self.heard = Some(now);
        batch.writes.push(self.group_record());
    }

    /// Deferred inputs whose time is up get their last verdict.
    fn settle_expired(&mut self, now: Timestamp, batch: &mut Batch) {
        for key in self.pending.expired(now) {
            if let Some(waiting) = self.pending.remove(&key) {
                if let On::MergeValue { epoch, .. } = &waiting.on {
                    self.answered.retain(|(answered, _)| answered != epoch);
                }
                batch.writes.push(self.forget_waiting(&key));
                let verdict = self.settle(&waiting, batch);
                batch.settled.push(Settled { locator: waiting.locator, verdict });
            }
        }
    }
}
