//! The same things by other ways: routes, replays, restarts.

use dmls::effect::{EpochKind, OutgoingCommit, Verdict};
use dmls::error::Reason;
use dmls::group::{Group, Settings, inspect_commit};
use dmls::id::{EpochId, GroupId};
use dmls::input::Input;
use dmls::journal::{Entry, Records, Table};
use dmls_store::MemoryStore;

use super::membership::counts;
use crate::attack::End;
use crate::core_world::Event;
use crate::scene::{Puppet, commit_from, group_of, message_from, update};

/// What a device knows, without where it found it.
type Known = Vec<(EpochId, Option<EpochId>, Vec<EpochId>, EpochKind, [bool; 3])>;

fn known(puppet: &Puppet) -> Known {
    let epochs = puppet.group.epochs().into_iter();
    epochs
        .map(|epoch| {
            (epoch.epoch.id, epoch.base, epoch.resolves, epoch.kind, [epoch.held, epoch.head, epoch.canonical])
        })
        .collect()
}

/// F16. One history, among it three commits of Mallory's on one base: live, served again by a member, backwards
/// (with hers in their order), with a restart after each, and each of them three times.
pub fn five_routes() -> End {
    let world = group_of(&["alice", "bob", "carol", "mallory"]);
    let (mut alice, mut bob) = (Puppet::of(&world, "alice", 0), Puppet::of(&world, "bob", 0));
    let mut history: Vec<(&str, OutgoingCommit)> =
        vec![("alice", alice.commit(update())), ("bob", bob.commit(update()))];
    bob.input(commit_from("alice", &history[0].1));
    history.push(("bob", bob.commit(update())));
    history.push(("bob", bob.commit(update())));
    let hers: Vec<_> = (0..3).map(|seed| ("mallory", Puppet::of(&world, "mallory", seed).commit(update()))).collect();
    let backwards: Vec<_> = hers.iter().chain(history.iter().rev()).collect();
    let live: Vec<_> = hers.iter().chain(&history).collect();
    let carol = || Puppet::of(&world, "carol", 0);
    let served =
        |commit: &OutgoingCommit| Input::Commit { bytes: commit.bytes.clone(), locator: None, from: "bob".into() };
    let mut routes = [carol(), carol(), carol(), carol(), carol()];
    for (user, commit) in live {
        routes[0].input(commit_from(user, commit));
        routes[1].input(served(commit));
        routes[2].input(commit_from(user, commit));
        routes[2].restart();
        for _ in 0..3 {
            routes[3].input(commit_from(user, commit));
        }
    }
    for (user, commit) in backwards {
        routes[4].input(commit_from(user, commit));
    }
    End::succeeded_if(routes.iter().any(|route| known(route) != known(&routes[0])))
}

/// Everything in a store.
fn dump(store: &MemoryStore) -> Vec<Vec<Entry>> {
    let state = ["dmls.node", "dmls.secrets", "dmls.ratchet"];
    let names = ["dmls.group", "dmls.epoch", "dmls.traffic", "dmls.commit", "dmls.pending", "dmls.closed"];
    names.iter().chain(&state).map(|name| store.scan(Table(name), b"").unwrap()).collect()
}

/// F20. All that Alice ever sent comes three times more, and into another room with the same people.
pub fn replays() -> End {
    let mut world = group_of(&["alice", "bob"]);
    world.say("alice", "one");
    world.commit("alice", true);
    world.say("alice", "two");
    world.take_in("bob");
    world.say("bob", "three");
    let before = dump(&world.peers["bob"].store);
    for _ in 0..3 {
        for (locator, event) in world.events() {
            if counts(&world.deliver("bob", &locator, "alice", &event)) {
                return End::Succeeded;
            }
        }
    }
    if dump(&world.peers["bob"].store) != before {
        return End::Succeeded;
    }
    let mut bob = Puppet::of(&world, "bob", 0);
    bob.group = Group::new(GroupId::new("!other"), bob.own.clone(), Settings::default());
    bob.store = MemoryStore::new();
    let mut refused = true;
    for (locator, event) in world.events() {
        let from = "alice".to_owned();
        let verdict = bob.input(match event {
            Event::Commit { bytes, .. } => Input::Commit { bytes, locator: Some(locator), from },
            Event::Message { bytes, commit } => Input::Message { bytes, locator, from, commit: Some(commit) },
            Event::Ask { bytes } => Input::Ask { bytes, from },
        });
        refused &= matches!(verdict, Verdict::Rejected { reason: Reason::OtherGroup, .. });
    }
    End::succeeded_if(!refused || dump(&bob.store).iter().any(|table| !table.is_empty()))
}

/// F21. Alice dies right after her commit left. Its echo comes first, last or never; what Bob says in it must open.
pub fn own_commit() -> End {
    End::succeeded_if([Echo::First, Echo::Last, Echo::Never].into_iter().any(|echo| !survives(echo)))
}

#[derive(Clone, Copy, PartialEq)]
enum Echo {
    First,
    Last,
    Never,
}

fn survives(echo: Echo) -> bool {
    let world = group_of(&["alice", "bob"]);
    let (mut alice, mut bob) = (Puppet::of(&world, "alice", 0), Puppet::of(&world, "bob", 0));
    let commit = alice.commit(update());
    alice.restart();
    bob.input(commit_from("alice", &commit));
    let said = bob.say("in the new epoch");
    let echoed = |alice: &mut Puppet, now: bool| {
        let verdict = now.then(|| alice.input(commit_from("alice", &commit)));
        alice.restart();
        verdict.is_none_or(|verdict| matches!(verdict, Verdict::Known))
    };
    let first = echoed(&mut alice, echo == Echo::First);
    alice.input(message_from("bob", &said));
    let last = echoed(&mut alice, echo == Echo::Last);
    first && last && alice.opened == ["in the new epoch"] && alice.group.canonical() == Some(commit.epoch.id)
}

/// F22. Two forks of one number, a restart, then a message on each: both must open with the state of their own fork.
pub fn wrong_lineage() -> End {
    let world = group_of(&["alice", "bob", "carol"]);
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|name| Puppet::of(&world, name, 0));
    let (one, two) = (alice.commit(update()), bob.commit(update()));
    let number = |commit: &OutgoingCommit| inspect_commit(&commit.bytes).map(|header| header.number).ok();
    assert_eq!(number(&one), number(&two));
    carol.input(commit_from("alice", &one));
    carol.input(commit_from("bob", &two));
    carol.restart();
    carol.input(message_from("alice", &alice.say("on Alice's fork")));
    carol.input(message_from("bob", &bob.say("on Bob's fork")));
    End::succeeded_if(carol.opened != ["on Alice's fork", "on Bob's fork"])
}
