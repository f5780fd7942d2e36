//! Views that were met: judged once, checked once, named by a number.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use super::epochs::{Ix, Register};
use super::reading::{Bent, Reading};
use super::view::{Judged, View};

/// Names a view within one search.
pub(super) type ViewId = u32;

/// What must hold of every view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    /// The project's functions say what the second reading of the specification says.
    Agrees,
    /// Whoever accepted an epoch has a head.
    HasHeads,
    /// Every accepted epoch is a head or an ancestor of one.
    NothingLost,
    /// No epoch by an outsider is built on while a head by a device of D is there.
    NoSteering,
    /// Nobody whom no commit removed with a cause is left without a head to use.
    NotCutOff,
    /// Any two eligible heads are ordered, any three transitively, and the list is in this order.
    TotalOrder,
    /// Ties fall as was fixed before the commits were made.
    FairTie,
}

/// A view with what follows from it.
pub(super) struct Known {
    pub(super) view: View,
    pub(super) judged: Judged,
    pub(super) broken: Vec<Law>,
}

/// All views of one search.
#[derive(Default)]
pub(super) struct Gallery {
    inner: RwLock<Met>,
}

#[derive(Default)]
struct Met {
    known: Vec<Arc<Known>>,
    by_view: HashMap<View, ViewId>,
}

impl Gallery {
    pub(super) fn get(&self, id: ViewId) -> Arc<Known> {
        self.inner.read().unwrap().known[id as usize].clone()
    }

    pub(super) fn len(&self) -> usize {
        self.inner.read().unwrap().known.len()
    }

    /// Judges and checks a view that was not met before.
    pub(super) fn enter(&self, view: View, register: &Register, bent: Option<Bent>) -> ViewId {
        if let Some(id) = self.inner.read().unwrap().by_view.get(&view) {
            return *id;
        }
        let known = Arc::new(Known::new(view.clone(), register, bent));
        let mut inner = self.inner.write().unwrap();
        let next = ViewId::try_from(inner.known.len()).unwrap();
        let id = *inner.by_view.entry(view).or_insert(next);
        if id == next {
            inner.known.push(known);
        }
        id
    }
}

impl Known {
    fn new(view: View, register: &Register, bent: Option<Bent>) -> Self {
        let reading = Reading::new(&view, register, bent);
        let second = reading.judge();
        let judged = if bent.is_some() { second.clone() } else { view.judge(register) };
        let laws = [
            (Law::Agrees, judged == second),
            (Law::HasHeads, view.accepted().next().is_none() || !judged.heads.is_empty()),
            (Law::NothingLost, nothing_lost(&view, &judged, &reading)),
            (Law::NoSteering, no_steering(&view, &judged, &reading, register)),
            (Law::NotCutOff, not_cut_off(&view, &judged, register)),
            (Law::TotalOrder, total_order(&judged.eligible, &reading)),
            (Law::FairTie, judged.eligible.is_sorted_by(|one, two| reading.tie_is_fair(*one, *two, &judged.eligible))),
        ];
        let broken = laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect();
        Self { view, judged, broken }
    }

    /// The head that this device sends in and builds on.
    pub(super) fn canonical(&self) -> Option<Ix> {
        self.judged.eligible.first().copied()
    }

    /// Whether something is due that this device can do.
    pub(super) fn is_due(&self, claimable: u8) -> bool {
        self.judged.add & claimable != 0 || self.judged.remove != 0 || !self.judged.differing.is_empty()
    }

    /// Whether this device is in its own D: others do nothing of their own.
    pub(super) fn is_desired(&self) -> bool {
        self.view.desired() & (1 << self.view.who) != 0
    }
}

fn nothing_lost(view: &View, judged: &Judged, reading: &Reading<'_>) -> bool {
    let kept: BTreeSet<Ix> = judged.heads.iter().flat_map(|head| reading.ancestry(*head)).collect();
    view.accepted().all(|ix| kept.contains(&ix))
}

fn no_steering(view: &View, judged: &Judged, reading: &Reading<'_>, register: &Register) -> bool {
    let inside = |ix: &Ix| view.usable(*ix, register) && reading.by_desired(*ix);
    judged.eligible.first().is_none_or(|first| reading.by_desired(*first) || !judged.heads.iter().any(inside))
}

fn not_cut_off(view: &View, judged: &Judged, register: &Register) -> bool {
    let was_in = view.accepted().any(|ix| view.usable(ix, register));
    let removed = view.accepted().any(|ix| {
        let symbol = register.get(ix);
        symbol.made.removed.iter().any(|(gone, cause)| *gone == view.who && *cause != 0)
    });
    let desired = view.desired() & (1 << view.who) != 0;
    !was_in || !desired || removed || !judged.eligible.is_empty()
}

fn total_order(eligible: &[Ix], reading: &Reading<'_>) -> bool {
    let before = |one: &Ix, two: &Ix| reading.before(*one, *two, eligible);
    let pairs = |one: &Ix, two: &Ix| one == two || before(one, two) != before(two, one);
    let total = eligible.iter().all(|one| eligible.iter().all(|two| pairs(one, two)));
    let chains = |one: &Ix, two: &Ix| {
        !before(one, two) || eligible.iter().all(|three| !before(two, three) || before(one, three))
    };
    let transitive = eligible.iter().all(|one| eligible.iter().all(|two| chains(one, two)));
    let sorted = eligible.is_sorted_by(before);
    total && transitive && sorted
}
