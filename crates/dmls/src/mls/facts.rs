//! What an epoch is, read off its group state.

use std::collections::{BTreeMap, BTreeSet};

use openmls::prelude::*;

use super::{MERGE_COMPONENT, Provider};
use crate::device::Credential;
use crate::error::{GroupError, Reason};
use crate::id::{EpochId, LeafIndex, SignatureKey};
use crate::input::BaseProof;
use crate::members::Leaf;
use crate::secret::Secret;
use crate::wire;

/// An epoch's identity, members and merge value.
pub(crate) struct EpochFacts {
    pub(crate) id: EpochId,
    pub(crate) proof: BaseProof,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) own_leaf: LeafIndex,
    pub(crate) merge_export: Secret,
}

/// Reads the facts of a fresh epoch with these leaves and takes its single-use export, which leaves the state for ever.
pub(super) fn take(provider: &Provider<'_>, group: &mut MlsGroup, leaves: Vec<Leaf>) -> Result<EpochFacts, GroupError> {
    let proof = proof_of(group)?;
    let export = group
        .safe_export_secret(provider.crypto(), provider.storage(), MERGE_COMPONENT)
        .map_err(|_| GroupError::Mls("the merge export failed"))?;
    let export = zeroize::Zeroizing::new(export);
    let forget = provider.forget_exporter(group.group_id());
    forget.map_err(|_| GroupError::Mls("the exporter cannot be deleted"))?;
    Ok(EpochFacts {
        id: wire::epoch_id(group.group_id().as_slice(), &proof),
        proof,
        leaves,
        own_leaf: LeafIndex(group.own_leaf_index().u32()),
        merge_export: Secret::parse(&export).ok_or(GroupError::Mls("the merge export has a wrong length"))?,
    })
}

fn proof_of(group: &MlsGroup) -> Result<BaseProof, GroupError> {
    Ok(BaseProof {
        confirmed_transcript_hash: group.public_group().group_context().confirmed_transcript_hash().to_vec(),
        confirmation_tag: tag_bytes(group.confirmation_tag())?,
    })
}

/// OpenMLS shows a confirmation tag only in its TLS form, `opaque<V>`.
pub(super) fn tag_bytes(tag: &openmls::messages::ConfirmationTag) -> Result<Vec<u8>, GroupError> {
    let framed = super::encode(tag)?;
    <tls_codec::VLBytes as tls_codec::Deserialize>::tls_deserialize_exact(&framed)
        .map(Into::into)
        .map_err(|_| GroupError::Mls("the confirmation tag cannot be read"))
}

/// All members with checked credentials; one leaf for each (user, device) (SPEC §5.3).
pub(super) fn leaves(members: impl Iterator<Item = Member>) -> Result<Vec<Leaf>, Reason> {
    Known::default().after(members)
}

/// The members of an accepted epoch. Their credentials were checked when it was accepted, and what is the same in the
/// next epoch is not checked again.
#[derive(Default)]
pub(super) struct Known {
    members: BTreeMap<u32, Member>,
    leaves: Vec<Leaf>,
}

impl Known {
    /// The members of an accepted epoch's group.
    pub(super) fn of(group: &MlsGroup) -> Result<Self, Reason> {
        let members: BTreeMap<_, _> = group.members().map(|member| (member.index.u32(), member)).collect();
        let leaves = members.values().map(accepted_leaf).collect::<Result<_, _>>()?;
        Ok(Self { members, leaves })
    }

    /// Their leaves.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The leaves of the next epoch.
    pub(super) fn after(&self, members: impl Iterator<Item = Member>) -> Result<Vec<Leaf>, Reason> {
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        for member in members {
            let known = self.members.get(&member.index.u32()).is_some_and(|known| {
                known.credential == member.credential && known.signature_key == member.signature_key
            });
            let leaf = if known {
                accepted_leaf(&member)?
            } else {
                leaf(member.index.u32(), &member.credential, &member.signature_key)?
            };
            if !seen.insert(leaf.device.clone()) {
                return Err(Reason::BadCredential);
            }
            out.push(leaf);
        }
        Ok(out)
    }
}

/// A leaf of an accepted epoch.
pub(super) fn accepted_leaf(member: &Member) -> Result<Leaf, Reason> {
    let (index, key) = (LeafIndex(member.index.u32()), signature_key(&member.signature_key)?);
    let read = Credential::read(member.credential.serialized_content()).map_err(|_| Reason::BadCredential)?;
    Ok(Leaf { index, device: read.device().clone(), key })
}

fn signature_key(key: &[u8]) -> Result<SignatureKey, Reason> {
    key.try_into().map(SignatureKey).map_err(|_| Reason::BadCredential)
}

/// One leaf with a checked credential.
pub(super) fn leaf(index: u32, credential: &openmls::prelude::Credential, key: &[u8]) -> Result<Leaf, Reason> {
    let key = signature_key(key)?;
    if credential.credential_type() != CredentialType::Basic {
        return Err(Reason::BadCredential);
    }
    let parsed = Credential::parse(credential.serialized_content(), &key).map_err(|_| Reason::BadCredential)?;
    Ok(Leaf { index: LeafIndex(index), device: parsed.device().clone(), key })
}
