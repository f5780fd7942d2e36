//! Under Synapse's own rate limits: about ten events at once, then one every five seconds.

use std::time::Instant;

use crate::company::{HS1, HS2, people, room, tell};
use crate::{Outcome, Stage, Test};

/// How many messages are sent, more than the limits let pass at once.
const MESSAGES: usize = 14;

pub const TESTS: &[Test] = &[("limits::are_obeyed", are_obeyed)];

fn are_obeyed(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-limit", HS1), ("bob-limit", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    let start = Instant::now();
    let mut events = Vec::new();
    for number in 0..MESSAGES {
        events.push(alice.send(&room, &format!("number {number}"))?.event_id);
    }
    let took = start.elapsed();
    for event in &events {
        bob.sync_until_reads(&room, event)?;
    }
    tell(&room, &bob, "all there", &[&alice])?;
    alice.run(&["update", &room])?;
    tell(&room, &alice, "rekeyed", &[&bob])?;
    assert!(took.as_secs() >= 5, "the limits were never met in {took:?}");
    Ok(())
}
