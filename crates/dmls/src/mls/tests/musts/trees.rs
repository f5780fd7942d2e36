//! Trees that one joins.

use super::{ROOM, Scene, bent_package};
use crate::mls::crypto::{KeyPair, hash};
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, nodes_of, package_with, rehashed, tree_bytes, tree_of};
use crate::mls::tests::invite::Invite;
use crate::mls::tests::world::{Chance, Identity, Person, SUITE};
use crate::mls::tree::Place;
use crate::mls::wire::{KeyPackage, LeafNode, ParentNode, TreeNode, encode, push_vector};
use crate::mls::{Door, Refusal, Tree};

type Nodes = Vec<Option<TreeNode>>;

fn import(nodes: &Nodes) -> Option<Refusal> {
    Tree::import(SUITE, ROOM, &tree_bytes(nodes)).err()
}

/// The scene's tree, bent.
fn bent(scene: &Scene, bend: impl Fn(&mut Nodes)) -> Option<Refusal> {
    let mut nodes = nodes_of(scene.members[0].epoch.tree());
    assert_eq!(import(&nodes), None);
    bend(&mut nodes);
    import(&nodes)
}

fn parent(nodes: &mut Nodes, place: Place) -> &mut ParentNode {
    match &mut nodes[place.node_index() as usize] {
        Some(TreeNode::Parent(parent)) => parent,
        _ => panic!("no parent at {place:?}"),
    }
}

/// The parent above leaves 0 to 3, at which leaf 1 is unmerged.
fn quarter() -> Place {
    Place::above(0, 2)
}

fn root() -> Place {
    Place::above(0, 3)
}

/// MLS M73.
#[test]
fn a_tree_of_another_hash_is_refused() {
    let scene = Scene::new();
    let forged = scene.forge(Bend::none());
    let info = scene.forger().info_message(&forged, Invite::none());
    let own = forged.tree.export();
    let sibling = scene.members[0].epoch.tree().export();
    assert!(Tree::import(SUITE, ROOM, &sibling).is_ok());
    assert!(Door::read(SUITE, &info, Some(&own)).is_ok());
    assert_eq!(Door::read(SUITE, &info, Some(&sibling)).err(), Some(Refusal::TreeHash));
    let invite = Invite { info: &|info| info.context.tree_hash = [7; 32][..].into(), ..Invite::none() };
    let info = scene.forger().info_message(&forged, invite);
    assert_eq!(Door::read(SUITE, &info, None).err(), Some(Refusal::TreeHash));
}

/// MLS M74.
#[test]
fn a_tree_that_ends_blank_is_malformed() {
    let scene = Scene::new();
    for count in [1, 2, 6] {
        assert_eq!(bent(&scene, |nodes| nodes.resize(nodes.len() + count, None)), Some(Refusal::Tree));
    }
}

/// MLS M75.
#[test]
fn a_tree_that_ends_with_a_parent_is_malformed() {
    let scene = Scene::new();
    // Leaf 4 goes, and the root that stood before it is at the end.
    assert_eq!(bent(&scene, |nodes| nodes.truncate(8)), Some(Refusal::Tree));
    // The same where the tree that is left would hold.
    assert_eq!(bent(&scene, |nodes| nodes.truncate(7)), None);
    assert_eq!(bent(&scene, |nodes| nodes.truncate(2)), Some(Refusal::Tree));
}

/// MLS M76.
#[test]
fn a_node_of_the_wrong_kind_is_malformed() {
    let scene = Scene::new();
    assert_eq!(bent(&scene, |nodes| nodes.swap(2, 3)), Some(Refusal::Tree));
    assert_eq!(bent(&scene, |nodes| nodes[1] = nodes[0].clone()), Some(Refusal::Tree));
    assert_eq!(bent(&scene, |nodes| nodes[2] = nodes[3].clone()), Some(Refusal::Tree));
    assert_eq!(bent(&scene, |nodes| nodes[8] = nodes[3].clone()), Some(Refusal::Tree));
}

/// MLS M77.
#[test]
fn a_tree_claims_no_memory() {
    let scene = Scene::new();
    assert_eq!(Tree::import(SUITE, ROOM, &[0]).err(), Some(Refusal::Tree));
    for claimed in [&[0xbf, 0xff, 0xff, 0xff][..], &[0xbf, 0xff, 0xff, 0xff, 0, 0, 0]] {
        assert_eq!(Tree::import(SUITE, ROOM, claimed).err(), Some(Refusal::Malformed));
    }
    // Blank nodes up to a leaf beyond all trees.
    let leaf = nodes_of(scene.members[0].epoch.tree()).swap_remove(0);
    let far = [vec![0; 2 << 24], encode(&leaf)].concat();
    let mut bytes = Vec::new();
    push_vector(&mut bytes, &far);
    assert_eq!(Tree::import(SUITE, ROOM, &bytes).err(), Some(Refusal::Tree));
    assert!(size_of::<Option<TreeNode>>() <= 16);
    let index = |nodes: &mut Nodes| parent(nodes, quarter()).unmerged_leaves = vec![1, u32::MAX - 1];
    assert_eq!(bent(&scene, index), Some(Refusal::Unmerged));
}

/// MLS M78.
#[test]
fn unmerged_leaves_in_another_order_are_refused() {
    let scene = Scene::new();
    for order in [&[1, 1][..], &[3, 1], &[1, 2, 2], &[2, 1, 3]] {
        let bend = |nodes: &mut Nodes| parent(nodes, quarter()).unmerged_leaves = order.to_vec();
        assert_eq!(bent(&scene, bend), Some(Refusal::Unmerged));
    }
}

/// MLS M79.
#[test]
fn an_unmerged_leaf_elsewhere_is_refused() {
    let scene = Scene::new();
    let unmerged =
        |place: Place, leaves: &[u32]| bent(&scene, |nodes| parent(nodes, place).unmerged_leaves = leaves.to_vec());
    assert_eq!(unmerged(quarter(), &[1]), None);
    // In the other half, blank, past the tree.
    assert_eq!(unmerged(quarter(), &[1, 4]), Some(Refusal::Unmerged));
    assert_eq!(unmerged(root(), &[5]), Some(Refusal::Unmerged));
    assert_eq!(unmerged(root(), &[8]), Some(Refusal::Unmerged));
}

/// MLS M80.
#[test]
fn an_unmerged_leaf_that_is_left_out_between_is_refused() {
    let scene = Scene::new();
    // Leaf 5 comes after member 4 set the root: it is unmerged there, and at nothing in between.
    let package = [bent_package(&scene, |_| {})];
    let above = |leaf: u32| {
        let forged = scene.forge(Bend { adds: &package, ..Bend::none() });
        let mut nodes = nodes_of(&forged.tree);
        parent(&mut nodes, root()).unmerged_leaves = vec![leaf];
        import(&rehashed(nodes, 0, &scene.members[0].person.maker(), ROOM))
    };
    assert_eq!(above(5), None);
    // Leaf 3 is merged at the parents below.
    assert_eq!(above(3), Some(Refusal::Unmerged));
}

/// MLS M81.
#[test]
fn a_parent_key_that_stands_twice_is_refused() {
    let scene = Scene::new();
    let tree = scene.members[0].epoch.tree();
    let of = |place: Place| tree.key(place).unwrap().clone();
    for key in [of(Place::leaf(3)), of(Place::above(3, 1))] {
        let private = crate::secret::Secret::new([7; 32]);
        let bend = |keys: &mut Vec<KeyPair>| keys[2] = KeyPair { public: key.clone(), private: private.clone() };
        let forged = scene.forge(Bend { keys: &bend, ..Bend::none() });
        assert_eq!(import(&nodes_of(&forged.tree)), Some(Refusal::KeyTwice));
    }
    assert_eq!(import(&nodes_of(&scene.forge(Bend::none()).tree)), None);
}

/// MLS M82.
#[test]
fn a_tree_with_a_leaf_twice_is_refused() {
    let scene = Scene::new();
    let mut chance = Chance::new("twice");
    let mut package = |person: &Person, bend: &dyn Fn(&mut KeyPackage)| package_with(person, &mut chance, bend).1;
    let fresh = package(&scene.person("new"), &|_| {});
    let (seed, other_seed) = (scene.members[3].person.identity.seed, [9; 32]);
    let same_signature_key = Person::of(Identity::device_with("other", seed, &mut scene.chance()));
    let same_device = Person::of(Identity::device_with("3", other_seed, &mut scene.chance()));
    let key = scene.members[3].epoch.tree().leaf(3).unwrap().encryption_key().as_slice().to_vec();
    let same_encryption_key =
        package(&scene.person("third"), &|package| package.leaf.encryption_key = key.clone().into());
    for (package, refusal) in [
        (fresh, None),
        (package(&same_signature_key, &|_| {}), Some(Refusal::KeyTwice)),
        (package(&same_device, &|_| {}), Some(Refusal::DeviceTwice)),
        (same_encryption_key, Some(Refusal::KeyTwice)),
    ] {
        let forged = scene.forge(Bend { adds: &[package], ..Bend::none() });
        assert_eq!(import(&nodes_of(&forged.tree)), refusal);
    }
}

/// MLS M83.
#[test]
fn a_parent_that_nobody_set_is_refused() {
    let scene = Scene::new();
    let fresh = KeyPair::derive(SUITE, &Chance::new("fresh").secret()).public;
    let fresh = || ParentNode {
        encryption_key: fresh.as_slice().into(),
        parent_hash: Vec::new().into(),
        unmerged_leaves: Vec::new(),
    };
    for place in [Place::above(3, 1), quarter(), root()] {
        let bend = |nodes: &mut Nodes| parent(nodes, place).encryption_key = fresh().encryption_key;
        assert_eq!(bent(&scene, bend), Some(Refusal::ParentHash));
        let bend = |nodes: &mut Nodes| parent(nodes, place).parent_hash = [7; 32][..].into();
        assert_eq!(bent(&scene, bend), Some(Refusal::ParentHash));
    }
    // Over leaves of which nobody made a path.
    let set = |nodes: &mut Nodes| nodes[1] = Some(TreeNode::Parent(Box::new(fresh())));
    assert_eq!(bent(&scene, set), Some(Refusal::ParentHash));
}

/// MLS M84.
#[test]
fn a_parent_with_too_few_unmerged_leaves_is_refused() {
    let scene = Scene::new();
    let unmerged = |leaves: &[u32]| bent(&scene, |nodes| parent(nodes, quarter()).unmerged_leaves = leaves.to_vec());
    assert_eq!(unmerged(&[1]), None);
    assert_eq!(unmerged(&[]), Some(Refusal::ParentHash));
    // Leaf 0 was there when the parent was set.
    assert_eq!(unmerged(&[0, 1]), Some(Refusal::ParentHash));
    // A leaf that came later, beside the node that was set with this one.
    let package = [bent_package(&scene, |_| {})];
    let later = |unmerged: &[u32]| {
        let forged = scene.forge(Bend { removes: &[1], adds: &package, ..Bend::none() });
        let mut nodes = nodes_of(&forged.tree);
        parent(&mut nodes, root()).unmerged_leaves = unmerged.to_vec();
        nodes[Place::above(0, 1).node_index() as usize] = None;
        nodes[quarter().node_index() as usize] = None;
        import(&rehashed(nodes, 0, &scene.members[0].person.maker(), ROOM))
    };
    // Below the root leaves 0, 1 and the parent of 2 and 3 are then the resolution: all but leaf 0 must have come later.
    assert_eq!(later(&[1]), Some(Refusal::ParentHash));
    assert_eq!(later(&[]), Some(Refusal::ParentHash));
}

/// MLS M85.
#[test]
fn a_tree_with_a_bad_leaf_is_refused() {
    let scene = Scene::new();
    let bends: [(&dyn Fn(&mut LeafNode), Refusal); 5] = [
        (&|leaf| leaf.capabilities.versions.clear(), Refusal::Capabilities),
        (&|leaf| leaf.capabilities.suites.clear(), Refusal::Capabilities),
        (&|leaf| leaf.credential.credential_type = 2, Refusal::Unsupported(Feature::Credential)),
        (&|leaf| leaf.encryption_key = [0; 32][..].into(), Refusal::PublicKey),
        (&|leaf| leaf.signature_key = [7; 32][..].into(), Refusal::Signature),
    ];
    for (bend, refusal) in bends {
        let of_path = scene.forge(Bend { leaf: bend, ..Bend::none() });
        let package = [bent_package(&scene, |package| bend(&mut package.leaf))];
        let of_package = scene.forge(Bend { adds: &package, ..Bend::none() });
        for forged in [of_path, of_package] {
            let info = scene.forger().info_message(&forged, Invite::none());
            assert_eq!(Door::read(SUITE, &info, None).err(), Some(refusal));
        }
    }
    for place in [(&b"moor"[..], 0), (ROOM, 1)] {
        let forged = scene.forge(Bend { leaf_signed_for: Some(place), ..Bend::none() });
        assert_eq!(import(&nodes_of(&forged.tree)), Some(Refusal::Signature));
    }
}

/// MLS M86.
#[test]
fn a_blank_node_hashes_as_absent() {
    let scene = Scene::new();
    let tree = scene.members[0].epoch.tree();
    let leaf = |index: u8, leaf: Option<&[u8]>| {
        let present = u8::from(leaf.is_some());
        hash(&[&[1, 0, 0, 0, index, present], leaf.unwrap_or_default()].concat())
    };
    assert_eq!(tree.hash_at(Place::leaf(5)), leaf(5, None));
    let bytes = |index: u8| tree.leaf(index.into()).unwrap().bytes();
    assert_eq!(tree.hash_at(Place::leaf(0)), leaf(0, Some(bytes(0))));
    let mut blank = vec![2, 0];
    push_vector(&mut blank, &leaf(0, Some(bytes(0))));
    push_vector(&mut blank, &leaf(1, Some(bytes(1))));
    assert_eq!(tree.hash_at(Place::above(0, 1)), hash(&blank));
    let mut empty = vec![2, 0];
    push_vector(&mut empty, &leaf(6, None));
    push_vector(&mut empty, &leaf(7, None));
    assert_eq!(tree.hash_at(Place::above(6, 1)), hash(&empty));
    assert_eq!(tree_of(nodes_of(tree)).hash(), tree.hash());
}
