//! The values of one epoch.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use openmls::prelude::MlsGroup;
use zeroize::Zeroizing;

use super::storage::Slot;
use crate::journal::Entry;

/// All values that OpenMLS keeps for one epoch, or for the device's key packages: an ordered map.
///
/// Cheap to clone: views share values, and a value is zeroized when the last view that holds it is dropped.
#[derive(Default)]
pub(crate) struct View {
    values: BTreeMap<Arc<[u8]>, Arc<Zeroizing<Vec<u8>>>>,
    read: ReadGroup,
}

/// The group that a view's values say, as long as no operation has used it: reading it anew costs more than most
/// operations. Whatever is done to it is done once; if that fails, the values are read again.
#[derive(Clone, Default)]
pub(super) struct ReadGroup(Arc<Mutex<Option<Box<MlsGroup>>>>);

impl ReadGroup {
    pub(super) fn take(&self) -> Option<MlsGroup> {
        self.0.lock().ok()?.take().map(|group| *group)
    }

    pub(super) fn put(&self, group: MlsGroup) {
        if let Ok(mut place) = self.0.lock() {
            *place = Some(Box::new(group));
        }
    }
}

impl Clone for View {
    /// The copy will be changed: what was read of the original is not what it says.
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), read: ReadGroup::default() }
    }
}

impl View {
    /// The view that holds `entries`; of two values under one key the later stays.
    pub(crate) fn from_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        let values = entries.into_iter().map(|(key, value)| (key.into(), Arc::new(value))).collect();
        Self { values, read: ReadGroup::default() }
    }

    /// Keys and values, sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.values.iter().map(|(key, value)| (&**key, value.as_slice()))
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// What turns `older` into this view: values to put, keys to delete.
    pub(crate) fn changes_since(&self, older: &Self) -> (Vec<Entry>, Vec<Vec<u8>>) {
        let changed = |key: &Arc<[u8]>, value: &Arc<Zeroizing<Vec<u8>>>| {
            older.values.get(key).is_none_or(|old| !Arc::ptr_eq(old, value) && old != value)
        };
        let puts = self.values.iter().filter(|(key, value)| changed(key, value));
        let deletes = older.values.keys().filter(|key| !self.values.contains_key(*key));
        (
            puts.map(|(key, value)| (key.to_vec(), (**value).clone())).collect(),
            deletes.map(|key| key.to_vec()).collect(),
        )
    }

    /// This view without key packages and signature keys: what of it belongs to a group.
    pub(crate) fn without_packages(mut self) -> Self {
        self.values.retain(|key, _| key.first().is_none_or(|slot| !Slot::of_device(*slot)));
        self
    }

    /// Where the group that was read from this very view is kept.
    pub(super) fn read(&self) -> &ReadGroup {
        &self.read
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.values.get(key).map(|value| value.as_slice())
    }

    pub(super) fn put(&mut self, key: &[u8], value: Zeroizing<Vec<u8>>) {
        self.values.insert(key.into(), Arc::new(value));
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.values.remove(key);
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} values)", self.values.len())
    }
}
