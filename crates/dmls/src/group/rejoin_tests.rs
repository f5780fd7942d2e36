//! Members whom a dishonest one shuts out: they come back, and everybody ends in one epoch.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use super::commits::grant_context;
use super::tests::{Counter, NOW, own, take};
use super::{Group, Orders, Settings};
use crate::effect::{Applied, EpochKind, Need, Notice, OutgoingCommit, Publish, Readiness, Verdict};
use crate::id::{Device, EpochId, GroupId, Locator, Timestamp};
use crate::input::{Desired, DesiredDevice, Input, Welcome};
use crate::mls::Plan;
use crate::mls::tests::suites::{Spoiled, spoil};
use crate::package::KeyPackages;
use crate::secret::{InputKind, Secret, grant_psk, merge_value, no_chain, psk_secret};
use crate::wire::{CommitData, PskId};

const NAMES: [&str; 7] = ["mallory", "anna", "bob", "carol", "dan", "erin", "frank"];

struct Peer {
    group: Group,
    packages: KeyPackages,
    seen: usize,
    blamed: Vec<Device>,
    read: BTreeSet<String>,
}

enum Posted {
    Commit(Box<OutgoingCommit>),
    Message(Vec<u8>),
}

/// One room, one server, everybody online; answers to requests come at once.
struct Room {
    peers: BTreeMap<&'static str, Peer>,
    log: Vec<(&'static str, Posted)>,
    entropy: Counter,
    now: Timestamp,
    /// Nobody answers to who lacks a merge value.
    mute: bool,
}

impl Room {
    /// Mallory makes the group and adds the others by one commit: nobody else has a path in the tree.
    fn of(count: usize) -> Self {
        let names = &NAMES[..count];
        let owns: Vec<_> = names.iter().zip(1..).map(|(name, seed)| own(name, seed)).collect();
        let joined = Locator("$join".into());
        let vouched =
            owns.iter().map(|own| (own.device().clone(), DesiredDevice { key: own.key(), joined: joined.clone() }));
        let desired = Desired { devices: vouched.collect() };
        let mut room = Self { peers: BTreeMap::new(), log: Vec::new(), entropy: Counter(0), now: NOW, mute: false };
        let mut packages = Vec::new();
        for (name, own) in names.iter().zip(&owns) {
            let mut group = Group::new(GroupId::new("!r"), own.clone(), Settings::default());
            take(group.handle(Input::Desired(desired.clone()), NOW, &mut room.entropy).unwrap());
            let mut kept = KeyPackages::default();
            let made = take(kept.generate(own, 1, false, &mut room.entropy).unwrap());
            packages.push((own.device().clone(), made[0].bytes.clone()));
            let peer = Peer { group, packages: kept, seen: 0, blamed: Vec::new(), read: BTreeSet::new() };
            room.peers.insert(*name, peer);
        }
        let mallory = room.peers.get_mut("mallory").unwrap();
        take(mallory.group.create(NOW, &mut room.entropy).unwrap());
        room.commit("mallory", packages.split_off(1));
        room.settle();
        room
    }

    fn group(&self, name: &str) -> &Group {
        &self.peers[name].group
    }

    fn commit(&mut self, name: &'static str, packages: Vec<(Device, Vec<u8>)>) {
        let orders = Orders { update: packages.is_empty(), packages };
        let group = &mut self.peers.get_mut(name).unwrap().group;
        let outcome = take(group.carry_out(orders, self.now, &mut self.entropy).unwrap());
        self.publish(name, outcome.publish);
    }

    fn publish(&mut self, name: &'static str, publish: Vec<Publish>) {
        for publish in publish {
            match publish {
                Publish::Commit(commit) => {
                    let locator = Locator(format!("${}", self.log.len()));
                    let input = Input::Published { epoch: commit.epoch.id, locator };
                    self.log.push((name, Posted::Commit(commit)));
                    self.input(name, input);
                }
                Publish::MergeReply { to, epoch, value } => {
                    let from = Device::new(name, "D");
                    self.input(known(&to.user), Input::MergeReply { epoch, value, from });
                }
                Publish::CommitReply { .. } => {}
            }
        }
    }

    fn input(&mut self, name: &'static str, input: Input) -> Verdict {
        let peer = self.peers.get_mut(name).unwrap();
        let outcome = take(peer.group.handle(input, self.now, &mut self.entropy).unwrap());
        for notice in outcome.notices {
            if let Notice::CannotProcess { device, .. } = notice {
                peer.blamed.push(device);
            }
        }
        let settled = outcome.settled.into_iter().map(|settled| settled.verdict);
        for verdict in settled.chain([outcome.verdict]).collect::<Vec<_>>() {
            if let Verdict::Applied(Applied::Message(opened)) = &verdict {
                peer.read.insert(String::from_utf8(opened.plaintext.to_vec()).unwrap());
            }
        }
        self.publish(name, outcome.publish);
        Verdict::Known
    }

    /// Everything new in the room, Welcomes first.
    fn take_in(&mut self, name: &'static str) {
        while self.peers[name].seen < self.log.len() {
            let at = self.peers[name].seen;
            self.peers.get_mut(name).unwrap().seen += 1;
            let (from, posted) = &self.log[at];
            let (from, locator) = (*from, Locator(format!("${at}")));
            let input = match posted {
                _ if from == name => continue,
                Posted::Message(bytes) => {
                    Input::Message { bytes: bytes.clone(), locator, from: from.into(), commit: None }
                }
                Posted::Commit(commit) => {
                    let bytes = commit.bytes.clone();
                    let welcome = commit.welcomes.iter().find(|welcome| welcome.to.user == name).map(|out| Welcome {
                        bytes: out.bytes.to_vec(),
                        commit: bytes.clone(),
                        locator: locator.clone(),
                        epoch: commit.epoch.id,
                        base: out.base.clone(),
                        grant: out.grant.clone(),
                    });
                    if let Some(welcome) = welcome {
                        let peer = self.peers.get_mut(name).unwrap();
                        take(peer.group.join(welcome, &mut peer.packages, self.now, &mut self.entropy).unwrap());
                    }
                    Input::Commit { bytes, locator: Some(locator), from: from.into() }
                }
            };
            self.input(name, input);
        }
    }

    /// What a host does by itself: asks for merge values, comes back by external commit, commits what is due.
    fn tend(&mut self, name: &'static str) -> bool {
        self.take_in(name);
        let before = self.log.len();
        let needs = self.group(name).needs(self.now);
        for need in &needs {
            if let (Need::MergeValue { epoch, ask, .. }, false) = (need, self.mute) {
                for asked in ask {
                    let from = Device::new(name, "D");
                    self.input(known(&asked.user), Input::MergeRequest { epoch: *epoch, from });
                }
            }
        }
        self.come_back(name, &needs);
        let due = self.group(name).due(self.now);
        if due.at.is_some_and(|at| at <= self.now) && !(due.remove.is_empty() && due.resolve.is_empty()) {
            let group = &mut self.peers.get_mut(name).unwrap().group;
            let outcome = take(group.carry_out(Orders::default(), self.now, &mut self.entropy).unwrap());
            self.publish(name, outcome.publish);
        }
        self.log.len() > before
    }

    fn come_back(&mut self, name: &'static str, needs: &[Need]) {
        let wanted = |id: &EpochId| needs.iter().any(|n| matches!(n, Need::ExternalJoin { epoch, .. } if epoch == id));
        let commits = self.log.iter().filter_map(|(_, posted)| match posted {
            Posted::Commit(commit) if wanted(&commit.epoch.id) => Some(commit),
            _ => None,
        });
        let Some(best) =
            commits.max_by_key(|commit| crate::group::inspect_commit(&commit.bytes).map(|header| header.number).ok())
        else {
            return;
        };
        let (target, info) = (best.epoch.clone(), best.group_info.bytes());
        let group = &mut self.peers.get_mut(name).unwrap().group;
        let outcome = take(group.join_externally(&info, target, self.now, &mut self.entropy).unwrap());
        self.publish(name, outcome.publish);
    }

    /// All go on until nothing more comes within an hour.
    fn settle(&mut self) {
        let names: Vec<_> = self.peers.keys().copied().collect();
        let mut until = self.now.plus(3_600_000);
        while self.now < until {
            let busy = names.iter().map(|name| self.tend(name)).filter(|busy| *busy).count() > 0;
            assert!(self.log.len() < 200, "the room never settles");
            let wakes = names.iter().filter_map(|name| self.group(name).next_wake(self.now));
            let wake = wakes.filter(|at| *at > self.now).min().unwrap_or(until);
            self.now = if busy { self.now.plus(500) } else { wake.max(self.now.plus(500)) };
            until = if busy { self.now.plus(3_600_000) } else { until };
        }
    }

    fn say(&mut self, name: &'static str, text: &str) {
        let group = &mut self.peers.get_mut(name).unwrap().group;
        let sealed = take(group.seal(&mut |_| text.as_bytes().to_vec(), self.now, &mut self.entropy).unwrap());
        self.log.push((name, Posted::Message(sealed.bytes)));
    }

    fn rejoins(&self) -> Vec<&'static str> {
        let external = |name: &str, id: &EpochId| self.group(name).epoch(id).unwrap().kind == EpochKind::External;
        let commits = self.log.iter().filter_map(|(name, posted)| match posted {
            Posted::Commit(commit) => Some((*name, commit.epoch.id)),
            Posted::Message(_) => None,
        });
        commits.filter(|(name, id)| external(name, id)).map(|(name, _)| name).collect()
    }

    /// One canonical epoch with exactly the devices of D, in which everybody reads everybody.
    fn assert_together(&mut self) {
        let names: Vec<_> = self.peers.keys().copied().collect();
        let head = self.group("mallory").canonical();
        for name in &names {
            assert_eq!(self.group(name).canonical(), head, "{name}");
            let leaves: BTreeSet<_> = self.group(name).readers(&head.unwrap()).unwrap().into_iter().collect();
            assert_eq!(leaves, names.iter().map(|name| Device::new(*name, "D")).collect());
            assert_eq!(self.group(name).needs(self.now), [], "{name}");
        }
        // Who healed on the fork that lost does so again first (SPEC §3.10).
        for name in &names {
            if let Readiness::CommitFirst(_) = self.group(name).readiness() {
                self.commit(name, Vec::new());
                self.settle();
            }
        }
        for name in &names {
            self.say(name, &format!("from {name}"));
        }
        for name in &names {
            self.take_in(name);
            let others = names.iter().filter(|other| *other != name);
            assert!(others.clone().all(|other| self.peers[name].read.contains(&format!("from {other}"))), "{name}");
        }
    }
}

fn known(user: &str) -> &'static str {
    NAMES.iter().find(|name| **name == user).unwrap()
}

fn devices(names: &[&str]) -> Vec<Device> {
    names.iter().map(|name| Device::new(*name, "D")).collect()
}

/// What is sealed to the leaves of `victims` in Mallory's epoch will not open. Who shares a parent that is not blank with
/// others is spared.
fn poison(room: &Room, victims: &[&str]) -> Spoiled {
    let mallory = room.group("mallory");
    let tree = mallory.held.get(&mallory.canonical().unwrap()).unwrap().epoch.tree();
    let key = |device: &Device| tree.leaf(tree.leaf_of(device).unwrap()).unwrap().encryption_key().as_slice().to_vec();
    spoil(devices(victims).iter().map(key).collect())
}

/// A path that does not open for Bob leaves him behind for a minute or two; then he comes back (SPEC §5.8).
#[test]
fn who_is_shut_out_by_a_path_comes_back() {
    let mut room = Room::of(4);
    let before = room.group("bob").canonical();
    let guard = poison(&room, &["bob"]);
    room.commit("mallory", Vec::new());
    drop(guard);
    let names: Vec<_> = room.peers.keys().copied().collect();
    names.iter().for_each(|name| room.take_in(name));
    assert_eq!(room.group("bob").canonical(), before);
    assert_eq!(room.group("anna").canonical(), room.group("mallory").canonical());
    assert_eq!(room.group("bob").needs(room.now.plus(59_999)), []);
    assert!(room.group("bob").next_wake(room.now).unwrap() <= room.now.plus(120_000));
    assert!(matches!(room.group("bob").needs(room.now.plus(120_000))[..], [Need::ExternalJoin { .. }]));
    room.say("anna", "where Bob is not");
    room.settle();
    assert_eq!(room.rejoins(), ["bob"]);
    for (name, peer) in &room.peers {
        let blamed = if *name == "bob" { devices(&["mallory"]) } else { Vec::new() };
        assert_eq!(peer.blamed, blamed, "{name}");
    }
    room.assert_together();
    assert!(!room.peers["bob"].read.contains("where Bob is not"));
}

/// Mallory shuts Bob out and is put out of the room herself. That alone leads Bob nowhere; what Anna built on it does, or
/// he would be out for good (SPEC §5.8).
#[test]
fn who_is_shut_out_by_one_who_left_comes_back_to_the_others() {
    for built in [false, true] {
        let mut room = Room::of(3);
        let guard = poison(&room, &["bob"]);
        room.commit("mallory", Vec::new());
        drop(guard);
        room.take_in("anna");
        if built {
            room.commit("anna", Vec::new());
        }
        room.take_in("bob");
        let mut desired = room.group("bob").dag.desired().clone();
        desired.retain(|device| device.user != "mallory");
        room.input("bob", Input::Departed { user: "mallory".into(), event: Locator("$left".into()) });
        room.input("bob", Input::Desired(desired));
        let needs = room.group("bob").needs(room.now.plus(120_000));
        assert_eq!(needs.iter().any(|need| matches!(need, Need::ExternalJoin { .. })), built, "{needs:?}");
    }
}

/// Whoever is shut out, the group comes together again, and the one to blame is named (SPEC §3.1, §5.8).
#[test]
fn every_set_of_receivers_that_is_shut_out_comes_back() {
    for set in 1..1_u32 << 6 {
        let mut room = Room::of(7);
        let out: Vec<_> = (0..6).filter(|bit| set >> bit & 1 == 1).map(|bit| NAMES[1 + bit]).collect();
        let guard = poison(&room, &out);
        room.commit("mallory", Vec::new());
        drop(guard);
        room.settle();
        for (name, peer) in &room.peers {
            let shut_out = out.contains(name);
            assert_eq!(peer.blamed.contains(&Device::new("mallory", "D")), shut_out, "{name} of {out:?}");
        }
        assert!(!room.rejoins().is_empty() && room.rejoins().iter().all(|name| out.contains(name)), "{out:?}");
        room.assert_together();
    }
}

/// Mallory's merge of `resolved` into `base`, with a wrong M for `victim`, who is not in `resolved`.
fn merge_with_a_false_grant(room: &mut Room, base: EpochId, resolved: EpochId, victim: &str) -> Vec<u8> {
    let mallory = &room.peers["mallory"].group;
    let epoch = |id| mallory.dag.get(&id).unwrap();
    let (own_leaf, export) = (epoch(base).own_leaf.unwrap(), epoch(resolved).merge_export.clone().unwrap());
    let leaf = epoch(base).members.iter().find(|leaf| leaf.device.user == victim).unwrap().index;
    let mut data = CommitData {
        base: epoch(base).reference(),
        resolves: vec![epoch(resolved).reference()],
        membership: [0; 32],
        policy: [0; 32],
        changes: Vec::new(),
        grants: Vec::new(),
    };
    let (context, lie, entropy) = (grant_context(&data), Secret::new([7; 32]), &mut room.entropy);
    let psk = grant_psk(&no_chain(), &merge_value(Vec::new()));
    let held = &mallory.held.get(&base).unwrap().epoch;
    data.grants = vec![held.seal_grant(leaf, &context, &psk, &lie, entropy).unwrap()];
    let m = merge_value(vec![(InputKind::Head, resolved, export)]);
    let psk_id = PskId { base, leaf: own_leaf, r: [9; 32] }.encode();
    let plan = Plan { psk_id, authenticated_data: data.encode(), ..Plan::default() };
    let (maker, psk) = (mallory.own.maker(), psk_secret(&no_chain(), &m));
    held.draft(plan, &maker, entropy).unwrap().finish(Some(&psk), &maker, entropy).unwrap().bytes
}

/// A grant that lies to one member is as good as none: M is asked for, and the others know it (SPEC §3.7, §3.9).
#[test]
fn a_false_grant_shuts_nobody_out() {
    let mut room = Room::of(3);
    let carol = own("carol", 4);
    let joined = Locator("$join".into());
    let mut desired = room.group("anna").dag.desired().clone();
    desired.devices.insert(carol.device().clone(), DesiredDevice { key: carol.key(), joined });
    let mut packages = KeyPackages::default();
    let made = take(packages.generate(&carol, 1, false, &mut room.entropy).unwrap());
    let group = Group::new(GroupId::new("!r"), carol.clone(), Settings::default());
    let seen = room.log.len();
    room.peers.insert("carol", Peer { group, packages, seen, blamed: Vec::new(), read: BTreeSet::new() });
    for name in ["mallory", "anna", "bob", "carol"] {
        room.input(name, Input::Desired(desired.clone()));
    }
    // Anna adds Carol; Mallory, at the same time, rekeys without her.
    room.commit("mallory", Vec::new());
    room.commit("anna", vec![(carol.device().clone(), made[0].bytes.clone())]);
    let (without, with) = (room.group("mallory").canonical().unwrap(), room.group("anna").canonical().unwrap());
    for name in ["mallory", "anna", "bob", "carol"] {
        room.take_in(name);
    }
    assert_eq!(room.group("carol").canonical(), Some(with));
    let bytes = merge_with_a_false_grant(&mut room, with, without, "carol");
    for name in ["anna", "bob", "carol"] {
        room.input(name, Input::Commit { bytes: bytes.clone(), locator: None, from: "mallory".into() });
    }
    let merged = room.group("anna").canonical();
    assert_ne!(merged, Some(with));
    assert_eq!(room.group("bob").canonical(), merged);
    assert_eq!(room.group("carol").canonical(), Some(with), "Carol waits");
    let asked = Input::MergeRequest { epoch: merged.unwrap(), from: carol.device().clone() };
    room.input("bob", asked);
    assert_eq!(room.group("carol").canonical(), merged);
}
