//! The system's clock and randomness, for a machine that has neither.

use std::time::{SystemTime, UNIX_EPOCH};

use dmls::entropy::{Entropy, EntropyError};
use dmls::id::Timestamp;

/// Randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

/// The present time by the system's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A device id: ten letters, so that it is known before the log-in that makes the device.
pub(super) fn new_device_id() -> Result<String, EntropyError> {
    let mut bytes = [0; 10];
    SystemEntropy.fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(b'A' + byte % 26)).collect())
}
