//! Looks for seeds that fail without one defence and pass with all.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::table::IDS;
use super::trial::{Kind, fault};

/// Every so many seeds a generated run has the same theme (`dmls_sim::generate`).
pub const THEMES: u64 = 31;
/// Seeds of each theme that are tried for each id.
const TRIES: u64 = 10;

/// The theme that is most about an attack.
const ABOUT: [(&str, u64); 35] = [
    ("F1", 0),
    ("F2", 1),
    ("F3", 0),
    ("F4", 3),
    ("F5", 4),
    ("F6", 22),
    ("F7", 5),
    ("F8", 19),
    ("F9", 19),
    ("F12", 8),
    ("F13", 20),
    ("F14", 7),
    ("F15", 8),
    ("F16", 13),
    ("F17", 17),
    ("F18", 18),
    ("F19", 4),
    ("F20", 15),
    ("F22", 0),
    ("C2", 10),
    ("C3", 19),
    ("C4", 7),
    ("C9", 14),
    ("C10", 0),
    ("C11", 19),
    ("C12", 6),
    ("C13", 11),
    ("C14", 25),
    ("C15", 9),
    ("C16", 22),
    ("C17", 14),
    ("C18", 21),
    ("C19", 12),
    ("C20", 16),
    ("S1", 30),
];

/// Prints one line for each of `ids` or, without any, for all. A number among them says how many rounds to leave out.
pub fn find(ids: &[String]) -> ExitCode {
    let mut sound: BTreeMap<(u64, &str), Option<String>> = BTreeMap::new();
    let skip = ids.iter().find_map(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let all = ids.iter().all(|word| word.parse::<u64>().is_ok());
    for id in IDS.iter().filter(|id| all || ids.iter().any(|word| word == **id)) {
        let about = ABOUT.iter().find(|(known, _)| known == id).map_or(0, |(_, theme)| *theme);
        let seeds = (skip..skip + TRIES).map(|round| about + THEMES * round);
        let tries = seeds.flat_map(|seed| [(Kind::Hostile, seed), (Kind::Plain, seed)]);
        let mut found = tries.filter_map(|(kind, seed)| {
            let why = fault(kind, seed, Some(id))?;
            let with = sound.entry((seed, kind.word())).or_insert_with(|| fault(kind, seed, None));
            if let Some(with) = with {
                eprintln!("{id} {} {seed} fails both ways: {with}; without the defence: {why}", kind.word());
            }
            with.is_none().then_some((kind, seed, why))
        });
        match found.next() {
            Some((kind, seed, why)) => println!("{id:<4} {} {seed} {why}", kind.word()),
            None => println!("{id:<4} none"),
        }
    }
    ExitCode::SUCCESS
}
