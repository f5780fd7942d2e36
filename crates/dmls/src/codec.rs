//! Small encoders: TLS vectors and versioned CBOR records.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tls_codec::Serialize as _;

use crate::defence;

/// Appends `bytes` as `opaque<V>` (RFC 9420 §2.1.2).
pub(crate) fn push_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    // A vector under 2^30 bytes into memory cannot fail.
    let _ = tls_codec::VLByteSlice(bytes).tls_serialize(out);
}

/// Why a stored record could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordError {
    Damaged,
    Newer { found: u8 },
}

/// A record: one version byte, then CBOR.
pub(crate) fn to_record<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut out = vec![version];
    // Serialising our own plain structs into memory cannot fail.
    let _ = ciborium::into_writer(value, &mut out);
    out
}

/// Reads a record whose version is at most `known`.
pub(crate) fn from_record<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, RecordError> {
    let (&version, body) = bytes.split_first().ok_or(RecordError::Damaged)?;
    if version > known && defence::on("S11") {
        return Err(RecordError::Newer { found: version });
    }
    ciborium::from_reader(body).map_err(|_| RecordError::Damaged)
}
