//! Epochs without cryptography, and the candidate rules B, C, D and base orders; floors in place of lives.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

pub type Ix = u32;
/// A leaf: device, its floor (0 in packages), serial (one counter for all that the device makes: it names the leaf), the membership
/// under which it was added as its adder claims, and whether its source is a key package.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Leaf {
    pub dev: u16,
    pub floor: u16,
    pub serial: u16,
    pub join: u8,
    pub pkg: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Epoch {
    pub base: Option<Ix>,
    pub resolves: Vec<Ix>,
    pub creator: u16,
    pub ext: bool,
    pub num: u16,
    pub leaves: Vec<Leaf>, // by dev
    pub removed: Vec<u16>,
    pub added: Vec<u16>,
    pub poison: Vec<u16>, // devices that cannot open it
    pub ghost: Vec<u16>,  // added without a Welcome
    pub no_m: bool,       // M withheld: only the creator can enter
    pub bad_m: bool,      // M made up: who holds all resolved heads cannot enter
    pub bad_gi: bool,     // its GroupInfo is useless
    pub deliberate: bool,
    pub attempt: u16,
}
impl Epoch {
    pub fn leaf(&self, d: u16) -> Option<&Leaf> {
        self.leaves.binary_search_by_key(&d, |l| l.dev).ok().map(|i| &self.leaves[i])
    }
    pub fn has(&self, d: u16) -> bool {
        self.leaf(d).is_some()
    }
    pub fn parents(&self) -> impl Iterator<Item = Ix> + '_ {
        self.base.iter().copied().chain(self.resolves.iter().copied())
    }
    pub fn parent_set(&self) -> BTreeSet<Ix> {
        self.parents().collect()
    }
}

#[derive(Default)]
pub struct Reg {
    pub all: Vec<Epoch>,
    ix: HashMap<Epoch, Ix>,
    pub anc: Vec<std::rc::Rc<BTreeSet<Ix>>>,
    pub anc_leaf: Vec<std::rc::Rc<BTreeSet<Ix>>>,
    pub chain: Vec<std::rc::Rc<BTreeSet<Ix>>>,
}
impl Reg {
    pub fn enter(&mut self, e: Epoch) -> Ix {
        if let Some(i) = self.ix.get(&e) {
            return *i;
        }
        let i = self.all.len() as Ix;
        let mut anc = BTreeSet::from([i]);
        let mut al = BTreeSet::from([i]);
        let mut ch = BTreeSet::from([i]);
        for p in e.parents() {
            anc.extend(self.anc[p as usize].iter().copied());
        }
        if let Some(b) = e.base {
            al.extend(self.anc_leaf[b as usize].iter().copied());
            ch.extend(self.chain[b as usize].iter().copied());
        }
        for p in &e.resolves {
            if self.get(*p).has(e.creator) {
                al.extend(self.anc_leaf[*p as usize].iter().copied());
            }
        }
        self.anc.push(std::rc::Rc::new(anc));
        self.anc_leaf.push(std::rc::Rc::new(al));
        self.chain.push(std::rc::Rc::new(ch));
        self.ix.insert(e.clone(), i);
        self.all.push(e);
        i
    }
    pub fn get(&self, i: Ix) -> &Epoch {
        &self.all[i as usize]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum O {
    ExtFirst,
    NewestDev,
    NewestUser,
    Simple,
    Weigh,
    Cost,
    Cost1,
    CostNoDev,
    NumberFirst,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ret {
    Ext,
    Ord,
    Ask,
}
/// (1) of rule C: what y must have for a counting leaf of x.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum One {
    Off,
    Any,
    Count,
}
/// (2) of rule C: which users of D are taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Two {
    Off,
    Older,
    OlderMissing,
    Fair,
    Weigh,
    None,
}
/// Which ancestry covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Desc {
    Names,
    Leaf,
    Base,
    Nothing,
}
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub o: O,
    pub ret: Ret,
    /// What I do not hold covers nothing for me, and counts for nothing but floors.
    pub held: bool,
    pub one: One,
    pub two: Two,
    pub desc: Desc,
    /// Leaves of memberships that I know to have ended count for nothing and are replaced (stamps).
    pub ended: bool,
    /// R4: a leaf put by an Add over a counting one counts once its device was heard.
    pub heard: bool,
    /// A head that is an ancestor of the base is resolved again.
    pub again: bool,
    /// Of the heads to resolve only those that are no ancestors of another.
    pub max_only: bool,
    /// Newest leaf (base order): among leaves of source commit only.
    pub newest_commit: bool,
    /// The key of an ask's package is kept after use.
    pub keep: bool,
    /// Floors are learnt from leaves, too.
    pub leaf_floor: bool,
    /// An external commit resolves the heads of its maker.
    pub ext_resolves: bool,
    /// floor of an ask: 1 + the highest serial of mine on a leaf that I saw (else: the serial of its package).
    pub tight: bool,
    /// Grants: 0 leaf in the base, 1 newest in the ancestry (R6: of source commit), 2 newest of any source in the ancestry.
    pub grant: u8,
    /// D leaves out who is shown joined by a join that I know to have ended.
    pub sticky: bool,
    /// Floors are not looked at: a leaf is dead only by ... nothing.
    pub floors: bool,
}
/// PROTOCOL as it stands (R4, R6, R9, R5).
pub const FULL: Rules = Rules {
    o: O::Cost,
    ret: Ret::Ask,
    held: false,
    one: One::Count,
    two: Two::Older,
    desc: Desc::Leaf,
    ended: true,
    heard: true,
    again: false,
    max_only: false,
    newest_commit: false,
    keep: false,
    leaf_floor: true,
    ext_resolves: false,
    tight: true,
    grant: 1,
    sticky: true,
    floors: true,
};
/// The same, but only what I hold covers: no hearing.
pub const HELD: Rules = Rules { held: true, heard: false, ..FULL };
/// No stamps either.
pub const NOEND: Rules = Rules { ended: false, ..HELD };
/// The candidate: only what I hold covers, and only if it takes back no more users than it brings forward.
pub const CAND: Rules = Rules { one: One::Off, two: Two::Older, desc: Desc::Leaf, max_only: true, keep: true, ..NOEND };
/// CAND with floors from asks alone (an ask's package is its floor) and the short base order.
pub const FINAL: Rules = Rules { o: O::Simple, tight: false, leaf_floor: false, ..CAND };
/// FINAL, and a missing leaf is older than any; newest among leaves of source commit.
pub const FAIR: Rules = Rules { two: Two::Fair, newest_commit: true, ..FINAL };
/// The rules recommended. A missing leaf counts twice, an older one once, in (2) and in the base order alike.
pub const WEIGH: Rules = Rules { two: Two::Weigh, o: O::Weigh, newest_commit: true, ..FINAL };
pub const ONE: Rules = Rules { two: Two::OlderMissing, ..CAND };
pub const TIPS: Rules = Rules { two: Two::Off, ..CAND };
pub const BASE: Rules = Rules { two: Two::Off, desc: Desc::Base, ..CAND };
pub const ORDER: Rules = Rules { two: Two::Off, desc: Desc::Nothing, ..CAND };
pub const GOOD: Rules = WEIGH;

/// What one device knows of a user's membership: step shown (odd: joined) and the departures that it learnt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Fact {
    pub shown: u8,
    pub ends: u8,
}
impl Fact {
    pub fn joined(&self) -> bool {
        self.shown % 2 == 1
    }
    pub fn join(&self) -> u8 {
        self.shown.div_ceil(2)
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct View {
    pub me: u16,
    /// accepted -> holds its secrets
    pub acc: BTreeMap<Ix, bool>,
    pub facts: Vec<Fact>, // by user
    /// highest floor known, per device
    pub floors: Vec<u16>,
    /// package of the last ask known, per device (0: none)
    pub asks: Vec<u16>,
    /// devices whose packages on the server are below their floor
    pub nopkg: u32,
    pub floor: u16,
    pub serial: u16,
    /// serials of my packages whose key I have
    pub keys: u128,
    /// serials of my leaves whose key I have
    pub own: u128,
    /// epochs that I held and let go (the window is over): no base, no head, nothing on them can be entered
    pub past: BTreeSet<Ix>,
    /// serial of the last deliberate update
    pub wanted: u16,
}

pub fn h64(x: &impl Hash) -> u64 {
    let mut h = Fx(0xcbf29ce484222325);
    x.hash(&mut h);
    let mut z = h.0;
    z ^= z >> 31;
    z = z.wrapping_mul(0x9E3779B97F4A7C15);
    z ^= z >> 29;
    z = z.wrapping_mul(0xBF58476D1CE4E5B9);
    z ^ (z >> 32)
}
#[derive(Clone, Default)]
pub struct Fx(pub u64);
impl Hasher for Fx {
    fn finish(&self) -> u64 {
        let mut z = self.0;
        z ^= z >> 32;
        z = z.wrapping_mul(0x9E3779B97F4A7C15);
        z ^ (z >> 29)
    }
    fn write(&mut self, b: &[u8]) {
        for x in b {
            self.0 = (self.0.rotate_left(5) ^ u64::from(*x)).wrapping_mul(0x517cc1b727220a95);
        }
    }
}
fn bit(s: u16) -> u128 {
    1u128 << s.min(127)
}

pub struct Ctx<'a> {
    pub reg: &'a Reg,
    pub user: &'a [u16],
    pub r: Rules,
}

impl Ctx<'_> {
    pub fn fact(&self, v: &View, d: u16) -> Fact {
        v.facts[self.user[d as usize] as usize]
    }
    pub fn in_d(&self, v: &View, d: u16) -> bool {
        let f = self.fact(v, d);
        f.joined() && !(self.r.sticky && f.ends & (1 << f.join()) != 0)
    }
    pub fn over(&self, v: &View, l: &Leaf) -> bool {
        self.r.ended && self.fact(v, l.dev).ends & (1 << l.join) != 0
    }
    pub fn live(&self, v: &View, l: &Leaf) -> bool {
        !self.r.floors || l.serial >= v.floors[l.dev as usize]
    }
    pub fn anc(&self, x: Ix) -> &BTreeSet<Ix> {
        &self.reg.anc[x as usize]
    }
    /// What counts as merged into x.
    pub fn below(&self, x: Ix) -> &BTreeSet<Ix> {
        if self.r.desc == Desc::Leaf {
            &self.reg.anc_leaf[x as usize]
        } else {
            self.anc(x)
        }
    }
    pub fn counts(&self, v: &View, l: &Leaf) -> bool {
        self.in_d(v, l.dev) && self.live(v, l) && !self.over(v, l)
    }
    /// R4: was this leaf of y put by an Add over a counting leaf and never heard since? Then: the heard leaf below it.
    pub fn unheard(&self, v: &View, y: Ix, l: &Leaf) -> Option<Option<Leaf>> {
        if !self.r.heard || !l.pkg {
            return None;
        }
        let mut a = y;
        loop {
            let e = self.reg.get(a);
            if e.added.contains(&l.dev) {
                break;
            }
            a = e.base?;
        }
        if v.acc.keys().any(|x| {
            let e = self.reg.get(*x);
            e.creator == l.dev && self.anc(*x).contains(&a)
        }) {
            return None;
        }
        let mut at = self.reg.get(a).base;
        let (mut had, mut below) = (false, None);
        while let Some(b) = at {
            if let Some(k) = self.reg.get(b).leaf(l.dev) {
                if self.counts(v, k) {
                    had = true;
                }
                if below.is_none() {
                    below = match self.unheard(v, b, k) {
                        None => Some(*k),
                        Some(_) => None,
                    };
                }
                if had && below.is_some() {
                    break;
                }
            }
            at = self.reg.get(b).base;
        }
        had.then_some(below)
    }
    fn alive(&self, v: &View, x: Ix, d: u16) -> Option<u16> {
        self.reg.get(x).leaf(d).filter(|l| self.live(v, l) && !self.over(v, l)).map(|l| l.serial)
    }
    /// What is lost from x to y: two for a user with a device that has a live leaf in x and none in y, one for one with an older leaf in y.
    fn loss(&self, v: &View, x: Ix, y: Ix) -> usize {
        let mut w: BTreeMap<u16, usize> = BTreeMap::new();
        for d in (0..self.user.len() as u16).filter(|d| self.in_d(v, *d)) {
            let Some(a) = self.alive(v, x, d) else { continue };
            let n = match self.alive(v, y, d) {
                None => 2,
                Some(b) if b < a => 1,
                _ => continue,
            };
            let e = w.entry(self.user[d as usize]).or_default();
            *e = (*e).max(n);
        }
        w.values().sum()
    }
    /// (users taken back, users brought forward) from x to y.
    pub fn back(&self, v: &View, x: Ix, y: Ix) -> (usize, usize) {
        if self.r.two == Two::Weigh {
            return (self.loss(v, x, y), self.loss(v, y, x));
        }
        let (ex, ey) = (self.reg.get(x), self.reg.get(y));
        let (mut older, mut newer) = (BTreeSet::new(), BTreeSet::new());
        for l in &ex.leaves {
            if !self.in_d(v, l.dev) {
                continue;
            }
            let u = self.user[l.dev as usize];
            match ey.leaf(l.dev) {
                Some(k) if k.serial < l.serial => {
                    older.insert(u);
                }
                Some(k) if k.serial > l.serial && self.unheard(v, y, k).is_none() => {
                    newer.insert(u);
                }
                None if self.r.two == Two::OlderMissing && self.counts(v, l) => {
                    older.insert(u);
                }
                _ => (),
            }
        }
        // no leaf is older than any
        if self.r.two == Two::Fair {
            for l in ex.leaves.iter().filter(|l| self.in_d(v, l.dev) && !ey.has(l.dev)) {
                older.insert(self.user[l.dev as usize]);
            }
            for l in ey.leaves.iter().filter(|l| self.in_d(v, l.dev) && !ex.has(l.dev)) {
                newer.insert(self.user[l.dev as usize]);
            }
        }
        (older.len(), newer.len())
    }
    pub fn covers(&self, v: &View, x: Ix, y: Ix) -> bool {
        let (ex, ey) = (self.reg.get(x), self.reg.get(y));
        if x == y {
            return false;
        }
        let by = match self.r.desc {
            Desc::Names => &self.reg.anc,
            Desc::Leaf => &self.reg.anc_leaf,
            Desc::Base => &self.reg.chain,
            Desc::Nothing => return false,
        };
        if !by[y as usize].contains(&x) {
            return false;
        }
        if self.r.held && (v.acc.get(&y) != Some(&true) || v.past.contains(&y)) {
            return false;
        }
        if self.r.two != Two::Off {
            let (o, n) = self.back(v, x, y);
            if if self.r.two == Two::None { o > 0 } else { o > n } {
                return false;
            }
        }
        self.r.one == One::Off
            || ex.leaves.iter().all(|l| {
                !self.counts(v, l)
                    || ey
                        .leaf(l.dev)
                        .is_some_and(|k| self.r.one == One::Any || self.counts(v, k) && self.unheard(v, y, k).is_none())
            })
    }
    /// Heads, with some epochs set aside.
    pub fn heads_without(&self, v: &View, aside: &BTreeSet<Ix>) -> Vec<Ix> {
        let counted: Vec<Ix> = v.acc.keys().copied().filter(|x| !aside.contains(x)).collect();
        counted
            .iter()
            .copied()
            .filter(|x| !v.past.contains(x) && !counted.iter().rev().any(|y| self.covers(v, *x, *y)))
            .collect()
    }
    pub fn usable(&self, v: &View, x: Ix) -> bool {
        v.acc.get(&x) == Some(&true) && self.reg.get(x).has(v.me)
    }
    pub fn by_d(&self, v: &View, x: Ix) -> bool {
        let e = self.reg.get(x);
        self.in_d(v, e.creator) && e.has(e.creator)
    }
    pub fn eligible(&self, v: &View) -> Vec<Ix> {
        let mut aside = BTreeSet::new();
        let mut heads = self.heads_without(v, &aside);
        if heads.iter().any(|x| self.usable(v, *x) && self.by_d(v, *x)) {
            loop {
                let n = aside.len();
                aside.extend(heads.iter().copied().filter(|x| !self.by_d(v, *x)));
                if aside.len() == n {
                    break;
                }
                heads = self.heads_without(v, &aside);
            }
        }
        let mut heads: Vec<Ix> = heads.into_iter().filter(|x| self.usable(v, *x)).collect();
        if heads.len() > 1 {
            self.sort(v, &mut heads);
        }
        heads
    }
    pub fn newest(&self, v: &View) -> BTreeMap<u16, u16> {
        let mut new: BTreeMap<u16, u16> = BTreeMap::new();
        for x in v.acc.keys() {
            for l in &self.reg.get(*x).leaves {
                if self.r.newest_commit && l.pkg || self.unheard(v, *x, l).is_some() {
                    continue;
                }
                let n = new.entry(l.dev).or_insert(l.serial);
                *n = (*n).max(l.serial);
            }
        }
        new
    }
    fn sort(&self, v: &View, heads: &mut [Ix]) {
        let shared = heads.iter().skip(1).fold(self.anc(heads[0]).clone(), |s, a| &s & self.anc(*a));
        let point = shared.iter().copied().max_by_key(|x| (self.reg.get(*x).num, std::cmp::Reverse(*x)));
        let ds: Vec<u16> = (0..self.user.len() as u16).filter(|d| self.in_d(v, *d)).collect();
        let newest = self.newest(v);
        let all: Vec<Ix> = heads.to_vec();
        let users = |s: &[u16]| s.iter().map(|d| self.user[*d as usize]).collect::<BTreeSet<u16>>().len();
        heads.sort_by_cached_key(|x| {
            let e = self.reg.get(*x);
            let behind: Vec<u16> = ds
                .iter()
                .copied()
                .filter(|d| match (e.leaf(*d), newest.get(d)) {
                    (Some(l), Some(n)) => match self.unheard(v, *x, l) {
                        None => l.serial < *n,
                        Some(b) => b.is_none_or(|b| b.serial < *n),
                    },
                    (None, _) => self.r.o != O::Cost1,
                    _ => false,
                })
                .collect();
            let gone: Vec<u16> = ds.iter().copied().filter(|d| e.leaf(*d).is_none_or(|l| self.over(v, l))).collect();
            let sup = e.ext && all.iter().any(|o| o != x && e.base.is_some_and(|b| self.anc(*o).contains(&b)));
            let num = 9999 - e.num as usize;
            let k: [usize; 4] = match self.r.o {
                O::ExtFirst => [sup as usize, gone.len(), num, 0],
                O::NewestDev => [behind.len(), num, 0, 0],
                O::NewestUser => [users(&behind), behind.len(), num, 0],
                O::Weigh => {
                    let mut w: BTreeMap<u16, usize> = BTreeMap::new();
                    for d in &ds {
                        let n = match (self.alive(v, *x, *d), newest.get(d)) {
                            (None, _) => 2,
                            (Some(a), Some(n)) if a < *n => 1,
                            _ => continue,
                        };
                        let e = w.entry(self.user[*d as usize]).or_default();
                        *e = (*e).max(n);
                    }
                    [w.values().sum(), num, 0, 0]
                }
                O::Simple => [users(&behind), num, 0, 0],
                O::Cost | O::Cost1 => [users(&behind) + users(&gone), behind.len() + gone.len(), num, 0],
                O::CostNoDev => [users(&behind) + users(&gone), num, 0, 0],
                O::NumberFirst => [num, gone.len(), 0, 0],
            };
            (k, h64(&(point, e.creator)), *x)
        });
    }
    pub fn collapse(&self, v: &View, a: Ix, b: Ix) -> bool {
        let (x, y) = (self.reg.get(a), self.reg.get(b));
        !x.ext
            && !y.ext
            && x.parent_set() == y.parent_set()
            && x.leaves.iter().map(|l| l.dev).eq(y.leaves.iter().map(|l| l.dev))
            && x.leaves.iter().all(|l| self.in_d(v, l.dev))
    }
    /// The package in an ask of d, if it can still be used.
    pub fn package(&self, v: &View, d: u16) -> Option<u16> {
        let p = v.asks[d as usize];
        if p == 0 || p < v.floors[d as usize] {
            return None;
        }
        if !self.r.keep && v.acc.keys().any(|x| self.reg.get(*x).leaf(d).is_some_and(|l| l.serial == p)) {
            return None;
        }
        Some(p)
    }
    pub fn plan(&self, v: &View) -> Option<Plan> {
        let heads = self.eligible(v);
        let (&base, others) = heads.split_first()?;
        let e = self.reg.get(base);
        let bad = |l: &Leaf| !self.live(v, l) || self.over(v, l);
        let mut add = Vec::new();
        for d in 0..self.user.len() as u16 {
            if d != v.me && self.in_d(v, d) && e.leaf(d).is_none_or(|l| bad(l)) {
                let f = self.fact(v, d);
                if f.ends & (1 << f.join()) == 0 && (self.package(v, d).is_some() || v.nopkg & (1 << d) == 0) {
                    add.push(d);
                }
            }
        }
        let remove: Vec<u16> =
            e.leaves.iter().filter(|l| l.dev != v.me && (!self.in_d(v, l.dev) || bad(l))).map(|l| l.dev).collect();
        let before = self.below(base);
        let mut resolve: Vec<Ix> = others.iter().copied().filter(|h| self.r.again || !before.contains(h)).collect();
        if self.r.max_only {
            let all = resolve.clone();
            resolve.retain(|h| !all.iter().any(|o| o != h && self.below(*o).contains(h)));
        }
        let differing = resolve.iter().any(|h| !self.collapse(v, base, *h));
        Some(Plan { base, add, remove, resolve, differing })
    }
    /// A commit as planned; `packages`: one for each device to be added.
    pub fn make(&self, v: &View, p: &Plan, packages: &BTreeMap<u16, u16>, attempt: u16) -> Epoch {
        let e = self.reg.get(p.base);
        let mut leaves: Vec<Leaf> =
            e.leaves.iter().filter(|l| l.dev != v.me && !p.remove.contains(&l.dev)).copied().collect();
        for d in &p.add {
            leaves.push(Leaf { dev: *d, floor: 0, serial: packages[d], join: self.fact(v, *d).join(), pkg: true });
        }
        let mine = self.fact(v, v.me).join();
        leaves.push(Leaf {
            dev: v.me,
            floor: v.floor,
            serial: v.serial + 1,
            join: e.leaf(v.me).map_or(mine, |l| l.join),
            pkg: false,
        });
        leaves.sort();
        Epoch {
            base: Some(p.base),
            resolves: {
                let mut r = p.resolve.clone();
                r.sort();
                r
            },
            creator: v.me,
            ext: false,
            num: e.num + 1,
            leaves,
            removed: p.remove.clone(),
            added: p.add.clone(),
            poison: vec![],
            ghost: vec![],
            no_m: false,
            bad_m: false,
            bad_gi: false,
            deliberate: false,
            attempt,
        }
    }
    /// The leaf of d to which a grant in e is sealed.
    pub fn grant_to(&self, e: &Epoch, d: u16) -> Option<Leaf> {
        let b = self.reg.get(e.base?).leaf(d).copied();
        if self.r.grant == 0 {
            return b;
        }
        let all: BTreeSet<Ix> = e.parents().flat_map(|x| self.anc(x).iter().copied()).collect();
        all.iter()
            .filter_map(|x| self.reg.get(*x).leaf(d).copied())
            .filter(|l| self.r.grant == 2 || !l.pkg)
            .chain(b)
            .max_by_key(|l| l.serial)
    }
    /// How a device would take in a commit: `Some(holds)`.
    pub fn takes(&self, v: &View, x: Ix) -> Option<bool> {
        if v.acc.contains_key(&x) {
            return None;
        }
        let e = self.reg.get(x);
        if e.creator == v.me {
            return None;
        }
        let mine = e.leaf(v.me);
        let added = e.added.contains(&v.me);
        if added && !e.ghost.contains(&v.me) && mine.is_some_and(|l| v.keys & bit(l.serial) != 0) {
            return Some(true);
        }
        let b = e.base?;
        if v.acc.get(&b) != Some(&true) || v.past.contains(&b) || !self.reg.get(b).has(v.me) {
            return None;
        }
        if mine.is_none() || added {
            return if self.r.held { None } else { Some(false) };
        }
        if e.poison.contains(&v.me) || e.no_m {
            return None;
        }
        let all = e.resolves.iter().all(|h| v.acc.get(h) == Some(&true) && !v.past.contains(h));
        if all && e.bad_m && !e.resolves.is_empty() {
            return None;
        }
        if !all && self.grant_to(e, v.me).is_none_or(|l| v.own & bit(l.serial) == 0) {
            return None;
        }
        Some(true)
    }
    pub fn learn(&self, v: &mut View, x: Ix, holds: bool) {
        v.acc.insert(x, holds);
        let e = self.reg.get(x);
        if holds && e.added.contains(&v.me) {
            let s = e.leaf(v.me).unwrap().serial;
            v.own |= bit(s);
            if !(self.r.keep && v.asks[v.me as usize] == s) {
                v.keys &= !bit(s);
            }
        }
        if e.creator == v.me {
            v.own |= bit(e.leaf(v.me).unwrap().serial);
        }
        self.floors(v, x);
    }
    pub fn floors(&self, v: &mut View, x: Ix) {
        if !self.r.leaf_floor {
            return;
        }
        for l in self.reg.get(x).leaves.iter().filter(|l| !l.pkg) {
            let s = &mut v.floors[l.dev as usize];
            *s = (*s).max(l.floor);
        }
    }
    /// Raise my floor and make a package: returns it.
    pub fn ask(&self, v: &mut View, wire: impl Iterator<Item = Ix>) -> u16 {
        let seen = v
            .acc
            .keys()
            .copied()
            .chain(wire)
            .filter_map(|x| self.reg.get(x).leaf(v.me))
            .map(|l| l.serial)
            .max()
            .unwrap_or(0);
        v.serial += 1;
        v.floor = v.floor.max(if self.r.tight { seen + 1 } else { v.serial });
        v.keys |= bit(v.serial);
        let me = v.me as usize;
        v.floors[me] = v.floors[me].max(v.floor);
        v.asks[me] = v.serial;
        v.serial
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub base: Ix,
    pub add: Vec<u16>,
    pub remove: Vec<u16>,
    pub resolve: Vec<Ix>,
    pub differing: bool,
}
impl Plan {
    pub fn due(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty() || self.differing
    }
}
