//! Attacks with bytes that no honest device makes.

use dmls::craft::{Commit, Made, State};
use dmls::effect::{EpochRef, Verdict};
use dmls::id::{EpochId, Locator};
use dmls::input::Input;
use zeroize::Zeroizing;

use crate::attack::End;
use crate::core_world::{Seeded, World};
use crate::scene::{Puppet, commit_from, group_of, message_from};

/// What Mallory holds of the epoch that she would send in.
fn of_mallory(world: &World) -> State {
    let group = &world.peers["mallory"].group;
    State::of(group, &group.canonical().unwrap()).unwrap()
}

/// C2, as far as there are points without a chain: Mallory's commit carries a point of Alice's leaf, or of another base.
pub fn copied_point() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let base = of_mallory(&world);
    let alice = base.leaf_of(world.peers["alice"].own.device()).unwrap();
    let commits = [
        Commit::on(&base).point(|point| point.leaf = alice).build(&mut Seeded::new(1)).unwrap(),
        Commit::on(&base).point(|point| point.base = EpochId([7; 32])).build(&mut Seeded::new(2)).unwrap(),
    ];
    let counts = |made: &Made| matches!(world.input("bob", commit_from("mallory", &made.commit)), Verdict::Applied(_));
    End::succeeded_if(commits.iter().map(counts).fold(false, |any, one| any | one))
}

/// C13. Mallory makes five commits on one base. Alice and Bob get them in two orders, and must end with the same heads.
pub fn order_of_arrival() -> End {
    let mut world = group_of(&["alice", "bob", "mallory"]);
    let base = of_mallory(&world);
    let commits: Vec<_> = (0..5).map(|seed| Commit::on(&base).build(&mut Seeded::new(seed)).unwrap().commit).collect();
    for commit in &commits {
        world.input("alice", commit_from("mallory", commit));
    }
    for commit in commits.iter().rev() {
        world.input("bob", commit_from("mallory", commit));
    }
    End::succeeded_if(world.peers["alice"].group.head_ids() != world.peers["bob"].group.head_ids())
}

/// C19. One content, signed once, with two tags: Mallory resolves a head that does not exist, tells Alice one merge
/// value and Bob another. They must not take their two epochs for one.
pub fn two_tags() -> End {
    let world = group_of(&["alice", "bob", "mallory"]);
    let base = of_mallory(&world);
    let invented = EpochRef { id: EpochId([9; 32]), locator: Locator::default() };
    let tagged = |value: [u8; 32]| {
        let commit = Commit::on(&base).merge_value(value).edit(|data| data.resolves.push(invented.clone()));
        commit.build(&mut Seeded::new(1)).unwrap().commit
    };
    let (mut alice, mut bob) = (Puppet::of(&world, "alice", 0), Puppet::of(&world, "bob", 0));
    for (puppet, value) in [(&mut alice, [1; 32]), (&mut bob, [2; 32])] {
        let commit = tagged(value);
        puppet.input(commit_from("mallory", &commit));
        let from = world.peers["mallory"].own.device().clone();
        let to = puppet.group.device().clone();
        let value = base.reply(&to, std::slice::from_ref(&invented), value, &mut Seeded::new(2)).unwrap();
        let verdict = puppet.input(Input::MergeReply { epoch: commit.epoch.id, value: Zeroizing::new(value), from });
        assert!(matches!(verdict, Verdict::Applied(_)), "{verdict:?}");
    }
    let same = alice.group.canonical() == bob.group.canonical();
    bob.input(message_from("alice", &alice.say("in which epoch?")));
    End::succeeded_if(same && bob.opened.is_empty())
}
