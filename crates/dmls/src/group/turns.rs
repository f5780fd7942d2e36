//! Who does what is due, and when: members take turns without a word (SPEC §3.3).
//!
//! Those heard lately come first, for they are most likely there. A slot is as long as what one member sends takes to
//! reach the others, so that the next one knows whether it is still needed. Whoever commits again and again by itself, or
//! about a leaf that comes and goes, waits longer each time.

use std::collections::BTreeMap;

use super::Group;
use crate::defence;
use crate::id::{Device, Timestamp};
use crate::plan::Plan;

/// Who was heard within so many milliseconds is there.
const LATELY: u64 = 3_600_000;
/// Own commits within so many milliseconds count.
const OWN_COUNT: u64 = 600_000;
/// So many own commits are nothing unusual: people join one after the other.
const OWN_FREE: usize = 4;
/// The wait doubles at most so often.
const MAX_DOUBLINGS: usize = 9;
/// Whoever was not heard lets at most so many others go first that were.
const MAX_HEARD: u64 = 8;
/// A slot is at most so long, in milliseconds, whatever others make this device believe.
const MAX_SLOT: u64 = 20_000;
/// New heads push the moment when something due is done by at most so many slots.
const MAX_PUSHED: u64 = 64;
/// With each slower event a delay grows by an eighth and so many milliseconds.
const MORE: u64 = 10;
/// Senders whose delays are kept.
const MAX_DELAYS: usize = 64;

/// What turns depend on besides the DAG. It is not stored: a device that was restarted has heard nobody yet.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When a commit or message of each device last came.
    heard: BTreeMap<Device, Timestamp>,
    /// When this device's person last did something here.
    acted: Option<Timestamp>,
    /// How long events of each sender take to come here, in milliseconds.
    delays: BTreeMap<String, u64>,
}

impl Turns {
    /// A commit or message of `device` came.
    pub(super) fn hear(&mut self, device: &Device, now: Timestamp) {
        self.heard.insert(device.clone(), now);
    }

    /// This device's person did something here.
    pub(super) fn act(&mut self, now: Timestamp) {
        self.acted = Some(now);
    }

    /// Half of the senders' events come within this time.
    fn delay(&self) -> u64 {
        let mut delays: Vec<_> = self.delays.values().copied().collect();
        delays.sort_unstable();
        delays.get(delays.len() / 2).copied().unwrap_or_default()
    }

    fn lately(&self, now: Timestamp) -> impl Iterator<Item = &Device> {
        let is_late = move |at: &Timestamp| *at <= now && now <= at.plus(LATELY);
        self.heard.iter().filter(move |(_, at)| is_late(at)).map(|(device, _)| device)
    }
}

impl Group {
    /// What `sender` sent took so many milliseconds to come here.
    ///
    /// The host tells it of events as they come in, not of those that it fetches. The median of the senders counts, so in a
    /// room of many no single one decides.
    pub fn note_delay(&mut self, sender: &str, millis: u64) {
        let delays = &mut self.turns.delays;
        if let Some(known) = delays.get_mut(sender) {
            // What comes after a split was under way for long, and says nothing of what comes next.
            *known = millis.min(*known + *known / 8 + MORE).min(MAX_SLOT);
        } else if delays.len() < MAX_DELAYS {
            delays.insert(sender.to_owned(), millis.min(self.settings.slot));
        }
    }

    pub(super) fn slot(&self) -> u64 {
        self.turns.delay().max(self.settings.slot)
    }

    /// When this device does what `plan` says, if nobody did it before: something was due since `since`.
    pub(super) fn turn_at(&self, plan: &Plan<'_>, since: Timestamp, now: Timestamp) -> Timestamp {
        let slot = self.slot();
        // A clock that was set back says nothing.
        let heads = plan.resolve.iter().chain([&plan.base]).map(|head| head.first_seen);
        let newest = heads.filter(|at| *at <= now).max().unwrap_or(since);
        // Each new head is a new plan. But who makes head after head must not put off what is due for ever.
        let planned = since.max(newest).min(since.plus(slot * MAX_PUSHED));
        planned.plus((slot * self.place(plan, now)) << self.doublings(plan, now))
    }

    /// This device's place among those that could do the same: 1 is the first.
    pub(super) fn place(&self, plan: &Plan<'_>, now: Timestamp) -> u64 {
        if !defence::on("F13") {
            return 0;
        }
        let own = self.own.device();
        let heard: Vec<_> = self.turns.lately(now).filter(|device| plan.is_everywhere(device, &self.dag)).collect();
        let before = plan.before(own, heard.iter().copied());
        // Whoever waits for commits knows that there is more than it holds: those who hold it all go first.
        if heard.contains(&own) && !self.pending.has_commits() {
            return 1 + before;
        }
        let rank = plan.rank(own, &self.dag);
        1 + (heard.len() as u64).min(MAX_HEARD) + u64::from((1 + rank).ilog2())
    }

    /// How often the wait doubles: by this device's own late commits, and by how often a leaf came and went that this one
    /// is about.
    fn doublings(&self, plan: &Plan<'_>, now: Timestamp) -> usize {
        let from = Timestamp(now.0.saturating_sub(OWN_COUNT)).max(self.turns.acted.unwrap_or_default());
        let own = self.dag.own_between(from, now).saturating_sub(OWN_FREE);
        if !defence::on("R2") {
            return 0;
        }
        let lately = Timestamp(now.0.saturating_sub(LATELY));
        let disputed = plan.disputed().into_iter().map(|device| self.dag.comings_and_goings(device, lately));
        own.max(disputed.max().unwrap_or_default()).min(MAX_DOUBLINGS)
    }
}
