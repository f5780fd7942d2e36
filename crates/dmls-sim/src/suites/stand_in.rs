//! Signatures and HPKE made of hashes, for simulations of many devices. **They protect nothing.**
//!
//! A public key is the hash of the private one, and all else is derived from public keys: whoever knows one can sign and
//! open with it. But what was changed, or is meant for another key, is refused as with real cryptography, so that every
//! verdict is the same. Hashes, HKDF, AES-GCM and the signatures of devices' own Matrix keys stay real.

use dmls::suite::{Binding, Sealed, Seed, Signer, Suite, SuiteError, Verifier};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The stand-in for suite 1. Keys of one are worth nothing to the other.
pub static STAND_IN: &dyn Suite = &StandIn;

#[derive(Debug)]
struct StandIn;

fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(label);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn public_of(private: &[u8; 32]) -> [u8; 32] {
    as_public(hash("stand-in encryption key", &[private]))
}

/// Below the field's size, as a real key, so that the one check of keys takes it.
fn as_public(mut key: [u8; 32]) -> [u8; 32] {
    key[31] &= 0x3f;
    key
}

fn encapsulated(ephemeral: &Seed) -> Vec<u8> {
    as_public(hash("stand-in encapsulated key", &[&**ephemeral])).to_vec()
}

fn signature_of(public: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let first = hash("stand-in signature", &[public, message]);
    let mut out = [0; 64];
    out[..32].copy_from_slice(&first);
    out[32..].copy_from_slice(&hash("stand-in signature", &[&first]));
    out
}

fn shared(public: &[u8], enc: &[u8], to: Binding<'_>) -> [u8; 32] {
    let (psk, id) = to.psk.unwrap_or_default();
    hash("stand-in shared secret", &[public, enc, to.info, psk, id])
}

/// Key and nonce of a shared secret.
fn parts(secret: &[u8; 32]) -> ([u8; 16], [u8; 12]) {
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    key.copy_from_slice(&secret[..16]);
    nonce.copy_from_slice(&secret[16..28]);
    (key, nonce)
}

impl Suite for StandIn {
    fn number(&self) -> u16 {
        1
    }

    fn derive_key_pair(&self, ikm: &[u8; 32]) -> (Seed, Vec<u8>) {
        let private = hash("stand-in private key", &[ikm]);
        (Zeroizing::new(private), public_of(&private).to_vec())
    }

    fn is_public_key(&self, bytes: &[u8]) -> bool {
        dmls::suite::X25519_ED25519.is_public_key(bytes)
    }

    fn seal(&self, recipient: &[u8], to: Binding<'_>, text: &[u8], ephemeral: &Seed) -> Result<Sealed, SuiteError> {
        let enc = encapsulated(ephemeral);
        let (key, nonce) = parts(&shared(recipient, &enc, to));
        let ciphertext = self.encrypt(&key, &nonce, b"", text.to_vec());
        Ok(Sealed { enc, ciphertext })
    }

    fn open(
        &self,
        private: &[u8; 32],
        to: Binding<'_>,
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        let (key, nonce) = parts(&shared(&public_of(private), enc, to));
        self.decrypt(&key, &nonce, b"", ciphertext)
    }

    fn encapsulate(&self, recipient: &[u8], label: &[u8], ephemeral: &Seed) -> Result<(Vec<u8>, Seed), SuiteError> {
        let enc = encapsulated(ephemeral);
        let secret = shared(recipient, &enc, Binding { info: label, psk: None });
        Ok((enc, Zeroizing::new(secret)))
    }

    fn decapsulate(&self, private: &[u8; 32], enc: &[u8], label: &[u8]) -> Result<Seed, SuiteError> {
        Ok(Zeroizing::new(shared(&public_of(private), enc, Binding { info: label, psk: None })))
    }

    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer> {
        let public = hash("stand-in verifying key", &[seed]);
        Box::new(Key { seed: Zeroizing::new(*seed), public })
    }

    fn verifier(&self, key: &[u8; 32]) -> Option<Box<dyn Verifier>> {
        Some(Box::new(PublicKey(*key)))
    }
}

struct PublicKey([u8; 32]);

impl Verifier for PublicKey {
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        signature_of(&self.0, message) == *signature
    }
}

struct Key {
    seed: Seed,
    public: [u8; 32],
}

impl Signer for Key {
    fn public(&self) -> [u8; 32] {
        self.public
    }

    fn seed(&self) -> Seed {
        self.seed.clone()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        signature_of(&self.public, message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What was signed by another, or is another message, does not verify.
    #[test]
    fn signatures_are_of_one_key_and_one_message() {
        let (one, two) = (STAND_IN.signer(&[1; 32]), STAND_IN.signer(&[2; 32]));
        let mut signature = one.sign(b"message");
        assert!(STAND_IN.verify(&one.public(), b"message", &signature));
        assert!(!STAND_IN.verify(&two.public(), b"message", &signature));
        assert!(!STAND_IN.verify(&one.public(), b"massage", &signature));
        signature[63] ^= 1;
        assert!(!STAND_IN.verify(&one.public(), b"message", &signature));
    }

    /// Both kinds of keys pass the check that real ones pass: with every second KEM output refused, half of the external
    /// commits were lost.
    #[test]
    fn keys_and_kem_outputs_are_public_keys() {
        for byte in 0..64 {
            let (_, public) = STAND_IN.derive_key_pair(&[byte; 32]);
            let (enc, _) = STAND_IN.encapsulate(&public, b"label", &Zeroizing::new([byte; 32])).unwrap();
            assert!(STAND_IN.is_public_key(&public) && STAND_IN.is_public_key(&enc));
        }
    }

    /// What was sealed opens with the one private key, and with the very info, PSK and bytes.
    #[test]
    fn seals_are_for_one_key_and_one_purpose() {
        let ((private, public), (other, _)) = (STAND_IN.derive_key_pair(&[1; 32]), STAND_IN.derive_key_pair(&[2; 32]));
        assert!(STAND_IN.is_public_key(&public));
        let to = Binding { info: b"info", psk: Some((&[7; 32], b"id")) };
        let sealed = STAND_IN.seal(&public, to, b"secret", &Zeroizing::new([3; 32])).unwrap();
        let open = |private, to, enc: &[u8], text: &[u8]| STAND_IN.open(private, to, enc, text).ok();
        let (enc, text) = (&sealed.enc[..], &sealed.ciphertext[..]);
        assert_eq!(open(&private, to, enc, text).unwrap().as_slice(), b"secret");
        let mut changed = text.to_vec();
        changed[0] ^= 1;
        assert!(open(&other, to, enc, text).is_none());
        assert!(open(&private, to, &[0; 32], text).is_none());
        assert!(open(&private, to, enc, &changed).is_none());
        assert!(open(&private, Binding { info: b"other", ..to }, enc, text).is_none());
        assert!(open(&private, Binding { psk: None, ..to }, enc, text).is_none());
    }
}
