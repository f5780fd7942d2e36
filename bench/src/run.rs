//! Everything in one run.

use std::time::Duration;

use crate::contest;
use crate::contestant::{Contestant, Failure};
use crate::core::Core;
use crate::limit::Primitives;
use crate::module::Module;
use crate::past;
use crate::peers::beekem::BeeKem;
use crate::peers::megolm;
use crate::peers::mls_rs::MlsRs;
use crate::peers::openmls::OpenMls;
use crate::room;
use crate::roster::{FEWEST, Roster};
use crate::sheet::{CORE, LIMIT, Sheet, say};

/// What is measured.
#[derive(Debug)]
pub struct Plan {
    /// How many devices, each.
    pub sizes: Vec<u32>,
    /// Only rows that begin so; all, if there is none.
    pub only: Vec<String>,
    /// Only these contestants; all, if there is none.
    pub by: Vec<String>,
    /// How long it may take to make ready for rows about the past.
    pub budget: Duration,
    /// How many epochs are known, each.
    pub known: Vec<usize>,
}

impl Plan {
    fn has(&self, who: &str) -> bool {
        self.by.is_empty() || self.by.iter().any(|by| by == who)
    }

    /// The size of the room that gets a long past.
    pub fn past(&self) -> u32 {
        self.sizes.iter().copied().min().unwrap_or(10)
    }
}

/// Measures all rows. A contestant that fails has told so in its rows, and the others go on.
///
/// # Errors
/// If a size is too small, or the primitives fail.
pub fn run(plan: &Plan) -> Result<Sheet, Failure> {
    if let Some(small) = plan.sizes.iter().find(|n| **n < FEWEST) {
        return Err(format!("{small} devices are too few: it takes {FEWEST}").into());
    }
    let mut sheet = Sheet::new(plan.only.clone(), plan.budget);
    Primitives::measure()?.enter_each(&mut sheet);
    for n in &plan.sizes {
        size(plan, Roster { n: *n }, &mut sheet)?;
    }
    let past = Roster { n: plan.past() };
    if plan.has(CORE) {
        told("past", past.n, CORE, past::known(past, &plan.known, &mut sheet), &mut sheet);
    }
    if let Some(most) = plan.known.iter().max().filter(|_| plan.has(CORE)) {
        told("room", 2, CORE, room::old(*most, &mut sheet), &mut sheet);
    }
    Ok(sheet)
}

/// All contestants in rooms of one size, the limit as it is at the same time.
fn size(plan: &Plan, roster: Roster, sheet: &mut Sheet) -> Result<(), Failure> {
    say(&format!("{LIMIT}, {} devices", roster.n));
    Primitives::measure()?.enter(roster, sheet);
    contestant::<Module>(plan, roster, sheet);
    contestant::<Core>(plan, roster, sheet);
    if plan.has(CORE) {
        told("held", roster.n, CORE, past::held(roster, sheet), sheet);
    }
    contestant::<OpenMls>(plan, roster, sheet);
    contestant::<MlsRs>(plan, roster, sheet);
    contestant::<BeeKem>(plan, roster, sheet);
    if plan.has("megolm") {
        told("all", roster.n, "megolm", megolm::play(roster, sheet), sheet);
    }
    Ok(())
}

fn contestant<C: Contestant>(plan: &Plan, roster: Roster, sheet: &mut Sheet) {
    if plan.has(C::WHO) {
        told("the rest", roster.n, C::WHO, contest::play::<C>(roster, sheet), sheet);
    }
}

fn told(op: &str, n: u32, who: &'static str, played: Result<(), Failure>, sheet: &mut Sheet) {
    if let Err(failure) = played {
        sheet.miss(op, n, who, format!("FAILED: {failure}"));
    }
}
