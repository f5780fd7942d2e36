//! This device: its signature key and its credential.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tls_codec::{Deserialize as _, Serialize as _, TlsDeserialize, TlsSerialize, TlsSize, VLBytes};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use crate::error::LoadError;
use crate::id::{Device, SignatureKey};
use crate::journal::{Records, Table, Write};
use crate::mls::Maker;
use crate::suite::{Signer, Suite, X25519_ED25519};

/// The only credential version there is.
const VERSION: u8 = 1;
/// What the signature of a credential covers, first of all (SPEC §5.1).
const LABEL: &[u8] = b"DMLS 1.0 credential";
/// Ciphersuite 1 of RFC 9420.
const SUITE: u16 = 0x0001;
const RECORD_VERSION: u8 = 1;

/// One record: the serial of this device's newest leaf or key package.
pub(crate) const SERIAL: Table = Table("dmls.serial");
const SERIAL_VERSION: u8 = 1;

/// The key with which a device signs its leaves, commits and messages. Never the device's Matrix key.
pub struct SigningKey {
    suite: &'static dyn Suite,
    signer: Box<dyn Signer>,
}

impl SigningKey {
    /// A fresh key from the caller's randomness.
    ///
    /// # Errors
    /// If the randomness fails.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        Self::generate_in(X25519_ED25519, entropy)
    }

    /// As [`Self::generate`], for another suite.
    ///
    /// # Errors
    /// If the randomness fails.
    pub fn generate_in(suite: &'static dyn Suite, entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut())?;
        Ok(Self::from_bytes_in(suite, &seed))
    }

    /// The Ed25519 key with this 32-byte seed (RFC 8032).
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self::from_bytes_in(X25519_ED25519, seed)
    }

    /// The key with this seed, for another suite.
    pub fn from_bytes_in(suite: &'static dyn Suite, seed: &[u8; 32]) -> Self {
        Self { suite, signer: suite.signer(seed) }
    }

    /// The 32-byte seed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.signer.seed()
    }

    /// The public half.
    pub fn public(&self) -> SignatureKey {
        SignatureKey(self.signer.public())
    }

    /// Signs `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signer.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public())
    }
}

/// Why a credential is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Not the bytes of a credential.
    #[error("malformed credential")]
    Malformed,
    /// The device key did not sign this MLS key for this device.
    #[error("the device key has not signed this credential")]
    Signature,
}

/// Says that a device's own Ed25519 key vouches for an MLS signature key; carried in every leaf (SPEC §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    device: Device,
    device_key: [u8; 32],
    generation: u32,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
}

#[derive(TlsSerialize, TlsDeserialize, TlsSize)]
struct WireCredential {
    version: u8,
    user: VLBytes,
    device: VLBytes,
    device_key: [u8; 32],
    generation: u32,
    signature: VLBytes,
}

impl Credential {
    /// The bytes that the device's Ed25519 key signs.
    pub fn payload(device: &Device, key: &SignatureKey, generation: u32) -> Vec<u8> {
        let mut out = LABEL.to_vec();
        out.extend(SUITE.to_be_bytes());
        for part in [device.user.as_bytes(), device.device.as_bytes(), &key.0] {
            crate::codec::push_vector(&mut out, part);
        }
        out.extend(generation.to_be_bytes());
        out
    }

    /// Parses the content of a basic credential and checks it against the leaf's signature key.
    pub fn parse(bytes: &[u8], key: &SignatureKey) -> Result<Self, CredentialError> {
        let credential = Self::read(bytes)?;
        credential.check(key).map(|()| credential)
    }

    /// Parses the content of a basic credential that was checked before.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, CredentialError> {
        let wire = WireCredential::tls_deserialize_exact(bytes).map_err(|_| CredentialError::Malformed)?;
        if wire.version != VERSION {
            return Err(CredentialError::Malformed);
        }
        let text =
            |bytes: &VLBytes| String::from_utf8(bytes.as_slice().to_vec()).map_err(|_| CredentialError::Malformed);
        Ok(Self {
            device: Device::new(text(&wire.user)?, text(&wire.device)?),
            device_key: wire.device_key,
            generation: wire.generation,
            signature: wire.signature.as_slice().to_vec(),
        })
    }

    fn check(&self, key: &SignatureKey) -> Result<(), CredentialError> {
        let signature: &[u8; 64] = self.signature.as_slice().try_into().map_err(|_| CredentialError::Malformed)?;
        let payload = Self::payload(&self.device, key, self.generation);
        let valid = X25519_ED25519.verify(&self.device_key, &payload, signature);
        if valid { Ok(()) } else { Err(CredentialError::Signature) }
    }

    /// The content of the leaf's basic credential.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = WireCredential {
            version: VERSION,
            user: self.device.user.as_bytes().into(),
            device: self.device.device.as_bytes().into(),
            device_key: self.device_key,
            generation: self.generation,
            signature: self.signature.as_slice().into(),
        };
        wire.tls_serialize_detached().unwrap_or_default()
    }

    /// Whose leaf it is.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Checks a signature by a [`SigningKey`]: Ed25519 with strict verification, so that weak keys and malleable signatures
/// are refused (RFC 8032 §5.1.7, SPEC §5.2).
pub fn verify_strict(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    X25519_ED25519.verify(key, message, signature)
}

/// This device, able to sign as itself.
#[derive(Debug)]
pub struct OwnDevice {
    signing: SigningKey,
    credential: Credential,
    /// The credential as leaves carry it.
    identity: Vec<u8>,
    /// The newest leaf or key package that it made, in any group.
    serial: AtomicU64,
}

#[derive(Serialize, Deserialize)]
struct OwnDeviceRecord {
    #[serde(with = "serde_bytes")]
    seed: Vec<u8>,
    credential: Credential,
}

impl OwnDevice {
    /// Joins key and credential; `signature` is the device key's over [`Credential::payload`].
    pub fn new(
        signing: SigningKey,
        device: Device,
        device_key: [u8; 32],
        generation: u32,
        signature: [u8; 64],
    ) -> Result<Self, CredentialError> {
        let credential = Credential { device, device_key, generation, signature: signature.to_vec() };
        credential.check(&signing.public())?;
        Ok(Self { signing, identity: credential.encode(), credential, serial: AtomicU64::new(0) })
    }

    /// User and device id.
    pub fn device(&self) -> &Device {
        &self.credential.device
    }

    /// The MLS signature key.
    pub fn key(&self) -> SignatureKey {
        self.signing.public()
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The suite of its keys.
    pub fn suite(&self) -> &'static dyn Suite {
        self.signing.suite
    }

    /// What signs for it.
    pub(crate) fn maker(&self) -> Maker<'_> {
        let SigningKey { suite, signer } = &self.signing;
        Maker { suite: *suite, signer: &**signer, identity: &self.identity, serial: None }
    }

    /// What makes one leaf, which is newer than all that it made before (SPEC §2.7).
    pub(crate) fn leaf_maker(&self) -> Maker<'_> {
        // Nobody makes 2^64 leaves; but whoever has the signature key may have said so.
        let next = |serial: u64| Some(serial.saturating_add(1));
        let (Ok(before) | Err(before)) = self.serial.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Maker { serial: next(before), ..self.maker() }
    }

    /// What makes one leaf and does not count it: with the same randomness the same one again.
    #[cfg(dmls_mutants)]
    pub(crate) fn same_leaf_maker(&self) -> Maker<'_> {
        Maker { serial: Some(self.serial.load(Ordering::Relaxed).saturating_add(1)), ..self.maker() }
    }

    /// There is a leaf of this device with this serial. A copy that was set back does not know of it.
    pub(crate) fn note_serial(&self, serial: u64) {
        self.serial.fetch_max(serial, Ordering::Relaxed);
    }

    /// The record of its newest leaf, to be stored with that leaf.
    pub(crate) fn serial_record(&self) -> Write {
        let serial = self.serial.load(Ordering::Relaxed);
        crate::codec::put_raw(SERIAL_VERSION, SERIAL, Vec::new(), &serial.to_be_bytes())
    }

    /// Goes on with what the store says of the leaves that it made: to be called before it makes key packages. A group
    /// that is loaded does so by itself.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn load_serial<R: Records>(&self, records: &R) -> Result<(), LoadError<R::Error>> {
        let Some(record) = records.get(SERIAL, b"").map_err(LoadError::Store)? else { return Ok(()) };
        let bytes = crate::codec::from_raw(SERIAL_VERSION, SERIAL, b"", &record);
        let bytes = bytes.map_err(|error| error.of(SERIAL, SERIAL_VERSION))?;
        let serial = bytes.as_slice().try_into().map_err(|_| LoadError::Damaged(SERIAL.0))?;
        self.serial.fetch_max(u64::from_be_bytes(serial), Ordering::Relaxed);
        Ok(())
    }

    /// The record to store. Secret.
    pub fn to_record(&self) -> Zeroizing<Vec<u8>> {
        let record = OwnDeviceRecord { seed: self.signing.to_bytes().to_vec(), credential: self.credential.clone() };
        Zeroizing::new(crate::codec::to_record(RECORD_VERSION, &record))
    }

    /// Reads a stored record back.
    ///
    /// # Errors
    /// If it is none, or the device key did not vouch for the key in it.
    pub fn from_record(bytes: &[u8]) -> Result<Self, CredentialError> {
        Self::from_record_in(X25519_ED25519, bytes)
    }

    /// As [`Self::from_record`], for another suite.
    ///
    /// # Errors
    /// If it is none, or the device key did not vouch for the key in it.
    pub fn from_record_in(suite: &'static dyn Suite, bytes: &[u8]) -> Result<Self, CredentialError> {
        let record: OwnDeviceRecord =
            crate::codec::from_record(RECORD_VERSION, bytes).map_err(|_| CredentialError::Malformed)?;
        let seed = Zeroizing::new(record.seed);
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| CredentialError::Malformed)?;
        let (signing, credential) = (SigningKey::from_bytes_in(suite, seed), record.credential);
        credential.check(&signing.public())?;
        Ok(Self { signing, identity: credential.encode(), credential, serial: AtomicU64::new(0) })
    }
}
