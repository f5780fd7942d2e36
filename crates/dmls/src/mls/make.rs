//! This device's own epochs: genesis, commits, Welcomes, GroupInfos.

use std::sync::Arc;

use tls_codec::{Size, VLBytes};
use zeroize::Zeroizing;

use super::commit::{
    Applied, CONTENT_LABEL, Entered, Public, apply, ascending, confirmed_hash, enter, membership_content,
    signed_content,
};
use super::crypto::{self, Hash, KeyPair, PublicKey, draw};
use super::package::Package;
use super::path::{MakeError, OwnPath, PathKeys};
use super::schedule::{EXTERNAL_INIT, EpochSecret, Joiner, Member, psk_secret};
use super::tree::{Leaf, Maker, Place, Tree};
use super::wire::{
    Commit, Content, EncryptedGroupSecrets, Extension, FramedContent, GroupContext, GroupInfo, GroupSecrets,
    LeafSource, PathSecret, PreSharedKeyId, Proposal, ProposalOrRef, PskKind, Sender, VERSION, Welcome, WireFormat,
    encode, extension_type, message, push_vector,
};
use super::{Epoch, Refusal};
use crate::entropy::Entropy;
use crate::secret::Secret;

/// What a member's commit is to do.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) adds: Vec<Package>,
    pub(crate) removes: Vec<u32>,
    /// The id of its one external PSK.
    pub(crate) psk_id: Vec<u8>,
    pub(crate) authenticated_data: Vec<u8>,
}

/// A commit of this device, signed; its tags wait for the PSK, which may depend on what was signed.
pub(crate) struct OwnDraft {
    base: Public,
    membership: Option<Secret>,
    init: Secret,
    leaf: u32,
    framed: Vec<u8>,
    signature: [u8; 64],
    psk: Option<PreSharedKeyId>,
    context: GroupContext,
    applied: Applied,
    packages: Vec<Package>,
    path: OwnPath,
    tree_beside: bool,
}

/// An own commit, and the epoch that it makes.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    /// For all that it adds.
    pub(crate) welcome: Option<Vec<u8>>,
    pub(crate) entered: Entered,
}

/// What a commit on an epoch has room for.
pub(crate) struct Room(Tree);

impl Room {
    /// Whether a package's leaf goes there, beside those that were taken before.
    pub(crate) fn take(&mut self, package: &Package) -> bool {
        self.0.add(package.leaf().clone()).is_ok()
    }
}

/// What makes the init secret of an own commit, and who it is from.
struct Origin {
    sender: Sender,
    leaf: u32,
    init: Secret,
    membership: Option<Secret>,
}

impl Epoch {
    /// A group with this device alone in it (RFC 9420 §11).
    pub(crate) fn create(group: &[u8], maker: &Maker<'_>, entropy: &mut dyn Entropy) -> Result<Entered, MakeError> {
        let pair = KeyPair::derive(maker.suite, &draw(entropy)?);
        let always = LeafSource::KeyPackage { not_before: 0, not_after: u64::MAX };
        let tree = Tree::of(Leaf::parse(maker.suite, &maker.leaf_node(&pair.public, always, None))?)?;
        let context = GroupContext {
            version: VERSION,
            suite: maker.suite.number(),
            group_id: group.into(),
            epoch: 0,
            tree_hash: tree.hash()[..].into(),
            confirmed_transcript_hash: Vec::new().into(),
            extensions: Vec::new(),
        };
        let secret = EpochSecret(draw(entropy)?);
        let tag = secret.confirmation_tag(b"");
        let public = Public { suite: maker.suite, context: Arc::new(context), tree, tag };
        Ok(enter(public, &secret, PathKeys::of_leaf(pair), 0))
    }

    /// What there is room for once these leaves are removed.
    pub(crate) fn room_after(&self, removes: impl Iterator<Item = u32>) -> Room {
        let mut tree = self.public.tree.to_edit();
        for index in removes {
            // A leaf that is not there leaves no room; the commit says so.
            let _ = tree.remove(index);
        }
        Room(tree)
    }

    /// Makes and signs a commit on this epoch: all by value, always with a path (SPEC §3.1). The epoch stays as it is
    /// (MLS M132).
    ///
    /// # Errors
    /// If randomness fails, or a leaf to be removed or added does not go.
    pub(crate) fn draft(
        &self,
        plan: Plan,
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<OwnDraft, MakeError> {
        let psk = psk_of(plan.psk_id, entropy)?;
        let removes = plan.removes.iter().map(|index| Proposal::Remove(*index));
        let adds = plan.adds.iter().map(|package| Proposal::Add(package.wire.clone()));
        let proposals = adds.chain([Proposal::PreSharedKey(psk.clone())]).chain(removes).collect();
        let origin = Origin {
            sender: Sender::Member(self.own),
            leaf: self.own,
            init: self.secrets.init.clone(),
            membership: Some(self.secrets.membership.clone()),
        };
        // MLS M133: all else is refused by what members refuse it by.
        if plan.removes.contains(&self.own) {
            return Err(Refusal::Proposals.into());
        }
        let applied = apply(&self.public.tree, &plan.removes, &plan.adds)?;
        let parts = Parts { proposals, psk: Some(psk), authenticated_data: plan.authenticated_data };
        OwnDraft::make(self.public.clone(), origin, applied, plan.adds, parts, maker, entropy)
    }

    /// The signed GroupInfo of this epoch (RFC 9420 §12.4.3), as an MLSMessage, with the external key; the ratchet tree
    /// stands in it or travels apart. Public by nature, and the same bytes each time.
    #[cfg(any(test, feature = "hazmat", dmls_mutants))]
    pub(crate) fn group_info(&self, maker: &Maker<'_>, with_tree: bool) -> Vec<u8> {
        self.showing().group_info(maker, with_tree)
    }

    /// What is shown of this epoch to joiners.
    pub(crate) fn showing(&self) -> Showing {
        let external = self.secrets.external_key(self.public.suite).public;
        Showing { public: self.public.clone(), external, signer: self.own }
    }
}

/// What a member shows of an epoch to those who join: public by nature.
#[derive(Clone, Debug)]
pub(crate) struct Showing {
    public: Public,
    external: PublicKey,
    signer: u32,
}

impl Showing {
    /// The GroupInfo as [`Epoch::group_info`] makes it.
    pub(crate) fn group_info(&self, maker: &Maker<'_>, with_tree: bool) -> Vec<u8> {
        message(WireFormat::GroupInfo, &self.signed_info(maker, with_tree))
    }

    fn signed_info(&self, maker: &Maker<'_>, with_tree: bool) -> GroupInfo {
        let mut external = Vec::new();
        push_vector(&mut external, self.external.as_slice());
        let mut extensions = vec![Extension { extension_type: extension_type::EXTERNAL_PUB, data: external.into() }];
        if with_tree {
            let data = self.public.tree.export().into();
            extensions.push(Extension { extension_type: extension_type::RATCHET_TREE, data });
        }
        let mut info = GroupInfo {
            context: (*self.public.context).clone(),
            extensions,
            confirmation_tag: self.public.tag[..].into(),
            signer: self.signer,
            signature: Vec::new().into(),
        };
        info.signature = crypto::sign(maker.signer, INFO_LABEL, &info_content(&info))[..].into();
        info
    }
}

pub(super) const INFO_LABEL: &str = "GroupInfoTBS";

/// `GroupInfoTBS` (RFC 9420 §12.4.3).
pub(super) fn info_content(info: &GroupInfo) -> Vec<u8> {
    let mut content = encode(info);
    content.truncate(content.len() - info.signature.tls_serialized_len());
    content
}

/// A fresh nonce each time (RFC 9420 §12.1.4; MLS M107).
fn psk_of(id: Vec<u8>, entropy: &mut dyn Entropy) -> Result<PreSharedKeyId, MakeError> {
    let nonce = draw(entropy)?;
    Ok(PreSharedKeyId { kind: PskKind::External { id: id.into() }, nonce: nonce.expose()[..].into() })
}

struct Parts {
    proposals: Vec<Proposal>,
    psk: Option<PreSharedKeyId>,
    authenticated_data: Vec<u8>,
}

impl OwnDraft {
    /// The external commit of a joiner (RFC 9420 §12.4.3.2), which takes these leaves away.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn external(
        base: Public,
        external_key: &[u8],
        removes: Vec<u32>,
        psk_id: Option<Vec<u8>>,
        authenticated_data: Vec<u8>,
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, MakeError> {
        let seed = crypto::draw_seed(entropy)?;
        let encapsulated = maker.suite.encapsulate(external_key, EXTERNAL_INIT, &seed);
        let (kem_output, init) = encapsulated.map_err(|_| Refusal::PublicKey)?;
        let psk = psk_id.map(|id| psk_of(id, entropy)).transpose()?;
        let mut proposals = vec![Proposal::ExternalInit { kem_output: kem_output.into() }];
        proposals.extend(psk.iter().map(|id| Proposal::PreSharedKey(id.clone())));
        proposals.extend(removes.iter().map(|index| Proposal::Remove(*index)));
        let mut applied = apply(&base.tree, &removes, &[])?;
        let leaf = applied.tree.place_for_joiner()?;
        let init = Secret::new(*init);
        let origin = Origin { sender: Sender::NewMemberCommit, leaf, init, membership: None };
        let parts = Parts { proposals, psk, authenticated_data };
        Self::make(base, origin, applied, Vec::new(), parts, maker, entropy)
    }

    fn make(
        base: Public,
        origin: Origin,
        mut applied: Applied,
        packages: Vec<Package>,
        parts: Parts,
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, MakeError> {
        let group = base.context.group_id.as_slice();
        let path = OwnPath::make(&mut applied.tree, origin.leaf, maker, group, entropy)?;
        let mut context = base.next_context()?;
        context.tree_hash = applied.tree.hash()[..].into();
        let sealed = path.seal(maker.suite, &encode(&context), &ascending(&applied.added), entropy)?;
        let proposals = parts.proposals.into_iter().map(ProposalOrRef::Proposal).collect();
        let framed = encode(&FramedContent {
            group_id: base.context.group_id.clone(),
            epoch: base.context.epoch,
            sender: origin.sender,
            authenticated_data: parts.authenticated_data.into(),
            content: Content::Commit(Commit { proposals, path: Some(sealed) }),
        });
        let content = signed_content(&framed, WireFormat::PublicMessage, &encode(&*base.context));
        let signature = crypto::sign(maker.signer, CONTENT_LABEL, &content);
        context.confirmed_transcript_hash = confirmed_hash(&base.interim(), &framed, &signature)[..].into();
        Ok(Self {
            base,
            membership: origin.membership,
            init: origin.init,
            leaf: origin.leaf,
            framed,
            signature,
            psk: parts.psk,
            context,
            applied,
            packages,
            path,
            tree_beside: false,
        })
    }

    /// The `confirmed_transcript_hash` of the epoch that it makes.
    pub(crate) fn transcript_hash(&self) -> &[u8] {
        self.context.confirmed_transcript_hash.as_slice()
    }

    /// The leaves that it removes.
    pub(crate) fn removed(&self) -> &[(u32, Leaf)] {
        &self.applied.removed
    }

    /// The tree will not be in the Welcome: what is there for all is hashed anew for each newcomer (RFC 9180 §5.1).
    #[cfg(feature = "hazmat")]
    pub(crate) fn leave_tree_beside(&mut self) {
        self.tree_beside = true;
    }

    /// Finishes the commit: tags, Welcome and the epoch that it makes.
    ///
    /// # Errors
    /// If randomness fails, or there is a PSK where none belongs, or the other way round.
    pub(crate) fn finish(
        self,
        psk: Option<&Secret>,
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Made, MakeError> {
        let psks = match (&self.psk, psk) {
            (Some(id), Some(psk)) => vec![(id.clone(), &psk.expose()[..])],
            (None, None) => Vec::new(),
            _ => return Err(Refusal::Psk.into()),
        };
        let context = encode(&self.context);
        let joiner = Joiner::new(&self.init, &self.path.commit_secret, &context);
        let member = joiner.with_psk(&psk_secret(&psks));
        let secret = member.epoch(&context);
        let tag = secret.confirmation_tag(self.transcript_hash());
        let bytes = self.message(&tag);
        let public = Public { suite: self.base.suite, context: Arc::new(self.context), tree: self.applied.tree, tag };
        let entered = enter(public, &secret, self.path.keys, self.leaf);
        if self.packages.is_empty() {
            return Ok(Made { bytes, welcome: None, entered });
        }
        let ids = psks.into_iter().map(|(id, _)| id).collect();
        let newcomers = self.applied.added.iter().map(|(index, _)| *index).zip(&self.packages).collect::<Vec<_>>();
        let (path, tree_beside) = (&self.path.secrets[..], self.tree_beside);
        let seals = Seals { joiner: &joiner, member: &member, psks: ids, path, tree_beside };
        let welcome = seals.welcome(&entered.epoch, &newcomers, maker, entropy)?;
        Ok(Made { bytes, welcome: Some(welcome), entered })
    }

    /// The MLSMessage with the PublicMessage (RFC 9420 §6.2).
    fn message(&self, tag: &Hash) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.framed.len() + 160);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend((WireFormat::PublicMessage as u16).to_be_bytes());
        bytes.extend(&self.framed);
        push_vector(&mut bytes, &self.signature);
        push_vector(&mut bytes, tag);
        if let Some(key) = &self.membership {
            let content = signed_content(&self.framed, WireFormat::PublicMessage, &encode(&*self.base.context));
            let content = membership_content(content, &self.signature, tag);
            push_vector(&mut bytes, &crypto::mac(key, &content));
        }
        bytes
    }
}

/// What a Welcome is made of (RFC 9420 §12.4.3.1).
struct Seals<'a> {
    joiner: &'a Joiner,
    member: &'a Member,
    psks: Vec<PreSharedKeyId>,
    path: &'a [(Place, Secret)],
    tree_beside: bool,
}

impl Seals<'_> {
    fn welcome(
        &self,
        epoch: &Epoch,
        newcomers: &[(u32, &Package)],
        maker: &Maker<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, MakeError> {
        let info = encode(&epoch.showing().signed_info(maker, !self.tree_beside));
        let encrypted_group_info = self.member.welcome_key().seal(maker.suite, b"", info);
        let mut secrets = Vec::with_capacity(newcomers.len());
        for (index, package) in newcomers {
            let content = self.secrets_of(epoch.own, *index);
            let sealed =
                crypto::seal(maker.suite, package.init_key(), WELCOME_LABEL, &encrypted_group_info, &content, entropy)?;
            let new_member = VLBytes::new(package.reference().to_vec());
            secrets.push(EncryptedGroupSecrets { new_member, encrypted_group_secrets: sealed });
        }
        let suite = maker.suite.number();
        let welcome = Welcome { suite, secrets, encrypted_group_info: encrypted_group_info.into() };
        Ok(message(WireFormat::Welcome, &welcome))
    }

    /// The GroupSecrets of a newcomer: the path secret is that of the lowest parent above it and the committer.
    fn secrets_of(&self, committer: u32, newcomer: u32) -> Zeroizing<Vec<u8>> {
        let meeting = Place::meeting(newcomer, committer);
        let path_secret = self.path.iter().find(|(place, _)| *place == meeting);
        let path_secret = path_secret.map(|(_, secret)| PathSecret { path_secret: secret.expose()[..].into() });
        let joiner_secret = self.joiner.0.expose()[..].into();
        let secrets = GroupSecrets { joiner_secret, path_secret, psks: self.psks.clone() };
        let bytes = Zeroizing::new(encode(&secrets));
        secrets.wipe();
        bytes
    }
}

pub(super) const WELCOME_LABEL: &str = "Welcome";
