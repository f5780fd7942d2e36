//! Randomised discrete-event simulation: time, delays, people who speak, victims, attackers.
use crate::core::*;
/// Rules by name, from the environment.
fn good() -> Rules {
    crate::variants().into_iter().find(|v| v.0 == std::env::var("RULES").unwrap_or("WEIGH".into())).unwrap().1
}
fn key(k: u128, s: u16) -> u128 {
    k | 1u128 << s.min(127)
}
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trig {
    Always,
    Spoke,
    Majority,
    First,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    Victim,
    Creator,
    Root,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum K {
    Own,
    Subject,
    Both,
    Damped,
    None,
}
#[derive(Clone, Copy, Debug)]
pub struct E {
    pub trig: Trig,
    pub pause: Pause,
    pub k: K,
    pub one_first: bool,
    pub own_maker: bool,
    pub wire: bool,
    pub among_heard: bool,
}
pub const BEST: E = E {
    trig: Trig::First,
    pause: Pause::Root,
    k: K::Both,
    one_first: true,
    own_maker: false,
    wire: true,
    among_heard: false,
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ev {
    Commit(Ix),
    Msg { from: u16, epoch: Ix, id: u32, claimed: bool },
    Fact(u16, u8),
    Ask(u16, u16, u16, Ix),
    Wake,
    Speak,
    Act(u32),
}

#[derive(Default, Clone)]
struct Dev {
    view: View,
    waiting: BTreeSet<Ix>,
    msgs: Vec<(u32, Ix, u64)>,
    plan: Option<Plan>,
    plan_at: u64,
    wake: u64,
    autos: Vec<u64>,
    human: u64,
    dirty: bool,
    offline_until: u64,
    heard: BTreeMap<u16, (u64, bool, Ix)>, // user -> when, in a line that I cannot use, where
    closed_at: u64,
    tries: BTreeMap<Ix, (u32, u64)>,
    per_creator: BTreeMap<u16, Vec<u64>>,
    returns: Vec<u64>,
    seen_at: BTreeMap<Ix, u64>,
    speak_pending: bool,
    ask_due: Option<u64>,
    asks: BTreeMap<Ix, (BTreeSet<u16>, u64)>,
    said: Option<u64>,
}
#[derive(Default, Debug, Clone)]
pub struct Count {
    pub commits: u32,
    pub auto: u32,
    pub ext: u32,
    pub asks: u32,
    pub adds: u32,
    pub claims: u32,
    pub updates: u32,
    pub attack: u32,
    pub ext_failed: u32,
}
pub struct Sim {
    pub reg: Reg,
    user: Vec<u16>,
    r: Rules,
    e: E,
    devs: Vec<Dev>,
    q: BinaryHeap<Reverse<(u64, u64, u16, Ev)>>,
    seq: u64,
    now: u64,
    rng: u64,
    delay: (u64, u64),
    side: Vec<u8>,
    heal: u64,
    bad: BTreeSet<u16>,
    pub n: Count,
    msgs: Vec<(u16, Ix, u64)>,
    read: BTreeMap<(u32, u16), u64>,
    slot: u64,
    lie: BTreeMap<u16, BTreeSet<u16>>,
}
const S: u64 = 1000; // virtual milliseconds

impl Sim {
    pub fn new(n: u16, users: Vec<u16>, members: u16, r: Rules, e: E, seed: u64, delay: (u64, u64)) -> Sim {
        let mut reg = Reg::default();
        let leaves = (0..members).map(|d| Leaf { dev: d, floor: 0, serial: 0, join: 1, pkg: false }).collect();
        let g = reg.enter(Epoch {
            base: None,
            resolves: vec![],
            creator: 0,
            ext: false,
            num: 0,
            leaves,
            removed: vec![],
            added: vec![],
            poison: vec![],
            ghost: vec![],
            no_m: false,
            bad_m: false,
            bad_gi: false,
            deliberate: false,
            attempt: 0,
        });
        let nu = users.iter().max().unwrap() + 1;
        let facts: Vec<Fact> =
            (0..nu).map(|u| Fact { shown: u8::from((0..members).any(|d| users[d as usize] == u)), ends: 0 }).collect();
        let devs = (0..n)
            .map(|me| Dev {
                view: View {
                    me,
                    acc: if me < members { BTreeMap::from([(g, true)]) } else { BTreeMap::new() },
                    facts: facts.clone(),
                    floors: vec![0; n as usize],
                    asks: vec![0; n as usize],
                    nopkg: 0,
                    floor: 0,
                    serial: 0,
                    keys: 0,
                    own: 1,
                    past: BTreeSet::new(),
                    wanted: 0,
                },
                dirty: true,
                wake: u64::MAX,
                ..Dev::default()
            })
            .collect();
        Sim {
            reg,
            user: users,
            r,
            e,
            devs,
            q: BinaryHeap::new(),
            seq: 0,
            now: 0,
            rng: seed.wrapping_mul(0x9E3779B97F4A7C15) | 1,
            delay,
            side: vec![0; n as usize],
            heal: 0,
            bad: BTreeSet::new(),
            n: Count::default(),
            msgs: vec![],
            read: BTreeMap::new(),
            slot: 500,
            lie: BTreeMap::new(),
        }
    }
    fn rnd(&mut self, n: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng >> 11) % n.max(1)
    }
    fn put(&mut self, t: u64, d: u16, e: Ev) {
        self.seq += 1;
        self.q.push(Reverse((t, self.seq, d, e)));
    }
    fn send(&mut self, from: u16, e: Ev) {
        for d in 0..self.devs.len() as u16 {
            if d == from {
                continue;
            }
            let mut t = self.now + self.delay.0 + {
                let w = self.delay.1 - self.delay.0 + 1;
                self.rnd(w)
            };
            if self.side[d as usize] != self.side[from as usize] {
                t = t.max(self.heal + 100);
            }
            self.put(t, d, e.clone());
        }
    }
    fn cx<T>(&self, f: impl FnOnce(&Ctx) -> T) -> T {
        f(&Ctx { reg: &self.reg, user: &self.user, r: self.r })
    }
    fn canonical(&self, d: u16) -> Option<Ix> {
        let v = &self.devs[d as usize].view;
        self.cx(|c| c.eligible(v)).first().copied()
    }
    fn publish(&mut self, d: u16, e: Epoch) -> Ix {
        self.n.commits += 1;
        self.n.adds += e.added.len() as u32;
        let x = self.reg.enter(e);
        if std::env::var("LOG").is_ok() {
            let e = self.reg.get(x);
            println!(
                "{:8} dev {d} makes {x}: base {:?} resolves {:?} ext {} added {:?} removed {:?} poison {:?} noM {}",
                self.now, e.base, e.resolves, e.ext, e.added, e.removed, e.poison, e.no_m
            );
        }
        let (reg, user, r) = (&self.reg, &self.user, self.r);
        let dev = &mut self.devs[d as usize];
        dev.view.serial += 1;
        Ctx { reg, user, r }.learn(&mut dev.view, x, true);
        dev.said = Some(self.now);
        dev.seen_at.insert(x, self.now);
        dev.dirty = true;
        self.send(d, Ev::Commit(x));
        x
    }
    fn commit(&mut self, d: u16, change: impl FnOnce(&mut Epoch)) -> Option<Ix> {
        let v = self.devs[d as usize].view.clone();
        let p = self.cx(|c| c.plan(&v))?;
        let e = self.build(d, &p);
        let mut e = e;
        change(&mut e);
        Some(self.publish(d, e))
    }
    /// Packages: from the ask, else a new one from the server.
    fn build(&mut self, d: u16, p: &Plan) -> Epoch {
        let v = self.devs[d as usize].view.clone();
        let mut packages = BTreeMap::new();
        for o in &p.add {
            let s = match self.cx(|c| c.package(&v, *o)) {
                Some(s) => s,
                None => {
                    self.n.claims += 1;
                    let w = &mut self.devs[*o as usize].view;
                    w.serial += 1;
                    w.keys = key(w.keys, w.serial);
                    w.serial
                }
            };
            packages.insert(*o, s);
        }
        let v = self.devs[d as usize].view.clone();
        self.cx(|c| c.make(&v, p, &packages, 0))
    }
    pub fn update(&mut self, d: u16) {
        if self.commit(d, |e| e.deliberate = true).is_some() {
            let v = &mut self.devs[d as usize].view;
            v.wanted = v.serial;
        }
    }
    fn external(&mut self, d: u16, base: Ix) {
        let b = self.reg.get(base).clone();
        let v = self.devs[d as usize].view.clone();
        let held = self.cx(|c| c.eligible(&v));
        let before = self.cx(|c| c.anc(base).clone());
        let held = if self.r.ext_resolves || self.bad.contains(&d) { held } else { vec![] };
        self.devs[d as usize].view.floor = v.serial + 1;
        let mut leaves: Vec<Leaf> = b.leaves.iter().filter(|l| l.dev != d).copied().collect();
        leaves.push(Leaf {
            dev: d,
            floor: v.serial + 1,
            serial: v.serial + 1,
            join: v.facts[self.user[d as usize] as usize].join(),
            pkg: false,
        });
        leaves.sort();
        let mut resolves: Vec<Ix> = held.into_iter().filter(|h| *h != base && !before.contains(h)).collect();
        resolves.sort();
        self.n.ext += 1;
        if b.bad_gi {
            self.n.ext_failed += 1;
        }
        self.publish(
            d,
            Epoch {
                base: Some(base),
                resolves,
                creator: d,
                ext: true,
                num: b.num + 1,
                leaves,
                removed: vec![],
                added: vec![],
                poison: vec![],
                ghost: vec![],
                bad_m: false,
                no_m: b.bad_gi,
                bad_gi: false,
                deliberate: false,
                attempt: 0,
            },
        );
    }
    fn speak(&mut self, d: u16) {
        let v = &self.devs[d as usize].view;
        self.devs[d as usize].human = self.now;
        self.devs[d as usize].said = Some(self.now);
        let v = self.devs[d as usize].view.clone();
        let Some(p) = self.cx(|c| c.plan(&v)) else {
            self.devs[d as usize].speak_pending = true;
            return;
        };
        let e = self.reg.get(p.base);
        let outside = e.leaves.iter().any(|l| !v.facts[self.user[l.dev as usize] as usize].joined());
        let stale = e.leaf(d).is_some_and(|l| l.serial >= v.floor && l.serial < v.wanted);
        let mut base = p.base;
        if outside || stale {
            if stale {
                self.n.updates += 1;
            }
            base = self.commit(d, |_| ()).unwrap();
            if stale {
                let v = &mut self.devs[d as usize].view;
                v.wanted = v.serial;
            }
        }
        let id = self.msgs.len() as u32;
        self.msgs.push((d, base, self.now));
        self.send(d, Ev::Msg { from: d, epoch: base, id, claimed: false });
    }
    /// The first epoch below `x` that `d` has not accepted, if `x` is closed to it.
    fn root(&self, d: u16, x: Ix) -> Option<Ix> {
        let v = &self.devs[d as usize].view;
        let (mut at, mut below) = (x, None);
        while !v.acc.contains_key(&at) {
            below = Some(at);
            at = self.reg.get(at).base?;
        }
        below
    }
    fn closed(&self, d: u16, x: Ix) -> bool {
        let dev = &self.devs[d as usize];
        if dev.view.acc.contains_key(&x) {
            return false;
        }
        self.root(d, x).is_some_and(|r| dev.waiting.contains(&r))
            || !dev.view.acc.is_empty() && self.root(d, x).is_none() && dev.waiting.contains(&x)
    }
    fn hear(&mut self, d: u16, from: u16, x: Ix) {
        let u = self.user[from as usize];
        if u == self.user[d as usize] {
            return;
        }
        let open = self.devs[d as usize].view.acc.get(&x) == Some(&true);
        self.devs[d as usize].heard.insert(u, (self.now, !open, x));
    }
    fn process(&mut self, d: u16) {
        // take in
        loop {
            let dev = &self.devs[d as usize];
            let next = dev.waiting.iter().copied().find_map(|x| self.cx(|c| c.takes(&dev.view, x)).map(|h| (x, h)));
            let Some((x, h)) = next else { break };
            let (reg, user, r) = (&self.reg, &self.user, self.r);
            let dev = &mut self.devs[d as usize];
            dev.waiting.remove(&x);
            Ctx { reg, user, r }.learn(&mut dev.view, x, h);
            dev.seen_at.insert(x, self.now);
            dev.dirty = true;
        }
        let now = self.now;
        let dev = &mut self.devs[d as usize];
        let view = &dev.view;
        let mut got = Vec::new();
        dev.msgs.retain(|(id, x, _)| {
            if view.acc.get(x) == Some(&true) {
                got.push(*id);
                false
            } else {
                true
            }
        });
        for id in got {
            self.read.insert((id, d), now);
        }
        if self.devs[d as usize].dirty {
            self.devs[d as usize].dirty = false;
            let v = self.devs[d as usize].view.clone();
            let p = if v.facts[self.user[d as usize] as usize].joined() {
                self.cx(|c| c.plan(&v)).filter(|p| p.due())
            } else {
                None
            };
            let dev = &mut self.devs[d as usize];
            if dev.plan != p {
                dev.plan = p;
                dev.plan_at = now;
            }
            if dev.speak_pending && !dev.view.acc.is_empty() {
                dev.speak_pending = false;
                self.speak(d);
            }
        }
        if self.bad.contains(&d) {
            return;
        }
        let mut wake = u64::MAX;
        if let Some(p) = self.devs[d as usize].plan.clone() {
            let at = self.devs[d as usize].plan_at + self.wait(d, &p);
            if at <= now {
                self.n.auto += 1;
                self.devs[d as usize].autos.push(now);
                self.commit(d, |_| ());
                let v = self.devs[d as usize].view.clone();
                let p = self.cx(|c| c.plan(&v)).filter(|p| p.due());
                let dev = &mut self.devs[d as usize];
                dev.dirty = false;
                dev.plan = p;
                dev.plan_at = now;
                if dev.plan.is_some() {
                    wake = now + 1000;
                }
            } else {
                wake = at;
            }
        }
        if let Some(t) = self.follow(d) {
            wake = wake.min(t);
        }
        if wake < u64::MAX && wake != self.devs[d as usize].wake {
            self.devs[d as usize].wake = wake;
            self.put(wake.max(now + 1), d, Ev::Wake);
        }
    }
    fn rank(&self, d: u16, p: &Plan) -> u64 {
        let v = &self.devs[d as usize].view;
        let lot = |x: u16| h64(&(p.base, &p.resolve, x));
        let mine = lot(d);
        self.reg
            .get(p.base)
            .leaves
            .iter()
            .filter(|l| {
                l.dev != d
                    && v.facts[self.user[l.dev as usize] as usize].joined()
                    && l.serial >= v.floors[l.dev as usize]
                    && p.resolve.iter().all(|h| self.reg.get(*h).has(l.dev))
                    && lot(l.dev) < mine
            })
            .count() as u64
    }
    fn wait(&self, d: u16, p: &Plan) -> u64 {
        let dev = &self.devs[d as usize];
        let since = self.now.saturating_sub(3600 * S);
        let k = match self.e.k {
            K::None => 0,
            K::Own => dev.autos.iter().filter(|t| **t >= since.max(dev.human)).count(),
            K::Subject | K::Both | K::Damped => {
                // how often this very leaf (device, life, membership) was removed already, in the last hour
                let times = |o: u16| {
                    dev.seen_at
                        .iter()
                        .filter(|(x, t)| {
                            **t >= since && {
                                let e = self.reg.get(**x);
                                e.removed.contains(&o) && !e.has(o)
                                    || e.added.contains(&o)
                                        && e.leaf(o).is_some_and(|l| l.serial >= dev.view.floors[o as usize])
                            }
                        })
                        .count()
                };
                let s = p.add.iter().chain(&p.remove).map(|o| times(*o)).max().unwrap_or(0);
                let disputed = p
                    .resolve
                    .iter()
                    .flat_map(|h| {
                        let e = self.reg.get(*h);
                        self.reg.get(p.base).leaves.iter().filter(move |l| !e.has(l.dev))
                    })
                    .map(|l| times(l.dev))
                    .max()
                    .unwrap_or(0);
                let own = dev.autos.iter().filter(|t| **t >= self.now.saturating_sub(600 * S).max(dev.human)).count();
                let again = |o: u16| {
                    dev.seen_at
                        .iter()
                        .filter(|(x, t)| **t >= since && self.reg.get(**x).added.contains(&o))
                        .count()
                        .saturating_sub(8)
                };
                let damp = if self.e.k == K::Damped {
                    p.add.iter().chain(&p.remove).map(|o| again(*o)).max().unwrap_or(0)
                } else {
                    0
                };
                s.max(disputed).max(damp).max(if self.e.k == K::Both { own } else { 0 })
            }
        };
        if self.e.among_heard {
            let lot = |x: u16| h64(&(p.base, &p.resolve, x));
            let heard: Vec<u16> = dev
                .heard
                .iter()
                .filter(|(_, (t, ..))| *t >= since)
                .map(|(u, _)| *u)
                .filter(|u| dev.view.facts[*u as usize].joined())
                .collect();
            let n = if dev.said.is_some_and(|t| t >= since) {
                1 + heard.iter().filter(|u| lot(**u) < lot(d)).count() as u64
            } else {
                1 + heard.len().min(8) as u64 + (1 + self.rank(d, p)).ilog2() as u64
            };
            return self.slot * n << k.min(9);
        }
        self.slot * (1 + (1 + self.rank(d, p)).ilog2() as u64) << k.min(9)
    }
    /// Rule E. Returns when to look again.
    fn follow(&mut self, d: u16) -> Option<u64> {
        let (now, me) = (self.now, self.user[d as usize]);
        let v = &self.devs[d as usize].view;
        if !v.facts[me as usize].joined() {
            return None;
        }
        let dev = &self.devs[d as usize];
        let mut past: BTreeSet<Ix> = BTreeSet::new();
        if !dev.waiting.is_empty() {
            for h in self.cx(|c| c.eligible(v)) {
                past.extend(self.reg.anc[h as usize].iter().copied());
            }
        }
        // what is heard where I cannot follow
        let mut roots: BTreeMap<Ix, (BTreeSet<u16>, u64, Ix)> = BTreeMap::new();
        for (u, (t, _, x)) in &dev.heard {
            if now - t > 600 * S {
                continue;
            }
            let Some(root) = self.root(d, *x) else { continue };
            if !dev.waiting.contains(&root) || past.contains(x) {
                continue;
            }
            let maker = self.user[self.reg.get(root).creator as usize];
            if *u == maker && !self.e.own_maker && self.e.trig != Trig::Always {
                continue;
            }
            let r = roots.entry(root).or_insert((BTreeSet::new(), 0, *x));
            r.0.insert(*u);
            if *t >= r.1 {
                r.1 = *t;
                r.2 = *x;
            }
        }
        if self.e.trig == Trig::First {}
        let open: BTreeSet<u16> = dev
            .heard
            .iter()
            .filter(|(_, (t, _, x))| now - t <= 600 * S && v.acc.get(x) == Some(&true))
            .map(|(u, _)| *u)
            .collect();
        if matches!(self.e.trig, Trig::Always | Trig::First) {
            for x in &dev.waiting {
                if !past.contains(x)
                    && self.root(d, *x) == Some(*x)
                    && self.reg.get(*x).base.is_some_and(|b| v.acc.get(&b) == Some(&true) && self.reg.get(b).has(d))
                    && self.reg.get(*x).has(d)
                {
                    roots.entry(*x).or_insert((BTreeSet::new(), 0, *x));
                }
            }
        }
        let mut best: Option<(usize, u64, Ix, Ix)> = None;
        for (root, (users, t, x)) in roots {
            let go = match self.e.trig {
                Trig::Always => true,
                Trig::First => true,
                Trig::Spoke => !users.is_empty(),
                Trig::Majority => users.len() > open.len(),
            };
            if go && best.is_none_or(|b| (users.len(), t) > (b.0, b.1)) {
                best = Some((users.len(), t, root, x));
            }
        }
        let Some((spoke, _, root, x)) = best else {
            self.devs[d as usize].ask_due = None;
            return None;
        };
        let creator = self.user[self.reg.get(root).creator as usize];
        let dev = &self.devs[d as usize];
        let (tries, last) = dev.tries.get(&root).copied().unwrap_or((0, 0));
        let day = now.saturating_sub(86400 * S);
        let earliest = match self.e.pause {
            Pause::Victim => dev.returns.last().map_or(0, |t| {
                t + ((600 * S) << dev.returns.iter().filter(|t| **t >= day).count().min(7).saturating_sub(1))
            }),
            Pause::Creator => {
                let c = dev.per_creator.get(&creator);
                let n = c.map_or(0, |c| c.iter().filter(|t| **t >= day).count());
                c.and_then(|c| c.last()).map_or(0, |t| t + ((10 * S) << n.min(10).saturating_sub(1)))
            }
            Pause::Root => {
                if tries == 0 {
                    0
                } else {
                    last + ((60 * S) << (tries - 1).min(6))
                }
            }
        };
        // of several one goes first; who sees that it was helped follows
        let lot = h64(&(root, d)) % 16;
        let none = (BTreeSet::new(), 0);
        let (who, asked) = dev.asks.get(&root).unwrap_or(&none);
        let helped = !who.is_empty()
            && dev.waiting.iter().any(|w| {
                let e = self.reg.get(*w);
                e.added.iter().any(|o| who.contains(o))
                    && self.reg.anc[*w as usize].contains(&root)
                    && self.user[e.creator as usize] != creator
            });
        let soon = self.slot * (1 + (1 + lot).ilog2() as u64);
        let after = if !self.e.one_first || who.is_empty() || helped && tries == 0 {
            soon
        } else if self.e.trig == Trig::First && spoke == 0 {
            self.devs[d as usize].ask_due = None;
            return Some(now + 60 * S);
        } else {
            let j = who.len().min(6);
            (asked + ((60 * S) << (j - 1)) * (1 + (1 + lot).ilog2() as u64)).saturating_sub(dev.ask_due.unwrap_or(now))
                + soon
        };
        let due = *self.devs[d as usize].ask_due.get_or_insert(now);
        let at = earliest.max(due + after);
        if at > now {
            return Some(at);
        }
        let dev = &mut self.devs[d as usize];
        dev.ask_due = None;
        dev.tries.insert(root, (tries + 1, now));
        dev.per_creator.entry(creator).or_default().push(now);
        dev.returns.push(now);
        let usable = self.canonical(d);
        match self.r.ret {
            Ret::Ask if usable.is_some() || tries < 2 => {
                self.n.asks += 1;
                if std::env::var("LOG").is_ok() {
                    println!("{:8} dev {d} asks (root {root} heard in {x})", self.now);
                }
                let (l, f) = self.raise(d);
                let a = self.devs[d as usize].asks.entry(root).or_default();
                a.0.insert(d);
                a.1 = now;
                self.send(d, Ev::Ask(d, l, f, root));
            }
            Ret::Ord if usable.is_some() => {
                let v = &mut self.devs[d as usize].view;
                v.floor = v.serial + 1;
                self.commit(d, |_| ());
            }
            Ret::Ask if self.user[self.reg.get(x).creator as usize] == creator => (),
            _ => self.external(d, x),
        }
        Some(now + 1000)
    }
    fn raise(&mut self, d: u16) -> (u16, u16) {
        let wire: Vec<Ix> = self.devs[d as usize].waiting.iter().copied().collect();
        let (reg, user, r) = (&self.reg, &self.user, self.r);
        let dev = &mut self.devs[d as usize];
        dev.dirty = true;
        let p = Ctx { reg, user, r }.ask(&mut dev.view, wire.into_iter());
        if self.devs[d as usize].view.serial > 120 {
            let v = &mut self.devs[d as usize].view;
            v.keys = key(v.keys, p);
        }
        (p, self.devs[d as usize].view.floor)
    }
    pub fn run(&mut self, until: u64, act: &mut dyn FnMut(&mut Sim, u16, u32)) {
        while let Some(Reverse((t, _, _, _))) = self.q.peek() {
            if *t > until {
                break;
            }
            let Reverse((t, _, d, e)) = self.q.pop().unwrap();
            self.now = t;
            if self.devs[d as usize].offline_until > t && !matches!(e, Ev::Act(_)) {
                if !matches!(e, Ev::Speak) {
                    let u = self.devs[d as usize].offline_until;
                    self.put(u, d, e);
                }
                continue;
            }
            match e {
                Ev::Commit(x) => {
                    let e = self.reg.get(x).clone();
                    if self.e.wire {
                        if let Some(l) = e.leaf(d) {
                            let s = &mut self.devs[d as usize].view.serial;
                            *s = (*s).max(l.serial);
                        }
                    }
                    self.devs[d as usize].waiting.insert(x);
                    self.process(d);
                    if let Some(b) = e.base {
                        self.hear(d, e.creator, b);
                    }
                }
                Ev::Msg { from, epoch, id, claimed } => {
                    if !claimed {
                        self.devs[d as usize].msgs.push((id, epoch, t));
                    }
                    self.process(d);
                    self.hear(d, from, epoch);
                }
                Ev::Fact(u, s) => {
                    if self.lie.get(&d).is_some_and(|l| l.contains(&u)) {
                        continue;
                    }
                    let f = &mut self.devs[d as usize].view.facts[u as usize];
                    while f.shown < s {
                        if f.joined() {
                            f.ends |= 1 << f.join();
                        }
                        f.shown += 1;
                    }
                    self.devs[d as usize].dirty = true;
                }
                Ev::Ask(o, p, f, root) => {
                    let a = self.devs[d as usize].asks.entry(root).or_default();
                    a.0.insert(o);
                    a.1 = t;
                    let dev = &mut self.devs[d as usize];
                    let k = &mut dev.view.asks[o as usize];
                    *k = (*k).max(p);
                    let s = &mut dev.view.floors[o as usize];
                    *s = (*s).max(f);
                    dev.dirty = true;
                }
                Ev::Wake => {
                    self.devs[d as usize].wake = u64::MAX;
                }
                Ev::Speak => {
                    self.speak(d);
                }
                Ev::Act(k) => act(self, d, k),
            }
            self.process(d);
        }
        self.now = until;
    }
    fn chat(&mut self, who: &[u16], every: u64, from: u64, to: u64) {
        for d in who {
            let mut t = from + self.rnd(every);
            while t < to {
                self.put(t, *d, Ev::Speak);
                t += every / 2 + self.rnd(every);
            }
        }
    }
    /// Of the messages by `from` sent in the window: how many `d` has read, of how many.
    fn share(&self, d: u16, honest: impl Fn(u16) -> bool, lo: u64) -> (usize, usize) {
        let all: Vec<u32> = (0..self.msgs.len() as u32)
            .filter(|i| {
                let m = self.msgs[*i as usize];
                m.0 != d && honest(m.0) && m.2 >= lo
            })
            .collect();
        (all.iter().filter(|i| self.read.contains_key(&(**i, d))).count(), all.len())
    }
    fn whole(&self, skip: &[u16]) -> bool {
        let hs: BTreeSet<_> =
            (0..self.devs.len() as u16).filter(|d| !skip.contains(d)).map(|d| self.canonical(d)).collect();
        hs.len() == 1 && !hs.contains(&None)
    }
}
fn users(n: u16) -> Vec<u16> {
    (0..n).collect()
}
const FAST: (u64, u64) = (100, 900);

fn poison(s: &mut Sim, m: u16, who: &[u16], no_m: bool, bad_gi: bool) {
    let w = who.to_vec();
    if s.commit(m, |e| {
        e.poison = w;
        e.no_m = no_m;
        e.bad_gi = bad_gi;
    })
    .is_some()
    {
        s.n.attack += 1;
    }
}

pub fn run(what: &str) {
    let on = |n: &str| what.is_empty() || what == n;
    let ways: Vec<(&str, Rules, E)> = vec![
        (
            "built: ext, always, victim pause",
            Rules { ret: Ret::Ext, ..good() },
            E { trig: Trig::Always, pause: Pause::Victim, ..BEST },
        ),
        (
            "PROTOCOL: ext, majority, creator",
            Rules { ret: Ret::Ext, ..good() },
            E { trig: Trig::Majority, pause: Pause::Creator, own_maker: true, ..BEST },
        ),
        (
            "ext, majority w/o maker, root",
            Rules { ret: Ret::Ext, ..good() },
            E { trig: Trig::Majority, pause: Pause::Root, ..BEST },
        ),
        ("ext, spoke, root", Rules { ret: Ret::Ext, ..good() }, E { trig: Trig::Spoke, one_first: false, ..BEST }),
        ("ordinary, spoke, root", Rules { ret: Ret::Ord, ..good() }, E { trig: Trig::Spoke, one_first: false, ..BEST }),
        ("ask, majority, root", good(), E { trig: Trig::Majority, ..BEST }),
        ("ask, spoke, all at once", good(), E { trig: Trig::Spoke, one_first: false, ..BEST }),
        ("ask, spoke, one first", good(), E { trig: Trig::Spoke, ..BEST }),
        ("ordinary, at once, one first", Rules { ret: Ret::Ord, ..good() }, BEST),
        ("ask, at once, one first", good(), BEST),
    ];
    if on("m1") {
        println!("\n== one commit that nobody can open (M withheld); its maker speaks in it each minute for 20 min; others speak or not; cost beside the attack");
        for n in [5u16, 17] {
            for talk in [true, false] {
                for (name, r, e) in &ways {
                    let mut c = Count::default();
                    let (mut rd, mut al, mut wh) = (0, 0, 0);
                    for seed in 0..5 {
                        let mut s = Sim::new(n, users(n), n, *r, *e, seed + 1, FAST);
                        let m = n - 1;
                        s.bad.insert(m);
                        s.put(10 * S, m, Ev::Act(0));
                        s.chat(&[m], 60 * S, 11 * S, 1200 * S);
                        let others: Vec<u16> = (0..m).collect();
                        if talk {
                            s.chat(&others, 120 * S, 1 * S, 1200 * S);
                        }
                        s.run(1800 * S, &mut |s, m, _| poison(s, m, &[], true, true));
                        add(&mut c, &s.n);
                        let x = s.share(0, |d| d != m, 0);
                        rd += x.0;
                        al += x.1;
                        wh += u32::from(s.whole(&[m]));
                    }
                    println!("N={n:2} talk={talk:5} {name:34} commits {:5.1} (auto {:.1} ext {:.1} failed {:.1}) asks {:.1} | victim read {rd}/{al} whole {wh}/5", f(c.commits - c.attack), f(c.auto), f(c.ext), f(c.ext_failed), f(c.asks));
                }
            }
        }
    }
    if on("h8") {
        println!("\n== one victim (0) poisoned n times a day; bad_gi: the attacker's GroupInfo is useless; follow = share of the others' messages that the victim reads");
        for (n, per, every, gi) in [
            (5u16, 9u64, 300, false),
            (5, 100, 60, false),
            (5, 100, 60, true),
            (5, 100, 1800, true),
            (17, 100, 120, true),
            (5, 1000, 60, true),
            (5, 5000, 60, true),
        ] {
            for (name, r, e) in &ways {
                let mut c = Count::default();
                let (mut rd, mut al) = (0, 0);
                let hours = if per > 500 { 3 } else { 12 };
                let times = per * hours / 24;
                let mut s = Sim::new(n, users(n), n, *r, *e, 7 + per, FAST);
                let m = n - 1;
                s.bad.insert(m);
                for i in 0..times.max(1) {
                    let t = (i * hours * 3600 / times.max(1) + 5) * S;
                    s.put(t, m, Ev::Act(0));
                }
                let others: Vec<u16> = (1..m).collect();
                s.chat(&others, every * S, S, hours * 3600 * S);
                s.chat(&[0], 600 * S, S, hours * 3600 * S);
                s.run((hours * 3600 + 600) * S, &mut |s, m, _| poison(s, m, &[0], false, gi));
                add(&mut c, &s.n);
                let x = s.share(0, |d| d != m, 0);
                rd += x.0;
                al += x.1;
                let back = s.share(1, |d| d == 0, 0);
                println!("N={n:2} {per:4}/day each speaks every {every:4}s badGI={gi:5} {name:34} attack {:4} other commits {:4} ext {:4} failed {:4} asks {:4} | victim reads {:5.1} % ({rd}/{al}); is read {}/{}", c.attack, c.commits - c.attack, c.ext, c.ext_failed, c.asks, 100.0 * rd as f64 / al.max(1) as f64, back.0, back.1);
            }
            println!();
        }
    }
    if on("half") {
        println!("\n== N=17: k poisoned, all speak every 2 min, 20 min; then whole?");
        for k in [1u16, 3, 8, 12, 15] {
            for gi in [false, true] {
                for (name, r, e) in &ways {
                    let mut c = Count::default();
                    let (mut wh, mut rd, mut al) = (0, 0, 0);
                    for seed in 0..5 {
                        let mut s = Sim::new(17, users(17), 17, *r, *e, seed + 1, FAST);
                        let m = 16;
                        s.bad.insert(m);
                        s.put(10 * S, m, Ev::Act(0));
                        let others: Vec<u16> = (0..16).collect();
                        s.chat(&others, 120 * S, 1 * S, 1200 * S);
                        s.run(1500 * S, &mut |s, m, _| {
                            let w: Vec<u16> = (0..k).collect();
                            poison(s, m, &w, false, gi)
                        });
                        add(&mut c, &s.n);
                        wh += u32::from(s.whole(&[m]));
                        for d in 0..16 {
                            let x = s.share(d, |_| true, 0);
                            rd += x.0;
                            al += x.1;
                        }
                    }
                    println!("k={k:2} badGI={gi:5} {name:34} commits {:5.1} (auto {:.1} ext {:.1} failed {:.1}) asks {:.1} | whole {wh}/5, all read {:.1} %", f(c.commits - c.attack), f(c.auto), f(c.ext), f(c.ext_failed), f(c.asks), 100.0 * rd as f64 / al as f64);
                }
            }
            println!();
        }
    }
    if on("two") {
        println!("\n== as the next, but the device had raised its life three times since the copy was made; `wire`: it looks at leaves of its own on the wire");
        for wire in [false, true] {
            let e = E { wire, ..BEST };
            let mut s = Sim::new(2, users(2), 2, good(), e, 4, FAST);
            for i in 0..3 {
                s.put((1 + 10 * i) * S, 1, Ev::Act(9));
                s.put((6 + 10 * i) * S, 0, Ev::Act(1));
            }
            let old = s.devs[1].view.clone();
            s.run(100 * S, &mut |s, d, k| {
                if k == 9 {
                    let (p, f) = s.raise(d);
                    s.send(d, Ev::Ask(d, p, f, 0));
                } else {
                    s.update(d)
                }
            });
            let acc: Vec<Ix> = s.devs[1].view.acc.keys().copied().collect();
            s.devs[1] = Dev { view: old, wake: u64::MAX, dirty: true, ..Dev::default() };
            for x in acc {
                if x != 0 {
                    s.put(101 * S, 1, Ev::Commit(x));
                }
            }
            s.chat(&[0, 1], 300 * S, 105 * S, 3100 * S);
            let (mut t, mut done) = (100 * S, None);
            let (c, a) = (s.n.commits, s.n.asks);
            while t < 3200 * S {
                t += 2 * S;
                s.run(t, &mut |_, _, _| ());
                if s.whole(&[]) {
                    done = done.or(Some(t));
                } else {
                    done = None;
                }
            }
            println!(
                "wire={wire}: whole after {:?} s, commits {}, asks {}",
                done.map(|t| t / S - 100),
                s.n.commits - c,
                s.n.asks - a
            );
        }
        println!("\n== two users; 1 is restored from a copy of 6 of its own and the other's commits ago; then both speak every 5 min (0 offline for the first `off` s)");
        for off in [0u64, 1800] {
            for (name, r, e) in &ways {
                let (mut worst, mut c) = (0, Count::default());
                let (mut wh, mut rd, mut al) = (0, 0, 0);
                for seed in 0..5 {
                    let mut s = Sim::new(2, users(2), 2, *r, *e, seed + 1, FAST);
                    for i in 0..3 {
                        s.put((1 + 10 * i) * S, 0, Ev::Act(1));
                        s.put((6 + 10 * i) * S, 1, Ev::Act(1));
                    }
                    let old = s.devs[1].view.clone();
                    s.run(100 * S, &mut |s, d, _| s.update(d));
                    let before = s.n.commits;
                    // the copy: all that came is fetched again
                    let acc: Vec<Ix> = s.devs[1].view.acc.keys().copied().collect();
                    s.devs[1] = Dev { view: old, wake: u64::MAX, dirty: true, ..Dev::default() };
                    for x in acc {
                        if x != 0 {
                            let t = 101 * S;
                            s.put(t, 1, Ev::Commit(x));
                        }
                    }
                    s.devs[0].offline_until = (100 + off) * S;
                    s.chat(&[0], 300 * S, (100 + off + 5) * S, (100 + off + 3000) * S);
                    s.chat(&[1], 300 * S, 105 * S, (100 + off + 3000) * S);
                    let mut t = 100 * S;
                    let mut done = None;
                    while t < (off + 3200) * S {
                        t += 2 * S;
                        s.run(t, &mut |_, _, _| ());
                        if s.whole(&[]) {
                            done = done.or(Some(t));
                        } else {
                            done = None;
                        }
                    }
                    worst = worst.max(done.map_or(9_999_999, |t| t - 100 * S));
                    wh += u32::from(done.is_some());
                    let mut k = s.n.clone();
                    k.commits -= before;
                    add(&mut c, &k);
                    let x = s.share(0, |_| true, 100 * S);
                    let y = s.share(1, |_| true, 100 * S);
                    rd += x.0 + y.0;
                    al += x.1 + y.1;
                }
                println!("off={off:4} {name:34} whole for good after {} s ({wh}/5), commits {:.1} ext {:.1} asks {:.1}, read {rd}/{al}", worst / S, f(c.commits), f(c.ext), f(c.asks));
            }
        }
    }
    if on("off") {
        println!("\n== victim poisoned in a room of 6, two speak in it, then all but the victim go offline for an hour; victim speaks every 5 min");
        for (name, r, e) in &ways {
            let mut s = Sim::new(6, users(6), 6, *r, *e, 3, FAST);
            s.bad.insert(5);
            s.put(10 * S, 5, Ev::Act(0));
            s.put(15 * S, 1, Ev::Speak);
            s.put(16 * S, 2, Ev::Speak);
            s.put(17 * S, 0, Ev::Act(1));
            s.chat(&[0], 300 * S, 20 * S, 3600 * S);
            s.chat(&[1, 2, 3], 300 * S, 3620 * S, 5000 * S);
            s.run(5400 * S, &mut |s, m, k| {
                if k == 0 {
                    poison(s, m, &[0], false, true)
                } else {
                    for d in 1..5 {
                        s.devs[d].offline_until = 3617 * S;
                    }
                }
            });
            let (x, y) = (s.share(0, |_| true, 20 * S), s.share(1, |d| d == 0, 0));
            println!(
                "{name:34} commits {} ext {} failed {} asks {} whole {} | victim reads {}/{} is read {}/{}",
                s.n.commits - s.n.attack,
                s.n.ext,
                s.n.ext_failed,
                s.n.asks,
                s.whole(&[5]),
                x.0,
                x.1,
                y.0,
                y.1
            );
        }
    }
    if on("liars") {
        println!("\n== N=17, M withheld 20 times (one a 3 min), and in each: (a) the maker's other device speaks, (b) a second bad user speaks, (c) a server claims to all that user 1 spoke there, (d) only to 0; others silent / speaking; cost per attack");
        for talk in [true, false] {
            for kind in 0..4u32 {
                for (name, r, e) in &ways {
                    let mut us = users(17);
                    us[15] = if kind == 0 { 16 } else { 15 };
                    let mut s = Sim::new(17, us, 17, *r, *e, 3, FAST);
                    s.bad.insert(16);
                    s.bad.insert(15);
                    for i in 0..20 {
                        s.put((10 + 180 * i) * S, 16, Ev::Act(kind));
                    }
                    let others: Vec<u16> = (0..15).collect();
                    if talk {
                        s.chat(&others, 240 * S, S, 3700 * S);
                    }
                    s.run(4500 * S, &mut |s, m, kind| {
                        let Some(x) = s.canonical(m) else { return };
                        let _ = x;
                        poison(s, m, &[], true, true);
                        let y = s.canonical(m).unwrap();
                        let from = if kind < 2 { 15 } else { 1 };
                        for d in 0..15u16 {
                            if kind < 3 || d == 0 {
                                let t = s.now + 2 * S;
                                s.put(t, d, Ev::Msg { from, epoch: y, id: 0, claimed: true });
                            }
                        }
                    });
                    let x = s.share(0, |d| d < 15, 0);
                    println!("talk={talk:5} {} {name:34} per attack: commits {:5.2} ext {:5.2} asks {:5.2} | whole {} victim read {}/{}", ["other device", "second user ", "server, all ", "server, one "][kind as usize], f64::from(s.n.commits - s.n.attack) / 20.0, f64::from(s.n.ext) / 20.0, f64::from(s.n.asks) / 20.0, s.whole(&[15, 16]), x.0, x.1);
                }
                println!();
            }
        }
    }
    if what == "dbg" {
        let mut s = Sim::new(5, users(5), 5, good(), BEST, 7, FAST);
        s.bad.insert(4);
        for i in 0..4 {
            s.put((5 + 800 * i) * S, 4, Ev::Act(0));
        }
        s.chat(&[1, 2, 3], 60 * S, S, 3600 * S);
        s.run(4000 * S, &mut |s, m, _| poison(s, m, &[0], false, true));
    }
    if on("asker") {
        println!("\n== a bad member asks (raises its life) once in 10 s for 15 min, N=9; others' commits; then a newcomer's wait is not touched. And: victim poisoned n times a day under the same rule");
        for k in [K::Both, K::Subject, K::Own, K::Damped] {
            let mut s = Sim::new(9, users(9), 9, good(), E { k, ..BEST }, 3, FAST);
            s.bad.insert(8);
            for i in 0..90 {
                s.put((5 + 10 * i) * S, 8, Ev::Act(0));
            }
            s.run(1500 * S, &mut |s, d, _| {
                let (p, f) = s.raise(d);
                s.send(d, Ev::Ask(d, p, f, 0));
            });
            println!("k={k:?}: 90 asks, others commit {} times, whole without it {}", s.n.commits, s.whole(&[8]));
            for per in [100u64, 300, 1000] {
                let mut s = Sim::new(5, users(5), 5, good(), E { k, ..BEST }, 7 + per, FAST);
                s.bad.insert(4);
                let hours = 3;
                let times = per * hours / 24;
                for i in 0..times {
                    s.put((i * hours * 3600 / times + 5) * S, 4, Ev::Act(0));
                }
                s.chat(&[1, 2, 3], 60 * S, S, hours * 3600 * S);
                s.run((hours * 3600 + 600) * S, &mut |s, m, _| poison(s, m, &[0], false, true));
                let x = s.share(0, |d| d != 4, 0);
                println!(
                    "      poisoned {per}/day: victim reads {:.1} %, {} commits beside {} attacks, asks {}",
                    100.0 * x.0 as f64 / x.1 as f64,
                    s.n.commits - s.n.attack,
                    s.n.attack,
                    s.n.asks
                );
            }
        }
    }
    if on("drops") {
        println!("\n== a bad member drops k of the others in one commit (N=17), 20 times, one a 2 min; all talk: cost per attack, key packages from the server, reading");
        for k in [1u16, 3, 8, 14] {
            let mut s = Sim::new(17, users(17), 17, good(), BEST, 3, FAST);
            s.bad.insert(16);
            for i in 0..20 {
                s.put((10 + 120 * i) * S, 16, Ev::Act(0));
            }
            s.chat(&(0..16).collect::<Vec<_>>(), 120 * S, S, 2450 * S);
            s.run(3000 * S, &mut |s, m, _| {
                if s.commit(m, |e| {
                    e.leaves.retain(|l| l.dev >= k);
                    e.removed = (0..k).collect();
                })
                .is_some()
                {
                    s.n.attack += 1;
                }
            });
            let x = s.share(0, |_| true, 0);
            let y = s.share(15, |_| true, 0);
            println!("k={k:2}: commits {:5.2} packages {:5.2} asks {:5.2} whole {} a victim read {}/{}, one who was not dropped {}/{}", f64::from(s.n.commits - s.n.attack) / 20.0, f64::from(s.n.claims) / 20.0, f64::from(s.n.asks) / 20.0, s.whole(&[16]), x.0, x.1, y.0, y.1);
        }
    }
    if on("order") {
        order();
    }
    if what == "heard" {
        heard();
    }
    if on("storm") {
        storm();
    }
    if on("forks") {
        forks();
    }
}
fn f(x: u32) -> f64 {
    f64::from(x) / 5.0
}
fn add(a: &mut Count, b: &Count) {
    a.commits += b.commits;
    a.auto += b.auto;
    a.ext += b.ext;
    a.asks += b.asks;
    a.adds += b.adds;
    a.claims += b.claims;
    a.updates += b.updates;
    a.attack += b.attack;
    a.ext_failed += b.ext_failed;
}
const ORDERS: [O; 3] = [O::Weigh, O::Cost, O::NumberFirst];

fn order() {
    println!("\n== base orders; costs after the event: commits, key packages used, re-updates; `moved`: honest devices whose head fell back to the attacker's line");
    for case in 0..9 {
        let title = [
            "H7 external commit 12 back",
            "lone commit 12 back",
            "lone commit 12 back while a newcomer's add is pending",
            "chain of 20 by one device, 6 back",
            "3 devices of one user, 6 back",
            "split: A(5 users) adds 5, 3 updates; B(3) adds 1, 6 updates",
            "split: A(5) adds 1, 5 updates; B(3) adds 6, 1 update",
            "two users update at once, 20 times",
            "merge onto an epoch 12 back (resolves the head)",
        ][case];
        println!("-- {title}");
        for (o, no_back) in ORDERS.iter().map(|o| (*o, true)) {
            if !no_back && !matches!(case, 0 | 8) {
                continue;
            }
            let mut c = Count::default();
            let (mut moved, mut wh) = (0, 0);
            for seed in 0..20u64 {
                let r = Rules { o, ..good() };
                let n: u16 = match case {
                    7 => 2,
                    5 | 6 => 15,
                    _ => 12,
                };
                let mem: u16 = match case {
                    7 => 2,
                    5 | 6 => 8,
                    2 => 11,
                    _ => 12,
                };
                let mut us = users(n);
                if case == 4 {
                    us[10] = 9;
                    us[11] = 9;
                }
                let mut s = Sim::new(n, us, mem, r, BEST, seed + 1, FAST);
                if case < 5 || case == 8 {
                    // 12 commits by 6 people on one line
                    for i in 0..12u64 {
                        let d = s.rnd(6) as u16;
                        s.put((10 * i + 1) * S, d, Ev::Act(1));
                    }
                    s.run(200 * S, &mut |s, d, _| s.update(d));
                    let held: Vec<Ix> = s.devs[9].view.acc.keys().copied().collect();
                    let old = match case {
                        3 | 4 => held[held.len() - 7],
                        _ => held[0],
                    };
                    let before = s.n.clone();
                    let main = s.canonical(0).unwrap();
                    s.bad.insert(9);
                    if case == 4 {
                        s.bad.insert(10);
                        s.bad.insert(11);
                    }
                    s.put(201 * S, 9, Ev::Act(2));
                    if case == 2 {
                        for d in 0..12 {
                            s.put(200 * S + 500, d, Ev::Fact(11, 1));
                        }
                    }
                    let mut fell = BTreeSet::new();
                    let mut step = |s: &mut Sim, m: u16, _k: u32| {
                        let mut base = old;
                        let count = match case {
                            3 => 20,
                            4 => 9,
                            _ => 1,
                        };
                        for i in 0..count {
                            let m = if case == 4 { 9 + (i % 3) as u16 } else { m };
                            if case == 0 {
                                s.external(m, base);
                                return;
                            }
                            let v = s.devs[m as usize].view.clone();
                            let addn = if case == 2 { vec![11] } else { vec![] };
                            let p = Plan {
                                base,
                                add: addn,
                                remove: vec![],
                                resolve: if case == 8 { vec![main] } else { vec![] },
                                differing: false,
                            };
                            let _ = &v;
                            let e = s.build(m, &p);
                            base = s.publish(m, e);
                            if case == 4 {
                                for o in 9..12 {
                                    if o != m {
                                        let x = base;
                                        let (reg, user, r) = (&s.reg, &s.user, s.r);
                                        let dev = &mut s.devs[o as usize];
                                        Ctx { reg, user, r }.learn(&mut dev.view, x, true);
                                    }
                                }
                            }
                        }
                    };
                    let mut t = 200 * S;
                    while t < 215 * S {
                        t += 250;
                        s.run(t, &mut step);
                        for d in 0..9 {
                            if s.canonical(d).is_some_and(|h| {
                                !s.reg.anc[h as usize].contains(&main) || {
                                    let mut at = h;
                                    loop {
                                        if at == main {
                                            break false;
                                        }
                                        match s.reg.get(at).base {
                                            Some(b) => at = b,
                                            None => break true,
                                        }
                                    }
                                }
                            }) {
                                fell.insert(d);
                            }
                        }
                    }
                    moved += fell.len();
                    for d in 0..9u16 {
                        s.put((220 + 5 * u64::from(d)) * S, d, Ev::Speak);
                    }
                    s.run(600 * S, &mut |_, _, _| ());
                    let mut k = s.n.clone();
                    k.commits -= before.commits;
                    k.adds -= before.adds;
                    k.updates -= before.updates;
                    add(&mut c, &k);
                    wh += u32::from(s.whole(&[9, 10, 11]));
                } else if case < 7 {
                    for d in 0..15 {
                        s.side[d] = u8::from(matches!(d, 5..=7));
                    }
                    let (na, nb, ua, ub) = if case == 5 { (5, 1, 3, 6) } else { (1, 6, 5, 1) };
                    for j in 0..na {
                        s.side[8 + j] = 0;
                    }
                    for j in 0..nb {
                        s.side[8 + na + j] = 1;
                    }
                    s.heal = 300 * S;
                    for j in 0..(na + nb) {
                        let u = (8 + j) as u16;
                        for d in 0..15u16 {
                            let t = if s.side[d as usize] == s.side[u as usize] { 5 * S } else { s.heal };
                            s.put(t + s.seq % 7 * 50, d, Ev::Fact(u, 1));
                        }
                    }
                    for i in 0..ua {
                        let d = (i % 5) as u16;
                        s.put((30 + 20 * i as u64) * S, d, Ev::Act(1));
                    }
                    for i in 0..ub {
                        let d = 5 + (i % 3) as u16;
                        s.put((30 + 20 * i as u64) * S, d, Ev::Act(1));
                    }
                    s.run(299 * S, &mut |s, d, _| s.update(d));
                    let before = s.n.clone();
                    for d in 0..8u16 {
                        s.put((320 + 5 * u64::from(d)) * S, d, Ev::Speak);
                    }
                    s.run(900 * S, &mut |_, _, _| ());
                    let mut k = s.n.clone();
                    k.commits -= before.commits;
                    k.adds -= before.adds;
                    k.updates -= before.updates;
                    add(&mut c, &k);
                    wh += u32::from(s.whole(if case == 5 { &[14] } else { &[] }));
                } else {
                    for i in 0..20u64 {
                        s.put((30 * i + 1) * S, 0, Ev::Act(1));
                        s.put((30 * i + 1) * S + 50, 1, Ev::Act(1));
                        s.put((30 * i + 15) * S, 0, Ev::Speak);
                        s.put((30 * i + 16) * S, 1, Ev::Speak);
                    }
                    s.run(700 * S, &mut |s, d, _| s.update(d));
                    add(&mut c, &s.n);
                    wh += u32::from(s.whole(&[]));
                }
            }
            println!(
                "   {:12} commits {:5.2} key packages {:5.2} re-updates {:5.2} moved {:5.2} whole {wh}/20",
                format!("{o:?}{}", if no_back { "" } else { " (C without: no back)" }),
                f(c.commits) / 4.0,
                f(c.adds) / 4.0,
                f(c.updates) / 4.0,
                f64::from(moved as u32) / 20.0
            );
        }
    }
}

fn storm() {
    println!("\n== H2: the server of half of the devices says that user 0 left; 30 min; then it says so no more");
    for n in [5u16, 17] {
        for k in [K::None, K::Own, K::Subject, K::Both] {
            for o in [O::Weigh, O::Cost] {
                for delay in [(100, 900), (1000, 5000)] {
                    let mut s = Sim::new(n, users(n), n, Rules { o, ..good() }, E { k, ..BEST }, 5, delay);
                    for d in n / 2..n {
                        s.put(S, d, Ev::Act(0));
                    }
                    let cap = if k == K::None { 60 } else { 1800 };
                    s.run(cap * S, &mut |s, d, _| {
                        s.devs[d as usize].view.facts[0].shown = 2;
                        s.devs[d as usize].dirty = true;
                    });
                    let (c, a) = (s.n.commits, s.n.adds);
                    for d in n / 2..n {
                        s.devs[d as usize].view.facts[0].shown = 1;
                        s.devs[d as usize].dirty = true;
                        s.put((cap + 1) * S, d, Ev::Wake);
                    }
                    s.run((cap + if k == K::None { 60 } else { 1200 }) * S, &mut |_, _, _| ());
                    println!("N={n:3} k={k:?} O={o:?} delay {}-{} ms: {c} commits, {a} key packages in {cap} s; then +{} commits, whole {}", delay.0, delay.1, s.n.commits - c, s.whole(&[]));
                }
            }
        }
    }
}
fn forks() {
    println!("\n== k forks of one base, N online, all merge; slot 500 ms; delay");
    for k in [K::None, K::Own, K::Subject, K::Both] {
        for (n, forks) in [(8u16, 2u16), (8, 8)] {
            for slow in [false, true] {
                for delay in [(400, 600), (100, 5000), (0, 20000)] {
                    let (mut m, mut t_end, mut wh) = (0, 0, 0);
                    for seed in 0..5 {
                        let mut s = Sim::new(n, users(n), n, good(), E { k, ..BEST }, seed + 3, delay);
                        for d in 0..forks {
                            s.put(S, d, Ev::Act(0));
                        }
                        s.run(S, &mut |s, d, _| {
                            s.update(d);
                            s.update(d);
                        });
                        if slow {
                            s.slot = delay.1;
                        }
                        let c = s.n.commits;
                        let mut t = S;
                        let mut done = None;
                        while t < 240 * S {
                            t += S;
                            s.run(t, &mut |_, _, _| ());
                            if s.devs.iter().all(|d| d.plan.is_none()) {
                                done = done.or(Some(t));
                            } else {
                                done = None;
                            }
                        }
                        m += s.n.commits - c;
                        t_end = t_end.max(done.unwrap_or(99_000_000));
                        wh += u32::from(s.whole(&[]));
                    }
                    println!("k={k:?} slot {} N={n:2} forks={forks} delay {}-{} ms: merges {:.1}, nothing due after {} s, one head {wh}/5", if slow { delay.1 } else { 500 }, delay.0, delay.1, f(m), t_end / S - 1);
                }
            }
        }
    }
}

/// The recommended turns inside the simulator: forks, a newcomer, poison, H2.
fn heard() {
    for among in [false, true] {
        for (delay, slot) in [((100, 900), 500u64), ((100, 900), 900), ((100, 5000), 5000), ((0, 20000), 20000)] {
            let e = E { among_heard: among, ..BEST };
            let (mut m, mut end, mut wh, mut add_m, mut add_t) = (0, 0, 0, 0, 0);
            for seed in 0..5 {
                let mut s = Sim::new(25, users(25), 24, good(), e, seed + 3, delay);
                s.slot = slot;
                // half of them spoke lately
                s.chat(&(0..12).collect::<Vec<_>>(), 300 * S, 0, 600 * S);
                s.run(900 * S, &mut |_, _, _| ());
                for d in 0..2 {
                    s.put(900 * S, d, Ev::Act(0));
                }
                s.run(900 * S, &mut |s, d, _| {
                    s.update(d);
                    s.update(d);
                });
                let c = s.n.commits;
                let (mut t, mut done) = (900 * S, None);
                while t < 1500 * S {
                    t += S;
                    s.run(t, &mut |_, _, _| ());
                    if s.devs.iter().all(|d| d.plan.is_none()) {
                        done = done.or(Some(t));
                    } else {
                        done = None;
                    }
                }
                m += s.n.commits - c;
                end = end.max(done.unwrap_or(99_000_000));
                wh += u32::from(s.whole(&[24]));
                // a newcomer
                let c = s.n.commits;
                for d in 0..25 {
                    let w = 1 + delay.1;
                    let x = s.rnd(w);
                    s.put(1500 * S + x, d, Ev::Fact(24, 1));
                }
                let (mut t, mut done) = (1500 * S, None);
                while t < 2100 * S {
                    t += S;
                    s.run(t, &mut |_, _, _| ());
                    if done.is_none() && s.canonical(24).is_some() {
                        done = Some(t);
                    }
                }
                add_m += s.n.commits - c;
                add_t += done.unwrap_or(99_000_000) / S - 1500;
            }
            println!("among heard {among:5} delay {}-{} slot {slot}: two forks, 24 online: merges {:.1}, done after {} s, one head {wh}/5; newcomer: commits {:.1}, in after {:.1} s", delay.0, delay.1, f(m), end / S - 900, f(add_m), add_t as f64 / 5.0);
        }
    }
    for among in [false, true] {
        let e = E { among_heard: among, ..BEST };
        for n in [5u16, 17] {
            let mut s = Sim::new(n, users(n), n, good(), e, 9, FAST);
            s.slot = 900;
            s.bad.insert(n - 1);
            for i in 0..25 {
                s.put((i * 864 + 5) * S, n - 1, Ev::Act(0));
            }
            s.chat(&(1..n - 1).collect::<Vec<_>>(), 120 * S, S, 6 * 3600 * S);
            s.run((6 * 3600 + 600) * S, &mut |s, m, _| poison(s, m, &[0], false, true));
            let x = s.share(0, |d| d != n - 1, 0);
            println!(
                "among heard {among:5} N={n:2} slot 900: poisoned 100/day: reads {:.1} %, {} commits beside {} attacks",
                100.0 * x.0 as f64 / x.1 as f64,
                s.n.commits - s.n.attack,
                s.n.attack
            );
        }
    }
}
