//! This device's key packages, with their private keys.

use std::collections::BTreeMap;

use crate::codec::{from_raw, put_raw};
use crate::defence;
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, LoadError};
use crate::journal::{Durable, Records, Table, Write};
use crate::mls::OwnPackage;

/// Key packages and their private keys: one record each, under its reference.
const PACKAGES: Table = Table("dmls.package");

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
}

const VERSION: u8 = 1;

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
            let package = OwnPackage::make(&own.maker(), last_resort, entropy)?;
            let reference = package.reference();
            writes.push(record(&reference, &package));
            made.push(OwnKeyPackage { reference, bytes: package.bytes() });
            self.held.insert(reference, package);
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

    /// Whether a held package is a last-resort one.
    pub fn is_last_resort(&self, reference: &[u8; 32]) -> bool {
        self.held.get(reference).is_some_and(OwnPackage::is_last_resort)
    }

    /// All records that they would write now.
    #[cfg(dmls_mutants)]
    pub fn portrait(&self) -> crate::group::portrait::Portrait {
        let records = self.held.iter().map(|(reference, package)| record(reference, package));
        crate::group::portrait::portrait(&records.collect::<Vec<_>>())
    }

    fn remove(&mut self, reference: &[u8; 32]) -> Option<Write> {
        self.held.remove(reference).map(|_| Write::delete(PACKAGES, reference.to_vec()))
    }
}

fn record(reference: &[u8; 32], package: &OwnPackage) -> Write {
    put_raw(VERSION, PACKAGES, reference.to_vec(), &package.record())
}
