//! Leaves: each rule in a package, in a path and in a tree.

use super::{ROOM, Scene, bent_package};
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, package_with, rehashed, sign_leaf, tree_bytes};
use crate::mls::tests::world::{Identity, Member, Person, SUITE};
use crate::mls::tree::Forest;
use crate::mls::wire::{
    Capabilities, Credential, Extension, KeyPackage, LeafNode, LeafSource, TreeNode, extension_type,
};
use crate::mls::{Leaf, Package, Refusal, Tree};

const GREASE: u16 = 0x0a0a;
const X509: u16 = 2;

fn extension(extension_type: u16, data: &[u8]) -> Extension {
    Extension { extension_type, data: data.into() }
}

/// What a package, a path and a tree say to a leaf that is bent before it is signed.
#[track_caller]
fn everywhere(scene: &Scene, bend: &dyn Fn(&mut LeafNode), refusal: Refusal) {
    let package = bent_package(scene, |package| bend(&mut package.leaf));
    assert_eq!(Package::check(SUITE, package).err(), Some(refusal), "package");
    scene.refused(Bend { leaf: bend, ..Bend::none() }, refusal);
    let forged = scene.forge(Bend { leaf: bend, ..Bend::none() });
    assert_eq!(Tree::import(SUITE, ROOM, &forged.tree.export()).err(), Some(refusal), "tree");
}

#[track_caller]
fn nowhere(scene: &Scene, bend: &dyn Fn(&mut LeafNode)) {
    let package = bent_package(scene, |package| bend(&mut package.leaf));
    assert!(Package::check(SUITE, package).is_ok());
    let forged = scene.forge(Bend { leaf: bend, ..Bend::none() });
    scene.accepted(&forged);
    assert_eq!(Tree::import(SUITE, ROOM, &forged.tree.export()), Ok(forged.tree));
}

/// MLS M50.
#[test]
fn a_package_leaf_with_a_wrong_signature_is_refused() {
    let scene = Scene::new();
    let (person, other) = (scene.person("new"), scene.person("other"));
    let package = |sign: &dyn Fn(&mut LeafNode)| {
        let (_, mut wire) = package_with(&person, &mut scene.chance(), |_| {});
        sign(&mut wire.leaf);
        crate::mls::tests::forge::sign_package(&mut wire, person.maker().signer);
        Package::check(SUITE, wire).err()
    };
    assert_eq!(package(&|_| {}), None);
    assert_eq!(package(&|leaf| sign_leaf(leaf, other.maker().signer, None)), Some(Refusal::Signature));
    assert_eq!(package(&|leaf| sign_leaf(leaf, person.maker().signer, Some((ROOM, 0)))), Some(Refusal::Signature));
}

/// MLS M51.
#[test]
fn a_path_leaf_for_another_place_is_refused() {
    let scene = Scene::new();
    for place in [(&b"moor"[..], 0), (ROOM, 1), (ROOM, u32::MAX)] {
        scene.refused(Bend { leaf_signed_for: Some(place), ..Bend::none() }, Refusal::Signature);
    }
    let in_package = |leaf: &mut LeafNode| sign_leaf(leaf, scene.members[0].person.maker().signer, None);
    scene.refused(Bend { signed_leaf: &in_package, ..Bend::none() }, Refusal::Signature);
}

/// MLS M52.
#[test]
fn a_credential_that_is_not_vouched_for_is_refused() {
    let scene = Scene::new();
    let other = scene.person("other");
    let vouched = |bend: &dyn Fn(&mut Vec<u8>)| {
        let package = bent_package(&scene, |package| {
            let mut identity = package.leaf.credential.identity.as_slice().to_vec();
            bend(&mut identity);
            package.leaf.credential.identity = identity.into();
        });
        Package::check(SUITE, package).unwrap().member().is_ok()
    };
    assert!(vouched(&|_| {}));
    let anothers = &other.identity.content;
    assert!(!vouched(&|identity| identity[0] = 2));
    assert!(!vouched(&|identity| identity.push(0)));
    assert!(!vouched(&|identity| *identity.last_mut().unwrap() ^= 1));
    assert!(!vouched(&|identity| identity.clone_from(anothers)));
    assert!(!vouched(&|identity| identity.clear()));

    let tree = scene.members[0].epoch.tree();
    assert!(tree.vouched_members().is_ok());
    let bend = |leaf: &mut LeafNode| leaf.credential.identity = anothers[..].into();
    let forged = scene.forge(Bend { leaf: &bend, ..Bend::none() });
    assert!(forged.tree.vouched_members().is_err());
    let person = scene.person("joiner");
    let draft = |bend| scene.members[2].epoch.read(&scene.joiner(&person).commit(bend).bytes).unwrap();
    assert!(draft(Bend::none()).committing_member().is_ok());
    assert!(draft(Bend { leaf: &bend, ..Bend::none() }).committing_member().is_err());
    let package = bent_package(&scene, |package| package.leaf.credential.identity = anothers[..].into());
    let draft = scene.members[2].epoch.read(&scene.forge(Bend { adds: &[package], ..Bend::none() }).bytes).unwrap();
    assert!(draft.added_members().is_err());
}

/// MLS M53.
#[test]
fn other_credential_types_are_refused() {
    let scene = Scene::new();
    for kind in [0, X509, GREASE] {
        let bend = |leaf: &mut LeafNode| {
            leaf.credential.credential_type = kind;
            leaf.capabilities.credentials.push(kind);
        };
        everywhere(&scene, &bend, Refusal::Unsupported(Feature::Credential));
    }
}

/// MLS M54.
#[test]
fn a_leaf_that_does_not_list_its_credential_type_is_refused() {
    let scene = Scene::new();
    for kinds in [&[][..], &[X509]] {
        everywhere(&scene, &|leaf| leaf.capabilities.credentials = kinds.to_vec(), Refusal::Capabilities);
    }
}

/// MLS M55.
#[test]
fn a_leaf_that_lists_another_version_or_suite_is_refused() {
    let scene = Scene::new();
    for others in [&[][..], &[2], &[GREASE, 3]] {
        everywhere(&scene, &|leaf| leaf.capabilities.versions = others.to_vec(), Refusal::Capabilities);
        everywhere(&scene, &|leaf| leaf.capabilities.suites = others.to_vec(), Refusal::Capabilities);
    }
}

/// MLS M56.
#[test]
fn a_leaf_extension_that_is_not_listed_is_refused() {
    let scene = Scene::new();
    let listed = |leaf: &mut LeafNode| {
        leaf.extensions.push(extension(0xf0aa, b"data"));
        leaf.capabilities.extensions.push(0xf0aa);
    };
    nowhere(&scene, &listed);
    everywhere(&scene, &|leaf| leaf.extensions.push(extension(0xf0aa, b"data")), Refusal::Capabilities);
    // Those of RFC 9420 itself need not be listed.
    nowhere(&scene, &|leaf| leaf.extensions.push(extension(1, b"application")));
}

/// MLS M57.
#[test]
fn a_doubled_extension_is_refused() {
    use crate::mls::tests::invite::Invite;
    use crate::mls::wire::GroupInfo;
    let scene = Scene::new();
    for other in [&b"one"[..], b"two"] {
        let twice = |extensions: &mut Vec<Extension>| {
            extensions.extend([extension(0xf0aa, b"one"), extension(0xf0ab, b""), extension(0xf0aa, other)]);
        };
        let leaf = |leaf: &mut LeafNode| {
            twice(&mut leaf.extensions);
            leaf.capabilities.extensions.extend([0xf0aa, 0xf0ab]);
        };
        everywhere(&scene, &leaf, Refusal::Extension);
        let package = bent_package(&scene, |package| twice(&mut package.extensions));
        assert_eq!(Package::check(SUITE, package).err(), Some(Refusal::Extension));
        let read = |bend: &dyn Fn(&mut GroupInfo)| {
            let forged = scene.forge(Bend::none());
            let info = scene.forger().info_message(&forged, Invite { info: bend, ..Invite::none() });
            crate::mls::Door::read(SUITE, &info, None).err()
        };
        assert_eq!(read(&|_| {}), None);
        assert_eq!(read(&|info| twice(&mut info.extensions)), Some(Refusal::Extension));
        assert_eq!(read(&|info| twice(&mut info.context.extensions)), Some(Refusal::Extension));
    }
}

/// MLS M58.
#[test]
fn unknown_capabilities_are_ignored() {
    let scene = Scene::new();
    nowhere(&scene, &|leaf| {
        let Capabilities { versions, suites, extensions, proposals, credentials } = &mut leaf.capabilities;
        [versions, suites, extensions, proposals, credentials].into_iter().for_each(|list| list.push(GREASE));
    });
}

/// MLS M59.
#[test]
fn unknown_extensions_of_leaves_and_packages_are_ignored() {
    let scene = Scene::new();
    let (person, mut chance) = (scene.person("new"), scene.chance());
    let bend = |package: &mut KeyPackage| {
        package.extensions.push(extension(GREASE, b"package"));
        package.leaf.extensions.push(extension(GREASE, b"leaf"));
        package.leaf.capabilities.extensions.push(GREASE);
    };
    let (_, wire) = package_with(&person, &mut chance, bend);
    assert_eq!(Package::check(SUITE, wire.clone()).unwrap().wire, wire);
    let forged = scene.forge(Bend { adds: std::slice::from_ref(&wire), ..Bend::none() });
    scene.accepted(&forged);
    let tree = Tree::import(SUITE, ROOM, &forged.tree.export()).unwrap();
    assert_eq!(tree.leaf(5).unwrap().node(), Ok(wire.leaf));
}

/// MLS M60.
#[test]
fn a_lifetime_locks_nobody_out() {
    let scene = Scene::new();
    for (not_before, not_after) in [(u64::MAX, u64::MAX), (0, 0), (2_000_000_000, 1_000_000_000)] {
        let source = LeafSource::KeyPackage { not_before, not_after };
        let package = bent_package(&scene, |package| package.leaf.source = source.clone());
        assert!(Package::check(SUITE, package.clone()).is_ok());
        let forged = scene.forge(Bend { adds: &[package], ..Bend::none() });
        scene.accepted(&forged);
        assert!(Tree::import(SUITE, ROOM, &forged.tree.export()).is_ok());
    }
    let (_, package) = scene.newcomer("own");
    let always = LeafSource::KeyPackage { not_before: 0, not_after: u64::MAX };
    assert_eq!(package.wire.leaf.source, always);
}

/// MLS M61.
#[test]
fn own_leaves_list_what_is_supported() {
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    let of_path = scene.members[4].epoch.tree().leaf(4).unwrap().node().unwrap();
    for leaf in [package.wire.leaf, of_path] {
        let listed = Capabilities {
            versions: vec![1],
            suites: vec![1],
            extensions: vec![extension_type::SERIAL, extension_type::LAST_RESORT],
            proposals: Vec::new(),
            credentials: vec![1],
        };
        assert_eq!(leaf.capabilities, listed);
        assert_eq!(leaf.extensions, [extension(extension_type::SERIAL, &1_u64.to_be_bytes())]);
    }
}

/// A serial has eight bytes (SPEC §2.7).
#[test]
fn a_leaf_with_a_malformed_serial_is_refused() {
    let scene = Scene::new();
    let serial = |data: &'static [u8]| {
        move |leaf: &mut LeafNode| leaf.extensions = vec![extension(extension_type::SERIAL, data)]
    };
    nowhere(&scene, &serial(&[1; 8]));
    let mut of_path = scene.members[4].epoch.tree().leaf(4).unwrap().node().unwrap();
    for data in [&[][..], &[1; 4], &[1; 7], &[1; 9]] {
        let package = bent_package(&scene, |package| serial(data)(&mut package.leaf));
        assert_eq!(Package::check(SUITE, package).err(), Some(Refusal::Extension));
        serial(data)(&mut of_path);
        assert_eq!(Leaf::parse(SUITE, &of_path).err(), Some(Refusal::Extension));
    }
}

/// MLS asks for no serial, but nobody is a member without one (SPEC §2.7).
#[test]
fn a_leaf_without_a_serial_is_no_member() {
    let scene = Scene::new();
    let without = |leaf: &mut LeafNode| leaf.extensions.clear();
    nowhere(&scene, &without);
    let package = bent_package(&scene, |package| without(&mut package.leaf));
    assert!(Package::check(SUITE, package).unwrap().member().is_err());
    let forged = scene.forge(Bend { leaf: &without, ..Bend::none() });
    assert!(forged.tree.vouched_members().is_err());
    assert!(scene.members[1].epoch.read(&forged.bytes).unwrap().committing_member().is_err());
    let whole = scene.forge(Bend::none());
    assert!(scene.members[1].epoch.read(&whole.bytes).unwrap().committing_member().is_ok());
}

/// MLS M62.
#[test]
fn a_package_leaf_of_another_source_is_refused() {
    let scene = Scene::new();
    let commit = LeafSource::Commit { parent_hash: vec![7; 32].into() };
    for source in [LeafSource::Update, commit, LeafSource::Commit { parent_hash: Vec::new().into() }] {
        let package = bent_package(&scene, |package| package.leaf.source = source.clone());
        assert_eq!(Package::check(SUITE, package).err(), Some(Refusal::LeafSource));
    }
}

/// MLS M63.
#[test]
fn a_path_leaf_of_another_source_is_refused() {
    let scene = Scene::new();
    let always = LeafSource::KeyPackage { not_before: 0, not_after: u64::MAX };
    for source in [LeafSource::Update, always] {
        scene.refused(Bend { leaf: &|leaf| leaf.source = source.clone(), ..Bend::none() }, Refusal::LeafSource);
    }
}

/// MLS M64.
#[test]
fn a_tree_with_an_updated_leaf_is_refused() {
    use crate::mls::tests::invite::Invite;
    let scene = Scene::new();
    let (_, package) = scene.newcomer("new");
    let add = [package.wire.clone()];
    // A leaf under which nothing was set since.
    let updated = |tree: &Tree| {
        let mut nodes = crate::mls::tests::forge::nodes_of(tree);
        let Some(TreeNode::Leaf(leaf)) = &mut nodes[2] else { panic!("no leaf") };
        leaf.source = LeafSource::Update;
        sign_leaf(leaf, scene.members[1].person.maker().signer, Some((ROOM, 1)));
        rehashed(nodes, 0, &scene.members[0].person.maker(), ROOM)
    };
    let forged = scene.forge(Bend { adds: &add, ..Bend::none() });
    let tree = crate::mls::tests::forge::tree_of(updated(&forged.tree));
    let bent = |info: &mut crate::mls::wire::GroupInfo| {
        info.context.tree_hash = tree.hash()[..].into();
        info.extensions[1] = crate::mls::tests::invite::ratchet_tree(tree.export());
    };
    let info = scene.forger().info_message(&forged, Invite { info: &bent, ..Invite::none() });
    assert_eq!(crate::mls::Door::read(SUITE, &info, None).err(), Some(Refusal::Unsupported(Feature::Update)));
    let welcome = scene.forger().welcome(&forged, &package, Invite { info: &bent, ..Invite::none() });
    let invitation = crate::mls::Invitation::open(SUITE, &welcome, &package).unwrap();
    assert!(invitation.enter(&scene.psk, None).is_err());
}

/// The wire form of a member's leaf.
fn leaf_of(member: &Member) -> LeafNode {
    member.epoch.tree().leaf(member.epoch.own()).unwrap().node().unwrap()
}

/// Somebody with the signature key of another.
fn with_key_of(other: &Person, name: &str, scene: &Scene) -> Person {
    Person::of(Identity::device_with(name, other.identity.seed, &mut scene.chance()))
}

/// MLS M65.
#[test]
fn an_add_of_a_signature_key_that_is_there_is_refused() {
    let scene = Scene::new();
    let twin =
        |name: &str| package_with(&with_key_of(&scene.members[2].person, name, &scene), &mut scene.chance(), |_| {}).1;
    assert!(Package::check(SUITE, twin("other")).unwrap().member().is_ok());
    scene.refused(Bend { adds: &[twin("other")], ..Bend::none() }, Refusal::KeyTwice);
    // In the place of the one that had it, it may stand, and only once.
    let forged = scene.forge(Bend { removes: &[2], adds: &[twin("other")], ..Bend::none() });
    assert!(scene.hear(3, &forged.bytes).is_ok());
    let twice = [twin("other"), twin("third")];
    let forged = scene.forge(Bend { removes: &[2], adds: &twice, ..Bend::none() });
    assert_eq!(scene.hear(3, &forged.bytes).err(), Some(Refusal::KeyTwice));
}

/// MLS M66.
#[test]
fn an_add_of_an_encryption_key_that_is_there_is_refused() {
    let scene = Scene::new();
    let tree = scene.members[0].epoch.tree();
    let leaf = leaf_of(&scene.members[3]).encryption_key;
    let parent = tree.key(crate::mls::tree::Place::above(3, 1)).unwrap().as_slice().to_vec();
    for key in [leaf.as_slice().to_vec(), parent] {
        let package = bent_package(&scene, |package| package.leaf.encryption_key = key.clone().into());
        scene.refused(Bend { adds: &[package], ..Bend::none() }, Refusal::KeyTwice);
    }
    let one = bent_package(&scene, |_| {});
    let same = |package: &mut KeyPackage| package.leaf.encryption_key = one.leaf.encryption_key.clone();
    let (_, other) = package_with(&scene.person("second"), &mut scene.chance(), same);
    scene.refused(Bend { adds: &[one.clone(), other], ..Bend::none() }, Refusal::KeyTwice);
}

/// MLS M67.
#[test]
fn uniqueness_is_the_same_after_a_restart() {
    let scene = Scene::new();
    let base = scene.members[3].epoch.tree();
    let sibling = scene.hear(3, &scene.forge(Bend::none()).bytes).unwrap().epoch;
    let mut planted = Forest::default();
    let mut records = planted.plant(base);
    records.extend(planted.plant(sibling.tree()));
    let mut get = |name: &[u8; 32]| {
        let found = records.iter().find(|record| record.name == *name);
        found.map(|record| record.bytes.clone())
    };
    // The sibling first: the base's nodes are shared with it.
    let mut forest = Forest::default();
    let sibling_again = forest.load(SUITE, sibling.tree().hash(), 3, &mut get).unwrap();
    let base_again = forest.load(SUITE, base.hash(), 3, &mut get).unwrap();
    for (index, leaf) in base.leaves() {
        for tree in [base, &base_again] {
            assert_eq!(tree.clone().add(leaf.clone()), Err(Refusal::KeyTwice), "leaf {index}");
        }
    }
    // What only the sibling has is new to the base.
    let only_there = sibling.tree().leaf(0).unwrap();
    for tree in [base, &base_again] {
        assert_eq!(tree.place_of_key(only_there.encryption_key()), None);
        let mut tree = tree.clone();
        tree.remove(0).unwrap();
        assert_eq!(tree.add(only_there.clone()), Ok(0));
    }
    assert!(sibling_again.place_of_key(only_there.encryption_key()).is_some());
}

/// A leaf is read as it stands: nothing is lost of it.
#[test]
fn leaves_are_kept_byte_for_byte() {
    let scene = Scene::new();
    let tree = scene.members[0].epoch.tree();
    let nodes = crate::mls::tests::forge::nodes_of(tree);
    assert_eq!(tree_bytes(&nodes), tree.export());
    let identity = leaf_of(&scene.members[0]).credential;
    let content = scene.members[0].person.identity.content.clone();
    assert_eq!(identity, Credential { credential_type: 1, identity: content.into() });
}
