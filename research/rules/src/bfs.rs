//! Exhaustive search: a few devices, everything in any order, then quiet rounds.
use crate::core::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Ev {
    Update,
    Early,
    Leave,
    Join,
    Drop,
    FalseStamp,
    Poison,
    PoisonAll,
    Stray,
    Gap,
    OldExt,
    OldCommit,
    Ask,
    Enter,
    LateEnd,
    Reset,
    Ghost,
    GhostOld,
    Lost,
    BadMerge,
    Restore,
    LetGo,
}
pub const EVS: usize = 22;

/// What the server hands out as packages of a device: always one just made; only three that are older than any leaf, the last one
/// again and again; those and then new ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    Fresh,
    Old,
    Mixed,
}
const OLD: u16 = 3;

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct World {
    views: Vec<View>,
    room: Vec<u8>,
    wire: BTreeSet<Ix>,
    asks: Vec<(u16, u16)>,
    claimed: Vec<u8>,
    left: [u8; EVS],
    quiet: bool,
    rounds: u8,
    fault: u8,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Deliver(u16, Ix),
    Fact(u16, u16),
    Skip(u16, u16),
    AskSeen(u16, u16),
    Leave(u16),
    Join(u16),
    Update(u16),
    Early(u16),
    Drop(u16, u16),
    FalseStamp(u16, u16),
    Poison(u16, u16),
    PoisonAll(u16),
    Stray(u16),
    OldExt(u16, Ix),
    OldCommit(u16, Ix),
    Ask(u16),
    Enter(u16),
    End(u16, u16),
    Reset(u16, u16),
    Ghost(u16, u16),
    GhostOld(u16, u16),
    Lost(u16),
    BadMerge(u16, Ix),
    Restore(u16),
    LetGo(u16),
    Quiet,
    Round(u32),
}
pub struct Set {
    pub name: &'static str,
    pub user: Vec<u16>,
    pub members: Vec<u16>,
    pub bad: Vec<u16>,
    pub events: Vec<(Ev, u8)>,
    pub rules: Rules,
    pub rounds: u8,
    pub single: bool,
    pub max: usize,
    pub pool: Pool,
    pub asks_too: bool,
    pub cost: RefCell<Cost>,
}
/// What the quiet rounds cost, and how often a device's canonical head went back to an ancestor of the one before.
#[derive(Clone, Default, Debug)]
pub struct Cost {
    pub commits: u64,
    pub packages: u64,
    pub asks: u64,
    pub rounds: u64,
    pub ext: u64,
    pub fallback: u64,
    pub fallback_seen: u64,
    pub behind: u64,
}
impl Set {
    pub fn new(name: &'static str, n: u16, rules: Rules, events: &[(Ev, u8)]) -> Set {
        Set {
            name,
            user: (0..n).collect(),
            members: (0..n).collect(),
            bad: vec![],
            events: events.to_vec(),
            rules,
            rounds: 16,
            single: false,
            max: 1_500_000,
            pool: Pool::Fresh,
            asks_too: std::env::var("LATE_ASKS").is_err(),
            cost: RefCell::default(),
        }
    }
    pub fn bad(mut self, b: &[u16]) -> Set {
        self.bad = b.to_vec();
        self
    }
    pub fn users(mut self, u: &[u16]) -> Set {
        self.user = u.to_vec();
        self
    }
    pub fn members(mut self, u: &[u16]) -> Set {
        self.members = u.to_vec();
        self
    }
    pub fn rounds(mut self, r: u8) -> Set {
        self.rounds = r;
        self
    }
    pub fn single(mut self) -> Set {
        self.single = true;
        self
    }
    pub fn max(mut self, m: usize) -> Set {
        self.max = m;
        self
    }
    pub fn pool(mut self, p: Pool) -> Set {
        self.pool = p;
        self
    }
}
#[derive(Debug)]
pub struct Found {
    pub broken: Option<String>,
    pub trace: Vec<String>,
    pub states: usize,
    pub depth: usize,
    pub complete: bool,
    pub rounds: u8,
}

struct Run<'a> {
    s: &'a Set,
    reg: RefCell<Reg>,
    memo: RefCell<std::collections::HashMap<View, std::rc::Rc<Seen>>>,
}
struct Seen {
    plan: Option<Plan>,
    eligible: Vec<Ix>,
    bad: Option<String>,
}

impl Run<'_> {
    fn cx<T>(&self, f: impl FnOnce(&Ctx) -> T) -> T {
        let reg = self.reg.borrow();
        f(&Ctx { reg: &reg, user: &self.s.user, r: self.s.rules })
    }
    fn n(&self) -> u16 {
        self.s.user.len() as u16
    }
    fn seen(&self, v: &View) -> std::rc::Rc<Seen> {
        if let Some(s) = self.memo.borrow().get(v) {
            return s.clone();
        }
        let s = self.cx(|c| {
            let eligible = c.eligible(v);
            let heads = c.heads_without(v, &BTreeSet::new());
            let mut bad = None;
            if !v.acc.is_empty() && heads.is_empty() {
                bad = Some("no head".to_string());
            }
            // cut off
            let mine = c.fact(v, v.me);
            if c.in_d(v, v.me) && eligible.is_empty() && !self.s.bad.contains(&v.me) {
                let has = v.acc.keys().any(|x| {
                    c.usable(v, *x)
                        && !v.past.contains(x)
                        && c.reg.get(*x).leaf(v.me).is_some_and(|l| l.join == mine.join() && l.serial >= v.floor)
                });
                if has {
                    bad = Some(format!("device {} is cut off: no head to use", v.me));
                }
            }
            // resurrection: an ancestor is a head again only because of members whose membership, as I know, had ended
            for x in eligible.iter().filter(|_| self.s.rules.ended) {
                let e = c.reg.get(*x);
                if !mine.joined() {
                    continue;
                }
                for y in v.acc.keys().filter(|y| {
                    *y != x && c.usable(v, **y) && c.reg.anc_leaf[**y as usize].contains(x) && c.by_d(v, **y) && {
                        let (o, n) = c.back(v, *x, **y);
                        o <= n
                    }
                }) {
                    if e.leaves.iter().any(|l| {
                        c.counts(v, l) && c.reg.get(*y).leaf(l.dev).is_some_and(|k| c.unheard(v, *y, k).is_some())
                    }) {
                        continue;
                    }
                    let ey = c.reg.get(*y);
                    let ended = |l: &Leaf| c.fact(v, l.dev).ends & (1 << l.join) != 0;
                    let gone: Vec<&Leaf> = e
                        .leaves
                        .iter()
                        .filter(|l| {
                            c.in_d(v, l.dev)
                                && c.live(v, l)
                                && !ey.leaf(l.dev).is_some_and(|k| c.live(v, k) && !ended(k))
                        })
                        .collect();
                    if !gone.is_empty() && gone.iter().all(|l| ended(l)) {
                        bad = Some(format!("device {}: epoch {x} is a head again beside its descendant {y}", v.me));
                    }
                }
            }
            Seen { plan: c.plan(v), eligible, bad }
        });
        let s = std::rc::Rc::new(s);
        self.memo.borrow_mut().insert(v.clone(), s.clone());
        s
    }
    fn joined(&self, v: &View) -> bool {
        self.cx(|c| c.in_d(v, v.me))
    }
    fn start(&self) -> World {
        let n = self.n();
        let first = if self.s.pool == Pool::Fresh { 0 } else { OLD + 1 };
        let leaves =
            self.s.members.iter().map(|d| Leaf { dev: *d, floor: 0, serial: first, join: 1, pkg: false }).collect();
        let g = self.reg.borrow_mut().enter(Epoch {
            base: None,
            resolves: vec![],
            creator: self.s.members[0],
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
        let users = self.s.user.iter().max().unwrap() + 1;
        let mut room = vec![0u8; users as usize];
        for d in &self.s.members {
            room[self.s.user[*d as usize] as usize] = 1;
        }
        let facts: Vec<Fact> = room.iter().map(|s| Fact { shown: *s, ends: 0 }).collect();
        let keys = if self.s.pool == Pool::Fresh { 0 } else { (1..=OLD).fold(0u128, |k, s| k | 1 << s) };
        let views = (0..n)
            .map(|me| View {
                me,
                acc: if self.s.members.contains(&me) { BTreeMap::from([(g, true)]) } else { BTreeMap::new() },
                facts: facts.clone(),
                floors: vec![0; n as usize],
                asks: vec![0; n as usize],
                nopkg: 0,
                floor: 0,
                serial: first,
                keys,
                own: 1 << first,
                past: BTreeSet::new(),
                wanted: 0,
            })
            .collect();
        let mut left = [0; EVS];
        for (e, k) in &self.s.events {
            left[*e as usize] = *k;
        }
        World {
            views,
            room,
            wire: BTreeSet::new(),
            asks: vec![(0, 0); n as usize],
            claimed: vec![0; n as usize],
            left,
            quiet: false,
            rounds: 0,
            fault: 0,
        }
    }
    fn due(&self, v: &View) -> bool {
        self.joined(v) && self.seen(v).plan.as_ref().is_some_and(|p| p.due())
    }
    fn canonical(&self, v: &View) -> Option<Ix> {
        self.seen(v).eligible.first().copied()
    }
    /// Somebody of D is where this device cannot follow.
    fn stuck(&self, w: &World, d: u16) -> Option<Ix> {
        let v = &w.views[d as usize];
        if !self.joined(v) {
            return None;
        }
        (0..self.n())
            .filter(|o| *o != d && self.joined(&w.views[*o as usize]))
            .filter_map(|o| self.canonical(&w.views[o as usize]))
            .find(|h| v.acc.get(h) != Some(&true))
    }
    fn publish(&self, w: &mut World, d: u16, e: Epoch) -> Ix {
        let x = self.reg.borrow_mut().enter(e);
        w.views[d as usize].serial += 1;
        self.learn(w, d, x, true);
        w.wire.insert(x);
        x
    }
    fn learn(&self, w: &mut World, d: u16, x: Ix, holds: bool) {
        self.cx(|c| c.learn(&mut w.views[d as usize], x, holds))
    }
    /// What the server gives as package of o.
    fn claim(&self, w: &mut World, o: u16) -> u16 {
        let k = w.claimed[o as usize];
        match self.s.pool {
            Pool::Old => {
                let s = (u16::from(k) + 1).min(OLD);
                w.claimed[o as usize] = s as u8;
                s
            }
            Pool::Mixed if u16::from(k) < OLD => {
                w.claimed[o as usize] += 1;
                u16::from(k) + 1
            }
            _ => {
                let v = &mut w.views[o as usize];
                v.serial += 1;
                v.keys |= 1 << v.serial;
                v.serial
            }
        }
    }
    fn commit(&self, w: &mut World, d: u16, forced: bool, change: impl FnOnce(&mut Epoch, &Epoch)) -> Option<Ix> {
        let v = w.views[d as usize].clone();
        let mut p = self.seen(&v).plan.clone()?;
        let base = self.reg.borrow().get(p.base).clone();
        let mut packages = BTreeMap::new();
        for o in std::mem::take(&mut p.add) {
            let s = match self.cx(|c| c.package(&v, o)) {
                Some(s) => s,
                None => {
                    let s = self.claim(w, o);
                    self.s.cost.borrow_mut().packages += u64::from(w.quiet);
                    if self.s.rules.floors && s < v.floors[o as usize] {
                        w.views[d as usize].nopkg |= 1 << o;
                        continue;
                    }
                    s
                }
            };
            // removed and added in one commit: only with a higher serial; else it is added by the next
            if base.leaf(o).is_some_and(|l| l.serial >= s) {
                continue;
            }
            packages.insert(o, s);
            p.add.push(o);
        }
        if !forced && !p.due() {
            return None;
        }
        let v = w.views[d as usize].clone();
        let mut e = self.cx(|c| c.make(&v, &p, &packages, 0));
        change(&mut e, &base);
        // an honest commit holds nobody outside D
        if !self.s.bad.contains(&d) && self.joined(&v) && e.leaves.iter().any(|l| !self.cx(|c| c.in_d(&v, l.dev))) {
            w.fault |= 1;
        }
        self.s.cost.borrow_mut().commits += u64::from(w.quiet);
        Some(self.publish(w, d, e))
    }
    fn external(&self, w: &mut World, d: u16, base: Ix, resolve: bool) {
        let v = w.views[d as usize].clone();
        let b = self.reg.borrow().get(base).clone();
        let held: Vec<Ix> = if resolve { self.seen(&v).eligible.clone() } else { vec![] };
        let before = self.cx(|c| c.anc(base).clone());
        let mut leaves: Vec<Leaf> = b.leaves.iter().filter(|l| l.dev != d).copied().collect();
        let join = self.cx(|c| c.fact(&v, d).join());
        w.views[d as usize].floor = v.serial + 1;
        leaves.push(Leaf { dev: d, floor: v.serial + 1, serial: v.serial + 1, join, pkg: false });
        leaves.sort();
        let mut resolves: Vec<Ix> = held.into_iter().filter(|h| *h != base && !before.contains(h)).collect();
        resolves.sort();
        let removed = if b.has(d) { vec![d] } else { vec![] };
        self.s.cost.borrow_mut().ext += u64::from(w.quiet);
        self.publish(
            w,
            d,
            Epoch {
                base: Some(base),
                resolves,
                creator: d,
                ext: true,
                num: b.num + 1,
                leaves,
                removed,
                added: vec![],
                poison: vec![],
                ghost: vec![],
                no_m: false,
                bad_m: false,
                bad_gi: false,
                deliberate: false,
                attempt: 0,
            },
        );
    }
    fn ask(&self, w: &mut World, d: u16) {
        let wire: Vec<Ix> = w.wire.iter().copied().collect();
        let p = self.cx(|c| c.ask(&mut w.views[d as usize], wire.into_iter()));
        w.asks[d as usize] = (w.views[d as usize].floor, p);
        self.s.cost.borrow_mut().asks += u64::from(w.quiet);
    }
    fn ask_seen(&self, w: &mut World, d: u16, o: u16) {
        let (f, p) = w.asks[o as usize];
        let v = &mut w.views[d as usize];
        if v.asks[o as usize] < p {
            v.asks[o as usize] = p;
            v.nopkg &= !(1 << o);
        }
        let s = &mut v.floors[o as usize];
        *s = (*s).max(f);
    }
    fn back(&self, w: &mut World, d: u16, h: Ix) {
        let own = self.canonical(&w.views[d as usize]);
        match (self.s.rules.ret, own) {
            (Ret::Ask, _) => self.ask(w, d),
            (Ret::Ord, Some(_)) => {
                let v = &mut w.views[d as usize];
                v.floor = v.serial + 1;
                self.commit(w, d, true, |_, _| ());
            }
            _ => self.external(w, d, h, self.s.rules.ext_resolves),
        }
    }
    fn settle(&self, w: &mut World) {
        for d in 0..self.n() {
            for u in 0..w.room.len() {
                let f = &mut w.views[d as usize].facts[u];
                while f.shown < w.room[u] {
                    if f.joined() {
                        f.ends |= 1 << f.join();
                    }
                    f.shown += 1;
                }
            }
            for o in 0..self.n() {
                self.ask_seen(w, d, o);
            }
            for x in w.wire.clone() {
                self.cx(|c| c.floors(&mut w.views[d as usize], x));
            }
        }
        let mut moved = true;
        while moved {
            moved = false;
            for x in w.wire.clone() {
                for d in 0..self.n() {
                    if let Some(h) = self.cx(|c| c.takes(&w.views[d as usize], x)) {
                        self.learn(w, d, x, h);
                        moved = true;
                    }
                }
            }
        }
    }
    fn acting(&self, w: &World) -> u32 {
        let due = (0..self.n()).filter(|d| self.due(&w.views[*d as usize])).fold(0, |s, d| s | 1 << d);
        // an ask waits a minute, a commit a second: asks come in each fourth round, or when nothing else is due
        if due != 0 && (!self.s.asks_too || w.rounds % 4 != 3) {
            return due;
        }
        let stuck = (0..self.n()).filter(|d| self.stuck(w, *d).is_some()).fold(0, |s, d| s | 1 << d);
        if stuck != 0 {
            stuck
        } else {
            due
        }
    }
    fn list(&self, w: &World, out: &mut Vec<Act>) {
        if w.quiet {
            let due = self.acting(w);
            if w.rounds <= self.s.rounds {
                for set in 1..=due {
                    if set & !due == 0 && (!self.s.single || set.is_power_of_two()) {
                        out.push(Act::Round(set));
                    }
                }
            }
            return;
        }
        let may = |e: Ev| w.left[e as usize] > 0;
        for d in 0..self.n() {
            let v = &w.views[d as usize];
            for x in &w.wire {
                if self.cx(|c| c.takes(v, *x)).is_some() {
                    out.push(Act::Deliver(d, *x));
                }
            }
            for u in 0..w.room.len() {
                if v.facts[u].shown < w.room[u] {
                    out.push(Act::Fact(d, u as u16));
                    if may(Ev::Gap) && w.room[u] >= v.facts[u].shown + 2 {
                        out.push(Act::Skip(d, u as u16));
                    }
                }
            }
            for u in 0..w.room.len() {
                let all = (1..v.facts[u].join() + u8::from(!v.facts[u].joined())).fold(0u8, |s, k| s | 1 << k);
                if may(Ev::LateEnd) && v.facts[u].ends & all != all {
                    out.push(Act::End(d, u as u16));
                }
            }
            for u in 0..w.room.len() {
                if may(Ev::Reset)
                    && v.facts[u].shown > 0
                    && !v.facts[u].joined()
                    && self.s.user[d as usize] as usize != u
                {
                    out.push(Act::Reset(d, u as u16));
                }
            }
            for o in 0..self.n() {
                if v.asks[o as usize] < w.asks[o as usize].1 {
                    out.push(Act::AskSeen(d, o));
                }
            }
            let Some(can) = self.canonical(v) else {
                if may(Ev::Enter) && self.joined(v) && self.stuck(w, d).is_some() {
                    out.push(Act::Enter(d));
                }
                continue;
            };
            if !self.joined(v) {
                if may(Ev::Stray) {
                    out.push(Act::Stray(d));
                }
                continue;
            }
            if may(Ev::Early) && self.due(v) {
                out.push(Act::Early(d));
            }
            if may(Ev::Lost) && self.seen(v).plan.as_ref().is_some_and(|p| !p.add.is_empty()) {
                out.push(Act::Lost(d));
            }
            if may(Ev::Update) {
                out.push(Act::Update(d));
            }
            if may(Ev::LetGo) && v.acc.len() > v.past.len() + self.seen(v).eligible.len() {
                out.push(Act::LetGo(d));
            }
            if may(Ev::Ask) {
                out.push(Act::Ask(d));
            }
            if self.s.bad.contains(&d) {
                let leaves = self.reg.borrow().get(can).leaves.clone();
                for l in leaves.iter().filter(|l| !self.s.bad.contains(&l.dev)) {
                    if may(Ev::Drop) {
                        out.push(Act::Drop(d, l.dev));
                    }
                    if may(Ev::Poison) {
                        out.push(Act::Poison(d, l.dev));
                    }
                    if may(Ev::Ghost) {
                        out.push(Act::Ghost(d, l.dev));
                    }
                }
                if may(Ev::PoisonAll) {
                    out.push(Act::PoisonAll(d));
                }
                if may(Ev::GhostOld) {
                    for o in 0..self.n() {
                        if !self.s.bad.contains(&o) && self.cx(|c| c.in_d(v, o)) && !leaves.iter().any(|l| l.dev == o) {
                            out.push(Act::GhostOld(d, o));
                        }
                    }
                }
                if may(Ev::FalseStamp) {
                    for o in self.seen(v).plan.as_ref().unwrap().add.clone() {
                        out.push(Act::FalseStamp(d, o));
                    }
                }
                if may(Ev::BadMerge) {
                    for h in &w.wire {
                        if *h != can && self.cx(|c| !c.anc(can).contains(h)) {
                            out.push(Act::BadMerge(d, *h));
                        }
                    }
                }
                for x in v.acc.keys().filter(|x| **x != can && !v.past.contains(x)) {
                    let has = self.cx(|c| c.usable(v, *x));
                    if may(Ev::OldExt) && has {
                        out.push(Act::OldExt(d, *x));
                    }
                    if may(Ev::OldCommit) && has {
                        out.push(Act::OldCommit(d, *x));
                    }
                }
            } else if may(Ev::Restore) && self.s.members.contains(&d) && v.acc.len() > 1 {
                out.push(Act::Restore(d));
            }
        }
        for u in 0..w.room.len() as u16 {
            let s = w.room[u as usize];
            if s >= 4 {
                continue;
            }
            if s % 2 == 1 && may(Ev::Leave) {
                out.push(Act::Leave(u));
            }
            if s % 2 == 0 && may(Ev::Join) {
                out.push(Act::Join(u));
            }
        }
        out.push(Act::Quiet);
    }
    fn step(&self, w0: &World, a: Act) -> World {
        let mut w = w0.clone();
        let mut spend = |e: Ev| w.left[e as usize] -= 1;
        match a {
            Act::Deliver(d, x) => {
                let h = self.cx(|c| c.takes(&w.views[d as usize], x)).unwrap();
                self.learn(&mut w, d, x, h);
            }
            Act::Fact(d, u) => {
                let f = &mut w.views[d as usize].facts[u as usize];
                if f.joined() {
                    f.ends |= 1 << f.join();
                }
                f.shown += 1;
            }
            Act::Skip(d, u) => {
                spend(Ev::Gap);
                let to = w.room[u as usize];
                w.views[d as usize].facts[u as usize].shown = to;
            }
            Act::End(d, u) => {
                spend(Ev::LateEnd);
                let f = &mut w.views[d as usize].facts[u as usize];
                f.ends |= (1..f.join() + u8::from(!f.joined())).fold(0u8, |s, k| s | 1 << k);
            }
            Act::Reset(d, u) => {
                spend(Ev::Reset);
                w.views[d as usize].facts[u as usize].shown -= 1;
            }
            Act::AskSeen(d, o) => self.ask_seen(&mut w, d, o),
            Act::Leave(u) => {
                spend(Ev::Leave);
                w.room[u as usize] += 1;
            }
            Act::Join(u) => {
                spend(Ev::Join);
                w.room[u as usize] += 1;
            }
            Act::Update(d) => {
                spend(Ev::Update);
                self.commit(&mut w, d, true, |e, _| e.deliberate = true);
            }
            Act::Early(d) => {
                spend(Ev::Early);
                self.commit(&mut w, d, true, |_, _| ());
            }
            Act::Lost(d) => {
                spend(Ev::Lost);
                self.commit(&mut w, d, true, |e, _| e.ghost = e.added.clone());
            }
            Act::Stray(d) => {
                spend(Ev::Stray);
                self.commit(&mut w, d, true, |_, _| ());
            }
            Act::Ask(d) => {
                spend(Ev::Ask);
                self.ask(&mut w, d);
            }
            Act::Enter(d) => {
                spend(Ev::Enter);
                let h = self.stuck(w0, d).unwrap();
                self.external(&mut w, d, h, self.s.rules.ext_resolves);
            }
            Act::Drop(d, v) => {
                spend(Ev::Drop);
                self.commit(&mut w, d, true, |e, b| {
                    e.leaves.retain(|l| l.dev != v);
                    e.added.retain(|o| *o != v);
                    if b.has(v) && !e.removed.contains(&v) {
                        e.removed.push(v);
                    }
                });
            }
            Act::Ghost(d, v) | Act::GhostOld(d, v) => {
                let join = self.cx(|c| c.fact(&w.views[d as usize], v).join());
                // a package that v made for another room, or one used up long ago
                let s = if matches!(a, Act::Ghost(..)) {
                    spend(Ev::Ghost);
                    w.views[v as usize].serial += 1;
                    w.views[v as usize].serial
                } else {
                    spend(Ev::GhostOld);
                    0
                };
                self.commit(&mut w, d, true, |e, b| {
                    e.leaves.retain(|l| l.dev != v);
                    e.leaves.push(Leaf { dev: v, floor: 0, serial: s, join, pkg: true });
                    e.leaves.sort();
                    if b.has(v) && !e.removed.contains(&v) {
                        e.removed.push(v);
                    }
                    if !e.added.contains(&v) {
                        e.added.push(v);
                        e.added.sort();
                    }
                    e.ghost = vec![v];
                });
            }
            Act::FalseStamp(d, o) => {
                spend(Ev::FalseStamp);
                self.commit(&mut w, d, true, |e, _| {
                    for l in &mut e.leaves {
                        if l.dev == o {
                            l.join = 1;
                        }
                    }
                });
            }
            Act::Poison(d, v) => {
                spend(Ev::Poison);
                self.commit(&mut w, d, true, |e, _| e.poison = vec![v]);
            }
            Act::PoisonAll(d) => {
                spend(Ev::PoisonAll);
                self.commit(&mut w, d, true, |e, _| e.no_m = true);
            }
            Act::BadMerge(d, h) => {
                spend(Ev::BadMerge);
                self.commit(&mut w, d, true, |e, _| {
                    if !e.resolves.contains(&h) {
                        e.resolves.push(h);
                        e.resolves.sort();
                    }
                    e.bad_m = true;
                });
            }
            Act::Restore(d) => {
                spend(Ev::Restore);
                let v = &mut w.views[d as usize];
                let g = *v.acc.keys().next().unwrap();
                v.acc = BTreeMap::from([(g, true)]);
                v.past.clear();
                v.keys = 0;
                v.own = 1 << self.reg.borrow().get(g).leaf(d).unwrap().serial;
                v.floor = v.serial + 1;
            }
            Act::LetGo(d) => {
                spend(Ev::LetGo);
                let keep = self.seen(&w.views[d as usize]).eligible.clone();
                let v = &mut w.views[d as usize];
                v.past = v.acc.keys().copied().filter(|x| !keep.contains(x)).collect();
            }
            Act::OldExt(d, x) => {
                spend(Ev::OldExt);
                self.external(&mut w, d, x, self.s.rules.ext_resolves);
            }
            Act::OldCommit(d, x) => {
                spend(Ev::OldCommit);
                let v = w.views[d as usize].clone();
                let e = self.cx(|c| {
                    c.make(
                        &v,
                        &Plan {
                            base: x,
                            add: vec![],
                            remove: vec![],
                            resolve: c.eligible(&v).into_iter().filter(|h| *h != x && !c.anc(x).contains(h)).collect(),
                            differing: false,
                        },
                        &BTreeMap::new(),
                        0,
                    )
                });
                self.publish(&mut w, d, e);
            }
            Act::Quiet => {
                w.quiet = true;
                w.left = [0; EVS];
                self.settle(&mut w);
            }
            Act::Round(set) => {
                w.rounds += 1;
                for d in 0..self.n() {
                    if set & (1 << d) == 0 {
                        continue;
                    }
                    let asks = self.s.asks_too && w0.rounds % 4 == 3 && self.stuck(w0, d).is_some();
                    if !asks && self.due(&w0.views[d as usize]) {
                        self.commit(&mut w, d, false, |_, _| ());
                    } else if let Some(h) = self.stuck(w0, d) {
                        self.back(&mut w, d, h);
                    }
                }
                self.settle(&mut w);
            }
        }
        w
    }
    fn check(&self, w: &World) -> Option<String> {
        for v in &w.views {
            if let Some(b) = &self.seen(v).bad {
                return Some(b.clone());
            }
        }
        if w.fault != 0 {
            return Some("an honest commit holds a device outside D".into());
        }
        if w.quiet && w.rounds > self.s.rounds {
            return Some(format!("merging does not end in {} rounds", self.s.rounds));
        }
        if w.quiet && self.acting(w) == 0 {
            let able: Vec<u16> = (0..self.n()).filter(|d| self.joined(&w.views[*d as usize])).collect();
            let joined: Vec<u16> = able.clone();
            let heads: Vec<Option<Ix>> = able.iter().map(|d| self.canonical(&w.views[*d as usize])).collect();
            let Some(Some(first)) = heads.first().copied() else {
                return if able.is_empty() || w.views.iter().all(|v| self.canonical(v).is_none()) {
                    None
                } else {
                    Some("a device of D has no head at the end".into())
                };
            };
            let v0 = &w.views[able[0] as usize];
            for (d, h) in able.iter().zip(&heads) {
                let Some(h) = h else { return Some(format!("device {d} has no head at the end")) };
                if *h != first && !(v0.acc.contains_key(h) && self.cx(|c| c.collapse(v0, first, *h))) {
                    return Some(format!("two heads at the end: {first} and {h} (device {d})"));
                }
            }
            let l: Vec<u16> = self.reg.borrow().get(first).leaves.iter().map(|l| l.dev).collect();
            if l != joined {
                return Some(format!("members {l:?} are not D {joined:?} at the end"));
            }
            for d in &able {
                let v = &w.views[*d as usize];
                let s = self.seen(v);
                let all: BTreeSet<Ix> =
                    s.eligible.iter().flat_map(|h| (*self.reg.borrow().anc[*h as usize]).clone()).collect();
                if let Some(x) = v.acc.keys().find(|x| {
                    self.cx(|c| c.usable(v, **x) && !v.past.contains(x) && c.by_d(v, **x)) && !all.contains(x)
                }) {
                    return Some(format!("epoch {x} is not merged at the end (device {d})"));
                }
            }
        }
        None
    }
}

fn key(w: &World) -> u128 {
    let mut a = Fx(1);
    w.hash(&mut a);
    let mut b = std::collections::hash_map::DefaultHasher::new();
    w.hash(&mut b);
    (u128::from(a.finish()) << 64) | u128::from(b.finish())
}

pub fn search(s: &Set) -> Found {
    let r = Run { s, reg: RefCell::default(), memo: RefCell::default() };
    let w = r.start();
    let mut seen: HashSet<u128> = HashSet::from([key(&w)]);
    let mut nodes: Vec<(u32, Act)> = vec![(0, Act::Quiet)];
    let mut front = vec![(0u32, w)];
    let (mut depth, mut rounds) = (0, 0);
    let mut acts = Vec::new();
    while !front.is_empty() {
        let mut next = Vec::new();
        for (i, w) in front {
            acts.clear();
            r.list(&w, &mut acts);
            for a in acts.iter().copied() {
                let n = r.step(&w, a);
                if !seen.insert(key(&n)) {
                    continue;
                }
                let j = nodes.len() as u32;
                nodes.push((i, a));
                if n.quiet && r.acting(&n) == 0 {
                    rounds = rounds.max(n.rounds);
                }
                if let Some(b) = r.check(&n) {
                    let mut t = vec![format!("{a:?}")];
                    let mut k = i;
                    while k != 0 {
                        t.push(format!("{:?}", nodes[k as usize].1));
                        k = nodes[k as usize].0;
                    }
                    t.reverse();
                    t.extend(r.dump(&n));
                    return Found { broken: Some(b), trace: t, states: seen.len(), depth, complete: false, rounds };
                }
                next.push((j, n));
            }
            if seen.len() > s.max {
                return Found { broken: None, trace: vec![], states: seen.len(), depth, complete: false, rounds };
            }
        }
        depth += 1;
        front = next;
    }
    Found { broken: None, trace: vec![], states: seen.len(), depth, complete: true, rounds }
}

impl Run<'_> {
    fn dump(&self, w: &World) -> Vec<String> {
        let mut t = Vec::new();
        for v in &w.views {
            t.push(format!(
                "  device {}: acc {:?} eligible {:?} facts {:?} floors {:?} asks {:?} nopkg {} serial {} keys {:b}",
                v.me,
                v.acc,
                self.seen(v).eligible,
                v.facts.iter().map(|f| (f.shown, f.ends)).collect::<Vec<_>>(),
                v.floors,
                v.asks,
                v.nopkg,
                v.serial,
                v.keys
            ));
        }
        let reg = self.reg.borrow();
        let used: BTreeSet<Ix> =
            w.views.iter().flat_map(|v| v.acc.keys().copied()).chain(w.wire.iter().copied()).collect();
        for x in used {
            let e = reg.get(x);
            t.push(format!("  epoch {x}: by {} base {:?} resolves {:?}{} leaves {} removed {:?} added {:?} poison {:?} ghost {:?}{}{}", e.creator, e.base, e.resolves, if e.ext { " external" } else { "" },
            e.leaves.iter().map(|l| format!("{}:{}{}{}/j{}", l.dev, l.serial, if l.pkg { "p" } else { "" }, if l.floor > 0 { format!("(floor {})", l.floor) } else { String::new() }, l.join)).collect::<Vec<_>>().join(" "), e.removed, e.added, e.poison, e.ghost, if e.no_m { " no M" } else { "" }, if e.bad_m { " bad M" } else { "" }));
        }
        t
    }
}

/// Random walks: up to 60 steps, then quiet and rounds of random sets.
pub fn walks(s: &Set, seeds: u64) -> (u64, BTreeMap<String, (u64, Vec<String>)>, u8) {
    let (mut bad, mut kinds, mut longest) = (0, BTreeMap::<String, (u64, Vec<String>)>::new(), 0);
    let mut r = Run { s, reg: RefCell::default(), memo: RefCell::default() };
    for seed in 0..seeds {
        if seed % 200 == 0 {
            r = Run { s, reg: RefCell::default(), memo: RefCell::default() };
        }
        let mut rng = (seed + 1).wrapping_mul(0x9E3779B97F4A7C15) | 1;
        let mut rnd = |n: usize| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            (rng >> 11) as usize % n
        };
        let mut w = r.start();
        let mut t = Vec::new();
        let steps = 10 + rnd(50);
        let mut i = 0;
        loop {
            let mut acts = Vec::new();
            r.list(&w, &mut acts);
            if acts.is_empty() {
                break;
            }
            let a = if w.quiet || i >= steps {
                if w.quiet {
                    acts[rnd(acts.len())]
                } else {
                    Act::Quiet
                }
            } else {
                let some: Vec<Act> = acts.iter().copied().filter(|a| !matches!(a, Act::Quiet)).collect();
                if some.is_empty() {
                    Act::Quiet
                } else {
                    some[rnd(some.len())]
                }
            };
            i += 1;
            let n = r.step(&w, a);
            for (o, v) in w.views.iter().zip(&n.views) {
                if s.bad.contains(&o.me) || !r.joined(o) || !r.joined(v) || matches!(a, Act::Restore(_)) {
                    continue;
                }
                if let (Some(h), Some(k)) = (r.canonical(o), r.canonical(v)) {
                    if h != k && r.cx(|c| c.anc(h).contains(&k)) {
                        s.cost.borrow_mut().fallback += 1;
                    }
                }
            }
            w = n;
            t.push(format!("{a:?}"));
            if let Some(b) = r.check(&w) {
                bad += 1;
                let kind: String =
                    b.split(['(', ':']).next().unwrap().chars().filter(|c| !c.is_ascii_digit()).collect();
                let k = kinds.entry(kind).or_default();
                k.0 += 1;
                if k.1.is_empty() || t.len() < k.1.len() - r.dump(&w).len().min(k.1.len()) {
                    k.1 = std::iter::once(format!("seed {seed}: {b}")).chain(t.clone()).chain(r.dump(&w)).collect();
                }
                break;
            }
        }
        // users whose newest own leaf is not in the last head
        if let Some(h) = w.views.iter().filter(|v| r.joined(v)).find_map(|v| r.canonical(v)) {
            let reg = r.reg.borrow();
            let behind: BTreeSet<u16> = reg
                .get(h)
                .leaves
                .iter()
                .filter(|l| {
                    !s.bad.contains(&l.dev)
                        && w.wire.iter().any(|x| {
                            let e = reg.get(*x);
                            e.creator == l.dev && e.leaf(l.dev).unwrap().serial > l.serial
                        })
                })
                .map(|l| s.user[l.dev as usize])
                .collect();
            s.cost.borrow_mut().behind += behind.len() as u64;
        }
        longest = longest.max(w.rounds);
        s.cost.borrow_mut().rounds += u64::from(w.rounds);
    }
    (bad, kinds, longest)
}

/// Secrets as sets: a thief copies device d at some step of a random walk and keeps reading what is public. At the end, does it know the
/// epoch that all build on, although d made a commit after the theft that this epoch descends from?
pub fn theft(s: &Set, seeds: u64) -> (u64, u64, Option<Vec<String>>) {
    let (mut cases, mut bad, mut first) = (0, 0, None::<Vec<String>>);
    for seed in 0..seeds {
        let r = Run { s, reg: RefCell::default(), memo: RefCell::default() };
        let mut rng = (seed + 77).wrapping_mul(0x9E3779B97F4A7C15) | 1;
        let mut rnd = |n: usize| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            (rng >> 11) as usize % n
        };
        let mut w = r.start();
        let mut t = Vec::new();
        let (steps, when) = (10 + rnd(40), rnd(25));
        let d = rnd(3) as u16;
        let mut stolen: Option<View> = None;
        let mut i = 0;
        loop {
            let mut acts = Vec::new();
            r.list(&w, &mut acts);
            if acts.is_empty() {
                break;
            }
            let a = if w.quiet || i >= steps {
                if w.quiet {
                    acts[rnd(acts.len())]
                } else {
                    Act::Quiet
                }
            } else {
                let some: Vec<Act> = acts.iter().copied().filter(|a| !matches!(a, Act::Quiet)).collect();
                if some.is_empty() {
                    Act::Quiet
                } else {
                    some[rnd(some.len())]
                }
            };
            if i == when {
                stolen = Some(w.views[d as usize].clone());
                t.push(format!("THEFT of {d}"));
            }
            i += 1;
            w = r.step(&w, a);
            t.push(format!("{a:?}"));
        }
        let Some(st) = stolen else { continue };
        let reg = r.reg.borrow();
        let mut known: BTreeSet<Ix> =
            st.acc.iter().filter(|(x, h)| **h && reg.get(**x).has(d)).map(|(x, _)| *x).collect();
        let own = |l: &Leaf| st.own & (1 << l.serial) != 0;
        let mut kp = false;
        loop {
            let n = known.len();
            for c in &w.wire {
                let e = reg.get(*c);
                if known.contains(c) {
                    continue;
                }
                if e.added.contains(&d) {
                    if e.leaf(d).is_some_and(|l| st.keys & (1 << l.serial) != 0) {
                        known.insert(*c);
                        kp = true;
                    }
                    continue;
                }
                let Some(b) = e.base.filter(|b| known.contains(b)) else { continue };
                let base_leaf = reg.get(b).leaf(d).copied();
                if e.creator == d || !e.has(d) || e.poison.contains(&d) || e.no_m {
                    continue;
                }
                if !base_leaf.is_some_and(|l| own(&l)) {
                    continue;
                }
                let all = e.resolves.iter().all(|x| known.contains(x));
                let lacks = e.resolves.iter().any(|x| !reg.get(*x).has(d));
                let opens = r.cx(|cx| cx.grant_to(e, d)).is_some_and(|l| own(&l));
                if all && !e.bad_m || lacks && opens {
                    known.insert(*c);
                }
            }
            if known.len() == n {
                break;
            }
        }
        if kp {
            continue;
        }
        let later: Vec<Ix> =
            w.wire.iter().copied().filter(|c| reg.get(*c).creator == d && !st.acc.contains_key(c)).collect();
        drop(reg);
        for v in w.views.iter().filter(|v| r.joined(v) && v.me != d) {
            let Some(e) = r.canonical(v) else { continue };
            if !later.iter().any(|u| r.reg.borrow().anc[e as usize].contains(u)) {
                continue;
            }
            cases += 1;
            if known.contains(&e) {
                bad += 1;
                if first.as_ref().is_none_or(|f| t.len() < f.len()) {
                    let mut tt = t.clone();
                    tt.push(format!(
                        "  device {} is in {e}, the thief of {d} knows {known:?}, later commits {later:?}",
                        v.me
                    ));
                    tt.extend(r.dump(&w));
                    first = Some(tt);
                }
                break;
            }
        }
    }
    (cases, bad, first)
}
