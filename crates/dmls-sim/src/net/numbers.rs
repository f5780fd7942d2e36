//! Sets of events by number.

/// Numbers an event of the whole federation, in the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct EventNo(pub(crate) usize);

/// A set of events.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Events(Vec<u64>);

impl Events {
    pub(crate) fn insert(&mut self, event: EventNo) {
        let (word, bit) = (event.0 / 64, event.0 % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    pub(crate) fn contains(&self, event: EventNo) -> bool {
        self.0.get(event.0 / 64).is_some_and(|word| word & (1 << (event.0 % 64)) != 0)
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// The events that are here and not in `other`, ascending: causes before effects.
    pub(crate) fn without(&self, other: &Self) -> Vec<EventNo> {
        let word = |index: usize| other.0.get(index).copied().unwrap_or_default();
        let rest = self.0.iter().enumerate().map(|(index, here)| (index, here & !word(index)));
        let bits = |(index, word): (usize, u64)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| index * 64 + bit)
        };
        rest.flat_map(bits).map(EventNo).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = EventNo> {
        self.without(&Self::default()).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_numbers() {
        let (mut one, mut two) = (Events::default(), Events::default());
        for number in [3, 64, 200] {
            one.insert(EventNo(number));
        }
        two.insert(EventNo(64));
        assert!(one.contains(EventNo(200)) && !two.contains(EventNo(200)));
        assert_eq!(one.without(&two), [EventNo(3), EventNo(200)]);
        two.extend(&one);
        assert_eq!(two, one);
    }
}
