//! Small encoders: TLS vectors and versioned records.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tls_codec::Serialize as _;
use zeroize::Zeroizing;

use crate::error::LoadError;
use crate::journal::{Table, Write};

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

impl RecordError {
    /// The error of whoever reads `table`, whose records have versions up to `known`.
    pub(crate) fn of<E>(self, table: Table, known: u8) -> LoadError<E> {
        match self {
            Self::Damaged => LoadError::Damaged(table.0),
            Self::Newer { found } => LoadError::NewerVersion { table: table.0, found, known },
        }
    }
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
    ciborium::from_reader(body_of(known, bytes)?).map_err(|_| RecordError::Damaged)
}

fn body_of(known: u8, bytes: &[u8]) -> Result<&[u8], RecordError> {
    let (&version, body) = bytes.split_first().ok_or(RecordError::Damaged)?;
    if version > known { Err(RecordError::Newer { found: version }) } else { Ok(body) }
}

/// Stores bytes that are not ours to read: one version byte, the digest of the place and the bytes, the bytes.
///
/// Whoever reads them gets back what was written there, or nothing: secrets and ciphertexts would else be used as they
/// are, damaged or not. What is written below the seal by somebody who knows this is not its matter.
pub(crate) fn put_raw(version: u8, table: Table, key: Vec<u8>, bytes: &[u8]) -> Write {
    // In one piece from the start: growing would leave a copy of the bytes behind.
    let mut out = Vec::with_capacity(1 + DIGEST + bytes.len());
    out.push(version);
    out.extend(digest(table, &key, bytes));
    out.extend_from_slice(bytes);
    Write::put(table, key, out)
}

/// The bytes that [`put_raw`] stored at this place.
pub(crate) fn from_raw(known: u8, table: Table, key: &[u8], record: &[u8]) -> Result<Zeroizing<Vec<u8>>, RecordError> {
    let (written, bytes) = body_of(known, record)?.split_at_checked(DIGEST).ok_or(RecordError::Damaged)?;
    if digest(table, key, bytes) == written { Ok(Zeroizing::new(bytes.to_vec())) } else { Err(RecordError::Damaged) }
}

const DIGEST: usize = 32;

fn digest(table: Table, key: &[u8], bytes: &[u8]) -> [u8; DIGEST] {
    let mut place = Vec::new();
    push_vector(&mut place, table.0.as_bytes());
    push_vector(&mut place, key);
    Sha256::new_with_prefix(place).chain_update(bytes).finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: Table = Table("test");

    fn record(key: &[u8], bytes: &[u8]) -> Vec<u8> {
        let Write::Put { value, .. } = put_raw(1, TABLE, key.to_vec(), bytes) else { return Vec::new() };
        value.to_vec()
    }

    #[test]
    fn raw_bytes_are_read_as_they_were_written_and_where_they_were_written() {
        let record = record(b"key", b"bytes");
        let read = |key: &[u8], record: &[u8]| from_raw(1, TABLE, key, record).map(|bytes| bytes.to_vec());
        assert_eq!(read(b"key", &record).unwrap(), b"bytes");
        assert_eq!(read(b"other", &record), Err(RecordError::Damaged));
        assert_eq!(from_raw(1, Table("other"), b"key", &record).unwrap_err(), RecordError::Damaged);
        assert_eq!(from_raw(0, TABLE, b"key", &record).unwrap_err(), RecordError::Newer { found: 1 });
        for at in 1..record.len() {
            let mut altered = record.clone();
            altered[at] ^= 1;
            assert_eq!(read(b"key", &altered), Err(RecordError::Damaged), "altered at {at}");
            assert_eq!(read(b"key", &record[..at]), Err(RecordError::Damaged), "cut at {at}");
        }
        assert_eq!(read(b"key", &[]), Err(RecordError::Damaged));
    }
}
