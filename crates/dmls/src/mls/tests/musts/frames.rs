//! Encoding, and how commits are framed.

use std::sync::Arc;

use super::{ROOM, Scene};
use crate::mls::commit::{CONTENT_LABEL, signed_content};
use crate::mls::crypto;
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, read};
use crate::mls::tests::invite::Invite;
use crate::mls::tests::world::{Chance, SUITE};
use crate::mls::wire::{
    Content, FramedContent, GroupSecrets, LeafSource, Proposal, PublicCommit, Sender, VERSION, WireFormat, encode,
    push_vector,
};
use crate::mls::{Door, Invitation, OwnPackage, Package, Refusal, Tree, package_references};

type Read<'a> = Box<dyn Fn(&[u8]) -> Option<Refusal> + 'a>;

/// All that is taken in, with the place of a vector in it, and who reads it.
struct Kinds<'a> {
    all: Vec<(&'static str, Vec<u8>, usize, Read<'a>)>,
}

impl<'a> Kinds<'a> {
    fn of(scene: &'a Scene, package: &'a OwnPackage) -> Self {
        let add = [package.wire.clone()];
        let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
        let welcome = scene.forger().welcome(&forged, package, Invite::none());
        let info = scene.forger().info_message(&forged, Invite::none());
        let member = &scene.members[0];
        let mut chance = scene.chance();
        let (_, message) =
            member.epoch.seal(&member.ratchets, &member.person.maker(), b"data", b"text", &mut chance).unwrap();
        let reader = &scene.members[3];
        let all: Vec<(&'static str, Vec<u8>, usize, Read<'a>)> = vec![
            ("commit", forged.bytes.clone(), 4, Box::new(|bytes| scene.hear(3, bytes).err())),
            ("message", message, 4, Box::new(|bytes| reader.epoch.open_message(&reader.ratchets, bytes).err())),
            (
                "welcome",
                welcome,
                6,
                Box::new(|bytes| {
                    let invitation = match Invitation::open(SUITE, bytes, package) {
                        Ok(invitation) => invitation,
                        Err(refusal) => return Some(refusal),
                    };
                    invitation.enter(&scene.psk, None).err()
                }),
            ),
            ("info", info, 8, Box::new(|bytes| Door::read(SUITE, bytes, None).err())),
            ("package", package.bytes(), 8, Box::new(|bytes| Package::read(SUITE, bytes).err())),
            ("tree", forged.tree.export(), 0, Box::new(|bytes| Tree::import(SUITE, ROOM, bytes).err())),
        ];
        for (name, bytes, _, read) in &all {
            assert_eq!(read(bytes), None, "{name}");
        }
        Self { all }
    }

    fn messages(&self) -> impl Iterator<Item = &(&'static str, Vec<u8>, usize, Read<'a>)> {
        self.all.iter().filter(|(name, ..)| *name != "tree")
    }
}

/// The length at this place, and how many bytes it takes.
fn length(bytes: &[u8], at: usize) -> (u32, usize) {
    match bytes[at] >> 6 {
        0 => (bytes[at].into(), 1),
        1 => (u32::from(bytes[at] & 0x3f) << 8 | u32::from(bytes[at + 1]), 2),
        _ => panic!("longer than needed here"),
    }
}

fn with_length(bytes: &[u8], at: usize, encoded: &[u8]) -> Vec<u8> {
    let (_, taken) = length(bytes, at);
    [&bytes[..at], encoded, &bytes[at + taken..]].concat()
}

/// MLS M1.
#[test]
fn a_length_in_more_bytes_than_needed_is_malformed() {
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    for (name, bytes, at, read) in Kinds::of(&scene, &package).all {
        let (length, taken) = length(&bytes, at);
        let in_four = with_length(&bytes, at, &(length | 0x8000_0000).to_be_bytes());
        assert_eq!(read(&in_four), Some(Refusal::Malformed), "{name}");
        if taken == 1 {
            let in_two = with_length(&bytes, at, &(length as u16 | 0x4000).to_be_bytes());
            assert_eq!(read(&in_two), Some(Refusal::Malformed), "{name}");
        }
    }
}

/// MLS M2.
#[test]
fn a_length_of_eight_bytes_is_malformed() {
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    for (name, bytes, at, read) in Kinds::of(&scene, &package).all {
        let (length, _) = length(&bytes, at);
        let in_eight = with_length(&bytes, at, &(u64::from(length) | 0xc0 << 56).to_be_bytes());
        assert_eq!(read(&in_eight), Some(Refusal::Malformed), "{name}");
    }
}

/// MLS M3.
#[test]
fn an_optional_is_there_or_not() {
    let scene = Scene::new();
    let forged = scene.forge(Bend::none());
    let commit = PublicCommit::parse(&forged.bytes).unwrap().commit().unwrap().clone();
    let path = encode(commit.path.as_ref().unwrap());
    let at = forged.bytes.windows(path.len()).position(|part| part == path).unwrap() - 1;
    for flag in [2, 0xff] {
        let mut bytes = forged.bytes.clone();
        assert_eq!(std::mem::replace(&mut bytes[at], flag), 1);
        assert_eq!(scene.hear(3, &bytes).err(), Some(Refusal::Malformed));
        let mut tree = forged.tree.export();
        let (_, taken) = length(&tree, 0);
        assert_eq!(std::mem::replace(&mut tree[taken], flag), 1);
        assert_eq!(Tree::import(SUITE, ROOM, &tree).err(), Some(Refusal::Malformed));
    }
    let (_, package) = scene.newcomer("new");
    let add = [package.wire.clone()];
    let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
    let bend = |bytes: &mut Vec<u8>| assert_eq!(std::mem::replace(&mut bytes[33], 2), 1);
    let welcome = scene.forger().welcome(&forged, &package, Invite { secrets_bytes: &bend, ..Invite::none() });
    assert_eq!(Invitation::open(SUITE, &welcome, &package).err(), Some(Refusal::Malformed));
}

/// MLS M4.
#[test]
fn bytes_after_the_end_are_malformed() {
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    for (name, bytes, _, read) in Kinds::of(&scene, &package).all {
        assert_eq!(read(&[&bytes[..], &[0]].concat()), Some(Refusal::Malformed), "{name}");
    }
    let add = [package.wire.clone()];
    let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
    let longer = |bytes: &mut Vec<u8>| bytes.push(0);
    let welcome = scene.forger().welcome(&forged, &package, Invite { secrets_bytes: &longer, ..Invite::none() });
    assert_eq!(Invitation::open(SUITE, &welcome, &package).err(), Some(Refusal::Malformed));
    let welcome = scene.forger().welcome(&forged, &package, Invite { info_bytes: &longer, ..Invite::none() });
    let invitation = Invitation::open(SUITE, &welcome, &package).unwrap();
    assert_eq!(invitation.enter(&scene.psk, None).err(), Some(Refusal::Malformed));
}

/// MLS M5.
#[test]
fn another_version_of_the_message_is_refused() {
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    for (name, bytes, _, read) in Kinds::of(&scene, &package).messages() {
        for version in [0_u16, 2, 0x0a0a] {
            let other = [&version.to_be_bytes(), &bytes[2..]].concat();
            assert_eq!(read(&other), Some(Refusal::Version), "{name}");
        }
    }
}

/// MLS M6.
#[test]
fn another_wire_format_is_refused() {
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    let kinds = Kinds::of(&scene, &package);
    for (name, bytes, _, read) in kinds.messages() {
        for (other, wrong, ..) in kinds.messages().filter(|(other, ..)| other != name) {
            assert_eq!(read(wrong), Some(Refusal::Kind), "{other} for {name}");
        }
        for format in [0_u16, 6, 0x0a0a] {
            let other = [&bytes[..2], &format.to_be_bytes(), &bytes[4..]].concat();
            assert_eq!(read(&other), Some(Refusal::Kind), "{name}");
        }
    }
}

fn lengths(value: &[u8]) -> Vec<Vec<u8>> {
    vec![Vec::new(), value[..value.len() - 1].to_vec(), [value, &[0]].concat()]
}

/// MLS M7.
#[test]
fn fields_of_the_wrong_length_are_refused() {
    let scene = Scene::new();
    for length in [0, 63, 65] {
        scene.refused(Bend { signature: &|it| it.resize(length, 0), ..Bend::none() }, Refusal::Signature);
    }
    let bent = |hash: &mut tls_codec::VLBytes, length| {
        let mut bytes = hash.as_slice().to_vec();
        bytes.resize(length, 0);
        *hash = bytes.into();
    };
    for length in [1, 31, 33] {
        let leaf = |leaf: &mut crate::mls::wire::LeafNode| {
            if let LeafSource::Commit { parent_hash } = &mut leaf.source {
                bent(parent_hash, length);
            }
        };
        // A tree with such a leaf cannot be made: the leaf is bent after that, and signed anew.
        let signed = |node: &mut crate::mls::wire::LeafNode| {
            leaf(node);
            crate::mls::tests::forge::sign_leaf(node, scene.members[0].person.maker().signer, Some((ROOM, 0)));
        };
        let path = |path: &mut crate::mls::wire::UpdatePath| signed(&mut path.leaf);
        scene.refused(Bend { path: &path, ..Bend::none() }, Refusal::ParentHash);
    }
    let (person, package) = scene.newcomer("new");
    for key in lengths(package.wire.leaf.encryption_key.as_slice()) {
        let mut wire = package.wire.clone();
        wire.leaf.encryption_key = key.into();
        crate::mls::tests::forge::sign_leaf(&mut wire.leaf, person.maker().signer, None);
        crate::mls::tests::forge::sign_package(&mut wire, person.maker().signer);
        assert_eq!(Package::check(SUITE, wire).err(), Some(Refusal::PublicKey));
    }
    let add = [package.wire.clone()];
    let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
    for length in [0, 31, 33] {
        let secrets = |secrets: &mut GroupSecrets| bent(&mut secrets.joiner_secret, length);
        let welcome = scene.forger().welcome(&forged, &package, Invite { secrets: &secrets, ..Invite::none() });
        assert_eq!(Invitation::open(SUITE, &welcome, &package).err(), Some(Refusal::Malformed));
        let whose = |welcome: &mut crate::mls::wire::Welcome| bent(&mut welcome.secrets[0].new_member, length);
        let welcome = scene.forger().welcome(&forged, &package, Invite { welcome: &whose, ..Invite::none() });
        assert_eq!(package_references(&welcome).err(), Some(Refusal::Malformed));
        let info = |info: &mut crate::mls::wire::GroupInfo| bent(&mut info.context.tree_hash, length);
        let info = scene.forger().info_message(&forged, Invite { info: &info, ..Invite::none() });
        assert_eq!(Door::read(SUITE, &info, None).err(), Some(Refusal::TreeHash));
    }
}

/// A member's PublicMessage of any content but a commit.
fn public(scene: &Scene, sender: Sender, content: Content) -> Vec<u8> {
    let (epoch, signer) = (&scene.members[0].epoch, scene.members[0].person.maker().signer);
    let context = &epoch.public.context;
    let (group_id, authenticated_data) = (context.group_id.clone(), Vec::new().into());
    let framed = encode(&FramedContent { group_id, epoch: context.epoch, sender, authenticated_data, content });
    let mut signed = signed_content(&framed, WireFormat::PublicMessage, &encode(&**context));
    let signature = crypto::sign(signer, CONTENT_LABEL, &signed);
    let mut bytes = [&VERSION.to_be_bytes()[..], &[0, WireFormat::PublicMessage as u8], &framed].concat();
    push_vector(&mut bytes, &signature);
    if let Sender::Member(_) = sender {
        push_vector(&mut signed, &signature);
        push_vector(&mut bytes, &crypto::mac(&epoch.secrets.membership, &signed));
    }
    bytes
}

/// MLS M8.
#[test]
fn public_application_data_is_refused() {
    let scene = Scene::new();
    scene.accepted(&scene.forge(Bend::none()));
    let bytes = public(&scene, Sender::Member(0), Content::Application(b"text"[..].into()));
    assert_eq!(scene.hear(3, &bytes).err(), Some(Refusal::Kind));
}

/// MLS M9.
#[test]
fn a_proposal_on_its_own_is_refused() {
    let scene = Scene::new();
    scene.accepted(&scene.forge(Bend::none()));
    for sender in [Sender::Member(0), Sender::External(0), Sender::NewMemberProposal] {
        let bytes = public(&scene, sender, Content::Proposal(Proposal::Remove(2)));
        assert_eq!(scene.hear(3, &bytes).err(), Some(Refusal::Unsupported(Feature::ProposalMessage)));
    }
}

/// MLS M10.
#[test]
fn a_commit_by_an_external_sender_is_refused() {
    let scene = Scene::new();
    let without = |membership: &mut Option<Vec<u8>>| *membership = None;
    for (sender, feature) in
        [(Sender::External(0), Feature::ExternalSender), (Sender::NewMemberProposal, Feature::ProposalMessage)]
    {
        let bend = Bend { content: &|content| content.sender = sender, membership: &without, ..Bend::none() };
        scene.refused(bend, Refusal::Unsupported(feature));
    }
    let good = scene.forge(Bend::none()).bytes;
    let at = 4 + 1 + ROOM.len() + 8;
    for sender in [0, 5, 0xff] {
        let mut bytes = good.clone();
        assert_eq!(std::mem::replace(&mut bytes[at], sender), 1);
        assert_eq!(scene.hear(3, &bytes).err(), Some(Refusal::Malformed));
    }
}

/// MLS M11.
#[test]
fn a_commit_from_a_blank_leaf_is_refused() {
    let scene = Scene::new();
    for leaf in [5, 7, 8, u32::MAX] {
        let bend = Bend { content: &|content| content.sender = Sender::Member(leaf), ..Bend::none() };
        scene.refused(bend, Refusal::NoSuchLeaf);
    }
}

/// MLS M12.
#[test]
fn a_commit_signed_by_another_member_is_refused() {
    let scene = Scene::new();
    let other = scene.members[1].person.maker();
    scene.refused(Bend { signer: Some(other.signer), ..Bend::none() }, Refusal::Signature);
}

/// MLS M13.
#[test]
fn an_external_commit_signed_by_another_key_is_refused() {
    let scene = Scene::new();
    let (person, other) = (scene.person("joiner"), scene.person("other"));
    for signer in [other.maker().signer, scene.members[0].person.maker().signer] {
        scene.joiner_refused(&person, Bend { signer: Some(signer), ..Bend::none() }, Refusal::Signature);
    }
}

/// MLS M14.
#[test]
fn a_commit_of_a_sibling_epoch_is_refused() {
    let scene = Scene::new();
    let sibling = scene.hear(3, &scene.forge(Bend::none()).bytes).unwrap().epoch;
    let other = (*sibling.public.context).clone();
    let of_sibling = |context: &mut crate::mls::wire::GroupContext| {
        let epoch = context.epoch;
        *context = crate::mls::wire::GroupContext { epoch, ..other.clone() };
    };
    scene.refused(Bend { signed_in: &of_sibling, ..Bend::none() }, Refusal::Signature);
    let person = scene.person("joiner");
    scene.joiner_refused(&person, Bend { signed_in: &of_sibling, ..Bend::none() }, Refusal::Signature);
}

/// MLS M15.
#[test]
fn a_commit_signed_for_a_private_message_is_refused() {
    let scene = Scene::new();
    scene.refused(Bend { format: WireFormat::PrivateMessage, ..Bend::none() }, Refusal::Signature);
}

/// MLS M16.
#[test]
fn a_wrong_membership_tag_is_refused() {
    let scene = Scene::new();
    let other = Chance::new("other").secret();
    scene.refused_by_members(Bend { membership_key: Some(&other), ..Bend::none() }, Refusal::MembershipTag);
    let flip = |tag: &mut Option<Vec<u8>>| tag.as_mut().unwrap()[31] ^= 1;
    scene.refused_by_members(Bend { membership: &flip, ..Bend::none() }, Refusal::MembershipTag);
}

/// MLS M17.
#[test]
fn a_membership_tag_stands_with_members_only() {
    let scene = Scene::new();
    scene.refused(Bend { membership: &|tag| *tag = None, ..Bend::none() }, Refusal::Malformed);
    let person = scene.person("joiner");
    let tagged = Bend { membership: &|tag| *tag = Some(vec![7; 32]), ..Bend::none() };
    scene.joiner_refused(&person, tagged, Refusal::Malformed);
}

/// MLS M18.
#[test]
fn a_wrong_confirmation_tag_is_refused() {
    let scene = Scene::new();
    scene.refused_by_members(Bend { tag: &|tag| tag[31] ^= 1, ..Bend::none() }, Refusal::ConfirmationTag);
    let other = Chance::new("other").secret();
    let mut forger = scene.forger();
    forger.psk = &other;
    let forged = forger.commit(Bend::none());
    assert_eq!(scene.hear(3, &forged.bytes).err(), Some(Refusal::ConfirmationTag));
}

/// MLS M19.
#[test]
fn no_tag_is_shortened() {
    let scene = Scene::new();
    for length in (0..32).chain([33]) {
        scene.refused(Bend { tag: &|tag| tag.resize(length, 0), ..Bend::none() }, Refusal::ConfirmationTag);
        let shorter = |tag: &mut Option<Vec<u8>>| tag.as_mut().unwrap().resize(length, 0);
        scene.refused(Bend { membership: &shorter, ..Bend::none() }, Refusal::MembershipTag);
    }
}

/// MLS M20.
#[test]
fn a_commit_of_another_group_is_refused() {
    let scene = Scene::new();
    for group in [&b"moor"[..], b"", b"room "] {
        let other = |content: &mut FramedContent| content.group_id = group.into();
        scene.refused(Bend { content: &other, ..Bend::none() }, Refusal::OtherGroup);
    }
}

/// MLS M21.
#[test]
fn a_commit_of_another_epoch_number_is_refused() {
    let scene = Scene::new();
    let epoch = scene.members[0].epoch.public.context.epoch;
    for other in [epoch - 1, epoch + 1, u64::MAX] {
        let bend = |content: &mut FramedContent| content.epoch = other;
        scene.refused(Bend { content: &bend, ..Bend::none() }, Refusal::OtherEpoch);
    }
}

/// MLS M22.
#[test]
fn the_greatest_epoch_number_is_the_last() {
    let mut scene = Scene::new();
    for (last, refusal) in [(u64::MAX - 1, None), (u64::MAX, Some(Refusal::LastEpoch))] {
        for member in &mut scene.members {
            Arc::make_mut(&mut member.epoch.public.context).epoch = last;
        }
        let forged = scene.forge(Bend::none());
        assert_eq!(scene.hear(3, &forged.bytes).err(), refusal);
        let (person, package) = scene.newcomer("new");
        let plan = crate::mls::Plan { adds: vec![read(&package.wire)], ..Default::default() };
        let maker = scene.members[0].person.maker();
        let made = scene.members[0].epoch.draft(plan, &maker, &mut scene.chance());
        assert_eq!(made.err(), refusal.map(Into::into));
        let door = Door::read(SUITE, &scene.members[0].info(true), None).unwrap();
        let made = door.draft(None, Vec::new(), &person.maker(), &mut scene.chance());
        assert_eq!(made.err(), refusal.map(Into::into));
    }
}
