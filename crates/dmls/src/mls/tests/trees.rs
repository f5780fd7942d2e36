//! tree-math, tree-operations, tree-validation, treekem.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::pair;
use super::given::{hex, list, number, secret, unhex, vectors};
use crate::mls::crypto::{KeyPair, derive};
use crate::mls::path::{self, OwnPath, PathKeys};
use crate::mls::tree::{Found, Leaf, Maker, Place, Tree};
use crate::mls::wire::{GroupContext, Proposal, TreeNode, UpdatePath, decode, encode};
use crate::suite::{Signer, X25519_ED25519};

#[test]
fn tree_math() {
    for vector in vectors("tree-math") {
        let (leaves, nodes) = (number(&vector, "n_leaves") as u32, number(&vector, "n_nodes") as u32);
        let root = Place { height: leaves.trailing_zeros(), first: 0 };
        assert_eq!(u64::from(root.node_index()), number(&vector, "root"));
        for index in 0..nodes {
            let place = Place::of_node(index).unwrap();
            assert_eq!(place.node_index(), index);
            let parent = (place != root).then(|| Place::above(place.first, place.height + 1));
            let sibling = parent.map(|up| if up.left() == place { up.right() } else { up.left() });
            let (left, right) = match place.height {
                0 => (None, None),
                _ => (Some(place.left()), Some(place.right())),
            };
            for (name, found) in [("left", left), ("right", right), ("parent", parent), ("sibling", sibling)] {
                let found = found.map(|place| u64::from(place.node_index()));
                assert_eq!(vector[name][index as usize].as_u64(), found, "{name} of {index} among {leaves}");
            }
        }
    }
}

/// A vector's tree; those of tree-operations are signed for a group that the file does not name.
fn unsigned_tree(bytes: &[u8]) -> Tree {
    Tree::of_nodes(decode(bytes).unwrap())
}

impl Tree {
    /// A tree of nodes that nobody vouches for.
    pub(super) fn of_nodes(nodes: Vec<Option<TreeNode>>) -> Self {
        Self::import_with(nodes, &mut |_, leaf| Leaf::parse(X25519_ED25519, leaf), X25519_ED25519).unwrap()
    }
}

#[test]
fn tree_operations() {
    for vector in vectors("tree-operations") {
        let mut tree = unsigned_tree(&hex(&vector, "tree_before"));
        assert_eq!(tree.hash()[..], hex(&vector, "tree_hash_before")[..]);
        match decode::<Proposal>(&hex(&vector, "proposal")).unwrap() {
            // The package itself lists an extension that its leaf does not; the file is about trees.
            Proposal::Add(package) => {
                let leaf = Leaf::check(X25519_ED25519, &package.leaf, Found::Package).unwrap();
                tree.add(leaf).unwrap();
            }
            Proposal::Update(leaf) => {
                let leaf = Leaf::parse(X25519_ED25519, &leaf).unwrap();
                tree.set_path(number(&vector, "proposal_sender") as u32, leaf, &Vec::new()).unwrap();
            }
            Proposal::Remove(index) => drop(tree.remove(index).unwrap()),
            other => panic!("{other:?}"),
        }
        assert_eq!(tree.export(), hex(&vector, "tree_after"));
        assert_eq!(tree.hash()[..], hex(&vector, "tree_hash_after")[..]);
    }
}

#[test]
fn tree_validation() {
    for vector in vectors("tree-validation") {
        let (group, bytes) = (hex(&vector, "group_id"), hex(&vector, "tree"));
        let tree = Tree::import(X25519_ED25519, &group, &bytes).unwrap();
        assert_eq!(tree.export(), bytes);
        for (index, expected) in (0u32..).zip(list(&vector, "tree_hashes")) {
            let place = Place::of_node(index).unwrap();
            assert_eq!(tree.hash_at(place)[..], unhex(expected.as_str().unwrap())[..], "hash of {index}");
            let resolution = tree.resolution_at(place).into_iter().map(u64::from).collect::<Vec<_>>();
            let expected = vector["resolutions"][index as usize].as_array().unwrap();
            let expected: Vec<u64> = expected.iter().map(|node| node.as_u64().unwrap()).collect();
            assert_eq!(resolution, expected, "resolution of {index}");
        }
        no_parent_key_changes_unnoticed(&group, &bytes);
    }
}

fn no_parent_key_changes_unnoticed(group: &[u8], bytes: &[u8]) {
    let nodes: Vec<Option<TreeNode>> = decode(bytes).unwrap();
    for at in (1..nodes.len()).step_by(2) {
        let mut changed = nodes.clone();
        let Some(TreeNode::Parent(parent)) = &mut changed[at] else { continue };
        let mut key = parent.encryption_key.as_slice().to_vec();
        key[0] ^= 1;
        parent.encryption_key = key.into();
        assert!(Tree::import(X25519_ED25519, group, &encode(&changed)).is_err(), "node {at}");
    }
}

struct Member {
    keys: PathKeys,
    signer: Box<dyn Signer>,
    identity: Vec<u8>,
}

fn members(vector: &Value, tree: &Tree) -> BTreeMap<u32, Member> {
    let mut members = BTreeMap::new();
    for private in list(vector, "leaves_private") {
        let index = number(private, "index") as u32;
        let mut keys = PathKeys::of_leaf(pair(&hex(private, "encryption_priv")));
        for entry in list(private, "path_secrets") {
            let place = Place::of_node(number(entry, "node") as u32).unwrap();
            let pair = KeyPair::derive(X25519_ED25519, &derive(&secret(entry, "path_secret"), "node"));
            assert_eq!(tree.key(place), Some(&pair.public));
            keys.set(place.height, pair);
        }
        let signer = X25519_ED25519.signer(&hex(private, "signature_priv").try_into().unwrap());
        let identity = tree.leaf(index).unwrap().node().unwrap().credential.identity.as_slice().to_vec();
        members.insert(index, Member { keys, signer, identity });
    }
    members
}

#[test]
fn treekem() {
    let (mut theirs, mut ours) = (0, 0);
    for vector in vectors("treekem") {
        let group = hex(&vector, "group_id");
        let tree = Tree::import(X25519_ED25519, &group, &hex(&vector, "ratchet_tree")).unwrap();
        let members = members(&vector, &tree);
        for entry in list(&vector, "update_paths") {
            let sender = number(entry, "sender") as u32;
            let path: UpdatePath = decode(&hex(entry, "update_path")).unwrap();
            let commit_secret = secret(entry, "commit_secret");
            let after = open_all(&vector, &tree, &members, sender, &path, &commit_secret);
            assert_eq!(after.hash()[..], hex(entry, "tree_hash_after")[..]);
            theirs += members.len() - 1;
            let mut renewed = tree.clone();
            let member = &members[&sender];
            let (signer, identity) = (&*member.signer, &member.identity[..]);
            let maker = Maker { suite: X25519_ED25519, signer, identity, serial: None };
            let mut entropy = super::given::Seeded::new("treekem");
            let own = OwnPath::make(&mut renewed, sender, &maker, &group, &mut entropy).unwrap();
            let context = encode(&context(&vector, &renewed));
            let path = own.seal(X25519_ED25519, &context, &[], &mut entropy).unwrap();
            let after = open_all(&vector, &tree, &members, sender, &path, &own.commit_secret);
            assert_eq!(after, renewed);
            Tree::import(X25519_ED25519, &group, &after.export()).unwrap();
            ours += members.len() - 1;
        }
    }
    println!("{theirs} paths of the vectors and {ours} of ours opened");
}

fn context(vector: &Value, tree: &Tree) -> GroupContext {
    GroupContext {
        version: 1,
        suite: 1,
        group_id: hex(vector, "group_id").into(),
        epoch: number(vector, "epoch"),
        tree_hash: tree.hash()[..].into(),
        confirmed_transcript_hash: hex(vector, "confirmed_transcript_hash").into(),
        extensions: Vec::new(),
    }
}

/// Every other member opens the path and finds this commit secret; gives the tree that follows.
fn open_all(
    vector: &Value,
    base: &Tree,
    members: &BTreeMap<u32, Member>,
    sender: u32,
    path: &UpdatePath,
    commit_secret: &crate::secret::Secret,
) -> Tree {
    let (mut after, before) = (base.clone(), base.hash());
    let steps = path::take(X25519_ED25519, &mut after, sender, path, &hex(vector, "group_id"), &[]).unwrap();
    let context = encode(&context(vector, &after));
    for (index, member) in members.iter().filter(|(index, _)| **index != sender) {
        let keys = &member.keys;
        let opened = path::open(X25519_ED25519, *index, keys, &after, sender, path, &steps, &context, &[]);
        assert_eq!(opened.unwrap().1, *commit_secret);
    }
    assert_eq!(base.hash(), before, "the base stays as it was");
    after
}
