//! The epochs whose secrets this device holds: their state in memory, and every record of it (SPEC §7.9).

use std::collections::{BTreeMap, HashMap};

use crate::codec::{from_raw, put_raw};
use crate::id::EpochId;
use crate::journal::{Entry, Records, Table, Write};
use crate::mls::{Entered, Epoch, Forest, MAX_LEAP, RatchetRecord, Ratchets, Refusal, Turn};
use crate::suite::Suite;

/// The nodes of ratchet trees, each once, under its tree hash. Public by nature.
pub(crate) const NODE: Table = Table("dmls.node");
/// Secrets of held epochs: one record an epoch.
pub(crate) const EPOCH_SECRETS: Table = Table("dmls.secrets");
/// Message keys of held epochs: a record a sender, a passed-over key, an untouched node of the secret tree.
pub(crate) const RATCHET: Table = Table("dmls.ratchet");

const VERSION: u8 = 1;

/// A held epoch.
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    pub(crate) ratchets: Ratchets,
    /// How many generations of a leaf were worked out for waiting messages that did not hold.
    vain: BTreeMap<u32, u32>,
}

impl Held {
    fn new(epoch: Epoch, ratchets: Ratchets) -> Self {
        Self { epoch, ratchets, vain: BTreeMap::new() }
    }

    /// Whether so much was worked out in vain for a leaf that nothing more is.
    pub(crate) fn is_worn_out(&self, leaf: u32) -> bool {
        self.vain.get(&leaf).is_some_and(|vain| *vain > MAX_LEAP)
    }
}

/// All held epochs of a group.
///
/// **Invariant**: the forest holds the nodes of exactly these epochs' trees.
pub(crate) struct HeldEpochs {
    /// What every key begins with.
    prefix: Vec<u8>,
    epochs: BTreeMap<EpochId, Held>,
    forest: Forest,
}

/// A stored value is not what was written.
pub(crate) struct Damaged(pub(crate) Table);

impl HeldEpochs {
    /// None yet; `prefix` begins the keys of all records.
    pub(crate) fn new(prefix: Vec<u8>) -> Self {
        Self { prefix, epochs: BTreeMap::new(), forest: Forest::default() }
    }

    pub(crate) fn get(&self, id: &EpochId) -> Option<&Held> {
        self.epochs.get(id)
    }

    /// Holds an epoch; gives what is to be stored.
    pub(crate) fn hold(&mut self, id: EpochId, entered: Entered) -> Vec<Write> {
        let Entered { epoch, ratchets, merge_export: _ } = entered;
        let mut writes = Vec::new();
        for node in self.forest.plant(epoch.tree()) {
            let value = [&[VERSION], &node.bytes[..]].concat();
            writes.push(Write::put(NODE, self.key(&[&node.name]), value));
        }
        writes.push(put_raw(VERSION, EPOCH_SECRETS, self.key(&[&id.0]), &epoch.record()));
        writes.extend(ratchets.records().into_iter().map(|record| self.ratchet_write(&id, record)));
        self.epochs.insert(id, Held::new(epoch, ratchets));
        writes
    }

    /// Lets an epoch go with all its keys.
    pub(crate) fn release(&mut self, id: &EpochId) -> Vec<Write> {
        let Some(held) = self.epochs.remove(id) else { return Vec::new() };
        let mut writes = vec![Write::delete(EPOCH_SECRETS, self.key(&[&id.0]))];
        for (key, _) in held.ratchets.records() {
            writes.push(Write::delete(RATCHET, self.key(&[&id.0, &key])));
        }
        for name in self.forest.fell(held.epoch.tree()) {
            writes.push(Write::delete(NODE, self.key(&[&name])));
        }
        writes
    }

    /// A message that waited did not hold: so many generations of a leaf were worked out in vain.
    pub(crate) fn note_vain(&mut self, id: &EpochId, leaf: u32, distance: u32) {
        if let Some(held) = self.epochs.get_mut(id) {
            let vain = held.vain.entry(leaf).or_default();
            *vain = vain.saturating_add(distance.max(1));
        }
    }

    /// Uses a message key up: it goes in the transaction that stores what was made or read with it (SPEC §7.3).
    pub(crate) fn advance(&mut self, id: &EpochId, turn: Turn) -> Vec<Write> {
        let Some(held) = self.epochs.get_mut(id) else { return Vec::new() };
        let records = held.ratchets.advance(turn);
        records.into_iter().map(|record| self.ratchet_write(id, record)).collect()
    }

    fn ratchet_write(&self, id: &EpochId, (key, value): RatchetRecord) -> Write {
        let key = self.key(&[&id.0, &key]);
        match value {
            Some(value) => put_raw(VERSION, RATCHET, key, &value),
            None => Write::delete(RATCHET, key),
        }
    }

    fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + parts.iter().map(|part| part.len()).sum::<usize>());
        key.extend_from_slice(&self.prefix);
        parts.iter().for_each(|part| key.extend(*part));
        key
    }

    /// Reads them back.
    pub(crate) fn load<R: Records>(
        prefix: Vec<u8>,
        suite: &'static dyn Suite,
        records: &R,
    ) -> Result<Self, LoadFailure<R::Error>> {
        let mut this = Self::new(prefix);
        let nodes = this.scan(records, NODE)?;
        let nodes: HashMap<&[u8], &[u8]> = nodes.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        let mut ratchets: BTreeMap<Vec<u8>, Vec<Entry>> = BTreeMap::new();
        for (key, value) in this.scan(records, RATCHET)? {
            let (id, rest) = key.split_at_checked(32).ok_or(Damaged(RATCHET))?;
            let value = this.raw(RATCHET, &key, &value)?;
            ratchets.entry(id.to_vec()).or_default().push((rest.to_vec(), value));
        }
        for (key, value) in this.scan(records, EPOCH_SECRETS)? {
            let record = this.raw(EPOCH_SECRETS, &key, &value)?;
            let mut node = |name: &[u8; 32]| match nodes.get(&name[..])?.split_first()? {
                (&VERSION, bytes) => Some(bytes.to_vec()),
                _ => None,
            };
            let epoch = Epoch::load(suite, &record, &mut this.forest, &mut node).map_err(|refusal| match refusal {
                Refusal::TreeHash => Damaged(NODE),
                _ => Damaged(EPOCH_SECRETS),
            })?;
            let id = EpochId::parse(&key).filter(|id| *id == epoch.id()).ok_or(Damaged(EPOCH_SECRETS))?;
            let own = ratchets.remove(&key).unwrap_or_default();
            let ratchets = Ratchets::load(&own).map_err(|_| Damaged(RATCHET))?;
            this.epochs.insert(id, Held::new(epoch, ratchets));
        }
        Ok(this)
    }

    /// All records of a table, without what their keys begin with.
    fn scan<R: Records>(&self, records: &R, table: Table) -> Result<Vec<Entry>, LoadFailure<R::Error>> {
        let mut entries = records.scan(table, &self.prefix).map_err(LoadFailure::Store)?;
        for (key, _) in &mut entries {
            key.drain(..self.prefix.len());
        }
        Ok(entries)
    }

    fn raw(&self, table: Table, key: &[u8], value: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, RawError> {
        from_raw(VERSION, table, &self.key(&[key]), value).map_err(|error| RawError(table, error))
    }

    /// All records as they would be written now.
    #[cfg(dmls_mutants)]
    pub(crate) fn records(&self) -> Vec<Write> {
        let mut again = Self::new(self.prefix.clone());
        let mut writes = Vec::new();
        for (id, held) in &self.epochs {
            let (epoch, ratchets) = (held.epoch.clone(), held.ratchets.clone());
            let merge_export = crate::secret::Secret::new([0; 32]);
            writes.extend(again.hold(*id, Entered { epoch, ratchets, merge_export }));
        }
        writes
    }
}

/// A record that cannot be read.
pub(crate) struct RawError(Table, crate::codec::RecordError);

/// Why held epochs could not be read.
pub(crate) enum LoadFailure<E> {
    Store(E),
    Damaged(Table),
    Record(RawError),
}

impl<E> From<Damaged> for LoadFailure<E> {
    fn from(Damaged(table): Damaged) -> Self {
        Self::Damaged(table)
    }
}

impl<E> From<RawError> for LoadFailure<E> {
    fn from(error: RawError) -> Self {
        Self::Record(error)
    }
}

impl<E> From<LoadFailure<E>> for crate::error::LoadError<E> {
    fn from(failure: LoadFailure<E>) -> Self {
        match failure {
            LoadFailure::Store(error) => Self::Store(error),
            LoadFailure::Damaged(table) => Self::Damaged(table.0),
            LoadFailure::Record(RawError(table, error)) => error.of(table, VERSION),
        }
    }
}
