//! What an epoch is, read off its group state.

use openmls::prelude::*;

use super::{MERGE_COMPONENT, Provider};
use crate::device::Credential;
use crate::error::{GroupError, Reason};
use crate::id::{Device, EpochId, LeafIndex, SignatureKey};
use crate::input::BaseProof;
use crate::secret::Secret;
use crate::wire;

/// A member's place in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Leaf {
    pub(crate) index: LeafIndex,
    pub(crate) device: Device,
    pub(crate) key: SignatureKey,
}

/// An epoch's identity, members and merge value.
pub(crate) struct EpochFacts {
    pub(crate) id: EpochId,
    pub(crate) proof: BaseProof,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) own_leaf: LeafIndex,
    pub(crate) merge_export: Secret,
}

/// Reads the facts of a fresh epoch and takes its single-use export, which leaves the state for ever.
pub(super) fn take(provider: &Provider<'_>, group: &mut MlsGroup) -> Result<EpochFacts, GroupError> {
    let proof = proof_of(group)?;
    let leaves = leaves(group.members()).map_err(GroupError::GroupInfo)?;
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
    let mut seen = std::collections::BTreeSet::new();
    let mut out = Vec::new();
    for member in members {
        let leaf = leaf(member.index.u32(), &member.credential, &member.signature_key)?;
        if !seen.insert(leaf.device.clone()) {
            return Err(Reason::BadCredential);
        }
        out.push(leaf);
    }
    Ok(out)
}

/// One leaf with a checked credential.
pub(super) fn leaf(index: u32, credential: &openmls::prelude::Credential, key: &[u8]) -> Result<Leaf, Reason> {
    let key = SignatureKey(key.try_into().map_err(|_| Reason::BadCredential)?);
    if credential.credential_type() != CredentialType::Basic {
        return Err(Reason::BadCredential);
    }
    let parsed = Credential::parse(credential.serialized_content(), &key).map_err(|_| Reason::BadCredential)?;
    Ok(Leaf { index: LeafIndex(index), device: parsed.device().clone(), key })
}
