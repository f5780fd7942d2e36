//! I1: ratchet trees that no group ever had, in GroupInfos that a member signs.
//!
//! The forger recomputes the tree hash and signs anew with a member's own key: nothing but the checks of the tree
//! itself is between the mutant and a device that joins by external commit.

use dmls::effect::EpochRef;
use dmls::group::{Group, Settings};
use dmls::input::Input;
use ed25519_dalek::Signer as _;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use crate::attack::End;
use crate::core_world::{Event, Seeded, World, room};
use crate::scene::{group_of, keys_of, settle};

const MUTANTS: usize = 1_500;
const RATCHET_TREE: [u8; 2] = [0, 2];

/// Scaled down from 10,000 mutants. A mutant counts if it is accepted and any node of it is none of the true tree's:
/// one that only blanks nodes says less than the truth, and its epoch is nobody else's.
pub fn forged_trees() -> End {
    let (world, group_info, target, key) = scene();
    let truth = GroupInfo::parse(&group_info);
    assert!(joins(&world, &truth.signed(&key), &target), "what is not bent is accepted");
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let (mut tried, mut accepted) = (0, 0);
    while tried < MUTANTS {
        let mut mutant = truth.clone();
        mutant.bend(&mut rng);
        if mutant.tree == truth.tree {
            continue;
        }
        tried += 1;
        let says_less = mutant.tree.len() <= truth.tree.len()
            && mutant.tree.iter().zip(&truth.tree).all(|(node, real)| node.is_none() || node == real);
        accepted += usize::from(!says_less && joins(&world, &mutant.signed(&key), &target));
    }
    End::succeeded_if(accepted > 0)
}

/// A tree with all there can be in one: blanks, parents, unmerged leaves. With its newest GroupInfo and the key of the
/// member that signed it.
fn scene() -> (World, Vec<u8>, EpochRef, ed25519_dalek::SigningKey) {
    let names = ["alice", "bob", "carol", "dan", "erin", "frank"];
    let mut world = group_of(&names);
    for name in names {
        world.commit(name, true);
        settle(&mut world, &names);
    }
    world.leave_room("carol");
    settle(&mut world, &["alice", "bob", "dan", "erin", "frank"]);
    for name in ["grace", "heidi"] {
        world.device(name, 1);
        world.join_room(name);
    }
    world.take_in("alice");
    world.commit("alice", false);
    world.device("zoe", 1);
    world.join_room("zoe");
    let newest = world.events().into_iter().rev().find_map(|(locator, event)| match event {
        Event::Commit { epoch, group_info, .. } => Some((EpochRef { locator, ..epoch }, group_info)),
        Event::Message { .. } | Event::Ask { .. } => None,
    });
    let (target, group_info) = newest.unwrap();
    let (_, signing) = keys_of("alice");
    assert_eq!(signing.public(), world.peers["alice"].own.key());
    (world, group_info, target, ed25519_dalek::SigningKey::from_bytes(&signing.to_bytes()))
}

fn joins(world: &World, group_info: &[u8], target: &EpochRef) -> bool {
    let (mut rng, own) = (Seeded::new(2), world.peers["zoe"].own.clone());
    let mut group = Group::new(room(), own, Settings::default());
    let _taken = group.handle(Input::Desired(world.desired("zoe")), world.now, &mut rng).unwrap();
    group.join_externally(group_info, target.clone(), world.now, &mut rng).is_ok()
}

#[derive(Clone, PartialEq)]
enum Node {
    /// As it is on the wire.
    Leaf(Vec<u8>),
    Parent {
        key: Vec<u8>,
        hash: Vec<u8>,
        unmerged: Vec<u32>,
    },
}

/// A GroupInfo in an MLSMessage (RFC 9420 §12.4.3), taken apart as far as the forger needs it.
#[derive(Clone)]
struct GroupInfo {
    /// Up to the tree hash: wire format, version, suite, group, epoch.
    head: Vec<u8>,
    transcript: Vec<u8>,
    context_extensions: Vec<u8>,
    /// All but the ratchet tree.
    extensions: Vec<u8>,
    tree: Vec<Option<Node>>,
    /// Confirmation tag and signer.
    tail: Vec<u8>,
}

impl GroupInfo {
    fn parse(bytes: &[u8]) -> Self {
        let mut reader = Reader(bytes);
        let (front, group) = (reader.take(8), reader.vector());
        let head = [front, &vector(group), reader.take(8)].concat();
        let _tree_hash = reader.vector();
        let (transcript, context_extensions) = (reader.vector().to_vec(), reader.vector().to_vec());
        let mut listed = Reader(reader.vector());
        let (mut extensions, mut tree) = (Vec::new(), Vec::new());
        while !listed.0.is_empty() {
            let (kind, body) = (listed.take(2), listed.vector());
            if kind == RATCHET_TREE {
                tree = parse_tree(body);
            } else {
                extensions.extend([kind, &vector(body)].concat());
            }
        }
        let tag = vector(reader.vector());
        let tail = [&tag, reader.take(4)].concat();
        Self { head, transcript, context_extensions, extensions, tree, tail }
    }

    /// With the tree's own hash, signed by `key` (RFC 9420 §5.1.2).
    fn signed(&self, key: &ed25519_dalek::SigningKey) -> Vec<u8> {
        let hash = tree_hash(&self.tree);
        let tree = vector(&vector(&write_tree(&self.tree)));
        let extensions = vector(&[&self.extensions[..], &RATCHET_TREE, &tree].concat());
        let parts = [vector(&hash), vector(&self.transcript), vector(&self.context_extensions), extensions];
        let body = [&self.head[4..], &parts.concat(), &self.tail].concat();
        let content = [vector(b"MLS 1.0 GroupInfoTBS"), vector(&body)].concat();
        [&self.head[..4], &body, &vector(&key.sign(&content).to_bytes())].concat()
    }

    /// One of the ways in which trees were wrong in libraries that took them.
    fn bend(&mut self, rng: &mut rand_chacha::ChaCha20Rng) {
        let count = self.tree.len();
        let mut below = |limit: usize| rng.next_u32() as usize % limit;
        let (at, other, byte) = (below(count), below(count), below(1 << 16));
        match below(10) {
            0 => self.tree[at] = None,
            1 => self.tree.swap(at, other),
            2 => self.tree[at] = self.tree[other].clone(),
            3 => self.tree.push(None),
            4 => self.tree.truncate(count - 1 - byte % 3),
            5 => self.tree.extend([None, self.tree[at & !1].clone()]),
            _ => match &mut self.tree[at] {
                Some(Node::Leaf(bytes)) => bend_leaf(bytes, byte),
                Some(Node::Parent { key, hash, unmerged }) => bend_parent(key, hash, unmerged, byte),
                None => self.tree[at] = self.tree[other].clone(),
            },
        }
    }
}

/// The encryption key more often than anything else: whose it is reads what is sent to this leaf.
fn bend_leaf(leaf: &mut [u8], byte: usize) {
    let at = if byte & 1 == 0 { 1 + byte / 2 % 32 } else { byte / 2 % leaf.len() };
    leaf[at] ^= 1 << (byte / 64 % 8);
}

fn bend_parent(key: &mut [u8], hash: &mut Vec<u8>, unmerged: &mut Vec<u32>, byte: usize) {
    match byte % 8 {
        0 => key[byte / 8 % 32] ^= 1,
        1 => hash.clear(),
        2 => hash.iter_mut().take(1).for_each(|byte| *byte ^= 1),
        3 => hash.push(0),
        4 => unmerged.insert(0, byte as u32 / 8 % 9),
        5 => unmerged.extend(unmerged.first().copied()),
        6 => unmerged.reverse(),
        _ => drop(unmerged.pop()),
    }
}

/// `optional<Node> ratchet_tree<V>` (RFC 9420 §12.4.3.3).
fn parse_tree(body: &[u8]) -> Vec<Option<Node>> {
    let mut whole = Reader(body);
    let mut reader = Reader(whole.vector());
    let mut tree = Vec::new();
    while !reader.0.is_empty() {
        tree.push(match reader.take(1) {
            [0] => None,
            _ => Some(parse_node(&mut reader)),
        });
    }
    tree
}

fn parse_node(reader: &mut Reader<'_>) -> Node {
    if reader.take(1) == [1] {
        let start = reader.0;
        // Encryption key and signature key; the credential's type; its identity and five lists of capabilities.
        (0..2).for_each(|_| _ = reader.vector());
        reader.take(2);
        (0..6).for_each(|_| _ = reader.vector());
        match reader.take(1) {
            [1] => _ = reader.take(16), // lifetime
            [3] => _ = reader.vector(), // parent hash
            _ => {}
        }
        (0..2).for_each(|_| _ = reader.vector()); // extensions, signature
        return Node::Leaf(start[..start.len() - reader.0.len()].to_vec());
    }
    let (key, hash, unmerged) = (reader.vector().to_vec(), reader.vector().to_vec(), reader.vector());
    let unmerged = unmerged.chunks(4).map(|leaf| u32::from_be_bytes(leaf.try_into().unwrap())).collect();
    Node::Parent { key, hash, unmerged }
}

fn write_tree(tree: &[Option<Node>]) -> Vec<u8> {
    let one = |node: &Option<Node>| node.as_ref().map_or(vec![0], |node| [vec![1], write_node(node)].concat());
    tree.iter().flat_map(one).collect()
}

fn write_node(node: &Node) -> Vec<u8> {
    match node {
        Node::Leaf(bytes) => [&[1], &bytes[..]].concat(),
        Node::Parent { .. } => [vec![2], write_parent(node)].concat(),
    }
}

fn write_parent(node: &Node) -> Vec<u8> {
    let Node::Parent { key, hash, unmerged } = node else { return Vec::new() };
    let unmerged: Vec<u8> = unmerged.iter().flat_map(|leaf| leaf.to_be_bytes()).collect();
    [vector(key), vector(hash), vector(&unmerged)].concat()
}

/// Of the root (RFC 9420 §7.8); the tree is filled up with blanks to a power of two.
fn tree_hash(tree: &[Option<Node>]) -> Vec<u8> {
    let leaves = tree.len().div_ceil(2).next_power_of_two();
    let mut full = tree.to_vec();
    full.resize((2 * leaves - 1).max(tree.len()), None);
    node_hash(&full, leaves - 1, leaves / 2)
}

/// `half` leaves are on each side below the node at `at`.
fn node_hash(tree: &[Option<Node>], at: usize, half: usize) -> Vec<u8> {
    let optional = |bytes: Option<Vec<u8>>| bytes.map_or(vec![0], |bytes| [vec![1], bytes].concat());
    if half == 0 {
        let leaf = tree[at].as_ref().map(|node| write_node(node)[1..].to_vec());
        return Sha256::digest([&[1], &(at as u32 / 2).to_be_bytes()[..], &optional(leaf)].concat()).to_vec();
    }
    let parent = tree[at].as_ref().map(|node| write_node(node)[1..].to_vec());
    let (left, right) = (node_hash(tree, at - half, half / 2), node_hash(tree, at + half, half / 2));
    Sha256::digest([vec![2], optional(parent), vector(&left), vector(&right)].concat()).to_vec()
}

/// `opaque<V>` (RFC 9420 §2.1.2).
fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let prefix = match length {
        0..64 => vec![length as u8],
        64..16_384 => (length as u16 | 0x4000).to_be_bytes().to_vec(),
        _ => (length | 0x8000_0000).to_be_bytes().to_vec(),
    };
    [&prefix, bytes].concat()
}

/// Reads what an honest member wrote.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn vector(&mut self) -> &'a [u8] {
        let extra = [0, 1, 3][usize::from(self.0[0] >> 6)];
        let prefix = self.take(1 + extra);
        let length =
            prefix[1..].iter().fold(usize::from(prefix[0] & 0x3f), |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }
}
