//! This device's key packages, with their private keys.

use std::collections::BTreeMap;

use crate::codec::{from_raw, from_record, put_raw, to_record};
use crate::defence;
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, LoadError};
use crate::id::Timestamp;
use crate::journal::{Durable, Records, Table, Write};
use crate::mls::OwnPackage;

/// Key packages and their private keys: one record each, under its reference.
const PACKAGES: Table = Table("dmls.package");

/// Packages that were replaced: until when their private keys are kept.
const RETIRING: Table = Table("dmls.retiring");

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
    held: BTreeMap<[u8; 32], OwnPackage>,
    /// Those that were replaced and may still be on their way back in a Welcome.
    retiring: BTreeMap<[u8; 32], Timestamp>,
}

const VERSION: u8 = 1;
/// So many that were replaced are kept, the latest ones.
const MAX_RETIRING: usize = 16;

impl KeyPackages {
    /// Reads them from the store.
    ///
    /// # Errors
    /// If the store fails or a record is damaged.
    pub fn load<R: Records>(records: &R) -> Result<Self, LoadError<R::Error>> {
        let mut this = Self::default();
        for (key, record) in records.scan(PACKAGES, b"").map_err(LoadError::Store)? {
            let bytes = from_raw(VERSION, PACKAGES, &key, &record).map_err(|error| error.of(PACKAGES, VERSION))?;
            let package = OwnPackage::load(&bytes).map_err(|_| LoadError::Damaged(PACKAGES.0))?;
            let reference = key.as_slice().try_into().map_err(|_| LoadError::Damaged(PACKAGES.0))?;
            this.held.insert(reference, package);
        }
        for (key, record) in records.scan(RETIRING, b"").map_err(LoadError::Store)? {
            let until = from_record(VERSION, &record).map_err(|error| error.of(RETIRING, VERSION))?;
            let reference = key.as_slice().try_into().map_err(|_| LoadError::Damaged(RETIRING.0))?;
            this.retiring.insert(reference, until);
        }
        Ok(this)
    }

    /// Makes `count` key packages; their private keys are durable before anything can be uploaded.
    ///
    /// # Errors
    /// If randomness fails.
    pub fn generate(
        &mut self,
        own: &OwnDevice,
        count: usize,
        last_resort: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<Vec<OwnKeyPackage>>, GroupError> {
        let (mut writes, mut made) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let package = OwnPackage::make(&own.leaf_maker(), last_resort, entropy)?;
            let reference = package.reference();
            writes.push(record(&reference, &package));
            made.push(OwnKeyPackage { reference, bytes: package.bytes() });
            self.held.insert(reference, package);
        }
        writes.push(own.serial_record());
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
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn has(&self, reference: &[u8; 32]) -> bool {
        self.held.contains_key(reference)
    }

    pub(crate) fn get(&self, reference: &[u8; 32]) -> Option<&OwnPackage> {
        self.held.get(reference)
    }

    /// A key package dies with its first use; a last-resort one lives on until the host replaces it (SPEC §5.7).
    pub(crate) fn used(&mut self, reference: [u8; 32]) -> Option<Write> {
        if self.is_last_resort(&reference) || !defence::on("X5") {
            return None;
        }
        self.remove(&reference)
    }

    /// A package was replaced: its private keys go at that time.
    pub(crate) fn retire(&mut self, reference: [u8; 32], until: Timestamp) -> Vec<Write> {
        let mut writes = vec![Write::put(RETIRING, reference, to_record(VERSION, &until))];
        self.retiring.insert(reference, until);
        while self.retiring.len() > MAX_RETIRING {
            let first = self.retiring.iter().min_by_key(|(_, until)| **until).map(|(reference, _)| *reference);
            writes.extend(first.into_iter().flat_map(|reference| self.drop_retired(&reference)));
        }
        writes
    }

    fn drop_retired(&mut self, reference: &[u8; 32]) -> Vec<Write> {
        self.retiring.remove(reference);
        self.remove(reference).into_iter().chain([Write::delete(RETIRING, *reference)]).collect()
    }

    /// Deletes the private keys of packages that were replaced and whose time is up.
    pub fn expire(&mut self, now: Timestamp) -> Durable<()> {
        let over: Vec<_> = self.retiring.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect();
        Durable::new(over.iter().flat_map(|reference| self.drop_retired(reference)).collect(), ())
    }

    /// When [`Self::expire`] has something to delete.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.retiring.values().min().copied()
    }

    /// Whether a held package is a last-resort one.
    pub fn is_last_resort(&self, reference: &[u8; 32]) -> bool {
        self.held.get(reference).is_some_and(OwnPackage::is_last_resort)
    }

    /// All records that they would write now.
    #[cfg(dmls_mutants)]
    pub fn portrait(&self) -> crate::group::portrait::Portrait {
        let records = self.held.iter().map(|(reference, package)| record(reference, package));
        let retire = |(key, until): (&[u8; 32], &Timestamp)| Write::put(RETIRING, *key, to_record(VERSION, until));
        let retiring = self.retiring.iter().map(retire);
        crate::group::portrait::portrait(&records.chain(retiring).collect::<Vec<_>>())
    }

    fn remove(&mut self, reference: &[u8; 32]) -> Option<Write> {
        self.held.remove(reference).map(|_| Write::delete(PACKAGES, reference.to_vec()))
    }
}

fn record(reference: &[u8; 32], package: &OwnPackage) -> Write {
    put_raw(VERSION, PACKAGES, reference.to_vec(), &package.record())
}
