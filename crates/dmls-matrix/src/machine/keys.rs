//! Key packages on the server: filled up, and the fallback rotated once it was used (SPEC §6.8).

use std::collections::BTreeMap;

use dmls::defence;
use dmls::entropy::Entropy;
use dmls::id::Timestamp;
use dmls::journal::{Durable, Journal, Records, Write};
use dmls::package::{KeyPackages, OwnKeyPackage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Machine;
use crate::error::Error;
use crate::names::{base64, base64url, key_package_algorithm};
use crate::request::Request;
use crate::table;

const KEY: &[u8] = b"keys";
/// A used fallback's private key is kept so long for Welcomes that are on their way.
const RETIRE_AFTER: u64 = 24 * 3_600_000;

/// What the server has of this device's key packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyState {
    /// One-time key packages on the server, as far as known.
    on_server: Option<u64>,
    /// Made, stored, not yet known to be uploaded: key ids and values.
    one_time: Vec<(String, String)>,
    fallback: Option<(String, String)>,
    /// The fallback that the server has or is about to get.
    current: Option<[u8; 32]>,
    /// Used fallbacks and when their private keys are deleted.
    retiring: Vec<([u8; 32], Timestamp)>,
    /// An upload may have arrived unanswered: the next sync tells. A package that was uploaded, claimed and uploaded
    /// again would be given to a second member, whose Welcome nobody can open.
    #[serde(skip)]
    unsure: bool,
}

impl KeyState {
    pub(super) fn load<R: Records>(records: &R) -> Result<Self, Error<R::Error>> {
        let mut state: Self = table::get(records, &[], table::ACCOUNT, KEY)?.unwrap_or_default();
        state.unsure = state.is_pending();
        Ok(state)
    }

    fn is_pending(&self) -> bool {
        !self.one_time.is_empty() || self.fallback.is_some()
    }

    pub(super) fn write(&self) -> Write {
        table::put(table::ACCOUNT, KEY.to_vec(), self)
    }

    /// What is to be uploaded.
    pub(super) fn request(&self) -> Option<Request> {
        if !self.is_pending() || self.unsure {
            return None;
        }
        let value = |(id, text): &(String, String)| (id.clone(), Value::String(text.clone()));
        let one_time = self.one_time.iter().map(value).collect();
        Some(Request::KeyPackagesUpload { one_time, fallback: self.fallback.as_ref().map(value) })
    }

    pub(super) fn next_retirement(&self) -> Option<Timestamp> {
        self.retiring.iter().map(|(_, at)| *at).min()
    }
}

fn named(package: &OwnKeyPackage) -> (String, String) {
    (format!("{}:{}", key_package_algorithm(), base64url(&package.reference)), base64(&package.bytes))
}

impl<J: Journal> Machine<J> {
    /// Takes in what a sync says of this device's keys. A count that is absent is zero.
    pub(super) fn take_key_counts(
        &mut self,
        counts: Option<&BTreeMap<String, u64>>,
        unused_fallback: Option<&[String]>,
        now: Timestamp,
    ) -> Result<(), Error<J::Error>> {
        let algorithm = key_package_algorithm();
        let mut state = self.keys.clone();
        state.unsure = false;
        if let Some(counts) = counts {
            let count = counts.get(&algorithm).copied().unwrap_or_default();
            // Nothing but an upload makes them more.
            if count > state.on_server.unwrap_or_default() {
                state.one_time.clear();
            }
            state.on_server = Some(count);
        }
        let used = unused_fallback.is_some_and(|types| !types.contains(&algorithm));
        if used
            && state.fallback.is_none()
            && let Some(current) = state.current.take()
        {
            state.retiring.push((current, now.plus(RETIRE_AFTER)));
        }
        self.keep_keys(state)
    }

    fn keep_keys(&mut self, state: KeyState) -> Result<(), Error<J::Error>> {
        if state == self.keys {
            return Ok(());
        }
        Durable::new(vec![state.write()], ()).persist(&mut self.journal).map_err(Error::Store)?;
        self.keys = state;
        Ok(())
    }

    /// Makes what the server lacks and deletes what is over.
    pub(super) fn tend_keys(&mut self, now: Timestamp, entropy: &mut dyn Entropy) -> Result<(), Error<J::Error>> {
        self.retire_fallbacks(now)?;
        if self.packages.next_expiry().is_some_and(|at| at <= now) {
            let stored = self.packages.expire(now).persist(&mut self.journal);
            self.after_packages(stored)?;
        }
        if self.keys.is_pending() {
            return Ok(());
        }
        let have = self.keys.on_server.unwrap_or_default();
        let first = self.packages.is_empty();
        if have < self.parameters.refill_below && (first || defence::on("X6")) {
            let missing = self.parameters.key_packages.saturating_sub(have);
            let made = |state: &mut KeyState, packages: Vec<OwnKeyPackage>| {
                state.one_time.extend(packages.iter().map(named));
            };
            self.make_packages(usize::try_from(missing).unwrap_or_default(), false, made, entropy)?;
        }
        if self.keys.current.is_none() {
            let made = |state: &mut KeyState, packages: Vec<OwnKeyPackage>| {
                state.current = packages.first().map(|package| package.reference);
                state.fallback = packages.first().map(named);
            };
            self.make_packages(1, true, made, entropy)?;
        }
        Ok(())
    }

    fn make_packages(
        &mut self,
        count: usize,
        last_resort: bool,
        made: impl FnOnce(&mut KeyState, Vec<OwnKeyPackage>),
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error<J::Error>> {
        let own = self.own()?;
        let mut state = self.keys.clone();
        let durable = self.packages.generate(&own, count, last_resort, entropy)?;
        let durable = durable.and_then(|packages, writes| {
            made(&mut state, packages);
            writes.push(state.write());
        });
        let stored = durable.persist(&mut self.journal);
        self.after_packages(stored)?;
        self.keys = state;
        Ok(())
    }

    fn retire_fallbacks(&mut self, now: Timestamp) -> Result<(), Error<J::Error>> {
        let mut state = self.keys.clone();
        state.retiring.retain(|(_, at)| *at > now);
        let over: Vec<_> = self.keys.retiring.iter().filter(|(_, at)| *at <= now).map(|(key, _)| *key).collect();
        if over.is_empty() {
            return Ok(());
        }
        let durable = self.packages.forget(&over).and_then(|(), writes| writes.push(state.write()));
        let stored = durable.persist(&mut self.journal);
        self.after_packages(stored)?;
        self.keys = state;
        Ok(())
    }

    /// After a failed store the key packages in memory are ahead of the disk: read them anew.
    pub(super) fn after_packages<T>(&mut self, stored: Result<T, J::Error>) -> Result<T, Error<J::Error>> {
        match stored {
            Ok(value) => Ok(value),
            Err(error) => {
                self.packages = KeyPackages::load(&self.journal)?;
                Err(Error::Store(error))
            }
        }
    }

    /// The upload was accepted.
    pub(super) fn keys_uploaded(&mut self, body: &Value) -> Result<(), Error<J::Error>> {
        let mut state = self.keys.clone();
        let uploaded = state.one_time.len() as u64;
        let counted = body.get("one_time_key_counts").and_then(Value::as_object);
        let counted = counted.map(|counts| counts.get(&key_package_algorithm()).and_then(Value::as_u64).unwrap_or(0));
        state.on_server = counted.or(Some(state.on_server.unwrap_or_default() + uploaded));
        state.one_time.clear();
        state.fallback = None;
        self.keep_keys(state)
    }

    /// The upload was not answered.
    pub(super) fn keys_unanswered(&mut self) {
        self.keys.unsure = true;
    }

    /// The upload was refused for good: these will never be used, others are made.
    pub(super) fn keys_refused(&mut self) -> Result<(), Error<J::Error>> {
        let mut state = self.keys.clone();
        state.one_time.clear();
        if state.fallback.take().is_some() {
            state.current = None;
        }
        self.keep_keys(state)
    }
}
