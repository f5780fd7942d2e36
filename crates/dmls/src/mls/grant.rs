//! M, sealed to one member or newcomer with HPKE (SPEC §3.7, §3.8).

use super::crypto::{PublicKey, draw_seed};
use super::package::{OwnPackage, Package};
use super::path::MakeError;
use super::wire::push_vector;
use super::{Epoch, Leaf, Refusal};
use crate::entropy::Entropy;
use crate::id::LeafIndex;
use crate::secret::Secret;
use crate::suite::{Binding, Sealed, Suite};
use crate::wire::Grant;

/// The length of an X25519 encapsulated key.
const ENC: usize = 32;

/// Whom a grant is for: a member of the base, and the leaf of its device that M is sealed to.
pub(crate) struct Recipient {
    pub(crate) leaf: LeafIndex,
    pub(crate) serial: u64,
    pub(crate) key: PublicKey,
}

impl Recipient {
    /// Seals M with HPKE in PSK mode (SPEC §3.7).
    pub(crate) fn seal(
        &self,
        suite: &dyn Suite,
        context: &[u8],
        psk: &Secret,
        value: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<Grant, MakeError> {
        let info = info(context, self.leaf.0, self.serial);
        let to = Binding { info: &info, psk: Some((psk.expose(), context)) };
        let ephemeral = draw_seed(entropy)?;
        let sealed = suite.seal(self.key.as_slice(), to, value.expose(), &ephemeral);
        let Sealed { enc, ciphertext } = sealed.map_err(|_| Refusal::PublicKey)?;
        Ok(Grant { leaf: self.leaf.0, serial: self.serial, enc: enc.into(), sealed: ciphertext.into() })
    }
}

impl Grant {
    /// Opens a grant with the private key of the leaf that it is sealed to.
    pub(crate) fn open(&self, suite: &dyn Suite, key: &Secret, context: &[u8], psk: &Secret) -> Option<Secret> {
        let info = info(context, self.leaf, self.serial);
        let to = Binding { info: &info, psk: Some((psk.expose(), context)) };
        let opened = suite.open(key.expose(), to, self.enc.as_slice(), self.sealed.as_slice()).ok()?;
        Secret::parse(&opened)
    }
}

impl Epoch {
    /// The key of a member's leaf.
    pub(crate) fn leaf_key(&self, leaf: LeafIndex) -> Option<&PublicKey> {
        self.tree().leaf(leaf.0).map(Leaf::encryption_key)
    }

    /// The private key of this device's leaf.
    pub(crate) fn own_key(&self) -> Option<&Secret> {
        self.keys.get(0).map(|pair| &pair.private)
    }
}

fn info(context: &[u8], leaf: u32, serial: u64) -> Vec<u8> {
    let mut info = b"DMLS 1.0 grant".to_vec();
    push_vector(&mut info, context);
    info.extend(leaf.to_be_bytes());
    info.extend(serial.to_be_bytes());
    info
}

impl Package {
    /// Seals M for an added device to its init key (SPEC §3.8).
    pub(crate) fn seal_grant(
        &self,
        suite: &dyn Suite,
        info: &[u8],
        value: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, MakeError> {
        let to = Binding { info, psk: None };
        let ephemeral = draw_seed(entropy)?;
        let sealed = suite.seal(self.init_key().as_slice(), to, value.expose(), &ephemeral);
        let Sealed { mut enc, ciphertext } = sealed.map_err(|_| Refusal::PublicKey)?;
        enc.extend(ciphertext);
        Ok(enc)
    }
}

impl OwnPackage {
    /// Opens the PSK inputs of a Welcome for this key package (SPEC §3.8).
    pub(crate) fn open_grant(&self, suite: &dyn Suite, grant: &[u8], info: &[u8]) -> Option<Secret> {
        let (enc, sealed) = grant.split_at_checked(ENC)?;
        let opened = suite.open(self.init.expose(), Binding { info, psk: None }, enc, sealed).ok()?;
        Secret::parse(&opened)
    }
}
