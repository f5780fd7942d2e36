//! This device's own epochs: genesis, commits, key packages.

use openmls::prelude::*;
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};

use super::facts::{self, EpochFacts};
use super::provider::order;
use super::{Provider, SUITE, View, checked, credential_with_key, encode, lifetime, load, signer};
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::id::LeafIndex;
use crate::members::Leaf;
use crate::secret::Secret;
use crate::wire::PskId;

/// An epoch that this device made, with what its commit publishes.
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
    pub(crate) group_info: Vec<u8>,
    pub(crate) view: View,
    pub(crate) facts: EpochFacts,
}

/// The genesis epoch: its view and facts.
pub(crate) fn create(
    group: &[u8],
    own: &OwnDevice,
    entropy: &mut dyn Entropy,
) -> Result<(View, EpochFacts), GroupError> {
    let provider = Provider::over(&View::default(), entropy);
    let mut mls = MlsGroup::new_with_group_id(
        &provider,
        signer(own),
        &super::create_config(),
        GroupId::from_slice(group),
        credential_with_key(own),
    )
    .map_err(|_| GroupError::Mls("the group cannot be created"))?;
    let leaves = facts::leaves(mls.members()).map_err(GroupError::GroupInfo)?;
    let facts = facts::take(&provider, &mut mls, leaves)?;
    checked(&provider, ())?;
    Ok((provider.into_view_of(mls), facts))
}

/// One commit: all by value, always with a path, always with exactly one PSK (SPEC §3.1).
pub(crate) struct CommitPlan {
    pub(crate) adds: Vec<KeyPackage>,
    pub(crate) removes: Vec<LeafIndex>,
    pub(crate) psk_id: PskId,
    pub(crate) psk: Secret,
    pub(crate) authenticated_data: Vec<u8>,
}

/// Makes the commit in a copy of the base's view and merges it there.
pub(crate) fn commit(
    base: &View,
    group: &[u8],
    own: &OwnDevice,
    plan: CommitPlan,
    entropy: &mut dyn Entropy,
) -> Result<Built, GroupError> {
    let provider = Provider::over(base, entropy).with_psk(plan.psk).in_order();
    let mut mls = load(&provider, group)?;
    let known = facts::Known::of(&mls).map_err(GroupError::GroupInfo)?;
    let psk_id = PreSharedKeyId::new(SUITE, provider.rand(), Psk::External(ExternalPsk::new(plan.psk_id.encode())))
        .map_err(|_| GroupError::Entropy(crate::entropy::EntropyError))?;
    mls.set_aad(plan.authenticated_data);
    #[cfg(test)]
    let provider = provider.spoiling(super::poison::keys(&mls));
    let bundle = mls
        .commit_builder()
        .consume_proposal_store(false)
        .propose_adds(plan.adds)
        .add_proposal(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(psk_id))))
        .add_proposals(plan.removes.iter().map(|leaf| order::place(leaf.0)))
        .propose_removals(plan.removes.iter().map(|leaf| LeafNodeIndex::new(leaf.0)))
        .force_self_update(true)
        .load_psks(provider.storage())
        .map_err(|_| GroupError::Mls("the PSK cannot be loaded"))?
        .build(provider.rand(), provider.crypto(), signer(own), |_| true)
        .map_err(|_| GroupError::Mls("the commit cannot be built"))?
        .stage_commit(&provider)
        .map_err(|_| GroupError::Mls("the commit cannot be staged"))?;
    mls.merge_pending_commit(&provider).map_err(|_| GroupError::Mls("the commit cannot be merged"))?;
    let leaves = known.after(mls.members()).map_err(GroupError::GroupInfo)?;
    let facts = facts::take(&provider, &mut mls, leaves)?;
    let welcome = bundle.to_welcome_msg().map(|message| encode(&message)).transpose()?;
    let (bytes, group_info) = (encode(bundle.commit())?, group_info(&provider, &mls, own)?);
    checked(&provider, ())?;
    Ok(Built { bytes, welcome, group_info, view: provider.into_view_of(mls), facts })
}

/// The epoch's GroupInfo with ratchet tree and external public key. Public by nature.
pub(super) fn group_info(provider: &Provider<'_>, mls: &MlsGroup, own: &OwnDevice) -> Result<Vec<u8>, GroupError> {
    let message = mls
        .export_group_info(provider.crypto(), signer(own), true)
        .map_err(|_| GroupError::Mls("the GroupInfo cannot be exported"))?;
    encode(&message)
}

/// A fresh key package in the device's package view: its reference and bytes.
pub(crate) fn key_package(
    packages: &View,
    own: &OwnDevice,
    last_resort: bool,
    entropy: &mut dyn Entropy,
) -> Result<(View, [u8; 32], Vec<u8>), GroupError> {
    let provider = Provider::over(packages, entropy);
    let builder = KeyPackage::builder().key_package_lifetime(lifetime());
    let builder = if last_resort { builder.mark_as_last_resort() } else { builder };
    let bundle = builder
        .build(SUITE, &provider, signer(own), credential_with_key(own))
        .map_err(|_| GroupError::Mls("the key package cannot be built"))?;
    let package = bundle.key_package().clone();
    let reference = reference(&provider, &package)?;
    let bytes = encode(&MlsMessageOut::from(package))?;
    checked(&provider, ())?;
    Ok((provider.into_view(), reference, bytes))
}

pub(super) fn reference(provider: &Provider<'_>, package: &KeyPackage) -> Result<[u8; 32], GroupError> {
    let reference = package.hash_ref(provider.crypto()).map_err(|_| GroupError::Mls("KeyPackageRef"))?;
    reference.as_slice().try_into().map_err(|_| GroupError::Mls("KeyPackageRef"))
}

/// Checks a claimed key package: who it is for, and the package itself (RFC 9420 §10.1).
pub(crate) fn add_candidate(bytes: &[u8], entropy: &mut dyn Entropy) -> Result<(Leaf, KeyPackage), Reason> {
    let MlsMessageBodyIn::KeyPackage(package) = super::decode(bytes)?.extract() else {
        return Err(Reason::WrongKind);
    };
    let provider = Provider::over(&View::default(), entropy);
    let package = package.validate(provider.crypto(), ProtocolVersion::Mls10).map_err(|_| Reason::Forged)?;
    if package.ciphersuite() != SUITE {
        return Err(Reason::NotAllowed);
    }
    let node = package.leaf_node();
    let leaf = facts::leaf(0, node.credential(), node.signature_key().as_slice())?;
    Ok((leaf, package))
}
