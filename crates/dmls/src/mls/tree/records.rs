//! Trees in a store: each node once, under its tree hash, however many trees hold it (SPEC §7.9).

use std::collections::HashMap;
use std::sync::Arc;

use super::super::Refusal;
use super::super::crypto::Hash;
use super::super::wire::{ParentNode, decode, next};
use super::node::{Body, Node, Parent};
use super::place::{MAX_HEIGHT, Place};
use super::{Index, Leaf, Tree};
use crate::suite::Suite;

/// A node to be stored. Public by nature.
pub(crate) struct NodeRecord {
    /// The tree hash of the subtree below it: its key in the store.
    pub(crate) name: Hash,
    pub(crate) bytes: Vec<u8>,
}

/// The nodes of all trees that a group holds.
///
/// **Invariant**: a node is here as long as one of those trees or a node that is here names it, and `uses` counts these;
/// the index names all keys of all nodes that are here.
#[derive(Default)]
pub(crate) struct Forest {
    nodes: HashMap<Hash, Planted>,
    index: Arc<Index>,
}

struct Planted {
    node: Arc<Node>,
    place: Place,
    uses: u32,
}

const LEAF: u8 = 1;
const PARENT: u8 = 2;
const IS_BLANK: u8 = 1;
const LEFT_IS_EMPTY: u8 = 2;
const RIGHT_IS_EMPTY: u8 = 4;

impl Forest {
    /// Takes a tree in; gives the records of the nodes that no other tree held.
    pub(crate) fn plant(&mut self, tree: &Tree) -> Vec<NodeRecord> {
        let mut records = Vec::new();
        self.plant_node(&tree.root, tree.place(), &mut records);
        self.renew_index();
        records
    }

    fn plant_node(&mut self, node: &Arc<Node>, place: Place, records: &mut Vec<NodeRecord>) {
        if node.is_empty() {
            return;
        }
        let name = node.hash(place);
        if let Some(planted) = self.nodes.get_mut(&name) {
            planted.uses += 1;
            return;
        }
        self.insert(name, node.clone(), place);
        records.push(NodeRecord { name, bytes: record(node, place) });
        if let Body::Parent { left, right, .. } = &node.body {
            self.plant_node(left, place.left(), records);
            self.plant_node(right, place.right(), records);
        }
    }

    fn insert(&mut self, name: Hash, node: Arc<Node>, place: Place) {
        note(&self.index, &node, place);
        self.nodes.insert(name, Planted { node, place, uses: 1 });
    }

    /// Lets a tree go that was planted; gives the names of the nodes that no other tree holds.
    pub(crate) fn fell(&mut self, tree: &Tree) -> Vec<Hash> {
        let mut gone = Vec::new();
        self.fell_node(&tree.root, tree.place(), &mut gone);
        gone
    }

    fn fell_node(&mut self, node: &Arc<Node>, place: Place, gone: &mut Vec<Hash>) {
        if node.is_empty() {
            return;
        }
        let name = node.hash(place);
        let Some(planted) = self.nodes.get_mut(&name) else { return };
        planted.uses -= 1;
        if planted.uses > 0 {
            return;
        }
        self.nodes.remove(&name);
        gone.push(name);
        if let Body::Parent { left, right, .. } = &node.body {
            self.fell_node(left, place.left(), gone);
            self.fell_node(right, place.right(), gone);
        }
    }

    /// Reads a tree back by its hash; `get` gives the record of a node that is not here yet.
    ///
    /// A record that is not what its name says is refused, so nothing that was checked before needs to be again; keys
    /// are parsed, so that no tree holds one that cannot be sealed to (MLS M48).
    pub(crate) fn load(
        &mut self,
        suite: &dyn Suite,
        root: Hash,
        height: u32,
        get: &mut dyn FnMut(&Hash) -> Option<Vec<u8>>,
    ) -> Result<Tree, Refusal> {
        if height > MAX_HEIGHT {
            return Err(Refusal::Tree);
        }
        let root = self.load_node(suite, root, Place { height, first: 0 }, get)?;
        Ok(Tree { root, height, index: self.index.clone() })
    }

    fn load_node(
        &mut self,
        suite: &dyn Suite,
        name: Hash,
        place: Place,
        get: &mut dyn FnMut(&Hash) -> Option<Vec<u8>>,
    ) -> Result<Arc<Node>, Refusal> {
        if let Some(planted) = self.nodes.get_mut(&name) {
            planted.uses += 1;
            return Ok(planted.node.clone());
        }
        let bytes = get(&name).ok_or(Refusal::Tree)?;
        let node = match bytes.split_first() {
            Some((&LEAF, leaf)) if place.height == 0 => Node::of_leaf(Leaf::parse(suite, &decode(leaf)?)?),
            Some((&PARENT, rest)) if place.height > 0 => {
                let (parent, left, right) = read_parent(suite, rest)?;
                let mut child = |name: Option<Hash>, place| match name {
                    Some(name) => self.load_node(suite, name, place, get),
                    None => Ok(Node::empty()),
                };
                Node::over(parent, child(left, place.left())?, child(right, place.right())?)
            }
            _ => return Err(Refusal::Malformed),
        };
        if node.hash(place) != name {
            return Err(Refusal::TreeHash);
        }
        self.insert(name, node.clone(), place);
        Ok(node)
    }

    /// How many nodes are held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn renew_index(&mut self) {
        const SLACK: usize = 1_024;
        if self.index.len() > SLACK + 8 * self.nodes.len() {
            let index = Index::default();
            self.nodes.values().for_each(|planted| note(&index, &planted.node, planted.place));
            self.index = Arc::new(index);
        }
    }
}

fn note(index: &Index, node: &Node, place: Place) {
    match &node.body {
        Body::Leaf(leaf) => index.note_leaf(place.first, leaf),
        Body::Parent { parent: Some(parent), .. } => index.note_parent(place, &parent.key),
        Body::Parent { parent: None, .. } | Body::Empty => {}
    }
}

fn record(node: &Node, place: Place) -> Vec<u8> {
    match &node.body {
        Body::Empty => Vec::new(),
        Body::Leaf(leaf) => [&[LEAF], leaf.bytes()].concat(),
        Body::Parent { parent, left, right } => {
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let flags = flag(parent.is_none(), IS_BLANK)
                | flag(left.is_empty(), LEFT_IS_EMPTY)
                | flag(right.is_empty(), RIGHT_IS_EMPTY);
            let mut out = vec![PARENT, flags];
            if let Some(parent) = parent {
                parent.push(&mut out, &[]);
            }
            for (child, place) in [(left, place.left()), (right, place.right())] {
                if !child.is_empty() {
                    out.extend(child.hash(place));
                }
            }
            out
        }
    }
}

type ParentRecord = (Option<Arc<Parent>>, Option<Hash>, Option<Hash>);

fn read_parent(suite: &dyn Suite, bytes: &[u8]) -> Result<ParentRecord, Refusal> {
    let (&flags, mut rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
    let parent = match flags & IS_BLANK {
        0 => Some(Arc::new(Parent::parse(suite, &next::<ParentNode>(&mut rest)?)?)),
        _ => None,
    };
    let mut child = |flag: u8| {
        if flags & flag != 0 {
            return Ok(None);
        }
        let (name, after) = rest.split_first_chunk::<32>().ok_or(Refusal::Malformed)?;
        rest = after;
        Ok(Some(*name))
    };
    let (left, right) = (child(LEFT_IS_EMPTY)?, child(RIGHT_IS_EMPTY)?);
    if rest.is_empty() { Ok((parent, left, right)) } else { Err(Refusal::Malformed) }
}
