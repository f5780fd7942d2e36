//! Tests of the provider: a story of forks, the RFC 9420 vectors, Wycheproof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod basics;
mod hpke;
mod keep;
mod messages;
mod passive;
mod story;
mod wycheproof;

use sha2::{Digest, Sha256};

use crate::entropy::{Entropy, EntropyError};

/// Reproducible randomness; fails for good after a number of draws, if told so.
pub(crate) struct Seeded {
    state: [u8; 32],
    draws_left: Option<usize>,
}

impl Seeded {
    pub(crate) fn new(seed: &str) -> Self {
        Self { state: Sha256::digest(seed).into(), draws_left: None }
    }

    pub(super) fn failing_after(seed: &str, draws: usize) -> Self {
        Self { draws_left: Some(draws), ..Self::new(seed) }
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if let Some(left) = &mut self.draws_left {
            *left = left.checked_sub(1).ok_or(EntropyError)?;
        }
        for chunk in out.chunks_mut(32) {
            self.state = Sha256::digest(self.state).into();
            let bytes: [u8; 32] = Sha256::digest([&self.state[..], b"out"].concat()).into();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// A file of the RFC 9420 test vectors, or `None` (said aloud) where they are not beside the project.
fn vectors<T: serde::de::DeserializeOwned>(name: &str) -> Option<Vec<T>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/rfc9420").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("no vectors at {}: {name} not run", path.display());
        return None;
    };
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    Some(serde_json::from_value(value).unwrap())
}

/// Bytes that the vectors write in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hex(Vec<u8>);

impl<'de> serde::Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not hexadecimal"))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
