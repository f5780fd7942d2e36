//! The ratchet tree (RFC 9420 §4, §7) as a value.
//!
//! Nodes are shared between trees: a clone costs nothing and an edit copies one path. **Invariant**: a [`Tree`] that can be
//! had is one that a member could hold: no key and no device in it twice, every parent hash holds, unmerged leaves are
//! there. Edits keep that; [`Tree::import`] checks it.

mod check;
mod form;
mod index;
mod leaf;
mod node;
mod place;
mod records;

use std::fmt;
use std::sync::Arc;

use super::Refusal;
use super::crypto::{Hash, PublicKey};
use crate::id::Device;
use index::Index;
use node::{Body, Node, hash_of_parent};

pub(crate) use leaf::{Found, Leaf, Maker, Source, check_extensions, no_type_twice};
pub(crate) use node::{Parent, Target};
pub(crate) use place::{MAX_HEIGHT, Place};
pub(crate) use records::Forest;
#[cfg(test)]
pub(crate) use records::NodeRecord;

/// A ratchet tree.
#[derive(Clone)]
pub(crate) struct Tree {
    root: Arc<Node>,
    height: u32,
    index: Arc<Index>,
}

/// One step of a filtered direct path (RFC 9420 §4.1.2): a parent, and the child of it beside the path.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) place: Place,
    copath: Arc<Node>,
    copath_place: Place,
}

impl Step {
    /// The nodes to which this step's path secret is sealed, but for leaves in `new` (ascending).
    pub(crate) fn targets(&self, new: &[u32]) -> Vec<Target> {
        let mut targets = Vec::new();
        self.copath.resolve(self.copath_place, usize::MAX, &mut targets);
        let is_new = |target: &Target| target.place.height == 0 && new.binary_search(&target.place.first).is_ok();
        targets.retain(|target| !is_new(target));
        targets
    }

    /// How many [`Self::targets`] there are.
    pub(crate) fn target_count(&self, new: &[u32]) -> usize {
        self.copath.resolution_size(self.copath_place, new)
    }
}

/// The parents that a path puts into a tree, bottom up.
pub(crate) type PathParents = Vec<(Place, Arc<Parent>)>;

impl Tree {
    /// A tree with one leaf.
    pub(crate) fn of(leaf: Leaf) -> Result<Self, Refusal> {
        let mut tree = Self { root: Node::empty(), height: 0, index: Arc::default() };
        tree.add(leaf)?;
        Ok(tree)
    }

    fn place(&self) -> Place {
        Place { height: self.height, first: 0 }
    }

    /// The tree hash of the whole (RFC 9420 §7.8).
    pub(crate) fn hash(&self) -> Hash {
        self.root.hash(self.place())
    }

    pub(crate) fn members(&self) -> u32 {
        self.root.members()
    }

    /// The tree is `2^height` leaves wide.
    pub(crate) fn height(&self) -> u32 {
        self.height
    }

    fn is_inside(&self, index: u32) -> bool {
        u64::from(index) < 1 << self.height
    }

    pub(crate) fn leaf(&self, index: u32) -> Option<&Leaf> {
        if self.is_inside(index) { self.root.leaf(self.place(), index) } else { None }
    }

    /// All leaves that are not blank, in order.
    pub(crate) fn leaves(&self) -> Vec<(u32, &Leaf)> {
        fn walk<'a>(node: &'a Node, place: Place, out: &mut Vec<(u32, &'a Leaf)>) {
            match &node.body {
                Body::Empty => {}
                Body::Leaf(leaf) => out.push((place.first, leaf)),
                Body::Parent { left, right, .. } => {
                    walk(left, place.left(), out);
                    walk(right, place.right(), out);
                }
            }
        }
        let mut out = Vec::with_capacity(self.members() as usize);
        walk(&self.root, self.place(), &mut out);
        out
    }

    /// The encryption key at a place, unless it is blank or outside.
    pub(crate) fn key(&self, place: Place) -> Option<&PublicKey> {
        if place.height > self.height || !self.is_inside(place.first) {
            return None;
        }
        match &self.root.at(self.place(), place).body {
            Body::Leaf(leaf) if place.height == 0 => Some(leaf.encryption_key()),
            Body::Parent { parent: Some(parent), .. } => Some(&parent.key),
            _ => None,
        }
    }

    /// Whether a parent that is not blank stands here to which is sealed for this leaf below it, too.
    pub(crate) fn is_merged(&self, place: Place, leaf: u32) -> bool {
        let parent = self.root.at(self.place(), place).parent();
        parent.is_some_and(|parent| parent.unmerged.binary_search(&leaf).is_err())
    }

    /// Where this encryption key stands.
    pub(crate) fn place_of_key(&self, key: &PublicKey) -> Option<Place> {
        self.index.find_encryption(key, |place| self.key(place) == Some(key))
    }

    /// The leaf with this signature key.
    pub(crate) fn leaf_of_signature_key(&self, key: &[u8; 32]) -> Option<u32> {
        self.index.find_signature(key, |index| self.leaf(index).is_some_and(|leaf| leaf.signature_key() == key))
    }

    /// The leaf of a device.
    pub(crate) fn leaf_of(&self, device: &Device) -> Option<u32> {
        self.index.find_device(device, |index| self.leaf(index).and_then(Leaf::device) == Some(device))
    }

    /// Whether a new leaf stands nowhere in the tree yet (RFC 9420 §7.3): its keys (MLS M65, M66), its device
    /// (MLS M99, M100).
    fn check_unique(&self, leaf: &Leaf) -> Result<(), Refusal> {
        let known = self.place_of_key(leaf.encryption_key()).is_some()
            || self.leaf_of_signature_key(leaf.signature_key()).is_some();
        if known {
            return Err(Refusal::KeyTwice);
        }
        match leaf.device().and_then(|device| self.leaf_of(device)) {
            None => Ok(()),
            Some(_) => Err(Refusal::DeviceTwice),
        }
    }

    /// Adds a leaf at the leftmost blank one (RFC 9420 §7.7) and gives its index.
    pub(crate) fn add(&mut self, leaf: Leaf) -> Result<u32, Refusal> {
        self.check_unique(&leaf)?;
        let index = self.first_blank()?;
        self.index.note_leaf(index, &leaf);
        self.root.edit(self.place(), index, Some(leaf), &mut |_, parent| {
            let Some(parent) = parent else { return };
            let unmerged = &mut Arc::make_mut(parent).unmerged;
            if let Err(at) = unmerged.binary_search(&index) {
                unmerged.insert(at, index);
            }
        });
        Ok(index)
    }

    /// The leftmost blank leaf; the tree grows if it has none.
    fn first_blank(&mut self) -> Result<u32, Refusal> {
        if let Some(index) = self.root.first_blank(self.place()) {
            return Ok(index);
        }
        if self.height == MAX_HEIGHT {
            return Err(Refusal::Tree);
        }
        let right = Node::empty();
        self.root = Node::over(None, self.root.clone(), right);
        self.height += 1;
        Ok(1 << (self.height - 1))
    }

    /// Where an external joiner's leaf will stand: the leftmost blank one, with nothing above it.
    pub(crate) fn place_for_joiner(&mut self) -> Result<u32, Refusal> {
        let index = self.first_blank()?;
        self.root.edit(self.place(), index, None, &mut |_, parent| *parent = None);
        Ok(index)
    }

    /// Removes a leaf: it and all above it become blank, and a right half without leaves goes (RFC 9420 §7.7, §12.1.3).
    pub(crate) fn remove(&mut self, index: u32) -> Result<Leaf, Refusal> {
        // MLS M96.
        let leaf = self.leaf(index).ok_or(Refusal::NoSuchLeaf)?.clone();
        self.root.edit(self.place(), index, None, &mut |_, parent| *parent = None);
        while let Body::Parent { left, right, .. } = &self.root.body
            && right.members() == 0
        {
            self.root = left.clone();
            self.height -= 1;
        }
        if self.members() == 0 {
            self.height = 0;
        }
        Ok(leaf)
    }

    /// The steps above a leaf that have somebody beside them, bottom up.
    pub(crate) fn filtered_path(&self, index: u32) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.height as usize);
        let (mut node, mut place) = (&self.root, self.place());
        while let Body::Parent { left, right, .. } = &node.body {
            let is_right = place.is_right(index);
            let (next, beside) = if is_right { (right, left) } else { (left, right) };
            let (next_place, beside_place) =
                if is_right { (place.right(), place.left()) } else { (place.left(), place.right()) };
            if beside.members() > 0 {
                steps.push(Step { place, copath: beside.clone(), copath_place: beside_place });
            }
            (node, place) = (next, next_place);
        }
        steps.reverse();
        steps
    }

    /// The parents of a path with these keys, and the parent hash for its leaf (RFC 9420 §7.9).
    ///
    /// `steps` is the filtered path of that leaf in this tree.
    pub(crate) fn plan_path(steps: &[Step], keys: &[PublicKey]) -> Result<(PathParents, Option<Hash>), Refusal> {
        // MLS M118.
        if steps.len() != keys.len() {
            return Err(Refusal::PathLength);
        }
        let (mut parents, mut parent_hash) = (Vec::with_capacity(keys.len()), None);
        for (step, key) in steps.iter().zip(keys).rev() {
            let parent = Parent { key: key.clone(), parent_hash, unmerged: Vec::new() };
            parent_hash = Some(hash_of_parent(&parent, &step.copath.hash(step.copath_place)));
            parents.push((step.place, Arc::new(parent)));
        }
        parents.reverse();
        Ok((parents, parent_hash))
    }

    /// Puts a path with its leaf in the place of all that stood there (RFC 9420 §7.5).
    ///
    /// Its keys must be new to the tree (RFC 9420 §12.4.2; MLS M124, M125) and among themselves (MLS M126): a joiner
    /// would refuse another tree (MLS M129).
    pub(crate) fn set_path(&mut self, index: u32, leaf: Leaf, parents: &PathParents) -> Result<(), Refusal> {
        self.check_path_keys(index, &leaf, parents)?;
        self.index.note_leaf(index, &leaf);
        for (place, parent) in parents {
            self.index.note_parent(*place, &parent.key);
        }
        // Bottom up in the list, top down in the edit.
        let mut above = parents.iter().rev().peekable();
        self.root.edit(self.place(), index, Some(leaf), &mut |place, parent| {
            let own = above.next_if(|(next, _)| *next == place);
            *parent = own.map(|(_, parent)| parent.clone());
        });
        Ok(())
    }

    fn check_path_keys(&self, index: u32, leaf: &Leaf, parents: &PathParents) -> Result<(), Refusal> {
        let mut keys: Vec<&PublicKey> = parents.iter().map(|(_, parent)| &parent.key).collect();
        keys.push(leaf.encryption_key());
        if keys.iter().any(|key| self.place_of_key(key).is_some()) {
            return Err(Refusal::KeyTwice);
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::KeyTwice);
        }
        let elsewhere = |found: Option<u32>| found.is_some_and(|found| found != index);
        if elsewhere(self.leaf_of_signature_key(leaf.signature_key())) {
            return Err(Refusal::KeyTwice);
        }
        // MLS M114.
        let device = leaf.device().and_then(|device| self.leaf_of(device));
        if elsewhere(device) { Err(Refusal::DeviceTwice) } else { Ok(()) }
    }

    /// A tree to be edited as a commit says that may yet be refused.
    ///
    /// What is edited names its keys in the index that it shares. One that names much more than the tree holds is left to
    /// the trees that it was made for: it grows no further, however many commits are refused.
    pub(crate) fn to_edit(&self) -> Self {
        const SLACK: usize = 1_024;
        let is_full = self.index.len() > SLACK + 8 * self.members() as usize;
        let index = if is_full { Arc::new(self.indexed()) } else { self.index.clone() };
        Self { root: self.root.clone(), height: self.height, index }
    }

    fn indexed(&self) -> Index {
        fn walk(node: &Node, place: Place, index: &Index) {
            match &node.body {
                Body::Empty => {}
                Body::Leaf(leaf) => index.note_leaf(place.first, leaf),
                Body::Parent { parent, left, right } => {
                    if let Some(parent) = parent {
                        index.note_parent(place, &parent.key);
                    }
                    walk(left, place.left(), index);
                    walk(right, place.right(), index);
                }
            }
        }
        let index = Index::default();
        walk(&self.root, self.place(), &index);
        index
    }
}

#[cfg(test)]
impl Tree {
    /// How many encryption keys its index names.
    pub(crate) fn named_keys(&self) -> usize {
        self.index.len()
    }

    /// The tree hash of a subtree.
    pub(crate) fn hash_at(&self, wanted: Place) -> Hash {
        let node = self.root.at(self.place(), wanted);
        // Nothing stands for all that is below it.
        if node.is_empty() { Node::empty().hash(wanted) } else { node.hash(wanted) }
    }

    /// The node indices of a subtree's resolution.
    pub(crate) fn resolution_at(&self, wanted: Place) -> Vec<u32> {
        let mut targets = Vec::new();
        self.root.at(self.place(), wanted).resolve(wanted, usize::MAX, &mut targets);
        targets.into_iter().map(|target| target.place.node_index()).collect()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} members, height {})", self.members(), self.height)
    }
}

impl PartialEq for Tree {
    /// The hash says all that is in a tree.
    fn eq(&self, other: &Self) -> bool {
        self.height == other.height && self.hash() == other.hash()
    }
}

impl Eq for Tree {}
