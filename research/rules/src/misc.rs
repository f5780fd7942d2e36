//! Rule A (order of arrival, caps), Rule F (turns by formula), Rule B (lives).
use std::collections::{BTreeMap, BTreeSet};

struct C {
    id: usize,
    base: usize,
    resolves: Vec<usize>,
    user: char,
    serial: u32,
}

/// All orders of arrival of a small set of commits; how many different final results.
pub fn rule_a() {
    println!("\n== rule A: every order of arrival of 8 commits (flooder M: 5 on one base, 1 deeper; honest h on the base, k on M's third, resolving h); one base 0");
    let cs = [
        C { id: 1, base: 0, resolves: vec![], user: 'M', serial: 1 },
        C { id: 2, base: 0, resolves: vec![], user: 'M', serial: 2 },
        C { id: 3, base: 0, resolves: vec![], user: 'M', serial: 3 },
        C { id: 4, base: 0, resolves: vec![], user: 'M', serial: 4 },
        C { id: 5, base: 0, resolves: vec![], user: 'M', serial: 5 },
        C { id: 6, base: 1, resolves: vec![], user: 'M', serial: 6 },
        C { id: 7, base: 0, resolves: vec![], user: 'h', serial: 1 },
        C { id: 8, base: 3, resolves: vec![7], user: 'k', serial: 1 },
    ];
    for variant in [
        "A0 built: third on a base refused for good unless another's waits; 3 heads at most",
        "A1 parked: third waits until another's needs it; 3 heads at most, looked at again",
        "A2 cap per creator, oldest by arrival is let go for good",
        "A3 all accepted; as heads count per creator the 2 of highest (life, serial) and what others build on",
    ] {
        let v = variant.as_bytes()[1] - b'0';
        let mut results: BTreeMap<(BTreeSet<usize>, BTreeSet<usize>), usize> = BTreeMap::new();
        let mut lost = 0;
        let mut perm: Vec<usize> = (0..8).collect();
        permute(&mut perm, 0, &mut |order| {
            let (acc, heads) = arrive(&cs, order, v);
            if !heads.iter().any(|h| *h == 8) || !acc.contains(&7) {
                lost += 1;
            }
            *results.entry((acc, heads)).or_default() += 1;
        });
        println!("{variant}: {} different results; honest work lost in {lost} of 40320 orders", results.len());
    }
}
fn arrive(cs: &[C], order: &[usize], v: u8) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let mut acc: BTreeSet<usize> = BTreeSet::from([0]);
    let mut seq: Vec<usize> = vec![];
    let mut gone: BTreeSet<usize> = BTreeSet::new(); // refused or let go for good
    let mut wait: Vec<usize> = vec![];
    let get = |id: usize| cs.iter().find(|c| c.id == id).unwrap();
    let heads = |acc: &BTreeSet<usize>, gone: &BTreeSet<usize>| -> BTreeSet<usize> {
        let live: BTreeSet<usize> = acc.iter().copied().filter(|x| !gone.contains(x)).collect();
        live.iter()
            .copied()
            .filter(|x| !live.iter().any(|y| *y != 0 && (get(*y).base == *x || get(*y).resolves.contains(x))))
            .collect()
    };
    for i in order {
        wait.push(cs[*i].id);
        loop {
            let next = wait.iter().copied().find(|id| {
                let c = get(*id);
                if gone.contains(id)
                    || !acc.contains(&c.base)
                    || gone.contains(&c.base)
                    || c.resolves.iter().any(|r| !acc.contains(r))
                {
                    return false;
                }
                if v == 3 || v == 2 {
                    return true;
                }
                let siblings =
                    acc.iter().filter(|x| **x != 0 && get(**x).base == c.base && get(**x).user == c.user).count();
                let wanted = wait.iter().any(|w| {
                    let o = get(*w);
                    o.user != c.user && (o.base == *id || o.resolves.contains(id))
                });
                (siblings < 2 || wanted) && (heads(&acc, &gone).len() < 3 || wanted)
            });
            let Some(id) = next else { break };
            wait.retain(|w| *w != id);
            acc.insert(id);
            seq.push(id);
            if v == 2 {
                let hs = heads(&acc, &gone);
                let ms: Vec<usize> =
                    seq.iter().copied().filter(|x| hs.contains(x) && get(*x).user == get(id).user).collect();
                if ms.len() > 2 {
                    gone.insert(ms[0]);
                }
            }
        }
        if v == 0 {
            // what can be judged now and is not taken is refused for good
            let judged: Vec<usize> = wait
                .iter()
                .copied()
                .filter(|id| {
                    let c = get(*id);
                    acc.contains(&c.base) && c.resolves.iter().all(|r| acc.contains(r))
                })
                .collect();
            for id in judged {
                gone.insert(id);
                wait.retain(|w| *w != id);
            }
        }
    }
    let mut h = heads(&acc, &gone);
    if v == 3 {
        let all = h.clone();
        for u in ['M', 'h', 'k'] {
            let mut mine: Vec<usize> = all.iter().copied().filter(|x| *x != 0 && get(*x).user == u).collect();
            mine.sort_by_key(|x| std::cmp::Reverse(get(*x).serial));
            for x in mine.into_iter().skip(2) {
                h.remove(&x);
            }
        }
    }
    (acc.difference(&gone).copied().collect(), h)
}
fn permute(p: &mut Vec<usize>, at: usize, f: &mut dyn FnMut(&[usize])) {
    if at == p.len() {
        return f(p);
    }
    for i in at..p.len() {
        p.swap(at, i);
        permute(p, at + 1, f);
        p.swap(at, i);
    }
}

/// A flood by one member: what late messages are lost, by retention rule.
pub fn flood() {
    println!("\n== flood: M commits once a second for an hour in a room where 5 others speak every 20 s in the newest epoch and one honest commit comes a minute; each message and commit arrives late by 0-300 s at a device; lost at it");
    for (name, global, per, cap1) in [
        ("64 held in all (built)", Some(64), usize::MAX, None),
        ("64 per creator (PROTOCOL, one class)", None, 64, None),
        ("time only, 7 d", None, usize::MAX, None),
        ("class 1: 4096 per creator; class 2: 64 per creator", None, 64, Some(4096usize)),
    ] {
        for rate in [1u64, 10] {
            let mut held: Vec<(u64, char)> = vec![]; // epochs in order of arrival: (id, creator)
            let mut rng = 12345u64;
            let mut rnd = |n: u64| {
                rng ^= rng << 13;
                rng ^= rng >> 7;
                rng ^= rng << 17;
                (rng >> 11) % n
            };
            let mut pend: Vec<(u64, u64, char)> = vec![]; // due, epoch, kind
            let (mut lost_m, mut lost_c, mut m, mut c) = (0, 0, 0, 0);
            let mut id = 0;
            let mut maker: BTreeMap<u64, char> = BTreeMap::new();
            for t in 0..3600u64 {
                for _ in 0..rate {
                    id += 1;
                    held.push((id, 'M'));
                    maker.insert(id, 'M');
                }
                if t % 60 == 30 {
                    pend.push((t + rnd(300), id, 'c'));
                    id += 1;
                    held.push((id, 'h'));
                    maker.insert(id, 'h');
                }
                if t % 4 == 0 {
                    pend.push((t + rnd(300), id, 'm'));
                }
                let keep = |held: &Vec<(u64, char)>, e: u64, cap: usize| -> bool {
                    if let Some(g) = global {
                        return held.iter().rev().take(g).any(|h| h.0 == e);
                    }
                    held.iter().rev().filter(|h| h.1 == maker[&e]).take(cap).any(|h| h.0 == e)
                };
                pend.retain(|(due, e, kind)| {
                    if *due > t {
                        return true;
                    }
                    let cap = if *kind == 'm' { cap1.unwrap_or(per) } else { per };
                    let ok = keep(&held, *e, cap);
                    if *kind == 'm' {
                        m += 1;
                        lost_m += u32::from(!ok);
                    } else {
                        c += 1;
                        lost_c += u32::from(!ok);
                    }
                    false
                });
            }
            println!("{name:52} M {rate:2}/s: messages lost {lost_m}/{m}, commits not enterable {lost_c}/{c}");
        }
    }
}

/// Turns by formula: N members of whom m are online; delay of delivery; how many commit at once.
pub fn turns() {
    println!("\n== turns: mean wait until the first commit and how many commits meet; slot 500 ms; delay: all later than the first by less than it commit too");
    println!("   N     m  delay s | linear: wait, at once | log2: wait, at once | log2, slot = max(0.5 s, delay) | linear among the heard | the same, slot = max(0.5 s, delay)");
    let mut rng = 99u64;
    let mut rnd = move |n: u64| {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        (rng >> 11) % n
    };
    for (n, m) in [(5u64, 5u64), (50, 3), (50, 50), (200, 20), (1000, 1), (1000, 10), (1000, 100), (1000, 1000)] {
        for delay in [0.4f64, 2.0, 5.0, 20.0] {
            let mut out = [[0f64; 2]; 5];
            let runs = 100;
            for _ in 0..runs {
                let mut all: Vec<u64> = (0..n).collect();
                for i in 0..m as usize {
                    let j = i + rnd(n - i as u64) as usize;
                    all.swap(i, j);
                }
                let ranks = &all[..m as usize];
                let online: BTreeSet<u64> = ranks.iter().copied().collect();
                for k in 0..5 {
                    let slot = if k == 2 || k == 4 { delay.max(0.5) } else { 0.5 };
                    // who was heard in the last hour, as each device sees it: nine of ten who are online, and some who are not
                    let w: Vec<f64> = ranks
                        .iter()
                        .map(|r| {
                            if k >= 3 {
                                let p = (m as f64 / n as f64 * 100.0).max(1.0) as u64;
                                let mut seen = |x: u64| if online.contains(&x) { rnd(10) < 9 } else { rnd(1000) < p };
                                let mut before = 0u64;
                                let mut count = 0u64;
                                for x in 0..n {
                                    if x != *r && seen(x) {
                                        count += 1;
                                        if x < *r {
                                            before += 1;
                                        }
                                    }
                                }
                                // one who was not heard itself (one of ten) comes behind
                                if rnd(10) < 9 {
                                    slot * (1.0 + before as f64)
                                } else {
                                    slot * (1.0 + count.min(8) as f64 + f64::from((1 + r).ilog2()))
                                }
                            } else if k == 0 {
                                slot * (1.0 + *r as f64)
                            } else {
                                slot * (1.0 + f64::from((1 + r).ilog2()))
                            }
                        })
                        .collect();
                    let first = w.iter().copied().fold(f64::MAX, f64::min);
                    out[k][0] += first / runs as f64;
                    out[k][1] += w.iter().filter(|x| **x < first + delay).count() as f64 / runs as f64;
                }
            }
            println!("{n:5} {m:5} {delay:6.1}  | {:6.1} {:7.2} | {:6.1} {:7.2} | {:6.1} {:7.2} | {:6.1} {:7.2} | {:6.1} {:7.2}", out[0][0], out[0][1], out[1][0], out[1][1], out[2][0], out[2][1], out[3][0], out[3][1], out[4][0], out[4][1]);
        }
    }
}
