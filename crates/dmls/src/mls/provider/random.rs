//! The caller's randomness behind OpenMLS's interface, which wants it by shared reference.

use std::cell::{Cell, RefCell};

use openmls_traits::random::OpenMlsRand;
use zeroize::Zeroizing;

use crate::defence;
use crate::entropy::{Entropy, EntropyError};

/// The caller's source, and whether it ever failed when OpenMLS asked.
pub(crate) struct Random<'a> {
    source: RefCell<&'a mut dyn Entropy>,
    failed: Cell<bool>,
}

impl<'a> Random<'a> {
    pub(super) fn new(source: &'a mut dyn Entropy) -> Self {
        Self { source: RefCell::new(source), failed: Cell::new(false) }
    }

    /// A seed for what cannot borrow the source; `None` counts as a failure only for whoever needs it.
    pub(super) fn seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        draw32(&mut **self.source.borrow_mut()).ok()
    }

    pub(super) fn failed(&self) -> bool {
        self.failed.get()
    }

    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.source.borrow_mut().fill(out).inspect_err(|_| self.failed.set(true))
    }
}

impl OpenMlsRand for Random<'_> {
    type Error = EntropyError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, EntropyError> {
        let mut out = vec![0; len];
        self.fill(&mut out)?;
        Ok(out)
    }
}

/// 32 fresh bytes, or a failure: never a key of zeros.
pub(super) fn draw32(source: &mut dyn Entropy) -> Result<Zeroizing<[u8; 32]>, EntropyError> {
    let mut out = Zeroizing::new([0; 32]);
    match source.fill(&mut *out) {
        Err(error) if defence::on("P7") => Err(error),
        _ => Ok(out),
    }
}
