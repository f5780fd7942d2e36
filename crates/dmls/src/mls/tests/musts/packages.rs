//! Key packages.

use super::{Scene, bent_package};
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, by_value, package_with, sign_package};
use crate::mls::tests::world::SUITE;
use crate::mls::wire::{Extension, KeyPackage, LeafSource, Proposal, WireFormat, message};
use crate::mls::{Package, Refusal};

/// As from the server.
fn read(package: &KeyPackage) -> Option<Refusal> {
    Package::read(SUITE, &message(WireFormat::KeyPackage, package)).err()
}

/// MLS M68.
#[test]
fn a_package_with_a_wrong_signature_is_refused() {
    let scene = Scene::new();
    let (person, other) = (scene.person("new"), scene.person("other"));
    let (_, good) = package_with(&person, &mut scene.chance(), |_| {});
    assert_eq!(read(&good), None);
    let mut by_other = good.clone();
    sign_package(&mut by_other, other.maker().signer);
    let mut for_another = good;
    for_another.init_key = package_with(&person, &mut scene.chance(), |_| {}).1.init_key;
    for package in [by_other, for_another] {
        assert_eq!(read(&package), Some(Refusal::Signature));
        let add = |all: &mut Vec<_>| all.push(by_value(Proposal::Add(package.clone())));
        scene.refused(Bend { proposals: &add, ..Bend::none() }, Refusal::Signature);
    }
}

/// MLS M69.
#[test]
fn a_package_of_another_version_is_refused() {
    let scene = Scene::new();
    for version in [0, 2, 0x0a0a] {
        assert_eq!(read(&bent_package(&scene, |package| package.version = version)), Some(Refusal::Version));
    }
}

/// MLS M70.
#[test]
fn a_package_of_another_suite_is_refused() {
    let scene = Scene::new();
    for suite in [0, 2, 3, 0x0a0a] {
        let package = bent_package(&scene, |package| package.suite = suite);
        assert_eq!(read(&package), Some(Refusal::Unsupported(Feature::Suite)));
    }
}

/// MLS M71.
#[test]
fn a_package_whose_init_key_is_its_leaf_key_is_refused() {
    let scene = Scene::new();
    let package = bent_package(&scene, |package| package.init_key = package.leaf.encryption_key.clone());
    assert_eq!(read(&package), Some(Refusal::InitKey));
}

/// MLS M72.
#[test]
fn a_commit_with_a_bad_package_is_refused() {
    let scene = Scene::new();
    let bends: [(&dyn Fn(&mut KeyPackage), Refusal); 8] = [
        (&|package| package.version = 2, Refusal::Version),
        (&|package| package.suite = 2, Refusal::Unsupported(Feature::Suite)),
        (&|package| package.init_key = package.leaf.encryption_key.clone(), Refusal::InitKey),
        (&|package| package.init_key = [0; 32][..].into(), Refusal::PublicKey),
        (&|package| package.leaf.encryption_key = [0; 32][..].into(), Refusal::PublicKey),
        (&|package| package.leaf.capabilities.versions.clear(), Refusal::Capabilities),
        (&|package| package.leaf.source = LeafSource::Update, Refusal::LeafSource),
        (&|package| package.leaf.signature_key = [7; 32][..].into(), Refusal::Signature),
    ];
    for (bend, refusal) in bends {
        let package = bent_package(&scene, bend);
        assert_eq!(read(&package), Some(refusal));
        let add = |all: &mut Vec<_>| all.push(by_value(Proposal::Add(package.clone())));
        scene.refused(Bend { proposals: &add, ..Bend::none() }, refusal);
    }
}

/// MLS M154.
#[test]
fn a_package_extension_that_is_not_listed_is_refused() {
    let scene = Scene::new();
    let of = |extension_type| Extension { extension_type, data: vec![1].into() };
    let listed = bent_package(&scene, |package| {
        package.extensions.push(of(0xf0aa));
        package.leaf.capabilities.extensions.push(0xf0aa);
    });
    assert_eq!(read(&listed), None);
    let unlisted = bent_package(&scene, |package| package.extensions.push(of(0xf0aa)));
    assert_eq!(read(&unlisted), Some(Refusal::Capabilities));
    let add = |all: &mut Vec<_>| all.push(by_value(Proposal::Add(unlisted.clone())));
    scene.refused(Bend { proposals: &add, ..Bend::none() }, Refusal::Capabilities);
    // Those of RFC 9420 itself need not be listed.
    assert_eq!(read(&bent_package(&scene, |package| package.extensions.push(of(1)))), None);
}
