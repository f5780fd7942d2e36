//! Ed25519 (RFC 8032), verified strictly.

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use openmls_traits::signatures::{Signer as MlsSigner, SignerError};
use openmls_traits::types::SignatureScheme;

use crate::defence;

/// Whether `signature` verifies strictly: no weak or non-canonical key, no small-order or non-canonical R, S reduced.
pub(crate) fn strict_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    if !defence::on("I2") {
        return VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify(message, &signature).is_ok());
    }
    strict_key(key).is_some_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// The key, unless it is of small order or written in another way than RFC 8032 §5.1.2 writes it.
///
/// dalek decodes `y + p` like `y`: two byte strings would be one key.
pub(super) fn strict_key(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(bytes).ok()?;
    let canonical = key.to_edwards().compress().as_bytes() == bytes;
    (canonical && !key.is_weak()).then_some(key)
}

/// An Ed25519 signature key of our own; the secret is zeroized when dropped.
pub(crate) struct Signer(SigningKey);

impl Signer {
    /// The key of a 32-byte RFC 8032 seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key.
    #[cfg(test)]
    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `message`; deterministic.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl MlsSigner for Signer {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(Signer::sign(self, payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
