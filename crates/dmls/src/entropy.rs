//! Randomness handed in by the caller, so that equal inputs give equal bytes (SPEC §7.5).

/// The caller's source of randomness failed; nothing was made from it (SPEC §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source of randomness failed")]
pub struct EntropyError;

/// A cryptographically secure source of random bytes.
pub trait Entropy {
    /// Fills `out` whole, or fails.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}
