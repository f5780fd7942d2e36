//! Randomness that is the same in every run: one stream for each purpose.

use dmls::entropy::{Entropy, EntropyError};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// The stream of random numbers for one purpose, from the run's seed and the purpose's name.
#[derive(Clone)]
pub struct Stream(ChaCha20Rng);

impl Stream {
    /// The stream for `purpose`; streams of other purposes do not change with how much of this one is used.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let key = Sha256::new().chain_update(b"dmls-sim").chain_update(seed.to_be_bytes()).chain_update(purpose);
        Self(ChaCha20Rng::from_seed(key.finalize().into()))
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of the remainder is nobody's advantage here.
        self.0.next_u64().checked_rem(end).unwrap_or_default()
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }

    /// One of these; `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or_default())
    }
}

impl Entropy for Stream {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill_bytes(out);
        Ok(())
    }
}
