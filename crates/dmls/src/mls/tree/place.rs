//! Places in a ratchet tree.

#[cfg(test)]
use super::super::Refusal;

/// Trees have fewer leaves than `2^MAX_HEIGHT`.
pub(crate) const MAX_HEIGHT: u32 = 24;

/// The subtree of `2^height` leaves from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) height: u32,
    pub(crate) first: u32,
}

impl Place {
    pub(crate) fn leaf(index: u32) -> Self {
        Self { height: 0, first: index }
    }

    /// The place of this height above a leaf.
    pub(crate) fn above(index: u32, height: u32) -> Self {
        Self { height, first: index >> height << height }
    }

    /// The lowest place above two leaves.
    pub(crate) fn meeting(one: u32, other: u32) -> Self {
        Self::above(one, u32::BITS - (one ^ other).leading_zeros())
    }

    /// Its index in RFC 9420's array of nodes (RFC 9420 appendix C).
    pub(crate) fn node_index(self) -> u32 {
        2 * self.first + (1 << self.height) - 1
    }

    /// The place with this index in the array of nodes.
    #[cfg(test)]
    pub(crate) fn of_node(index: u32) -> Result<Self, Refusal> {
        let height = index.trailing_ones();
        if height > MAX_HEIGHT {
            return Err(Refusal::Tree);
        }
        Ok(Self { height, first: (index + 1 - (1 << height)) / 2 })
    }

    pub(crate) fn left(self) -> Self {
        Self { height: self.height - 1, first: self.first }
    }

    pub(crate) fn right(self) -> Self {
        Self { height: self.height - 1, first: self.first + (1 << (self.height - 1)) }
    }

    pub(crate) fn covers(self, leaf: u32) -> bool {
        leaf >> self.height == self.first >> self.height
    }

    /// Whether a leaf below this place is below its right child.
    pub(crate) fn is_right(self, leaf: u32) -> bool {
        leaf >> (self.height - 1) & 1 == 1
    }
}
