//! A record of what keys and nonces seal with, so that a simulation can show that no pair comes twice.

use std::cell::RefCell;

use dmls::suite::{Binding, Sealed, Seed, Signer, Suite, SuiteError, Verifier};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::trace::Seal;

thread_local! {
    static HERE: RefCell<Option<Vec<Seal>>> = const { RefCell::new(None) };
}

/// From now on uses of keys in this thread are recorded, from an empty record on, or no more.
pub(crate) fn record_in_this_thread(on: bool) {
    HERE.set(on.then(Vec::new));
}

/// What was sealed in this thread since the last call.
pub(crate) fn take() -> Vec<Seal> {
    HERE.with_borrow_mut(|here| here.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Another suite, whose uses of keys are written down. Hashes are kept, no secrets.
#[derive(Debug)]
pub(crate) struct Recording(pub(crate) &'static &'static dyn Suite);

impl Suite for Recording {
    fn number(&self) -> u16 {
        self.0.number()
    }

    fn derive_key_pair(&self, ikm: &[u8; 32]) -> (Seed, Vec<u8>) {
        self.0.derive_key_pair(ikm)
    }

    fn is_public_key(&self, bytes: &[u8]) -> bool {
        self.0.is_public_key(bytes)
    }

    fn seal(&self, recipient: &[u8], to: Binding<'_>, text: &[u8], ephemeral: &Seed) -> Result<Sealed, SuiteError> {
        let sealed = self.0.seal(recipient, to, text, ephemeral)?;
        // Of HPKE's key all is noted that it follows from and that both sides can see.
        note(&[recipient, to.info, &sealed.enc], b"", &sealed.ciphertext);
        Ok(sealed)
    }

    fn open(
        &self,
        private: &[u8; 32],
        to: Binding<'_>,
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        self.0.open(private, to, enc, ciphertext)
    }

    fn encapsulate(&self, recipient: &[u8], label: &[u8], ephemeral: &Seed) -> Result<(Vec<u8>, Seed), SuiteError> {
        self.0.encapsulate(recipient, label, ephemeral)
    }

    fn decapsulate(&self, private: &[u8; 32], enc: &[u8], label: &[u8]) -> Result<Seed, SuiteError> {
        self.0.decapsulate(private, enc, label)
    }

    fn encrypt(&self, key: &[u8; 16], nonce: &[u8; 12], aad: &[u8], text: Vec<u8>) -> Vec<u8> {
        let ciphertext = self.0.encrypt(key, nonce, aad, text);
        note(&[key], nonce, &ciphertext);
        ciphertext
    }

    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer> {
        self.0.signer(seed)
    }

    fn verifier(&self, key: &[u8; 32]) -> Option<Box<dyn Verifier>> {
        self.0.verifier(key)
    }
}

fn note(key: &[&[u8]], nonce: &[u8], ciphertext: &[u8]) {
    HERE.with_borrow_mut(|here| {
        let Some(record) = here else { return };
        let key = hash(key);
        record.push(Seal { key, pair: hash(&[&key, nonce]), ciphertext: Sha256::digest(ciphertext).into() });
    });
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix("dmls-sim: used key");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
