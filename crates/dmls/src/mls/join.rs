//! Coming into a group: by Welcome (RFC 9420 §12.4.3.1) or by external commit (§12.4.3.2).

use std::sync::Arc;

use tls_codec::VLBytes;

use super::commit::{Entered, Public, check_psk_id, enter};
use super::crypto::{self, KeyPair};
use super::make::{INFO_LABEL, OwnDraft, WELCOME_LABEL, info_content};
use super::package::OwnPackage;
use super::path::{self, MakeError, PathKeys};
use super::refusal::Feature;
use super::schedule::{Joiner, psk_secret};
use super::tree::{Maker, Place, Source, Tree, no_type_twice};
use super::wire::{
    GroupInfo, GroupSecrets, PreSharedKeyId, PskKind, VERSION, Welcome, WireFormat, body, decode, extension_type,
};
use super::{Epoch, Refusal};
use crate::entropy::Entropy;
use crate::secret::Secret;
use crate::suite::Suite;

/// The KeyPackageRefs that a Welcome is for.
pub(crate) fn package_references(bytes: &[u8]) -> Result<Vec<[u8; 32]>, Refusal> {
    let welcome: Welcome = decode(body(bytes, WireFormat::Welcome)?)?;
    let references = welcome.secrets.iter().map(|secrets| secrets.new_member.as_slice().try_into());
    references.collect::<Result<_, _>>().map_err(|_| Refusal::Malformed)
}

/// A Welcome whose secrets opened with the key package that it is for.
pub(crate) struct Invitation {
    suite: &'static dyn Suite,
    welcome: Welcome,
    pub(super) joiner: Joiner,
    path_secret: Option<Secret>,
    pub(super) psks: Vec<PreSharedKeyId>,
    package: OwnPackage,
}

impl Invitation {
    /// Opens what is sealed to this key package.
    pub(crate) fn open(suite: &'static dyn Suite, bytes: &[u8], package: &OwnPackage) -> Result<Self, Refusal> {
        let welcome: Welcome = decode(body(bytes, WireFormat::Welcome)?)?;
        // MLS M141.
        if welcome.suite != package.wire.suite {
            return Err(Refusal::Unsupported(Feature::Suite));
        }
        let reference = package.reference();
        let mut own = welcome.secrets.iter().filter(|secrets| secrets.new_member.as_slice() == reference);
        // MLS M142.
        let sealed = own.next().ok_or(Refusal::NotForUs)?;
        if own.next().is_some() {
            return Err(Refusal::Malformed);
        }
        let context = welcome.encrypted_group_info.as_slice();
        // MLS M143.
        let opened = crypto::open(suite, &package.init, WELCOME_LABEL, context, &sealed.encrypted_group_secrets);
        let secrets: GroupSecrets = decode(&opened.map_err(|_| Refusal::Ciphertext)?)?;
        let joiner = Secret::parse(secrets.joiner_secret.as_slice()).ok_or(Refusal::Malformed);
        let path_secret = secrets.path_secret.as_ref().map(|path| Secret::parse(path.path_secret.as_slice()));
        let psks = secrets.psks.clone();
        secrets.wipe();
        let path_secret = path_secret.map(|secret| secret.ok_or(Refusal::Malformed)).transpose()?;
        Ok(Self { suite, joiner: Joiner(joiner?), path_secret, psks, package: package.clone(), welcome })
    }

    /// The id of the one external PSK that every epoch of ours has (SPEC §3.1; MLS M145).
    pub(crate) fn psk_id(&self) -> Result<&[u8], Refusal> {
        let [id] = &self.psks[..] else { return Err(Refusal::Psk) };
        check_psk_id(id)?;
        match &id.kind {
            PskKind::External { id } => Ok(id.as_slice()),
            PskKind::Resumption { .. } => Err(Refusal::Psk),
        }
    }

    /// Comes in with the PSK; `tree` is the ratchet tree if it is not in the Welcome.
    ///
    /// # Errors
    /// If anything of what RFC 9420 §12.4.3.1 has a joiner check does not hold.
    pub(crate) fn enter(&self, psk: &Secret, tree: Option<&[u8]>) -> Result<Entered, Refusal> {
        self.psk_id()?;
        let entered = self.enter_with(&[psk.expose()], tree)?;
        check_profile(&entered.epoch.public)?;
        Ok(entered)
    }

    /// As [`Self::enter`], with a secret for each PSK in order and whatever the GroupContext has.
    pub(super) fn enter_with(&self, psks: &[&[u8]], tree: Option<&[u8]>) -> Result<Entered, Refusal> {
        let psks: Vec<_> = self.psks.iter().cloned().zip(psks.iter().copied()).collect();
        let member = self.joiner.with_psk(&psk_secret(&psks));
        // MLS M144.
        let info = member.welcome_key().open(self.suite, b"", self.welcome.encrypted_group_info.as_slice())?;
        let info: GroupInfo = decode(&info)?;
        let public = check_info(self.suite, &info, tree)?;
        let secret = member.epoch(&super::wire::encode(&info.context));
        secret.check_tag(info.context.confirmed_transcript_hash.as_slice(), info.confirmation_tag.as_slice())?;
        let (own, keys) = self.keys(&public.tree, info.signer)?;
        Ok(enter(public, &secret, keys, own))
    }

    /// This device's leaf and the private keys above it.
    fn keys(&self, tree: &Tree, signer: u32) -> Result<(u32, PathKeys), Refusal> {
        let signature_key = self.package.wire.leaf.signature_key.as_slice();
        let signature_key: &[u8; 32] = signature_key.try_into().map_err(|_| Refusal::NotForUs)?;
        let own = tree.leaf_of_signature_key(signature_key).ok_or(Refusal::NotForUs)?;
        let leaf = tree.leaf(own).ok_or(Refusal::NotForUs)?;
        // MLS M147.
        if leaf.node()? != self.package.wire.leaf {
            return Err(Refusal::NotForUs);
        }
        let pair = KeyPair { public: leaf.encryption_key().clone(), private: self.package.leaf.clone() };
        let mut keys = PathKeys::of_leaf(pair);
        if let Some(secret) = &self.path_secret {
            let meeting = Place::meeting(own, signer);
            let mut places: Vec<Place> = (1..=tree.height()).map(|height| Place::above(signer, height)).collect();
            places.retain(|place| place.height >= meeting.height && tree.key(*place).is_some());
            if places.first() != Some(&meeting) {
                return Err(Refusal::PathLength);
            }
            // MLS M148.
            path::climb(self.suite, &places, secret.clone(), tree, &mut keys)?;
        }
        // Where a parent above counts this leaf as merged, others seal to that parent (MLS M149).
        let sealed_past = |height: &u32| {
            let place = Place::above(own, *height);
            tree.is_merged(place, own) && keys.get(*height).is_none()
        };
        if (1..=tree.height()).any(|height| sealed_past(&height)) { Err(Refusal::NoPath) } else { Ok((own, keys)) }
    }
}

/// A GroupInfo and its tree, all that a joiner can check of them without secrets; wherever the tree is from (MLS M153).
pub(super) fn check_info(suite: &'static dyn Suite, info: &GroupInfo, tree: Option<&[u8]>) -> Result<Public, Refusal> {
    // MLS M136.
    if info.context.version != VERSION {
        return Err(Refusal::Version);
    }
    if info.context.suite != suite.number() {
        return Err(Refusal::Unsupported(Feature::Suite));
    }
    no_type_twice(&info.extensions)?;
    no_type_twice(&info.context.extensions)?;
    let inside = extension(info, extension_type::RATCHET_TREE);
    // MLS M146.
    let tree = tree.or(inside.map(VLBytes::as_slice)).ok_or(Refusal::Tree)?;
    let tree = Tree::import(suite, info.context.group_id.as_slice(), tree)?;
    // MLS M73.
    if tree.hash()[..] != *info.context.tree_hash.as_slice() {
        return Err(Refusal::TreeHash);
    }
    // MLS M135.
    let signer = tree.leaf(info.signer).ok_or(Refusal::NoSuchLeaf)?;
    let signature = info.signature.as_slice();
    // MLS M134.
    crypto::verify(suite, signer.signature_key(), INFO_LABEL, &info_content(info), signature)?;
    let tag = info.confirmation_tag.as_slice().try_into().map_err(|_| Refusal::ConfirmationTag)?;
    Ok(Public { suite, context: Arc::new(info.context.clone()), tree, tag })
}

/// What RFC 9420 lets a group have and no group of ours has: extensions of its context, leaves that were updated.
fn check_profile(public: &Public) -> Result<(), Refusal> {
    // MLS M138.
    if !public.context.extensions.is_empty() {
        return Err(Refusal::Unsupported(Feature::GroupContextExtensions));
    }
    // MLS M64.
    if public.tree.leaves().iter().any(|(_, leaf)| leaf.source() == Source::Update) {
        return Err(Refusal::Unsupported(Feature::Update));
    }
    Ok(())
}

/// Other extensions are not looked at (MLS M139).
fn extension(info: &GroupInfo, wanted: u16) -> Option<&VLBytes> {
    let found = info.extensions.iter().find(|extension| extension.extension_type == wanted);
    found.map(|extension| &extension.data)
}

/// What a joiner by external commit is told.
pub(crate) struct Door {
    public: Public,
    external_key: Vec<u8>,
}

impl Door {
    /// Reads an MLSMessage that must hold a GroupInfo; `tree` is the ratchet tree if it is not in there.
    ///
    /// # Errors
    /// If anything of what can be checked without secrets does not hold.
    pub(crate) fn read(suite: &'static dyn Suite, bytes: &[u8], tree: Option<&[u8]>) -> Result<Self, Refusal> {
        let info: GroupInfo = decode(body(bytes, WireFormat::GroupInfo)?)?;
        let public = check_info(suite, &info, tree)?;
        check_profile(&public)?;
        // MLS M140.
        let external = extension(&info, extension_type::EXTERNAL_PUB).ok_or(Refusal::Extension)?;
        let external: VLBytes = decode(external.as_slice()).map_err(|_| Refusal::Extension)?;
        // MLS M43.
        if !suite.is_public_key(external.as_slice()) {
            return Err(Refusal::PublicKey);
        }
        Ok(Self { public, external_key: external.as_slice().to_vec() })
    }

    pub(crate) fn public(&self) -> &Public {
        &self.public
    }

    /// Makes and signs the external commit that enters here, and takes this device's own old leaf away.
    ///
    /// # Errors
    /// If randomness fails, or the tree has no place.
    pub(crate) fn draft(
        self,
        psk_id: Option<Vec<u8>>,
        authenticated_data: Vec<u8>,
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<OwnDraft, MakeError> {
        let device = crate::device::Credential::read(maker.identity).map_err(|_| Refusal::Succession)?;
        let removes = self.public.tree.leaf_of(device.device()).into_iter().collect();
        self.draft_removing(removes, psk_id, authenticated_data, maker, entropy)
    }

    /// As [`Self::draft`], taking these leaves away.
    pub(super) fn draft_removing(
        self,
        removes: Vec<u32>,
        psk_id: Option<Vec<u8>>,
        authenticated_data: Vec<u8>,
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<OwnDraft, MakeError> {
        OwnDraft::external(self.public, &self.external_key, removes, psk_id, authenticated_data, maker, entropy)
    }
}

impl Epoch {
    /// The leaf of this device.
    pub(crate) fn own(&self) -> u32 {
        self.own
    }
}
