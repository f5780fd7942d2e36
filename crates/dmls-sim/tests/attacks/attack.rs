//! What an attack is, and the two halves of its test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// What an attack came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The attacker got what they wanted.
    Succeeded,
    /// The library kept them out.
    Failed,
    /// It takes forged bytes that only the test build can make.
    #[cfg_attr(dmls_mutants, allow(dead_code))]
    NotBuilt,
}

impl End {
    /// The attack succeeded if `so`.
    pub fn succeeded_if(so: bool) -> Self {
        if so { Self::Succeeded } else { Self::Failed }
    }
}

/// An attack with `dmls::craft`, which only the test build has.
macro_rules! crafted {
    ($run:path) => {{
        #[cfg(dmls_mutants)]
        let run = $run;
        #[cfg(not(dmls_mutants))]
        let run = $crate::attack::not_built;
        run
    }};
}
pub(crate) use crafted;

#[cfg(not(dmls_mutants))]
pub fn not_built() -> End {
    End::NotBuilt
}

/// One attack of the threat list.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its id, which is also the name of the defence's switch.
    pub id: &'static str,
    /// The attack, in a few words.
    pub attack: &'static str,
    /// What keeps it out.
    pub defence: &'static str,
    /// Tries it from the beginning, deterministically.
    pub run: fn() -> End,
}

/// An attack that does not apply yet.
#[derive(Clone, Copy)]
pub struct Later {
    /// Its id.
    pub id: &'static str,
    /// Why there is nothing to attack yet.
    pub reason: &'static str,
}

/// An attack whose defence no switch could sensibly take away: a plain test shows that it holds.
#[derive(Clone, Copy)]
pub struct Elsewhere {
    /// Its id.
    pub id: &'static str,
    /// The test: a source file of the workspace, and the function in it.
    pub test: (&'static str, &'static str),
    /// What it shows, and why there is no switch.
    pub reason: &'static str,
}

impl Elsewhere {
    fn is_there(&self) -> bool {
        let (file, function) = self.test;
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        lines.join("\n").contains(&format!("#[test]\nfn {function}()"))
    }
}

/// Runs the attacks that one of `filters` (ids or their first letters) names, or all; prints one line each.
pub fn report(attacks: &[Attack], elsewhere: &[Elsewhere], later: &[Later], filters: &[String]) -> ExitCode {
    let chosen = |id: &str| {
        let named = |filter: &String| id == filter || (id.starts_with(filter.as_str()) && filter.len() == 1);
        filters.is_empty() || filters.iter().any(named)
    };
    let (mut passed, mut failed) = (0, 0);
    for attack in attacks.iter().filter(|attack| chosen(attack.id)) {
        let (word, good) = try_both(attack);
        println!("{:<4} {word:<8} {} | {}", attack.id, attack.attack, attack.defence);
        if good { passed += 1 } else { failed += 1 }
    }
    for elsewhere in elsewhere.iter().filter(|elsewhere| chosen(elsewhere.id)) {
        let (word, (file, function)) = (if elsewhere.is_there() { "TESTED" } else { "BROKEN" }, elsewhere.test);
        println!("{:<4} {word:<8} {} | {file}: {function}", elsewhere.id, elsewhere.reason);
        if elsewhere.is_there() { passed += 1 } else { failed += 1 }
    }
    for later in later.iter().filter(|later| chosen(later.id)) {
        println!("{:<4} {:<8} {}", later.id, "LATER", later.reason);
    }
    println!("test result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_both(attack: &Attack) -> (&'static str, bool) {
    match catch_unwind(AssertUnwindSafe(attack.run)) {
        Ok(End::Failed) => without_defence(attack),
        Ok(End::Succeeded) => ("BROKEN", false),
        Ok(End::NotBuilt) => ("NOT BUILT", true),
        Err(_) => ("PANIC", false),
    }
}

/// An assertion that fails counts as success of the attack: what must hold does not.
#[cfg(dmls_mutants)]
fn without_defence(attack: &Attack) -> (&'static str, bool) {
    let _off = dmls::defence::switch_off(attack.id);
    // What fails here was to fail: its words would only frighten.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let end = catch_unwind(AssertUnwindSafe(attack.run));
    std::panic::set_hook(loud);
    match end {
        Ok(End::Failed | End::NotBuilt) => ("ALIVE", false),
        Ok(End::Succeeded) | Err(_) => ("KILLED", true),
    }
}

#[cfg(not(dmls_mutants))]
fn without_defence(_: &Attack) -> (&'static str, bool) {
    ("HELD", true)
}
