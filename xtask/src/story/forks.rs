//! Several people's views of one epoch DAG, put together.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::person::Person;
use super::rows::Epoch;

/// All epochs that somebody knows.
#[derive(Clone, Debug, Default)]
pub struct Forks(BTreeMap<String, Epoch>);

impl Forks {
    /// Puts the logs of these people together.
    ///
    /// # Errors
    /// As [`Person::log`].
    pub fn of<'a>(people: impl IntoIterator<Item = &'a Person>, room: &str) -> Result<Self, Error> {
        let mut epochs = BTreeMap::new();
        for person in people {
            epochs.extend(person.log(room)?.into_iter().map(|epoch| (epoch.epoch_id.clone(), epoch)));
        }
        Ok(Self(epochs))
    }

    /// Gives an epoch.
    #[must_use]
    pub fn epoch(&self, id: &str) -> Option<&Epoch> {
        self.0.get(id)
    }

    /// Gives the epochs that these hold and `earlier` does not.
    pub fn since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a Epoch> {
        self.0.values().filter(|epoch| !earlier.0.contains_key(&epoch.epoch_id))
    }

    /// Gives the epoch of `earlier` on which `id` was built in the end, along bases alone.
    #[must_use]
    pub fn base_in<'a>(&'a self, earlier: &Self, id: &'a str) -> Option<&'a str> {
        let mut id = id;
        while !earlier.0.contains_key(id) {
            id = self.0.get(id)?.parent.as_deref()?;
        }
        Some(id)
    }

    /// Tells whether `below` is `id` or one of its ancestors, by base or by merging.
    #[must_use]
    pub fn contains(&self, id: &str, below: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![id]);
        while let Some(id) = next.pop() {
            if id == below {
                return true;
            }
            if let Some(epoch) = self.0.get(id).filter(|_| seen.insert(id)) {
                next.extend(epoch.parent.as_deref());
                next.extend(epoch.resolves.iter().map(String::as_str));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Device;

    fn forks(epochs: &[(&str, Option<&str>, &[&str])]) -> Forks {
        let creator = Device { user: "@a:x".to_owned(), device: "D".to_owned() };
        let epoch = |(id, parent, resolves): &(&str, Option<&str>, &[&str])| Epoch {
            epoch_id: (*id).to_owned(),
            number: 0,
            creator: creator.clone(),
            parent: parent.map(str::to_owned),
            resolves: resolves.iter().map(|id| (*id).to_owned()).collect(),
            kind: String::new(),
            added: Vec::new(),
            removed: Vec::new(),
            head: false,
            canonical: false,
        };
        Forks(epochs.iter().map(|entry| (entry.0.to_owned(), epoch(entry))).collect())
    }

    #[test]
    fn a_merge_has_one_base_and_contains_both() {
        let before = forks(&[("g", None, &[]), ("one", Some("g"), &[]), ("two", Some("g"), &[])]);
        let mut after = before.clone();
        after.0.extend(forks(&[("m", Some("two"), &["one"]), ("n", Some("m"), &[])]).0);
        assert_eq!(after.base_in(&before, "n"), Some("two"));
        assert!(after.contains("n", "one") && after.contains("n", "two") && !after.contains("two", "one"));
        assert_eq!(after.since(&before).count(), 2);
    }
}
