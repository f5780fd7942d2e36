//! A long past costs no more than a short one: counted in epochs that are looked at, not in time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;

use super::tests::{NOW, mallory_and_bob, take};
use super::{Group, Orders, SealContext};
use crate::dag::visits;
use crate::effect::Publish;
use crate::entropy::Entropy;
use crate::id::{Locator, Timestamp};
use crate::input::Input;

/// Epochs are let go, and become stubs, in lots: one commit in so many pays for the others.
const LOT: usize = 64;

/// What most of these cost, and what they cost on average at the most.
fn usual(costs: &VecDeque<u64>) -> u64 {
    let mut costs: Vec<_> = costs.iter().copied().collect();
    costs.sort_unstable();
    let (median, mean) = (costs[costs.len() / 2], costs.iter().sum::<u64>() / costs.len() as u64);
    assert!(mean < 4 * median, "{mean} on average, {median} mostly");
    median
}

/// How many epochs were looked at in the meantime.
fn visited(act: impl FnOnce()) -> u64 {
    visits::take();
    act();
    visits::take()
}

/// Who updates, publishes that, and tells the other.
fn update(one: &mut Group, other: &mut Group, number: usize, entropy: &mut dyn Entropy) {
    let now = Timestamp(NOW.0 + number as u64);
    let orders = Orders { update: true, ..Orders::default() };
    let outcome = take(one.carry_out(orders, now, entropy).unwrap());
    let Some(Publish::Commit(commit)) = outcome.publish.into_iter().next() else { panic!("no commit") };
    let locator = Locator(format!("${number}"));
    take(one.handle(Input::Published { epoch: commit.epoch.id, locator: locator.clone() }, now, entropy).unwrap());
    let input = Input::Commit { bytes: commit.bytes, locator: Some(locator), from: "x".into() };
    take(other.handle(input, now, entropy).unwrap());
    assert_eq!(other.canonical(), one.canonical());
}

fn seal(group: &mut Group, entropy: &mut dyn Entropy) {
    let mut compose = |_: &SealContext<'_>| b"hello".to_vec();
    take(group.seal(&mut compose, NOW, entropy).unwrap());
}

/// Two devices go on for years: a commit, its echo, its receipt, a message and every question that a host asks cost the
/// same as in the beginning.
#[test]
fn a_long_past_costs_no_more_than_a_short_one() {
    let (mut one, mut two, mut entropy) = mallory_and_bob();
    let (mut costs, mut lately) = (Vec::new(), VecDeque::new());
    for number in 2..2_000 {
        // Each has just the other's commit before it, as at every measuring.
        let (from, to) = if number % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        lately.push_back(visited(|| update(from, to, number, &mut entropy)));
        lately.drain(..lately.len().saturating_sub(LOT));
        if number == 100 || number == 1_998 {
            let commit = usual(&lately);
            let message = visited(|| seal(to, &mut entropy));
            let questions = visited(|| {
                let (id, now) = (to.canonical().unwrap(), NOW);
                let _ = (to.due(now), to.needs(now), to.next_wake(now), to.readiness(), to.standing(&id));
                let _ = (to.joined_at(), to.may_release(&id), to.closed_epochs(), to.epoch(&id), to.reference(&id));
            });
            costs.push((commit, message, questions));
        }
    }
    assert_eq!(costs[0], costs[1]);
}
