//! Links between servers: delay, loss with retries, duplicates, reordering, cuts.

use std::collections::BTreeMap;

use dmls::id::{Device, Timestamp};
use serde_json::Value;

use super::devices::Listed;
use super::numbers::EventNo;
use crate::entropy::Stream;
use crate::trace::ServerName;

/// What a link does to what goes over it. Chances are in a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Milliseconds from server to server.
    pub delay: u64,
    /// Up to so many milliseconds more.
    pub jitter: u64,
    /// Chance that a transfer fails and is tried again.
    pub drop: u32,
    /// Chance that something comes twice.
    pub duplicate: u32,
    /// Chance that an event is taken in before those that it builds on.
    pub reorder: u32,
    /// Chance that a to-device message never comes.
    pub lose_to_device: u32,
    /// Milliseconds by which device lists lag behind.
    pub list_lag: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { delay: 20, jitter: 0, drop: 0, duplicate: 0, reorder: 0, lose_to_device: 0, list_lag: 0 }
    }
}

/// Time until a transfer is tried again.
const RETRY: u64 = 1_500;

/// What servers send each other.
#[derive(Clone)]
pub(super) enum Parcel {
    Event(EventNo),
    ToDevice(Device, Value),
    List(String, Listed),
}

/// One direction between two servers; a server's link to itself is how it reaches its own clients.
#[derive(Default)]
pub(super) struct Link {
    pub(super) cut: bool,
    pub(super) faults: Faults,
    /// By due time and order of sending.
    queue: BTreeMap<(Timestamp, u64), Parcel>,
    sent: u64,
}

impl Link {
    /// Puts a parcel on its way; `false` if it is lost.
    pub(super) fn send(&mut self, parcel: Parcel, now: Timestamp, chances: &mut Stream) -> bool {
        let faults = self.faults;
        if matches!(parcel, Parcel::ToDevice(..)) && chances.chance(faults.lose_to_device) {
            return false;
        }
        let copies = if chances.chance(faults.duplicate) { 2 } else { 1 };
        let lag = if matches!(parcel, Parcel::List(..)) { faults.list_lag } else { 0 };
        for _ in 0..copies {
            let due = now.plus(faults.delay + lag + chances.below(faults.jitter + 1));
            self.put(due, parcel.clone());
        }
        true
    }

    fn put(&mut self, due: Timestamp, parcel: Parcel) {
        self.sent += 1;
        self.queue.insert((due, self.sent), parcel);
    }

    /// Takes out the next parcel that is due, unless its transfer fails.
    pub(super) fn arrive(&mut self, now: Timestamp, chances: &mut Stream) -> Option<Parcel> {
        while let Some(entry) = self.queue.first_entry().filter(|entry| !self.cut && entry.key().0 <= now) {
            let parcel = entry.remove();
            if !chances.chance(self.faults.drop) {
                return Some(parcel);
            }
            self.put(now.plus(RETRY), parcel);
        }
        None
    }

    /// When the next parcel is due; `None` while the link is cut.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.queue.first_key_value().filter(|_| !self.cut).map(|((due, _), _)| *due)
    }

    /// The sending server was restarted: of each room's waiting events it sends only the newest by itself.
    pub(super) fn catch_up(&mut self, room_of: &dyn Fn(EventNo) -> String) {
        let mut newest = BTreeMap::new();
        for parcel in self.queue.values() {
            if let Parcel::Event(number) = parcel {
                let newest = newest.entry(room_of(*number)).or_insert(*number);
                *newest = (*newest).max(*number);
            }
        }
        self.queue.retain(|_, parcel| match parcel {
            Parcel::Event(number) => newest.values().any(|newest| newest == number),
            _ => true,
        });
    }
}

/// All links by sender and receiver.
pub(super) type Links = BTreeMap<(ServerName, ServerName), Link>;
