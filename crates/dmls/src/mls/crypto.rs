//! Labels on primitives (RFC 9420 §5 and §8): hashes, derivations, signatures, sealing.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Refusal;
use super::wire::{HpkeCiphertext, push_vector};
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::suite::{Binding, Seed, Signer, Suite, SuiteError};

/// The output of SHA-256.
pub(crate) type Hash = [u8; 32];

/// An HPKE public key that the suite can seal to.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PublicKey(Arc<[u8]>);

impl PublicKey {
    /// Refuses keys of small order and second encodings (MLS M38, M39, M40, M41, M42).
    pub(crate) fn parse(suite: &dyn Suite, bytes: &[u8]) -> Result<Self, Refusal> {
        if suite.is_public_key(bytes) { Ok(Self(bytes.into())) } else { Err(Refusal::PublicKey) }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bytes)", self.0.len())
    }
}

/// An HPKE key pair.
#[derive(Clone, Debug)]
pub(crate) struct KeyPair {
    pub(crate) public: PublicKey,
    pub(crate) private: Secret,
}

impl KeyPair {
    /// `KEM.DeriveKeyPair(secret)`.
    pub(crate) fn derive(suite: &dyn Suite, secret: &Secret) -> Self {
        let (private, public) = suite.derive_key_pair(secret.expose());
        Self { public: PublicKey(public.into()), private: Secret::new(*private) }
    }
}

/// 32 fresh bytes, or a failure: never a key of zeros.
pub(crate) fn draw(entropy: &mut dyn Entropy) -> Result<Secret, EntropyError> {
    let mut out = Seed::default();
    entropy.fill(&mut *out)?;
    Ok(Secret::new(*out))
}

pub(crate) fn hash(input: &[u8]) -> Hash {
    Sha256::digest(input).into()
}

/// `RefHash(label, value)` (RFC 9420 §5.2).
pub(crate) fn ref_hash(label: &str, value: &[u8]) -> Hash {
    let mut input = Vec::with_capacity(label.len() + value.len() + 8);
    push_vector(&mut input, label.as_bytes());
    push_vector(&mut input, value);
    hash(&input)
}

/// `KDF.Extract(salt, ikm)`.
pub(crate) fn extract(salt: &Secret, ikm: &Secret) -> Secret {
    extract_bytes(salt, ikm.expose())
}

/// `KDF.Extract(salt, ikm)` of secret bytes of any length.
pub(crate) fn extract_bytes(salt: &Secret, ikm: &[u8]) -> Secret {
    Secret::new(Hkdf::<Sha256>::extract(Some(salt.expose()), ikm).0.into())
}

/// `ExpandWithLabel(secret, label, context, out.len())` (RFC 9420 §8).
pub(crate) fn expand_into(secret: &Secret, label: &str, context: &[u8], out: &mut [u8]) {
    let mut info = Vec::with_capacity(32 + label.len() + context.len());
    info.extend(u16::try_from(out.len()).unwrap_or_default().to_be_bytes());
    push_labelled(&mut info, label);
    push_vector(&mut info, context);
    // 32 bytes are a legal key, and outputs are at most 64 bytes long: neither step can fail.
    if let Ok(hkdf) = Hkdf::<Sha256>::from_prk(secret.expose()) {
        let _ = hkdf.expand(&info, out);
    }
}

/// `ExpandWithLabel` to the length of a hash.
pub(crate) fn expand(secret: &Secret, label: &str, context: &[u8]) -> Secret {
    let mut out = Seed::default();
    expand_into(secret, label, context, &mut *out);
    Secret::new(*out)
}

/// `DeriveSecret(secret, label)`.
pub(crate) fn derive(secret: &Secret, label: &str) -> Secret {
    expand(secret, label, b"")
}

fn hmac(key: &Secret, message: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; the alternative is never reached.
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(key.expose());
    mac.unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default())).chain_update(message)
}

pub(crate) fn mac(key: &Secret, message: &[u8]) -> Hash {
    hmac(key, message).finalize().into_bytes().into()
}

/// Compares in constant time, and only a tag of full length holds (MLS M19).
pub(crate) fn mac_holds(key: &Secret, message: &[u8], tag: &[u8]) -> bool {
    hmac(key, message).verify_slice(tag).is_ok()
}

fn push_labelled(out: &mut Vec<u8>, label: &str) {
    const PREFIX: &[u8] = b"MLS 1.0 ";
    let mut labelled = [0; 64];
    let length = PREFIX.len() + label.len();
    // All labels are constants of RFC 9420, the longest has 27 letters.
    if let Some(text) = labelled.get_mut(..length) {
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        text[PREFIX.len()..].copy_from_slice(label.as_bytes());
        push_vector(out, text);
    }
}

/// `SignContent` and `EncryptContext` have one form (RFC 9420 §5.1.2, §5.1.3).
fn labelled(label: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + label.len() + content.len());
    push_labelled(&mut out, label);
    push_vector(&mut out, content);
    out
}

/// `SignWithLabel` (RFC 9420 §5.1.2).
pub(crate) fn sign(signer: &dyn Signer, label: &str, content: &[u8]) -> [u8; 64] {
    signer.sign(&labelled(label, content))
}

/// `VerifyWithLabel` (RFC 9420 §5.1.2): strict (MLS M45, M46), and for one label (MLS M47).
pub(crate) fn verify(
    suite: &dyn Suite,
    key: &[u8; 32],
    label: &str,
    content: &[u8],
    signature: &[u8],
) -> Result<(), Refusal> {
    let signature: &[u8; 64] = signature.try_into().map_err(|_| Refusal::Signature)?;
    if suite.verify(key, &labelled(label, content), signature) { Ok(()) } else { Err(Refusal::Signature) }
}

/// `EncryptWithLabel` (RFC 9420 §5.1.3).
pub(crate) fn seal(
    suite: &dyn Suite,
    key: &PublicKey,
    label: &str,
    context: &[u8],
    text: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<HpkeCiphertext, SealError> {
    let ephemeral = draw_seed(entropy)?;
    let to = Binding { info: &labelled(label, context), psk: None };
    let sealed = suite.seal(key.as_slice(), to, text, &ephemeral)?;
    Ok(HpkeCiphertext { kem_output: sealed.enc.into(), ciphertext: sealed.ciphertext.into() })
}

/// `DecryptWithLabel` (RFC 9420 §5.1.3).
pub(crate) fn open(
    suite: &dyn Suite,
    private: &Secret,
    label: &str,
    context: &[u8],
    sealed: &HpkeCiphertext,
) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
    let to = Binding { info: &labelled(label, context), psk: None };
    suite.open(private.expose(), to, sealed.kem_output.as_slice(), sealed.ciphertext.as_slice())
}

/// 32 fresh bytes for one operation of the suite.
pub(crate) fn draw_seed(entropy: &mut dyn Entropy) -> Result<Seed, EntropyError> {
    let mut seed = Seed::default();
    entropy.fill(&mut *seed)?;
    Ok(seed)
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error(transparent)]
    Suite(#[from] SuiteError),
}

/// A key and a nonce of AES-128-GCM, used once.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct AeadKey {
    pub(crate) key: [u8; 16],
    pub(crate) nonce: [u8; 12],
}

impl AeadKey {
    /// Derives key and nonce with the labels "key" and "nonce".
    pub(crate) fn derive(secret: &Secret, context: &[u8]) -> Self {
        let mut out = Self::default();
        expand_into(secret, "key", context, &mut out.key);
        expand_into(secret, "nonce", context, &mut out.nonce);
        out
    }

    /// This key with the reuse guard of RFC 9420 §6.3.1 in its nonce.
    pub(crate) fn guarded(mut self, guard: [u8; 4]) -> Self {
        self.nonce.iter_mut().zip(guard).for_each(|(byte, guard)| *byte ^= guard);
        self
    }

    pub(crate) fn seal(&self, suite: &dyn Suite, aad: &[u8], text: &[u8]) -> Vec<u8> {
        suite.encrypt(&self.key, &self.nonce, aad, text)
    }

    pub(crate) fn open(&self, suite: &dyn Suite, aad: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        suite.decrypt(&self.key, &self.nonce, aad, ciphertext).map_err(|_| Refusal::Ciphertext)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: _, nonce: _ } = self;
        f.write_str("AeadKey(…)")
    }
}
