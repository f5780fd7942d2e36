//! Nodes: immutable, shared between trees, and each with its tree hash once that was asked for.

use std::sync::{Arc, OnceLock};

use super::super::Refusal;
use super::super::crypto::{Hash, PublicKey, hash};
use super::super::wire::{ParentNode, push_vector};
use super::Leaf;
use super::leaf::optional_hash;
use super::place::Place;
use crate::suite::Suite;

/// What a parent node holds if it is not blank (RFC 9420 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) key: PublicKey,
    /// Missing at the top of a path.
    pub(crate) parent_hash: Option<Hash>,
    /// Ascending.
    pub(crate) unmerged: Vec<u32>,
}

impl Parent {
    pub(super) fn parse(suite: &dyn Suite, node: &ParentNode) -> Result<Self, Refusal> {
        // MLS M78.
        if !node.unmerged_leaves.is_sorted_by(|one, next| one < next) {
            return Err(Refusal::Unmerged);
        }
        Ok(Self {
            key: PublicKey::parse(suite, node.encryption_key.as_slice())?,
            parent_hash: optional_hash(node.parent_hash.as_slice())?,
            unmerged: node.unmerged_leaves.clone(),
        })
    }

    /// The node as it was before these leaves were unmerged.
    pub(super) fn push(&self, out: &mut Vec<u8>, without: &[u32]) {
        push_vector(out, self.key.as_slice());
        push_vector(out, self.parent_hash.as_ref().map_or(&[], |hash| &hash[..]));
        let kept = self.unmerged.iter().filter(|leaf| without.binary_search(leaf).is_err());
        let unmerged: Vec<u8> = kept.flat_map(|leaf| leaf.to_be_bytes()).collect();
        push_vector(out, &unmerged);
    }
}

/// A subtree. Which place it has is known to whoever holds it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    hash: OnceLock<Hash>,
    members: u32,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Nothing but blank nodes, of any height.
    Empty,
    Leaf(Leaf),
    Parent {
        parent: Option<Arc<Parent>>,
        left: Arc<Node>,
        right: Arc<Node>,
    },
}

/// A node of a resolution (RFC 9420 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) key: PublicKey,
}

impl Node {
    pub(super) fn empty() -> Arc<Self> {
        Arc::new(Self { hash: OnceLock::new(), members: 0, body: Body::Empty })
    }

    pub(super) fn of_leaf(leaf: Leaf) -> Arc<Self> {
        Arc::new(Self { hash: OnceLock::new(), members: 1, body: Body::Leaf(leaf) })
    }

    /// A parent over two subtrees; blank over nothing is nothing.
    pub(super) fn over(parent: Option<Arc<Parent>>, left: Arc<Self>, right: Arc<Self>) -> Arc<Self> {
        if parent.is_none() && left.is_empty() && right.is_empty() {
            return Self::empty();
        }
        let members = left.members + right.members;
        Arc::new(Self { hash: OnceLock::new(), members, body: Body::Parent { parent, left, right } })
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.body, Body::Empty)
    }

    /// How many leaves are not blank.
    pub(crate) fn members(&self) -> u32 {
        self.members
    }

    /// The tree hash (RFC 9420 §7.8): it commits to everything below, so it is also the subtree's name in a store.
    pub(crate) fn hash(&self, place: Place) -> Hash {
        *self.hash.get_or_init(|| match &self.body {
            Body::Empty => empty_hash(place),
            Body::Leaf(leaf) => leaf_hash(place.first, Some(leaf)),
            Body::Parent { parent, left, right } => {
                parent_hash(parent.as_deref(), &[], &left.hash(place.left()), &right.hash(place.right()))
            }
        })
    }

    /// The tree hash as it was before these leaves (ascending) came: the original sibling tree hash (RFC 9420 §7.9).
    pub(super) fn hash_without(&self, place: Place, leaves: &[u32]) -> Hash {
        let first = leaves.partition_point(|leaf| *leaf < place.first);
        if !leaves.get(first).is_some_and(|leaf| place.covers(*leaf)) {
            return self.hash(place);
        }
        match &self.body {
            Body::Empty => self.hash(place),
            Body::Leaf(_) => leaf_hash(place.first, None),
            Body::Parent { parent, left, right } => parent_hash(
                parent.as_deref(),
                leaves,
                &left.hash_without(place.left(), leaves),
                &right.hash_without(place.right(), leaves),
            ),
        }
    }

    /// The node at a place below this one; an empty one stands for all that is below it.
    pub(super) fn at(&self, place: Place, wanted: Place) -> &Self {
        match &self.body {
            Body::Parent { left, right, .. } if place.height > wanted.height => {
                if place.is_right(wanted.first) {
                    right.at(place.right(), wanted)
                } else {
                    left.at(place.left(), wanted)
                }
            }
            _ => self,
        }
    }

    pub(super) fn leaf(&self, place: Place, index: u32) -> Option<&Leaf> {
        match &self.at(place, Place::leaf(index)).body {
            Body::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    pub(super) fn parent(&self) -> Option<&Arc<Parent>> {
        match &self.body {
            Body::Parent { parent, .. } => parent.as_ref(),
            _ => None,
        }
    }

    /// The resolution; no more than `limit` nodes of it and those of one more parent are looked at.
    pub(super) fn resolve(&self, place: Place, limit: usize, out: &mut Vec<Target>) {
        if out.len() > limit {
            return;
        }
        match &self.body {
            Body::Empty => {}
            Body::Leaf(leaf) => out.push(Target { place, key: leaf.encryption_key().clone() }),
            Body::Parent { parent: Some(parent), .. } => {
                out.push(Target { place, key: parent.key.clone() });
                for index in &parent.unmerged {
                    if let Some(leaf) = self.leaf(place, *index) {
                        out.push(Target { place: Place::leaf(*index), key: leaf.encryption_key().clone() });
                    }
                }
            }
            Body::Parent { left, right, .. } => {
                left.resolve(place.left(), limit, out);
                right.resolve(place.right(), limit, out);
            }
        }
    }

    /// The size of the resolution without the leaves in `new` (ascending).
    pub(super) fn resolution_size(&self, place: Place, new: &[u32]) -> usize {
        let is_old = |index: &u32| new.binary_search(index).is_err();
        match &self.body {
            Body::Empty => 0,
            Body::Leaf(_) => is_old(&place.first).into(),
            Body::Parent { parent: Some(parent), .. } => 1 + parent.unmerged.iter().filter(|leaf| is_old(leaf)).count(),
            Body::Parent { left, right, .. } => {
                left.resolution_size(place.left(), new) + right.resolution_size(place.right(), new)
            }
        }
    }

    /// The first blank leaf, from the left.
    pub(super) fn first_blank(&self, place: Place) -> Option<u32> {
        if self.members == 1 << place.height {
            return None;
        }
        match &self.body {
            Body::Parent { left, right, .. } => {
                left.first_blank(place.left()).or_else(|| right.first_blank(place.right()))
            }
            _ => Some(place.first),
        }
    }

    /// Copies the path to a leaf, changing the leaf and the parents above it. What nobody shares is changed in place.
    ///
    /// `on_path` sees every parent above the leaf, the top one first.
    pub(super) fn edit(self: &mut Arc<Self>, place: Place, index: u32, leaf: Option<Leaf>, on_path: OnPath<'_>) {
        let node = Arc::make_mut(self);
        node.hash = OnceLock::new();
        if place.height == 0 {
            node.members = leaf.is_some().into();
            node.body = leaf.map_or(Body::Empty, Body::Leaf);
            return;
        }
        if node.is_empty() {
            node.body = Body::Parent { parent: None, left: Self::empty(), right: Self::empty() };
        }
        let Body::Parent { parent, left, right } = &mut node.body else { return };
        on_path(place, parent);
        if place.is_right(index) {
            right.edit(place.right(), index, leaf, on_path);
        } else {
            left.edit(place.left(), index, leaf, on_path);
        }
        node.members = left.members + right.members;
        if parent.is_none() && left.is_empty() && right.is_empty() {
            node.body = Body::Empty;
        }
    }
}

/// What an edit does to each parent on its path.
pub(super) type OnPath<'a> = &'a mut dyn FnMut(Place, &mut Option<Arc<Parent>>);

/// `ParentHashInput` (RFC 9420 §7.9).
pub(super) fn hash_of_parent(parent: &Parent, original_sibling: &Hash) -> Hash {
    let mut input = Vec::with_capacity(104);
    push_vector(&mut input, parent.key.as_slice());
    push_vector(&mut input, parent.parent_hash.as_ref().map_or(&[], |hash| &hash[..]));
    push_vector(&mut input, original_sibling);
    hash(&input)
}

/// `TreeHashInput` of a leaf (RFC 9420 §7.8; MLS M86).
fn leaf_hash(index: u32, leaf: Option<&Leaf>) -> Hash {
    let bytes = leaf.map_or(&[][..], Leaf::bytes);
    let mut input = Vec::with_capacity(6 + bytes.len());
    input.push(1);
    input.extend(index.to_be_bytes());
    input.push(leaf.is_some().into());
    input.extend(bytes);
    hash(&input)
}

/// `TreeHashInput` of a parent (RFC 9420 §7.8).
fn parent_hash(parent: Option<&Parent>, without: &[u32], left: &Hash, right: &Hash) -> Hash {
    let mut input = Vec::with_capacity(144);
    input.push(2);
    input.push(parent.is_some().into());
    if let Some(parent) = parent {
        parent.push(&mut input, without);
    }
    push_vector(&mut input, left);
    push_vector(&mut input, right);
    hash(&input)
}

/// The hash of a subtree of blank nodes; leaf hashes name their index, so it takes all of them.
fn empty_hash(place: Place) -> Hash {
    if place.height == 0 {
        return leaf_hash(place.first, None);
    }
    parent_hash(None, &[], &empty_hash(place.left()), &empty_hash(place.right()))
}
