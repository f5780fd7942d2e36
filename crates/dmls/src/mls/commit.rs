//! Others' commits (RFC 9420 §12.4): read by what is public, opened by a member, finished with the PSK.

use std::sync::Arc;

use tls_codec::VLBytes;

use super::crypto::{self, Hash, hash, mac_holds};
use super::package::Package;
use super::path::{self, PathKeys};
use super::ratchets::Ratchets;
use super::refusal::Feature;
use super::schedule::{EXTERNAL_INIT, EpochSecret, Joiner, Secrets, psk_secret};
use super::tree::{Leaf, Step, Tree};
use super::wire::{
    Commit, GroupContext, PreSharedKeyId, Proposal, ProposalOrRef, PskKind, PublicCommit, Sender, UpdatePath, VERSION,
    WireFormat, encode, push_vector,
};
use super::{Epoch, Refusal};
use crate::secret::Secret;
use crate::suite::Suite;

/// What everybody who sees the commits knows of an epoch.
///
/// **Invariant**: `context.tree_hash` is the hash of `tree`.
#[derive(Clone, Debug)]
pub(crate) struct Public {
    pub(super) suite: &'static dyn Suite,
    pub(super) context: Arc<GroupContext>,
    pub(super) tree: Tree,
    pub(super) tag: Hash,
}

/// What a commit says, checked by all that is public: signature, proposals, tree, path (RFC 9420 §12.4.2).
pub(crate) struct Change {
    pub(super) suite: &'static dyn Suite,
    /// The committer's leaf in the tree that follows.
    pub(super) committer: u32,
    pub(super) external: bool,
    pub(super) added: Vec<(u32, Leaf)>,
    pub(super) removed: Vec<(u32, Leaf)>,
    pub(super) psk: Option<PreSharedKeyId>,
    pub(super) tree: Tree,
    pub(super) context: GroupContext,
    tag: Hash,
    kem_output: Option<VLBytes>,
    path: UpdatePath,
    steps: Vec<Step>,
    /// The GroupContext to which the path is sealed.
    provisional: Vec<u8>,
}

impl Change {
    /// The leaves that the commit added, ascending.
    fn new_leaves(&self) -> Vec<u32> {
        ascending(&self.added)
    }

    /// The state that follows, as far as it is public. That the commit's maker knew the secrets of its base is not
    /// shown by it: only members check the tags.
    #[cfg(any(test, feature = "hazmat"))]
    pub(crate) fn into_public(self) -> Public {
        Public { suite: self.suite, context: Arc::new(self.context), tree: self.tree, tag: self.tag }
    }

    #[cfg(test)]
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

pub(super) fn ascending(added: &[(u32, Leaf)]) -> Vec<u32> {
    let mut new: Vec<u32> = added.iter().map(|(index, _)| *index).collect();
    new.sort_unstable();
    new
}

/// A commit's proposals, sorted.
#[derive(Default)]
pub(super) struct Proposals {
    pub(super) adds: Vec<Package>,
    pub(super) removes: Vec<u32>,
    pub(super) psk: Option<PreSharedKeyId>,
    pub(super) external_init: Option<VLBytes>,
}

impl Proposals {
    /// The table of SPEC §3.1: by value (MLS M90), Add and Remove, one external PSK, and ExternalInit in an external
    /// commit.
    fn read(suite: &dyn Suite, commit: &Commit) -> Result<Self, Refusal> {
        let mut out = Self::default();
        for proposal in &commit.proposals {
            let ProposalOrRef::Proposal(proposal) = proposal else {
                return Err(Refusal::Unsupported(Feature::ProposalByReference));
            };
            out.take(suite, proposal)?;
        }
        Ok(out)
    }

    fn take(&mut self, suite: &dyn Suite, proposal: &Proposal) -> Result<(), Refusal> {
        match proposal {
            // MLS M72.
            Proposal::Add(package) => self.adds.push(Package::check(suite, package.clone())?),
            // MLS M98.
            Proposal::Remove(index) if self.removes.contains(index) => return Err(Refusal::Proposals),
            Proposal::Remove(index) => self.removes.push(*index),
            Proposal::PreSharedKey(id) => {
                check_psk_id(id)?;
                // Once: so none is there twice either (RFC 9420 §12.2; MLS M103, M116).
                if self.psk.replace(id.clone()).is_some() {
                    return Err(Refusal::Psk);
                }
            }
            Proposal::ExternalInit { kem_output } => {
                // MLS M44.
                if !suite.is_public_key(kem_output.as_slice()) {
                    return Err(Refusal::PublicKey);
                }
                // MLS M108.
                if self.external_init.replace(kem_output.clone()).is_some() {
                    return Err(Refusal::Proposals);
                }
            }
            // MLS M92, M93, M94.
            Proposal::Update(_) => return Err(Refusal::Unsupported(Feature::Update)),
            Proposal::ReInit { .. } => return Err(Refusal::Unsupported(Feature::ReInit)),
            Proposal::GroupContextExtensions(_) => {
                return Err(Refusal::Unsupported(Feature::GroupContextExtensions));
            }
        }
        Ok(())
    }

    /// Whether they go together, and with who sends them (RFC 9420 §12.2).
    fn check(&self, sender: Sender) -> Result<(), Refusal> {
        match sender {
            Sender::Member(index) => {
                // MLS M95, M97.
                if self.external_init.is_some() || self.removes.contains(&index) {
                    return Err(Refusal::Proposals);
                }
                // MLS M102; what its id names is for the group to check.
                if self.psk.is_some() { Ok(()) } else { Err(Refusal::Psk) }
            }
            Sender::NewMemberCommit => {
                // MLS M108, M111, M115.
                let fits = self.external_init.is_some() && self.adds.is_empty() && self.removes.len() <= 1;
                if fits { Ok(()) } else { Err(Refusal::Proposals) }
            }
            Sender::External(_) | Sender::NewMemberProposal => Err(Refusal::Sender),
        }
    }
}

/// An external PSK (MLS M104) with a nonce of the length of a hash (RFC 9420 §8.4, §12.1.4; MLS M105).
pub(super) fn check_psk_id(id: &PreSharedKeyId) -> Result<(), Refusal> {
    if matches!(id.kind, PskKind::Resumption { .. }) {
        return Err(Refusal::Unsupported(Feature::ResumptionPsk));
    }
    if id.nonce.as_slice().len() == 32 { Ok(()) } else { Err(Refusal::Psk) }
}

/// What proposals did to a tree.
pub(super) struct Applied {
    pub(super) tree: Tree,
    pub(super) added: Vec<(u32, Leaf)>,
    pub(super) removed: Vec<(u32, Leaf)>,
}

/// Removes first, then adds, in their order (RFC 9420 §12.3; MLS M101).
pub(super) fn apply(base: &Tree, removes: &[u32], adds: &[Package]) -> Result<Applied, Refusal> {
    let mut applied = Applied { tree: base.to_edit(), added: Vec::new(), removed: Vec::new() };
    for index in removes {
        applied.removed.push((*index, applied.tree.remove(*index)?));
    }
    for package in adds {
        let index = applied.tree.add(package.leaf.clone())?;
        applied.added.push((index, package.leaf.clone()));
    }
    Ok(applied)
}

/// `FramedContentTBS` of a member's or joiner's message (RFC 9420 §6.1): it holds on one epoch (MLS M14) and in one
/// wire format (MLS M15).
pub(super) fn signed_content(framed: &[u8], format: WireFormat, context: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + framed.len() + context.len());
    out.extend(VERSION.to_be_bytes());
    out.extend((format as u16).to_be_bytes());
    out.extend(framed);
    out.extend(context);
    out
}

pub(super) const CONTENT_LABEL: &str = "FramedContentTBS";

/// `AuthenticatedContentTBM` (RFC 9420 §6.2), from `FramedContentTBS`.
pub(super) fn membership_content(mut signed: Vec<u8>, signature: &[u8], tag: &[u8]) -> Vec<u8> {
    push_vector(&mut signed, signature);
    push_vector(&mut signed, tag);
    signed
}

/// `confirmed_transcript_hash` of the epoch that this content makes (RFC 9420 §8.2).
pub(super) fn confirmed_hash(interim: &Hash, framed: &[u8], signature: &[u8]) -> Hash {
    let mut input = Vec::with_capacity(32 + 2 + framed.len() + 66);
    input.extend(interim);
    input.extend((WireFormat::PublicMessage as u16).to_be_bytes());
    input.extend(framed);
    push_vector(&mut input, signature);
    hash(&input)
}

/// `interim_transcript_hash` (RFC 9420 §8.2).
pub(super) fn interim_hash(confirmed: &[u8], tag: &[u8]) -> Hash {
    let mut input = confirmed.to_vec();
    push_vector(&mut input, tag);
    hash(&input)
}

impl Public {
    pub(super) fn interim(&self) -> Hash {
        interim_hash(self.context.confirmed_transcript_hash.as_slice(), &self.tag)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The GroupContext of the next epoch but for what the commit itself decides.
    pub(super) fn next_context(&self) -> Result<GroupContext, Refusal> {
        // MLS M22.
        let epoch = self.context.epoch.checked_add(1).ok_or(Refusal::LastEpoch)?;
        Ok(GroupContext { epoch, ..(*self.context).clone() })
    }

    /// Reads a commit on this epoch with nothing but what is public: any commit on a known tree can be followed so, and
    /// is refused as members refuse it (MLS M152). Nothing of the epoch changes (MLS M131; SPEC §7.4).
    ///
    /// # Errors
    /// Why it is no commit on this epoch, for everybody.
    #[cfg(any(test, feature = "hazmat"))]
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Change, Refusal> {
        self.read_as(bytes, None)
    }

    /// As [`Self::read`]; a member hands in its membership key, and a member's commit must have the tag.
    pub(super) fn read_as(&self, bytes: &[u8], membership: Option<&Secret>) -> Result<Change, Refusal> {
        let message = PublicCommit::parse(bytes)?;
        self.check_here(&message)?;
        let commit = message.commit()?;
        self.check_frame(&message, commit.path.as_ref(), membership)?;
        // MLS M87.
        let path = commit.path.as_ref().ok_or(Refusal::NoPath)?;
        let proposals = Proposals::read(self.suite, commit)?;
        proposals.check(message.content.sender)?;
        let mut applied = apply(&self.tree, &proposals.removes, &proposals.adds)?;
        let committer = match message.content.sender {
            Sender::Member(index) => index,
            // MLS M117.
            _ => applied.tree.place_for_joiner()?,
        };
        let new = ascending(&applied.added);
        let group = self.context.group_id.as_slice();
        let steps = path::take(self.suite, &mut applied.tree, committer, path, group, &new)?;
        self.check_identity(&message.content.sender, committer, &applied)?;
        let mut context = self.next_context()?;
        context.tree_hash = applied.tree.hash()[..].into();
        let provisional = encode(&context);
        let signature = message.signature.as_slice();
        context.confirmed_transcript_hash = confirmed_hash(&self.interim(), message.framed, signature)[..].into();
        Ok(Change {
            suite: self.suite,
            committer,
            external: message.content.sender == Sender::NewMemberCommit,
            added: applied.added,
            removed: applied.removed,
            psk: proposals.psk,
            tree: applied.tree,
            context,
            tag: message.confirmation_tag.as_slice().try_into().map_err(|_| Refusal::ConfirmationTag)?,
            kem_output: proposals.external_init,
            path: path.clone(),
            steps,
            provisional,
        })
    }

    fn check_here(&self, message: &PublicCommit<'_>) -> Result<(), Refusal> {
        // MLS M20.
        if message.content.group_id != self.context.group_id {
            return Err(Refusal::OtherGroup);
        }
        // MLS M21.
        if message.content.epoch == self.context.epoch { Ok(()) } else { Err(Refusal::OtherEpoch) }
    }

    /// Signature and membership tag (RFC 9420 §6.1, §6.2).
    fn check_frame(
        &self,
        message: &PublicCommit<'_>,
        path: Option<&UpdatePath>,
        membership: Option<&Secret>,
    ) -> Result<(), Refusal> {
        let key: [u8; 32] = match message.content.sender {
            // MLS M11.
            Sender::Member(index) => *self.tree.leaf(index).ok_or(Refusal::NoSuchLeaf)?.signature_key(),
            Sender::NewMemberCommit => {
                // MLS M109.
                let leaf = &path.ok_or(Refusal::NoPath)?.leaf;
                leaf.signature_key.as_slice().try_into().map_err(|_| Refusal::Signature)?
            }
            Sender::External(_) | Sender::NewMemberProposal => return Err(Refusal::Sender),
        };
        let content = signed_content(message.framed, WireFormat::PublicMessage, &encode(&*self.context));
        // MLS M12, M13.
        crypto::verify(self.suite, &key, CONTENT_LABEL, &content, message.signature.as_slice())?;
        let Some(tag) = &message.membership_tag else { return Ok(()) };
        let content = membership_content(content, message.signature.as_slice(), message.confirmation_tag.as_slice());
        // MLS M16; its length is seen without the key, too (MLS M19).
        let holds = match membership {
            Some(key) => mac_holds(key, &content, tag.as_slice()),
            None => tag.as_slice().len() == size_of::<Hash>(),
        };
        if holds { Ok(()) } else { Err(Refusal::MembershipTag) }
    }

    /// A member stays who it is, and a joiner removes nobody but itself (RFC 9420 §5.3, §12.2; SPEC §3.1).
    fn check_identity(&self, sender: &Sender, committer: u32, applied: &Applied) -> Result<(), Refusal> {
        let leaf = applied.tree.leaf(committer).ok_or(Refusal::NoSuchLeaf)?;
        let identity = |leaf: &Leaf| leaf.node().map(|node| node.credential);
        if let Sender::Member(index) = sender {
            let before = self.tree.leaf(*index).ok_or(Refusal::NoSuchLeaf)?;
            // MLS M127.
            let same = before.signature_key() == leaf.signature_key() && identity(before)? == identity(leaf)?;
            return if same { Ok(()) } else { Err(Refusal::Succession) };
        }
        let own = |(_, removed): &(u32, Leaf)| removed.device().is_some() && removed.device() == leaf.device();
        // MLS M112.
        if !applied.removed.iter().all(own) {
            return Err(Refusal::Proposals);
        }
        // Who comes back is a successor of the leaf that goes, with another key (MLS M113).
        let kept = applied.removed.iter().any(|(_, removed)| removed.encryption_key() == leaf.encryption_key());
        if kept { Err(Refusal::KeyTwice) } else { Ok(()) }
    }
}

/// A commit as a member reads it: all of it but what depends on the PSK.
pub(crate) struct Draft {
    change: Change,
    opening: Opening,
}

/// What a commit holds for this member.
pub(super) enum Opening {
    /// It removes this member.
    Removed,
    /// Its path does not open here; others may be able to open it.
    Closed(Refusal),
    Open {
        init: Secret,
        commit: Secret,
        keys: PathKeys,
        own: u32,
    },
}

/// An epoch that this device came into, with what is there only once.
pub(crate) struct Entered {
    pub(crate) epoch: Epoch,
    pub(crate) ratchets: Ratchets,
    /// The single-use export of the merge component (SPEC §3.4).
    pub(crate) merge_export: Secret,
}

impl Epoch {
    /// Reads a commit on this epoch: everything that can be checked without its PSK.
    ///
    /// # Errors
    /// Why it is no commit on this epoch, for every member.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Draft, Refusal> {
        // MLS M89: all that can be checked comes before whoever is removed is told.
        let change = self.public.read_as(bytes, Some(&self.secrets.membership))?;
        let opening = self.open(&change)?;
        Ok(Draft { change, opening })
    }

    fn open(&self, change: &Change) -> Result<Opening, Refusal> {
        // MLS M88.
        if change.removed.iter().any(|(index, _)| *index == self.own) {
            return Ok(Opening::Removed);
        }
        let opened = path::open(
            self.public.suite,
            self.own,
            &self.keys,
            &change.tree,
            change.committer,
            &change.path,
            &change.steps,
            &change.provisional,
            &change.new_leaves(),
        );
        let (keys, commit) = match opened {
            Ok(opened) => opened,
            Err(refusal) => return Ok(Opening::Closed(refusal)),
        };
        Ok(Opening::Open { init: self.init_of(change)?, commit, keys, own: self.own })
    }

    /// The init secret: the epoch's own, or what an external joiner encapsulated (RFC 9420 §8.3; MLS M110).
    fn init_of(&self, change: &Change) -> Result<Secret, Refusal> {
        let Some(kem_output) = &change.kem_output else { return Ok(self.secrets.init.clone()) };
        let (suite, pair) = (self.public.suite, self.secrets.external_key(self.public.suite));
        let init = suite.decapsulate(pair.private.expose(), kem_output.as_slice(), EXTERNAL_INIT);
        init.map(|init| Secret::new(*init)).map_err(|_| Refusal::PublicKey)
    }
}

impl Draft {
    /// The committer's leaf, as it is in the epoch that follows.
    pub(crate) fn committer(&self) -> Result<(u32, &Leaf), Refusal> {
        let index = self.change.committer;
        self.change.tree.leaf(index).map(|leaf| (index, leaf)).ok_or(Refusal::NoSuchLeaf)
    }

    pub(crate) fn is_external(&self) -> bool {
        self.change.external
    }

    pub(crate) fn added(&self) -> &[(u32, Leaf)] {
        &self.change.added
    }

    pub(crate) fn removed(&self) -> &[(u32, Leaf)] {
        &self.change.removed
    }

    /// The id of its PSK.
    pub(crate) fn psk_id(&self) -> Option<&[u8]> {
        match &self.change.psk.as_ref()?.kind {
            PskKind::External { id } => Some(id.as_slice()),
            PskKind::Resumption { .. } => None,
        }
    }

    /// The `confirmed_transcript_hash` of the epoch that follows.
    pub(crate) fn transcript_hash(&self) -> &[u8] {
        self.change.context.confirmed_transcript_hash.as_slice()
    }

    /// Whether it removes this member.
    pub(crate) fn removes_own(&self) -> bool {
        matches!(self.opening, Opening::Removed)
    }

    /// Why its path does not open here.
    pub(crate) fn closed(&self) -> Option<Refusal> {
        match &self.opening {
            Opening::Closed(refusal) => Some(*refusal),
            Opening::Removed | Opening::Open { .. } => None,
        }
    }

    /// The epoch that follows, if the confirmation tag holds with this PSK; the draft can wait for it (MLS M106).
    ///
    /// # Errors
    /// Without `psk` where there is a PSK, or where the tag does not hold, or the path does not open.
    pub(crate) fn finish(&self, psk: Option<&Secret>) -> Result<Entered, Refusal> {
        let (init, commit, keys, own) = match &self.opening {
            Opening::Open { init, commit, keys, own } => (init, commit, keys, *own),
            Opening::Closed(refusal) => return Err(*refusal),
            Opening::Removed => return Err(Refusal::NoSuchLeaf),
        };
        let psks = match (&self.change.psk, psk) {
            (Some(id), Some(psk)) => vec![(id.clone(), &psk.expose()[..])],
            (None, None) => Vec::new(),
            _ => return Err(Refusal::Psk),
        };
        let context = encode(&self.change.context);
        let secret = Joiner::new(init, commit, &context).with_psk(&psk_secret(&psks)).epoch(&context);
        secret.check_tag(self.transcript_hash(), &self.change.tag)?;
        let public = Public {
            suite: self.change.suite,
            context: Arc::new(self.change.context.clone()),
            tree: self.change.tree.clone(),
            tag: self.change.tag,
        };
        Ok(enter(public, &secret, keys.clone(), own))
    }
}

/// The epoch of this secret: everything is derived at once, and the secret goes (MLS M151).
pub(super) fn enter(public: Public, secret: &EpochSecret, keys: PathKeys, own: u32) -> Entered {
    let ratchets = Ratchets::new(secret.encryption(), public.tree.height());
    let secrets: Arc<Secrets> = Arc::new(secret.secrets());
    let merge_export = secret.merge_export();
    Entered { epoch: Epoch { public, secrets, keys: Arc::new(keys), own }, ratchets, merge_export }
}
