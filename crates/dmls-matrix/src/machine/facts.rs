//! What is known of users' devices, and whose must be asked for.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::Timestamp;
use dmls::journal::{Records, Write};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::facts::{DeviceFacts, UserDevices};
use crate::names::server_of;
use crate::table;

/// First pause after a query without an answer, and the longest.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 300_000;
/// After so many queries without an answer, some three minutes, a user's server counts as gone.
const GONE_AFTER: u32 = 6;
/// Users in one query.
const MAX_BATCH: usize = 250;

/// One user, as stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    devices: Vec<DeviceFacts>,
    /// Whether any answer ever came.
    answered: bool,
    outdated: bool,
}

/// All users of encrypted rooms.
#[derive(Default)]
pub(crate) struct FactBook {
    users: BTreeMap<String, Known>,
    /// Attempts without an answer, and when to try again.
    attempts: BTreeMap<String, (u32, Timestamp)>,
    /// Queries on their way.
    running: BTreeMap<u64, Vec<String>>,
    /// Users whose devices changed while a query was on its way.
    changed_meanwhile: BTreeSet<String>,
    next: u64,
}

impl FactBook {
    pub(crate) fn load<R: Records>(records: &R) -> Result<Self, Error<R::Error>> {
        let mut book = Self::default();
        for (key, bytes) in records.scan(table::FACTS, b"").map_err(Error::Store)? {
            let user = String::from_utf8(key).map_err(|_| Error::Damaged(table::FACTS.0))?;
            book.users.insert(user, table::parse(table::FACTS, &bytes)?);
        }
        Ok(book)
    }

    /// The user's devices, as of the newest answer.
    pub(crate) fn devices(&self, user: &str) -> &[DeviceFacts] {
        self.users.get(user).map_or(&[], |known| known.devices.as_slice())
    }

    /// Whether the user's server ever answered.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|known| known.answered)
    }

    /// Whether no answer is to be expected soon where none ever came: the user's server may be gone for good.
    pub(crate) fn is_given_up(&self, user: &str) -> bool {
        !self.knows(user) && self.attempts.get(user).is_some_and(|(attempts, _)| *attempts >= GONE_AFTER)
    }

    /// Whether a first query for this user's newest change is still without any answer, good or bad.
    pub(crate) fn awaits_first_answer(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|known| known.outdated) && !self.attempts.contains_key(user)
    }

    /// Takes note of a user whose devices matter.
    pub(crate) fn track(&mut self, user: &str, writes: &mut Vec<Write>) {
        if !self.users.contains_key(user) {
            self.set(user, Known { outdated: true, ..Known::default() }, writes);
        }
    }

    /// The user's devices changed; users that do not matter are not remembered.
    pub(crate) fn changed(&mut self, user: &str, writes: &mut Vec<Write>) {
        let Some(known) = self.users.get(user).cloned() else { return };
        if self.running.values().flatten().any(|running| running == user) {
            self.changed_meanwhile.insert(user.to_owned());
        }
        self.attempts.remove(user);
        if !known.outdated {
            self.set(user, Known { outdated: true, ..known }, writes);
        }
    }

    /// The newest answer of the user's server.
    pub(crate) fn answer(&mut self, facts: UserDevices, writes: &mut Vec<Write>) {
        let UserDevices { user, mut devices } = facts;
        devices.retain(|known| known.device.user == user);
        self.attempts.remove(&user);
        // The note stays until the query has ended: then the user is asked for again without a pause.
        let outdated = self.changed_meanwhile.contains(&user);
        self.set(&user, Known { devices, answered: true, outdated }, writes);
    }

    /// The records of all users.
    #[cfg(dmls_mutants)]
    pub(super) fn records(&self) -> impl Iterator<Item = Write> {
        self.users.iter().map(|(user, known)| table::put(table::FACTS, user.as_bytes().to_vec(), known))
    }

    fn set(&mut self, user: &str, known: Known, writes: &mut Vec<Write>) {
        writes.push(table::put(table::FACTS, user.as_bytes().to_vec(), &known));
        self.users.insert(user.to_owned(), known);
    }

    /// Starts queries for all that are out of date and may be asked now: each for one server.
    pub(crate) fn start(&mut self, now: Timestamp) {
        let mut by_server: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (user, _) in self.users.iter().filter(|(_, known)| known.outdated) {
            let running = self.running.values().flatten().any(|running| running == user);
            let waits = self.attempts.get(user).is_some_and(|(_, next)| *next > now);
            if !running && !waits {
                by_server.entry(server_of(user)).or_default().push(user.clone());
            }
        }
        let batches: Vec<_> = by_server
            .into_values()
            .flat_map(|users| users.chunks(MAX_BATCH).map(<[_]>::to_vec).collect::<Vec<_>>())
            .collect();
        for batch in batches {
            self.running.insert(self.next, batch);
            self.next += 1;
        }
    }

    /// Queries on their way.
    pub(crate) fn running(&self) -> impl Iterator<Item = (u64, &[String])> {
        self.running.iter().map(|(number, users)| (*number, users.as_slice()))
    }

    /// A query ended; users that are still out of date are tried again later. Gives those that are given up by this.
    pub(crate) fn ended(&mut self, number: u64, now: Timestamp) -> Vec<String> {
        let mut given_up = Vec::new();
        for user in self.running.remove(&number).unwrap_or_default() {
            if self.changed_meanwhile.remove(&user) {
                continue;
            }
            if self.users.get(&user).is_some_and(|known| known.outdated) {
                let (attempts, next) = self.attempts.entry(user.clone()).or_default();
                *next = now.plus((FIRST_PAUSE << (*attempts).min(10)).min(LONGEST_PAUSE));
                *attempts += 1;
                if *attempts == GONE_AFTER && !self.knows(&user) {
                    given_up.push(user);
                }
            }
        }
        given_up
    }

    /// When the next query may be tried again.
    pub(crate) fn next_try(&self) -> Option<Timestamp> {
        self.attempts.values().map(|(_, next)| *next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: &str = "@bob:two.test";

    /// Starts what may be asked at `now`, and has `during` happen before the query ends.
    fn query(book: &mut FactBook, now: Timestamp, during: impl FnOnce(&mut FactBook)) {
        book.start(now);
        let running: Vec<_> = book.running().map(|(number, users)| (number, users.to_vec())).collect();
        assert_eq!(running.len(), 1, "Bob is asked for");
        during(book);
        book.ended(running[0].0, now);
    }

    fn answer(book: &mut FactBook) {
        book.answer(UserDevices { user: BOB.to_owned(), devices: Vec::new() }, &mut Vec::new());
    }

    #[test]
    fn devices_that_changed_during_a_query_are_asked_for_again_at_once() {
        let (mut book, now) = (FactBook::default(), Timestamp(1_000));
        book.track(BOB, &mut Vec::new());
        query(&mut book, now, |book| {
            book.changed(BOB, &mut Vec::new());
            answer(book);
        });
        assert_eq!(book.next_try(), None, "an answer came: there is nothing to wait for");
        query(&mut book, now, answer);
        book.start(now);
        assert_eq!(book.running().count(), 0, "the second answer is newer than the change");
    }

    #[test]
    fn a_query_without_an_answer_is_tried_again_later() {
        let (mut book, now) = (FactBook::default(), Timestamp(1_000));
        book.track(BOB, &mut Vec::new());
        query(&mut book, now, |_| {});
        assert_eq!(book.next_try(), Some(now.plus(FIRST_PAUSE)));
        book.start(now);
        assert_eq!(book.running().count(), 0);
        query(&mut book, now.plus(FIRST_PAUSE), answer);
        assert_eq!(book.next_try(), None);
    }
}
