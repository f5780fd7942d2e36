//! A record of what keys and nonces seal with, so that a simulation can show that no pair comes twice.
//!
//! Only in the test build, and there only in threads that ask for it. Hashes are kept, no secrets.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// One use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Hash of the key; for HPKE of all that the key follows from and that both sides can see.
    pub key: [u8; 32],
    /// Hash of key and nonce.
    pub pair: [u8; 32],
    /// Hash of the ciphertext.
    pub ciphertext: [u8; 32],
}

/// Where uses of keys are written down; the MLS library seals in several threads.
pub(crate) type Record = Arc<Mutex<Vec<Seal>>>;

thread_local! {
    static HERE: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// From now on uses of keys in this thread are recorded, from an empty record on, or no more.
pub fn record_in_this_thread(on: bool) {
    HERE.set(on.then(Record::default));
}

/// What was sealed in this thread since the last call.
pub fn take() -> Vec<Seal> {
    here().map(|record| std::mem::take(&mut *record.lock().unwrap_or_else(PoisonError::into_inner))).unwrap_or_default()
}

/// This thread's record, if it has one.
pub(crate) fn here() -> Option<Record> {
    HERE.with_borrow(Clone::clone)
}

/// Writes one use of a key down.
pub(crate) fn note(record: Option<&Record>, key: &[&[u8]], nonce: &[u8], ciphertext: &[u8]) {
    let Some(record) = record else { return };
    let key = hash(key);
    let seal = Seal { key, pair: hash(&[&key, nonce]), ciphertext: hash_of(ciphertext) };
    record.lock().unwrap_or_else(PoisonError::into_inner).push(seal);
}

/// The hash by which a record names a ciphertext.
fn hash_of(ciphertext: &[u8]) -> [u8; 32] {
    Sha256::digest(ciphertext).into()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix("dmls test build: used key");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
