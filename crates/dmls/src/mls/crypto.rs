//! Labels on primitives (RFC 9420 §5 and §8): hashes, derivations, signatures, sealing.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Refusal;
use super::wire::{HpkeCiphertext, Length, push_vector};
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

/// 32 fresh bytes, or a failure: never a key of zeros (SPEC §6.3).
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

/// A secret from which several values are derived: its part of the computation is made once.
pub(crate) struct Expander(Option<Hkdf<Sha256>>);

impl Expander {
    pub(crate) fn new(secret: &Secret) -> Self {
        // 32 bytes are a legal key: this cannot fail.
        Self(Hkdf::from_prk(secret.expose()).ok())
    }

    /// `ExpandWithLabel(secret, label, context, out.len())` (RFC 9420 §8).
    pub(crate) fn expand_into(&self, label: &str, context: &[u8], out: &mut [u8]) {
        let length = u16::try_from(out.len()).unwrap_or_default().to_be_bytes();
        let (before_label, before_context) = (label_length(label), Length::new(context.len()));
        let info = [&length, before_label.as_slice(), PREFIX, label.as_bytes(), before_context.as_slice(), context];
        // Outputs are at most 64 bytes long: this cannot fail either.
        let _ = self.0.as_ref().map(|hkdf| hkdf.expand_multi_info(&info, out));
    }

    /// `ExpandWithLabel` to the length of a hash.
    pub(crate) fn expand(&self, label: &str, context: &[u8]) -> Secret {
        let mut out = Seed::default();
        self.expand_into(label, context, &mut *out);
        Secret::new(*out)
    }

    /// A key and a nonce, with the labels "key" and "nonce".
    pub(crate) fn aead_key(&self, context: &[u8]) -> AeadKey {
        let mut out = AeadKey::default();
        self.expand_into("key", context, &mut out.key);
        self.expand_into("nonce", context, &mut out.nonce);
        out
    }
}

/// `ExpandWithLabel` to the length of a hash.
pub(crate) fn expand(secret: &Secret, label: &str, context: &[u8]) -> Secret {
    Expander::new(secret).expand(label, context)
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

/// What every label of RFC 9420 begins with.
const PREFIX: &[u8] = b"MLS 1.0 ";

fn label_length(label: &str) -> Length {
    Length::new(PREFIX.len() + label.len())
}

fn push_label(out: &mut Vec<u8>, label: &str) {
    out.extend_from_slice(label_length(label).as_slice());
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(label.as_bytes());
}

/// `SignContent` and `EncryptContext` have one form (RFC 9420 §5.1.2, §5.1.3); the content is given in its parts.
///
/// It is in one piece from the start, and wiped: the content of a message is secret.
pub(crate) fn labelled(label: &str, content: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length = content.iter().map(|part| part.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(16 + label.len() + length));
    push_label(&mut out, label);
    out.extend_from_slice(Length::new(length).as_slice());
    content.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// `SignWithLabel` (RFC 9420 §5.1.2).
pub(crate) fn sign(signer: &dyn Signer, label: &str, content: &[u8]) -> [u8; 64] {
    signer.sign(&labelled(label, &[content]))
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
    if suite.verify(key, &labelled(label, &[content]), signature) { Ok(()) } else { Err(Refusal::Signature) }
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
    let to = Binding { info: &labelled(label, &[context]), psk: None };
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
    let to = Binding { info: &labelled(label, &[context]), psk: None };
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
    /// Derives key and nonce from a secret.
    pub(crate) fn derive(secret: &Secret, context: &[u8]) -> Self {
        Expander::new(secret).aead_key(context)
    }

    /// This key with the reuse guard of RFC 9420 §6.3.1 in its nonce.
    pub(crate) fn guarded(mut self, guard: [u8; 4]) -> Self {
        self.nonce.iter_mut().zip(guard).for_each(|(byte, guard)| *byte ^= guard);
        self
    }

    /// Seals a text, which becomes the ciphertext in its place: nothing of it is left.
    pub(crate) fn seal(&self, suite: &dyn Suite, aad: &[u8], text: Vec<u8>) -> Vec<u8> {
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
