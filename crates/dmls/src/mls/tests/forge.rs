//! A maker that keeps to no rule: each part of a commit can be bent before the next one is worked out, so that exactly
//! one thing is wrong and every signature, hash and tag after it is right.

use tls_codec::VLBytes;
use zeroize::Zeroizing;

use super::suites::LAX;
use super::world::{Chance, Member, Person, SUITE};
use crate::mls::commit::{CONTENT_LABEL, confirmed_hash, membership_content, signed_content};
use crate::mls::crypto::{self, Hash, KeyPair, derive, draw};
use crate::mls::package::OwnPackage;
use crate::mls::schedule::{EXTERNAL_INIT, EpochSecret, Joiner, Member as MemberSecret, psk_secret};
use crate::mls::tree::{Leaf, Maker, Place, Step, Tree};
use crate::mls::wire::{
    Commit, Content, FramedContent, GroupContext, KeyPackage, LeafNode, LeafSource, ParentNode, PreSharedKeyId,
    Proposal, ProposalOrRef, PskKind, Sender, TreeNode, UpdatePath, UpdatePathNode, VERSION, WireFormat, decode,
    encode, push_vector,
};
use crate::mls::{Epoch, Package};
use crate::secret::Secret;
use crate::suite::Signer;

/// What is bent of a commit, in the order in which it is made; nothing of [`Bend::none`].
#[derive(Clone, Copy)]
pub(super) struct Bend<'a> {
    pub(super) removes: &'a [u32],
    pub(super) adds: &'a [KeyPackage],
    pub(super) proposals: &'a dyn Fn(&mut Vec<ProposalOrRef>),
    /// Where the path's leaf is put.
    pub(super) at: Option<u32>,
    /// The path's keys, the leaf's first.
    pub(super) keys: &'a dyn Fn(&mut Vec<KeyPair>),
    /// The path's leaf before it is signed.
    pub(super) leaf: &'a dyn Fn(&mut LeafNode),
    /// Group and index for which the path's leaf is signed.
    pub(super) leaf_signed_for: Option<(&'a [u8], u32)>,
    /// The path's leaf after it was signed.
    pub(super) signed_leaf: &'a dyn Fn(&mut LeafNode),
    /// The context to which the path is sealed.
    pub(super) sealed_to: &'a dyn Fn(&mut GroupContext),
    /// Whether the path is sealed to added members as well.
    pub(super) seals_to_added: bool,
    /// The path; what it opens to stays.
    pub(super) path: &'a dyn Fn(&mut UpdatePath),
    pub(super) has_path: bool,
    pub(super) content: &'a dyn Fn(&mut FramedContent),
    /// What is signed, with the format it is signed for.
    pub(super) signed_in: &'a dyn Fn(&mut GroupContext),
    pub(super) format: WireFormat,
    pub(super) signer: Option<&'a dyn Signer>,
    pub(super) label: &'a str,
    pub(super) signature: &'a dyn Fn(&mut Vec<u8>),
    pub(super) init: Option<&'a Secret>,
    pub(super) tag: &'a dyn Fn(&mut Vec<u8>),
    pub(super) membership_key: Option<&'a Secret>,
    pub(super) membership: &'a dyn Fn(&mut Option<Vec<u8>>),
}

impl Bend<'_> {
    /// An honest commit.
    pub(super) fn none() -> Self {
        Self {
            removes: &[],
            adds: &[],
            proposals: &|_| {},
            at: None,
            keys: &|_| {},
            leaf: &|_| {},
            leaf_signed_for: None,
            signed_leaf: &|_| {},
            sealed_to: &|_| {},
            seals_to_added: false,
            path: &|_| {},
            has_path: true,
            content: &|_| {},
            signed_in: &|_| {},
            format: WireFormat::PublicMessage,
            signer: None,
            label: CONTENT_LABEL,
            signature: &|_| {},
            init: None,
            tag: &|_| {},
            membership_key: None,
            membership: &|_| {},
        }
    }
}

/// Who makes a commit on an epoch.
pub(super) struct Forger<'a> {
    pub(super) base: &'a Epoch,
    pub(super) person: &'a Person,
    /// Whether by an external commit.
    pub(super) external: bool,
    pub(super) psk: &'a Secret,
}

/// A commit, and what its maker knows of the epoch that it makes.
pub(super) struct Forged {
    pub(super) bytes: Vec<u8>,
    pub(super) tree: Tree,
    pub(super) context: GroupContext,
    pub(super) tag: Vec<u8>,
    pub(super) joiner: Joiner,
    pub(super) member: MemberSecret,
    pub(super) psks: Vec<PreSharedKeyId>,
    pub(super) committer: u32,
    pub(super) path_secrets: Vec<(Place, Secret)>,
}

pub(super) fn external_psk(id: &[u8], nonce: &[u8]) -> PreSharedKeyId {
    PreSharedKeyId { kind: PskKind::External { id: id.into() }, nonce: nonce.into() }
}

pub(super) fn by_value(proposal: Proposal) -> ProposalOrRef {
    ProposalOrRef::Proposal(proposal)
}

pub(super) fn psk_proposal(id: &[u8], nonce: &[u8]) -> ProposalOrRef {
    by_value(Proposal::PreSharedKey(external_psk(id, nonce)))
}

impl<'a> Forger<'a> {
    pub(super) fn member(member: &'a Member, psk: &'a Secret) -> Self {
        Self { base: &member.epoch, person: &member.person, external: false, psk }
    }

    pub(super) fn joiner(base: &'a Epoch, person: &'a Person, psk: &'a Secret) -> Self {
        Self { base, person, external: true, psk }
    }

    fn sender(&self) -> Sender {
        if self.external { Sender::NewMemberCommit } else { Sender::Member(self.base.own) }
    }

    /// The honest proposals, and the init secret.
    fn proposals(&self, bend: &Bend<'_>, chance: &mut Chance) -> (Vec<ProposalOrRef>, Secret) {
        let mut proposals: Vec<_> = bend.adds.iter().map(|package| by_value(Proposal::Add(package.clone()))).collect();
        let init = if self.external {
            let key = self.base.secrets.external_key(SUITE).public;
            let seed = Zeroizing::new(chance.bytes());
            let (kem_output, init) = SUITE.encapsulate(key.as_slice(), EXTERNAL_INIT, &seed).unwrap();
            proposals.push(by_value(Proposal::ExternalInit { kem_output: kem_output.into() }));
            Secret::new(*init)
        } else {
            proposals.push(psk_proposal(b"psk", &chance.bytes()));
            self.base.secrets.init.clone()
        };
        proposals.extend(bend.removes.iter().map(|index| by_value(Proposal::Remove(*index))));
        (bend.proposals)(&mut proposals);
        (proposals, bend.init.cloned().unwrap_or(init))
    }

    pub(super) fn commit(&self, bend: Bend<'_>) -> Forged {
        let seed = format!("{:x?}{}", self.base.public.tag, self.person.identity.seed[0]);
        let chance = &mut Chance::new(&seed);
        let public = &self.base.public;
        let (proposals, init) = self.proposals(&bend, chance);
        let (mut tree, added) = applied(&public.tree, &proposals);
        let committer = match (bend.at, self.external) {
            (Some(at), _) => at,
            (None, false) => self.base.own,
            (None, true) => tree.place_for_joiner().unwrap(),
        };
        let mut context = public.next_context().unwrap_or_else(|_| (*public.context).clone());
        let mut path_secrets = Vec::new();
        let (path, commit_secret) = if bend.has_path {
            let (path, secrets, commit_secret) = self.path(&bend, &mut tree, committer, (&mut context, &added), chance);
            path_secrets = secrets;
            (Some(path), commit_secret)
        } else {
            context.tree_hash = tree.hash()[..].into();
            (None, Secret::new([0; 32]))
        };
        let psks = psks_of(&proposals);
        let mut content = FramedContent {
            group_id: public.context.group_id.clone(),
            epoch: public.context.epoch,
            sender: self.sender(),
            authenticated_data: b"forged"[..].into(),
            content: Content::Commit(Commit { proposals, path }),
        };
        (bend.content)(&mut content);
        let framed = encode(&content);
        let mut signed_in = (*public.context).clone();
        (bend.signed_in)(&mut signed_in);
        let signer = bend.signer.unwrap_or(self.person.maker().signer);
        let signed = signed_content(&framed, bend.format, &encode(&signed_in));
        let mut signature = crypto::sign(signer, bend.label, &signed).to_vec();
        (bend.signature)(&mut signature);
        context.confirmed_transcript_hash = confirmed_hash(&public.interim(), &framed, &signature)[..].into();
        let joiner = Joiner::new(&init, &commit_secret, &encode(&context));
        let with_secrets: Vec<_> = psks.iter().map(|id| (id.clone(), &self.psk.expose()[..])).collect();
        let member = joiner.with_psk(&psk_secret(&with_secrets));
        let secret = member.epoch(&encode(&context));
        let mut tag = secret.confirmation_tag(context.confirmed_transcript_hash.as_slice()).to_vec();
        (bend.tag)(&mut tag);
        let bytes = self.message(&bend, &framed, &signature, &tag);
        Forged { bytes, tree, context, tag, joiner, member, psks, committer, path_secrets }
    }

    fn message(&self, bend: &Bend<'_>, framed: &[u8], signature: &[u8], tag: &[u8]) -> Vec<u8> {
        let mut bytes = VERSION.to_be_bytes().to_vec();
        bytes.extend((WireFormat::PublicMessage as u16).to_be_bytes());
        bytes.extend(framed);
        push_vector(&mut bytes, signature);
        push_vector(&mut bytes, tag);
        let context = encode(&*self.base.public.context);
        let content = signed_content(framed, WireFormat::PublicMessage, &context);
        let key = bend.membership_key.unwrap_or(&self.base.secrets.membership);
        let membership = crypto::mac(key, &membership_content(content, signature, tag)).to_vec();
        let mut membership = (!self.external).then_some(membership);
        (bend.membership)(&mut membership);
        if let Some(tag) = membership {
            push_vector(&mut bytes, &tag);
        }
        bytes
    }

    /// Makes the path of `leaf` in `tree` and puts it there.
    fn path(
        &self,
        bend: &Bend<'_>,
        tree: &mut Tree,
        leaf: u32,
        (context, added): (&mut GroupContext, &[u32]),
        chance: &mut Chance,
    ) -> (UpdatePath, Vec<(Place, Secret)>, Secret) {
        let steps = tree.filtered_path(leaf);
        let mut keys = vec![KeyPair::derive(SUITE, &draw(chance).unwrap())];
        let (mut secret, mut secrets) = (draw(chance).unwrap(), Vec::new());
        for step in &steps {
            keys.push(KeyPair::derive(SUITE, &derive(&secret, "node")));
            let next = derive(&secret, "path");
            secrets.push((step.place, std::mem::replace(&mut secret, next)));
        }
        (bend.keys)(&mut keys);
        let publics: Vec<_> = keys[1..].iter().map(|pair| pair.public.clone()).collect();
        let (parents, parent_hash) = Tree::plan_path(&steps, &publics).unwrap();
        let group = self.base.public.context.group_id.as_slice();
        let source = LeafSource::Commit { parent_hash: parent_hash.map_or(Vec::new(), |hash| hash.to_vec()).into() };
        let maker = self.person.maker();
        let mut node = maker.leaf_node(&keys[0].public, source, None);
        (bend.leaf)(&mut node);
        sign_leaf(&mut node, maker.signer, Some(bend.leaf_signed_for.unwrap_or((group, leaf))));
        (bend.signed_leaf)(&mut node);
        let parents: Vec<_> = parents.iter().map(|(place, parent)| (*place, parent_node(parent))).collect();
        *tree = with_path(tree, leaf, &node, &parents);
        context.tree_hash = tree.hash()[..].into();
        let mut sealed_to = context.clone();
        (bend.sealed_to)(&mut sealed_to);
        let new = if bend.seals_to_added { &[][..] } else { added };
        let nodes = sealed(&steps, &publics, &secrets, new, &encode(&sealed_to), chance);
        let mut path = UpdatePath { leaf: node, nodes };
        (bend.path)(&mut path);
        (path, secrets, secret)
    }
}

fn sealed(
    steps: &[Step],
    keys: &[crypto::PublicKey],
    secrets: &[(Place, Secret)],
    new: &[u32],
    context: &[u8],
    chance: &mut Chance,
) -> Vec<UpdatePathNode> {
    let mut nodes = Vec::new();
    for ((step, key), (_, secret)) in steps.iter().zip(keys).zip(secrets) {
        let seal = |target: &crate::mls::tree::Target, chance: &mut Chance| {
            crypto::seal(SUITE, &target.key, "UpdatePathNode", context, secret.expose(), chance).unwrap()
        };
        let path_secret = step.targets(new).iter().map(|target| seal(target, chance)).collect();
        nodes.push(UpdatePathNode { encryption_key: key.as_slice().into(), path_secret });
    }
    nodes
}

fn psks_of(proposals: &[ProposalOrRef]) -> Vec<PreSharedKeyId> {
    let psk = |proposal: &ProposalOrRef| match proposal {
        ProposalOrRef::Proposal(Proposal::PreSharedKey(id)) => Some(id.clone()),
        _ => None,
    };
    proposals.iter().filter_map(psk).collect()
}

/// The tree after all Removes and Adds that can be followed at all, and the leaves that were added.
fn applied(base: &Tree, proposals: &[ProposalOrRef]) -> (Tree, Vec<u32>) {
    let (mut tree, mut added) = (base.clone(), Vec::new());
    for proposal in proposals {
        if let ProposalOrRef::Proposal(Proposal::Remove(index)) = proposal {
            let _ = tree.remove(*index);
        }
    }
    for proposal in proposals {
        if let ProposalOrRef::Proposal(Proposal::Add(package)) = proposal {
            added.extend(add(&mut tree, &package.leaf));
        }
    }
    added.sort_unstable();
    (tree, added)
}

/// Adds a leaf whatever it is.
fn add(tree: &mut Tree, leaf: &LeafNode) -> Option<u32> {
    let mut unique = Chance::new(&format!("{:x?}", tree.hash()));
    let stand_in = Person::new("stand-in", &mut unique).package(false, &mut unique);
    let index = tree.add(Leaf::parse(LAX, &stand_in.wire.leaf).unwrap()).ok()?;
    let mut nodes = nodes_of(tree);
    nodes[2 * index as usize] = Some(TreeNode::Leaf(Box::new(leaf.clone())));
    *tree = tree_of(nodes);
    Some(index)
}

pub(super) fn nodes_of(tree: &Tree) -> Vec<Option<TreeNode>> {
    decode(&tree.export()).unwrap()
}

/// The tree of these nodes, whatever they are.
pub(super) fn tree_of(nodes: Vec<Option<TreeNode>>) -> Tree {
    Tree::import_with(nodes, &mut |_, leaf| Leaf::parse(LAX, leaf), LAX).unwrap()
}

/// A ratchet_tree of these nodes.
pub(super) fn tree_bytes(nodes: &[Option<TreeNode>]) -> Vec<u8> {
    encode(&nodes.to_vec())
}

fn parent_node(parent: &crate::mls::tree::Parent) -> ParentNode {
    ParentNode {
        encryption_key: parent.key.as_slice().into(),
        parent_hash: parent.parent_hash.map_or(Vec::new(), |hash| hash.to_vec()).into(),
        unmerged_leaves: parent.unmerged.clone(),
    }
}

/// The tree with a path in it, whatever its keys are.
fn with_path(tree: &Tree, index: u32, leaf: &LeafNode, parents: &[(Place, ParentNode)]) -> Tree {
    let mut nodes = nodes_of(tree);
    let width = (2usize << tree.height()) - 1;
    nodes.resize(width, None);
    for height in 1..=tree.height() {
        nodes[Place::above(index, height).node_index() as usize] = None;
    }
    nodes[2 * index as usize] = Some(TreeNode::Leaf(Box::new(leaf.clone())));
    for (place, parent) in parents {
        nodes[place.node_index() as usize] = Some(TreeNode::Parent(Box::new(parent.clone())));
    }
    tree_of(trimmed(nodes))
}

/// Without the blank nodes at the end.
pub(super) fn trimmed(mut nodes: Vec<Option<TreeNode>>) -> Vec<Option<TreeNode>> {
    while matches!(nodes.last(), Some(None)) {
        nodes.pop();
    }
    nodes
}

/// The bytes that a leaf's signature covers.
fn leaf_content(node: &LeafNode, place: Option<(&[u8], u32)>) -> Vec<u8> {
    let mut content = encode(&LeafNode { signature: Vec::new().into(), ..node.clone() });
    content.pop();
    if let Some((group, index)) = place {
        push_vector(&mut content, group);
        content.extend(index.to_be_bytes());
    }
    content
}

/// Signs a leaf; `place` belongs to leaves that are not in key packages.
pub(super) fn sign_leaf(node: &mut LeafNode, signer: &dyn Signer, place: Option<(&[u8], u32)>) {
    sign_leaf_as(node, signer, "LeafNodeTBS", place);
}

pub(super) fn sign_leaf_as(node: &mut LeafNode, signer: &dyn Signer, label: &str, place: Option<(&[u8], u32)>) {
    node.signature = crypto::sign(signer, label, &leaf_content(node, place))[..].into();
}

/// Signs a key package.
pub(super) fn sign_package(package: &mut KeyPackage, signer: &dyn Signer) {
    sign_package_as(package, signer, "KeyPackageTBS");
}

pub(super) fn sign_package_as(package: &mut KeyPackage, signer: &dyn Signer, label: &str) {
    let mut content = encode(&KeyPackage { signature: Vec::new().into(), ..package.clone() });
    content.pop();
    package.signature = crypto::sign(signer, label, &content)[..].into();
}

/// Somebody's package, bent before its leaf and it are signed.
pub(super) fn package_with(
    person: &Person,
    chance: &mut Chance,
    bend: impl Fn(&mut KeyPackage),
) -> (OwnPackage, KeyPackage) {
    let own = person.package(false, chance);
    let mut wire = own.wire.clone();
    bend(&mut wire);
    sign_leaf(&mut wire.leaf, person.maker().signer, None);
    sign_package(&mut wire, person.maker().signer);
    (own, wire)
}

/// Fills in the parent hashes of the path of leaf `index`, whose owner set it last, and signs that leaf.
pub(super) fn rehashed(
    mut nodes: Vec<Option<TreeNode>>,
    index: u32,
    maker: &Maker<'_>,
    group: &[u8],
) -> Vec<Option<TreeNode>> {
    let tree = tree_of(nodes.clone());
    let mut above: Vec<u8> = Vec::new();
    for height in (1..=tree.height()).rev() {
        let place = Place::above(index, height);
        let sibling = if place.is_right(index) { place.left() } else { place.right() };
        let Some(Some(TreeNode::Parent(parent))) = nodes.get_mut(place.node_index() as usize) else { continue };
        parent.parent_hash = above.into();
        above = hash_of_parent(parent, &original(&tree, sibling, &parent.unmerged_leaves)).to_vec();
    }
    if let Some(Some(TreeNode::Leaf(leaf))) = nodes.get_mut(2 * index as usize) {
        leaf.source = LeafSource::Commit { parent_hash: above.into() };
        sign_leaf(leaf, maker.signer, Some((group, index)));
    }
    nodes
}

/// The hash of a subtree as it was before these leaves came.
fn original(tree: &Tree, place: Place, unmerged: &[u32]) -> Hash {
    let mut nodes = nodes_of(tree);
    nodes.resize((2usize << tree.height()) - 1, None);
    for (index, node) in nodes.iter_mut().enumerate() {
        match node {
            Some(TreeNode::Leaf(_)) if unmerged.contains(&(index as u32 / 2)) => *node = None,
            Some(TreeNode::Parent(parent)) => parent.unmerged_leaves.retain(|leaf| !unmerged.contains(leaf)),
            _ => {}
        }
    }
    // A node at the very end keeps the tree as wide as it was.
    if nodes.last().is_some_and(Option::is_none) {
        let filler = nodes.iter().flatten().find(|node| matches!(node, TreeNode::Leaf(_))).cloned();
        let last = nodes.len() - 1;
        if !place.covers(last as u32 / 2) {
            nodes[last] = filler;
        }
    }
    let whole = tree_of(trimmed(nodes));
    whole.hash_at(place)
}

fn hash_of_parent(parent: &ParentNode, sibling: &Hash) -> Hash {
    let mut input = Vec::new();
    push_vector(&mut input, parent.encryption_key.as_slice());
    push_vector(&mut input, parent.parent_hash.as_slice());
    push_vector(&mut input, sibling);
    crypto::hash(&input)
}

/// The secret of the epoch that a commit makes.
pub(super) fn secret_of(forged: &Forged) -> EpochSecret {
    forged.member.epoch(&encode(&forged.context))
}

/// A package as others read it.
pub(super) fn read(package: &KeyPackage) -> Package {
    Package::check(SUITE, package.clone()).unwrap()
}

pub(super) fn bytes(value: &VLBytes) -> Vec<u8> {
    value.as_slice().to_vec()
}
