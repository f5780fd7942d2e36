//! Ways to commits and events that this device lacks: a worklist, bounded and stored (SPEC §6.9).

use std::collections::BTreeMap;

use dmls::defence;
use dmls::effect::Need;
use dmls::entropy::{Entropy, EntropyError};
use dmls::id::{Device, EpochId, Timestamp};
use dmls::journal::Write;

use super::Room;
use super::lineage::Lineage;
use super::queue::{Item, ToDeviceItem, fresh_name};
use super::record::{Gap, Place, Search, Stage, Tally};
use crate::names;
use crate::table;
use crate::wire::request::{CommitRequest, MergeRequest};

/// Searches at a time.
const MAX_SEARCHES: usize = 64;
/// Pages of one run backwards.
const MAX_PAGES: u16 = 10;
/// Members asked in one round.
const ASK_AT_ONCE: usize = 3;
/// First pause between rounds, and the longest.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 300_000;
/// Pause between runs that look for entry points.
const ENTRIES_PAUSE: u64 = 30_000;
const MAX_DOUBLINGS: u32 = 7;
/// Pauses between runs that look for events missing by their numbers; then they are given up.
const PAGING_PAUSES: [u64; 4] = [0, 5_000, 30_000, 120_000];

/// Paging backwards from the newest event.
#[derive(Default)]
pub(crate) struct Paging {
    pub(crate) run: Option<Run>,
    /// Something is missing by its number.
    wanted: bool,
    attempts: usize,
    next: Timestamp,
    serial: u64,
    /// Not before this for entry points, and how many runs there were.
    next_entries: Timestamp,
    entries_runs: u32,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) serial: u64,
    pub(crate) from: Option<String>,
    pub(crate) pages_left: u16,
    /// Where the next older message belongs.
    pub(crate) before: Place,
}

impl Paging {
    /// Events are missing: page soon, or once more if that was in vain before. A sender of whom something is missing is
    /// heard again: what kept its events away may be over.
    pub(crate) fn ask(&mut self, newly: bool) {
        match (self.wanted, newly) {
            (true, _) => {}
            (false, true) => (self.attempts, self.next) = (0, Timestamp(0)),
            (false, false) => self.attempts = PAGING_PAUSES.len() - 1,
        }
        self.wanted = true;
    }

    fn start(&mut self, before: Place) {
        self.serial += 1;
        self.run = Some(Run { serial: self.serial, from: None, pages_left: MAX_PAGES, before });
    }

    /// The next page of the run.
    pub(crate) fn turn(&mut self, from: String, pages_left: u16, before: Place) {
        self.serial += 1;
        self.run = Some(Run { serial: self.serial, from: Some(from), pages_left, before });
    }

    /// When a run for missing events is due.
    fn due(&self) -> Option<Timestamp> {
        (self.wanted && self.run.is_none()).then_some(self.next)
    }

    /// When a run for entry points is due.
    pub(crate) fn entries_due(&self) -> Timestamp {
        self.next_entries
    }
}

fn pause(rounds: u32) -> u64 {
    (FIRST_PAUSE << rounds.min(10)).min(LONGEST_PAUSE)
}

impl Room {
    /// Looks at what the core needs and moves every search on as far as it goes without an answer.
    pub(crate) fn tend_searches(
        &mut self,
        own: &Device,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), EntropyError> {
        if !self.group.in_group() {
            return Ok(());
        }
        let needs = self.group.needs(now);
        self.tend_commits(&needs, own, now, entropy)?;
        self.tend_merge_values(&needs, now, entropy)?;
        self.tend_beginning();
        self.tend_paging(now);
        Ok(())
    }

    fn tend_commits(
        &mut self,
        needs: &[Need],
        own: &Device,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), EntropyError> {
        let wanted = self.wanted_commits(needs);
        let done: Vec<_> = self.searches.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in done {
            self.searches.remove(&id);
            self.writes.push(Write::delete(table::SEARCH, table::key_in(&self.id, &id.0)));
        }
        for (id, hints) in wanted {
            let has_room = self.searches.len() < MAX_SEARCHES || !defence::on("D8");
            match self.searches.get(&id) {
                Some(search) if search.hints != hints => self.keep_search(id, Search { hints, ..search.clone() }),
                None if has_room => {
                    let tried = Vec::new();
                    self.keep_search(id, Search { stage: Stage::Fetch, rounds: 0, next: now, hints, tried });
                }
                _ => {}
            }
        }
        let ids: Vec<_> = self.searches.keys().copied().collect();
        for id in ids {
            self.move_on(id, own, now, entropy)?;
        }
        Ok(())
    }

    fn wanted_commits(&self, needs: &[Need]) -> BTreeMap<EpochId, Vec<String>> {
        let mut wanted = BTreeMap::new();
        let commits = needs.iter().filter(|need| matches!(need, Need::Commit { .. }));
        let lines = commits.clone().next().map(|_| self.lines());
        for need in commits {
            let (Need::Commit { epoch, hint, .. }, Some(lines)) = (need, &lines) else { continue };
            if lines.of(epoch) != Lineage::Open {
                continue;
            }
            let heard = self.hearsay.get(epoch).into_iter().flatten().map(|story| story.event.clone());
            let mut hints: Vec<_> = hint.iter().map(|hint| hint.0.clone()).chain(heard).collect();
            hints.retain(|hint| hint.starts_with('$'));
            hints.dedup();
            wanted.insert(*epoch, hints);
        }
        wanted
    }

    pub(crate) fn keep_search(&mut self, id: EpochId, search: Search) {
        self.writes.push(table::put(table::SEARCH, table::key_in(&self.id, &id.0), &search));
        self.searches.insert(id, search);
    }

    fn move_on(
        &mut self,
        id: EpochId,
        own: &Device,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), EntropyError> {
        let Some(mut search) = self.searches.get(&id).cloned().filter(|search| search.next <= now) else {
            return Ok(());
        };
        match search.stage {
            Stage::Fetch | Stage::FetchAgain if search.hint().is_some() => return Ok(()),
            Stage::Fetch => search.enter(Stage::Page),
            Stage::FetchAgain => search.enter(Stage::Ask),
            Stage::Page => {
                if self.paging.run.is_none() {
                    self.start_paging();
                }
                return Ok(());
            }
            Stage::Ask => {
                self.ask_members(id, search.rounds, own, entropy)?;
                search.next = now.plus(pause(search.rounds));
                search.rounds += 1;
                search.enter(Stage::Fetch);
            }
        }
        self.keep_search(id, search);
        // From fetching to paging to asking nothing has to be waited for: go on at once.
        self.move_on(id, own, now, entropy)
    }

    fn start_paging(&mut self) {
        // A place of its own: what comes live or is said while pages are on their way stands after it.
        let before = self.next_place();
        self.paging.start(before);
    }

    /// Pages back for a commit that this device could join by.
    pub(crate) fn page_for_entries(&mut self, now: Timestamp) {
        if self.paging.run.is_none() && self.paging.next_entries <= now {
            // Who is in the group already has time.
            let doublings = if self.group.in_group() { self.paging.entries_runs.min(MAX_DOUBLINGS) } else { 0 };
            self.paging.next_entries = now.plus(ENTRIES_PAUSE << doublings);
            self.paging.entries_runs = self.paging.entries_runs.saturating_add(1);
            self.start_paging();
        }
    }

    fn ask_members(
        &mut self,
        epoch: EpochId,
        round: u32,
        own: &Device,
        entropy: &mut dyn Entropy,
    ) -> Result<(), EntropyError> {
        let members = self.group.canonical().and_then(|head| self.group.readers(&head)).unwrap_or_default();
        let others: Vec<_> = members.into_iter().filter(|device| device != own).collect();
        let request = CommitRequest { room: self.id.clone(), epochs: vec![epoch], device: own.device.clone() };
        let content = request.json().to_string();
        let skip = (round as usize).saturating_mul(ASK_AT_ONCE) % others.len().max(1);
        let asked: Vec<_> = others.iter().cycle().skip(skip).take(ASK_AT_ONCE.min(others.len())).cloned().collect();
        for to in asked {
            self.send_to_device(to, names::commit_request(), content.clone(), false, entropy)?;
        }
        Ok(())
    }

    /// Puts a request or answer to one device into the outbox.
    pub(crate) fn send_to_device(
        &mut self,
        to: Device,
        event_type: String,
        content: String,
        encrypt: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<(), EntropyError> {
        let txn_id = fresh_name(entropy)?;
        self.enqueue(Item::ToDevice(ToDeviceItem { to, event_type, content, txn_id, encrypt, attempts: 0 }));
        Ok(())
    }

    fn tend_merge_values(
        &mut self,
        needs: &[Need],
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<(), EntropyError> {
        for need in needs {
            let Need::MergeValue { epoch, ask, .. } = need else { continue };
            let (asked, next) = self.asked.get(epoch).copied().unwrap_or_default();
            let Some(to) = ask.get(asked % ask.len().max(1)).filter(|_| next <= now) else { continue };
            let rounds = u32::try_from(asked / ask.len().max(1)).unwrap_or(u32::MAX);
            let content = MergeRequest { room: self.id.clone(), epoch: *epoch }.json().to_string();
            self.asked.insert(*epoch, (asked + 1, now.plus(pause(rounds))));
            self.send_to_device(to.clone(), names::merge_request(), content, true, entropy)?;
        }
        let open = |epoch: &EpochId| needs.iter().any(|n| matches!(n, Need::MergeValue { epoch: e, .. } if e == epoch));
        self.asked.retain(|epoch, _| open(epoch));
        Ok(())
    }

    /// Starts a run for messages that are missing by their numbers.
    fn tend_paging(&mut self, now: Timestamp) {
        if self.paging.run.is_some() || !self.paging.wanted || self.paging.next > now || self.record.gap.is_some() {
            return;
        }
        let complete = !self.tallies.values().any(Tally::is_incomplete);
        if complete || self.paging.attempts >= PAGING_PAUSES.len() {
            self.paging.wanted = false;
            return;
        }
        self.start_paging();
        self.paging.attempts += 1;
        let next = PAGING_PAUSES.get(self.paging.attempts).copied().unwrap_or(LONGEST_PAUSE);
        self.paging.next = now.plus(next);
    }

    /// A commit that this device was welcomed with was fetched: as long as nothing shows where it stands, messages after
    /// it may be missing.
    pub(crate) fn note_unseen(&mut self, event_id: &str) {
        let known = self.recent_commit(event_id).is_some() || self.record.unseen.len() >= MAX_SEARCHES;
        if !known && !self.record.unseen.contains(event_id) {
            self.record.edit().unseen.insert(event_id.to_owned());
        }
    }

    /// A sync or a page shows a commit.
    pub(crate) fn note_seen(&mut self, event_id: &str) {
        if self.record.unseen.contains(event_id) {
            self.record.edit().unseen.remove(event_id);
        }
    }

    /// Pages on before the first sync if this device was welcomed there.
    fn tend_beginning(&mut self) {
        if self.record.gap.is_none() && !self.record.unseen.is_empty() {
            let record = self.record.edit();
            record.gap = record.beginning.take();
            if record.gap.is_none() {
                record.unseen.clear();
            }
        }
    }

    /// A page of a gap was taken in; `rest` is what remains of it.
    pub(crate) fn paged_gap(&mut self, gap: Gap, rest: Option<Gap>) {
        let enough = gap.until.is_none() && self.record.unseen.is_empty();
        let record = self.record.edit();
        (record.gap, record.beginning) = match rest {
            Some(rest) if enough => (None, Some(rest)),
            rest => (rest, record.beginning.take()),
        };
    }

    /// An event was fetched, or could not be: whoever still searches has tried this hint.
    pub(crate) fn fetched(&mut self, event_id: &str) {
        let hinted = |search: &Search| search.hint().is_some_and(|hint| hint == event_id);
        let ids: Vec<_> = self.searches.iter().filter(|(_, search)| hinted(search)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut search) = self.searches.get(&id).cloned() else { continue };
            search.tried.push(event_id.to_owned());
            self.keep_search(id, search);
        }
    }

    /// A run of paging ended.
    pub(crate) fn paged(&mut self) {
        self.paging.run = None;
        let paged: Vec<_> = self.searches.iter().filter(|(_, search)| search.stage == Stage::Page).collect();
        let paged: Vec<_> = paged.into_iter().map(|(id, search)| (*id, search.clone())).collect();
        for (id, mut search) in paged {
            search.enter(Stage::FetchAgain);
            self.keep_search(id, search);
        }
    }

    /// When a search should be looked at again.
    pub(crate) fn next_search(&self) -> Option<Timestamp> {
        let searches = self.searches.values().map(|search| search.next);
        let asked = self.asked.values().map(|(_, next)| *next);
        searches.chain(asked).chain(self.paging.due()).min()
    }
}
