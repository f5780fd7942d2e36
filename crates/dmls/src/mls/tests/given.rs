//! Reading the RFC 9420 test vectors.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;

/// Reproducible randomness; fails for good after a number of draws, if told so.
pub(crate) struct Seeded {
    state: [u8; 32],
    draws_left: Option<usize>,
}

impl Seeded {
    pub(crate) fn new(seed: &str) -> Self {
        Self { state: Sha256::digest(seed).into(), draws_left: None }
    }

    pub(crate) fn failing_after(seed: &str, draws: usize) -> Self {
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

/// A file of the vectors, or nothing (said aloud) where they are not beside the project.
pub(super) fn vectors(name: &str) -> Vec<Value> {
    let beside = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/rfc9420");
    let folder = std::env::var_os("DMLS_VECTORS").map_or_else(beside, std::path::PathBuf::from);
    let path = folder.join(name).with_extension("json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("no vectors at {}: {name} not run", path.display());
        return Vec::new();
    };
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty(), "{name} is empty");
    vectors
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(super) fn hex(value: &Value, name: &str) -> Vec<u8> {
    unhex(value[name].as_str().unwrap_or_else(|| panic!("{name}")))
}

pub(super) fn secret(value: &Value, name: &str) -> Secret {
    Secret::parse(&hex(value, name)).unwrap()
}

pub(super) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap()
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}
