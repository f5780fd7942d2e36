//! What differs between two trees, at the cost of what differs.

use std::sync::Arc;

use super::node::{Body, Node};
use super::place::Place;
use super::{Leaf, Tree};

/// A leaf that is not the same in two trees.
#[derive(Debug)]
pub(crate) struct Differing<'a> {
    pub(crate) index: u32,
    pub(crate) here: Option<&'a Leaf>,
    pub(crate) there: Option<&'a Leaf>,
}

/// A subtree of one of the trees, or what lies beside a tree that is less wide.
#[derive(Clone, Copy)]
enum Side<'a> {
    Nothing,
    Node(&'a Arc<Node>, Place),
}

impl<'a> Side<'a> {
    fn of(tree: &'a Tree) -> Self {
        Self::Node(&tree.root, tree.place())
    }

    fn halves(self, place: Place) -> (Self, Self) {
        match self {
            Self::Nothing => (Self::Nothing, Self::Nothing),
            // The whole of a less wide tree is on the left.
            Self::Node(_, own) if own.height < place.height => (self, Self::Nothing),
            Self::Node(node, _) => match &node.body {
                Body::Parent { left, right, .. } => (Self::Node(left, place.left()), Self::Node(right, place.right())),
                Body::Empty | Body::Leaf(_) => (Self::Nothing, Self::Nothing),
            },
        }
    }

    fn leaf(self) -> Option<&'a Leaf> {
        match self {
            Self::Node(node, _) => node.leaf(Place::leaf(0), 0),
            Self::Nothing => None,
        }
    }

    fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::Node(one, place), Self::Node(other, there)) => {
                place == there && (Arc::ptr_eq(one, other) || one.hash(place) == other.hash(place))
            }
            (Self::Nothing, Self::Node(node, _)) | (Self::Node(node, _), Self::Nothing) => node.is_empty(),
        }
    }
}

impl Tree {
    /// The leaves that are not the same here and there, in order.
    pub(crate) fn difference<'a>(&'a self, there: &'a Self) -> Vec<Differing<'a>> {
        let mut out = Vec::new();
        let place = Place { height: self.height.max(there.height), first: 0 };
        walk(Side::of(self), Side::of(there), place, &mut out);
        out
    }
}

fn walk<'a>(here: Side<'a>, there: Side<'a>, place: Place, out: &mut Vec<Differing<'a>>) {
    if here.is_same(there) {
        return;
    }
    if place.height == 0 {
        let (here, there) = (here.leaf(), there.leaf());
        if here != there {
            out.push(Differing { index: place.first, here, there });
        }
        return;
    }
    let (here, there) = (here.halves(place), there.halves(place));
    walk(here.0, there.0, place.left(), out);
    walk(here.1, there.1, place.right(), out);
}
