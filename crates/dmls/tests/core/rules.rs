//! The rules of the specification that the stories do not show by themselves.

use dmls::device::{Credential, CredentialError, OwnDevice, SigningKey};
use dmls::effect::{Applied, EpochKind, Need, Notice, Publish, Readiness, Verdict};
use dmls::error::{LoadError, Reason};
use dmls::group::{Group, Settings, verify_content};
use dmls::id::{Device, EpochId, LeafIndex, Sequence};
use dmls::input::Input;
use dmls::journal::{Journal, Records, Table, Write};
use dmls::package::KeyPackages;
use dmls::suite::X25519_ED25519;

use crate::world::{Seeded, World, room};

/// `names` in one group made by the first, all on side 1 unless said otherwise.
fn group_of(names: &[(&str, u8)]) -> World {
    let mut world = World::new();
    for (name, side) in names {
        world.device(name, *side);
    }
    world.join_room(names[0].0);
    world.create(names[0].0);
    for (name, _) in &names[1..] {
        world.join_room(name);
    }
    world.sync(names[0].0);
    for (name, _) in names {
        world.sync(name);
    }
    world
}

/// A thief who copied Dan's device before he rekeyed opens nothing of the merged epoch, although its base may be one
/// that he holds: the merge value holds what he lacks (SPEC §3.5).
#[test]
fn a_merge_keeps_what_one_side_healed() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)]);
    world.device("erin", 1);
    world.cut();
    // Both sides differ, so that they are merged.
    world.join_room("erin");
    for name in ["alice", "bob", "erin"] {
        world.sync(name);
    }
    let thief = world.peers["dan"].store.clone();
    world.commit("dan", true);
    world.sync("carol");
    world.heal();
    for name in ["alice", "bob", "carol", "dan"] {
        world.sync(name);
    }
    for name in ["alice", "bob", "carol", "dan"] {
        world.sync(name);
    }
    world.send("bob", "healed for Dan");
    world.sync("dan");
    assert!(world.texts("dan").contains("healed for Dan"));
    let merged = world.canonical("bob").unwrap();
    assert_eq!(world.peers["bob"].group.epoch(&merged).unwrap().kind, EpochKind::Merge);
    // The thief goes on from the copy, and is shown everything that lies in the room.
    world.peers.get_mut("dan").unwrap().store = thief;
    world.restart("dan");
    for (locator, event) in world.events() {
        let verdict = world.deliver("dan", &locator, "anybody", &event);
        let opened = matches!(&verdict, Verdict::Applied(Applied::Message(opened)) if opened.epoch == merged);
        assert!(!opened, "the thief reads the merged epoch");
    }
    assert!(world.peers["dan"].group.epoch(&merged).is_none(), "the thief cannot even enter the merged epoch");
}

/// Dan healed on the side that is not the base: he updates before he speaks (SPEC §3.10).
#[test]
fn who_healed_on_another_fork_updates_before_speaking() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 2), ("dan", 2)]);
    for name in ["erin", "frank"] {
        world.device(name, 1);
    }
    world.cut();
    world.join_room("erin");
    world.join_room("frank");
    world.sync("alice");
    for name in ["bob", "erin", "frank"] {
        world.sync(name);
    }
    world.commit("dan", true);
    world.sync("carol");
    world.heal();
    world.sync("bob");
    world.take_in("dan");
    let Readiness::CommitFirst(due) = world.peers["dan"].group.readiness() else { panic!("Dan may speak at once") };
    assert!(due.update && due.remove.is_empty());
    assert!(matches!(world.peers["bob"].group.readiness(), Readiness::Ready(_)), "nobody else has to");
    world.send("dan", "fresh");
    world.take_in("erin");
    assert!(world.texts("erin").contains("fresh"));
}

/// Who healed, was removed by commits that never came, and was added again by a package of before heals once more, and not
/// for ever (SPEC §3.10).
#[test]
fn healing_again_is_done_once() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 1)]);
    world.commit("alice", true);
    ["bob", "carol"].iter().for_each(|name| world.sync(name));
    world.leave_room("alice");
    world.sync("bob");
    for name in ["carol", "bob"] {
        world.take_in(name);
        world.commit(name, true);
    }
    for (locator, _) in world.events() {
        world.peers.get_mut("alice").unwrap().seen.insert(locator);
    }
    world.join_room("alice");
    world.sync("bob");
    world.take_in("alice");
    assert_eq!(world.canonical("alice"), world.canonical("bob"));
    let Readiness::CommitFirst(due) = world.peers["alice"].group.readiness() else { panic!("Alice may speak at once") };
    assert!(due.update, "{due:?}");
    world.commit("alice", false);
    assert!(matches!(world.peers["alice"].group.readiness(), Readiness::Ready(_)));
    world.restart("alice");
    assert!(matches!(world.peers["alice"].group.readiness(), Readiness::Ready(_)));
}

/// New traffic does not push the moment at which a merge is due (SPEC §3.3).
#[test]
fn traffic_does_not_postpone_a_merge() {
    let mut world = group_of(&[("alice", 1), ("bob", 2), ("carol", 1)]);
    world.device("erin", 1);
    world.cut();
    world.join_room("erin");
    world.sync("alice");
    world.commit("bob", true);
    world.heal();
    world.take_in("carol");
    let due = world.peers["carol"].group.due(world.now);
    assert_eq!(due.resolve.len(), 1);
    for round in 0..5 {
        world.tick(100);
        world.say("alice", &format!("chatter {round}"));
        world.take_in("carol");
        assert_eq!(world.peers["carol"].group.due(world.now).at, due.at);
    }
}

/// Ranks differ, so that those who could merge do not do it all at once (SPEC §3.3).
#[test]
fn merges_are_staggered() {
    let mut world = group_of(&[("alice", 1), ("bob", 2), ("carol", 1), ("dan", 1)]);
    world.device("erin", 1);
    world.cut();
    world.join_room("erin");
    world.sync("alice");
    world.commit("bob", true);
    world.heal();
    let mut moments: Vec<_> = ["alice", "bob", "carol", "dan"]
        .map(|name| {
            world.take_in(name);
            world.peers[name].group.due(world.now).at.unwrap()
        })
        .into();
    moments.sort();
    moments.dedup();
    assert_eq!(moments.len(), 4, "each has a moment of its own");
}

/// Two parts of a room see different devices: one removes what the other brings back. Each answer waits twice as long as
/// the one before (SPEC §3.3).
#[test]
fn who_disagrees_about_a_device_does_not_answer_for_ever() {
    let mut world = group_of(&[("alice", 1), ("bob", 2), ("carol", 2)]);
    let there = world.desired("bob");
    let mut here = there.clone();
    let carol = world.peers["carol"].own.device().clone();
    here.devices.remove(&carol);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        world.input("alice", Input::Desired(here.clone()));
        world.input("bob", Input::Desired(there.clone()));
        world.take_in("alice");
        let due = world.peers["alice"].group.due(world.now);
        assert_eq!(due.remove, std::slice::from_ref(&carol));
        pauses.push(due.at.unwrap().0 - world.now.0);
        world.tick(600_000);
        world.input("alice", Input::Desired(here.clone()));
        world.commit("alice", false);
        world.input("bob", Input::Desired(there.clone()));
        world.take_in("bob");
        assert!(!world.peers["bob"].group.due(world.now).resolve.is_empty(), "what Carol is in is a head beside");
        world.commit("bob", false);
    }
    assert!(pauses[0] < 4_000 && pauses[3] >= 4_000, "eight slots after it was undone three times: {pauses:?}");
}

/// A merge of a head that Carol never saw waits, is asked about after the grace, and opens with the answer (SPEC §3.9).
#[test]
fn merge_inputs_are_answered_to_those_they_belong_to() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 1)]);
    world.device("mallory", 1);
    world.commit("alice", true);
    world.commit("bob", true);
    world.take_in("bob");
    world.commit("bob", true);
    let merged = world.canonical("bob").unwrap();
    // The head that was resolved is kept from Carol.
    let resolved = world.peers["bob"].group.epoch(&merged).unwrap().resolves[0];
    let kept = world.peers["bob"].group.epoch(&resolved).unwrap().epoch.locator;
    world.peers.get_mut("carol").unwrap().seen.insert(kept);
    world.take_in("carol");
    assert_ne!(world.canonical("carol"), Some(merged));
    let lacks = |need: &Need| matches!(need, Need::MergeValue { epoch, .. } if *epoch == merged);
    assert!(!world.peers["carol"].group.needs(world.now).iter().any(lacks), "not before the grace");
    world.tick(Settings::default().grace);
    assert!(world.peers["carol"].group.needs(world.now).iter().any(lacks));
    // A stranger is refused.
    let stranger = Device::new("mallory", "D");
    let verdict = world.input("bob", Input::MergeRequest { epoch: merged, from: stranger });
    assert!(matches!(verdict, Verdict::Rejected { reason: Reason::NotInEpoch, .. }));
    // A wrong answer changes nothing.
    let from = world.peers["alice"].own.device().clone();
    let wrong = zeroize::Zeroizing::new(vec![1; 32]);
    let reply = Input::MergeReply { epoch: merged, value: wrong, from };
    assert!(matches!(world.input("carol", reply.clone()), Verdict::Rejected { .. }));
    // Whoever gave it is not believed once more, and whoever cannot know is not at all.
    assert!(matches!(world.input("carol", reply), Verdict::Known));
    let (from, value) = (Device::new("mallory", "D"), zeroize::Zeroizing::new(vec![1; 32]));
    assert!(matches!(world.input("carol", Input::MergeReply { epoch: merged, value, from }), Verdict::Known));
    assert!(world.peers["carol"].group.needs(world.now).iter().any(lacks), "it goes on waiting");
    // The right one ends the wait; the world carries Bob's answer to Carol.
    let carol = world.peers["carol"].own.device().clone();
    world.input("bob", Input::MergeRequest { epoch: merged, from: carol });
    assert_eq!(world.canonical("carol"), Some(merged));
}

/// A commit that drops a device of D does not cover its base (SPEC §2.7); both are heads of who is in both (SPEC §2.6).
#[test]
fn who_drops_a_device_of_d_covers_nothing() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("mallory", 1)]);
    let base = world.canonical("alice").unwrap();
    // Mallory pretends that Bob's device is gone.
    let mut desired = world.desired("mallory");
    desired.retain(|device| device.user != "bob");
    world.input("mallory", Input::Desired(desired));
    world.commit("mallory", false);
    let evil = world.canonical("mallory").unwrap();
    for (name, heads) in [("alice", vec![base, evil]), ("bob", vec![base])] {
        world.take_in(name);
        let found: std::collections::BTreeSet<_> = world.peers[name].group.head_ids().into_iter().collect();
        assert_eq!(found, heads.into_iter().collect(), "{name}");
        assert_eq!(world.canonical(name), Some(base), "{name} goes on where Bob is");
    }
    world.facts();
    for _ in 0..2 {
        for name in ["alice", "bob", "mallory"] {
            world.sync(name);
        }
    }
    world.send("bob", "still here");
    world.sync("alice");
    assert!(world.texts("alice").contains("still here"));
}

/// Who left and joins anew is in again, and reads nothing of the time between.
#[test]
fn who_returns_to_the_room_is_in_again() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 1)]);
    world.leave_room("carol");
    world.send("alice", "while Carol is away");
    world.sync("bob");
    world.join_room("carol");
    for _ in 0..2 {
        for name in ["alice", "bob", "carol"] {
            world.sync(name);
        }
    }
    world.send("bob", "welcome back");
    world.sync("carol");
    for name in ["alice", "bob", "carol"] {
        assert_eq!(world.canonical(name), world.canonical("alice"), "{name}");
    }
    assert!(world.texts("carol").contains("welcome back"));
    assert!(!world.texts("carol").contains("while Carol is away"));
}

/// Beyond the number that may be held, old epochs are let go, from memory and store (SPEC §7.6); their stubs stay
/// (SPEC §7.10).
#[test]
fn old_epochs_are_let_go() {
    let mut world = group_of(&[("alice", 1), ("bob", 1)]);
    world.settings = Settings { max_held: 7, ..Settings::default() };
    world.restart("alice");
    let first = world.canonical("alice").unwrap();
    world.commit("bob", true);
    world.take_in("alice");
    let of_bob = world.canonical("alice").unwrap();
    for _ in 0..13 {
        world.commit("alice", true);
    }
    let held = |world: &World| world.peers["alice"].group.epochs().into_iter().filter(|epoch| epoch.held).count();
    assert_eq!(held(&world), 9, "seven of Alice's, one of Bob's, and the head");
    assert!(world.peers["alice"].group.holds(&of_bob), "nobody pushes out what others made");
    assert!(!world.peers["alice"].group.epoch(&first).unwrap().held);
    for table in ["dmls.secrets", "dmls.ratchet"] {
        let values = world.peers["alice"].store.scan(Table(table), b"").unwrap();
        assert!(!values.is_empty());
        let of_first = values.iter().filter(|(key, _)| key.windows(32).any(|window| window == first.0)).count();
        assert_eq!(of_first, 0, "no value of it is in {table}");
    }
    world.restart("alice");
    assert!(!world.peers["alice"].group.epoch(&first).unwrap().held);
    // Time ends it for all that is no head, also where nothing more happens.
    // A clock that jumps by years is no year; and when it is right again nothing waits for the false date.
    let right = world.now;
    world.tick(400 * 86_400_000);
    world.input("alice", Input::Tick);
    world.now = right;
    world.input("alice", Input::Tick);
    for _ in 1..7 {
        assert!(held(&world) > 1);
        world.tick(86_400_000);
        world.input("alice", Input::Tick);
    }
    assert_eq!(held(&world), 1);
}

/// A tree node, a secret, a commit or a key package that is not what was written there is an error at once
/// (SPEC §7.9).
#[test]
fn what_others_read_is_loaded_as_it_was_written() {
    let mut world = group_of(&[("alice", 1), ("bob", 1)]);
    world.device("carol", 1);
    world.commit("alice", true);
    world.sync("bob");
    let of_bob = ["dmls.node", "dmls.secrets", "dmls.ratchet", "dmls.commit"].map(|table| ("bob", table));
    for (name, table) in of_bob.into_iter().chain([("carol", "dmls.package")]) {
        let peer = &world.peers[name];
        let entries = peer.store.scan(Table(table), b"").unwrap();
        assert!(!entries.is_empty());
        for (key, mut value) in entries {
            *value.last_mut().unwrap() ^= 4;
            let mut store = peer.store.clone();
            store.commit(&[Write::Put { table: Table(table), key, value }]).unwrap();
            let loaded = KeyPackages::load(&store).map(drop);
            let loaded =
                loaded.and_then(|()| Group::load(room(), peer.own.clone(), Settings::default(), &store).map(drop));
            assert!(matches!(loaded, Err(LoadError::Damaged(place)) if place == table), "{loaded:?}");
        }
    }
}

/// The defaults are those of the specification (SPEC §5.6).
#[test]
fn defaults_are_as_specified() {
    let settings = Settings::default();
    assert_eq!((settings.slot, settings.grace, settings.patience), (500, 30_000, 86_400_000));
    assert_eq!((settings.patience_most, settings.silence), (30 * 86_400_000, 3_600_000));
    assert_eq!((settings.max_held, settings.max_known, settings.window), (512, 512, 604_800_000));
    assert_eq!(settings.commit_limit, 47_000);
}

/// A key package is used once; a last-resort one stays until its host replaces it (SPEC §5.7).
#[test]
fn key_packages_die_with_their_use() {
    let mut world = World::new();
    world.device("alice", 1);
    world.device("bob", 1);
    world.join_room("alice");
    world.create("alice");
    world.join_room("bob");
    world.commit("alice", false);
    let welcome = world.peers["bob"].welcomes[0].clone();
    let before = world.peers["bob"].packages.len();
    world.sync("bob");
    assert_eq!(world.peers["bob"].packages.len(), before - 1);
    world.restart("bob");
    assert_eq!(world.peers["bob"].packages.len(), before - 1, "in the store too");
    // With its group state lost, the same Welcome opens nothing any more.
    let now = world.now;
    let peer = world.peers.get_mut("bob").unwrap();
    peer.group = dmls::group::Group::new(room(), peer.own.clone(), Settings::default());
    let outcome = peer.group.join(welcome, &mut peer.packages, now, &mut peer.rng).unwrap();
    let verdict = outcome.persist(&mut peer.store).unwrap().verdict;
    assert!(matches!(verdict, Verdict::Rejected { reason: Reason::NoKeyPackage, .. }));
    let last = peer.packages.generate(&peer.own, 1, true, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
    assert!(peer.packages.is_last_resort(&last[0].reference));
    peer.packages.forget(&[last[0].reference]).persist(&mut peer.store).unwrap();
    assert_eq!(peer.packages.len(), before - 1);
}

/// The device's own key vouches for the MLS key, for this device, generation and suite only (SPEC §5.1).
#[test]
fn a_credential_is_signed_by_its_device() {
    let mut rng = Seeded::new(5);
    let (matrix, signing) = (SigningKey::generate(&mut rng).unwrap(), SigningKey::generate(&mut rng).unwrap());
    let key = signing.public();
    let sign = |payload: &[u8]| {
        let matrix = ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes());
        ed25519_dalek::Signer::sign(&matrix, payload).to_bytes()
    };
    let device = Device::new("alice", "D");
    let seed = signing.to_bytes();
    let make = |device: Device, generation: u32, signature: [u8; 64]| {
        OwnDevice::new(SigningKey::from_bytes(&seed), device, matrix.public().0, generation, signature)
    };
    let good = sign(&Credential::payload(&device, &key, 3));
    assert!(make(device.clone(), 3, good).is_ok());
    assert_eq!(make(device.clone(), 4, good).unwrap_err(), CredentialError::Signature);
    assert_eq!(make(Device::new("alice", "E"), 3, good).unwrap_err(), CredentialError::Signature);
    assert_eq!(make(Device::new("alic", "eD"), 3, good).unwrap_err(), CredentialError::Signature);
    assert_eq!(Credential::parse(b"", &key).unwrap_err(), CredentialError::Malformed);
}

/// What is signed is the content in its place: another epoch, leaf, count or text is another matter (SPEC §6.4).
#[test]
fn content_is_signed_in_its_place() {
    let mut world = group_of(&[("alice", 1), ("bob", 1)]);
    let now = world.now;
    let peer = world.peers.get_mut("alice").unwrap();
    let mut signed = None;
    let mut compose = |context: &dmls::group::SealContext<'_>| {
        signed = Some((context.epoch, context.leaf, context.sequence, context.sign(b"text")));
        b"text".to_vec()
    };
    let _sealed = peer.group.seal(&mut compose, now, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
    let (epoch, leaf, sequence, signature) = signed.unwrap();
    let key = peer.own.key();
    assert!(verify_content(X25519_ED25519, &key, &epoch, leaf, sequence, b"text", &signature));
    assert!(!verify_content(X25519_ED25519, &key, &epoch, leaf, sequence, b"test", &signature));
    assert!(!verify_content(X25519_ED25519, &key, &EpochId([0; 32]), leaf, sequence, b"text", &signature));
    assert!(!verify_content(X25519_ED25519, &key, &epoch, LeafIndex(leaf.0 + 1), sequence, b"text", &signature));
    assert!(!verify_content(X25519_ED25519, &key, &epoch, leaf, Sequence(sequence.0 + 1), b"text", &signature));
    assert!(!verify_content(
        X25519_ED25519,
        &world.peers["bob"].own.key(),
        &epoch,
        leaf,
        sequence,
        b"text",
        &signature
    ));
}

/// Raw commits are served again to devices of D, so that a commit that a server lost is not lost (SPEC §6.9).
#[test]
fn commits_are_served_again() {
    let mut world = group_of(&[("alice", 1), ("bob", 1)]);
    world.commit("alice", true);
    let epoch = world.canonical("alice").unwrap();
    world.take_in("bob");
    let now = world.now;
    let peer = world.peers.get_mut("bob").unwrap();
    let from = Device::new("alice", "D");
    let input = Input::CommitRequest { epochs: vec![epoch], from };
    let outcome = peer.group.handle(input, now, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
    assert!(matches!(&outcome.publish[..], [Publish::CommitReply { commits, .. }] if commits.len() == 1));
}

/// Who lost a race weighs as much as who won it, once all heads build on both: the next race is decided by its own tie,
/// and not by which of the two EpochIds is the smaller (SPEC §3.2).
#[test]
fn a_race_does_not_decide_the_next() {
    let (mut smaller, mut races) = (0, 0);
    for drawn in 0..12 {
        let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 1)]);
        (0..drawn).for_each(|_| world.commit("carol", true));
        let mut last = None;
        for _ in 0..2 {
            for name in ["alice", "bob", "carol"] {
                world.take_in(name);
            }
            let made = ["alice", "bob"].map(|name| {
                world.commit(name, true);
                (world.canonical(name).unwrap(), name)
            });
            world.take_in("carol");
            let winner = made.iter().find(|(id, _)| Some(*id) == world.canonical("carol")).unwrap().1;
            if let Some(before) = last.replace(made.iter().min().unwrap().1) {
                races += 1;
                smaller += usize::from(before == winner);
            }
        }
    }
    assert!((2..=10).contains(&smaller), "{smaller} of {races} follow the race before");
}

/// Whoever was removed on one side of a split still is of the epochs that the other side made meanwhile: a message of
/// one of them waits for its commit, whichever comes first (SPEC §6.2).
#[test]
fn who_was_removed_here_still_reads_the_fork_that_did_not_know() {
    let mut world = group_of(&[("alice", 1), ("bob", 1), ("carol", 2)]);
    world.cut();
    world.commit("carol", true);
    let before = world.events().len();
    world.send("carol", "Bob is still here");
    let (commit, message) = {
        let events = world.events();
        (events[before - 1].clone(), events[before].clone())
    };
    world.leave_room("bob");
    world.sync("alice");
    world.sync("bob");
    let told = |notice: &Notice| matches!(notice, Notice::RemovedHere { .. });
    assert!(world.peers["bob"].notices.iter().any(told), "Bob takes no notice of his removal");
    assert!(!world.peers["bob"].group.may_release(&world.canonical("bob").unwrap()), "nor may he speak");
    let early = world.deliver("bob", &message.0, "carol", &message.1);
    assert!(matches!(early, Verdict::Deferred { .. }), "{early:?}");
    world.deliver("bob", &commit.0, "carol", &commit.1);
    assert!(world.texts("bob").contains("Bob is still here"));
}

/// A device away from the network for a weekend gives up nothing that waited when it left: only time in touch counts
/// (SPEC §6.2), over restarts, too; and however often it is away, after thirty days it is over.
#[test]
fn what_waits_outlives_a_weekend() {
    const HOUR: u64 = 3_600_000;
    let early = || {
        let mut world = group_of(&[("alice", 1), ("bob", 1)]);
        world.commit("alice", true);
        let before = world.events().len();
        world.send("alice", "see you on Monday");
        let (commit, message) = (world.events()[before - 1].clone(), world.events()[before].clone());
        let verdict = world.deliver("bob", &message.0, "alice", &message.1);
        let until = world.now.plus(24 * HOUR);
        assert!(matches!(verdict, Verdict::Deferred { until: told, .. } if told == until), "{verdict:?}");
        (world, commit, message)
    };
    // In touch, the host ticks whenever the group wants it to.
    let in_touch = |world: &mut World, millis: u64| {
        let end = world.now.plus(millis);
        while world.now < end {
            let wake = world.peers["bob"].group.next_wake(world.now).unwrap_or(end).min(end);
            world.now = wake.max(world.now.plus(1));
            world.input("bob", Input::Tick);
        }
    };
    let weekend_after_20_hours = |world: &mut World| {
        in_touch(world, 20 * HOUR);
        world.restart("bob");
        world.tick(60 * HOUR);
        world.input("bob", Input::Tick);
    };
    let expired = |world: &World, message: &dmls::id::Locator| {
        world.peers["bob"].refused.contains(&(message.clone(), Reason::Expired))
    };

    let (mut world, commit, message) = early();
    weekend_after_20_hours(&mut world);
    in_touch(&mut world, 3 * HOUR);
    assert!(!expired(&world, &message.0), "given up for a weekend's sake");
    world.deliver("bob", &commit.0, "alice", &commit.1);
    assert!(world.texts("bob").contains("see you on Monday"));

    let (mut world, _, message) = early();
    weekend_after_20_hours(&mut world);
    in_touch(&mut world, 5 * HOUR);
    assert!(expired(&world, &message.0), "a day in touch is over");

    let (mut world, _, message) = early();
    for day in 1..=30 {
        assert!(!expired(&world, &message.0), "day {day}");
        world.tick(24 * HOUR);
        world.restart("bob");
        world.input("bob", Input::Tick);
    }
    assert!(expired(&world, &message.0), "thirty days are over");
    assert!(world.peers["bob"].group.next_wake(world.now).is_none_or(|at| at > world.now));
}
