//! Members whom a dishonest one shuts out: they ask, are added anew, and everybody ends in one epoch.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::Signer as _;

use super::grants::context_of;
use super::tests::{Counter, NOW, Shelf, own, take};
use super::{Group, Orders, Settings};
use crate::device::{Credential, OwnDevice, SigningKey};
use crate::effect::{Applied, EpochInfo, Need, Notice, OutgoingCommit, Publish, Readiness, Verdict};
use crate::error::Reason;
use crate::id::{Device, EpochId, GroupId, Locator, Timestamp};
use crate::input::{Desired, DesiredDevice, Input, Welcome};
use crate::mls::tests::suites::{Spoiled, spoil};
use crate::mls::{Plan, Recipient};
use crate::package::KeyPackages;
use crate::secret::{InputKind, Secret, grant_psk, merge_value, no_chain, psk_secret};
use crate::wire::{AskData, CommitData, PskId};

const NAMES: [&str; 7] = ["mallory", "anna", "bob", "carol", "dan", "erin", "frank"];

struct Peer {
    group: Group,
    packages: KeyPackages,
    store: Shelf,
    seen: usize,
    blamed: Vec<Device>,
    read: BTreeSet<String>,
}

enum Posted {
    Commit(Box<OutgoingCommit>),
    Message(Vec<u8>),
    Ask(Vec<u8>),
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
            let (mut kept, mut store) = (KeyPackages::default(), Shelf::default());
            let knows = group.handle(Input::Desired(desired.clone()), NOW, &mut room.entropy).unwrap();
            store.take(knows);
            let made = store.take(kept.generate(own, 1, false, &mut room.entropy).unwrap());
            packages.push((own.device().clone(), made[0].bytes.clone()));
            let peer = Peer { group, packages: kept, store, seen: 0, blamed: Vec::new(), read: BTreeSet::new() };
            room.peers.insert(*name, peer);
        }
        let mallory = room.peers.get_mut("mallory").unwrap();
        mallory.store.take(mallory.group.create(NOW, &mut room.entropy).unwrap());
        room.commit("mallory", packages.split_off(1));
        room.settle();
        room
    }

    fn group(&self, name: &str) -> &Group {
        &self.peers[name].group
    }

    fn commit(&mut self, name: &'static str, packages: Vec<(Device, Vec<u8>)>) {
        let orders = Orders { update: packages.is_empty(), packages };
        let Peer { group, store, .. } = self.peers.get_mut(name).unwrap();
        let outcome = store.take(group.carry_out(orders, self.now, &mut self.entropy).unwrap());
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
                Publish::Ask { bytes } => self.log.push((name, Posted::Ask(bytes))),
                Publish::CommitReply { .. } => {}
            }
        }
    }

    fn input(&mut self, name: &'static str, input: Input) -> Verdict {
        let peer = self.peers.get_mut(name).unwrap();
        let outcome = peer.store.take(peer.group.handle(input, self.now, &mut self.entropy).unwrap());
        for notice in outcome.notices {
            if let Notice::CannotProcess { device, .. } = notice {
                peer.blamed.push(device);
            }
        }
        let settled = outcome.settled.into_iter().map(|settled| settled.verdict);
        let mut last = Verdict::Known;
        for verdict in settled.chain([outcome.verdict]).collect::<Vec<_>>() {
            if let Verdict::Applied(Applied::Message(opened)) = &verdict {
                peer.read.insert(String::from_utf8(opened.plaintext.to_vec()).unwrap());
            }
            last = verdict;
        }
        self.publish(name, outcome.publish);
        last
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
                Posted::Ask(bytes) => Input::Ask { bytes: bytes.clone(), from: from.into() },
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
                        peer.store
                            .take(peer.group.join(welcome, &mut peer.packages, self.now, &mut self.entropy).unwrap());
                    }
                    Input::Commit { bytes, locator: Some(locator), from: from.into() }
                }
            };
            self.input(name, input);
        }
    }

    /// What a host does by itself: asks for merge values, asks to be added anew, commits what is due.
    fn tend(&mut self, name: &'static str) -> bool {
        self.take_in(name);
        let before = self.log.len();
        for need in &self.group(name).needs(self.now) {
            match need {
                Need::MergeValue { epoch, ask, .. } if !self.mute => {
                    for asked in ask {
                        let from = Device::new(name, "D");
                        self.input(known(&asked.user), Input::MergeRequest { epoch: *epoch, from });
                    }
                }
                Need::Ask { .. } => self.ask(name),
                _ => {}
            }
        }
        let due = self.group(name).due(self.now);
        let is_possible = !(due.asked.is_empty() && due.remove.is_empty() && due.resolve.is_empty());
        if due.at.is_some_and(|at| at <= self.now) && is_possible {
            let Peer { group, store, .. } = self.peers.get_mut(name).unwrap();
            let outcome = store.take(group.carry_out(Orders::default(), self.now, &mut self.entropy).unwrap());
            self.publish(name, outcome.publish);
        }
        self.log.len() > before
    }

    fn ask(&mut self, name: &'static str) {
        let Peer { group, packages, store, .. } = self.peers.get_mut(name).unwrap();
        let outcome = store.take(group.ask(packages, self.now, &mut self.entropy).unwrap());
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
        let Peer { group, store, .. } = self.peers.get_mut(name).unwrap();
        let sealed = store.take(group.seal(&mut |_| text.as_bytes().to_vec(), self.now, &mut self.entropy).unwrap());
        self.log.push((name, Posted::Message(sealed.bytes)));
    }

    fn last_ask(&self) -> Vec<u8> {
        let ask =
            |(_, posted): &(&str, Posted)| if let Posted::Ask(bytes) = posted { Some(bytes.clone()) } else { None };
        self.log.iter().rev().find_map(ask).unwrap()
    }

    /// What a device reads back from its store.
    fn reload(&self, name: &str, store: &Shelf) -> Group {
        let own = self.group(name).own.clone();
        Group::load(GroupId::new("!r"), own, Settings::default(), store).unwrap()
    }

    fn restart(&mut self, name: &str) {
        let group = self.reload(name, &self.peers[name].store);
        self.peers.get_mut(name).unwrap().group = group;
    }

    fn askers(&self) -> Vec<&'static str> {
        let asks = self.log.iter().filter(|(_, posted)| matches!(posted, Posted::Ask(_)));
        asks.map(|(name, _)| *name).collect()
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

/// Bob cannot open Mallory's commit; all others can.
fn bob_is_shut_out(room: &mut Room) {
    let guard = poison(room, &["bob"]);
    room.commit("mallory", Vec::new());
    drop(guard);
    let names: Vec<_> = room.peers.keys().copied().collect();
    names.iter().for_each(|name| room.take_in(name));
}

/// A path that does not open for Bob leaves him behind for a minute or two. He goes on where he is, asks, and is added anew
/// by an ordinary commit of somebody else (SPEC §5.8).
#[test]
fn who_is_shut_out_by_a_path_asks_and_is_added_anew() {
    let mut room = Room::of(4);
    let before = room.group("bob").canonical();
    bob_is_shut_out(&mut room);
    assert_eq!(room.group("bob").canonical(), before);
    assert_eq!(room.group("anna").canonical(), room.group("mallory").canonical());
    assert_eq!(room.group("bob").needs(room.now.plus(59_999)), []);
    assert!(room.group("bob").next_wake(room.now).unwrap() <= room.now.plus(120_000));
    let closed = room.group("mallory").canonical().unwrap();
    let needs = room.group("bob").needs(room.now.plus(120_000));
    assert!(matches!(&needs[..], [Need::Ask { epochs, since }] if epochs == &[closed] && *since == room.now));
    room.say("anna", "where Bob is not");
    room.say("bob", "where he stayed");
    room.take_in("anna");
    assert!(room.peers["anna"].read.contains("where he stayed"), "until he is in again, he is where he was");
    room.settle();
    assert_eq!(room.askers(), ["bob"]);
    for (name, peer) in &room.peers {
        let blamed = if *name == "bob" { devices(&["mallory"]) } else { Vec::new() };
        assert_eq!(peer.blamed, blamed, "{name}");
    }
    let anew = |epoch: &EpochInfo| epoch.added == devices(&["bob"]) && epoch.removed == devices(&["bob"]);
    assert!(room.group("anna").epochs().iter().any(anew), "in one commit");
    room.assert_together();
    assert!(!room.peers["bob"].read.contains("where Bob is not"));
}

/// Mallory shuts Bob out and is put out of the room herself. That alone leads Bob nowhere; what Anna built on it does, or
/// he would be out for good (SPEC §5.8).
#[test]
fn who_is_shut_out_by_one_who_left_asks_for_what_others_built_on() {
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
        assert_eq!(needs.iter().any(|need| matches!(need, Need::Ask { .. })), built, "{needs:?}");
    }
}

/// Whoever is shut out, the group comes together again, and the one to blame is named (SPEC §3.1, §5.8).
#[test]
fn every_set_of_receivers_that_is_shut_out_is_added_anew() {
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
        assert!(!room.askers().is_empty() && room.askers().iter().all(|name| out.contains(name)), "{out:?}");
        room.assert_together();
    }
}

/// Anna adds Bob anew, but her host loses his Welcome. The key of his ask still opens the next one (SPEC §5.8).
#[test]
fn the_key_of_an_ask_outlives_its_use() {
    let mut room = Room::of(4);
    bob_is_shut_out(&mut room);
    room.now = room.now.plus(120_000);
    room.ask("bob");
    let reference = room.group("bob").asks[&room.group("bob").own.key()].clone();
    room.take_in("anna");
    room.commit("anna", Vec::new());
    room.take_in("bob");
    assert_eq!(room.group("bob").canonical(), room.group("anna").canonical());
    assert_eq!(room.peers["bob"].packages.len(), 1, "the ask's is a last resort");
    // Mallory, who does not know of it yet, does the same on the epoch of before.
    let bytes = room.last_ask();
    room.input("mallory", Input::Ask { bytes, from: "bob".into() });
    room.commit("mallory", Vec::new());
    let twin = room.group("mallory").canonical().unwrap();
    room.take_in("bob");
    assert!(room.group("bob").holds(&twin), "in both");
    assert_eq!(room.group("bob").asks[&room.group("bob").own.key()], reference);
    room.ask("bob");
    let (day, packages) = (Settings::default().patience, &mut room.peers.get_mut("bob").unwrap().packages);
    assert_eq!(packages.len(), 2, "what the ask before brought may be under way");
    let _ = packages.expire(room.now.plus(day - 1));
    assert_eq!(packages.len(), 2);
    let _ = packages.expire(room.now.plus(day));
    assert_eq!(packages.len(), 1, "the next ask's, and no other");
}

/// Only the device itself asks: not by its key package, which anybody may claim, not as another user, nor elsewhere
/// (SPEC §2.10).
#[test]
fn false_asks_are_refused() {
    let mut room = Room::of(3);
    let (mallory, bob) = (own("mallory", 1), own("bob", 3));
    let mut packages = KeyPackages::default();
    let claimed = take(packages.generate(&bob, 1, false, &mut room.entropy).unwrap()).remove(0).bytes;
    let refused = |room: &mut Room, bytes: Vec<u8>, from: &str| {
        let verdict = room.input("anna", Input::Ask { bytes, from: from.into() });
        let Verdict::Rejected { reason, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(room.group("anna").due(room.now), crate::effect::Due::default(), "nobody is put out by it");
        reason
    };
    let here = GroupId::new("!r");
    let by_mallory = AskData::signed(&here, claimed.clone(), &mallory).encode();
    assert_eq!(refused(&mut room, by_mallory, "bob"), Reason::Forged);
    let elsewhere = AskData::signed(&GroupId::new("!other"), claimed.clone(), &bob).encode();
    assert_eq!(refused(&mut room, elsewhere, "bob"), Reason::OtherGroup);
    let ask = AskData::signed(&here, claimed.clone(), &bob).encode();
    assert_eq!(refused(&mut room, ask.clone(), "mallory"), Reason::RejectedSender);
    for at in 0..ask.len() {
        let mut bent = ask.clone();
        bent[at] ^= 1;
        refused(&mut room, bent, "bob");
        refused(&mut room, ask[..at].to_vec(), "bob");
    }
    // A leaf that is no member's is no package of an ask.
    let bare = crate::mls::OwnPackage::make(&bob.maker(), false, &mut room.entropy).unwrap().bytes();
    assert_eq!(refused(&mut room, AskData::signed(&here, bare, &bob).encode(), "bob"), Reason::BadCredential);
    assert!(matches!(room.input("anna", Input::Ask { bytes: ask, from: "bob".into() }), Verdict::Applied(_)));
}

/// One user's devices keep nobody else from asking (SPEC §5.8).
#[test]
fn asks_of_one_user_are_bounded() {
    let mut room = Room::of(3);
    let mut packages = KeyPackages::default();
    let mut ask_of = |room: &mut Room, name: &str, number: u8| {
        let device = device_of(name, &format!("D{number}"), 100 + number);
        let made = take(packages.generate(&device, 1, true, &mut room.entropy).unwrap()).remove(0);
        let bytes = AskData::signed(&GroupId::new("!r"), made.bytes, &device).encode();
        room.input("anna", Input::Ask { bytes, from: name.into() })
    };
    for number in 0..64 {
        assert!(matches!(ask_of(&mut room, "mallory", number), Verdict::Applied(_)), "{number}");
    }
    let verdict = ask_of(&mut room, "mallory", 64);
    assert!(matches!(verdict, Verdict::Rejected { reason: Reason::TooManyPending, .. }), "{verdict:?}");
    assert!(matches!(ask_of(&mut room, "bob", 65), Verdict::Applied(_)));
}

/// Of several asks of a device the last one counts, in whatever order they come and whoever was restarted in between.
#[test]
fn the_last_ask_counts_in_any_order() {
    let mut room = Room::of(3);
    let bob = own("bob", 3);
    let mut packages = KeyPackages::default();
    let mut ask = || {
        let made = take(packages.generate(&bob, 1, true, &mut room.entropy).unwrap()).remove(0);
        AskData::signed(&GroupId::new("!r"), made.bytes, &bob).encode()
    };
    let (first, last) = (ask(), ask());
    let start = room.peers["anna"].store.clone();
    let result = |order: &[&Vec<u8>]| {
        let mut store = start.clone();
        let mut verdicts = Vec::new();
        for bytes in order {
            let mut group = room.reload("anna", &store);
            let input = Input::Ask { bytes: bytes.to_vec(), from: "bob".into() };
            let outcome = store.take(group.handle(input, room.now, &mut Counter(9)).unwrap());
            verdicts.push(matches!(outcome.verdict, Verdict::Applied(_)));
        }
        let group = room.reload("anna", &store);
        let floor = group.dag.audience().floor(&bob.key());
        (group.due(room.now).asked, floor, group.asked_package(bob.device()).map(<[u8]>::to_vec), verdicts)
    };
    let ((due, floor, package, in_order), other) = (result(&[&first, &last]), result(&[&last, &first, &last]));
    assert_eq!((&due, floor, &package), (&other.0, other.1, &other.2));
    assert_eq!(due, devices(&["bob"]));
    assert!(package.is_some());
    assert_eq!((in_order, other.3), (vec![true, true], vec![true, false, false]));
}

/// Who asks in vain asks again after a pause that doubles; another reason has its own (SPEC §5.8).
#[test]
fn pauses_double_for_the_same_reason() {
    let mut room = Room::of(4);
    bob_is_shut_out(&mut room);
    let Settings { ask_after, ask_pause, .. } = Settings::default();
    room.now = room.now.plus(2 * ask_after);
    let asks = |room: &Room, at: Timestamp| room.group("bob").needs(at).iter().any(|n| matches!(n, Need::Ask { .. }));
    assert!(asks(&room, room.now));
    for times in 0..4 {
        room.ask("bob");
        let pause = ask_pause << times;
        assert_eq!(room.group("bob").next_wake(room.now), Some(room.now.plus(pause)));
        assert!(!asks(&room, room.now.plus(pause - 1)) && asks(&room, room.now.plus(pause)), "{times}");
        room.now = room.now.plus(pause);
    }
    room.ask("bob");
    // Restarted, he has not forgotten.
    room.restart("bob");
    assert_eq!(room.group("bob").next_wake(room.now), Some(room.now.plus(ask_pause << 4)));
    // Mallory goes on from there: that is another reason.
    bob_is_shut_out(&mut room);
    assert!(asks(&room, room.now.plus(2 * ask_after)));
}

/// What a device asked, what it cannot enter and how often it asked outlive a restart.
#[test]
fn asks_outlive_a_restart() {
    let mut room = Room::of(4);
    bob_is_shut_out(&mut room);
    room.now = room.now.plus(120_000);
    room.ask("bob");
    for name in ["anna", "carol"] {
        room.take_in(name);
        let asks = room.group(name).asks.clone();
        room.restart(name);
        assert_eq!(room.group(name).due(room.now).asked, devices(&["bob"]));
        assert_eq!(room.group(name).asks, asks);
    }
    let closed = room.group("bob").closed_epochs();
    room.restart("bob");
    assert_eq!(room.group("bob").closed_epochs(), closed);
    room.settle();
    assert_eq!(room.askers(), ["bob"]);
    room.assert_together();
}

/// Mallory adds Bob anew by his ask and sends no Welcome: a ghost. He asks once more, and is in (SPEC §5.8).
#[test]
fn who_is_added_without_a_welcome_asks_again() {
    let mut room = Room::of(4);
    bob_is_shut_out(&mut room);
    room.now = room.now.plus(120_000);
    room.ask("bob");
    room.take_in("mallory");
    room.commit("mallory", Vec::new());
    let Some((_, Posted::Commit(commit))) = room.log.last_mut() else { panic!("no commit") };
    assert_eq!(commit.welcomes.len(), 1);
    commit.welcomes.clear();
    let names: Vec<_> = room.peers.keys().copied().collect();
    names.iter().for_each(|name| room.take_in(name));
    assert_eq!(room.group("anna").canonical(), room.group("mallory").canonical());
    assert_ne!(room.group("bob").canonical(), room.group("mallory").canonical());
    room.settle();
    assert_eq!(room.askers(), ["bob", "bob"]);
    room.assert_together();
}

fn device_of(name: &str, device: &str, seed: u8) -> std::sync::Arc<OwnDevice> {
    let (matrix, signing) = (SigningKey::from_bytes(&[seed; 32]), SigningKey::from_bytes(&[seed ^ 128; 32]));
    let device = Device::new(name, device);
    let payload = Credential::payload(&device, &signing.public(), 0);
    let signature = ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes()).sign(&payload).to_bytes();
    std::sync::Arc::new(OwnDevice::new(signing, device, matrix.public().0, 0, signature).unwrap())
}

/// Mallory's merge of `resolved` into `base`, with a wrong M for `victim`, who is not in `resolved`.
fn merge_with_a_false_grant(room: &mut Room, base: EpochId, resolved: EpochId, victim: &str) -> Vec<u8> {
    let mallory = &room.peers["mallory"].group;
    let epoch = |id| mallory.dag.get(&id).unwrap();
    let (own_leaf, export) = (epoch(base).own_leaf.unwrap(), epoch(resolved).merge_export.clone().unwrap());
    let leaf = epoch(base).members.iter().find(|leaf| leaf.device.user == victim).unwrap();
    let held = &mallory.held.get(&base).unwrap().epoch;
    let key = held.leaf_key(leaf.index).unwrap().clone();
    let to = Recipient { leaf: leaf.index, serial: leaf.serial, key };
    let mut data = CommitData {
        base: epoch(base).reference(),
        resolves: vec![epoch(resolved).reference()],
        membership: [0; 32],
        policy: [0; 32],
        changes: Vec::new(),
        grants: Vec::new(),
    };
    let context = context_of(&data.base, &data.resolves);
    let (suite, lie, entropy) = (mallory.own.suite(), Secret::new([7; 32]), &mut room.entropy);
    let psk = grant_psk(&no_chain(), &merge_value(Vec::new()));
    data.grants = vec![to.seal(suite, &context, &psk, &lie, entropy).unwrap()];
    let m = merge_value(vec![(InputKind::Head, resolved, export)]);
    let psk_id = PskId { base, leaf: own_leaf, r: [9; 32] }.encode();
    let plan = Plan { psk_id, authenticated_data: data.encode(), ..Plan::default() };
    let (own, psk) = (&mallory.own, psk_secret(&no_chain(), &m));
    let draft = held.draft(plan, &own.leaf_maker(), entropy).unwrap();
    draft.finish(Some(&psk), &own.maker(), entropy).unwrap().bytes
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
    let store = Shelf::default();
    room.peers.insert("carol", Peer { group, packages, store, seen, blamed: Vec::new(), read: BTreeSet::new() });
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
