//! What an insider can bend, and what becomes of it: unbent it is accepted, each bent commit has its own verdict.

use std::collections::BTreeSet;

use dmls::craft::{Change, Commit, GroupInfoParts, Justification, Made, Message, State};
use dmls::craft::{group_info, join_externally, welcome_grant};
use dmls::effect::{Applied, EpochRef, Missing, Notice, Verdict};
use dmls::entropy::Entropy as _;
use dmls::error::Reason;
use dmls::group::Orders;
use dmls::id::{Device, EpochId, Locator};
use dmls::input::{Input, Welcome};

use crate::world::World;

const FOUR: [&str; 4] = ["mallory", "alice", "bob", "carol"];

/// Mallory made the group; Alice, Bob and Carol are in it. Dan has a device.
fn four() -> World {
    let mut world = World::new();
    for name in FOUR.iter().chain(&["dan"]) {
        world.device(name, 1);
    }
    world.join_room("mallory");
    world.create("mallory");
    for name in &FOUR[1..] {
        world.join_room(name);
    }
    world.sync("mallory");
    for name in FOUR {
        world.sync(name);
    }
    world
}

fn device(name: &str) -> Device {
    Device::new(name, "D")
}

fn now_of(world: &World, name: &str) -> State {
    let group = &world.peers[name].group;
    State::of(group, &group.canonical().unwrap()).unwrap()
}

fn give(world: &mut World, name: &str, bytes: &[u8]) -> Verdict {
    let locator = Some(Locator("$evil".into()));
    world.input(name, Input::Commit { bytes: bytes.to_vec(), locator, from: "mallory".into() })
}

fn make(world: &mut World, commit: &Commit<'_>) -> Made {
    commit.build(&mut world.peers.get_mut("mallory").unwrap().rng).unwrap()
}

/// What Bob says of it; whatever it is, nothing changes unless it is accepted.
fn judge(world: &mut World, commit: &Commit<'_>) -> Result<EpochId, Reason> {
    let made = make(world, commit);
    let heads = world.peers["bob"].group.head_ids();
    match give(world, "bob", &made.commit.bytes) {
        Verdict::Applied(Applied::Commit { epoch }) => {
            assert_eq!(epoch, made.commit.epoch.id, "maker and receiver compute the same epoch");
            Ok(epoch)
        }
        Verdict::Rejected { reason, .. } => {
            assert_eq!(world.peers["bob"].group.head_ids(), heads);
            Err(reason)
        }
        other => panic!("{other:?}"),
    }
}

fn judged(bend: impl for<'a> Fn(Commit<'a>) -> Commit<'a>) -> Result<EpochId, Reason> {
    let mut world = four();
    let state = now_of(&world, "mallory");
    judge(&mut world, &bend(Commit::on(&state)))
}

fn refused(bend: impl for<'a> Fn(Commit<'a>) -> Commit<'a>) -> Reason {
    judged(bend).expect_err("it is accepted")
}

/// Nothing bent, nothing refused; the group that the state was copied from knows nothing of it.
#[test]
fn what_is_not_bent_is_accepted() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let before = world.peers["mallory"].group.epochs();
    let first = judge(&mut world, &Commit::on(&state)).unwrap();
    let gone = Commit::on(&state).remove(&device("carol"), Locator("$left".into()));
    assert_ne!(judge(&mut world, &gone).unwrap(), first, "the second of two equivocating commits");
    assert_eq!(world.peers["mallory"].group.epochs(), before);
    // However many there are: which come first decides nothing.
    assert!(judge(&mut world, &Commit::on(&state)).is_ok());
}

/// A chain on a copied state, a merge, and an add by Welcome go on like honest ones.
#[test]
fn states_go_on_by_themselves() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let left = make(&mut world, &Commit::on(&state));
    let right = make(&mut world, &Commit::on(&state).remove(&device("carol"), Locator("$left".into())));
    let (packages, rng) = (&mut dmls::package::KeyPackages::default(), &mut crate::world::Seeded::new(5));
    let own = world.peers["dan"].own.clone();
    let package = packages.generate(&own, 1, false, rng).unwrap();
    let package = package.persist(&mut dmls_store::MemoryStore::new()).unwrap();
    let join = Locator("$join".into());
    let merge = Commit::on(&right.state).resolves(&[&left.state]).add(&package[0].bytes, join);
    let merge = make(&mut world, &merge);
    for commit in [&left, &right, &merge] {
        let verdict = give(&mut world, "bob", &commit.commit.bytes);
        assert!(matches!(verdict, Verdict::Applied(Applied::Commit { epoch }) if epoch == commit.commit.epoch.id));
    }
    let sent = &merge.commit.welcomes[0];
    let welcome = Welcome {
        bytes: sent.bytes.to_vec(),
        commit: merge.commit.bytes.clone(),
        locator: Locator("$m".into()),
        epoch: merge.commit.epoch.id,
        base: sent.base.clone(),
        grant: sent.grant.clone(),
    };
    let dan = world.peers.get_mut("dan").unwrap();
    let joined = dan.group.join(welcome, packages, world.now, &mut dan.rng).unwrap().persist(&mut dan.store).unwrap();
    assert!(matches!(joined.verdict, Verdict::Applied(Applied::Joined { .. })), "{:?}", joined.verdict);
}

/// What the bookkeeping says must be so (SPEC §2.3, §2.4, §2.5).
#[test]
fn false_bookkeeping_is_refused() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let twice = state.reference().clone();
    let base = Commit::on(&state).edit(move |data| data.resolves.push(twice.clone()));
    assert_eq!(judge(&mut world, &base), Err(Reason::BadResolves));
    let invented = |change| Justification { change, device: device("carol"), event: Locator::default() };
    let added = Commit::on(&state).edit(move |data| data.changes.push(invented(Change::Add)));
    assert_eq!(judge(&mut world, &added), Err(Reason::Mismatch));
    let unnamed = Commit::on(&state).remove(&device("carol"), Locator::default()).edit(|data| data.changes.clear());
    assert_eq!(judge(&mut world, &unnamed), Err(Reason::Mismatch));
    // The digests bind nobody; they are evidence.
    let digest = Commit::on(&state).edit(|data| data.membership = [1; 32]);
    assert!(judge(&mut world, &digest).is_ok());
}

/// A padded `resolves` buries nothing that its maker does not hold: without its export the tag does not fit.
#[test]
fn a_head_that_was_not_merged_cannot_be_named() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    world.commit("alice", true);
    world.take_in("bob");
    let other = now_of(&world, "alice").reference().clone();
    let padded = Commit::on(&state).edit(move |data| data.resolves.push(other.clone()));
    assert_eq!(judge(&mut world, &padded), Err(Reason::Forged));
    // One that nobody knows makes the commit wait, and itself no head.
    let nobody = EpochRef { id: EpochId([9; 32]), locator: Locator::default() };
    let invented = make(&mut world, &Commit::on(&state).edit(move |data| data.resolves.push(nobody.clone())));
    let verdict = give(&mut world, "bob", &invented.commit.bytes);
    assert!(matches!(verdict, Verdict::Deferred { on: Missing::MergeValue { .. }, .. }), "{verdict:?}");
}

/// Exactly one PSK, for this base and of this committer (SPEC §3.1, §4.1).
#[test]
fn points_are_ones_own_and_one() {
    assert_eq!(refused(|commit| commit.point(|point| point.leaf.0 += 1)), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.point(|point| point.base.0[0] ^= 1)), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.points(0)), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.points(2)), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.foreign_psk(b"dmls1")), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.foreign_psk(b"other")), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.merge_value([3; 32])), Reason::Forged);
}

/// Only the proposals of the table, by value, with a path (SPEC §3.1).
#[test]
fn other_proposals_are_refused() {
    assert_eq!(refused(|commit| commit.without_path()), Reason::BadPsk);
    assert_eq!(refused(|commit| commit.external_sender()), Reason::NotAllowed);
    assert_eq!(refused(|commit| commit.reference([7; 32])), Reason::ProposalByReference);
    assert_eq!(refused(|commit| commit.reinit()), Reason::NotAllowed);
}

/// A path that opens for some is accepted by them and reported by the others, with the committer's name.
#[test]
fn a_poisoned_path_hits_whom_it_is_meant_for() {
    for victims in [&["bob"][..], &["bob", "carol"], &["alice", "carol"]] {
        let mut world = four();
        let state = now_of(&world, "mallory");
        let devices: Vec<_> = victims.iter().map(|name| device(name)).collect();
        let made = make(&mut world, &Commit::on(&state).poison(&devices));
        assert_eq!(made.poisoned.len(), devices.len(), "nobody else is hit: {:?}", made.poisoned);
        for name in &FOUR[1..] {
            let verdict = give(&mut world, name, &made.commit.bytes);
            if victims.contains(name) {
                let blamed = Some(device("mallory"));
                assert!(
                    matches!(&verdict, Verdict::Rejected { reason: Reason::CannotProcess, who } if *who == blamed),
                    "{name}: {verdict:?}"
                );
                let notice = |notice: &Notice| matches!(notice, Notice::CannotProcess { .. });
                assert!(world.peers[*name].notices.iter().any(notice));
            } else {
                assert!(matches!(verdict, Verdict::Applied(_)), "{name}: {verdict:?}");
            }
        }
    }
}

/// Once others share a subtree with the victim, they are hit too, and the maker is told so.
#[test]
fn a_poisoned_subtree_hits_all_in_it() {
    let mut world = four();
    // Bob and Carol are the second half of a tree of four: Carol's commit fills the node above them.
    world.commit("carol", true);
    for name in FOUR {
        world.take_in(name);
    }
    let state = now_of(&world, "mallory");
    let made = make(&mut world, &Commit::on(&state).poison(&[device("bob")]));
    let mut hit = made.poisoned.clone();
    hit.sort();
    assert_eq!(hit, [device("bob"), device("carol")]);
    for name in ["bob", "carol"] {
        let verdict = give(&mut world, name, &made.commit.bytes);
        assert!(matches!(verdict, Verdict::Rejected { reason: Reason::CannotProcess, .. }), "{name}: {verdict:?}");
    }
    assert!(matches!(give(&mut world, "alice", &made.commit.bytes), Verdict::Applied(_)));
}

/// Grants are nobody's word: without one, or with a wrong one, the commit waits for M; with M it is accepted.
#[test]
fn grants_are_withheld_or_wrong_for_chosen_members() {
    for wrong in [false, true] {
        let mut world = four();
        let state = now_of(&world, "mallory");
        // A fork that Bob is not in.
        let fork = make(&mut world, &Commit::on(&state).remove(&device("bob"), Locator::default()));
        let base = make(&mut world, &Commit::on(&state));
        let merge = Commit::on(&base.state).resolves(&[&fork.state]);
        let bob = [device("bob")];
        let merge = if wrong { merge.misgranted(&bob) } else { merge.ungranted(&bob) };
        let merge = make(&mut world, &merge);
        for made in [&fork, &base] {
            for name in ["alice", "bob"] {
                assert!(matches!(give(&mut world, name, &made.commit.bytes), Verdict::Applied(_)));
            }
        }
        assert!(matches!(give(&mut world, "alice", &merge.commit.bytes), Verdict::Applied(_)));
        let verdict = give(&mut world, "bob", &merge.commit.bytes);
        assert!(matches!(verdict, Verdict::Deferred { on: Missing::MergeValue { .. }, .. }), "{verdict:?}");
        let ask = Input::MergeRequest { epoch: merge.commit.epoch.id, from: device("bob") };
        world.input("alice", ask);
        assert!(world.peers["bob"].group.epoch(&merge.commit.epoch.id).is_some(), "Alice's answer was enough");
    }
}

/// A commit ground until its EpochId begins as its maker likes it is one like any other.
#[test]
fn ground_commits_are_ordinary() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let rng = &mut world.peers.get_mut("mallory").unwrap().rng;
    let ground = Commit::on(&state).grind(64, rng, |made| made.commit.epoch.id.0[0] < 32).unwrap();
    let ground = ground.expect("one of 64 begins with less than 32");
    assert!(matches!(give(&mut world, "bob", &ground.commit.bytes), Verdict::Applied(_)));
}

/// A removed member commits from the epoch it was in: the commit is valid, and steers nobody.
#[test]
fn a_removed_member_commits_in_the_past() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    world.leave_room("mallory");
    world.send("alice", "without Mallory");
    world.sync("bob");
    let canonical = world.canonical("bob");
    let back = make(&mut world, &Commit::on(&state).remove(&device("alice"), Locator("$forged".into())));
    assert!(matches!(give(&mut world, "bob", &back.commit.bytes), Verdict::Applied(_)));
    assert_eq!(world.canonical("bob"), canonical);
    let bob = world.peers.get_mut("bob").unwrap();
    let nothing = bob.group.carry_out(Orders::default(), world.now, &mut bob.rng).map(|durable| durable.writes().len());
    assert!(nothing.is_err(), "nothing is due because of it");
}

/// What Bob says of a message.
fn hear(world: &mut World, from: &str, bytes: &[u8]) -> Result<String, Reason> {
    let locator = Locator("$said".into());
    let input = Input::Message { bytes: bytes.to_vec(), locator, from: from.into(), commit: None };
    match world.input("bob", input) {
        Verdict::Applied(Applied::Message(opened)) => Ok(String::from_utf8(opened.plaintext.to_vec()).unwrap()),
        Verdict::Rejected { reason, .. } => Err(reason),
        other => panic!("{other:?}"),
    }
}

fn say(world: &mut World, message: Message) -> Vec<u8> {
    message.build(&mut world.peers.get_mut("mallory").unwrap().rng).unwrap().0
}

/// Messages made from a copied state open like any other; generations may be left out, within the window (I9).
#[test]
fn generations_may_be_left_out_within_the_window() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let next = say(&mut world, Message::of(&state, b"next"));
    assert_eq!(hear(&mut world, "mallory", &next).as_deref(), Ok("next"));
    let later = say(&mut world, Message::of(&state, b"later").skip(40).edit(|data| data.sequence = 40));
    assert_eq!(hear(&mut world, "mallory", &later).as_deref(), Ok("later"));
    let far = say(&mut world, Message::of(&state, b"far").skip(9).generation(u32::MAX).edit(|data| data.sequence = 9));
    assert_eq!(hear(&mut world, "mallory", &far), Err(Reason::BeyondWindow));
}

/// What is authenticated must be so: another epoch's id, a sequence used before, bytes that are none.
#[test]
fn false_message_data_is_refused() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let first = say(&mut world, Message::of(&state, b"first"));
    assert!(hear(&mut world, "mallory", &first).is_ok());
    let again = say(&mut world, Message::of(&state, b"again").skip(1));
    assert_eq!(hear(&mut world, "mallory", &again), Err(Reason::Replay));
    let junk = say(&mut world, Message::of(&state, b"junk").skip(2).authenticated_data(b"\x02junk"));
    assert_eq!(hear(&mut world, "mallory", &junk), Err(Reason::Malformed));
    let mut elsewhere = Message::of(&state, b"elsewhere").skip(3);
    let other = world.peers["bob"].group.epochs()[0].epoch.id;
    elsewhere = elsewhere.edit(|data| data.epoch = other.0);
    let elsewhere = say(&mut world, elsewhere);
    let locator = Locator("$said".into());
    let input = Input::Message { bytes: elsewhere, locator, from: "mallory".into(), commit: None };
    assert!(!matches!(world.input("bob", input), Verdict::Applied(_)));
}

/// Alice's signed message under her next generation is a replay (C17); with another word in it, a forgery.
#[test]
fn an_overheard_message_is_not_said_twice() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    world.say("alice", "yes");
    let said = world.wire.last().unwrap().clone();
    assert_eq!(hear(&mut world, "alice", &said).as_deref(), Ok("yes"));
    let again = Message::overheard(&state, &said).unwrap();
    let other = Message::overheard(&state, &said).unwrap().content(b"no");
    let again = say(&mut world, again);
    assert_ne!(again, said, "another generation, another ciphertext");
    assert_eq!(hear(&mut world, "alice", &again), Err(Reason::Replay));
    let other = say(&mut world, other.skip(3));
    assert_eq!(hear(&mut world, "alice", &other), Err(Reason::Forged));
    let as_alice = Message::of(&state, b"I am Alice").as_member(&device("alice")).unwrap().skip(7);
    let as_alice = say(&mut world, as_alice);
    assert_eq!(hear(&mut world, "alice", &as_alice), Err(Reason::Forged));
}

/// The copy may come before what it is a copy of; then, too, it is none of Alice's words, and costs her none (SPEC §2.9).
#[test]
fn a_copy_that_comes_first_suppresses_nothing() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    world.say("alice", "pay ten");
    let said = world.wire.last().unwrap().clone();
    let copy = Message::overheard(&state, &said).unwrap();
    let copy = say(&mut world, copy);
    world.say("alice", "and not a penny more");
    let next = world.wire.last().unwrap().clone();
    assert_eq!(hear(&mut world, "alice", &copy), Err(Reason::Replay));
    assert_eq!(hear(&mut world, "alice", &next).as_deref(), Ok("and not a penny more"));
    assert_eq!(hear(&mut world, "alice", &said).as_deref(), Ok("pay ten"));
}

/// A Welcome whose GroupInfo says something else brings nobody anywhere; an untouched one does (X1).
#[test]
fn welcomes_that_lie_are_refused() {
    type Edit = fn(&mut GroupInfoParts);
    let edits: [(Edit, bool); 4] = [
        (|_| (), true),
        (|parts| parts.epoch += 1, false),
        (|parts| parts.tree_hash[0] ^= 1, false),
        (|parts| parts.confirmation_tag[0] ^= 1, false),
    ];
    for (edit, good) in edits {
        let mut world = four();
        let state = now_of(&world, "mallory");
        let (packages, rng) = (&mut dmls::package::KeyPackages::default(), &mut crate::world::Seeded::new(5));
        let own = world.peers["dan"].own.clone();
        let made =
            packages.generate(&own, 1, false, rng).unwrap().persist(&mut dmls_store::MemoryStore::new()).unwrap();
        let add = make(&mut world, &Commit::on(&state).add(&made[0].bytes, Locator::default()).welcome_info(edit));
        let sent = add.commit.welcomes[0].clone();
        let welcome = |grant| Welcome {
            bytes: sent.bytes.to_vec(),
            commit: add.commit.bytes.clone(),
            locator: Locator("$m".into()),
            epoch: add.commit.epoch.id,
            base: sent.base.clone(),
            grant,
        };
        let false_grant = welcome_grant(&made[0].bytes, &add.commit.epoch.id, [1; 32], rng).unwrap();
        let now = world.now;
        let dan = world.peers.get_mut("dan").unwrap();
        let mut join = |grant| {
            let joined = dan.group.join(welcome(grant), packages, now, &mut dan.rng).unwrap();
            joined.persist(&mut dan.store).unwrap().verdict
        };
        assert!(matches!(join(false_grant), Verdict::Rejected { reason: Reason::Forged, .. }));
        let verdict = join(sent.grant.clone());
        assert_eq!(matches!(verdict, Verdict::Applied(_)), good, "{verdict:?}");
    }
}

/// A GroupInfo that says something else leads into no epoch of the group; what an external commit resolves is nothing.
#[test]
fn false_ways_in_are_refused() {
    let mut world = four();
    let state = now_of(&world, "mallory");
    let made = make(&mut world, &Commit::on(&state));
    assert!(matches!(give(&mut world, "bob", &made.commit.bytes), Verdict::Applied(_)));
    let (target, info) = (made.commit.epoch.clone(), made.commit.group_info.bytes());
    let mallory = world.peers["mallory"].own.clone();
    let tag = group_info(&info, &mallory, |parts| parts.confirmation_tag[0] ^= 1).unwrap();
    let tree = group_info(&info, &mallory, |parts| parts.tree_hash[0] ^= 1).unwrap();
    let now = world.now;
    let dan = world.peers.get_mut("dan").unwrap();
    for bent in [tag, tree] {
        assert!(dan.group.join_externally(&bent, target.clone(), now, &mut dan.rng).is_err());
    }
    let (own, room) = (dan.own.clone(), crate::world::room());
    let padded = state.reference().clone();
    let mut join = |edit: &dyn Fn(&mut dmls::craft::CommitData)| {
        join_externally(&own, &room, &target, &info, None, edit, &mut dan.rng).unwrap().commit.bytes
    };
    let (padded, plain) = (join(&|data| data.resolves.push(padded.clone())), join(&|_| ()));
    let verdict = give(&mut world, "bob", &padded);
    assert!(matches!(verdict, Verdict::Rejected { reason: Reason::BadResolves, .. }), "{verdict:?}");
    assert!(matches!(give(&mut world, "bob", &plain), Verdict::Applied(_)));
}

/// What one device makes of a story: which epochs it accepted, which of them are heads, what it read.
type Reading = (BTreeSet<EpochId>, BTreeSet<EpochId>, BTreeSet<String>);

/// Mallory's commits and messages on everything that she ever made: more than two on a base, resolving what others may
/// not have, dropping some without a cause.
fn a_wild_tree(world: &mut World, seed: u64) -> Vec<Input> {
    let mut chances = crate::world::Seeded::new(seed);
    let mut below = |count: usize| {
        let mut bytes = [0; 8];
        chances.fill(&mut bytes).unwrap();
        usize::try_from(u64::from_le_bytes(bytes) % count as u64).unwrap()
    };
    let (mut states, mut inputs) = (vec![now_of(world, "mallory")], Vec::new());
    for number in 0..14 {
        let base = states[below(states.len().min(4))].clone();
        let heads: Vec<_> = states.iter().filter(|head| head.id() != base.id() && below(3) == 0).cloned().collect();
        let mut commit = Commit::on(&base).resolves(&heads.iter().collect::<Vec<_>>());
        for name in &FOUR[1..] {
            if base.leaf_of(&device(name)).is_some() && below(6) == 0 {
                commit = commit.remove(&device(name), Locator::default());
            }
        }
        let made = make(world, &commit);
        let text = format!("in {number}");
        let (message, state) =
            Message::of(&made.state, text.as_bytes()).build(&mut crate::world::Seeded::new(7)).unwrap();
        let (locator, from) = (Locator(format!("$m{number}")), "mallory".to_owned());
        inputs.push(Input::Message { bytes: message, locator, from: from.clone(), commit: None });
        let locator = Some(Locator(format!("$c{number}")));
        inputs.push(Input::Commit { bytes: made.commit.bytes, locator, from });
        states.push(state);
    }
    inputs
}

/// Takes everything in, in an order of its own, with restarts in between.
fn read_in_some_order(world: &mut World, mut inputs: Vec<Input>, order: u64) -> Reading {
    let mut chances = crate::world::Seeded::new(order);
    let mut byte = || {
        let mut bytes = [0; 2];
        chances.fill(&mut bytes).unwrap();
        usize::from(u16::from_le_bytes(bytes))
    };
    let before = world.peers["bob"].store.clone();
    let mut texts = BTreeSet::new();
    while !inputs.is_empty() {
        let input = inputs.swap_remove(byte() % inputs.len());
        let peer = world.peers.get_mut("bob").unwrap();
        let outcome = peer.group.handle(input, world.now, &mut peer.rng).unwrap().persist(&mut peer.store).unwrap();
        for verdict in outcome.settled.into_iter().map(|settled| settled.verdict).chain([outcome.verdict]) {
            if let Verdict::Applied(Applied::Message(opened)) = verdict {
                texts.insert(String::from_utf8(opened.plaintext.to_vec()).unwrap());
            }
        }
        if byte() % 4 == 0 {
            world.restart("bob");
        }
    }
    let group = &world.peers["bob"].group;
    let accepted = group.epochs().iter().map(|info| info.epoch.id).collect();
    let reading = (accepted, group.head_ids().into_iter().collect(), texts);
    world.peers.get_mut("bob").unwrap().store = before;
    world.restart("bob");
    reading
}

/// Whoever has the same bytes knows the same epochs, has the same heads and reads the same, whatever came first and
/// however often it was restarted: what is refused follows from bytes and base alone (SPEC §2.8).
#[test]
fn the_order_of_arrival_decides_nothing() {
    let mut sizes = BTreeSet::new();
    for seed in 0..12 {
        let mut world = four();
        let inputs = a_wild_tree(&mut world, seed);
        let first = read_in_some_order(&mut world, inputs.clone(), 0);
        sizes.insert(first.0.len());
        for order in 1..6 {
            let again = read_in_some_order(&mut world, inputs.clone(), order);
            assert_eq!(again, first, "seed {seed}, order {order}");
        }
    }
    assert!(sizes.len() > 4 && sizes.last() > Some(&10), "the stories differ: {sizes:?}");
}
