//! Paths: made, checked, opened.

use super::{ROOM, Scene, bent_package};
use crate::mls::crypto::KeyPair;
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, Forger, read, sign_leaf};
use crate::mls::tests::world::{Chance, SUITE};
use crate::mls::tree::Place;
use crate::mls::wire::{GroupContext, LeafNode, LeafSource, UpdatePath};
use crate::mls::{Plan, Refusal, Tree};
use crate::secret::Secret;

fn with_public(key: &[u8]) -> KeyPair {
    KeyPair { public: crate::mls::crypto::PublicKey::parse(SUITE, key).unwrap(), private: Secret::new([7; 32]) }
}

fn fresh(name: &str) -> KeyPair {
    KeyPair::derive(SUITE, &Chance::new(name).secret())
}

/// MLS M118.
#[test]
fn a_path_of_another_length_is_refused() {
    let scene = Scene::new();
    let shorter = |path: &mut UpdatePath| drop(path.nodes.pop());
    let longer = |path: &mut UpdatePath| {
        let mut node = path.nodes[0].clone();
        node.encryption_key = fresh("node").public.as_slice().into();
        path.nodes.push(node);
    };
    let none = |path: &mut UpdatePath| path.nodes.clear();
    let bends: [&dyn Fn(&mut UpdatePath); 3] = [&shorter, &longer, &none];
    for path in bends {
        scene.refused(Bend { path, ..Bend::none() }, Refusal::PathLength);
    }
}

/// MLS M119.
#[test]
fn a_path_with_another_number_of_ciphertexts_is_refused() {
    let scene = Scene::new();
    for node in 0..3 {
        let less = |path: &mut UpdatePath| drop(path.nodes[node].path_secret.pop());
        scene.refused(Bend { path: &less, ..Bend::none() }, Refusal::Ciphertexts);
        let more = |path: &mut UpdatePath| {
            let again = path.nodes[node].path_secret[0].clone();
            path.nodes[node].path_secret.push(again);
        };
        scene.refused(Bend { path: &more, ..Bend::none() }, Refusal::Ciphertexts);
    }
}

/// MLS M120.
#[test]
fn a_path_sealed_to_an_added_member_is_refused() {
    let scene = Scene::new();
    let package = [bent_package(&scene, |_| {})];
    let good = Bend { adds: &package, ..Bend::none() };
    scene.refused_unlike(good, Bend { seals_to_added: true, ..good }, Refusal::Ciphertexts);
}

/// MLS M121.
#[test]
fn a_path_whose_keys_are_not_its_secrets_is_refused() {
    let scene = Scene::new();
    // The root, which all work out.
    let bend = |keys: &mut Vec<KeyPair>| keys[3] = fresh("root");
    scene.refused_by_members(Bend { keys: &bend, ..Bend::none() }, Refusal::PathKey);
    // The parent of leaf 1 alone: who opens the path above it cannot tell.
    let bend = |keys: &mut Vec<KeyPair>| keys[1] = fresh("parent");
    let forged = scene.forge(Bend { keys: &bend, ..Bend::none() });
    let closed = |reader: usize| scene.members[reader].epoch.read(&forged.bytes).unwrap().closed();
    assert_eq!(closed(1), Some(Refusal::PathKey));
    assert_eq!(scene.hear(1, &forged.bytes).err(), Some(Refusal::PathKey));
    assert!(scene.hear(3, &forged.bytes).is_ok());
}

/// MLS M122.
#[test]
fn a_path_sealed_for_another_context_does_not_open() {
    let scene = Scene::new();
    let base = (*scene.members[0].epoch.public.context).clone();
    let after = scene.forge(Bend::none()).context.confirmed_transcript_hash;
    let bends: [&dyn Fn(&mut GroupContext); 3] = [
        &|context| *context = base.clone(),
        &|context| context.confirmed_transcript_hash = after.clone(),
        &|context| context.epoch += 1,
    ];
    for sealed_to in bends {
        scene.refused_by_members(Bend { sealed_to, ..Bend::none() }, Refusal::PathClosed);
    }
}

/// MLS M123.
#[test]
fn a_path_with_a_wrong_parent_hash_is_refused() {
    let scene = Scene::new();
    let old = LeafSource::Commit {
        parent_hash: scene.members[4].epoch.tree().leaf(4).unwrap().parent_hash().unwrap()[..].into(),
    };
    let wrong = |hash: Vec<u8>| LeafSource::Commit { parent_hash: hash.into() };
    for source in [wrong(vec![0; 32]), wrong(Vec::new()), old] {
        scene.refused(Bend { leaf: &|leaf| leaf.source = source.clone(), ..Bend::none() }, Refusal::ParentHash);
    }
    // Alone in a group there is nothing above.
    let alone = scene.person("alone").found(ROOM, &mut scene.chance());
    let forger = Forger::member(&alone, &scene.psk);
    assert!(alone.epoch.public().read(&forger.commit(Bend::none()).bytes).is_ok());
    let source = wrong(vec![0; 32]);
    let bend = Bend { leaf: &|leaf| leaf.source = source.clone(), ..Bend::none() };
    assert_eq!(alone.epoch.public().read(&forger.commit(bend).bytes).err(), Some(Refusal::ParentHash));
}

/// MLS M124.
#[test]
fn a_path_that_keeps_the_leaf_key_is_refused() {
    let scene = Scene::new();
    let old = scene.members[0].epoch.tree().leaf(0).unwrap().encryption_key().as_slice().to_vec();
    let bend = |keys: &mut Vec<KeyPair>| keys[0] = with_public(&old);
    scene.refused(Bend { keys: &bend, ..Bend::none() }, Refusal::KeyTwice);
}

/// MLS M125.
#[test]
fn a_path_with_a_key_of_the_tree_is_refused() {
    let scene = Scene::new();
    let package = bent_package(&scene, |_| {});
    let tree = scene.members[0].epoch.tree();
    let of = |place: Place| tree.key(place).unwrap().as_slice().to_vec();
    // Another leaf's, a parent's off the path, one that the path replaces, a newcomer's.
    let keys = [of(Place::leaf(3)), of(Place::above(3, 1)), of(Place::above(0, 2))];
    for key in keys.into_iter().chain([package.leaf.encryption_key.as_slice().to_vec()]) {
        for at in 0..=3 {
            let bend = |keys: &mut Vec<KeyPair>| keys[at] = with_public(&key);
            let good = Bend { adds: std::slice::from_ref(&package), ..Bend::none() };
            scene.refused_unlike(good, Bend { keys: &bend, ..good }, Refusal::KeyTwice);
        }
    }
}

/// MLS M126.
#[test]
fn a_path_with_a_key_twice_is_refused() {
    let scene = Scene::new();
    for (one, other) in [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)] {
        let bend = |keys: &mut Vec<KeyPair>| keys[one] = keys[other].clone();
        scene.refused(Bend { keys: &bend, ..Bend::none() }, Refusal::KeyTwice);
        let tree = scene.forge(Bend { keys: &bend, ..Bend::none() }).tree;
        assert_eq!(Tree::import(SUITE, ROOM, &tree.export()).err(), Some(Refusal::KeyTwice), "joiners agree");
    }
}

/// MLS M127.
#[test]
fn a_path_that_changes_the_identity_is_refused() {
    let scene = Scene::new();
    let other = scene.person("other");
    let credential = |leaf: &mut LeafNode| leaf.credential.identity = other.identity.content[..].into();
    scene.refused(Bend { leaf: &credential, ..Bend::none() }, Refusal::Succession);
    let key = |leaf: &mut LeafNode| leaf.signature_key = other.maker().signer.public()[..].into();
    let signed = |leaf: &mut LeafNode| sign_leaf(leaf, other.maker().signer, Some((ROOM, 0)));
    scene.refused(Bend { leaf: &key, signed_leaf: &signed, ..Bend::none() }, Refusal::Succession);
    let both = |leaf: &mut LeafNode| {
        credential(leaf);
        key(leaf);
    };
    scene.refused(Bend { leaf: &both, signed_leaf: &signed, ..Bend::none() }, Refusal::Succession);
}

/// MLS M128.
#[test]
fn a_path_with_a_bad_leaf_is_refused() {
    let scene = Scene::new();
    let bends: [(&dyn Fn(&mut LeafNode), Refusal); 6] = [
        (&|leaf| leaf.source = LeafSource::Update, Refusal::LeafSource),
        (&|leaf| leaf.capabilities.versions.clear(), Refusal::Capabilities),
        (&|leaf| leaf.capabilities.suites.clear(), Refusal::Capabilities),
        (&|leaf| leaf.credential.credential_type = 2, Refusal::Unsupported(Feature::Credential)),
        (&|leaf| leaf.encryption_key = [0; 32][..].into(), Refusal::PublicKey),
        (&|leaf| leaf.signature_key = [7; 32][..].into(), Refusal::Signature),
    ];
    for (leaf, refusal) in bends {
        scene.refused(Bend { leaf, ..Bend::none() }, refusal);
    }
    scene
        .refused(Bend { signed_leaf: &|leaf| leaf.signature = [7; 64][..].into(), ..Bend::none() }, Refusal::Signature);
}

/// MLS M129.
#[test]
fn what_members_accept_joiners_accept() {
    let scene = Scene::new();
    let mut chance = Chance::new("accept");
    let packages = [bent_package(&scene, |_| {}), {
        crate::mls::tests::forge::package_with(&scene.person("second"), &mut scene.chance(), |_| {}).1
    }];
    let known: Vec<Vec<u8>> = nodes_keys(scene.members[0].epoch.tree());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..120 {
        let removes = [&[][..], &[1], &[2], &[4], &[2, 3], &[1, 4]][chance.below(6)];
        let adds = &packages[..chance.below(3)];
        let (at, from, kind) = (chance.below(3), chance.below(3), chance.below(4));
        let key = known[chance.below(known.len())].clone();
        let keys = |keys: &mut Vec<KeyPair>| match kind {
            0 if at < keys.len() && from < keys.len() => keys[at] = keys[from].clone(),
            1 if at < keys.len() => keys[at] = with_public(&key),
            _ => {}
        };
        let forged = scene.forge(Bend { removes, adds, keys: &keys, ..Bend::none() });
        let public = scene.members[0].epoch.public().read(&forged.bytes);
        let imported = Tree::import(SUITE, ROOM, &forged.tree.export());
        match public {
            Ok(change) => {
                assert_eq!(imported.as_ref(), Ok(change.tree()));
                accepted += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 20 && refused > 20, "{accepted} accepted, {refused} refused");
}

fn nodes_keys(tree: &Tree) -> Vec<Vec<u8>> {
    let key = |node| match node {
        crate::mls::wire::TreeNode::Leaf(leaf) => crate::mls::tests::forge::bytes(&leaf.encryption_key),
        crate::mls::wire::TreeNode::Parent(parent) => crate::mls::tests::forge::bytes(&parent.encryption_key),
    };
    crate::mls::tests::forge::nodes_of(tree).into_iter().flatten().map(key).collect()
}

fn holds(record: &[u8], secret: &[u8]) -> bool {
    record.windows(secret.len()).any(|part| part == secret)
}

/// MLS M130.
#[test]
fn a_child_keeps_no_replaced_key() {
    let scene = Scene::new();
    let base = &scene.members[0].epoch;
    let plan = Plan { psk_id: b"psk".to_vec(), ..Plan::default() };
    let made = scene.members[0].commit(plan, &scene.psk, &mut scene.chance());
    let record = made.entered.epoch.record();
    for (_, pair) in base.keys.iter() {
        assert!(!holds(&record, pair.private.expose()));
        assert!(holds(&base.record(), pair.private.expose()));
    }
    let forged = scene.forge(Bend::none());
    let reader = &scene.members[3].epoch;
    let child = scene.hear(3, &forged.bytes).unwrap().epoch;
    for (_, secret) in &forged.path_secrets {
        assert!(!holds(&child.record(), secret.expose()));
    }
    // Member 3 meets the path at height 2: its leaf and the parent above stay, what is higher goes.
    for (height, pair) in reader.keys.iter() {
        assert_eq!(holds(&child.record(), pair.private.expose()), height < 2, "height {height}");
    }
    assert_eq!(child.keys.iter().map(|(height, _)| height).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

/// MLS M131.
#[test]
fn a_refused_commit_changes_nothing() {
    let scene = Scene::new();
    let reader = &scene.members[3];
    let (before, ratchets) = (reader.epoch.record(), reader.ratchets.records());
    let key = |keys: &mut Vec<KeyPair>| keys[3] = fresh("root");
    for bend in [
        Bend { signature: &|it| it[0] ^= 1, ..Bend::none() },
        Bend { path: &|path| path.nodes.clear(), ..Bend::none() },
        Bend { tag: &|tag| tag[0] ^= 1, ..Bend::none() },
        Bend { keys: &key, ..Bend::none() },
        Bend { removes: &[2, 2], ..Bend::none() },
        Bend { has_path: false, ..Bend::none() },
    ] {
        assert!(scene.hear(3, &scene.forge(bend).bytes).is_err());
        assert_eq!(reader.epoch.record(), before);
        assert_eq!(reader.ratchets.records(), ratchets);
    }
    scene.accepted(&scene.forge(Bend::none()));
}

/// MLS M132.
#[test]
fn a_commit_that_is_made_changes_nothing_of_its_base() {
    let scene = Scene::new();
    let member = &scene.members[0];
    let (before, tree) = (member.epoch.record(), member.epoch.tree().export());
    let plan = |removes: &[u32]| Plan { removes: removes.to_vec(), psk_id: b"psk".to_vec(), ..Plan::default() };
    let one = member.commit(plan(&[2]), &scene.psk, &mut scene.chance());
    assert_eq!((member.epoch.record(), member.epoch.tree().export()), (before, tree));
    let other = member.commit(plan(&[]), &scene.psk, &mut scene.chance());
    for made in [one, other] {
        let entered = scene.hear(3, &made.bytes).unwrap();
        assert_eq!(entered.epoch.tree(), made.entered.epoch.tree());
    }
}

/// MLS M133.
#[test]
fn a_plan_that_members_would_refuse_is_not_made() {
    let scene = Scene::new();
    let (member, maker) = (&scene.members[0], scene.members[0].person.maker());
    let there = crate::mls::tests::forge::package_with(&scene.members[2].person, &mut scene.chance(), |_| {}).1;
    let new = bent_package(&scene, |_| {});
    let make = |removes: &[u32], adds: &[&crate::mls::wire::KeyPackage]| {
        let adds = adds.iter().map(|package| read(package)).collect();
        let plan = Plan { adds, removes: removes.to_vec(), psk_id: b"psk".to_vec(), ..Plan::default() };
        member.epoch.draft(plan, &maker, &mut scene.chance()).err()
    };
    assert_eq!(make(&[2], &[&new, &there]), None);
    for (removes, adds, refusal) in [
        (&[0][..], &[][..], Refusal::Proposals),
        (&[5], &[], Refusal::NoSuchLeaf),
        (&[2, 2], &[], Refusal::NoSuchLeaf),
        (&[], &[&there], Refusal::KeyTwice),
        (&[], &[&new, &new], Refusal::KeyTwice),
    ] {
        assert_eq!(make(removes, adds), Some(refusal.into()));
    }
}
