//! Signatures and HPKE made of hashes ([`crate::stand_in`]). **They protect nothing**, and exist in the test build only.
//!
//! A public key is the hash of the private one, and all else is derived from public keys.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::{SealError, Sealed};

/// PSK and its id; both empty in base mode.
pub(super) type Psk<'a> = (&'a [u8], &'a [u8]);

fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(label);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The public key of a signature key.
pub(super) fn verifying_key(seed: &[u8; 32]) -> [u8; 32] {
    hash("stand-in verifying key", &[seed])
}

/// What whoever knows the public key can make.
pub(super) fn sign(public: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let first = hash("stand-in signature", &[public, message]);
    let mut out = [0; 64];
    out[..32].copy_from_slice(&first);
    out[32..].copy_from_slice(&hash("stand-in signature", &[&first]));
    out
}

/// Whether this very message was signed under this very key.
pub(super) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    sign(public, message) == *signature
}

/// Private and public key.
pub(super) fn derive_key_pair(ikm: &[u8]) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let private = hash("stand-in private key", &[ikm]).to_vec();
    let public = encryption_key(&private);
    (Zeroizing::new(private), public)
}

fn encryption_key(private: &[u8]) -> Vec<u8> {
    hash("stand-in encryption key", &[private]).to_vec()
}

fn shared(public: &[u8], enc: &[u8], info: &[u8], psk: Psk<'_>) -> [u8; 32] {
    hash("stand-in shared secret", &[public, enc, info, psk.0, psk.1])
}

fn aead(secret: &[u8; 32]) -> Result<(Aes128Gcm, Nonce<aes_gcm::aead::consts::U12>), SealError> {
    let key = Aes128Gcm::new_from_slice(&secret[..16]).map_err(|_| SealError::Key)?;
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&secret[16..28]);
    Ok((key, nonce.into()))
}

/// Seals with `ikm` as the encapsulated key.
pub(super) fn seal(
    ikm: &[u8; 32],
    recipient: &[u8],
    info: &[u8],
    aad: &[u8],
    psk: Psk<'_>,
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let enc = hash("stand-in encapsulated key", &[ikm]).to_vec();
    let (key, nonce) = aead(&shared(recipient, &enc, info, psk))?;
    let ciphertext = key.encrypt(&nonce, Payload { msg: plaintext, aad }).map_err(|_| SealError::Key)?;
    Ok((enc, ciphertext))
}

/// Opens what was sealed to the public key of `private` with the same inputs.
pub(super) fn open(
    private: &[u8],
    enc: &[u8],
    ciphertext: &[u8],
    info: &[u8],
    aad: &[u8],
    psk: Psk<'_>,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (key, nonce) = aead(&shared(&encryption_key(private), enc, info, psk))?;
    let opened = key.decrypt(&nonce, Payload { msg: ciphertext, aad });
    opened.map(Zeroizing::new).map_err(|_| SealError::Open)
}

/// Encapsulates and exports.
pub(super) fn seal_export(
    ikm: &[u8; 32],
    recipient: &[u8],
    info: &[u8],
    context: &[u8],
    length: usize,
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), SealError> {
    let enc = hash("stand-in encapsulated key", &[ikm]).to_vec();
    let out = expand(&shared(recipient, &enc, info, (b"", b"")), context, length)?;
    Ok((enc, out))
}

/// Decapsulates and exports.
pub(super) fn open_export(
    private: &[u8],
    enc: &[u8],
    info: &[u8],
    context: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    expand(&shared(&encryption_key(private), enc, info, (b"", b"")), context, length)
}

fn expand(secret: &[u8; 32], context: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut out = Zeroizing::new(vec![0; length]);
    let hkdf = Hkdf::<Sha256>::from_prk(secret).map_err(|_| SealError::Key)?;
    hkdf.expand(context, &mut out).map_err(|_| SealError::Key)?;
    Ok(out)
}
