//! The persistent form of a group: versioned records in eleven tables (docs/STORAGE.md).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::{Zeroize, Zeroizing};

use super::asks::{Ask, Closed, Tries};
use super::{Batch, Group, Settings};
use crate::codec::{from_raw, from_record, put_raw, to_record, to_secret_record};
use crate::dag::{Dag, Epoch, Joined, Past, parents_first};
use crate::defence;
use crate::device::OwnDevice;
use crate::effect::{EpochKind, EpochRef};
use crate::error::LoadError;
use crate::held::HeldEpochs;
use crate::id::{Device, EpochId, EpochNumber, GroupId, LeafIndex, Locator, SignatureKey, Timestamp};
use crate::input::{BaseProof, Desired};
use crate::journal::{Entry, Records, Table, Write};
use crate::members::{Difference, Leaf, Members};
use crate::mls::Entered;
use crate::pending::Waiting;
use crate::secret::Secret;

/// Two records a group: deadlines and places; D.
pub(crate) const GROUP: Table = Table("dmls.group");
/// One record an end of a membership.
pub(crate) const DEPARTURE: Table = Table("dmls.departure");
/// One record an epoch that is known in full.
pub(crate) const EPOCH: Table = Table("dmls.epoch");
/// Stubs, a page of them a record.
pub(crate) const PAST: Table = Table("dmls.past");
/// One record a leaf of the floor.
pub(crate) const FLOOR: Table = Table("dmls.floor");
/// One record a device whose newest leaf stood in an epoch of which a stub is left.
pub(crate) const NEWEST: Table = Table("dmls.newest");
/// Message counts of an epoch.
pub(crate) const TRAFFIC: Table = Table("dmls.traffic");
/// Raw commits.
pub(crate) const COMMIT: Table = Table("dmls.commit");
/// Waiting inputs.
pub(crate) const PENDING: Table = Table("dmls.pending");
/// Epochs that cannot be entered.
pub(crate) const CLOSED: Table = Table("dmls.closed");
/// Who asked to be added anew.
pub(crate) const ASK: Table = Table("dmls.ask");

const VERSION: u8 = 3;

/// Whether epochs have been held for long enough is asked again after so many milliseconds.
const LOOK_AGAIN: u64 = 3_600_000;

const DAY: u64 = 24 * 3_600_000;

/// What the key of D ends with.
const DESIRED: &[u8] = b"D";

/// How long this device lived with a group. What clocks say alone must not end anything: they are set wrong, and a device
/// that was away has not yet heard what came of the epochs that it holds.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Age {
    /// Milliseconds until `at`; of a time in which nothing happened a day at most.
    lived: u64,
    at: Option<Timestamp>,
}

impl Age {
    fn lived(self, now: Timestamp) -> u64 {
        let since = self.at.map_or(0, |at| now.0.saturating_sub(at.0));
        self.lived.saturating_add(since.min(DAY))
    }
}

/// Message counts of one epoch.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Traffic {
    /// How many messages this device sealed here.
    pub(super) sent: u32,
}

/// The largest serials of one device's leaves, by key.
#[derive(Serialize, Deserialize)]
struct NewestRecord {
    device: Device,
    leaves: Vec<(SignatureKey, u64)>,
}

#[derive(Serialize, Deserialize)]
struct GroupRecord {
    due_since: Option<Timestamp>,
    last_sent: Option<EpochId>,
    heard: Option<Timestamp>,
    joined: Option<Joined>,
    returned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    healed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of_d_since: Option<Timestamp>,
    age: Age,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tries: BTreeMap<EpochId, Tries>,
}

/// What is known of an epoch, under its EpochId. It is written with every commit, and again as the epoch ages: what is empty is left out.
#[derive(Serialize, Deserialize)]
struct EpochRecord {
    number: EpochNumber,
    creator: Device,
    kind: EpochKind,
    base: Option<EpochRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resolves: Vec<EpochRef>,
    locator: Locator,
    #[serde(rename = "commit")]
    commit_hash: ByteBuf,
    proof: ProofRecord,
    members: Listing,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<Device>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<Device>,
    #[serde(rename = "seen")]
    first_seen: Timestamp,
    age: u64,
    #[serde(rename = "leaf")]
    own_leaf: Option<LeafIndex>,
    marks: Marks,
    #[serde(rename = "export", default, skip_serializing_if = "Option::is_none")]
    merge_export: Option<Bare>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    merge_inputs: Option<Bare>,
}

/// Confirmed transcript hash and confirmation tag.
#[derive(Serialize, Deserialize)]
struct ProofRecord(ByteBuf, ByteBuf);

/// What is so or not so of an epoch, a bit each.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Marks(u8);

impl Marks {
    const OWN: u8 = 1;
    const HEALING: u8 = 1 << 1;
    const ENTRY: u8 = 1 << 2;
    const HELD: u8 = 1 << 3;
    const ABANDONED: u8 = 1 << 4;
    const EQUIVOCATION: u8 = 1 << 5;
    const GRANTED: u8 = 1 << 6;

    fn of(epoch: &Epoch) -> Self {
        let marks = [
            (epoch.own, Self::OWN),
            (epoch.healing, Self::HEALING),
            (epoch.entry, Self::ENTRY),
            (epoch.held, Self::HELD),
            (epoch.abandoned, Self::ABANDONED),
            (epoch.equivocation, Self::EQUIVOCATION),
            (epoch.granted, Self::GRANTED),
        ];
        Self(marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, bit)| bit).sum())
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// The members of an epoch: how they differ from those of its base, or from the floor (SPEC §7.10).
#[derive(Serialize, Deserialize)]
struct Listing {
    on_floor: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<LeafIndex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    new: Vec<Leaf>,
}

impl Listing {
    fn of(epoch: &Epoch, base: Option<&Epoch>, floor: &Members) -> Self {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for place in base.map_or(floor, |base| &base.members).difference(&epoch.members) {
            match (place.gone, place.new) {
                (Some(leaf), None) => gone.push(leaf.index),
                (_, leaf) => new.extend(leaf.cloned()),
            }
        }
        Self { on_floor: base.is_none(), gone, new }
    }

    /// `None` if it goes on from a base that there is no record of.
    fn restore(self, base: Option<&Members>, floor: &Members) -> Option<Members> {
        let before = if self.on_floor { floor } else { base? };
        Some(before.with(self.gone, self.new))
    }
}

/// A secret on its way to a record or from one.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Bare(ByteBuf);

impl Drop for Bare {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl Bare {
    fn of(secret: Option<&Secret>) -> Option<Self> {
        secret.map(|secret| Self(ByteBuf::from(secret.expose().to_vec())))
    }
}

impl EpochRecord {
    fn of(epoch: &Epoch, members: Listing) -> Self {
        let (marks, epoch) = (Marks::of(epoch), epoch.clone());
        let BaseProof { confirmed_transcript_hash, confirmation_tag } = epoch.proof;
        Self {
            members,
            marks,
            proof: ProofRecord(confirmed_transcript_hash.into(), confirmation_tag.into()),
            commit_hash: ByteBuf::from(epoch.commit_hash.to_vec()),
            merge_export: Bare::of(epoch.merge_export.as_ref()),
            merge_inputs: Bare::of(epoch.merge_inputs.as_ref()),
            number: epoch.number,
            creator: epoch.creator,
            kind: epoch.kind,
            base: epoch.base,
            resolves: epoch.resolves,
            locator: epoch.locator,
            added: epoch.added,
            removed: epoch.removed,
            first_seen: epoch.first_seen,
            age: epoch.age,
            own_leaf: epoch.own_leaf,
        }
    }

    fn without_members(mut self) -> (Self, Listing) {
        let none = Listing { on_floor: true, gone: Vec::new(), new: Vec::new() };
        let members = std::mem::replace(&mut self.members, none);
        (self, members)
    }

    fn restore(self, id: EpochId, members: Members) -> Option<Epoch> {
        let ProofRecord(hash, tag) = self.proof;
        let proof = BaseProof { confirmed_transcript_hash: hash.into_vec(), confirmation_tag: tag.into_vec() };
        let secret = |bytes: Option<Bare>| bytes.map(|bytes| Secret::parse(&bytes.0));
        Some(Epoch {
            commit_hash: self.commit_hash.as_ref().try_into().ok()?,
            merge_export: secret(self.merge_export).map_or(Some(None), |value| value.map(Some))?,
            merge_inputs: secret(self.merge_inputs).map_or(Some(None), |value| value.map(Some))?,
            id,
            number: self.number,
            creator: self.creator,
            kind: self.kind,
            base: self.base,
            resolves: self.resolves,
            locator: self.locator,
            proof,
            members,
            added: self.added,
            removed: self.removed,
            first_seen: self.first_seen,
            age: self.age,
            own_leaf: self.own_leaf,
            own: self.marks.has(Marks::OWN),
            healing: self.marks.has(Marks::HEALING),
            entry: self.marks.has(Marks::ENTRY),
            held: self.marks.has(Marks::HELD),
            abandoned: self.marks.has(Marks::ABANDONED),
            equivocation: self.marks.has(Marks::EQUIVOCATION),
            granted: self.marks.has(Marks::GRANTED),
        })
    }
}

/// The DAG of these records; `None` if they are not those of one.
fn restore(records: Vec<(EpochId, EpochRecord)>, past: Past, desired: Desired) -> Option<Dag> {
    let sorted = parents_first(records, |(id, record)| {
        (*id, record.base.iter().chain(&record.resolves).map(|parent| parent.id).collect())
    });
    let (mut members, mut epochs) = (BTreeMap::new(), Vec::new());
    for (id, record) in sorted? {
        let (record, listing) = record.without_members();
        let base = record.base.as_ref().and_then(|base| members.get(&base.id));
        let here = listing.restore(base, &past.floor)?;
        members.insert(id, here.clone());
        epochs.push(record.restore(id, here)?);
    }
    Dag::of(epochs, past, desired)
}

fn scan<R: Records>(records: &R, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, LoadError<R::Error>> {
    records.scan(table, prefix).map_err(LoadError::Store)
}

fn read<T: serde::de::DeserializeOwned, E>(table: Table, bytes: &[u8]) -> Result<T, LoadError<E>> {
    from_record(VERSION, bytes).map_err(|error| error.of(table, VERSION))
}

fn read_raw<E>(table: Table, key: &[u8], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, LoadError<E>> {
    from_raw(VERSION, table, key, bytes).map_err(|error| error.of(table, VERSION))
}

/// Every record of a group starts with its length-prefixed name.
pub(super) fn prefix(group: &GroupId) -> Vec<u8> {
    key(group, &[])
}

fn key(group: &GroupId, parts: &[&[u8]]) -> Vec<u8> {
    let name = group.as_bytes();
    let mut key = Vec::with_capacity(2 + name.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    key.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
    [name].iter().chain(parts).for_each(|part| key.extend_from_slice(part));
    key
}

impl Group {
    fn prefix(&self) -> Vec<u8> {
        prefix(&self.id)
    }

    pub(super) fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        key(&self.id, parts)
    }

    pub(super) fn group_record(&self) -> Write {
        let record = GroupRecord {
            due_since: self.due_since,
            last_sent: self.last_sent,
            heard: self.heard,
            joined: self.dag.past().joined,
            returned: self.dag.past().returned,
            healed: self.dag.past().healed,
            of_d_since: self.of_d_since,
            age: self.age,
            tries: self.tries.clone(),
        };
        Write::put(GROUP, self.prefix(), to_record(VERSION, &record))
    }

    pub(super) fn departure_record(&self, event: &Locator) -> Option<Write> {
        let departure = self.departures.get(event)?;
        Some(Write::put(DEPARTURE, self.key(&[event.0.as_bytes()]), to_record(VERSION, departure)))
    }

    /// D, apart from the rest, which changes far more often.
    pub(super) fn desired_record(&self) -> Write {
        let (key, desired) = (self.key(&[DESIRED]), self.dag.desired());
        if desired.devices.is_empty() {
            return Write::delete(GROUP, key);
        }
        Write::put(GROUP, key, to_record(VERSION, desired))
    }

    pub(super) fn epoch_record(&self, id: &EpochId) -> Option<Write> {
        let epoch = self.dag.get(id)?;
        let base = epoch.base.as_ref().filter(|_| !self.is_on_floor(epoch)).and_then(|base| self.dag.get(&base.id));
        let members = Listing::of(epoch, base, &self.dag.past().floor);
        Some(Write::put(EPOCH, self.key(&[&id.0]), to_secret_record(VERSION, &EpochRecord::of(epoch, members))))
    }

    /// Whether the members of an epoch are written as the difference to the floor. Where this device came in its base may
    /// be an epoch that it is never told of.
    pub(super) fn is_on_floor(&self, epoch: &Epoch) -> bool {
        epoch.entry || epoch.base.as_ref().is_none_or(|base| self.dag.get(&base.id).is_none())
    }

    pub(super) fn page_record(&self, page: u32) -> Write {
        put_raw(VERSION, PAST, self.key(&[&page.to_be_bytes()]), &self.dag.past().page(page))
    }

    pub(super) fn forget_page(&self, page: u32) -> Write {
        Write::delete(PAST, self.key(&[&page.to_be_bytes()]))
    }

    /// What changed in the floor.
    pub(super) fn floor_records(&self, before: &Members) -> Vec<Write> {
        let key = |index: LeafIndex| self.key(&[&index.0.to_be_bytes()]);
        let record = |place: Difference<'_>| match (place.gone, place.new) {
            (_, Some(leaf)) => Some(Write::put(FLOOR, key(leaf.index), to_record(VERSION, leaf))),
            (gone, None) => gone.map(|leaf| Write::delete(FLOOR, key(leaf.index))),
        };
        before.difference(&self.dag.past().floor).filter_map(record).collect()
    }

    pub(super) fn newest_record(&self, device: &Device) -> Option<Write> {
        let newest = self.dag.past().newest.get(device)?;
        let key = self.key(&[device.user.as_bytes(), &[0], device.device.as_bytes()]);
        let leaves: Vec<_> = newest.iter().map(|(key, serial)| (*key, *serial)).collect();
        Some(Write::put(NEWEST, key, to_record(VERSION, &NewestRecord { device: device.clone(), leaves })))
    }

    pub(super) fn traffic_record(&self, id: &EpochId) -> Option<Write> {
        let traffic = self.traffic.get(id)?;
        Some(Write::put(TRAFFIC, self.key(&[&id.0]), to_record(VERSION, traffic)))
    }

    pub(super) fn commit_record(&self, id: &EpochId, commit: &[u8]) -> Write {
        put_raw(VERSION, COMMIT, self.key(&[&id.0]), commit)
    }

    pub(super) fn waiting_record(&self, waiting: &Waiting) -> Write {
        Write::put(PENDING, self.key(&[&waiting.key()]), to_record(VERSION, waiting))
    }

    pub(super) fn forget_waiting(&self, key: &[u8; 32]) -> Write {
        Write::delete(PENDING, self.key(&[key]))
    }

    pub(super) fn closed_record(&self, closed: &Closed) -> Write {
        Write::put(CLOSED, self.key(&[&closed.id.0]), to_record(VERSION, closed))
    }

    pub(super) fn forget_closed(&self, id: &EpochId) -> Write {
        Write::delete(CLOSED, self.key(&[&id.0]))
    }

    pub(super) fn ask_record(&self, key: &SignatureKey) -> Option<Write> {
        let ask = self.asks.get(key)?;
        Some(Write::put(ASK, self.key(&[&key.0]), to_record(VERSION, ask)))
    }

    /// Keeps a new epoch: stub, state and commit, in one transaction with everything else of the batch.
    pub(super) fn insert(
        &mut self,
        epoch: Epoch,
        entered: Option<Entered>,
        commit: Option<&[u8]>,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let (id, before) = (epoch.id, self.excess());
        if let Some(own) = epoch.members.leaf_of(self.own.device()).filter(|leaf| leaf.key == self.own.key()) {
            self.own.note_serial(own.serial);
        }
        if self.dag.is_empty() {
            self.dag.set_floor(epoch.members.clone());
            batch.writes.extend(self.floor_records(&Members::default()));
        }
        self.dag.insert(Epoch { age: self.age.lived(now), ..epoch });
        batch.writes.extend(self.epoch_record(&id));
        if let Some(entered) = entered {
            batch.writes.extend(self.held.hold(id, entered));
        }
        if let Some(commit) = commit {
            self.commit_bytes.insert(id, commit.to_vec());
            batch.writes.push(self.commit_record(&id, commit));
        }
        self.open_again(&id, batch);
        self.retain(now, batch);
        self.settle_past(before, batch);
        #[cfg(dmls_mutants)]
        if !defence::on("F4") {
            self.drop_losers(batch);
        }
    }

    /// A weaker rule for the attack F4: the winning branch replaces the others.
    #[cfg(dmls_mutants)]
    fn drop_losers(&mut self, batch: &mut Batch) {
        let Some(winner) = self.canonical() else { return };
        let line = self.dag.ancestry(&winner);
        let losers: Vec<_> = self.dag.epochs().map(|epoch| epoch.id).filter(|id| !line.contains(id)).collect();
        losers.iter().for_each(|id| self.let_go(id, batch));
    }

    /// Lets epochs go that ceased to be heads long ago, and of a user's beyond the number that may be held the earliest:
    /// whoever makes many pushes out only their own (SPEC §7.6).
    pub(super) fn retain(&mut self, now: Timestamp, batch: &mut Batch) {
        let most = self.settings.max_held;
        let mut going = self.expired(now, batch);
        // Not one for one, or each commit would look through all of them.
        let beyond: Vec<_> = self.dag.held_beyond(most + most / 8).collect();
        if going.is_empty() && beyond.is_empty() {
            return;
        }
        let heads: BTreeSet<EpochId> = self.dag.head_ids().copied().collect();
        for epochs in beyond {
            let old: Vec<_> = epochs.into_iter().filter(|id| !heads.contains(id)).collect();
            going.extend(&old[..old.len().saturating_sub(most)]);
        }
        going.iter().filter(|id| !heads.contains(id)).for_each(|id| self.let_go(id, batch));
    }

    /// Held epochs whose time is over, if that was not asked lately.
    fn expired(&mut self, now: Timestamp, batch: &mut Batch) -> BTreeSet<EpochId> {
        let age = self.age.lived(now);
        // Nothing waits for a false date: a clock that was set back is right from now on.
        let is_set_back = self.age.at.is_some_and(|at| now < at);
        if !is_set_back && self.retained.is_some_and(|at| age < at.saturating_add(LOOK_AGAIN)) {
            return BTreeSet::new();
        }
        self.retained = Some(age);
        self.age = Age { lived: age, at: Some(now) };
        batch.writes.push(self.group_record());
        let is_over = |id: &EpochId| {
            self.dag.superseded(id).is_some_and(|since| since.saturating_add(self.settings.window) <= age)
        };
        self.dag.held().into_iter().filter(is_over).collect()
    }

    pub(super) fn let_go(&mut self, id: &EpochId, batch: &mut Batch) {
        let writes = self.held.release(id);
        if defence::on("F10") {
            batch.writes.extend(writes);
        }
        self.dag.change(id, |epoch| {
            epoch.held = false;
            epoch.merge_export = None;
            epoch.merge_inputs = None;
        });
        batch.writes.extend(self.epoch_record(id));
    }

    /// Reads a group back.
    pub fn load<R: Records>(
        group: GroupId,
        own: Arc<OwnDevice>,
        settings: Settings,
        records: &R,
    ) -> Result<Self, LoadError<R::Error>> {
        own.load_serial(records)?;
        let mut this = Self::new(group, own, settings);
        let (prefix, mut past) = (this.prefix(), Past::default());
        if let Some(bytes) = records.get(GROUP, &prefix).map_err(LoadError::Store)? {
            let record: GroupRecord = read(GROUP, &bytes)?;
            this.due_since = record.due_since;
            this.last_sent = record.last_sent;
            this.heard = record.heard;
            this.age = record.age;
            this.of_d_since = record.of_d_since;
            this.tries = record.tries;
            (past.joined, past.returned, past.healed) = (record.joined, record.returned, record.healed);
        }
        for (key, bytes) in scan(records, DEPARTURE, &prefix)? {
            let event = key.get(prefix.len()..).and_then(|rest| String::from_utf8(rest.to_vec()).ok());
            let event = Locator(event.ok_or(LoadError::Damaged(DEPARTURE.0))?);
            this.departures.insert(event, read(DEPARTURE, &bytes)?);
        }
        let desired = records.get(GROUP, &this.key(&[DESIRED])).map_err(LoadError::Store)?;
        let desired = desired.map(|bytes| read(GROUP, &bytes)).transpose()?.unwrap_or_default();
        for (key, bytes) in scan(records, PAST, &prefix)? {
            let number = key.get(prefix.len()..).and_then(|rest| rest.try_into().ok()).map(u32::from_be_bytes);
            let page = read_raw(PAST, &key, &bytes)?;
            number.and_then(|number| past.read(number, &page)).ok_or(LoadError::Damaged(PAST.0))?;
        }
        let floor = scan(records, FLOOR, &prefix)?;
        past.floor = floor.iter().map(|(_, bytes)| read(FLOOR, bytes)).collect::<Result<_, _>>()?;
        for (_, bytes) in scan(records, NEWEST, &prefix)? {
            let NewestRecord { device, leaves } = read(NEWEST, &bytes)?;
            past.newest.insert(device, leaves.into_iter().collect());
        }
        let mut epochs = Vec::new();
        for (key, bytes) in scan(records, EPOCH, &prefix)? {
            let id = key.get(prefix.len()..).and_then(EpochId::parse).ok_or(LoadError::Damaged(EPOCH.0))?;
            epochs.push((id, read(EPOCH, &bytes)?));
        }
        this.dag = restore(epochs, past, desired).ok_or(LoadError::Damaged(EPOCH.0))?;
        this.note_ended();
        for (_, bytes) in scan(records, PENDING, &prefix)? {
            this.pending.insert(read(PENDING, &bytes)?);
        }
        for (_, bytes) in scan(records, CLOSED, &prefix)? {
            let closed: Closed = read(CLOSED, &bytes)?;
            this.closed.insert(closed.id, closed);
        }
        for (key, bytes) in scan(records, ASK, &prefix)? {
            let key = key.get(prefix.len()..).and_then(|rest| rest.try_into().ok()).map(SignatureKey);
            let (key, ask): (SignatureKey, Ask) = (key.ok_or(LoadError::Damaged(ASK.0))?, read(ASK, &bytes)?);
            this.dag.raise_floor(&ask.device, &key, ask.serial);
            this.asks.insert(key, ask);
        }
        this.load_by_epoch(records, &prefix)?;
        Ok(this)
    }

    fn load_by_epoch<R: Records>(&mut self, records: &R, prefix: &[u8]) -> Result<(), LoadError<R::Error>> {
        let split = |table: Table, key: &[u8]| -> Result<(EpochId, Vec<u8>), LoadError<R::Error>> {
            let rest = key.get(prefix.len()..).ok_or(LoadError::Damaged(table.0))?;
            let (id, rest) = rest.split_at_checked(32).ok_or(LoadError::Damaged(table.0))?;
            let id = EpochId::parse(id).ok_or(LoadError::Damaged(table.0))?;
            Ok((id, rest.to_vec()))
        };
        for (key, bytes) in scan(records, TRAFFIC, prefix)? {
            let (id, _) = split(TRAFFIC, &key)?;
            self.traffic.insert(id, read(TRAFFIC, &bytes)?);
        }
        for (key, bytes) in scan(records, COMMIT, prefix)? {
            let (id, _) = split(COMMIT, &key)?;
            self.commit_bytes.insert(id, read_raw(COMMIT, &key, &bytes)?.to_vec());
        }
        self.held = HeldEpochs::load(prefix.to_vec(), self.own.suite(), records)?;
        Ok(())
    }
}
