mod bfs;
mod core;
#[cfg(feature = "des")]
mod des;
mod misc;
use crate::bfs::{search, Ev, Ev::*, Pool, Set};
use crate::core::*;

fn show(s: Set, verbose: bool) -> bool {
    let t = std::time::Instant::now();
    let f = search(&s);
    println!(
        "{:34} {:?} | states {} depth {} {} rounds {} {:.1}s | {}",
        s.name,
        s.pool,
        f.states,
        f.depth,
        if f.complete { "complete" } else { "cut" },
        f.rounds,
        t.elapsed().as_secs_f64(),
        f.broken.as_deref().unwrap_or("ok")
    );
    let ok = f.broken.is_none();
    if verbose && !ok {
        for l in f.trace {
            println!("    {l}");
        }
    }
    ok
}
fn sets(r: Rules, max: usize) -> Vec<Set> {
    let single = r.ret != Ret::Ask;
    let v = vec![
        Set::new("trap: leave, removed, rejoin", 3, r, &[(Leave, 1), (Join, 1), (Early, 1), (Update, 1)]),
        Set::new("trap with gap", 3, r, &[(Leave, 1), (Join, 1), (Early, 2), (Gap, 1)]),
        Set::new("trap, stray", 3, r, &[(Leave, 1), (Join, 1), (Early, 1), (Stray, 1)]),
        Set::new("one drop", 3, r, &[(Drop, 1), (Update, 1), (Early, 1)]).bad(&[2]),
        Set::new("two drops", 3, r, &[(Drop, 2), (Early, 1)]).bad(&[2]),
        Set::new("drop after rejoin", 3, r, &[(Leave, 1), (Join, 1), (Early, 2), (Drop, 1)]).bad(&[2]),
        Set::new("false stamp", 3, r, &[(Leave, 1), (Join, 1), (Early, 1), (FalseStamp, 1), (Drop, 1)]).bad(&[2]),
        Set::new("two forks, one leaves", 3, r, &[(Update, 2), (Leave, 1), (Early, 1)]),
        Set::new("two forks of four", 4, r, &[(Update, 2), (Early, 1)]),
        Set::new("newcomer and fork", 3, r, &[(Join, 1), (Update, 1), (Early, 1), (Enter, 1)]).members(&[0, 1]),
        Set::new("poison", 3, r, &[(Poison, 1), (Update, 1), (Early, 1)]).bad(&[2]),
        Set::new("nobody can open", 3, r, &[(PoisonAll, 1), (Update, 1), (Early, 1)]).bad(&[2]),
        Set::new("poison and drop", 3, r, &[(Poison, 1), (Drop, 1)]).bad(&[2]),
        Set::new("asks", 3, r, &[(Ask, 2), (Update, 1), (Early, 1)]),
        Set::new("old external", 3, r, &[(Update, 2), (OldExt, 1), (Early, 1)]).bad(&[2]),
        Set::new("old commit", 3, r, &[(Update, 2), (OldCommit, 1), (Early, 1)]).bad(&[2]),
        Set::new("late departures", 3, r, &[(Leave, 1), (Join, 1), (Early, 2), (Gap, 2), (LateEnd, 1), (Update, 1)]),
        Set::new("state reset", 3, r, &[(Leave, 1), (Early, 2), (Reset, 1), (Update, 1)]),
        Set::new("state reset and rejoin", 3, r, &[(Leave, 1), (Join, 1), (Early, 2), (Reset, 1)]),
        Set::new("twice", 3, r, &[(Leave, 2), (Join, 2), (Early, 2)]),
        Set::new("two leave", 4, r, &[(Leave, 2), (Join, 1), (Early, 1)]),
        Set::new("three forks of four, leave", 4, r, &[(Update, 3), (Leave, 1)]),
        Set::new("poison twice", 3, r, &[(Poison, 2), (Update, 1), (Early, 1)]).bad(&[2]),
        Set::new("poison of four", 4, r, &[(Poison, 2), (Early, 1)]).bad(&[2]),
        Set::new("poison and leave", 4, r, &[(Poison, 1), (Leave, 1), (Join, 1)]).bad(&[2]),
        Set::new("drop twice, leave", 4, r, &[(Drop, 2), (Leave, 1)]).bad(&[2]),
        Set::new("ask and fork", 4, r, &[(Ask, 1), (Update, 2), (Early, 1)]),
        Set::new("old external, leave", 3, r, &[(Update, 1), (OldExt, 1), (Leave, 1), (Join, 1), (Early, 1)]).bad(&[2]),
        Set::new("two devices of a user", 4, r, &[(Leave, 1), (Join, 1), (Early, 1)]).users(&[0, 1, 2, 2]),
        // new: ghosts, lost Welcomes, made up M, restored copies
        Set::new("ghost", 3, r, &[(Ghost, 1), (Update, 1), (Early, 1)]).bad(&[2]),
        Set::new("ghost twice", 3, r, &[(Ghost, 2), (Update, 1)]).bad(&[2]),
        Set::new("drop, old ghost", 3, r, &[(Drop, 1), (GhostOld, 1), (Update, 1)]).bad(&[2]),
        Set::new("ghost, leave, join", 3, r, &[(Ghost, 1), (Leave, 1), (Join, 1), (Early, 1)]).bad(&[2]),
        Set::new("ghost and ask", 3, r, &[(Ghost, 1), (Ask, 1), (Early, 1)]).bad(&[2]),
        Set::new("ghost and poison", 3, r, &[(Ghost, 1), (Poison, 1)]).bad(&[2]),
        Set::new("ghost of four", 4, r, &[(Ghost, 2)]).bad(&[3]),
        Set::new("lost Welcome", 3, r, &[(Leave, 1), (Join, 1), (Early, 1), (Lost, 1)]),
        Set::new("lost twice, newcomer", 3, r, &[(Join, 1), (Lost, 2), (Update, 1)]).members(&[0, 1]),
        Set::new("made up M", 3, r, &[(Update, 2), (BadMerge, 1)]).bad(&[2]),
        Set::new("made up M over a poisoned fork", 4, r, &[(Poison, 1), (Update, 1), (BadMerge, 1)]).bad(&[3]),
        Set::new("restored copy", 3, r, &[(Update, 2), (Restore, 1)]),
        Set::new("restored copy, ghost", 3, r, &[(Update, 1), (Restore, 1), (Ghost, 1)]).bad(&[2]),
    ];
    v.into_iter()
        .map(|s| {
            let s = s.max(max);
            if single {
                s.single()
            } else {
                s
            }
        })
        .collect()
}
fn variants() -> Vec<(&'static str, Rules)> {
    vec![
        ("FULL", FULL),
        ("FULL keep", Rules { keep: true, ..FULL }),
        ("FULL no stamps", Rules { ended: false, ..FULL }),
        ("FULL R4 only (2)", Rules { ended: false, one: One::Off, ..FULL }),
        ("stamps, no 1", Rules { keep: true, one: One::Off, ..HELD }),
        ("FULL no-R4", Rules { heard: false, ..FULL }),
        ("FULL no-R4 any", Rules { heard: false, one: One::Any, ..FULL }),
        ("HELD", HELD),
        ("HELD keep", Rules { keep: true, ..HELD }),
        ("HELD keep any", Rules { keep: true, one: One::Any, ..HELD }),
        ("HELD keep max", Rules { keep: true, max_only: true, ..HELD }),
        ("HELD keep max names", Rules { keep: true, max_only: true, desc: Desc::Names, ..HELD }),
        ("NOEND", NOEND),
        ("NOEND keep", Rules { keep: true, ..NOEND }),
        ("NOEND keep max", Rules { keep: true, max_only: true, desc: Desc::Names, ..NOEND }),
        ("FINAL", FINAL),
        ("WEIGH", WEIGH),
        ("WEIGH all", Rules { newest_commit: false, ..WEIGH }),
        ("WEIGH leaf floors", Rules { leaf_floor: true, ..WEIGH }),
        ("WEIGH stamps", Rules { ended: true, ..WEIGH }),
        ("WEIGH no keep", Rules { keep: false, ..WEIGH }),
        ("WEIGH order simple", Rules { o: O::Simple, ..WEIGH }),
        ("WEIGH not held", Rules { held: false, ..WEIGH }),
        ("FAIR", FAIR),
        ("FAIR all", Rules { newest_commit: false, ..FAIR }),
        ("FINAL cost", Rules { o: O::Cost, ..FINAL }),
        ("FINAL newest of commits", Rules { newest_commit: true, ..FINAL }),
        ("FINAL no keep", Rules { keep: false, ..FINAL }),
        ("FINAL stamps", Rules { ended: true, ..FINAL }),
        ("FINAL grant any", Rules { grant: 2, ..FINAL }),
        ("CAND", CAND),
        ("ONE", ONE),
        ("TIPS", TIPS),
        ("BASE", BASE),
        ("ORDER", ORDER),
        ("SIMPLE", Rules { o: O::Simple, ..CAND }),
        ("SIMPLE floor=package", Rules { o: O::Simple, tight: false, ..CAND }),
        ("STRICT", Rules { two: Two::None, ..CAND }),
        ("1 of C kept", Rules { one: One::Count, ..CAND }),
        ("stamps kept", Rules { ended: true, ..CAND }),
        ("not held", Rules { held: false, ..CAND }),
        ("names", Rules { desc: Desc::Names, ..CAND }),
        ("no keep", Rules { keep: false, ..CAND }),
        ("not max", Rules { max_only: false, ..CAND }),
        ("floor=package", Rules { tight: false, ..CAND }),
        ("floors in asks only", Rules { leaf_floor: false, ..CAND }),
        ("no floors", Rules { floors: false, ..CAND }),
        ("newest of commits", Rules { newest_commit: true, ..CAND }),
        ("gone once", Rules { o: O::Cost1, ..CAND }),
        ("no devices", Rules { o: O::CostNoDev, ..CAND }),
        ("no gone", Rules { o: O::NewestUser, ..CAND }),
        ("number first", Rules { o: O::NumberFirst, ..CAND }),
        ("ext first", Rules { o: O::ExtFirst, ..CAND }),
        ("ext resolves", Rules { ext_resolves: true, ..CAND }),
        ("grant any leaf", Rules { grant: 2, ..CAND }),
        ("grant base leaf", Rules { grant: 0, ..CAND }),
        ("not sticky", Rules { sticky: false, ..CAND }),
        ("again", Rules { again: true, ..CAND }),
        ("ext returns", Rules { ret: Ret::Ext, ..CAND }),
        ("ord returns", Rules { ret: Ret::Ord, ..CAND }),
    ]
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |i: usize| a.get(i).cloned().unwrap_or_default();
    let max = get(2).parse().unwrap_or(300_000);
    let pools = |s: &str| match s {
        "old" => vec![Pool::Old],
        "mixed" => vec![Pool::Mixed],
        "all" => vec![Pool::Fresh, Pool::Old, Pool::Mixed],
        _ => vec![Pool::Fresh],
    };
    let exact = |name: &str, pick: &str| pick.is_empty() || pick.split(',').any(|p| p == name);
    match a.get(1).map(String::as_str) {
        // search MAX VARIANTS POOL [WORLD] [v]
        Some("search") => for (name, r) in variants() { if !exact(name, &get(3)) { continue; } for p in pools(&get(4)) {
            println!("== {name}"); let (mut n, mut ok) = (0, 0);
            for s in sets(r, max) { if s.name.contains(&get(5)) { n += 1; ok += u32::from(show(s.pool(p), get(6) == "v")); } }
            println!("== {name} {p:?}: {ok} of {n} ok\n");
        } },
        // walk SEEDS VARIANTS POOL ROUNDS EVENTS [v]
        Some("walk") => {
            let seeds: u64 = get(2).parse().unwrap_or(1000);
            let rounds: u8 = get(5).parse().unwrap_or(100);
            let mut all: Vec<(Ev, u8)> = vec![(Update, 3), (Early, 4), (Leave, 2), (Join, 2), (Drop, 2), (FalseStamp, 1), (Poison, 2), (PoisonAll, 1), (Stray, 1), (OldExt, 1), (OldCommit, 1), (Ask, 1), (Enter, 1)];
            let kind = get(6);
            if kind.contains('l') { all.extend([(Gap, 1), (LateEnd, 1)]); }
            if kind.contains('g') { all.extend([(Ghost, 2), (GhostOld, 1), (Lost, 2)]); }
            if kind.contains('m') { all.push((BadMerge, 2)); }
            if kind.contains('w') { all.push((LetGo, 3)); }
            if kind.contains('r') { all.push((Restore, 1)); }
            if kind.contains('s') { all.push((Reset, 1)); }
            for (name, r) in variants() { if !exact(name, &get(3)) { continue; } for p in pools(&get(4)) {
                for (world, s) in [("4 devices", Set::new("walk", 4, r, &all).bad(&[3])), ("5 devices, 4 users", Set::new("walk", 5, r, &all).users(&[0, 1, 2, 3, 0]).bad(&[3])), ("6 devices, 1 outside", Set::new("walk", 6, r, &all).bad(&[3]).members(&[0, 1, 2, 3, 4]))] {
                    let s = s.rounds(rounds).pool(p);
                    let t = std::time::Instant::now();
                    let (bad, kinds, longest) = bfs::walks(&s, seeds);
                    let c = s.cost.borrow().clone();
                    let f = |x: u64| x as f64 / seeds as f64;
                    println!("walk {name:20} {p:?} {kind:5} {world:20} {seeds}: broken {bad} {:?} most rounds {longest} | a walk: rounds {:.2} commits {:.2} packages {:.2} asks {:.2} fallbacks {:.3} behind {:.3} | {:.0}s", kinds.iter().map(|(k, n)| (n.0, k.as_str())).collect::<Vec<_>>(), f(c.rounds), f(c.commits), f(c.packages), f(c.asks), f(c.fallback), f(c.behind), t.elapsed().as_secs_f64());
                    if get(7) == "v" { for (k, (n, t)) in kinds { println!("  -- {n} x {k}"); for l in t { println!("    {l}"); } } }
                }
            } }
        }
        Some("theft") => {
            let seeds: u64 = get(2).parse().unwrap_or(1000);
            let all = &[(Update, 4), (Early, 4), (Leave, 1), (Join, 1), (Drop, 1), (Poison, 1), (OldExt, 1), (OldCommit, 1), (Ask, 1), (Ghost, 1), (Lost, 1)];
            for (name, r) in variants() { if !exact(name, &get(3)) { continue; } for p in pools(&get(4)) {
                let (cases, bad, first) = bfs::theft(&Set::new("theft", 4, r, all).bad(&[3]).rounds(100).pool(p), seeds);
                println!("theft {name:20} {p:?}: {cases} healed views, {bad} known to the thief");
                if get(5) == "v" { if let Some(t) = first { for l in t { println!("    {l}"); } } }
            } }
        }
        Some("misc") => { misc::rule_a(); misc::flood(); misc::turns(); }
        Some("turns") => misc::turns(),
        #[cfg(feature = "des")]
        Some("des") => des::run(a.get(2).map_or("", |x| x)),
        _ => println!("search MAX VARIANTS POOL WORLD v | walk SEEDS VARIANTS POOL ROUNDS EVENTS v | theft SEEDS VARIANTS POOL v | des WHAT | misc"),
    }
}
