//! External commits.

use super::{Scene, bent_package};
use crate::mls::Refusal;
use crate::mls::crypto::KeyPair;
use crate::mls::refusal::Feature;
use crate::mls::schedule::EXTERNAL_INIT;
use crate::mls::tests::forge::{Bend, by_value, psk_proposal};
use crate::mls::tests::world::{Chance, Identity, Person, SUITE};
use crate::mls::wire::{LeafSource, PreSharedKeyId, Proposal, ProposalOrRef, PskKind};
use crate::secret::Secret;

/// MLS M108.
#[test]
fn an_external_commit_has_one_external_init() {
    let scene = Scene::new();
    let person = scene.person("joiner");
    let init = &scene.members[0].epoch.secrets.init;
    let without = Bend { proposals: &|all| drop(all.remove(0)), init: Some(init), ..Bend::none() };
    scene.joiner_refused(&person, without, Refusal::Proposals);
    let twice = Bend { proposals: &|all| all.push(all[0].clone()), ..Bend::none() };
    scene.joiner_refused(&person, twice, Refusal::Proposals);
}

/// MLS M109.
#[test]
fn an_external_commit_without_a_path_is_refused() {
    let scene = Scene::new();
    let person = scene.person("joiner");
    scene.joiner_refused(&person, Bend { has_path: false, ..Bend::none() }, Refusal::NoPath);
}

/// MLS M110.
#[test]
fn an_external_commit_uses_the_external_init_secret() {
    let scene = Scene::new();
    let person = scene.person("joiner");
    let init = &scene.members[0].epoch.secrets.init;
    scene.joiner_refused(&person, Bend { init: Some(init), ..Bend::none() }, Refusal::ConfirmationTag);
    let other = KeyPair::derive(SUITE, &Chance::new("other").secret()).public;
    let sealed_elsewhere = |all: &mut Vec<ProposalOrRef>| {
        let seed = zeroize::Zeroizing::new([7; 32]);
        let (kem_output, _) = SUITE.encapsulate(other.as_slice(), EXTERNAL_INIT, &seed).unwrap();
        all[0] = by_value(Proposal::ExternalInit { kem_output: kem_output.into() });
    };
    let bend = Bend { proposals: &sealed_elsewhere, ..Bend::none() };
    scene.joiner_refused(&person, bend, Refusal::ConfirmationTag);
}

/// MLS M111.
#[test]
fn an_external_commit_with_two_removes_is_refused() {
    let scene = Scene::new();
    let returning = &scene.members[1].person;
    let good = scene.joiner(returning).commit(Bend { removes: &[1], ..Bend::none() });
    for removes in [&[1, 1][..], &[1, 2], &[2, 1]] {
        scene.joiner_refused_unlike(&good, returning, Bend { removes, ..Bend::none() }, Refusal::Proposals);
    }
}

/// MLS M112.
#[test]
fn an_external_commit_that_removes_another_is_refused() {
    let scene = Scene::new();
    // Of the same user as all others here.
    let stranger = scene.person("stranger");
    let good = scene.joiner(&stranger).commit(Bend::none());
    for leaf in [1, 2, 3] {
        let bend = Bend { removes: &[leaf], ..Bend::none() };
        scene.joiner_refused_unlike(&good, &stranger, bend, Refusal::Proposals);
    }
}

/// MLS M113.
#[test]
fn a_returning_leaf_is_a_successor_of_the_old_one() {
    let scene = Scene::new();
    let returning = &scene.members[1].person;
    let old = scene.members[0].epoch.tree().leaf(1).unwrap().encryption_key().clone();
    let keeps = |keys: &mut Vec<KeyPair>| keys[0] = KeyPair { public: old.clone(), private: Secret::new([7; 32]) };
    let bend = Bend { removes: &[1], keys: &keeps, ..Bend::none() };
    scene.joiner_refused(returning, bend, Refusal::KeyTwice);
}

/// MLS M114.
#[test]
fn a_device_that_is_there_removes_its_old_leaf() {
    let scene = Scene::new();
    let mut chance = scene.chance();
    let seed = chance.bytes();
    let anew = Person::of(Identity::device_with("late", seed, &mut chance));
    for (person, refusal) in [(&scene.members[1].person, Refusal::KeyTwice), (&anew, Refusal::DeviceTwice)] {
        let good = scene.joiner(person).commit(Bend { removes: &[1], ..Bend::none() });
        scene.joiner_refused_unlike(&good, person, Bend::none(), refusal);
    }
}

/// MLS M115.
#[test]
fn an_external_commit_with_another_proposal_is_refused() {
    let scene = Scene::new();
    let person = scene.person("joiner");
    let mut node = scene.members[0].epoch.tree().leaf(3).unwrap().node().unwrap();
    node.source = LeafSource::Update;
    let reinit = Proposal::ReInit { group_id: b"next"[..].into(), version: 1, suite: 1, extensions: Vec::new() };
    for (proposal, refusal) in [
        (Proposal::Add(bent_package(&scene, |_| {})), Refusal::Proposals),
        (Proposal::Update(node), Refusal::Unsupported(Feature::Update)),
        (reinit, Refusal::Unsupported(Feature::ReInit)),
        (Proposal::GroupContextExtensions(Vec::new()), Refusal::Unsupported(Feature::GroupContextExtensions)),
    ] {
        let bend = |all: &mut Vec<ProposalOrRef>| all.push(by_value(proposal.clone()));
        scene.joiner_refused(&person, Bend { proposals: &bend, ..Bend::none() }, refusal);
    }
}

/// MLS M116.
#[test]
fn an_external_commit_has_one_psk_at_most() {
    let scene = Scene::new();
    let person = scene.person("joiner");
    let psk = || psk_proposal(b"psk", &[7; 32]);
    let one = scene.joiner(&person).commit(Bend { proposals: &|all| all.push(psk()), ..Bend::none() });
    let two = Bend { proposals: &|all| all.extend([psk(), psk_proposal(b"other", &[8; 32])]), ..Bend::none() };
    scene.joiner_refused_unlike(&one, &person, two, Refusal::Psk);
    let kind = PskKind::Resumption { usage: 1, group_id: b"room"[..].into(), epoch: 1 };
    let resumption = PreSharedKeyId { kind, nonce: vec![7; 32].into() };
    let bend = |all: &mut Vec<ProposalOrRef>| all.push(by_value(Proposal::PreSharedKey(resumption.clone())));
    let refusal = Refusal::Unsupported(Feature::ResumptionPsk);
    scene.joiner_refused_unlike(&one, &person, Bend { proposals: &bend, ..Bend::none() }, refusal);
}

/// MLS M117.
#[test]
fn an_external_committer_takes_the_leftmost_blank_leaf() {
    let scene = Scene::new();
    let stranger = scene.person("stranger");
    for at in [6, 7] {
        scene.joiner_refused(&stranger, Bend { at: Some(at), ..Bend::none() }, Refusal::Signature);
    }
    let committer = |person: &Person, removes: &[u32]| {
        let forged = scene.joiner(person).commit(Bend { removes, ..Bend::none() });
        scene.members[3].epoch.read(&forged.bytes).unwrap().committer().unwrap().0
    };
    assert_eq!(committer(&stranger, &[]), 5);
    assert_eq!(committer(&scene.members[1].person, &[1]), 1);
}
