//! CBOR for stored values, written without leaving copies of them behind.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::storage::StorageError;

/// A value in CBOR (RFC 8949).
pub(super) fn encode(value: &(impl Serialize + ?Sized)) -> Result<Zeroizing<Vec<u8>>, StorageError> {
    let mut out = Wiped::default();
    ciborium::into_writer(value, &mut out).map_err(|_| StorageError::Encode)?;
    Ok(out.0)
}

/// A public value in CBOR, as one byte string of a list.
pub(super) fn bytes(value: &impl Serialize) -> Result<ByteBuf, StorageError> {
    encode(value).map(|value| ByteBuf::from(value.to_vec()))
}

/// The value that `bytes` encode.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StorageError> {
    ciborium::from_reader(bytes).map_err(|_| StorageError::Decode)
}

/// Message secrets in CBOR, less the moment at which OpenMLS made them: equal inputs give equal records (SPEC §7.5).
///
/// `added_at` is the last field of the last field, and may be missing or null.
pub(super) fn timeless(mut secrets: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    const NAME: &[u8] = b"\x68added_at";
    const NULL: u8 = 0xf6;
    let Some(at) = secrets.windows(NAME.len()).rposition(|window| window == NAME) else { return secrets };
    let value = at + NAME.len();
    let time: Result<Option<std::time::SystemTime>, _> = decode(&secrets[value..]);
    if time.ok().flatten().is_some_and(|time| encode(&time).is_ok_and(|bytes| *bytes == secrets[value..])) {
        secrets.truncate(value);
        secrets.push(NULL);
    }
    secrets
}

/// Grows into fresh memory and wipes the old: a plain `Vec` would leave parts of secrets in freed memory.
#[derive(Default)]
struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    fn reserve(&mut self, more: usize) {
        if self.0.capacity() - self.0.len() < more {
            let mut larger = Vec::with_capacity((self.0.len() + more).next_power_of_two().max(256));
            larger.extend_from_slice(&self.0);
            self.0 = Zeroizing::new(larger);
        }
    }
}

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
