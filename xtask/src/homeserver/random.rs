//! Random secrets for throw-away servers.

use std::fmt::Write;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::error::Error;

/// A secret of a test instance; not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    /// Makes a secret of 128 random bits, in hexadecimal.
    pub(super) fn random() -> Result<Self, Error> {
        let mut text = String::new();
        for byte in random_bytes::<16>()? {
            let _infallible = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// Takes a secret from elsewhere.
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Gives the secret itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Gives `N` random bytes.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Keys("no randomness".to_owned()))?;
    Ok(bytes)
}
