//! This device: its signature key and its credential.

use std::fmt;

use serde::{Deserialize, Serialize};
use tls_codec::{Deserialize as _, Serialize as _, TlsDeserialize, TlsSerialize, TlsSize, VLBytes};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use crate::id::{Device, SignatureKey};
use crate::mls::provider::{Signer, sign};

/// The only credential version there is.
const VERSION: u8 = 1;
/// What the signature of a credential covers, first of all (SPEC §5.1).
const LABEL: &[u8] = b"DMLS 1.0 credential";
/// Ciphersuite 1 of RFC 9420.
const SUITE: u16 = 0x0001;
const RECORD_VERSION: u8 = 1;

/// The Ed25519 key with which a device signs its leaves, commits and messages. Never the device's Matrix key.
pub struct SigningKey(Signer);

impl SigningKey {
    /// A fresh key from the caller's randomness.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut())?;
        Ok(Self::from_bytes(&seed))
    }

    /// The key with this 32-byte seed (RFC 8032).
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(Signer::from_seed(seed))
    }

    /// The 32-byte seed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.seed()
    }

    /// The public half.
    pub fn public(&self) -> SignatureKey {
        SignatureKey(self.0.public())
    }

    /// Signs `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }

    /// As the MLS library wants it.
    pub(crate) fn signer(&self) -> &Signer {
        &self.0
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
        let valid = sign::strict_verify(&self.device_key, &payload, signature);
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
    sign::verify(key, message, signature)
}

/// This device, able to sign as itself.
#[derive(Debug)]
pub struct OwnDevice {
    signing: SigningKey,
    credential: Credential,
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
        Ok(Self { signing, credential })
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

    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The record to store. Secret.
    pub fn to_record(&self) -> Zeroizing<Vec<u8>> {
        let record = OwnDeviceRecord { seed: self.signing.to_bytes().to_vec(), credential: self.credential.clone() };
        Zeroizing::new(crate::codec::to_record(RECORD_VERSION, &record))
    }

    /// Reads a stored record back.
    pub fn from_record(bytes: &[u8]) -> Result<Self, CredentialError> {
        let record: OwnDeviceRecord =
            crate::codec::from_record(RECORD_VERSION, bytes).map_err(|_| CredentialError::Malformed)?;
        let seed = Zeroizing::new(record.seed);
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| CredentialError::Malformed)?;
        let own = Self { signing: SigningKey::from_bytes(seed), credential: record.credential };
        own.credential.check(&own.key()).map(|()| own)
    }
}
