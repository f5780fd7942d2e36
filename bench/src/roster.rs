//! Who is who in a room of N devices, the same for every contestant.

use std::collections::BTreeSet;
use std::ops::Range;

/// The number of a device, which is also its leaf: the first makes the room, and adds the others in this order.
pub type Number = u32;

/// A room of N devices. Most only have a leaf; those that commit, speak or listen (the actors) have a state.
///
/// A tree is warm for a device if every node beside its way to the root has a key. To warm it for all of thousands
/// takes thousands of commits; here the first few devices are warm: they commit themselves, and in each larger subtree
/// beside them one device does.
#[derive(Debug, Clone, Copy)]
pub struct Roster {
    /// How many devices.
    pub n: u32,
}

/// The fewest devices with which every row can be told.
pub const FEWEST: u32 = 4;

impl Roster {
    /// How high the tree is.
    pub fn height(self) -> u32 {
        self.n.next_power_of_two().trailing_zeros()
    }

    /// The devices for which the tree is warm.
    pub fn warm(self) -> Range<Number> {
        0..8.min(self.n - 1)
    }

    /// Who takes in what the others send; it meets the warm devices at the root, and never commits.
    pub fn observer(self) -> Number {
        self.n - 1
    }

    /// The first to commit in a new room, other than its creator: nearly all beside its way is blank.
    pub fn cold(self) -> Number {
        let half = self.n.next_power_of_two() / 2;
        if half == self.observer() { half / 2 } else { half }
    }

    /// Those who warm the tree, in this order: one in each subtree, the largest first, then the warm devices.
    pub fn warmers(self) -> Vec<Number> {
        let far = (3..self.height()).rev().map(|height| 1 << height);
        let far = far.filter(|number| *number != self.cold() && *number != self.observer());
        far.chain(self.warm().rev()).collect()
    }

    /// All that have a state.
    pub fn actors(self) -> BTreeSet<Number> {
        self.warmers().into_iter().chain([0, self.cold(), self.observer()]).collect()
    }

    /// `k` devices that commit at the same time, if there are so many beside the observer.
    pub fn committers(self, k: u32) -> Option<Range<Number>> {
        (k < self.n).then_some(0..k)
    }
}

/// User and device id, as long as they are in practice.
pub fn names(number: Number) -> (String, String) {
    (format!("@user{number:06}:server.example.org"), format!("DEVICE{number:06}"))
}

/// A credential as long as the core's.
pub fn credential(number: Number) -> Vec<u8> {
    let (user, device) = names(number);
    let mut out = format!("{user} {device}").into_bytes();
    out.resize(150, 7);
    out
}

#[cfg(test)]
mod tests {
    use super::{FEWEST, Roster};

    #[test]
    fn nobody_plays_two_parts() {
        for n in FEWEST..200 {
            let roster = Roster { n };
            assert!(!roster.warm().contains(&roster.observer()), "{n}");
            assert!(roster.cold() < roster.observer() && roster.cold() > 0, "{n}");
            assert!(roster.actors().iter().all(|number| *number < n), "{n}");
            assert_eq!(roster.committers(8).is_some(), n > 8);
        }
    }
}
