//! Small encoders: TLS vectors and versioned records.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::LoadError;
use crate::journal::{Table, Write};

/// What is written before the bytes of `opaque<V>`: how many they are, in the shortest form (RFC 9420 §2.1.2).
pub(crate) struct Length {
    bytes: [u8; 4],
    from: usize,
}

impl Length {
    pub(crate) fn new(length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let (written, from) = match length {
            0..64 => (length, 3),
            64..16_384 => (length | 0x4000, 2),
            _ => (length | 0x8000_0000, 0),
        };
        Self { bytes: written.to_be_bytes(), from }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

/// Appends `bytes` as `opaque<V>` (RFC 9420 §2.1.2).
pub(crate) fn push_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(Length::new(bytes.len()).as_slice());
    out.extend_from_slice(bytes);
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

/// Most records are shorter, and do not grow while they are written.
const SMALL_RECORD: usize = 64;

/// A record: one version byte, then CBOR.
pub(crate) fn to_record<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(SMALL_RECORD);
    out.push(version);
    // Serialising our own plain structs into memory cannot fail.
    let _ = ciborium::into_writer(value, &mut out);
    out
}

/// The same for a record with secrets in it: it must not grow while it is written, or copies of them would stay behind.
pub(crate) fn to_secret_record<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut length = Count(0);
    let _ = ciborium::into_writer(value, &mut length);
    let mut out = Vec::with_capacity(1 + length.0);
    out.push(version);
    let _ = ciborium::into_writer(value, &mut out);
    out
}

/// Counts what is written to it.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
    let hash = [table.0.as_bytes(), key]
        .into_iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(Length::new(part.len()).as_slice()).chain_update(part));
    hash.chain_update(bytes).finalize().into()
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
    fn a_record_with_secrets_does_not_grow() {
        let value = vec!["a long text that is written in pieces"; 1_000];
        let record = to_secret_record(1, &value);
        assert_eq!(record, to_record(1, &value));
        assert_eq!(record.len(), record.capacity());
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
