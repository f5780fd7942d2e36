//! Commits with proposals that have no place in them. Only an insider's own bytes show these: the test build.

use dmls::craft::{Commit, State};
use dmls::effect::Verdict;

use crate::attack::End;
use crate::core_world::Seeded;
use crate::scene::{commit_from, group_of};

fn counts(bend: impl for<'a> Fn(Commit<'a>) -> Commit<'a>) -> End {
    let mut world = group_of(&["alice", "mallory"]);
    let base = State::of(&world.peers["mallory"].group, &world.canonical("mallory").unwrap()).unwrap();
    let made = bend(Commit::on(&base)).build(&mut Seeded::new(1)).unwrap();
    let verdict = world.input("alice", commit_from("mallory", &made.commit));
    End::succeeded_if(matches!(verdict, Verdict::Applied(_)))
}

/// I7. Two PSKs.
pub fn second_psk() -> End {
    counts(|commit| commit.points(2))
}

/// I8. External senders: whoever they are could propose removals from outside.
pub fn rewritten_extensions() -> End {
    counts(|commit| commit.external_sender())
}
