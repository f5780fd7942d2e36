//! Which head is built on, and who would like to steer that.

use dmls::effect::{Notice, OutgoingCommit};
use dmls::id::{EpochId, Locator};

use crate::attack::End;
use crate::core_world::World;
use crate::scene::{Puppet, can_read, commit_from, group_of, post, settle, update};

/// F1. Alice and Bob get the two in different order; both must keep both, and both must have the evidence.
pub fn equivocation() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let commits = [1, 2].map(|seed| Puppet::of(&world, "mallory", seed).commit(update()));
    for (name, order) in [("alice", [0, 1]), ("bob", [1, 0])] {
        for at in order {
            world.input(name, commit_from("mallory", &commits[at]));
        }
        let group = &world.peers[name].group;
        let kept = commits.iter().all(|commit| group.epoch(&commit.epoch.id).is_some_and(|epoch| epoch.held));
        let evidence = |notice: &Notice| {
            let two = |epochs: &[EpochId]| commits.iter().all(|commit| epochs.contains(&commit.epoch.id));
            matches!(notice, Notice::Equivocation { device, epochs } if device.user == "mallory" && two(epochs))
        };
        if !kept || !world.peers[name].notices.iter().any(evidence) {
            return End::Succeeded;
        }
    }
    End::Failed
}

/// F2. In each of 16 races Mallory picks the best of 32 commits (of 1,000 times 2^16 in the list). Winning 14 or more
/// is three sigma above fair. At last she races against her own removal.
pub fn grinding() -> End {
    const NAMES: [&str; 3] = ["alice", "bob", "mallory"];
    let mut world = group_of(&NAMES);
    let mut won = 0;
    for race in 0..16 {
        let ground = grind(&mut world, race);
        world.commit("alice", true);
        post(&mut world, "mallory", &ground);
        world.take_in("bob");
        won += usize::from(world.canonical("bob") == Some(ground.epoch.id));
        settle(&mut world, &NAMES);
    }
    let ground = grind(&mut world, 16);
    world.leave_room("mallory");
    world.commit("alice", false);
    post(&mut world, "mallory", &ground);
    settle(&mut world, &["alice", "bob"]);
    End::succeeded_if(won >= 14 || can_read(&world, "bob", "mallory"))
}

/// The one of many commits whose epoch hashes to the least; Mallory goes on from it.
fn grind(world: &mut World, race: u64) -> OutgoingCommit {
    let mallory = Puppet::of(world, "mallory", 0);
    let tries = (0..32).map(|seed| {
        let mut mallory = mallory.copy(32 * race + seed);
        (mallory.commit(update()), mallory)
    });
    let (commit, mallory) = tries.min_by_key(|(commit, _)| commit.epoch.id).unwrap();
    world.peers.get_mut("mallory").unwrap().store = mallory.store;
    world.restart("mallory");
    commit
}

/// F3. Four simultaneous commits in all 24 orders, at times that jump and run backwards (1,000 in the list).
pub fn dates() -> End {
    let world = group_of(&["alice", "bob", "carol", "dan", "erin"]);
    let commits = ["alice", "bob", "carol", "dan"].map(|name| (name, Puppet::of(&world, name, 0).commit(update())));
    let mut heads: Vec<Option<EpochId>> = Vec::new();
    for order in 0..24 {
        let mut erin = Puppet::of(&world, "erin", order as u64);
        for (step, at) in permutation(order).into_iter().enumerate() {
            let (name, commit) = &commits[at];
            let jump = if step == 2 { 0 } else { 1_000 * step as u64 };
            erin.now = world.now.plus(jump);
            erin.input(commit_from(name, commit));
        }
        heads.push(erin.group.canonical());
    }
    heads.dedup();
    End::succeeded_if(heads.len() > 1)
}

/// The `number`th order of four things.
fn permutation(mut number: usize) -> [usize; 4] {
    let mut left = vec![0, 1, 2, 3];
    [4, 3, 2, 1].map(|count| {
        let at = number % count;
        number /= count;
        left.remove(at)
    })
}

/// F4. A private branch of 10 commits (50 in the list) beats the public one; what was said there must stay readable.
/// Which one beats the other is decided by lot, so some are tried.
pub fn late_branch() -> End {
    End::succeeded_if((0..8).any(loses_to_a_late_branch))
}

/// The lot follows from where the branches part: after so many commits.
fn loses_to_a_late_branch(commits: usize) -> bool {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "mallory"];
    let mut world = group_of(&NAMES);
    for _ in 0..commits {
        world.commit("carol", true);
        settle(&mut world, &NAMES);
    }
    let mut mallory = Puppet::of(&world, "mallory", 0);
    let branch: Vec<_> = (0..10).map(|_| mallory.commit(update())).collect();
    world.commit("alice", true);
    for name in ["bob", "carol"] {
        world.take_in(name);
    }
    world.say("alice", "on the public branch");
    for commit in &branch {
        world.input("bob", commit_from("mallory", commit));
    }
    world.take_in("bob");
    let lost = !world.texts("bob").contains("on the public branch");
    // And the branch is merged, not followed: nobody on the public one is left behind.
    for (at, commit) in branch.iter().enumerate() {
        let locator = Locator(format!("$late{at}"));
        for name in ["alice", "carol"] {
            let input = dmls::input::Input::Commit {
                bytes: commit.bytes.clone(),
                locator: Some(locator.clone()),
                from: "mallory".into(),
            };
            world.input(name, input);
        }
    }
    settle(&mut world, &NAMES[..3]);
    let same = NAMES[..3].iter().all(|name| world.canonical(name) == world.canonical("alice"));
    lost || !same
}
