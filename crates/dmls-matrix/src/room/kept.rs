//! A record of a room that is stored whenever it changed.

use std::ops::Deref;

/// A value that stands in the store as one record. Reading is free; whoever changes it, has it stored.
///
/// There is no other way to it than [`Kept::edit`]: a change that nobody stores cannot be written.
pub(crate) struct Kept<T> {
    value: T,
    changed: bool,
}

impl<T> Kept<T> {
    /// What the store has, or would have if it was never written.
    pub(crate) fn new(value: T) -> Self {
        Self { value, changed: false }
    }

    /// To change it: it is stored with the next transaction, once, however often this is asked for before.
    pub(crate) fn edit(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }

    /// Whether it is to be stored.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// The value, if it is to be stored; after this it counts as stored.
    pub(crate) fn take_change(&mut self) -> Option<&T> {
        std::mem::take(&mut self.changed).then_some(&self.value)
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn what_was_edited_is_stored_once() {
        let mut kept = Kept::new(1);
        assert_eq!((*kept, kept.take_change()), (1, None), "reading changes nothing");
        *kept.edit() += 1;
        *kept.edit() += 1;
        assert!(kept.is_changed());
        assert_eq!(kept.take_change(), Some(&3));
        assert_eq!(kept.take_change(), None);
    }
}
