//! Key packages (RFC 9420 §10).

use tls_codec::Size;

use super::Refusal;
use super::crypto::{self, KeyPair, PublicKey, draw, ref_hash};
use super::refusal::Feature;
use super::tree::{Found, Leaf, Maker, check_extensions};
use super::wire::{
    Extension, KeyPackage, LeafSource, VERSION, WireFormat, body, decode, encode, extension_type, message,
};
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::suite::Suite;

/// Another device's key package, checked.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(super) wire: KeyPackage,
    pub(super) leaf: Leaf,
    init: PublicKey,
}

const LABEL: &str = "KeyPackageTBS";

impl Package {
    /// Reads an MLSMessage that must hold a key package, and checks it (RFC 9420 §10.1): by itself, so
    /// that a bad one spoils no other (MLS M49).
    pub(crate) fn read(suite: &dyn Suite, bytes: &[u8]) -> Result<Self, Refusal> {
        Self::check(suite, decode(body(bytes, WireFormat::KeyPackage)?)?)
    }

    /// Lifetimes are policy, never a lock-out: they are not looked at (SPEC §5.5; MLS M60).
    pub(super) fn check(suite: &dyn Suite, wire: KeyPackage) -> Result<Self, Refusal> {
        // MLS M69.
        if wire.version != VERSION {
            return Err(Refusal::Version);
        }
        // MLS M70.
        if wire.suite != suite.number() {
            return Err(Refusal::Unsupported(Feature::Suite));
        }
        // MLS M154.
        check_extensions(&wire.extensions, &wire.leaf.capabilities)?;
        let leaf = Leaf::check(suite, &wire.leaf, Found::Package)?;
        let init = PublicKey::parse(suite, wire.init_key.as_slice())?;
        // MLS M71.
        if init == *leaf.encryption_key() {
            return Err(Refusal::InitKey);
        }
        // MLS M68.
        crypto::verify(suite, leaf.signature_key(), LABEL, &signed_content(&wire), wire.signature.as_slice())?;
        Ok(Self { wire, leaf, init })
    }

    pub(crate) fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The key to which Welcomes are sealed.
    pub(crate) fn init_key(&self) -> &PublicKey {
        &self.init
    }

    /// `KeyPackageRef` (RFC 9420 §5.2).
    pub(crate) fn reference(&self) -> [u8; 32] {
        reference(&self.wire)
    }
}

fn reference(wire: &KeyPackage) -> [u8; 32] {
    ref_hash("MLS 1.0 KeyPackage Reference", &encode(wire))
}

fn signed_content(wire: &KeyPackage) -> Vec<u8> {
    let mut content = encode(wire);
    content.truncate(content.len() - wire.signature.tls_serialized_len());
    content
}

/// A key package of this device with its private keys.
#[derive(Clone, Debug)]
pub(crate) struct OwnPackage {
    pub(super) wire: KeyPackage,
    pub(super) init: Secret,
    pub(super) leaf: Secret,
}

impl OwnPackage {
    /// A fresh one; a last-resort one says so (draft-ietf-mls-extensions).
    pub(crate) fn make(maker: &Maker<'_>, last_resort: bool, entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let init = KeyPair::derive(maker.suite, &draw(entropy)?);
        let leaf = KeyPair::derive(maker.suite, &draw(entropy)?);
        let always = LeafSource::KeyPackage { not_before: 0, not_after: u64::MAX };
        let kind = Extension { extension_type: extension_type::LAST_RESORT, data: Vec::new().into() };
        let mut wire = KeyPackage {
            version: VERSION,
            suite: maker.suite.number(),
            init_key: init.public.as_slice().into(),
            leaf: maker.leaf_node(&leaf.public, always, None),
            extensions: if last_resort { vec![kind] } else { Vec::new() },
            signature: Vec::new().into(),
        };
        wire.signature = crypto::sign(maker.signer, LABEL, &signed_content(&wire))[..].into();
        Ok(Self { wire, init: init.private, leaf: leaf.private })
    }

    /// The MLSMessage to be published.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        message(WireFormat::KeyPackage, &self.wire)
    }

    pub(crate) fn reference(&self) -> [u8; 32] {
        reference(&self.wire)
    }

    /// Whether it is of last resort, and outlives its use.
    pub(crate) fn is_last_resort(&self) -> bool {
        self.wire.extensions.iter().any(|extension| extension.extension_type == extension_type::LAST_RESORT)
    }
}
