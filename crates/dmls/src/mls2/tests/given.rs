//! Reading the RFC 9420 test vectors.

use serde_json::Value;

use crate::secret::Secret;

/// A file of the vectors, or nothing (said aloud) where they are not beside the project.
pub(super) fn vectors(name: &str) -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/rfc9420");
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
