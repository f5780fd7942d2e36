//! One room: the core's group, and what the binding remembers beside it.

pub(crate) mod absorb;
pub(crate) mod asking;
pub(crate) mod claims;
pub(crate) mod kept;
pub(crate) mod lineage;
pub(crate) mod members;
pub(crate) mod queue;
pub(crate) mod record;
pub(crate) mod rows;
pub(crate) mod search;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dmls::device::OwnDevice;
use dmls::group::{Group, Settings};
use dmls::id::{EpochId, GroupId, Timestamp};
use dmls::journal::{Records, Write};

use crate::error::Error;
use crate::id::RoomId;
use crate::table;
use crate::view::{Encryption, Membership};
use crate::wire::room::Media;

use claims::Claims;
use kept::Kept;
use queue::{AskItem, Item, KeptWelcome};
use record::{EntryPoint, Hearsay, Marks, Member, Place, RoomRecord, Search, Tally};

/// Raw commits kept in memory for Welcomes that name them.
const MAX_RECENT: usize = 32;

/// One room in memory. Everything but the last block is stored; changes gather in `writes` until the next transaction.
pub(crate) struct Room {
    pub(crate) id: RoomId,
    pub(crate) record: Kept<RoomRecord>,
    pub(crate) marks: Kept<Marks>,
    /// Commits with a GroupInfo, for external commits; the newest last.
    pub(crate) entries: BTreeMap<u64, EntryPoint>,
    /// Messages opened, by epoch and sender, the oldest first: shows what is missing.
    pub(crate) tallies: BTreeMap<u64, Tally>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) queue: BTreeMap<u64, Item>,
    /// The Welcomes of own commits in the outbox, by the epoch that they are for.
    pub(crate) own_welcomes: BTreeMap<EpochId, KeptWelcome>,
    pub(crate) hearsay: BTreeMap<EpochId, Vec<Hearsay>>,
    pub(crate) searches: BTreeMap<EpochId, Search>,
    pub(crate) group: Group,
    pub(crate) writes: Vec<Write>,

    /// The first major place that was given out since the room was read.
    first_major: u64,
    /// The last place of the list, once a message was listed since then.
    pub(crate) last_place: Option<Place>,
    pub(crate) claims: Claims,
    /// Commits seen lately: event id and MLSMessage.
    pub(crate) recent: VecDeque<(String, Vec<u8>)>,
    /// Epochs that this device was welcomed to by commits that were not seen yet.
    pub(crate) welcomed: BTreeSet<EpochId>,
    /// Merge inputs asked for: how often, and when again.
    pub(crate) asked: BTreeMap<EpochId, (usize, Timestamp)>,
    /// No commit before this, after one that failed.
    pub(crate) commit_hold: Option<Timestamp>,
    /// Own commits that the server refused, one after the other.
    pub(crate) commits_refused: u32,
    /// When the core was last told the time.
    pub(crate) ticked: Timestamp,
    /// Since when there is a gap in what this device has seen.
    pub(crate) gap_open: Option<Timestamp>,
    /// Paging that looks for missing events.
    pub(crate) paging: search::Paging,
    /// Commits made before this device could speak.
    pub(crate) updates: Updates,
    /// Asks for want of commits that are searched for in vain.
    pub(crate) asked_in_vain: Asked,
    /// Whether D in the core may be out of date.
    pub(crate) desired_stale: bool,
    /// The GroupInfo of an entry point, downloaded.
    pub(crate) group_info: Option<(EntryPoint, Vec<u8>)>,
    /// GroupInfos that cannot be joined by, each under the epoch that it was said to be of: not heard of again.
    pub(crate) useless: BTreeSet<(EpochId, Media)>,
    /// How many entry points of each user were of no use.
    pub(crate) misled: BTreeMap<String, u32>,
}

/// How often this device committed since it last spoke, and since when the canonical head is what it is.
#[derive(Default)]
pub(crate) struct Updates {
    pub(crate) tries: u32,
    pub(crate) head: Option<EpochId>,
    pub(crate) since: Timestamp,
    /// Since when others are said to have merged it where this device is not.
    pub(crate) behind: Option<Timestamp>,
}

/// How often this device asked for want of a commit, and when it did so last.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) count: u32,
    pub(crate) last: Timestamp,
}

impl Room {
    /// Reads a room back, or makes an empty one.
    pub(crate) fn load<R: Records>(
        id: RoomId,
        own: Arc<OwnDevice>,
        settings: Settings,
        records: &R,
    ) -> Result<Self, Error<R::Error>> {
        let group = Group::load(GroupId::new(id.as_str()), own, settings, records)?;
        let record = table::get(records, &[], table::ROOM, &table::room_key(&id))?.unwrap_or_default();
        let marks: Marks = table::get(records, &[], table::MARKS, &table::room_key(&id))?.unwrap_or_default();
        let first_major = marks.next_major;
        let entries = table::scan(records, table::ENTRY, &id)?.into_iter().filter_map(number_key).collect();
        let tallies = table::scan(records, table::TALLY, &id)?.into_iter().filter_map(number_key).collect();
        let members = table::scan(records, table::MEMBER, &id)?.into_iter().filter_map(text_key).collect();
        let queue = table::scan(records, table::OUTBOX, &id)?.into_iter().filter_map(number_key).collect();
        let own_welcomes = table::scan(records, table::OWN_WELCOME, &id)?.into_iter().filter_map(epoch_key).collect();
        let hearsay = table::scan(records, table::HEARSAY, &id)?.into_iter().filter_map(epoch_key).collect();
        let searches = table::scan(records, table::SEARCH, &id)?.into_iter().filter_map(epoch_key).collect();
        let room = Self {
            id,
            record: Kept::new(record),
            marks: Kept::new(marks),
            entries,
            tallies,
            members,
            queue,
            own_welcomes,
            hearsay,
            searches,
            group,
            writes: Vec::new(),
            first_major,
            last_place: None,
            claims: Claims::default(),
            recent: VecDeque::new(),
            welcomed: BTreeSet::new(),
            asked: BTreeMap::new(),
            commit_hold: None,
            commits_refused: 0,
            ticked: Timestamp(0),
            gap_open: None,
            paging: search::Paging::default(),
            updates: Updates::default(),
            asked_in_vain: Asked::default(),
            desired_stale: true,
            group_info: None,
            useless: BTreeSet::new(),
            misled: BTreeMap::new(),
        };
        if room.queue.values().all(|item| room.can_send(item)) {
            Ok(room)
        } else {
            Err(Error::Damaged(table::OUTBOX.0))
        }
    }

    /// Whether all is there that an item of the outbox sends: it was stored in one transaction.
    fn can_send(&self, item: &Item) -> bool {
        match item {
            Item::Commit(commit) => self.group.commit(&commit.epoch).is_some(),
            Item::Welcome(welcome) => self.own_welcomes.contains_key(&welcome.epoch),
            Item::Ask(_) | Item::Draft(_) | Item::ToDevice(_) => true,
        }
    }

    /// Whether this device takes part: joined, and encrypted with this protocol.
    pub(crate) fn is_active(&self) -> bool {
        self.record.membership == Membership::Joined && self.record.encryption == Encryption::Dmls
    }

    /// The next number in the outbox.
    fn next_number(&mut self) -> u64 {
        let number = self.marks.next_item;
        self.marks.edit().next_item += 1;
        number
    }

    /// The next major place of messages.
    pub(crate) fn next_major(&mut self) -> u64 {
        let major = self.marks.next_major;
        self.marks.edit().next_major += 1;
        major
    }

    /// A message stands at `place` now.
    pub(crate) fn note_place(&mut self, place: Place) {
        // Whether an older place is the last is not known.
        if place.major >= self.first_major {
            self.last_place = self.last_place.max(Some(place));
        }
    }

    /// The newest timeline event that was taken in.
    pub(crate) fn note_newest_event(&mut self, event_id: &str) {
        if self.marks.newest_event.as_deref() != Some(event_id) {
            self.marks.edit().newest_event = Some(event_id.to_owned());
        }
    }

    /// Whether there is anything to store.
    pub(crate) fn has_writes(&self) -> bool {
        self.record.is_changed() || self.marks.is_changed() || !self.writes.is_empty()
    }

    /// A room that is not in the store yet: its record, by which it is found again, goes with whatever is stored first.
    pub(crate) fn enlist(&mut self) {
        let _unchanged = self.record.edit();
    }

    /// What is to be stored in the next transaction, room record and marks with it.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        let marks = self.marks.take_change().map(|marks| table::put(table::MARKS, table::room_key(&self.id), marks));
        let record = self.record.take_change().map(|record| table::put(table::ROOM, table::room_key(&self.id), record));
        self.writes.extend(marks.into_iter().chain(record));
        std::mem::take(&mut self.writes)
    }

    /// Puts an item at the end of the outbox.
    pub(crate) fn enqueue(&mut self, item: Item) -> u64 {
        let number = self.next_number();
        self.keep_item(number, item);
        number
    }

    /// Stores an item anew.
    pub(crate) fn keep_item(&mut self, number: u64, item: Item) {
        self.writes.push(table::put(table::OUTBOX, table::key_in(&self.id, &number.to_be_bytes()), &item));
        self.queue.insert(number, item);
    }

    /// Forgets an item, and the Welcome that it was to send.
    pub(crate) fn drop_item(&mut self, number: u64) {
        self.writes.push(Write::delete(table::OUTBOX, table::key_in(&self.id, &number.to_be_bytes())));
        let epoch = match self.queue.remove(&number) {
            Some(Item::Commit(commit)) => commit.epoch,
            Some(Item::Welcome(welcome)) => welcome.epoch,
            _ => return,
        };
        if self.own_welcomes.remove(&epoch).is_some() {
            self.writes.push(Write::delete(table::OWN_WELCOME, table::key_in(&self.id, &epoch.0)));
        }
    }

    /// Stores the Welcome of an own commit.
    pub(crate) fn keep_welcome(&mut self, epoch: EpochId, welcome: KeptWelcome) {
        self.writes.push(table::put(table::OWN_WELCOME, table::key_in(&self.id, &epoch.0), &welcome));
        self.own_welcomes.insert(epoch, welcome);
    }

    /// The own commit that the server has not accepted yet.
    pub(crate) fn unpublished(&self) -> Option<u64> {
        self.queue.iter().find(|(_, item)| matches!(item, Item::Commit(_))).map(|(number, _)| *number)
    }

    /// The own ask that the server has not accepted yet.
    pub(crate) fn unsent_ask(&self) -> Option<(u64, &AskItem)> {
        self.queue.iter().find_map(|(number, item)| match item {
            Item::Ask(ask) => Some((*number, ask)),
            _ => None,
        })
    }

    /// The oldest own message that has not left yet.
    pub(crate) fn first_draft(&self) -> Option<u64> {
        self.queue.iter().find(|(_, item)| matches!(item, Item::Draft(_))).map(|(number, _)| *number)
    }

    /// Keeps a raw commit for a Welcome that may name it.
    pub(crate) fn remember_commit(&mut self, event_id: &str, bytes: &[u8]) {
        if self.recent.iter().any(|(known, _)| known == event_id) {
            return;
        }
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((event_id.to_owned(), bytes.to_vec()));
    }

    /// A raw commit seen lately.
    pub(crate) fn recent_commit(&self, event_id: &str) -> Option<&[u8]> {
        self.recent.iter().find(|(known, _)| known == event_id).map(|(_, bytes)| bytes.as_slice())
    }
}

fn text_key<T>((key, value): (Vec<u8>, T)) -> Option<(String, T)> {
    Some((String::from_utf8(key).ok()?, value))
}

fn number_key<T>((key, value): (Vec<u8>, T)) -> Option<(u64, T)> {
    Some((u64::from_be_bytes(key.try_into().ok()?), value))
}

fn epoch_key<T>((key, value): (Vec<u8>, T)) -> Option<(EpochId, T)> {
    Some((EpochId::parse(&key)?, value))
}
