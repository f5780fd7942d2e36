//! What a joiner checks of a tree besides its leaves' own signatures (RFC 9420 §7.9.2, §12.4.3.1).

use std::collections::HashSet;
use std::sync::Arc;

use super::super::Refusal;
use super::Tree;
use super::node::{Body, Node, Parent, hash_of_parent};
use super::place::Place;

impl Tree {
    /// Keys and devices are unique, parents were made by commits from below them, unmerged leaves are real.
    pub(super) fn check_shape(&self) -> Result<(), Refusal> {
        self.check_all_unique()?;
        check_parents(&self.root, self.place())
    }

    fn check_all_unique(&self) -> Result<(), Refusal> {
        let leaves = self.leaves();
        let (mut keys, mut signature_keys, mut devices) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (_, leaf) in &leaves {
            // MLS M82.
            if !keys.insert(leaf.encryption_key()) || !signature_keys.insert(leaf.signature_key()) {
                return Err(Refusal::KeyTwice);
            }
            if leaf.device().is_some_and(|device| !devices.insert(device)) {
                return Err(Refusal::DeviceTwice);
            }
        }
        let mut parents = Vec::new();
        collect_parents(&self.root, &mut parents);
        // MLS M81.
        if parents.iter().all(|parent| keys.insert(&parent.key)) { Ok(()) } else { Err(Refusal::KeyTwice) }
    }
}

fn collect_parents<'a>(node: &'a Node, out: &mut Vec<&'a Arc<Parent>>) {
    if let Body::Parent { parent, left, right } = &node.body {
        out.extend(parent);
        collect_parents(left, out);
        collect_parents(right, out);
    }
}

fn check_parents(node: &Node, place: Place) -> Result<(), Refusal> {
    let Body::Parent { parent, left, right } = &node.body else { return Ok(()) };
    check_parents(left, place.left())?;
    check_parents(right, place.right())?;
    let Some(parent) = parent else { return Ok(()) };
    for leaf in &parent.unmerged {
        check_unmerged(node, place, *leaf)?;
    }
    let (left, right) = ((&**left, place.left()), (&**right, place.right()));
    // MLS M83.
    if is_parent_of(parent, left, right) || is_parent_of(parent, right, left) {
        Ok(())
    } else {
        Err(Refusal::ParentHash)
    }
}

/// An unmerged leaf is a leaf below (MLS M79), and unmerged in each parent between (MLS M80).
fn check_unmerged(top: &Node, top_place: Place, leaf: u32) -> Result<(), Refusal> {
    if !top_place.covers(leaf) || top.leaf(top_place, leaf).is_none() {
        return Err(Refusal::Unmerged);
    }
    let (mut node, mut place) = (top, top_place);
    while let Body::Parent { parent, left, right } = &node.body {
        if parent.as_ref().is_some_and(|parent| parent.unmerged.binary_search(&leaf).is_err()) {
            return Err(Refusal::Unmerged);
        }
        (node, place) = if place.is_right(leaf) { (&**right, place.right()) } else { (&**left, place.left()) };
    }
    Ok(())
}

/// Whether the commit that set `parent` came from below `child`: of its resolution all but one node are leaves that came
/// later, and that one carries the hash of `parent` (RFC 9420 §7.9.2).
fn is_parent_of(parent: &Parent, (child, place): (&Node, Place), (sibling, beside): (&Node, Place)) -> bool {
    let later: Vec<u32> = parent.unmerged.iter().copied().filter(|leaf| place.covers(*leaf)).collect();
    let mut resolution = Vec::new();
    child.resolve(place, later.len() + 1, &mut resolution);
    // MLS M84.
    if resolution.len() != later.len() + 1 {
        return false;
    }
    resolution.retain(|target| target.place.height > 0 || later.binary_search(&target.place.first).is_err());
    let [descendant] = &resolution[..] else { return false };
    let expected = hash_of_parent(parent, &sibling.hash_without(beside, &parent.unmerged));
    let found = match &child.at(place, descendant.place).body {
        Body::Leaf(leaf) => leaf.parent_hash(),
        Body::Parent { parent: Some(parent), .. } => parent.parent_hash.as_ref(),
        _ => None,
    };
    found == Some(&expected)
}
