//! Commits as a member likes them.

use openmls::prelude::*;
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};

use super::crypto::{Bent, EditInfo};
use super::tree::keys_of;
use crate::device::OwnDevice;
use crate::entropy::{Entropy, EntropyError};
use crate::error::GroupError;
use crate::id::LeafIndex;
use crate::mls::build::{Built, group_info};
use crate::mls::provider::order;
use crate::mls::{Provider, SUITE, View, checked, credential_with_key, encode, facts, load, signer};
use crate::secret::Secret;

/// A commit in which everything can be other than it should be.
pub(crate) struct BentPlan<'a> {
    pub(crate) adds: Vec<KeyPackage>,
    pub(crate) removes: Vec<LeafIndex>,
    /// External PSKs: ids and secrets.
    pub(crate) psks: Vec<(Vec<u8>, Secret)>,
    pub(crate) authenticated_data: Vec<u8>,
    /// Whether there is an UpdatePath even if nothing asks for one.
    pub(crate) path: bool,
    /// Whether a GroupContextExtensions proposal makes the committer an external sender.
    pub(crate) external_sender: bool,
    /// Further entries of the commit's proposals, each a ProposalOrRef (RFC 9420 §12.4).
    pub(crate) extra: Vec<Vec<u8>>,
    /// Leaves for which no ciphertext of the path opens.
    pub(crate) poison: Vec<LeafIndex>,
    /// What the Welcome's GroupInfo says otherwise.
    pub(crate) info: Option<EditInfo>,
    /// Who the committer is from now on.
    pub(crate) identity: Option<&'a OwnDevice>,
}

/// Makes the commit in a copy of the base's view; also says which leaves its path is spoiled for.
pub(crate) fn commit(
    base: &View,
    group: &[u8],
    own: &OwnDevice,
    plan: BentPlan<'_>,
    entropy: &mut dyn Entropy,
) -> Result<(Built, Vec<LeafIndex>), GroupError> {
    let known = plan.psks.iter().map(|(id, psk)| (id.clone(), zeroize::Zeroizing::new(psk.expose().to_vec())));
    let provider = Provider::over(base, entropy).with_external_psks(known.collect()).in_order();
    let mut mls = load(&provider, group)?;
    let known = facts::Known::of(&mls).map_err(GroupError::GroupInfo)?;
    let poison: Vec<_> = plan.poison.iter().flat_map(|leaf| keys_of(&mls, *leaf)).collect();
    let keys: Vec<_> =
        mls.members().map(|member| LeafIndex(member.index.u32())).map(|leaf| (leaf, keys_of(&mls, leaf))).collect();
    let bent = Bent::over(&provider, poison, plan.extra).informing(plan.info);
    mls.set_aad(plan.authenticated_data);
    let mut psks = Vec::new();
    for (id, _) in &plan.psks {
        let id = PreSharedKeyId::new(SUITE, provider.rand(), Psk::External(ExternalPsk::new(id.clone())));
        psks.push(id.map_err(|_| GroupError::Entropy(EntropyError))?);
    }
    let mut builder = mls
        .commit_builder()
        .consume_proposal_store(false)
        .propose_adds(plan.adds)
        .add_proposals(psks.into_iter().map(|id| Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)))))
        .add_proposals(plan.removes.iter().map(|leaf| order::place(leaf.0)))
        .propose_removals(plan.removes.iter().map(|leaf| LeafNodeIndex::new(leaf.0)))
        .force_self_update(plan.path);
    if let Some(identity) = plan.identity {
        let parameters = LeafNodeParameters::builder().with_credential_with_key(credential_with_key(identity));
        builder = builder.leaf_node_parameters(parameters.build());
    }
    if plan.external_sender {
        let key = own.key().0.to_vec().into();
        let credential = BasicCredential::new(own.credential().encode()).into();
        let senders = Extension::ExternalSenders(vec![ExternalSender::new(key, credential)]);
        let extensions = Extensions::single(senders).map_err(|_| GroupError::Mls("extension"))?;
        builder = builder.propose_group_context_extensions(extensions).map_err(|_| GroupError::Mls("extensions"))?;
    }
    let bundle = builder
        .load_psks(provider.storage())
        .map_err(|_| GroupError::Mls("the PSK cannot be loaded"))?
        .build(provider.rand(), bent.crypto(), &bent.signer(signer(own)), |_| true)
        .map_err(|_| GroupError::Mls("the commit cannot be built"))?
        .stage_commit(&bent)
        .map_err(|_| GroupError::Mls("the commit cannot be staged"))?;
    mls.merge_pending_commit(&bent).map_err(|_| GroupError::Mls("the commit cannot be merged"))?;
    let leaves = known.after(mls.members()).map_err(GroupError::GroupInfo)?;
    let facts = facts::take(&provider, &mut mls, leaves)?;
    let welcome = bundle.to_welcome_msg().map(|message| encode(&message)).transpose()?;
    let (bytes, group_info) = (bent.bend(&encode(bundle.commit())?), group_info(&provider, &mls, own)?);
    let spoiled = bent.spoiled();
    let hit = keys.into_iter().filter(|(_, keys)| keys.iter().any(|key| spoiled.contains(key)));
    let hit = hit.map(|(leaf, _)| leaf).collect();
    checked(&provider, ())?;
    drop(bent);
    Ok((Built { bytes, welcome, group_info, view: provider.into_view_of(mls), facts }, hit))
}
