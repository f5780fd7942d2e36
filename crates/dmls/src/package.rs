//! This device's key packages, with their private keys.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::codec::{from_raw, from_record, put_raw, to_record};
use crate::defence;
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, LoadError};
use crate::journal::{Durable, Entry, Records, Table, Write};
use crate::mls::{self, View};

/// The MLS values of all key packages: one record a value.
const PACKAGES: Table = Table("dmls.package");
/// Which references are held, and the values that belong to each.
const REFERENCES: Table = Table("dmls.package-ref");

/// A key package to be uploaded.
pub struct OwnKeyPackage {
    /// KeyPackageRef (RFC 9420 §5.2).
    pub reference: [u8; 32],
    /// The MLSMessage that holds the key package.
    pub bytes: Vec<u8>,
}

/// The key packages of this device whose private keys are still held.
#[derive(Default)]
pub struct KeyPackages {
    view: View,
    references: std::collections::BTreeMap<[u8; 32], Held>,
}

/// One held key package.
struct Held {
    last_resort: bool,
    /// Keys of its values in the view.
    keys: BTreeSet<Vec<u8>>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct HeldRecord {
    last_resort: bool,
    keys: Vec<serde_bytes::ByteBuf>,
}

const VERSION: u8 = 1;

impl KeyPackages {
    /// Reads them from the store.
    pub fn load<R: Records>(records: &R) -> Result<Self, LoadError<R::Error>> {
        let read = |(key, record): Entry| {
            let value = from_raw(VERSION, PACKAGES, &key, &record).map_err(|error| error.of(PACKAGES, VERSION))?;
            Ok::<_, LoadError<R::Error>>((key, value))
        };
        let values = records.scan(PACKAGES, b"").map_err(LoadError::Store)?;
        let values = values.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut this = Self { view: View::from_entries(values), references: Default::default() };
        for (key, bytes) in records.scan(REFERENCES, b"").map_err(LoadError::Store)? {
            let record: HeldRecord = from_record(VERSION, &bytes).map_err(|error| error.of(REFERENCES, VERSION))?;
            let keys = record.keys.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
            let reference = key.as_slice().try_into().map_err(|_| LoadError::Damaged(REFERENCES.0))?;
            this.references.insert(reference, Held { last_resort: record.last_resort, keys });
        }
        Ok(this)
    }

    /// Makes `count` key packages; their private keys are durable before anything can be uploaded.
    pub fn generate(
        &mut self,
        own: &OwnDevice,
        count: usize,
        last_resort: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Vec<OwnKeyPackage>>, GroupError> {
        let (mut writes, mut made) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (view, reference, bytes) = mls::key_package(&self.view, own, last_resort, entropy)?;
            let (puts, _) = view.changes_since(&self.view);
            let keys = puts.iter().map(|(key, _)| key.clone()).collect();
            writes.extend(puts.into_iter().map(|(key, value)| put_raw(VERSION, PACKAGES, key, &value)));
            self.view = view;
            let held = Held { last_resort, keys };
            writes.push(held.record(&reference));
            self.references.insert(reference, held);
            made.push(OwnKeyPackage { reference, bytes });
        }
        if !defence::on("S6") {
            writes.clear();
        }
        Ok(Durable::new(writes, made))
    }

    /// Deletes private keys: of packages that were replaced, or whose time is up.
    pub fn forget(&mut self, references: &[[u8; 32]]) -> Durable<()> {
        let writes = references.iter().flat_map(|reference| self.remove(reference)).collect();
        Durable::new(writes, ())
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    pub(crate) fn has(&self, reference: &[u8; 32]) -> bool {
        self.references.contains_key(reference)
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// A key package dies with its first use; a last-resort one lives on until the host replaces it (SPEC §5.7).
    pub(crate) fn used(&mut self, reference: [u8; 32]) -> Vec<Write> {
        if self.references.get(&reference).is_some_and(|held| held.last_resort || !defence::on("X5")) {
            return Vec::new();
        }
        self.remove(&reference)
    }

    /// Whether a held package is a last-resort one.
    pub fn is_last_resort(&self, reference: &[u8; 32]) -> bool {
        self.references.get(reference).is_some_and(|held| held.last_resort)
    }

    /// All records that they would write now.
    #[cfg(dmls_mutants)]
    pub fn portrait(&self) -> crate::group::portrait::Portrait {
        let values = self.view.iter().map(|(key, value)| put_raw(VERSION, PACKAGES, key.to_vec(), value));
        let references = self.references.iter().map(|(reference, held)| held.record(reference));
        crate::group::portrait::portrait(&values.chain(references).collect::<Vec<_>>())
    }

    fn remove(&mut self, reference: &[u8; 32]) -> Vec<Write> {
        let Some(held) = self.references.remove(reference) else { return Vec::new() };
        let kept = self.view.iter().filter(|(key, _)| !held.keys.contains(*key));
        self.view = View::from_entries(kept.map(|(key, value)| (key.to_vec(), Zeroizing::new(value.to_vec()))));
        let mut writes: Vec<_> = held.keys.into_iter().map(|key| Write::delete(PACKAGES, key)).collect();
        writes.push(Write::delete(REFERENCES, reference.to_vec()));
        writes
    }
}

impl Held {
    fn record(&self, reference: &[u8; 32]) -> Write {
        let keys = self.keys.iter().map(|key| serde_bytes::ByteBuf::from(key.clone())).collect();
        let record = HeldRecord { last_resort: self.last_resort, keys };
        Write::put(REFERENCES, reference.to_vec(), to_record(VERSION, &record))
    }
}
