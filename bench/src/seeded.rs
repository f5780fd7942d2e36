//! Random numbers that are the same in each run.

use dmls::entropy::{Entropy, EntropyError};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::roster::Number;

/// A device's random numbers.
pub(crate) struct Seeded(ChaCha20Rng);

impl Seeded {
    pub(crate) fn of(number: Number) -> Self {
        Self(ChaCha20Rng::seed_from_u64(u64::from(number)))
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill_bytes(out);
        Ok(())
    }
}
