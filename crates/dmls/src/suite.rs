//! The public-key primitives of a cipher suite, handed in as a value.
//!
//! The group in [`mls`](crate) computes trees, paths and key schedules itself; what it takes from outside is this trait,
//! so that a test can measure, record or replace the primitives without a switch in the product.

use std::fmt;

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{Aead, AeadInPlace, KeyInit, Payload};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hpke::aead::{AeadCtxR, AesGcm128};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{CryptoRng, RngCore};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable, setup_receiver, setup_sender};
use zeroize::{Zeroize, Zeroizing};

/// What an operation on keys fails with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// A key, an encapsulated key or a PSK that the suite refuses.
    #[error("a key that the suite refuses")]
    Key,
    /// The ciphertext does not belong to these inputs.
    #[error("the ciphertext does not open")]
    Open,
}

/// What an HPKE ciphertext is bound to (RFC 9180 §5.1).
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The `info` of the key schedule.
    pub info: &'a [u8],
    /// Secret PSK (at least 32 bytes) and its public id (not empty); base mode without.
    pub psk: Option<(&'a [u8], &'a [u8])>,
}

/// An encapsulated key and what was sealed under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The KEM output.
    pub enc: Vec<u8>,
    /// The ciphertext with its tag.
    pub ciphertext: Vec<u8>,
}

/// 32 fresh random bytes, used for one operation.
pub type Seed = Zeroizing<[u8; 32]>;

/// A signature key of this device.
pub trait Signer: Send + Sync {
    /// The public key.
    fn public(&self) -> [u8; 32];
    /// The seed from which [`Suite::signer`] makes this key again.
    fn seed(&self) -> Seed;
    /// Signs `message`; deterministic.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// The signature key of another device, decoded once.
pub trait Verifier: Send + Sync {
    /// Whether `signature` is the one by this key over `message`; the same answer for everybody.
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// KEM, HPKE, AEAD and signatures of one cipher suite. Hashes and the KDF are SHA-256 and HKDF.
pub trait Suite: fmt::Debug + Send + Sync {
    /// The registered number (RFC 9420 §17.1).
    fn number(&self) -> u16;
    /// `DeriveKeyPair` (RFC 9180 §7.1.3): private and public key.
    fn derive_key_pair(&self, ikm: &[u8; 32]) -> (Seed, Vec<u8>);
    /// Whether these bytes are the one encoding of a key that can be sealed to.
    fn is_public_key(&self, bytes: &[u8]) -> bool;
    /// Seals to `recipient` with the ephemeral key that `ephemeral` gives.
    ///
    /// # Errors
    /// [`SuiteError::Key`] if the suite refuses the key or the PSK.
    fn seal(&self, recipient: &[u8], to: Binding<'_>, text: &[u8], ephemeral: &Seed) -> Result<Sealed, SuiteError>;
    /// Opens what was sealed to the public half of `private`.
    ///
    /// # Errors
    /// [`SuiteError::Key`] if the suite refuses a key, [`SuiteError::Open`] if the ciphertext does not fit.
    fn open(
        &self,
        private: &[u8; 32],
        to: Binding<'_>,
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError>;
    /// Encapsulates to `recipient` and exports 32 bytes (RFC 9180 §5.3).
    ///
    /// # Errors
    /// [`SuiteError::Key`] if the suite refuses the key.
    fn encapsulate(&self, recipient: &[u8], label: &[u8], ephemeral: &Seed) -> Result<(Vec<u8>, Seed), SuiteError>;
    /// The receiver's half of [`Suite::encapsulate`].
    ///
    /// # Errors
    /// [`SuiteError::Key`] if the suite refuses a key.
    fn decapsulate(&self, private: &[u8; 32], enc: &[u8], label: &[u8]) -> Result<Seed, SuiteError>;
    /// Encrypts with a key and a nonce that are used once; the text becomes the ciphertext in its place.
    fn encrypt(&self, key: &[u8; 16], nonce: &[u8; 12], aad: &[u8], mut text: Vec<u8>) -> Vec<u8> {
        let done = Aes128Gcm::new(key.into()).encrypt_in_place(nonce.into(), aad, &mut text);
        // AES-GCM refuses only texts of 64 GiB and more, and what is empty opens nowhere.
        if done.is_err() {
            text.zeroize();
        }
        text
    }
    /// Decrypts what [`Suite::encrypt`] made of the same key, nonce and `aad`.
    ///
    /// # Errors
    /// [`SuiteError::Open`] if the ciphertext does not fit.
    fn decrypt(
        &self,
        key: &[u8; 16],
        nonce: &[u8; 12],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        let opened = Aes128Gcm::new(key.into()).decrypt(nonce.into(), Payload { msg: ciphertext, aad });
        opened.map(Zeroizing::new).map_err(|_| SuiteError::Open)
    }
    /// The signature key of a 32-byte seed.
    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer>;
    /// The key of these bytes, to verify many signatures with; `None` if the suite refuses it.
    fn verifier(&self, key: &[u8; 32]) -> Option<Box<dyn Verifier>>;
    /// Whether `signature` is the one by `key` over `message`; the same answer for everybody.
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        self.verifier(key).is_some_and(|key| key.verify(message, signature))
    }
}

/// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 (RFC 9420 §17.1), suite 1.
pub static X25519_ED25519: &dyn Suite = &Classical;

/// The primitives of suite 1: `hpke` and `ed25519-dalek`.
#[derive(Debug)]
struct Classical;

type X25519 = X25519HkdfSha256;
type PublicKey = <X25519 as Kem>::PublicKey;
type PrivateKey = <X25519 as Kem>::PrivateKey;
type Receiver = AeadCtxR<AesGcm128, HkdfSha256, X25519>;

impl Suite for Classical {
    fn number(&self) -> u16 {
        1
    }

    fn derive_key_pair(&self, ikm: &[u8; 32]) -> (Seed, Vec<u8>) {
        let (private, public) = X25519::derive_keypair(ikm);
        (Zeroizing::new(private.to_bytes().into()), public.to_bytes().to_vec())
    }

    fn is_public_key(&self, bytes: &[u8]) -> bool {
        bytes.try_into().is_ok_and(|key| is_canonical(key) && !SMALL_ORDER.contains(key))
    }

    fn seal(&self, recipient: &[u8], to: Binding<'_>, text: &[u8], ephemeral: &Seed) -> Result<Sealed, SuiteError> {
        let mode = match to.psk {
            None => OpModeS::Base,
            Some(psk) => OpModeS::Psk(bundle(psk)?),
        };
        let mut drawn = Drawn::new(ephemeral);
        let recipient = PublicKey::from_bytes(recipient).map_err(|_| SuiteError::Key)?;
        let made = setup_sender::<AesGcm128, HkdfSha256, X25519, _>(&mode, &recipient, to.info, &mut drawn);
        let (enc, mut context) = made.map_err(|_| SuiteError::Key)?;
        drawn.check()?;
        let ciphertext = context.seal(text, b"").map_err(|_| SuiteError::Key)?;
        Ok(Sealed { enc: enc.to_bytes().to_vec(), ciphertext })
    }

    fn open(
        &self,
        private: &[u8; 32],
        to: Binding<'_>,
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        let mode = match to.psk {
            None => OpModeR::Base,
            Some(psk) => OpModeR::Psk(bundle(psk)?),
        };
        let mut context = receiver(&mode, private, enc, to.info)?;
        context.open(ciphertext, b"").map(Zeroizing::new).map_err(|_| SuiteError::Open)
    }

    fn encapsulate(&self, recipient: &[u8], label: &[u8], ephemeral: &Seed) -> Result<(Vec<u8>, Seed), SuiteError> {
        let mut drawn = Drawn::new(ephemeral);
        let recipient = PublicKey::from_bytes(recipient).map_err(|_| SuiteError::Key)?;
        let made = setup_sender::<AesGcm128, HkdfSha256, X25519, _>(&OpModeS::Base, &recipient, b"", &mut drawn);
        let (enc, context) = made.map_err(|_| SuiteError::Key)?;
        drawn.check()?;
        let mut out = Seed::default();
        context.export(label, &mut *out).map_err(|_| SuiteError::Key)?;
        Ok((enc.to_bytes().to_vec(), out))
    }

    fn decapsulate(&self, private: &[u8; 32], enc: &[u8], label: &[u8]) -> Result<Seed, SuiteError> {
        let context = receiver(&OpModeR::Base, private, enc, b"")?;
        let mut out = Seed::default();
        context.export(label, &mut *out).map_err(|_| SuiteError::Key)?;
        Ok(out)
    }

    fn signer(&self, seed: &[u8; 32]) -> Box<dyn Signer> {
        Box::new(Ed25519(SigningKey::from_bytes(seed)))
    }

    fn verifier(&self, key: &[u8; 32]) -> Option<Box<dyn Verifier>> {
        let key = strict_key(key)?;
        Some(Box::new(key))
    }
}

struct Ed25519(SigningKey);

impl Signer for Ed25519 {
    fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn seed(&self) -> Seed {
        Zeroizing::new(self.0.to_bytes())
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl Verifier for VerifyingKey {
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// The key, unless it is of small order or written in another way than RFC 8032 §5.1.2 writes it.
///
/// dalek decodes `y + p` like `y`: two byte strings would be one key. Where x is 0, so that its sign could be either, the
/// key is of small order.
pub(crate) fn strict_key(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    let mut y = *bytes;
    y[31] &= 0x7f;
    if !is_canonical(&y) {
        return None;
    }
    VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak())
}

/// 2^255 - 19, little-endian.
const FIELD: [u8; 32] = {
    let mut field = [0xff; 32];
    field[0] = 0xed;
    field[31] = 0x7f;
    field
};

/// Below 2^255 - 19 each coordinate has one encoding; RFC 7748 §5 reads any 32 bytes modulo that number.
fn is_canonical(key: &[u8; 32]) -> bool {
    key.iter().rev().lt(FIELD.iter().rev())
}

/// All canonical u-coordinates of small order, on the curve and on its twist: a Diffie-Hellman with them gives zero.
///
/// Two of order 8, 0, 1 and -1; those of the same order that are written otherwise are not canonical.
const SMALL_ORDER: [[u8; 32]; 5] = {
    let (mut one, mut minus_one) = ([0; 32], FIELD);
    one[0] = 1;
    minus_one[0] = 0xec;
    let order_8 = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    let other_order_8 = [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ];
    [[0; 32], one, minus_one, order_8, other_order_8]
};

fn receiver(mode: &OpModeR<'_, X25519>, private: &[u8; 32], enc: &[u8], info: &[u8]) -> Result<Receiver, SuiteError> {
    let private = PrivateKey::from_bytes(private).map_err(|_| SuiteError::Key)?;
    let enc = <X25519 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| SuiteError::Key)?;
    setup_receiver(mode, &private, &enc, info).map_err(|_| SuiteError::Key)
}

/// HPKE itself only asks that both or neither be empty; in PSK mode neither may be.
fn bundle<'a>((psk, id): (&'a [u8], &'a [u8])) -> Result<PskBundle<'a>, SuiteError> {
    if psk.len() < 32 || id.is_empty() {
        return Err(SuiteError::Key);
    }
    PskBundle::new(psk, id).map_err(|_| SuiteError::Key)
}

/// Hands out 32 bytes drawn beforehand, once, through an interface that cannot fail.
struct Drawn<'a> {
    bytes: &'a [u8; 32],
    used: usize,
    overdrawn: bool,
}

impl<'a> Drawn<'a> {
    fn new(bytes: &'a Seed) -> Self {
        Self { bytes, used: 0, overdrawn: false }
    }

    /// Fails if more was asked for than was drawn: what came of it must not be used.
    fn check(&self) -> Result<(), SuiteError> {
        if self.overdrawn { Err(SuiteError::Key) } else { Ok(()) }
    }
}

impl RngCore for Drawn<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut out = [0; 4];
        self.fill_bytes(&mut out);
        u32::from_le_bytes(out)
    }

    fn next_u64(&mut self) -> u64 {
        let mut out = [0; 8];
        self.fill_bytes(&mut out);
        u64::from_le_bytes(out)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        let end = self.used.saturating_add(out.len());
        match self.bytes.get(self.used..end) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => self.overdrawn = true,
        }
        self.used = end;
    }
}

impl CryptoRng for Drawn<'_> {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A key of small order would stop every commit of a room: nobody could seal a path to it (RFC 9180 §7.1.4).
    #[test]
    fn keys_of_small_order_are_refused_and_could_not_be_sealed_to() {
        let to = Binding { info: b"info", psk: None };
        for key in SMALL_ORDER {
            assert!(!X25519_ED25519.is_public_key(&key));
            assert!(is_canonical(&key));
            assert_eq!(X25519_ED25519.seal(&key, to, b"text", &Zeroizing::new([7; 32])), Err(SuiteError::Key));
        }
    }

    #[test]
    fn a_key_has_one_encoding() {
        let (_, key) = X25519_ED25519.derive_key_pair(&[3; 32]);
        assert!(X25519_ED25519.is_public_key(&key));
        let mut high_bit = key.clone();
        high_bit[31] |= 0x80;
        assert!(!X25519_ED25519.is_public_key(&high_bit), "the same key with its unused bit set");
        for above in 0..19 {
            let mut number = FIELD;
            number[0] += above;
            assert!(!X25519_ED25519.is_public_key(&number), "2^255 - 19 + {above}");
        }
        assert!(!X25519_ED25519.is_public_key(&key[..31]));
        let mut two = [0; 32];
        two[0] = 2;
        assert!(X25519_ED25519.is_public_key(&two));
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_binding_only() {
        let (private, public) = X25519_ED25519.derive_key_pair(&[3; 32]);
        let psk = ([9; 32], *b"id");
        for mode in [None, Some((&psk.0[..], &psk.1[..]))] {
            let to = Binding { info: b"info", psk: mode };
            let sealed = X25519_ED25519.seal(&public, to, b"text", &Zeroizing::new([7; 32])).unwrap();
            let open = |to| X25519_ED25519.open(&private, to, &sealed.enc, &sealed.ciphertext);
            assert_eq!(&**open(to).unwrap(), b"text");
            assert_eq!(open(Binding { info: b"other", ..to }), Err(SuiteError::Open));
            assert_eq!(open(Binding { psk: Some((&[8; 32], b"id")), ..to }), Err(SuiteError::Open));
        }
        let (enc, secret) = X25519_ED25519.encapsulate(&public, b"label", &Zeroizing::new([7; 32])).unwrap();
        assert_eq!(X25519_ED25519.decapsulate(&private, &enc, b"label").unwrap(), secret);
        assert_ne!(X25519_ED25519.decapsulate(&private, &enc, b"other").unwrap(), secret);
    }

    #[test]
    fn an_empty_or_short_psk_is_refused() {
        let (_, public) = X25519_ED25519.derive_key_pair(&[3; 32]);
        for psk in [(&[0; 31][..], &b"id"[..]), (&[0; 32], b"")] {
            let to = Binding { info: b"", psk: Some(psk) };
            assert_eq!(X25519_ED25519.seal(&public, to, b"", &Zeroizing::new([7; 32])), Err(SuiteError::Key));
        }
    }
}
