//! GroupInfos.

use super::Scene;
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::Bend;
use crate::mls::tests::invite::Invite;
use crate::mls::tests::world::SUITE;
use crate::mls::wire::{Extension, GroupInfo};
use crate::mls::{Door, Invitation, Refusal};

/// What comes of the GroupInfo of a commit of member 0, for who joins from outside.
fn door(scene: &Scene, invite: Invite<'_>) -> Option<Refusal> {
    let info = scene.forger().info_message(&scene.forge(Bend::none()), invite);
    Door::read(SUITE, &info, None).err()
}

/// And inside of a Welcome.
fn welcome(scene: &Scene, invite: Invite<'_>) -> Option<Refusal> {
    let (_, package) = scene.newcomer("new");
    let add = [package.wire.clone()];
    let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
    let welcome = scene.forger().welcome(&forged, &package, invite);
    Invitation::open(SUITE, &welcome, &package).unwrap().enter(&scene.psk, None).err()
}

#[track_caller]
fn both(scene: &Scene, invite: Invite<'_>, refusal: Option<Refusal>) {
    for plain in [door(scene, Invite::none()), welcome(scene, Invite::none())] {
        assert_eq!(plain, None);
    }
    assert_eq!(door(scene, invite), refusal, "door");
    assert_eq!(welcome(scene, invite), refusal, "welcome");
}

/// MLS M134.
#[test]
fn a_group_info_signed_by_another_is_refused() {
    let scene = Scene::new();
    let other = scene.members[1].person.maker();
    both(&scene, Invite { signer: Some(other.signer), ..Invite::none() }, Some(Refusal::Signature));
    both(&scene, Invite { info: &|info| info.signer = 1, ..Invite::none() }, Some(Refusal::Signature));
    both(&scene, Invite { signed_info: &|info| info.signer = 1, ..Invite::none() }, Some(Refusal::Signature));
    let tag = |info: &mut GroupInfo| info.confirmation_tag = [7; 32][..].into();
    both(&scene, Invite { signed_info: &tag, ..Invite::none() }, Some(Refusal::Signature));
}

/// MLS M135.
#[test]
fn a_group_info_signed_by_a_blank_leaf_is_refused() {
    let scene = Scene::new();
    for leaf in [6, 8, u32::MAX] {
        let invite = Invite { info: &|info| info.signer = leaf, ..Invite::none() };
        both(&scene, invite, Some(Refusal::NoSuchLeaf));
    }
}

/// MLS M136.
#[test]
fn a_group_info_of_another_suite_is_refused() {
    let scene = Scene::new();
    for other in [0, 2, 0x0a0a] {
        let invite = Invite { info: &|info| info.context.version = other, ..Invite::none() };
        both(&scene, invite, Some(Refusal::Version));
        let invite = Invite { info: &|info| info.context.suite = other, ..Invite::none() };
        both(&scene, invite, Some(Refusal::Unsupported(Feature::Suite)));
    }
}

/// MLS M137.
#[test]
fn a_group_info_of_another_group_is_refused() {
    let scene = Scene::new();
    let invite = Invite { info: &|info| info.context.group_id = b"moor"[..].into(), ..Invite::none() };
    // Leaves of commits are signed for their group.
    both(&scene, invite, Some(Refusal::Signature));
    let info = scene.forger().info_message(&scene.forge(Bend::none()), Invite::none());
    let read = Door::read(SUITE, &info, None).unwrap();
    assert_eq!(read.public().context.group_id.as_slice(), super::ROOM);
}

fn extension(extension_type: u16) -> Extension {
    Extension { extension_type, data: vec![0, 0, 0].into() }
}

/// MLS M138.
#[test]
fn a_group_with_extensions_is_not_joined() {
    let scene = Scene::new();
    // required_capabilities, external_senders, an unknown one.
    for kind in [3, 5, 0x0a0a] {
        let bend = |info: &mut GroupInfo| info.context.extensions.push(extension(kind));
        let refusal = Refusal::Unsupported(Feature::GroupContextExtensions);
        assert_eq!(door(&scene, Invite { info: &bend, ..Invite::none() }), Some(refusal));
    }
    // In a Welcome the tag says so first, unless the whole epoch has them.
    let (_, package) = scene.newcomer("new");
    let add = [package.wire.clone()];
    let mut forged = scene.forge(Bend { adds: &add, ..Bend::none() });
    forged.context.extensions.push(extension(3));
    let secret = crate::mls::tests::forge::secret_of(&forged);
    forged.tag = secret.confirmation_tag(forged.context.confirmed_transcript_hash.as_slice()).to_vec();
    let welcome = scene.forger().welcome(&forged, &package, Invite::none());
    let entered = Invitation::open(SUITE, &welcome, &package).unwrap().enter(&scene.psk, None);
    assert_eq!(entered.err(), Some(Refusal::Unsupported(Feature::GroupContextExtensions)));
}

/// MLS M139.
#[test]
fn unknown_extensions_of_a_group_info_are_ignored() {
    let scene = Scene::new();
    for place in 0..=2 {
        let bend = |info: &mut GroupInfo| info.extensions.insert(place, extension(0x0a0a));
        both(&scene, Invite { info: &bend, ..Invite::none() }, None);
    }
}

/// MLS M140.
#[test]
fn a_group_info_without_external_key_is_not_joined() {
    let scene = Scene::new();
    let without = |info: &mut GroupInfo| drop(info.extensions.remove(0));
    assert_eq!(door(&scene, Invite { info: &without, ..Invite::none() }), Some(Refusal::Extension));
    for data in [&[][..], &[32], &[1, 2, 3]] {
        let bend = |info: &mut GroupInfo| info.extensions[0].data = data.into();
        assert_eq!(door(&scene, Invite { info: &bend, ..Invite::none() }), Some(Refusal::Extension));
    }
    // By a Welcome one comes in without it.
    assert_eq!(welcome(&scene, Invite { info: &without, ..Invite::none() }), None);
}
