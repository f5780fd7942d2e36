//! Other devices' commits: inspected before they count, then merged in a copy.

use openmls::prelude::*;
use openmls::schedule::{PreSharedKeyId, Psk};
use openmls_traits::storage::{CURRENT_VERSION, Entity, StorageProvider as _, traits};
use zeroize::Zeroizing;

use super::facts::{self, EpochFacts};
use super::{Provider, View, checked, load};
use crate::defence;
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::frame::CommitSender;
use crate::id::{EpochId, LeafIndex};
use crate::members::Leaf;
use crate::secret::Secret;
use crate::wire::{Grant, PskId};

/// The group's state after a commit.
pub(crate) struct Staged {
    pub(crate) view: View,
    pub(crate) facts: EpochFacts,
}

/// A commit that MLS accepts and that keeps to the table of SPEC §3.1.
pub(crate) struct Processed {
    /// Who made it.
    pub(crate) committer: Leaf,
    pub(crate) added: Vec<Leaf>,
    pub(crate) removed: Vec<Leaf>,
    /// The new epoch; `None` when it removes this device.
    pub(crate) staged: Option<Staged>,
}

/// Why a commit was not processed: the peer's fault, or our own state's.
pub(crate) enum ProcessFailure {
    Rejected(Reason),
    Own(GroupError),
}

impl From<Reason> for ProcessFailure {
    fn from(reason: Reason) -> Self {
        Self::Rejected(reason)
    }
}

impl From<GroupError> for ProcessFailure {
    fn from(error: GroupError) -> Self {
        Self::Own(error)
    }
}

/// Processes a commit on `base`, whose id is `base_id`; `psk` answers its one PSK. `base` stays as it is.
pub(crate) fn process(
    base: &View,
    base_id: &EpochId,
    group: &[u8],
    bytes: &[u8],
    psk: Secret,
    entropy: &mut dyn Entropy,
) -> Result<Processed, ProcessFailure> {
    let message = super::decode(bytes)?.try_into_protocol_message().map_err(|_| Reason::WrongKind)?;
    let provider = Provider::over(base, entropy).with_psk(psk);
    let mut mls = load(&provider, group)?;
    let known = facts::Known::of(&mls)?;
    let message = mls.process_message(&provider, message).map_err(|error| refusal(&error))?;
    let sender = sender_of(message.sender())?;
    let ProcessedMessageContent::StagedCommitMessage(staged) = message.into_content() else {
        return Err(Reason::WrongKind.into());
    };
    let changes = inspect(&staged, known.leaves(), sender, base_id)?;
    let (committer, added, removed) = changes;
    if staged.self_removed() {
        return Ok(Processed { committer, added, removed, staged: None });
    }
    mls.merge_staged_commit(&provider, *staged).map_err(|_| GroupError::Mls("the commit cannot be merged"))?;
    let leaves = known.after(mls.members())?;
    let facts = facts::take(&provider, &mut mls, leaves)?;
    checked(&provider, ())?;
    Ok(Processed { committer, added, removed, staged: Some(Staged { view: provider.into_view_of(mls), facts }) })
}

/// Checks all of a commit on `base` that can be checked without its PSK: who signed it, and whether its path opens here.
pub(crate) fn check_without_psk(
    base: &View,
    group: &[u8],
    bytes: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(), ProcessFailure> {
    use openmls::group::StageCommitError as Stage;
    let message = super::decode(bytes)?.try_into_protocol_message().map_err(|_| Reason::WrongKind)?;
    let provider = Provider::over(base, entropy).with_psk(Secret::new([0; 32]));
    let mut mls = load(&provider, group)?;
    match mls.process_message(&provider, message).map(ProcessedMessage::into_content) {
        // The tag is checked last, and only with the right PSK it can fit.
        Err(ProcessMessageError::InvalidCommit(Stage::ConfirmationTagMismatch)) => Ok(()),
        Err(error) => Err(refusal(&error).into()),
        // It removes this device, which is told before any secret is needed.
        Ok(ProcessedMessageContent::StagedCommitMessage(staged)) if staged.self_removed() => Ok(()),
        Ok(_) => Err(Reason::Forged.into()),
    }
}

fn sender_of(sender: &Sender) -> Result<CommitSender, Reason> {
    match sender {
        Sender::Member(leaf) => Ok(CommitSender::Member(leaf.u32())),
        Sender::NewMemberCommit => Ok(CommitSender::New),
        _ => Err(Reason::WrongKind),
    }
}

/// A path that does not open for this device is another matter than a forgery: others may be able to open it.
fn refusal<E>(error: &ProcessMessageError<E>) -> Reason {
    use openmls::group::StageCommitError as Stage;
    match error {
        ProcessMessageError::InvalidCommit(Stage::UpdatePathError(_) | Stage::MissingDecryptionKey) => {
            Reason::CannotProcess
        }
        ProcessMessageError::InvalidCommit(Stage::RequiredPathNotFound) => Reason::BadPsk,
        ProcessMessageError::InvalidCommit(Stage::MissingProposal) => Reason::ProposalByReference,
        _ => Reason::Forged,
    }
}

type Changes = (Leaf, Vec<Leaf>, Vec<Leaf>);

/// The table of SPEC §3.1: what a commit may hold.
fn inspect(staged: &StagedCommit, before: &[Leaf], sender: CommitSender, base: &EpochId) -> Result<Changes, Reason> {
    let path = staged.update_path_leaf_node().ok_or(Reason::BadPsk)?;
    let committer = facts::leaf(u32::MAX, path.credential(), path.signature_key().as_slice())?;
    let by_value = staged.queued_proposals().all(|queued| queued.proposal_or_ref_type() == ProposalOrRefType::Proposal);
    if !by_value {
        return Err(Reason::ProposalByReference);
    }
    let (mut added, mut removed, mut psks, mut external) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(add) => {
                let node = add.key_package().leaf_node();
                added.push(facts::leaf(u32::MAX, node.credential(), node.signature_key().as_slice())?);
            }
            Proposal::Remove(remove) => {
                let leaf = before.iter().find(|leaf| leaf.index.0 == remove.removed().u32());
                removed.push(leaf.ok_or(Reason::Forged)?.clone());
            }
            Proposal::PreSharedKey(psk) => psks.push(external_psk(psk)?),
            Proposal::ExternalInit(_) => external += 1,
            Proposal::GroupContextExtensions(_) if !defence::on("I8") => {}
            _ => return Err(Reason::NotAllowed),
        }
    }
    let committer = match sender {
        CommitSender::Member(index) => {
            check_member_commit(&psks, external, index, base)?;
            succession(before, index, committer)?
        }
        CommitSender::New => check_external_commit(&psks, external, &added, &removed, committer)?,
    };
    Ok((committer, added, removed))
}

fn external_psk(proposal: &PreSharedKeyProposal) -> Result<PskId, Reason> {
    let bytes = tls_codec::Serialize::tls_serialize_detached(proposal).map_err(|_| Reason::BadPsk)?;
    let id = <PreSharedKeyId as tls_codec::Deserialize>::tls_deserialize_exact(&bytes).map_err(|_| Reason::BadPsk)?;
    match id.psk() {
        Psk::External(external) => PskId::parse(external.psk_id()),
        _ => Err(Reason::BadPsk),
    }
}

/// Exactly one PSK, naming this base and the committer's own leaf.
fn check_member_commit(psks: &[PskId], external: usize, leaf: u32, base: &EpochId) -> Result<(), Reason> {
    match psks {
        [_] if !defence::on("C2") => Ok(()),
        [_, _] if !defence::on("I7") => Ok(()),
        [psk] if psk.base == *base && psk.leaf == LeafIndex(leaf) && external == 0 => Ok(()),
        _ => Err(Reason::BadPsk),
    }
}

/// An identity never changes on its leaf, and its key changes with its credential only.
fn succession(before: &[Leaf], index: u32, after: Leaf) -> Result<Leaf, Reason> {
    let old = before.iter().find(|leaf| leaf.index.0 == index).ok_or(Reason::Forged)?;
    let same = old.device == after.device && old.key == after.key;
    if same || !defence::on("K6") { Ok(old.clone()) } else { Err(Reason::BadCredential) }
}

/// No PSK, nobody added, nobody removed but the device's own old leaf.
fn check_external_commit(
    psks: &[PskId],
    external: usize,
    added: &[Leaf],
    removed: &[Leaf],
    committer: Leaf,
) -> Result<Leaf, Reason> {
    if !psks.is_empty() || external != 1 {
        return Err(Reason::BadPsk);
    }
    let own_only = removed.iter().all(|leaf| leaf.device == committer.device) || !defence::on("X8");
    if added.is_empty() && own_only { Ok(committer) } else { Err(Reason::NotAllowed) }
}

/// Seals M for one member of the base: HPKE in PSK mode to its leaf key (SPEC §3.7).
pub(crate) fn seal_grant(
    base: &View,
    group: &[u8],
    leaf: LeafIndex,
    context: &[u8],
    psk: &Secret,
    value: &Secret,
    entropy: &mut dyn Entropy,
) -> Result<Grant, GroupError> {
    let key = {
        let provider = Provider::over(base, &mut *entropy);
        let mls = load(&provider, group)?;
        let member = mls.member_at(LeafNodeIndex::new(leaf.0)).ok_or(GroupError::Mls("no such leaf"))?;
        provider.give_back(mls);
        member.encryption_key
    };
    let info = grant_info(context, leaf);
    let (enc, sealed) =
        super::provider::hpke_psk_seal(entropy, &key, &info, b"", psk.expose(), context, value.expose())
            .map_err(|_| GroupError::Mls("the grant cannot be sealed"))?;
    Ok(Grant { leaf: leaf.0, enc: enc.into(), sealed: sealed.into() })
}

fn grant_info(context: &[u8], leaf: LeafIndex) -> Vec<u8> {
    let mut info = b"DMLS 1.0 grant".to_vec();
    crate::codec::push_vector(&mut info, context);
    info.extend(leaf.0.to_be_bytes());
    info
}

/// Opens this device's grant with its leaf key from the base's view.
pub(crate) fn open_grant(
    base: &View,
    group: &[u8],
    grants: &[Grant],
    context: &[u8],
    psk: &Secret,
    entropy: &mut dyn Entropy,
) -> Option<Secret> {
    let provider = Provider::over(base, entropy);
    let mls = load(&provider, group).ok()?;
    let leaf = mls.own_leaf_index();
    let grant = grants.iter().find(|grant| grant.leaf == leaf.u32())?;
    let key = leaf_private_key(&provider, &mls);
    provider.give_back(mls);
    let key = key?;
    let info = grant_info(context, LeafIndex(leaf.u32()));
    let value = super::provider::hpke_psk_open(
        &key,
        grant.enc.as_slice(),
        grant.sealed.as_slice(),
        &info,
        b"",
        psk.expose(),
        context,
    )
    .ok()?;
    Secret::parse(&value)
}

/// How OpenMLS stores an encryption key pair; the layout is pinned by the tests of this module.
#[derive(serde::Serialize, serde::Deserialize)]
struct StoredPair {
    public_key: StoredPublic,
    private_key: StoredPrivate,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct StoredPublic {
    key: tls_codec::VLBytes,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct StoredPrivate {
    key: openmls_traits::types::HpkePrivateKey,
}

impl Entity<CURRENT_VERSION> for StoredPair {}
impl traits::HpkeKeyPair<CURRENT_VERSION> for StoredPair {}

fn leaf_private_key(provider: &Provider<'_>, mls: &MlsGroup) -> Option<Zeroizing<Vec<u8>>> {
    let leaf = mls.own_leaf_index();
    let public = mls.member_at(leaf)?.encryption_key;
    let pairs: Vec<StoredPair> =
        provider.storage().encryption_epoch_key_pairs(mls.group_id(), &mls.epoch(), leaf.u32()).ok()?;
    let pair = pairs.into_iter().find(|pair| pair.public_key.key.as_slice() == public.as_slice())?;
    Some(Zeroizing::new(pair.private_key.key.to_vec()))
}
