//! Ed25519 (RFC 8032), verified strictly.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use openmls_traits::signatures::{Signer as MlsSigner, SignerError};
use openmls_traits::types::SignatureScheme;

/// Whether `signature` is the one strict signature form: no small-order or non-canonical point, no malleable scalar.
pub(crate) fn strict_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(verifying) = VerifyingKey::from_bytes(key) else { return false };
    // dalek decodes non-canonical points too: two byte strings would be one key.
    let canonical = verifying.to_edwards().compress().as_bytes() == key;
    canonical && !verifying.is_weak() && verifying.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

/// An Ed25519 signature key of our own; the secret is zeroized when dropped.
pub(crate) struct Signer(SigningKey);

impl Signer {
    /// The key of a 32-byte RFC 8032 seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key.
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
