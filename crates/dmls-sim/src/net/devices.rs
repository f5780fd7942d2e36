//! What a server keeps for devices: lists, one-time keys, to-device messages.

use std::collections::BTreeMap;

use dmls::id::Device;
use dmls_matrix::facts::DeviceFacts;
use serde_json::Value;

/// A user's devices as the user's own server lists them, with a version that grows.
#[derive(Clone, Default, Debug)]
pub(crate) struct Listed {
    pub(crate) version: u64,
    pub(crate) devices: Vec<DeviceFacts>,
}

/// To-device messages of one device, by position.
#[derive(Default)]
pub(crate) struct Letterbox {
    last: u64,
    waiting: BTreeMap<u64, Value>,
}

impl Letterbox {
    pub(crate) fn put(&mut self, message: Value) {
        self.last += 1;
        self.waiting.insert(self.last, message);
    }

    /// What came after `since`; everything up to there was received for good.
    pub(crate) fn after(&mut self, since: u64) -> (u64, Vec<Value>) {
        self.waiting.retain(|position, _| *position > since);
        (self.last, self.waiting.values().cloned().collect())
    }

    pub(crate) fn has_after(&self, since: u64) -> bool {
        self.waiting.keys().any(|position| *position > since)
    }
}

/// Key packages of one device.
#[derive(Default)]
pub(crate) struct Keys {
    one_time: BTreeMap<String, Value>,
    fallback: Option<Fallback>,
}

struct Fallback {
    id: String,
    value: Value,
    used: bool,
}

impl Keys {
    /// Takes in an upload; gives how many one-time keys there are.
    pub(crate) fn upload(&mut self, one_time: &[(String, Value)], fallback: Option<&(String, Value)>) -> usize {
        self.one_time.extend(one_time.iter().cloned());
        if let Some((id, value)) = fallback {
            self.fallback = Some(Fallback { id: id.clone(), value: value.clone(), used: false });
        }
        self.one_time.len()
    }

    /// Gives a one-time key away, or else the fallback.
    pub(crate) fn claim(&mut self) -> Option<(String, Value)> {
        if let Some(key) = self.one_time.pop_first() {
            return Some(key);
        }
        let fallback = self.fallback.as_mut()?;
        fallback.used = true;
        Some((fallback.id.clone(), fallback.value.clone()))
    }

    /// Somebody claimed them all.
    pub(crate) fn exhaust(&mut self) {
        self.one_time.clear();
    }

    pub(crate) fn count(&self) -> usize {
        self.one_time.len()
    }

    pub(crate) fn has_unused_fallback(&self) -> bool {
        self.fallback.as_ref().is_some_and(|fallback| !fallback.used)
    }
}

/// All that a server keeps for the devices of its users, and what it knows of others'.
#[derive(Default)]
pub(crate) struct Devices {
    pub(crate) lists: BTreeMap<String, Listed>,
    /// Stream positions at which users' lists changed.
    pub(crate) changes: Vec<(u64, String)>,
    pub(crate) keys: BTreeMap<Device, Keys>,
    pub(crate) letters: BTreeMap<Device, Letterbox>,
}
