//! The split, with every first speaker and either side's head as base.
//!
//! All plays run beside one another on the same two servers, each with its own people and room, through one cut and
//! one heal.

use std::sync::Mutex;
use std::time::Instant;

use xtask::story::{Base, Error, First, Program, Servers, Split};

use crate::{Outcome, Stage, at_once, report};

/// One way to play the split.
#[derive(Clone)]
pub struct Play {
    pub name: String,
    number: usize,
    base: Base,
    first: First,
}

const FIRST: [(&str, First); 6] = [
    ("bob", First(&["bob"])),
    ("dan", First(&["dan"])),
    ("frank", First(&["frank"])),
    ("erin", First(&["erin"])),
    ("all_at_once", First(&["bob", "dan", "frank", "erin"])),
    ("nobody", First(&[])),
];

/// Gives all ways.
pub fn plays() -> Vec<Play> {
    let mut plays = Vec::new();
    for (side, base) in [("on_hs2", Base::Hs2), ("on_hs1", Base::Hs1)] {
        for (first, speakers) in FIRST {
            let name = format!("split::{side}::{first}_first");
            plays.push(Play { name, number: plays.len(), base, first: speakers });
        }
    }
    plays
}

/// A play under way, or why it broke off.
type Stand = Result<Split, Error>;

/// Plays them all; gives how many failed.
pub fn play(stage: &Stage, plays: Vec<Play>) -> usize {
    if plays.is_empty() {
        return 0;
    }
    let start = Instant::now();
    let stands = each(plays, |play| (play.clone(), begin(&stage.program, &stage.servers, &play)));
    if let Err(error) = stage.servers.cut() {
        return report("split::cut", || Err(error.into()));
    }
    let stands = each(stands, |(play, stand)| (play, stand.and_then(apart)));
    if let Err(error) = stage.servers.heal() {
        return report("split::heal", || Err(error.into()));
    }
    println!("the link has healed after {:.1?}", start.elapsed());
    at_once(stands, |(play, stand)| report(&play.name, move || end(stand, play.first)))
}

/// Does the same with all of these, a few at a time, and keeps the results.
fn each<T: Send, U: Send>(work: Vec<T>, run: impl Fn(T) -> U + Sync) -> Vec<U> {
    let results = Mutex::new(Vec::new());
    at_once(work, |item| {
        let result = run(item);
        results.lock().map_or(1, |mut results| {
            results.push(result);
            0
        })
    });
    results.into_inner().unwrap_or_default()
}

fn begin(program: &Program, servers: &Servers, play: &Play) -> Stand {
    let mut split = Split::meet(program, servers, play.base, &format!("-{}", play.number))?;
    split.before()?;
    Ok(split)
}

fn apart(mut split: Split) -> Stand {
    split.erin_comes()?;
    split.alice_leaves()?;
    split.frank_comes()?;
    split.dan_rekeys()?;
    split.grace_comes()?;
    Ok(split)
}

fn end(stand: Stand, first: First) -> Outcome {
    let mut split = stand?;
    split.note_heads()?;
    split.wait_for_servers()?;
    split.merge(first)?;
    split.after()?;
    let verdicts = split.verdicts()?;
    let failed: Vec<String> = verdicts.iter().filter(|verdict| !verdict.holds()).map(ToString::to_string).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let graph = split.person("bob")?.show(&["log", split.room(), "--graph"])?;
    Err(format!("{}\n{graph}", failed.join("\n")).into())
}
