//! Suite 1 in hands that are not honest.

use std::cell::RefCell;

use zeroize::Zeroizing;

use crate::suite::{Binding, Sealed, Seed, Signer, Suite, SuiteError, Verifier, X25519_ED25519};

thread_local! {
    static KEYS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What is sealed to the keys of a [`Spoiled`] does not open (attack F14): what no honest device can make.
pub(crate) static SPOILING: &dyn Suite = &Dishonest { any_key: false };
/// The suite of who takes any bytes for a key.
pub(crate) static LAX: &dyn Suite = &Dishonest { any_key: true };

#[derive(Debug)]
struct Dishonest {
    any_key: bool,
}

/// Paths are spoiled as long as this lives.
#[must_use = "paths are whole again when this is dropped"]
pub(crate) struct Spoiled;

/// From now on, in this thread, what is sealed to these keys does not open.
pub(crate) fn spoil(keys: Vec<Vec<u8>>) -> Spoiled {
    KEYS.set(keys);
    Spoiled
}

impl Drop for Spoiled {
    fn drop(&mut self) {
        KEYS.set(Vec::new());
    }
}

impl Suite for Dishonest {
    fn number(&self) -> u16 {
        X25519_ED25519.number()
    }

    fn derive_key_pair(&self, ikm: &[u8; 32]) -> (Seed, Vec<u8>) {
        X25519_ED25519.derive_key_pair(ikm)
    }

    fn is_public_key(&self, bytes: &[u8]) -> bool {
        self.any_key || X25519_ED25519.is_public_key(bytes)
    }

    fn seal(&self, recipient: &[u8], to: Binding<'_>, text: &[u8], ephemeral: &Seed) -> Result<Sealed, SuiteError> {
        let mut sealed = X25519_ED25519.seal(recipient, to, text, ephemeral)?;
        if KEYS.with_borrow(|keys| keys.iter().any(|key| key == recipient)) {
            sealed.ciphertext[0] ^= 1;
        }
        Ok(sealed)
    }

    fn open(
        &self,
        private: &[u8; 32],
        to: Binding<'_>,
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        X25519_ED25519.open(private, to, enc, ciphertext)
    }

    fn encapsulate(&self, recipient: &[u8], label: &[u8], ephemeral: &Seed) -> Result<(Vec<u8>, Seed), SuiteError> {
        X25519_ED25519.encapsulate(recipient, label, ephemeral)
    }

    fn decapsulate(&self, private: &[u8; 32], enc: &[u8], label: &[u8]) -> Result<Seed, SuiteError> {
        X25519_ED25519.decapsulate(private, enc, label)
    }

    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer> {
        X25519_ED25519.signer(seed)
    }

    fn verifier(&self, key: &[u8; 32]) -> Option<Box<dyn Verifier>> {
        X25519_ED25519.verifier(key)
    }
}
