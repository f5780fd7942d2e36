//! This device's key packages, with their private keys.
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, LoadError};
use crate::journal::{Durable, Records};

/// A key package to be uploaded.
pub struct OwnKeyPackage {
    /// KeyPackageRef (RFC 9420 §5.2).
    pub reference: [u8; 32],
    /// The MLSMessage that holds the key package.
    pub bytes: Vec<u8>,
}

/// The key packages of this device whose private keys are still held.
pub struct KeyPackages {}

impl KeyPackages {
    /// Reads them from the store.
    pub fn load<R: Records>(_records: &R) -> Result<Self, LoadError<R::Error>> {
        Ok(Self {})
    }
    /// Makes `count` key packages; their private keys are durable before anything can be uploaded.
    pub fn generate(
        &mut self,
        _own: &OwnDevice,
        _count: usize,
        _last_resort: bool,
        _entropy: &mut dyn Entropy,
    ) -> Result<Durable<Vec<OwnKeyPackage>>, GroupError> {
        Err(GroupError::NothingDue)
    }
    /// Deletes private keys.
    pub fn forget(&mut self, _references: &[[u8; 32]]) -> Durable<()> {
        Durable::new(vec![], ())
    }
    /// How many are held.
    pub fn len(&self) -> usize {
        0
    }
    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
