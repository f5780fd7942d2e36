//! The values of one epoch.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::storage::Slot;
use crate::journal::Entry;

/// All values that OpenMLS keeps for one epoch, or for the device's key packages: an ordered map.
///
/// Cheap to clone: views share values, and a value is zeroized when the last view that holds it is dropped.
#[derive(Clone, Default)]
pub(crate) struct View(BTreeMap<Arc<[u8]>, Arc<Zeroizing<Vec<u8>>>>);

impl View {
    /// The view that holds `entries`; of two values under one key the later stays.
    pub(crate) fn from_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), Arc::new(value))).collect())
    }

    /// Keys and values, sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (&**key, value.as_slice()))
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What turns `older` into this view: values to put, keys to delete.
    pub(crate) fn changes_since(&self, older: &Self) -> (Vec<Entry>, Vec<Vec<u8>>) {
        let changed = |key: &Arc<[u8]>, value: &Arc<Zeroizing<Vec<u8>>>| {
            older.0.get(key).is_none_or(|old| !Arc::ptr_eq(old, value) && old != value)
        };
        let puts = self.0.iter().filter(|(key, value)| changed(key, value));
        let deletes = older.0.keys().filter(|key| !self.0.contains_key(*key));
        (
            puts.map(|(key, value)| (key.to_vec(), (**value).clone())).collect(),
            deletes.map(|key| key.to_vec()).collect(),
        )
    }

    /// This view without key packages and signature keys: what of it belongs to a group.
    pub(crate) fn without_packages(mut self) -> Self {
        self.0.retain(|key, _| key.first().is_none_or(|slot| !Slot::of_device(*slot)));
        self
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(|value| value.as_slice())
    }

    pub(super) fn put(&mut self, key: &[u8], value: Zeroizing<Vec<u8>>) {
        self.0.insert(key.into(), Arc::new(value));
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} values)", self.0.len())
    }
}
