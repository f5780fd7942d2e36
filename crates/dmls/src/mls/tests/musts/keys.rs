//! Keys and signatures: which bytes are one.

use super::{ROOM, Scene, bent_package};
use crate::mls::crypto::{KeyPair, PublicKey};
use crate::mls::tests::forge::{Bend, by_value, nodes_of, sign_leaf_as, sign_package_as, tree_bytes};
use crate::mls::tests::invite::{Invite, external_pub};
use crate::mls::tests::suites::LAX;
use crate::mls::tests::world::{Chance, SUITE};
use crate::mls::tree::Forest;
use crate::mls::wire::{Proposal, ProposalOrRef, TreeNode, UpdatePath};
use crate::mls::{Door, Package, Plan, Refusal, Tree};
use crate::secret::Secret;

/// Keys of small order, and large ones written otherwise (RFC 7748 §5; SPEC §3.1).
fn bad_keys() -> Vec<[u8; 32]> {
    let from = |text: &str| <[u8; 32]>::try_from(crate::mls::tests::given::unhex(text)).unwrap();
    let field = |last: u8| {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (last, 0x7f);
        key
    };
    let mut one = [0; 32];
    one[0] = 1;
    // The base point with the bit that is not read.
    let mut high = [0; 32];
    (high[0], high[31]) = (9, 0x80);
    vec![
        [0; 32],
        one,
        from("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        from("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        field(0xec),
        field(0xed),
        field(0xee),
        field(0xf6),
        [0xff; 32],
        high,
    ]
}

fn bad_pair(key: [u8; 32]) -> KeyPair {
    KeyPair { public: PublicKey::parse(LAX, &key).unwrap(), private: Secret::new([7; 32]) }
}

/// MLS M38.
#[test]
fn a_package_with_a_bad_leaf_key_is_refused() {
    let scene = Scene::new();
    assert!(Package::check(SUITE, bent_package(&scene, |_| {})).is_ok());
    for key in bad_keys() {
        let package = bent_package(&scene, |package| package.leaf.encryption_key = key[..].into());
        assert_eq!(Package::check(SUITE, package.clone()).err(), Some(Refusal::PublicKey));
        let add = |proposals: &mut Vec<_>| proposals.push(by_value(Proposal::Add(package.clone())));
        scene.refused(Bend { proposals: &add, ..Bend::none() }, Refusal::PublicKey);
    }
}

/// MLS M39.
#[test]
fn a_package_with_a_bad_init_key_is_refused() {
    let scene = Scene::new();
    for key in bad_keys() {
        let package = bent_package(&scene, |package| package.init_key = key[..].into());
        assert_eq!(Package::check(SUITE, package).err(), Some(Refusal::PublicKey));
    }
}

/// MLS M40.
#[test]
fn a_path_with_a_bad_leaf_key_is_refused() {
    let scene = Scene::new();
    for key in bad_keys() {
        let bend = |keys: &mut Vec<KeyPair>| keys[0] = bad_pair(key);
        scene.refused(Bend { keys: &bend, ..Bend::none() }, Refusal::PublicKey);
    }
}

/// MLS M41.
#[test]
fn a_path_with_a_bad_node_key_is_refused() {
    let scene = Scene::new();
    for key in bad_keys() {
        for node in 1..=3 {
            let bend = |keys: &mut Vec<KeyPair>| keys[node] = bad_pair(key);
            scene.refused(Bend { keys: &bend, ..Bend::none() }, Refusal::PublicKey);
        }
    }
}

/// MLS M42.
#[test]
fn a_tree_with_a_bad_key_is_refused() {
    let scene = Scene::new();
    for key in bad_keys() {
        for node in 0..=3 {
            let bend = |keys: &mut Vec<KeyPair>| keys[node] = bad_pair(key);
            let forged = scene.forge(Bend { keys: &bend, ..Bend::none() });
            let info = scene.forger().info_message(&forged, Invite::none());
            assert_eq!(Door::read(SUITE, &info, None).err(), Some(Refusal::PublicKey));
        }
    }
    let info = scene.forger().info_message(&scene.forge(Bend::none()), Invite::none());
    assert!(Door::read(SUITE, &info, None).is_ok());
}

/// MLS M43.
#[test]
fn a_bad_external_key_is_refused() {
    let scene = Scene::new();
    let forged = scene.forge(Bend::none());
    for key in bad_keys().iter().map(|key| &key[..]).chain([&[9; 31][..], &[9; 33], b""]) {
        let invite = Invite { info: &|info| info.extensions[0] = external_pub(key), ..Invite::none() };
        let info = scene.forger().info_message(&forged, invite);
        assert_eq!(Door::read(SUITE, &info, None).err(), Some(Refusal::PublicKey));
    }
}

/// MLS M44.
#[test]
fn a_bad_kem_output_is_refused() {
    let scene = Scene::new();
    let person = scene.person("joiner");
    for key in bad_keys().iter().map(|key| &key[..]).chain([&[9; 31][..], &[9; 33], b""]) {
        let bend = |proposals: &mut Vec<ProposalOrRef>| {
            proposals[0] = by_value(Proposal::ExternalInit { kem_output: key.into() });
        };
        scene.joiner_refused(&person, Bend { proposals: &bend, ..Bend::none() }, Refusal::PublicKey);
        let forged = scene.joiner(&person).commit(Bend { proposals: &bend, ..Bend::none() });
        let public = scene.members[0].epoch.public().read(&forged.bytes);
        assert_eq!(public.err(), Some(Refusal::PublicKey), "who follows");
    }
}

/// A signature by a key of small order that holds for about one in eight messages, or for all, unless one is strict.
const WEAK: [u8; 64] = {
    let mut signature = [0; 64];
    signature[0] = 1;
    signature
};

/// MLS M45, SPEC §5.2.
#[test]
fn a_bad_signature_key_is_refused() {
    let scene = Scene::new();
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut again = [0xff; 32];
    (again[0], again[31]) = (0xee, 0x7f);
    for key in [identity, again] {
        let mut package = bent_package(&scene, |package| package.leaf.signature_key = key[..].into());
        (package.leaf.signature, package.signature) = (WEAK[..].into(), WEAK[..].into());
        assert_eq!(Package::check(SUITE, package.clone()).err(), Some(Refusal::Signature));
        let tree = scene.members[0].epoch.tree();
        let mut nodes = nodes_of(tree);
        assert!(Tree::import(SUITE, ROOM, &tree_bytes(&nodes)).is_ok());
        nodes[2] = Some(TreeNode::Leaf(Box::new(package.leaf)));
        assert_eq!(Tree::import(SUITE, ROOM, &tree_bytes(&nodes)).err(), Some(Refusal::Signature));
    }
}

/// The order of the base point, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature with S + L.
fn malleated(signature: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let sum = signature[32..].iter().zip(ORDER).map(|(s, l)| {
        carry += u16::from(*s) + u16::from(l);
        let byte = carry as u8;
        carry >>= 8;
        byte
    });
    [&signature[..32], &sum.collect::<Vec<u8>>()].concat()
}

/// MLS M46, SPEC §5.2.
#[test]
fn a_malleable_signature_is_refused() {
    let scene = Scene::new();
    scene.refused(Bend { signature: &|it| *it = malleated(it), ..Bend::none() }, Refusal::Signature);
    let leaf = |path: &mut UpdatePath| path.leaf.signature = malleated(path.leaf.signature.as_slice()).into();
    scene.refused(Bend { path: &leaf, ..Bend::none() }, Refusal::Signature);
    let mut package = bent_package(&scene, |_| {});
    package.signature = malleated(package.signature.as_slice()).into();
    assert_eq!(Package::check(SUITE, package).err(), Some(Refusal::Signature));
    let bent = |info: &mut crate::mls::wire::GroupInfo| info.signature = malleated(info.signature.as_slice()).into();
    let invite = Invite { signed_info: &bent, ..Invite::none() };
    let info = scene.forger().info_message(&scene.forge(Bend::none()), invite);
    assert_eq!(Door::read(SUITE, &info, None).err(), Some(Refusal::Signature));
    // A key of small order for R: S says then nothing of the message.
    let mut package = bent_package(&scene, |_| {});
    package.signature = WEAK[..].into();
    assert_eq!(Package::check(SUITE, package).err(), Some(Refusal::Signature));
}

/// MLS M47.
#[test]
fn a_signature_for_another_label_is_refused() {
    let scene = Scene::new();
    let person = scene.person("new");
    let (leaf, package) = ("LeafNodeTBS", "KeyPackageTBS");
    let signed = |leaf_label: &str, package_label: &str| {
        let mut wire = person.package(false, &mut Chance::new("labels")).wire;
        sign_leaf_as(&mut wire.leaf, person.maker().signer, leaf_label, None);
        sign_package_as(&mut wire, person.maker().signer, package_label);
        Package::check(SUITE, wire).err()
    };
    assert_eq!(signed(leaf, package), None);
    for label in ["FramedContentTBS", "GroupInfoTBS", "", "leafnodetbs"] {
        assert_eq!(signed(label, package), Some(Refusal::Signature));
        assert_eq!(signed(leaf, label), Some(Refusal::Signature));
        scene.refused(
            Bend { label: if label == "FramedContentTBS" { leaf } else { label }, ..Bend::none() },
            Refusal::Signature,
        );
    }
    assert_eq!(signed(package, leaf), Some(Refusal::Signature));
}

/// MLS M48.
#[test]
fn a_leaf_that_cannot_be_sealed_to_is_in_no_tree() {
    let scene = Scene::new();
    let mut forest = Forest::default();
    let tree = scene.members[0].epoch.tree();
    let good = forest.plant(tree);
    let load = |tree: &Tree, records: Vec<crate::mls::tree::NodeRecord>| {
        let mut get = |name: &[u8; 32]| {
            let found = records.iter().find(|record| record.name == *name);
            found.map(|record| record.bytes.clone())
        };
        Forest::default().load(SUITE, tree.hash(), tree.height(), &mut get).err()
    };
    assert_eq!(load(tree, good), None);
    for key in bad_keys() {
        let bend = |keys: &mut Vec<KeyPair>| keys[0] = bad_pair(key);
        let forged = scene.forge(Bend { keys: &bend, ..Bend::none() });
        let records = Forest::default().plant(&forged.tree);
        assert_eq!(load(&forged.tree, records), Some(Refusal::PublicKey));
    }
}

/// MLS M49.
#[test]
fn one_bad_package_fails_no_other_add() {
    let scene = Scene::new();
    let packages = [
        bent_package(&scene, |_| {}),
        bent_package(&scene, |package| package.leaf.encryption_key = [0; 32][..].into()),
        bent_package(&scene, |package| package.leaf.signature_key = [1; 32][..].into()),
        super::super::forge::package_with(&scene.person("last"), &mut scene.chance(), |_| {}).1,
    ];
    let read: Vec<_> = packages.iter().map(|package| Package::check(SUITE, package.clone())).collect();
    let good: Vec<bool> = read.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, false, true]);
    let plan = Plan { adds: read.into_iter().flatten().collect(), psk_id: b"psk".to_vec(), ..Plan::default() };
    let made = scene.members[0].commit(plan, &scene.psk, &mut scene.chance());
    assert_eq!(scene.hear(3, &made.bytes).unwrap().epoch.tree().members(), 7);
}
