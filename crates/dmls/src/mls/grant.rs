//! M, sealed to one member or newcomer with HPKE (SPEC §3.7, §3.8).

use super::crypto::draw_seed;
use super::package::{OwnPackage, Package};
use super::path::MakeError;
use super::wire::push_vector;
use super::{Epoch, Refusal};
use crate::entropy::Entropy;
use crate::id::LeafIndex;
use crate::secret::Secret;
use crate::suite::{Binding, Sealed};
use crate::wire::Grant;

/// The length of an X25519 encapsulated key.
const ENC: usize = 32;

impl Epoch {
    /// Seals M for one member of this epoch: HPKE in PSK mode to its leaf key (SPEC §3.7).
    pub(crate) fn seal_grant(
        &self,
        leaf: LeafIndex,
        context: &[u8],
        psk: &Secret,
        value: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<Grant, MakeError> {
        let key = self.tree().leaf(leaf.0).ok_or(Refusal::NoSuchLeaf)?.encryption_key();
        let info = info(context, leaf);
        let to = Binding { info: &info, psk: Some((psk.expose(), context)) };
        let ephemeral = draw_seed(entropy)?;
        let sealed = self.public.suite.seal(key.as_slice(), to, value.expose(), &ephemeral);
        let Sealed { enc, ciphertext } = sealed.map_err(|_| Refusal::PublicKey)?;
        Ok(Grant { leaf: leaf.0, enc: enc.into(), sealed: ciphertext.into() })
    }

    /// Opens this device's grant with its leaf key.
    pub(crate) fn open_grant(&self, grants: &[Grant], context: &[u8], psk: &Secret) -> Option<Secret> {
        let grant = grants.iter().find(|grant| grant.leaf == self.own)?;
        let pair = self.keys.get(0)?;
        let info = info(context, LeafIndex(self.own));
        let to = Binding { info: &info, psk: Some((psk.expose(), context)) };
        let (enc, sealed) = (grant.enc.as_slice(), grant.sealed.as_slice());
        let opened = self.public.suite.open(pair.private.expose(), to, enc, sealed).ok()?;
        Secret::parse(&opened)
    }
}

fn info(context: &[u8], leaf: LeafIndex) -> Vec<u8> {
    let mut info = b"DMLS 1.0 grant".to_vec();
    push_vector(&mut info, context);
    info.extend(leaf.0.to_be_bytes());
    info
}

impl Package {
    /// Seals M for an added device to its init key (SPEC §3.8).
    pub(crate) fn seal_grant(
        &self,
        suite: &dyn crate::suite::Suite,
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
    pub(crate) fn open_grant(&self, suite: &dyn crate::suite::Suite, grant: &[u8], info: &[u8]) -> Option<Secret> {
        let (enc, sealed) = grant.split_at_checked(ENC)?;
        let opened = suite.open(self.init.expose(), Binding { info, psk: None }, enc, sealed).ok()?;
        Secret::parse(&opened)
    }
}
