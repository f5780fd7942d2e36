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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What was signed by another, or is another message, does not verify.
    #[test]
    fn signatures_are_of_one_key_and_one_message() {
        let (one, two) = (verifying_key(&[1; 32]), verifying_key(&[2; 32]));
        let mut signature = sign(&one, b"message");
        assert!(verify(&one, b"message", &signature));
        assert!(!verify(&two, b"message", &signature));
        assert!(!verify(&one, b"massage", &signature));
        signature[63] ^= 1;
        assert!(!verify(&one, b"message", &signature));
    }

    /// What was sealed opens with the one private key, and with the very info, aad, PSK and bytes.
    #[test]
    fn seals_are_for_one_key_and_one_purpose() {
        let ((private, public), (other, _)) = (derive_key_pair(b"one"), derive_key_pair(b"two"));
        let (enc, sealed) = seal(&[3; 32], &public, b"info", b"aad", (b"psk", b"id"), b"secret").unwrap();
        let open = |private: &[u8], enc: &[u8], sealed: &[u8], info: &[u8], aad: &[u8], psk| {
            open(private, enc, sealed, info, aad, psk).map(|opened| opened.to_vec()).ok()
        };
        let psk: Psk<'_> = (b"psk", b"id");
        assert_eq!(open(&private, &enc, &sealed, b"info", b"aad", psk).as_deref(), Some(&b"secret"[..]));
        let mut changed = sealed.clone();
        changed[0] ^= 1;
        for failed in [
            open(&other, &enc, &sealed, b"info", b"aad", psk),
            open(&private, &[0; 32], &sealed, b"info", b"aad", psk),
            open(&private, &enc, &changed, b"info", b"aad", psk),
            open(&private, &enc, &sealed, b"other", b"aad", psk),
            open(&private, &enc, &sealed, b"info", b"other", psk),
            open(&private, &enc, &sealed, b"info", b"aad", (b"", b"")),
            open(&private, &enc, &sealed, b"info", b"aad", (b"psk", b"other")),
        ] {
            assert_eq!(failed, None);
        }
        let (enc, exported) = seal_export(&[4; 32], &public, b"info", b"context", 16).unwrap();
        assert_eq!(open_export(&private, &enc, b"info", b"context", 16).unwrap(), exported);
        assert_ne!(open_export(&other, &enc, b"info", b"context", 16).unwrap(), exported);
    }
}
