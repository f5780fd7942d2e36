//! Following commits by their trees alone.

use super::{Scene, bent_package};
use crate::mls::crypto::KeyPair;
use crate::mls::tests::forge::{Bend, by_value};
use crate::mls::tests::world::{Chance, SUITE};
use crate::mls::wire::Proposal;
use crate::mls::{Door, Plan, Refusal};

/// MLS M152.
#[test]
fn who_follows_refuses_what_members_refuse() {
    let scene = Scene::new();
    let follower = scene.members[0].epoch.public();
    let bad = bent_package(&scene, |package| package.version = 2);
    let other = scene.members[1].person.maker();
    let twice = |keys: &mut Vec<KeyPair>| keys[1] = keys[2].clone();
    let root = |keys: &mut Vec<KeyPair>| keys[3] = KeyPair::derive(SUITE, &Chance::new("root").secret());
    let elsewhere = Chance::new("other").secret();
    for bend in [
        Bend { signer: Some(other.signer), ..Bend::none() },
        Bend { content: &|content| content.epoch += 1, ..Bend::none() },
        Bend { content: &|content| content.group_id = b"moor"[..].into(), ..Bend::none() },
        Bend { proposals: &|all| all.clear(), ..Bend::none() },
        Bend { proposals: &|all| all.push(by_value(Proposal::Add(bad.clone()))), ..Bend::none() },
        Bend { removes: &[0], ..Bend::none() },
        Bend { removes: &[5], ..Bend::none() },
        Bend { has_path: false, ..Bend::none() },
        Bend { path: &|path| path.nodes.clear(), ..Bend::none() },
        Bend { path: &|path| drop(path.nodes[1].path_secret.pop()), ..Bend::none() },
        Bend { leaf: &|leaf| leaf.capabilities.suites.clear(), ..Bend::none() },
        Bend { leaf_signed_for: Some((b"moor", 0)), ..Bend::none() },
        Bend { keys: &twice, ..Bend::none() },
        Bend { tag: &|tag| tag.truncate(16), ..Bend::none() },
    ] {
        let forged = scene.forge(bend);
        let member = scene.hear(3, &forged.bytes).err();
        assert!(member.is_some());
        assert_eq!(follower.read(&forged.bytes).err(), member);
    }
    // What takes secrets to see.
    for bend in [
        Bend { membership_key: Some(&elsewhere), ..Bend::none() },
        Bend { tag: &|tag| tag[0] ^= 1, ..Bend::none() },
        Bend { keys: &root, ..Bend::none() },
        Bend { sealed_to: &|context| context.epoch += 1, ..Bend::none() },
    ] {
        let forged = scene.forge(bend);
        assert!(scene.hear(3, &forged.bytes).is_err());
        assert_eq!(follower.read(&forged.bytes).unwrap().tree(), &forged.tree);
    }
}

/// MLS M153.
#[test]
fn a_followed_tree_is_checked_like_any_other() {
    let mut scene = Scene::new();
    let start = scene.members[0].epoch.public().clone();
    let (mut followed, mut left_out) = (start.clone(), start.clone());
    for (at, by) in [0, 3, 2].into_iter().enumerate() {
        let plan = Plan { psk_id: b"psk".to_vec(), ..Plan::default() };
        let made = scene.members[by].commit(plan, &scene.psk, &mut scene.chance());
        let change = followed.read(&made.bytes).unwrap();
        if at == 2 {
            // On the tree as it was before the others: a follower cannot even begin.
            assert!(left_out.read(&made.bytes).is_err());
        }
        if at == 0 {
            left_out = start.read(&made.bytes).unwrap().into_public();
        }
        followed = change.into_public();
        for member in 0..scene.members.len() {
            if member != by {
                assert!(scene.members[member].take(&made.bytes, &scene.psk.clone()));
            }
        }
        scene.members[by].enter(made.entered);
    }
    let info = scene.members[2].info(false);
    let read = |tree: &[u8]| Door::read(SUITE, &info, Some(tree)).err();
    assert_eq!(read(&followed.tree.export()), None);
    assert_eq!(followed.context, scene.members[0].epoch.public.context);
    for other in [&start, &left_out] {
        assert_eq!(read(&other.tree.export()), Some(Refusal::TreeHash));
    }
    assert_eq!(Door::read(SUITE, &info, None).err(), Some(Refusal::Tree));
}
