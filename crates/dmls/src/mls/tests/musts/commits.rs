//! What a commit may hold.

use super::{Recorded, Scene, bent_package};
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::{Bend, by_value, external_psk, package_with, psk_proposal};
use crate::mls::tests::given::Seeded;
use crate::mls::tests::world::{Chance, Identity, Person, SUITE};
use crate::mls::wire::{
    Extension, KeyPackage, LeafSource, PreSharedKeyId, Proposal, ProposalOrRef, PskKind, PublicCommit,
};
use crate::mls::{MakeError, Plan, Refusal};

const NONCE: [u8; 32] = [7; 32];

/// MLS M87.
#[test]
fn a_commit_without_a_path_is_refused() {
    let scene = Scene::new();
    let package = [bent_package(&scene, |_| {})];
    scene.refused(Bend { has_path: false, ..Bend::none() }, Refusal::NoPath);
    scene.refused(Bend { has_path: false, proposals: &|all| all.clear(), ..Bend::none() }, Refusal::NoPath);
    scene.refused(Bend { has_path: false, adds: &package, ..Bend::none() }, Refusal::NoPath);
    scene.refused(Bend { has_path: false, removes: &[2], ..Bend::none() }, Refusal::NoPath);
}

/// Commits that are refused leave nothing behind, however many keys they bring.
#[test]
fn refused_commits_do_not_gather_in_the_index() {
    let scene = Scene::new();
    let mut chance = scene.chance();
    let tree = scene.members[3].epoch.tree();
    let mut most = 0;
    for round in 0..40 {
        let people = (0..50).map(|n| scene.person(&format!("{round}.{n}")));
        let adds: Vec<_> = people.map(|person| package_with(&person, &mut chance, |_| {}).1).collect();
        let forged = scene.forge(Bend { adds: &adds, tag: &|tag| tag[0] ^= 1, ..Bend::none() });
        assert_eq!(scene.hear(3, &forged.bytes).err(), Some(Refusal::ConfirmationTag));
        most = most.max(tree.named_keys());
    }
    assert!(most < 1_300, "{most} keys for {} members", tree.members());
    scene.accepted(&scene.forge(Bend::none()));
}

/// MLS M88.
#[test]
fn a_removed_member_derives_nothing() {
    let scene = Scene::new();
    let forged = scene.forge(Bend { removes: &[2], ..Bend::none() });
    for (reader, is_removed) in [(1, false), (2, true), (3, false)] {
        let draft = scene.members[reader].epoch.read(&forged.bytes).unwrap();
        assert_eq!(draft.removes_own(), is_removed);
        assert_eq!(draft.finish(Some(&scene.psk)).is_err(), is_removed);
    }
    let commit = PublicCommit::parse(&forged.bytes).unwrap().commit().unwrap().clone();
    let sealed = |node: &crate::mls::wire::UpdatePathNode| node.path_secret.len();
    // To leaf 1, 3 and 4: nothing is sealed to the one that goes.
    assert_eq!(commit.path.unwrap().nodes.iter().map(sealed).collect::<Vec<_>>(), [1, 1, 1]);
}

/// MLS M89.
#[test]
fn a_removal_is_told_only_when_it_holds() {
    let scene = Scene::new();
    let (bob, stranger) = (&scene.members[2].epoch, scene.person("stranger"));
    let removing = Bend { removes: &[2], ..Bend::none() };
    assert!(bob.read(&scene.forge(removing).bytes).unwrap().removes_own());
    let outside = scene.joiner(&stranger).commit(removing);
    assert_eq!(bob.read(&outside.bytes).err(), Some(Refusal::Proposals));
    let other = Chance::new("other").secret();
    for (bend, refusal) in [
        (Bend { signature: &|it| it[0] ^= 1, ..removing }, Refusal::Signature),
        (Bend { membership_key: Some(&other), ..removing }, Refusal::MembershipTag),
        (Bend { leaf_signed_for: Some((b"moor", 0)), ..removing }, Refusal::Signature),
        (Bend { path: &|path| path.nodes.truncate(1), ..removing }, Refusal::PathLength),
    ] {
        assert_eq!(bob.read(&scene.forge(bend).bytes).err(), Some(refusal));
    }
}

/// MLS M90.
#[test]
fn a_proposal_by_reference_is_refused() {
    let scene = Scene::new();
    let refusal = Refusal::Unsupported(Feature::ProposalByReference);
    let reference = || ProposalOrRef::Reference(vec![7; 32].into());
    let places: [&dyn Fn(&mut Vec<ProposalOrRef>); 3] =
        [&|all| all.insert(0, reference()), &|all| all.push(reference()), &|all| *all = vec![reference()]];
    let person = scene.person("joiner");
    for proposals in places {
        scene.refused(Bend { proposals, ..Bend::none() }, refusal);
        scene.joiner_refused(&person, Bend { proposals, ..Bend::none() }, refusal);
    }
}

/// MLS M91.
#[test]
fn unknown_proposals_are_refused() {
    let scene = Scene::new();
    let good = scene.forge(Bend { removes: &[2], ..Bend::none() }).bytes;
    let remove = [1, 0, 3, 0, 0, 0, 2];
    let at = good.windows(7).position(|part| part == remove).unwrap();
    for kind in [0_u16, 8, 0x0a0a, 0xf001] {
        let mut bytes = good.clone();
        bytes[at + 1..at + 3].copy_from_slice(&kind.to_be_bytes());
        assert_eq!(scene.hear(3, &bytes).err(), Some(Refusal::Malformed));
    }
}

fn pushed<'a>(proposal: &'a Proposal) -> impl Fn(&mut Vec<ProposalOrRef>) + 'a {
    |all: &mut Vec<ProposalOrRef>| all.push(by_value(proposal.clone()))
}

/// MLS M92.
#[test]
fn an_update_is_refused() {
    let scene = Scene::new();
    for leaf in [0, 3] {
        let mut node = scene.members[0].epoch.tree().leaf(leaf).unwrap().node().unwrap();
        node.source = LeafSource::Update;
        let update = Proposal::Update(node);
        for removes in [&[][..], &[3]] {
            let bend = Bend { removes, proposals: &pushed(&update), ..Bend::none() };
            scene.refused(bend, Refusal::Unsupported(Feature::Update));
        }
    }
}

/// MLS M93.
#[test]
fn a_reinit_is_refused() {
    let scene = Scene::new();
    let reinit = Proposal::ReInit { group_id: b"next"[..].into(), version: 1, suite: 1, extensions: Vec::new() };
    let refusal = Refusal::Unsupported(Feature::ReInit);
    scene.refused(Bend { proposals: &pushed(&reinit), ..Bend::none() }, refusal);
    scene.refused(Bend { proposals: &|all| *all = vec![by_value(reinit.clone())], ..Bend::none() }, refusal);
    scene.refused(Bend { removes: &[2], proposals: &pushed(&reinit), ..Bend::none() }, refusal);
}

/// MLS M94.
#[test]
fn group_context_extensions_are_refused() {
    let scene = Scene::new();
    let one = |extension_type| vec![Extension { extension_type, data: vec![0, 0, 0].into() }];
    for extensions in [Vec::new(), one(3), one(5), one(0x0a0a)] {
        let proposal = Proposal::GroupContextExtensions(extensions);
        let refusal = Refusal::Unsupported(Feature::GroupContextExtensions);
        scene.refused(Bend { proposals: &pushed(&proposal), ..Bend::none() }, refusal);
    }
}

/// MLS M95.
#[test]
fn an_external_init_of_a_member_is_refused() {
    let scene = Scene::new();
    let base = &scene.members[0].epoch;
    let key = base.secrets.external_key(SUITE).public;
    let seed = zeroize::Zeroizing::new([7; 32]);
    let (kem_output, init) = SUITE.encapsulate(key.as_slice(), crate::mls::schedule::EXTERNAL_INIT, &seed).unwrap();
    let init = crate::secret::Secret::new(*init);
    let external = Proposal::ExternalInit { kem_output: kem_output.into() };
    for init in [&init, &base.secrets.init] {
        let bend = Bend { proposals: &pushed(&external), init: Some(init), ..Bend::none() };
        scene.refused(bend, Refusal::Proposals);
    }
}

/// MLS M96.
#[test]
fn a_remove_of_a_blank_leaf_is_refused() {
    let scene = Scene::new();
    for leaf in [5, 7, 8, u32::MAX] {
        scene.refused_unlike(Bend::none(), Bend { removes: &[leaf], ..Bend::none() }, Refusal::NoSuchLeaf);
    }
}

/// MLS M97.
#[test]
fn a_commit_that_removes_its_maker_is_refused() {
    let scene = Scene::new();
    for removes in [&[0][..], &[2, 0]] {
        scene.refused_unlike(Bend::none(), Bend { removes, ..Bend::none() }, Refusal::Proposals);
    }
}

/// MLS M98.
#[test]
fn a_leaf_removed_twice_is_refused() {
    let scene = Scene::new();
    let good = Bend { removes: &[2], ..Bend::none() };
    scene.refused_unlike(good, Bend { removes: &[2, 2], ..Bend::none() }, Refusal::Proposals);
}

/// Another signature key of a device of this name.
fn again(scene: &Scene, name: &str) -> KeyPackage {
    let mut chance = scene.chance();
    let seed = chance.bytes();
    let person = Person::of(Identity::device_with(name, seed, &mut chance));
    package_with(&person, &mut chance, |_| {}).1
}

/// MLS M99.
#[test]
fn a_device_added_twice_is_refused() {
    let scene = Scene::new();
    let (one, other) = (again(&scene, "new"), again(&scene, "new"));
    let good = Bend { adds: std::slice::from_ref(&one), ..Bend::none() };
    let twice = [one.clone(), other];
    scene.refused_unlike(good, Bend { adds: &twice, ..Bend::none() }, Refusal::DeviceTwice);
    scene.refused_unlike(good, Bend { adds: &[one.clone(), one.clone()], ..Bend::none() }, Refusal::KeyTwice);
}

/// MLS M100.
#[test]
fn a_device_that_is_there_is_added_only_in_its_place() {
    let scene = Scene::new();
    let bob = [again(&scene, "2")];
    let in_place = Bend { adds: &bob, removes: &[2], ..Bend::none() };
    let entered = scene.hear(3, &scene.forge(in_place).bytes).unwrap();
    assert_eq!(entered.epoch.tree().leaf(2).unwrap().node(), Ok(bob[0].leaf.clone()));
    scene.refused(Bend { adds: &bob, ..Bend::none() }, Refusal::DeviceTwice);
    scene.refused_unlike(Bend::none(), Bend { removes: &[3], adds: &bob, ..Bend::none() }, Refusal::DeviceTwice);
}

/// MLS M101.
#[test]
fn an_add_takes_the_leaf_that_a_remove_freed() {
    let scene = Scene::new();
    let adds = [again(&scene, "first"), again(&scene, "second")];
    let orders: [&dyn Fn(&mut Vec<ProposalOrRef>); 3] = [&|_| {}, &|all| all.reverse(), &|all| all.rotate_left(1)];
    for (proposals, first) in orders.into_iter().zip([0, 1, 1]) {
        let forged = scene.forge(Bend { adds: &adds, removes: &[2], proposals, ..Bend::none() });
        let entered = scene.hear(3, &forged.bytes).unwrap();
        let leaf = |index| entered.epoch.tree().leaf(index).unwrap().node().unwrap();
        assert_eq!((leaf(2), leaf(5)), (adds[first].leaf.clone(), adds[1 - first].leaf.clone()));
        assert_eq!(entered.epoch.tree(), &forged.tree);
    }
}

/// MLS M102.
#[test]
fn a_commit_without_its_psk_is_refused() {
    let scene = Scene::new();
    let package = [again(&scene, "new")];
    let without = |all: &mut Vec<ProposalOrRef>| {
        all.retain(|proposal| !matches!(proposal, ProposalOrRef::Proposal(Proposal::PreSharedKey(_))));
    };
    scene.refused(Bend { proposals: &without, ..Bend::none() }, Refusal::Psk);
    scene.refused(Bend { removes: &[2], proposals: &without, ..Bend::none() }, Refusal::Psk);
    scene.refused(Bend { adds: &package, proposals: &without, ..Bend::none() }, Refusal::Psk);
}

/// MLS M103.
#[test]
fn a_second_psk_is_refused() {
    let scene = Scene::new();
    scene.refused(Bend { proposals: &|all| all.push(all[0].clone()), ..Bend::none() }, Refusal::Psk);
    for id in [&b"psk"[..], b"other"] {
        let bend = |all: &mut Vec<ProposalOrRef>| all.push(psk_proposal(id, &NONCE));
        scene.refused(Bend { proposals: &bend, ..Bend::none() }, Refusal::Psk);
    }
}

/// MLS M104.
#[test]
fn a_resumption_psk_is_refused() {
    let scene = Scene::new();
    let refusal = Refusal::Unsupported(Feature::ResumptionPsk);
    for usage in [1, 2, 3, 0, 9] {
        let kind = PskKind::Resumption { usage, group_id: b"room"[..].into(), epoch: 1 };
        let psk = Proposal::PreSharedKey(PreSharedKeyId { kind, nonce: NONCE[..].into() });
        scene.refused(Bend { proposals: &pushed(&psk), ..Bend::none() }, refusal);
        scene.refused(Bend { proposals: &|all| *all = vec![by_value(psk.clone())], ..Bend::none() }, refusal);
    }
}

/// MLS M105.
#[test]
fn a_psk_nonce_of_another_length_is_refused() {
    let scene = Scene::new();
    for length in [0, 31, 33] {
        let bend = |all: &mut Vec<ProposalOrRef>| all[0] = psk_proposal(b"psk", &vec![7; length]);
        scene.refused(Bend { proposals: &bend, ..Bend::none() }, Refusal::Psk);
    }
    assert_eq!(crate::mls::commit::check_psk_id(&external_psk(b"psk", &NONCE)), Ok(()));
}

/// MLS M106.
#[test]
fn a_commit_whose_psk_is_not_there_waits() {
    let scene = Scene::new();
    let draft = scene.members[3].epoch.read(&scene.forge(Bend::none()).bytes).unwrap();
    assert_eq!((draft.psk_id(), draft.closed()), (Some(&b"psk"[..]), None));
    assert_eq!(draft.finish(None).err(), Some(Refusal::Psk));
    let wrong = Chance::new("wrong").secret();
    assert_eq!(draft.finish(Some(&wrong)).err(), Some(Refusal::ConfirmationTag));
    assert!(draft.finish(Some(&scene.psk)).is_ok());
}

/// MLS M107.
#[test]
fn the_psk_nonce_is_fresh() {
    let scene = Scene::new();
    let (member, maker) = (&scene.members[0], scene.members[0].person.maker());
    let plan = || Plan { psk_id: b"psk".to_vec(), ..Plan::default() };
    let mut entropy = Recorded::new(scene.chance());
    let made = member.epoch.draft(plan(), &maker, &mut entropy).unwrap();
    let made = made.finish(Some(&scene.psk), &maker, &mut entropy).unwrap();
    let commit = PublicCommit::parse(&made.bytes).unwrap().commit().unwrap().clone();
    let nonce = |proposal: &ProposalOrRef| match proposal {
        ProposalOrRef::Proposal(Proposal::PreSharedKey(id)) => Some(id.nonce.as_slice().to_vec()),
        _ => None,
    };
    let nonces: Vec<_> = commit.proposals.iter().filter_map(nonce).collect();
    let [nonce] = &nonces[..] else { panic!("one PSK") };
    assert_eq!(entropy.drawn.iter().filter(|drawn| *drawn == nonce).count(), 1);
    let failing = &mut Seeded::failing_after("nonce", 0);
    assert!(matches!(member.epoch.draft(plan(), &maker, failing).err(), Some(MakeError::Entropy(_))));
}

/// Nothing is made of a secret that is not there (SPEC §6.3).
#[test]
fn no_commit_is_made_where_randomness_fails() {
    let scene = Scene::new();
    let (member, maker) = (&scene.members[0], scene.members[0].person.maker());
    let plan = || Plan { psk_id: b"psk".to_vec(), ..Plan::default() };
    let mut draws = 0;
    while member.epoch.draft(plan(), &maker, &mut Seeded::failing_after("path", draws)).is_err() {
        draws += 1;
    }
    // The nonce, the leaf, the path and a ciphertext for each node beside it.
    assert_eq!(draws, 6);
}
