//! Who is in: decided by the room, carried out by whoever commits next.

use dmls::effect::Verdict;
use dmls::group::Orders;
use dmls::input::Input;

use crate::attack::End;
use crate::core_world::World;
use crate::scene::{
    Puppet, blurt, can_read, commit_from, desired, group_of, group_on_sides, package_of, post, readers, settle, update,
};

/// F5. Mallory kept a copy of each of 10 epochs (40 in the list). After her removal each copy commits and adds a
/// device that the room does not know.
pub fn time_travel() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    world.device("sybil", 1);
    let mut copies = Vec::new();
    for epoch in 0..10 {
        copies.push(Puppet::of(&world, "mallory", epoch));
        world.commit("alice", true);
        settle(&mut world, &["alice", "bob", "mallory"]);
    }
    world.leave_room("mallory");
    settle(&mut world, &["alice", "bob"]);
    let lie = desired(&world, &["alice", "bob", "mallory", "sybil"]);
    for copy in &mut copies {
        copy.input(Input::Desired(lie.clone()));
        let packages = vec![package_of(&mut world, "sybil")];
        let commit = copy.commit(Orders { packages, update: false });
        post(&mut world, "mallory", &commit);
    }
    settle(&mut world, &["alice", "bob"]);
    world.send("alice", "later, Alice");
    world.send("bob", "later, Bob");
    world.take_in("sybil");
    let sybil = world.texts("sybil").iter().any(|text| text.starts_with("later"));
    End::succeeded_if(sybil || copies.iter_mut().any(|copy| copy.learns(&world, "later")))
}

/// F6. Alice knows that Mallory left; her next words must not open with what Mallory holds.
pub fn send_gate() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let mut mallory = Puppet::of(&world, "mallory", 0);
    world.leave_room("mallory");
    if blurt(&mut world, "alice", "without Mallory").is_err() {
        world.commit("alice", false);
        world.say("alice", "without Mallory");
    }
    End::succeeded_if(mallory.learns(&world, "without Mallory"))
}

/// F7. Alice added Carol while the others, on the other side, changed their keys. Mallory, who pretends not to know of Carol,
/// merges Alice's head into theirs, which have more to lose.
pub fn burying_merge() -> End {
    let others = ["bob", "dan", "erin"];
    let mut world = group_on_sides(&[("alice", 1), ("bob", 2), ("dan", 2), ("erin", 2), ("mallory", 2)]);
    world.device("carol", 1);
    let mut mallory = Puppet::of(&world, "mallory", 0);
    world.cut();
    for name in others {
        world.take_in(name);
        world.commit(name, true);
    }
    world.join_room("carol");
    world.commit("alice", false);
    world.take_in("carol");
    for (locator, event) in world.events() {
        let crate::core_world::Event::Commit { bytes, .. } = event else { continue };
        mallory.input(Input::Commit { bytes, locator: Some(locator), from: "alice".into() });
    }
    let theirs = world.canonical("erin").unwrap();
    let merge = mallory.commit(update());
    assert_eq!((merge.base.id, merge.resolves.len()), (theirs, 1), "Mallory's merge covers Alice's head");
    world.heal();
    others.iter().for_each(|name| world.take_in(name));
    world.take_in("alice");
    for name in others.iter().chain(&["alice"]) {
        world.input(name, commit_from("mallory", &merge));
    }
    world.sync("alice");
    End::succeeded_if(!can_read(&world, "alice", "carol"))
}

/// F17. Alice goes for Bob on one side, Bob for Alice on the other; then the room says which of them stays, in all
/// four ways. Whoever is left must agree on exactly that.
pub fn mutual_removal() -> End {
    let outcomes: [&[&str]; 4] = [&[], &["alice"], &["bob"], &["alice", "bob"]];
    End::succeeded_if(outcomes.iter().any(|gone| !room_decides(gone)))
}

fn room_decides(gone: &[&str]) -> bool {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dan"];
    let mut world = group_on_sides(&[("alice", 1), ("bob", 2), ("carol", 1), ("dan", 2)]);
    world.cut();
    for (committer, other, against) in [("alice", "carol", "bob"), ("bob", "dan", "alice")] {
        let users: Vec<_> = NAMES.into_iter().filter(|name| *name != against).collect();
        let facts = desired(&world, &users);
        for name in [committer, other] {
            world.input(name, Input::Desired(facts.clone()));
        }
        world.commit(committer, false);
        world.take_in(other);
    }
    world.heal();
    gone.iter().for_each(|name| world.leave_room(name));
    let left: Vec<_> = NAMES.into_iter().filter(|name| !gone.contains(name)).collect();
    settle(&mut world, &left);
    let all: Vec<_> = world.desired("carol").devices.keys().cloned().collect();
    left.iter().all(|name| readers(&world, name) == all && world.canonical(name) == world.canonical("carol"))
}

/// F18. The server shows the membership of before the removal again.
pub fn state_reset() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let before = world.desired("alice");
    world.leave_room("mallory");
    settle(&mut world, &["alice", "bob"]);
    world.input("alice", Input::Desired(before));
    world.commit("alice", false);
    End::succeeded_if(can_read(&world, "alice", "mallory"))
}

/// F19. Members come and go at random and nobody commits; then one commit must put all right.
pub fn ghosts() -> End {
    const OTHERS: [&str; 4] = ["bob", "carol", "dan", "erin"];
    let mut world = group_of(&["alice", "bob", "carol", "dan", "erin"]);
    for round in [0b1010u8, 0b0111, 0b0001, 0b1110, 0b1111] {
        let ghosts: Vec<_> = OTHERS.iter().map(|name| (*name, Puppet::of(&world, name, 0))).collect();
        for (at, name) in OTHERS.iter().enumerate() {
            let wanted = round & 1 << at != 0;
            match (wanted, world.desired("alice").devices.keys().any(|device| device.user == *name)) {
                (true, false) => world.join_room(name),
                (false, true) => world.leave_room(name),
                _ => {}
            }
        }
        let commits = world.commits;
        world.sync("alice");
        let all: Vec<_> = world.desired("alice").devices.keys().cloned().collect();
        if readers(&world, "alice") != all || world.commits > commits + 1 {
            return End::Succeeded;
        }
        let text = format!("round {round}");
        world.say("alice", &text);
        for (name, mut ghost) in ghosts {
            let wanted = all.iter().any(|device| device.user == name);
            if !wanted && ghost.learns(&world, &text) || wanted && !reads(&mut world, name, &text) {
                return End::Succeeded;
            }
        }
    }
    End::Failed
}

fn reads(world: &mut World, name: &str, text: &str) -> bool {
    world.sync(name);
    world.texts(name).contains(text)
}

/// Whether an input counted.
pub fn counts(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Applied(_))
}
