//! One run of an operation, with a crash or without.

use dmls_sim::client::CrashPoint;
use dmls_sim::run::{Outcome, run_watched};
use dmls_sim::script::{Script, Step};
use dmls_sim::world::World;
use dmls_store::MemoryStore;

use crate::operations::Operation;

/// The device is looked after so often, and in such pauses, while the operation goes on.
const LOOKS: usize = 40;
const PAUSE: u64 = 250;

/// A run that came to its end.
pub struct Play {
    /// What happened.
    pub outcome: Outcome,
    /// Transactions of the device during the operation.
    pub commits: usize,
    /// Its requests.
    pub requests: usize,
    /// What it had stored when it went down.
    pub found: Option<MemoryStore>,
}

/// Whether the operation is run, and what becomes of the device.
#[derive(Clone, Copy)]
pub enum Course {
    /// The first step of the operation is left out.
    Without,
    /// Nothing happens to the device.
    Unhindered,
    /// It crashes there.
    Crash(CrashPoint, Revival),
}

/// When a device that crashed is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revival {
    /// At once.
    Soon,
    /// When all is quiet.
    Late,
    /// At once, and it crashes again right after the first transaction that it makes then.
    Twice,
}

impl Revival {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Soon, Self::Late, Self::Twice];
}

/// Where the parts of the script end.
struct Marks {
    armed: usize,
    quiet: usize,
}

/// Runs an operation from the beginning.
pub fn play(operation: &Operation, course: Course) -> Play {
    let (script, marks) = script(operation, course);
    let name = operation.device();
    let (mut commits, mut requests, mut found, mut again) = (0, 0, None, false);
    let mut watch = |step: usize, world: &mut World| {
        let Ok(client) = world.client(&name) else { return };
        let so_far = (client.journal().commits(), client.requests);
        if found.is_none() && client.machine.is_none() && step > marks.armed {
            found = Some(client.store.clone());
        }
        let revived = found.is_some() && client.machine.is_some();
        if revived && !again && matches!(course, Course::Crash(_, Revival::Twice)) {
            again = true;
            world.crash_at(&name, CrashPoint::Stored(0)).unwrap();
        }
        if step == marks.armed {
            (commits, requests) = so_far;
            if let Course::Crash(point, _) = course {
                world.crash_at(&name, point).unwrap();
            }
        }
        if step == marks.quiet {
            (commits, requests) = (so_far.0 - commits, so_far.1 - requests);
        }
    };
    let outcome = run_watched(&script, &mut watch).unwrap_or_else(|broken| panic!("{}: {broken}", operation.name));
    Play { outcome, commits, requests, found }
}

fn script(operation: &Operation, course: Course) -> (Script, Marks) {
    let mut script = Script::new(5, &["hs1", "hs2"]);
    let steps = &mut script.steps;
    let restart = || Step::Restart(operation.device());
    steps.extend(operation.before.iter().flat_map(|part| Operation::steps(part)));
    let armed = steps.len() - 1;
    let left_out = usize::from(matches!(course, Course::Without));
    steps.extend(Operation::steps(operation.during).into_iter().skip(left_out));
    for _ in 0..LOOKS {
        steps.push(Step::Wait(PAUSE));
        if matches!(course, Course::Crash(_, Revival::Soon | Revival::Twice)) {
            steps.push(restart());
        }
    }
    steps.push(Step::Settle);
    let quiet = steps.len() - 1;
    steps.extend([restart(), Step::Settle]);
    steps.extend(Operation::steps(operation.after));
    steps.extend([Step::Settle, Step::Close]);
    (script, Marks { armed, quiet })
}
