//! Too much of everything.

use std::collections::VecDeque;

use dmls::effect::Verdict;
use dmls::group::inspect_commit;
use dmls::id::Locator;
use dmls::input::Input;

use crate::attack::End;
use crate::core_world::World;
use crate::scene::{Puppet, blurt, can_read, commit_from, group_of, group_on_sides, settle, update};

/// F11. Mallory makes three commits on every base, 120 in all (10,000 in the list). Of her heads so many count, and once
/// she is out one commit ends it.
pub fn fork_bomb() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let mut todo = VecDeque::from([Puppet::of(&world, "mallory", 0)]);
    let mut bomb = Vec::new();
    while bomb.len() < 120 {
        let parent = todo.pop_front().unwrap();
        for seed in 0..3 {
            let mut child = parent.copy(bomb.len() as u64 * 3 + seed);
            bomb.push(child.commit(update()));
            todo.push_back(child);
        }
    }
    for commit in &bomb {
        world.input("bob", commit_from("mallory", commit));
    }
    let epochs = world.peers["bob"].group.epochs();
    let heads = epochs.iter().filter(|epoch| epoch.head).count();
    if heads > 64 {
        return End::Succeeded;
    }
    world.leave_room("mallory");
    let commits = world.commits;
    world.send("bob", "calm");
    world.take_in("bob");
    End::succeeded_if(can_read(&world, "bob", "mallory") || world.commits > commits + 1)
}

/// A commit on a base that nobody has, unlike any other.
fn junk(world: &World, number: u32) -> Vec<u8> {
    let commit = Puppet::of(world, "mallory", 0).commit(update()).bytes;
    let base = inspect_commit(&commit).unwrap().base.id;
    let at = commit.windows(32).position(|window| window == base.0).unwrap();
    let mut bytes = commit;
    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    bytes[at + 4..at + 32].fill(9);
    bytes
}

fn from_room(user: &str, bytes: Vec<u8>) -> Input {
    Input::Commit { bytes, locator: Some(Locator("$junk".into())), from: user.into() }
}

/// F12. For 10 virtual minutes Mallory sends junk every 10 s and a good commit every minute (1 a second in the list).
pub fn blocked_senders() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let mut blocked = 0;
    for step in 0..60 {
        world.tick(10_000);
        let bytes = junk(&world, step);
        world.input("bob", from_room("mallory", bytes));
        if step % 6 == 0 {
            world.commit("mallory", true);
            world.take_in("bob");
        }
        blocked += usize::from(blurt(&mut world, "bob", "still here").is_err());
    }
    world.leave_room("mallory");
    world.sync("bob");
    End::succeeded_if(blocked > 0 || can_read(&world, "bob", "mallory"))
}

/// F13. Ten devices (50 in the list) see the other side at the same moment. Commits made in the same moment do not
/// see each other; one merge is needed, three more are allowed, and three rounds.
pub fn merge_storm() -> End {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut world = group_on_sides(&NAMES.map(|name| (name, if name < "f" { 1 } else { 2 })));
    world.cut();
    // Two commits on one side: heads of equal content would collapse.
    for name in ["a", "a", "f"] {
        world.commit(name, true);
    }
    NAMES.iter().for_each(|name| world.take_in(name));
    world.heal();
    NAMES.iter().for_each(|name| world.take_in(name));
    let before = world.commits;
    for _ in 0..3 {
        let due: Vec<_> =
            NAMES.iter().filter_map(|name| Some((world.peers[*name].group.due(world.now).at?, *name))).collect();
        let Some((next, _)) = due.iter().min() else { break };
        world.now = world.now.max(*next);
        let now = world.now;
        for (_, name) in due.iter().filter(|(at, _)| *at <= now) {
            world.commit(name, false);
        }
        NAMES.iter().for_each(|name| world.take_in(name));
    }
    let one = NAMES.iter().all(|name| world.canonical(name) == world.canonical("a"));
    End::succeeded_if(!one || world.commits > before + 4)
}

/// F15. 600 commits (10,000 in the list) that wait for bases that will never come. A day later, in touch, nothing is left of them.
pub fn never_valid() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    for number in 0..600 {
        let sender = format!("mallory{}", number % 12);
        let bytes = junk(&world, number);
        let verdict = world.input("bob", from_room(&sender, bytes));
        assert!(matches!(verdict, Verdict::Deferred { .. }));
    }
    for _hour in 0..24 {
        world.tick(3_600_000);
        world.input("bob", Input::Tick);
    }
    let left = !world.peers["bob"].group.needs(world.now).is_empty();
    world.commit("alice", true);
    settle(&mut world, &["bob"]);
    End::succeeded_if(left || world.canonical("bob") != world.canonical("alice"))
}
