//! Where an epoch belongs that this device does not know: told from what events say of their epochs.
//!
//! Hearsay never makes anything valid. It only decides whether a commit is worth a search, and which word is shown for
//! a message that cannot be read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dmls::group::Standing;
use dmls::id::{EpochId, EpochNumber};
use dmls::journal::Write;

use super::Room;
use super::record::{EntryPoint, Hearsay};
use crate::table;
use crate::wire::room::{CommitContent, Media};

/// Epochs of which hearsay is kept, in all and by one sender.
const MAX_EPOCHS: usize = 1_000;
const MAX_BY_SENDER: usize = 250;
/// Stories about one epoch.
const MAX_STORIES: usize = 4;
/// Entry points kept.
const MAX_ENTRIES: usize = 8;
/// GroupInfos that are remembered to be of no use.
const MAX_USELESS: usize = 1_000;
/// Steps of one walk.
const MAX_STEPS: usize = 2_000;

/// Where an epoch belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lineage {
    /// An ancestor of the epoch that this device joined.
    BeforeJoin,
    /// On a fork that this device was never in.
    OtherFork,
    /// It leads to an epoch that this device knows, or nowhere yet: worth a search.
    Open,
}

impl Room {
    /// Keeps what a commit event says: of the epoch that it makes, and of a GroupInfo.
    pub(crate) fn hear(&mut self, commit: &CommitContent, event: &str, sender: &str) {
        let Some(makes) = &commit.makes else { return };
        let story = Hearsay {
            base: commit.base.clone(),
            number: commit.number,
            resolves: commit.resolves.iter().map(|head| head.id).collect(),
            event: event.to_owned(),
            sender: sender.to_owned(),
        };
        self.keep_story(makes.id, story);
        if let Some(group_info) = commit.group_info.clone() {
            let epoch = dmls::effect::EpochRef { locator: dmls::id::Locator(event.to_owned()), ..makes.clone() };
            self.keep_entry(EntryPoint { epoch, number: commit.number.next(), group_info, from: sender.to_owned() });
        }
    }

    fn keep_story(&mut self, epoch: EpochId, story: Hearsay) {
        let by_sender = self.hearsay.values().flatten().filter(|known| known.sender == story.sender).count();
        let known = self.hearsay.get(&epoch);
        if known.is_some_and(|known| known.len() >= MAX_STORIES || known.iter().any(|k| k.event == story.event)) {
            return;
        }
        // Old stories make place: what matters is what is new.
        if by_sender >= MAX_BY_SENDER || self.hearsay.len() >= MAX_EPOCHS {
            let Some(oldest) = self.lowest_story(by_sender >= MAX_BY_SENDER, &story.sender) else { return };
            self.hearsay.remove(&oldest);
            self.writes.push(Write::delete(table::HEARSAY, table::key_in(&self.id, &oldest.0)));
        }
        let stories = self.hearsay.entry(epoch).or_default();
        stories.push(story);
        self.writes.push(table::put(table::HEARSAY, table::key_in(&self.id, &epoch.0), stories));
    }

    fn lowest_story(&self, of_sender: bool, sender: &str) -> Option<EpochId> {
        let mine = |stories: &Vec<Hearsay>| !of_sender || stories.iter().any(|story| story.sender == sender);
        let number = |stories: &Vec<Hearsay>| stories.first().map(|story| story.number);
        let candidates = self.hearsay.iter().filter(|(_, stories)| mine(stories));
        candidates.min_by_key(|(_, stories)| number(stories)).map(|(epoch, _)| *epoch)
    }

    fn keep_entry(&mut self, entry: EntryPoint) {
        let name = entry.name();
        if self.useless.contains(&name) || self.entries.values().any(|known| known.name() == name) {
            return;
        }
        let number = self.entries.last_key_value().map_or(0, |(last, _)| last + 1);
        self.writes.push(table::put(table::ENTRY, self.entry_key(number), &entry));
        self.entries.insert(number, entry);
        if self.entries.len() > MAX_ENTRIES {
            // Nobody takes more than a share from the others; numbers are only said, what commits make is not.
            let closed = self.group.closed_epochs();
            let of = |user: &str| self.entries.values().filter(|entry| entry.from == user).count();
            let made = |entry: &EntryPoint| closed.contains(&entry.epoch.id);
            let rank = |entry: &EntryPoint| (Reverse(of(&entry.from)), made(entry), entry.number);
            let least = self.entries.iter().min_by_key(|(_, entry)| rank(entry)).map(|(number, _)| *number);
            self.forget_entries(least);
        }
    }

    fn forget_entries(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.entries.remove(&number);
            self.writes.push(Write::delete(table::ENTRY, self.entry_key(number)));
        }
    }

    fn entry_key(&self, number: u64) -> Vec<u8> {
        table::key_in(&self.id, &number.to_be_bytes())
    }

    /// How good an entry point is, better last: of those who misled this device least, the highest.
    fn rank_of_entry(&self, entry: &EntryPoint) -> (Reverse<u32>, EpochNumber) {
        (Reverse(self.misled.get(&entry.from).copied().unwrap_or_default()), entry.number)
    }

    /// The best entry point.
    pub(crate) fn best_entry(&self) -> Option<&EntryPoint> {
        self.entries.values().max_by_key(|entry| self.rank_of_entry(entry))
    }

    /// This entry point leads nowhere.
    pub(crate) fn give_up_entry(&mut self, entry: &EntryPoint) {
        if self.useless.len() < MAX_USELESS {
            self.useless.insert(entry.name());
        }
        self.drop_entry(&entry.name());
        if self.misled.len() < MAX_USELESS || self.misled.contains_key(&entry.from) {
            *self.misled.entry(entry.from.clone()).or_default() += 1;
        }
    }

    /// This entry point is forgotten; if it is heard of again it may be tried again.
    pub(crate) fn drop_entry(&mut self, name: &(EpochId, Media)) {
        let named = self.entries.iter().filter(|(_, entry)| entry.name() == *name);
        self.forget_entries(named.map(|(number, _)| *number).collect::<Vec<_>>());
    }

    /// Where `epoch` belongs, as far as hearsay tells.
    pub(crate) fn lineage(&self, epoch: &EpochId) -> Lineage {
        self.lines().of(epoch)
    }

    /// What hearsay tells of where epochs belong: for whoever asks of many.
    pub(crate) fn lines(&self) -> Lines<'_> {
        let frontier = self.frontier();
        let (mut before, mut aside) = (self.ancestry(&frontier.before), self.ancestry(&frontier.aside));
        // A fork that had begun when this device was removed elsewhere may have had it for longer.
        if let Some(removed) = self.first_removal() {
            let numbers = self.said_numbers();
            let later = |id: &EpochId| numbers.get(id).is_none_or(|number| *number > removed);
            before.retain(later);
            aside.retain(later);
        }
        Lines { room: self, before, aside }
    }

    /// The number of the first epoch that this device knows others to have removed it in.
    fn first_removal(&self) -> Option<EpochNumber> {
        let own = self.group.device();
        let epochs = self.group.epochs();
        let removals = epochs.iter().filter(|info| info.removed.contains(own) && info.creator != *own);
        removals.map(|info| info.number).min()
    }

    /// The numbers of epochs, by those that are said to be built on them: the lowest word counts, for a false one may cause a
    /// search but never prevent it.
    fn said_numbers(&self) -> BTreeMap<EpochId, EpochNumber> {
        let mut numbers = BTreeMap::new();
        for story in self.hearsay.values().flatten() {
            let number = numbers.entry(story.base.id).or_insert(story.number);
            *number = story.number.min(*number);
        }
        numbers
    }

    fn is_said_genesis(&self, id: &EpochId) -> bool {
        let named = self.hearsay.values().flatten().find(|story| story.base.id == *id);
        named.is_some_and(|story| story.number == EpochNumber(0))
    }

    /// The nearest epochs that this device does not know and is not to look for: parents of those it joined at, and
    /// heads merged from forks that it was never in.
    fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        let epochs = self.group.epochs();
        let joined = self.group.joined_at();
        let own = self.group.device();
        let came_back = self.group.has_returned();
        for info in &epochs {
            let unknown = info.resolves.iter().filter(|id| !self.group.knows(id));
            let Some(base) = info.base.filter(|base| !self.group.knows(base)) else {
                // Who made the merge knew whom it left out of which head; but whoever came back was given a grant though
                // its old leaf is there.
                frontier.aside.extend(unknown.filter(|_| info.granted && !came_back));
                continue;
            };
            // Added again on another fork: what is below was beside it, unless it had been removed.
            let first = joined == Some(info.epoch.id) || self.descends(&base);
            let side = if first { &mut frontier.before } else { &mut frontier.aside };
            side.extend(unknown);
            // Where its old leaf was replaced it was in the group all along.
            let replaced = info.removed.contains(own);
            side.extend(Some(base).filter(|_| !replaced));
        }
        frontier
    }

    /// Whether `epoch` is said to be built, along bases, on one of those that this device knows.
    fn descends(&self, epoch: &EpochId) -> bool {
        let (mut to_look_at, mut seen) = (vec![*epoch], BTreeSet::new());
        while let Some(id) = to_look_at.pop() {
            if self.group.knows(&id) {
                return true;
            }
            if seen.len() <= MAX_STEPS && seen.insert(id) {
                to_look_at.extend(self.hearsay.get(&id).into_iter().flatten().map(|story| story.base.id));
            }
        }
        false
    }

    /// These epochs and all that is said to be before them.
    pub(super) fn ancestry(&self, from: &BTreeSet<EpochId>) -> BTreeSet<EpochId> {
        let (mut to_look_at, mut seen) = (from.iter().copied().collect::<Vec<_>>(), BTreeSet::new());
        while let Some(id) = to_look_at.pop() {
            if seen.len() > MAX_STEPS || self.group.knows(&id) || !seen.insert(id) {
                continue;
            }
            for story in self.hearsay.get(&id).into_iter().flatten() {
                to_look_at.push(story.base.id);
                to_look_at.extend(&story.resolves);
            }
        }
        seen
    }
}

/// All that is said to be before this device's join or beside it.
pub(crate) struct Lines<'a> {
    room: &'a Room,
    before: BTreeSet<EpochId>,
    aside: BTreeSet<EpochId>,
}

impl Lines<'_> {
    /// Where `epoch` belongs.
    pub(crate) fn of(&self, epoch: &EpochId) -> Lineage {
        if self.before.contains(epoch) {
            return Lineage::BeforeJoin;
        }
        if self.aside.contains(epoch) {
            return Lineage::OtherFork;
        }
        let (mut to_look_at, mut seen, mut open) = (vec![*epoch], BTreeSet::new(), false);
        while let Some(id) = to_look_at.pop() {
            if !seen.insert(id) || seen.len() > MAX_STEPS {
                continue;
            }
            if self.before.contains(&id) || self.aside.contains(&id) {
                continue;
            }
            match self.room.hearsay.get(&id) {
                _ if self.room.group.holds(&id) || self.room.welcomed.contains(&id) => open = true,
                // What is built where this device was removed is not for it.
                _ if self.room.group.knows(&id) && self.room.group.standing(&id) == Standing::Removed => {}
                Some(stories) => to_look_at.extend(stories.iter().map(|story| story.base.id)),
                // Nobody told yet; but nothing lies below a genesis.
                None => open |= !self.room.is_said_genesis(&id),
            }
        }
        if open { Lineage::Open } else { Lineage::OtherFork }
    }
}

#[derive(Default)]
struct Frontier {
    before: BTreeSet<EpochId>,
    aside: BTreeSet<EpochId>,
}
