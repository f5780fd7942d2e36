//! Claimed key packages of devices that are to be added, and patience with those that cannot be claimed.

use std::collections::BTreeMap;

use dmls::id::{Device, Timestamp};

use crate::names::server_of;

/// First pause after a failed claim, and the longest.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 300_000;
/// A commit waits so long for claims that are on their way.
const PATIENCE: u64 = 3_000;
/// Devices in one claim.
const MAX_BATCH: usize = 200;

/// In memory only: after a restart everything is tried at once again.
#[derive(Default)]
pub(crate) struct Claims {
    devices: BTreeMap<Device, Claim>,
    /// Claims on their way: number, devices of one server, since when.
    running: BTreeMap<u64, (Vec<Device>, Timestamp)>,
    next: u64,
}

#[derive(Default)]
struct Claim {
    attempts: u32,
    next: Timestamp,
    package: Option<Vec<u8>>,
}

impl Claims {
    /// Starts claims for those of `wanted` that may be tried now; devices no longer wanted are forgotten.
    pub(crate) fn start(&mut self, wanted: &[Device], now: Timestamp) {
        self.devices.retain(|device, _| wanted.contains(device));
        let mut by_server: BTreeMap<&str, Vec<Device>> = BTreeMap::new();
        for device in wanted {
            let claim = self.devices.entry(device.clone()).or_default();
            let running = self.running.values().any(|(devices, _)| devices.contains(device));
            if claim.package.is_none() && claim.next <= now && !running {
                by_server.entry(server_of(&device.user)).or_default().push(device.clone());
            }
        }
        for batch in by_server.into_values().flat_map(|devices| chunks(&devices)) {
            self.running.insert(self.next, (batch, now));
            self.next += 1;
        }
    }

    /// Claims on their way.
    pub(crate) fn running(&self) -> impl Iterator<Item = (u64, &[Device])> {
        self.running.iter().map(|(number, (devices, _))| (*number, devices.as_slice()))
    }

    /// A claim was answered: devices without a package are tried again later.
    pub(crate) fn answer(&mut self, number: u64, mut packages: BTreeMap<Device, Vec<u8>>, now: Timestamp) {
        let Some((devices, _)) = self.running.remove(&number) else { return };
        for device in devices {
            let Some(claim) = self.devices.get_mut(&device) else { continue };
            claim.package = packages.remove(&device);
            if claim.package.is_none() {
                claim.next = now.plus((FIRST_PAUSE << claim.attempts.min(10)).min(LONGEST_PAUSE));
                claim.attempts += 1;
            }
        }
    }

    /// Until when a commit should wait for claims on their way.
    pub(crate) fn wait_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.running.values().map(|(_, since)| since.plus(PATIENCE)).max();
        until.filter(|until| *until > now)
    }

    /// Whether any package is there.
    pub(crate) fn has_packages(&self) -> bool {
        self.devices.values().any(|claim| claim.package.is_some())
    }

    /// Takes up to `count` packages. A device whose package was used in vain is tried again later.
    pub(crate) fn take(&mut self, count: usize, now: Timestamp) -> Vec<(Device, Vec<u8>)> {
        let mut out = Vec::new();
        for (device, claim) in &mut self.devices {
            if out.len() >= count {
                break;
            }
            let Some(package) = claim.package.take() else { continue };
            claim.next = now.plus((FIRST_PAUSE << claim.attempts.min(10)).min(LONGEST_PAUSE));
            claim.attempts += 1;
            out.push((device.clone(), package));
        }
        out
    }

    /// Puts packages back that were not used.
    pub(crate) fn put_back(&mut self, packages: Vec<(Device, Vec<u8>)>) {
        for (device, package) in packages {
            self.devices.entry(device).or_default().package = Some(package);
        }
    }

    /// When the next of `wanted` may be tried; `None` when none waits.
    pub(crate) fn next_try(&self, wanted: &[Device]) -> Option<Timestamp> {
        let next = |device| self.devices.get(device).map_or(Timestamp(0), |claim: &Claim| claim.next);
        wanted.iter().map(next).min()
    }

    /// A device's server may be there again: its devices are tried at once.
    pub(crate) fn hurry(&mut self, user: &str) {
        for (_, claim) in self.devices.iter_mut().filter(|(device, _)| device.user == user) {
            claim.next = Timestamp(0);
            claim.attempts = 0;
        }
    }
}

fn chunks(devices: &[Device]) -> Vec<Vec<Device>> {
    devices.chunks(MAX_BATCH).map(<[Device]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(user: &str) -> Device {
        Device::new(user, "D")
    }

    #[test]
    fn one_claim_a_server_and_pauses_that_double() {
        let wanted = [device("@a:one"), device("@b:one"), device("@c:two")];
        let mut claims = Claims::default();
        claims.start(&wanted, Timestamp(0));
        assert_eq!(claims.running().count(), 2);
        claims.answer(0, BTreeMap::from([(device("@a:one"), vec![1])]), Timestamp(0));
        assert!(claims.has_packages());
        assert_eq!(claims.next_try(&wanted[1..2]), Some(Timestamp(5_000)));
        claims.start(&wanted, Timestamp(5_000));
        claims.answer(2, BTreeMap::new(), Timestamp(5_000));
        assert_eq!(claims.next_try(&wanted[1..2]), Some(Timestamp(15_000)));
        assert_eq!(claims.take(9, Timestamp(0)).len(), 1);
    }
}
