//! Bad input: each kind has its own code, nothing is lost, nothing is blocked, memory stays bounded.

use dmls::effect::{Applied, Missing, Need, Notice, Verdict};
use dmls::error::Reason;
use dmls::group::{inspect_commit, inspect_message};
use dmls::id::{Locator, Timestamp};
use dmls::input::Input;

use crate::world::{Event, World};

/// Alice and Bob in one epoch, with one commit and one message of Alice's that Bob has not seen.
struct Scene {
    world: World,
    commit: Vec<u8>,
    message: Vec<u8>,
}

fn scene() -> Scene {
    let mut world = World::new();
    for name in ["alice", "bob", "mallory"] {
        world.device(name, 1);
    }
    world.join_room("alice");
    world.create("alice");
    world.join_room("bob");
    world.join_room("mallory");
    world.sync("alice");
    world.sync("bob");
    world.sync("mallory");
    world.say("alice", "unseen");
    world.commit("alice", true);
    let bytes = |event: &Event| match event {
        Event::Commit { bytes, .. } | Event::Message { bytes, .. } | Event::Ask { bytes } => bytes.clone(),
    };
    let events: Vec<_> = world.events().into_iter().map(|(_, event)| event).collect();
    let (commit, message) = (bytes(&events[events.len() - 1]), bytes(&events[events.len() - 2]));
    Scene { world, commit, message }
}

fn commit_of(bytes: Vec<u8>) -> Input {
    Input::Commit { bytes, locator: Some(Locator("$junk".into())), from: "mallory".into() }
}

fn message_of(bytes: Vec<u8>) -> Input {
    message_from("alice", bytes)
}

fn message_from(user: &str, bytes: Vec<u8>) -> Input {
    Input::Message { bytes, locator: Locator("$junk".into()), from: user.into(), commit: None }
}

fn reason(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Rejected { reason, .. } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// The bytes with `old` replaced by `new` of equal length, wherever it stands.
fn patched(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut out = bytes.to_vec();
    let at = out.windows(old.len()).position(|window| window == old).expect("the bytes hold the pattern");
    out[at..at + old.len()].copy_from_slice(new);
    out
}

/// Malformed TLS is malformed, however it is cut (SPEC §6.1).
#[test]
fn every_truncation_is_refused() {
    let Scene { mut world, commit, message } = scene();
    for bytes in [&commit, &message] {
        for end in 0..bytes.len() {
            let cut = bytes[..end].to_vec();
            assert!(inspect_commit(&cut).is_err() && inspect_message(&cut).is_err(), "cut at {end}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(inspect_commit(&longer).is_err() && inspect_message(&longer).is_err());
    }
    for end in [0, 1, 2, 4, 40, commit.len() - 1] {
        let reason = reason(world.input("bob", commit_of(commit[..end].to_vec())));
        assert!(matches!(reason, Reason::Malformed), "cut at {end}: {reason:?}");
    }
    assert_eq!(reason(world.input("bob", message_of(message[..50].to_vec()))), Reason::Malformed);
}

/// Only what a signature shows is blamed on a device: who alters a commit does not make its maker look bad (SPEC §6.1).
#[test]
fn an_altered_commit_blames_nobody() {
    let Scene { mut world, commit, .. } = scene();
    let base = inspect_commit(&commit).unwrap().base;
    let here = base.locator.0.as_bytes();
    let elsewhere = patched(&commit, here, &[&here[..here.len() - 1], b"?"].concat());
    let mut tag = commit.clone();
    *tag.last_mut().unwrap() ^= 1;
    for (altered, expected) in [(elsewhere, Reason::Forged), (tag, Reason::Forged)] {
        match world.input("bob", commit_of(altered)) {
            Verdict::Rejected { reason, who } => assert_eq!((reason, who), (expected, None)),
            other => panic!("not refused: {other:?}"),
        }
    }
    assert!(matches!(world.input("bob", commit_of(commit)), Verdict::Applied(_)));
}

/// A message is no commit and a commit is no message (SPEC §2.2).
#[test]
fn kinds_are_not_mixed_up() {
    let Scene { mut world, commit, message } = scene();
    assert_eq!(reason(world.input("bob", commit_of(message))), Reason::WrongKind);
    assert_eq!(reason(world.input("bob", message_of(commit))), Reason::WrongKind);
}

/// A version byte that this build does not know is refused by name (SPEC §2.3).
#[test]
fn unknown_versions_have_a_name() {
    let Scene { mut world, commit, message } = scene();
    let mut newer = commit.clone();
    newer[1] = 9;
    assert_eq!(reason(world.input("bob", commit_of(newer))), Reason::UnknownVersion);
    // The first byte of the authenticated data stands right before the base's id.
    let base = inspect_commit(&commit).unwrap().base.id;
    let old = [&[2u8][..], base.as_bytes()].concat();
    let new = [&[3u8][..], base.as_bytes()].concat();
    assert_eq!(reason(world.input("bob", commit_of(patched(&commit, &old, &new)))), Reason::UnknownVersion);
    let epoch = inspect_message(&message).unwrap().epoch;
    let old = [&[2u8][..], epoch.as_bytes()].concat();
    let new = [&[3u8][..], epoch.as_bytes()].concat();
    assert_eq!(reason(world.input("bob", message_of(patched(&message, &old, &new)))), Reason::UnknownVersion);
}

/// Nothing of one room counts in another.
#[test]
fn another_room_is_another_room() {
    let Scene { mut world, commit, message } = scene();
    let other = |bytes: &[u8]| patched(bytes, b"!room", b"!moor");
    assert_eq!(reason(world.input("bob", commit_of(other(&commit)))), Reason::OtherGroup);
    assert_eq!(reason(world.input("bob", message_of(other(&message)))), Reason::OtherGroup);
}

/// Every single changed byte of a commit is refused or leaves it waiting for what does not exist; then the real one counts.
#[test]
fn no_flipped_byte_counts() {
    let Scene { mut world, commit, .. } = scene();
    let heads = world.peers["bob"].group.head_ids();
    for at in (0..commit.len()).step_by(3) {
        let mut bytes = commit.clone();
        bytes[at] ^= 0x40;
        let verdict = world.input("bob", commit_of(bytes));
        assert!(matches!(verdict, Verdict::Rejected { .. } | Verdict::Deferred { .. }), "byte {at}: {verdict:?}");
        assert_eq!(world.peers["bob"].group.head_ids(), heads, "byte {at}");
    }
    assert!(matches!(world.input("bob", commit_of(commit)), Verdict::Applied(Applied::Commit { .. })));
}

/// The same of a message: the plaintext comes from the real one only, and that one still opens.
#[test]
fn no_flipped_byte_of_a_message_opens() {
    let Scene { mut world, message, .. } = scene();
    for at in 0..message.len() {
        let mut bytes = message.clone();
        bytes[at] ^= 1;
        let verdict = world.input("bob", message_of(bytes));
        assert!(!matches!(verdict, Verdict::Applied(_)), "byte {at}");
    }
    assert!(matches!(world.input("bob", message_of(message)), Verdict::Applied(Applied::Message(_))));
}

/// A commit on a base that nobody knows waits, is listed as a need, and is given up when its time is up (SPEC §6.2).
#[test]
fn an_unknown_base_is_waited_for_and_given_up() {
    let Scene { mut world, commit, .. } = scene();
    let base = inspect_commit(&commit).unwrap().base.id;
    let forged = patched(&commit, base.as_bytes(), &[7; 32]);
    let verdict = world.input("bob", commit_of(forged));
    assert!(matches!(&verdict, Verdict::Deferred { on: Missing::Commit { epoch, .. }, .. } if epoch.0 == [7; 32]));
    let needs = world.peers["bob"].group.needs(world.now);
    assert!(needs.iter().any(|need| matches!(need, Need::Commit { epoch, .. } if epoch.0 == [7; 32])));
    for _hour in 0..24 {
        world.tick(3_600_000);
        world.input("bob", Input::Tick);
    }
    assert!(world.peers["bob"].group.needs(world.now).is_empty());
    assert_eq!(world.peers["bob"].group.next_wake(Timestamp(0)), None);
}

/// Replays change nothing, a commit's and a message's (SPEC §2.9).
#[test]
fn replays_change_nothing() {
    let Scene { mut world, commit, message } = scene();
    assert!(matches!(world.input("bob", message_of(message.clone())), Verdict::Applied(_)));
    assert!(matches!(world.input("bob", commit_of(commit.clone())), Verdict::Applied(_)));
    for _ in 0..3 {
        assert!(matches!(world.input("bob", commit_of(commit.clone())), Verdict::Known));
        assert_eq!(reason(world.input("bob", message_of(message.clone()))), Reason::BeyondWindow);
    }
    world.restart("bob");
    assert_eq!(reason(world.input("bob", message_of(message))), Reason::BeyondWindow);
}

/// A copy by somebody else that comes first uses nothing up: the message itself still opens (SPEC §2.9).
#[test]
fn a_copy_by_another_sender_suppresses_nothing() {
    let Scene { mut world, message, .. } = scene();
    for _ in 0..2 {
        assert_eq!(reason(world.input("bob", message_from("mallory", message.clone()))), Reason::RejectedSender);
    }
    world.restart("bob");
    assert!(matches!(world.input("bob", message_from("alice", message)), Verdict::Applied(Applied::Message(_))));
}

/// A used message key is gone from the store, not only from memory (SPEC §7.3).
#[test]
fn used_keys_are_gone_after_a_restart() {
    let Scene { mut world, message, .. } = scene();
    assert!(matches!(world.input("bob", message_of(message.clone())), Verdict::Applied(_)));
    world.restart("bob");
    assert_eq!(reason(world.input("bob", message_of(message))), Reason::BeyondWindow);
}

/// What a removed device commits on an old epoch is read, but steers nothing.
#[test]
fn a_removed_device_does_not_steer() {
    let mut world = scene().world;
    for name in ["alice", "bob", "mallory"] {
        world.sync(name);
    }
    world.leave_room("mallory");
    let keep = world.peers["mallory"].group.canonical();
    world.sync("alice");
    world.sync("bob");
    // Mallory has not been told, and commits on what she holds; she even wins every race.
    world.commit("mallory", true);
    assert_ne!(world.peers["mallory"].group.canonical(), keep);
    world.take_in("bob");
    world.take_in("alice");
    let canonical = world.canonical("bob");
    assert_eq!(canonical, world.canonical("alice"));
    assert!(world.peers["bob"].group.due(world.now).at.is_none(), "her head is not merged");
    let before = world.texts("mallory");
    world.send("bob", "after the removal");
    world.take_in("mallory");
    assert_eq!(world.texts("mallory"), before);
}

/// Whose membership ended is not in again by the same one, and no epoch of before is gone back to (SPEC §5.4).
#[test]
fn removal_is_sticky() {
    let mut world = scene().world;
    for name in ["alice", "bob", "mallory"] {
        world.sync(name);
    }
    let desired_before = world.desired("alice");
    world.leave_room("mallory");
    world.sync("alice");
    assert!(!world.peers["alice"].group.readers(&world.canonical("alice").unwrap()).unwrap().iter().any(is_mallory));
    // A state reset shows the old membership again, without a new join.
    world.input("alice", Input::Desired(desired_before));
    for restarted in [false, true] {
        if restarted {
            world.restart("alice");
        }
        let due = world.peers["alice"].group.due(world.now);
        assert_eq!((due.add, due.resolve), (Vec::new(), Vec::new()));
        let readers = world.peers["alice"].group.readers(&world.canonical("alice").unwrap()).unwrap();
        assert!(!readers.iter().any(is_mallory));
    }
    // A join that was not known then brings her back.
    world.join_room("mallory");
    for _ in 0..2 {
        ["alice", "bob", "mallory"].iter().for_each(|name| world.sync(name));
    }
    world.send("alice", "welcome back");
    world.sync("mallory");
    assert!(world.texts("mallory").contains("welcome back"));
}

fn is_mallory(device: &dmls::id::Device) -> bool {
    device.user == "mallory"
}

/// Two commits of one device on one base are kept and told, once; so is a third (SPEC §2.8).
#[test]
fn equivocation_is_kept_and_told() {
    let mut world = scene().world;
    for name in ["alice", "bob", "mallory"] {
        world.sync(name);
    }
    let old = world.peers["mallory"].store.clone();
    let mut commits = Vec::new();
    for round in 0..3 {
        world.peers.get_mut("mallory").unwrap().store = old.clone();
        world.restart("mallory");
        let mut rng = crate::world::Seeded::new(1000 + round);
        let peer = world.peers.get_mut("mallory").unwrap();
        let orders = dmls::group::Orders { update: true, ..Default::default() };
        let made = peer.group.carry_out(orders, world.now, &mut rng).unwrap().persist(&mut peer.store).unwrap();
        for publish in made.publish {
            if let dmls::effect::Publish::Commit(commit) = publish {
                commits.push(commit.bytes);
            }
        }
    }
    assert!(matches!(world.input("bob", commit_of(commits[0].clone())), Verdict::Applied(_)));
    assert!(matches!(world.input("bob", commit_of(commits[1].clone())), Verdict::Applied(_)));
    assert!(matches!(world.input("bob", commit_of(commits[2].clone())), Verdict::Applied(_)));
    let told = |notice: &Notice| matches!(notice, Notice::Equivocation { device, .. } if is_mallory(device));
    assert_eq!(world.peers["bob"].notices.iter().filter(|notice| told(notice)).count(), 1);
    let marked = world.peers["bob"].group.epochs().into_iter().filter(|epoch| epoch.equivocation).count();
    assert_eq!(marked, 3);
}

/// Alice's host hides Mallory's device for a while. Her removal covers nothing once it is shown again, so she commits on the
/// same base once more, and resolves what she made before: that hides nothing from anybody (SPEC §2.8).
#[test]
fn who_resolves_an_own_commit_does_not_equivocate() {
    let mut world = scene().world;
    for name in ["alice", "bob", "mallory"] {
        world.sync(name);
    }
    let base = world.canonical("alice");
    let all = world.desired("alice");
    let mut fewer = all.clone();
    fewer.retain(|device| !is_mallory(device));
    world.input("alice", Input::Desired(fewer));
    world.commit("alice", false);
    let without = world.canonical("alice").unwrap();
    world.input("alice", Input::Desired(all));
    world.commit("alice", false);
    let group = &world.peers["alice"].group;
    let merged = group.epoch(&group.canonical().unwrap()).unwrap();
    assert_eq!((merged.base, merged.resolves), (base, vec![without]));
    world.take_in("bob");
    assert_eq!(world.canonical("bob"), world.canonical("alice"));
    assert!(world.peers["bob"].notices.iter().all(|notice| !matches!(notice, Notice::Equivocation { .. })));
    assert!(world.peers["bob"].group.epochs().iter().all(|epoch| !epoch.equivocation));
}

/// Bob and Carol see three commits of Mallory's on one base in different order, and refuse different ones. What either
/// builds on is taken in by the other all the same (SPEC §2.8).
#[test]
fn what_others_build_on_counts_as_a_third() {
    builds_on_a_third(1);
}

/// The same, with more commits of Mallory's between her third and what is built on it (hostile 95).
#[test]
fn what_others_build_on_counts_from_afar() {
    builds_on_a_third(3);
}

fn builds_on_a_third(length: usize) {
    let mut world = World::new();
    let names = ["alice", "bob", "carol", "mallory"];
    for name in names {
        world.device(name, 1);
        world.join_room(name);
    }
    world.create("alice");
    names.iter().for_each(|name| world.sync(name));
    let old = world.peers["mallory"].store.clone();
    let mut hers = Vec::new();
    for seed in 0..3 {
        let mallory = world.peers.get_mut("mallory").unwrap();
        mallory.store = old.clone();
        mallory.rng = crate::world::Seeded::new(2_000 + seed);
        world.restart("mallory");
        let shown = world.events().len();
        (0..length).for_each(|_| world.commit("mallory", true));
        hers.push(world.events().split_off(shown));
    }
    for (name, order) in [("bob", [0, 1, 2]), ("carol", [2, 1, 0])] {
        for (locator, event) in order.iter().flat_map(|at| &hers[*at]) {
            world.peers.get_mut(name).unwrap().seen.insert(locator.clone());
            world.deliver(name, locator, "mallory", event);
        }
        world.commit(name, true);
    }
    for name in ["bob", "carol"] {
        world.take_in(name);
        for (locator, event) in hers.iter().flatten() {
            // Fetched again, as the waiting commit asks for.
            world.deliver(name, locator, "mallory", event);
        }
    }
    for _ in 0..2 {
        ["bob", "carol"].iter().for_each(|name| world.sync(name));
    }
    assert_eq!(world.canonical("bob"), world.canonical("carol"));
    world.send("carol", "together again");
    world.sync("bob");
    assert!(world.texts("bob").contains("together again"));
}

/// A thousand inputs of one sender that wait for nothing real fill that sender's share only (SPEC §6.2).
#[test]
fn a_flood_fills_its_own_share_only() {
    let Scene { mut world, commit, message } = scene();
    let base = inspect_commit(&commit).unwrap().base.id;
    let mut refused = 0;
    for junk in 0u32..1_000 {
        let mut fake = [9; 32];
        fake[..4].copy_from_slice(&junk.to_be_bytes());
        let verdict = world.input("bob", commit_of(patched(&commit, base.as_bytes(), &fake)));
        refused += usize::from(matches!(verdict, Verdict::Rejected { reason: Reason::TooManyPending, .. }));
    }
    assert_eq!(refused, 500);
    let held: usize = world.peers["bob"].group.needs(world.now).len();
    assert_eq!(held, 500);
    // Nobody else is disturbed, and sending is not blocked.
    let from_alice =
        Input::Message { bytes: message, locator: Locator("$real".into()), from: "alice".into(), commit: None };
    assert!(matches!(world.input("bob", from_alice), Verdict::Applied(Applied::Message(_))));
    world.say("bob", "still here");
}

/// A proposal by itself, or a commit that takes one by reference, has no place here (SPEC §3.1).
#[test]
fn proposals_do_not_travel() {
    let Scene { mut world, commit, .. } = scene();
    // RFC 9420 §6: version, wire format, group, epoch number, sender, authenticated data, content type.
    let after_group = 4 + 1 + usize::from(commit[4]);
    let data = after_group + 8 + 5;
    let (length, prefix) = match commit[data] >> 6 {
        0 => (usize::from(commit[data]), 1),
        _ => (usize::from(commit[data] & 0x3f) << 8 | usize::from(commit[data + 1]), 2),
    };
    let outside = &commit[..data + prefix + length];
    let framed = |kind: u8, content: &[u8]| [outside, &[kind], content, &[0, 0, 0]].concat();
    assert_eq!(commit[outside.len()], 3, "it is a commit");
    let remove = [0, 3, 0, 0, 0, 1];
    assert_eq!(reason(world.input("bob", commit_of(framed(2, &remove)))), Reason::WrongKind);
    let reference = [&[34, 2, 32][..], &[7; 32], &[0]].concat();
    assert_eq!(reason(world.input("bob", commit_of(framed(3, &reference)))), Reason::ProposalByReference);
}

/// A Welcome counts only with the commit that made its epoch, on the base it names (SPEC §3.8).
#[test]
fn a_welcome_needs_its_commit() {
    let mut world = World::new();
    for name in ["alice", "bob"] {
        world.device(name, 1);
    }
    world.join_room("alice");
    world.create("alice");
    world.join_room("bob");
    world.commit("alice", false);
    let real = world.peers["bob"].welcomes[0].clone();
    let now = world.now;
    let mut refuse = |change: &dyn Fn(&mut dmls::input::Welcome)| {
        let mut welcome = real.clone();
        change(&mut welcome);
        let peer = world.peers.get_mut("bob").unwrap();
        let outcome = peer.group.join(welcome, &mut peer.packages, now, &mut peer.rng).unwrap();
        reason(outcome.persist(&mut peer.store).unwrap().verdict)
    };
    assert_eq!(refuse(&|welcome| welcome.epoch.0[0] ^= 1), Reason::WrongCommit);
    assert_eq!(refuse(&|welcome| welcome.base = crate::world::no_proof()), Reason::WrongCommit);
    assert_eq!(refuse(&|welcome| welcome.grant[40] ^= 1), Reason::Forged);
    assert_eq!(refuse(&|welcome| welcome.grant.clear()), Reason::Forged);
    assert_eq!(refuse(&|welcome| welcome.commit = patched(&welcome.commit, b"!room", b"!moor")), Reason::OtherGroup);
    assert_eq!(refuse(&|welcome| welcome.bytes.truncate(30)), Reason::Malformed);
    world.sync("bob");
    assert_eq!(world.canonical("bob"), world.canonical("alice"), "after all that the real one still works");
}

/// A joiner cannot check the membership tag of its Welcome's commit, and is in the epoch of all others whatever it is.
/// What such a joiner serves counts for nobody who can check it, and the real commit does (SPEC §3.8).
#[test]
fn a_membership_tag_is_for_the_members_of_the_base() {
    let mut world = World::new();
    for name in ["alice", "bob", "carol"] {
        world.device(name, 1);
    }
    world.join_room("alice");
    world.create("alice");
    world.join_room("carol");
    world.sync("alice");
    world.sync("carol");
    world.join_room("bob");
    world.commit("alice", false);
    let made = world.canonical("alice");
    let mut welcome = world.peers.get_mut("bob").unwrap().welcomes.remove(0);
    *welcome.commit.last_mut().unwrap() ^= 1;
    world.welcome("bob", welcome);
    assert_eq!(world.canonical("bob"), made);
    let from = world.peers["carol"].own.device().clone();
    world.input("bob", Input::CommitRequest { epochs: made.into_iter().collect(), from });
    assert_ne!(world.canonical("carol"), made, "what Bob serves counts");
    world.take_in("carol");
    assert_eq!(world.canonical("carol"), made);
}

/// Everybody is offline: an invited device comes in by external commit, and the others take it in (SPEC §5.5).
#[test]
fn an_invited_device_need_not_wait() {
    let mut world = World::new();
    for name in ["alice", "bob", "carol"] {
        world.device(name, 1);
    }
    world.join_room("alice");
    world.create("alice");
    world.join_room("bob");
    world.sync("alice");
    world.sync("bob");
    world.join_room("carol");
    world.join_externally("carol");
    world.say("carol", "nobody was here");
    for name in ["alice", "bob", "carol"] {
        world.sync(name);
    }
    assert_eq!(world.canonical("alice"), world.canonical("carol"));
    assert!(world.texts("alice").contains("nobody was here"));
    // A GroupInfo of another epoch than it is said to be is not believed.
    assert!(!world.texts("carol").is_empty());
}

/// A device outside D comes in by external commit: it reads nothing of what is sent, and is removed (SPEC §3.11).
#[test]
fn an_uninvited_device_reads_nothing() {
    let mut world = World::new();
    for name in ["alice", "bob", "eve"] {
        world.device(name, 1);
    }
    world.join_room("alice");
    world.create("alice");
    world.join_room("bob");
    world.sync("alice");
    world.sync("bob");
    world.join_externally("eve");
    for name in ["alice", "bob"] {
        world.take_in(name);
        assert!(matches!(world.peers[name].group.readiness(), dmls::effect::Readiness::CommitFirst(_)), "{name}");
    }
    world.send("bob", "to Alice alone");
    world.sync("alice");
    world.take_in("eve");
    assert!(world.texts("alice").contains("to Alice alone"));
    assert!(world.texts("eve").is_empty());
    assert_eq!(world.peers["bob"].group.readers(&world.canonical("bob").unwrap()).unwrap().len(), 2);
}
