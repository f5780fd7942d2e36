//! Attacks with bytes that no honest device makes.

use dmls::craft::{Commit, Made, State};
use dmls::effect::{Applied, EpochRef, Verdict};
use dmls::id::{EpochId, Height, Locator};
use dmls::input::{Input, Welcome};
use zeroize::Zeroizing;

use crate::attack::End;
use crate::core_world::{Seeded, World};
use crate::scene::{Puppet, commit_from, group_of, message_from, package_of};

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

/// C13. Mallory adds Bob on a base of which she lies that it is 1,000 epochs high. Bob can only believe it; were the
/// commit taken in, he and Alice would order heads differently.
pub fn forged_height() -> End {
    let mut world = group_of(&["alice", "mallory"]);
    world.device("bob", 1);
    world.join_room("bob");
    let (_, package) = package_of(&mut world, "bob");
    let joined = world.desired("alice").devices[world.peers["bob"].own.device()].joined.clone();
    let base = of_mallory(&world);
    let made = Commit::on(&base).add(&package, joined).edit(|data| data.base.height.0 += 1_000);
    let made = made.build(&mut Seeded::new(1)).unwrap().commit;
    world.input("alice", commit_from("mallory", &made));
    let welcome = Welcome {
        bytes: made.welcomes[0].bytes.to_vec(),
        commit: made.bytes.clone(),
        locator: Locator("$lie".into()),
        epoch: made.epoch.id,
        base: made.welcomes[0].base.clone(),
        grant: made.welcomes[0].grant.clone(),
    };
    let now = world.now;
    let bob = world.peers.get_mut("bob").unwrap();
    let joined = bob.group.join(welcome, &mut bob.packages, now, &mut bob.rng).unwrap();
    let verdict = joined.persist(&mut bob.store).unwrap().verdict;
    assert!(matches!(verdict, Verdict::Applied(Applied::Joined { .. })), "{verdict:?}");
    let height = |name: &str| world.peers[name].group.epoch(&made.epoch.id).map(|epoch| epoch.epoch.height);
    End::succeeded_if(height("alice").is_some_and(|known| Some(known) != height("bob")))
}

/// C19. One content, signed once, with two tags: Mallory resolves a head that does not exist, tells Alice one merge
/// value and Bob another. They must not take their two epochs for one.
pub fn two_tags() -> End {
    let world = group_of(&["alice", "bob", "mallory"]);
    let base = of_mallory(&world);
    let invented = EpochRef {
        id: EpochId([9; 32]),
        height: Height(1),
        creator: world.peers["mallory"].own.device().clone(),
        locator: Locator::default(),
    };
    let tagged = |value: [u8; 32]| {
        let commit = Commit::on(&base).merge_value(value).edit(|data| data.resolves.push(invented.clone()));
        commit.build(&mut Seeded::new(1)).unwrap().commit
    };
    let (mut alice, mut bob) = (Puppet::of(&world, "alice", 0), Puppet::of(&world, "bob", 0));
    for (puppet, value) in [(&mut alice, [1; 32]), (&mut bob, [2; 32])] {
        let commit = tagged(value);
        puppet.input(commit_from("mallory", &commit));
        let from = world.peers["mallory"].own.device().clone();
        let verdict =
            puppet.input(Input::MergeReply { epoch: commit.epoch.id, value: Zeroizing::new(value.into()), from });
        assert!(matches!(verdict, Verdict::Applied(_)), "{verdict:?}");
    }
    let same = alice.group.canonical() == bob.group.canonical();
    bob.input(message_from("alice", &alice.say("in which epoch?")));
    End::succeeded_if(same && bob.opened.is_empty())
}
