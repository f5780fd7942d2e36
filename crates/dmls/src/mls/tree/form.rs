//! The `ratchet_tree` extension (RFC 9420 §12.4.3.3).

use std::sync::Arc;

use super::super::Refusal;
use super::super::wire::{LeafNode, TreeNode, decode, push_vector};
use super::leaf::Found;
use super::node::{Body, Node, Parent};
use super::place::{MAX_HEIGHT, Place};
use super::{Index, Leaf, Tree};
use crate::suite::Suite;

const LEAF: u8 = 1;
const PARENT: u8 = 2;

impl Tree {
    /// `optional<Node> ratchet_tree<V>`.
    pub(crate) fn export(&self) -> Vec<u8> {
        fn walk(node: &Node, place: Place, out: &mut Vec<u8>, end: &mut usize) {
            let mut put = |parts: &[&[u8]], out: &mut Vec<u8>| {
                parts.iter().for_each(|part| out.extend_from_slice(part));
                *end = out.len();
            };
            match &node.body {
                Body::Empty => out.extend(std::iter::repeat_n(0, (2 << place.height) - 1)),
                Body::Leaf(leaf) => put(&[&[1, LEAF], leaf.bytes()], out),
                Body::Parent { parent, left, right } => {
                    walk(left, place.left(), out, end);
                    match parent {
                        None => out.push(0),
                        Some(parent) => {
                            out.extend([1, PARENT]);
                            parent.push(out, &[]);
                            *end = out.len();
                        }
                    }
                    walk(right, place.right(), out, end);
                }
            }
        }
        let (mut nodes, mut end) = (Vec::new(), 0);
        walk(&self.root, self.place(), &mut nodes, &mut end);
        // The last node of an exported tree is not blank.
        nodes.truncate(end);
        let mut out = Vec::with_capacity(nodes.len() + 4);
        push_vector(&mut out, &nodes);
        out
    }

    /// Reads a tree that came from outside and checks all that a joiner checks of it (RFC 9420 §12.4.3.1), whose hash
    /// its epoch's GroupInfo signs.
    pub(crate) fn import(suite: &dyn Suite, group: &[u8], bytes: &[u8]) -> Result<Self, Refusal> {
        // MLS M85.
        let check = &mut |index, leaf: &LeafNode| Leaf::check(suite, leaf, Found::Tree { group, index });
        let tree = Self::import_with(decode(bytes)?, check, suite)?;
        tree.check_shape()?;
        Ok(tree)
    }

    /// A tree of these nodes; `leaf` reads each leaf.
    pub(in super::super) fn import_with(
        mut nodes: Vec<Option<TreeNode>>,
        leaf: ReadLeaf<'_>,
        suite: &dyn Suite,
    ) -> Result<Self, Refusal> {
        // A parent with nothing to its right would be blank, so the last node is a leaf (MLS M74), and those are the
        // even ones (MLS M75).
        let ends_with_leaf = nodes.len() % 2 == 1 && matches!(nodes.last(), Some(Some(_)));
        if !ends_with_leaf {
            return Err(Refusal::Tree);
        }
        let height = nodes.len().div_ceil(2).next_power_of_two().trailing_zeros();
        if height > MAX_HEIGHT {
            return Err(Refusal::Tree);
        }
        let mut read = Read { suite, leaf, nodes: &mut nodes, index: Index::default() };
        let root = read.node(Place { height, first: 0 })?;
        Ok(Self { root, height, index: Arc::new(read.index) })
    }
}

/// How the leaf at an index is read.
type ReadLeaf<'a> = &'a mut dyn FnMut(u32, &LeafNode) -> Result<Leaf, Refusal>;

struct Read<'a> {
    suite: &'a dyn Suite,
    leaf: ReadLeaf<'a>,
    nodes: &'a mut [Option<TreeNode>],
    index: Index,
}

impl Read<'_> {
    fn node(&mut self, place: Place) -> Result<Arc<Node>, Refusal> {
        if 2 * place.first as usize >= self.nodes.len() {
            return Ok(Node::empty());
        }
        let node = self.nodes.get_mut(place.node_index() as usize).and_then(Option::take);
        if place.height == 0 {
            return self.leaf(place.first, node);
        }
        // MLS M76; so it is with leaves.
        let parent = match node {
            None => None,
            Some(TreeNode::Leaf(_)) => return Err(Refusal::Tree),
            Some(TreeNode::Parent(parent)) => Some(Arc::new(Parent::parse(self.suite, &parent)?)),
        };
        if let Some(parent) = &parent {
            self.index.note_parent(place, &parent.key);
        }
        let (left, right) = (self.node(place.left())?, self.node(place.right())?);
        Ok(Node::over(parent, left, right))
    }

    fn leaf(&mut self, index: u32, node: Option<TreeNode>) -> Result<Arc<Node>, Refusal> {
        match node {
            None => Ok(Node::empty()),
            Some(TreeNode::Parent(_)) => Err(Refusal::Tree),
            Some(TreeNode::Leaf(leaf)) => {
                let leaf = (self.leaf)(index, &leaf)?;
                self.index.note_leaf(index, &leaf);
                Ok(Node::of_leaf(leaf))
            }
        }
    }
}
