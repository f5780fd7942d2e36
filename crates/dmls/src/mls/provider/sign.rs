//! Ed25519 (RFC 8032), verified strictly.

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use openmls_traits::signatures::{Signer as MlsSigner, SignerError};
use openmls_traits::types::SignatureScheme;
use zeroize::Zeroizing;

#[cfg(dmls_mutants)]
use super::stand_in;
use crate::defence;

/// Whether `signature` verifies strictly: no weak or non-canonical key, no small-order or non-canonical R, S reduced.
pub(crate) fn strict_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(signature);
    if !defence::on("I2") {
        return VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify(message, &signature).is_ok());
    }
    strict_key(key).is_some_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// As [`strict_verify`], for signatures by a [`Signer`].
pub(crate) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    #[cfg(dmls_mutants)]
    if crate::stand_in::in_use() {
        return stand_in::verify(key, message, signature);
    }
    strict_verify(key, message, signature)
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
pub(crate) struct Signer(Key);

enum Key {
    Ed25519(SigningKey),
    /// Seed and public key.
    #[cfg(dmls_mutants)]
    StandIn(Zeroizing<[u8; 32]>, [u8; 32]),
}

impl Signer {
    /// The key of a 32-byte RFC 8032 seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        #[cfg(dmls_mutants)]
        if crate::stand_in::in_use() {
            return Self(Key::StandIn(Zeroizing::new(*seed), stand_in::verifying_key(seed)));
        }
        Self(Key::Ed25519(SigningKey::from_bytes(seed)))
    }

    /// The 32-byte seed.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        match &self.0 {
            Key::Ed25519(key) => Zeroizing::new(key.to_bytes()),
            #[cfg(dmls_mutants)]
            Key::StandIn(seed, _) => seed.clone(),
        }
    }

    /// The public key.
    pub(crate) fn public(&self) -> [u8; 32] {
        match &self.0 {
            Key::Ed25519(key) => key.verifying_key().to_bytes(),
            #[cfg(dmls_mutants)]
            Key::StandIn(_, public) => *public,
        }
    }

    /// Signs `message`; deterministic.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        match &self.0 {
            Key::Ed25519(key) => key.sign(message).to_bytes(),
            #[cfg(dmls_mutants)]
            Key::StandIn(_, public) => stand_in::sign(public, message),
        }
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
