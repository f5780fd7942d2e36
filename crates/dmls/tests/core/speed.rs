//! How much CPU time a large group costs, with real cryptography and with the stand-in. Measures; asserts no time.

use std::sync::Arc;

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::{Applied, Outcome, Publish, Verdict};
use dmls::group::{Group, Orders, SealContext, Settings};
use dmls::id::{Device, EpochId, Locator, Timestamp};
use dmls::input::{Desired, DesiredDevice, Input, Welcome};
use dmls::package::KeyPackages;
use dmls::suite::{Suite, X25519_ED25519};
use dmls_store::MemoryStore;

use crate::stand_in::STAND_IN;
use crate::world::{Seeded, room};

const NOW: Timestamp = Timestamp(1);

struct Member {
    own: Arc<OwnDevice>,
    group: Group,
    packages: KeyPackages,
    store: MemoryStore,
    rng: Seeded,
}

impl Member {
    fn new(suite: &'static dyn Suite, number: usize) -> Self {
        let mut rng = Seeded::new(number as u64);
        let matrix = ed25519_dalek::SigningKey::from_bytes(&[number as u8 + 1; 32]);
        let signing = SigningKey::generate_in(suite, &mut rng).unwrap();
        let device = Device::new(format!("user{number:02}"), "D");
        let payload = Credential::payload(&device, &signing.public(), 0);
        let signature = ed25519_dalek::Signer::sign(&matrix, &payload).to_bytes();
        let own = OwnDevice::new(signing, device, matrix.verifying_key().to_bytes(), 0, signature).unwrap();
        let own = Arc::new(own);
        let group = Group::new(room(), own.clone(), Settings::default());
        Self { own, group, packages: KeyPackages::default(), store: MemoryStore::new(), rng }
    }

    fn input(&mut self, input: Input) -> Verdict {
        self.group.handle(input, NOW, &mut self.rng).unwrap().persist(&mut self.store).unwrap().verdict
    }
}

/// How many devices there are, how many of them commit, and how many messages are sent.
#[derive(Clone, Copy)]
struct Size {
    members: usize,
    commits: usize,
    messages: usize,
}

fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// All join, some commit, and every commit and message is taken in by all; the epochs, and the CPU time in milliseconds.
fn story(suite: &'static dyn Suite, size: Size) -> (Vec<EpochId>, [u64; 3]) {
    let mut members: Vec<_> = (0..size.members).map(|number| Member::new(suite, number)).collect();
    let joined = |own: &OwnDevice| {
        let joined = Locator(format!("$join-{}", own.device().user));
        (own.device().clone(), DesiredDevice { key: own.key(), joined })
    };
    let desired = Desired { devices: members.iter().map(|member| joined(&member.own)).collect() };
    let start = ticks();
    let mut packages = Vec::new();
    for member in &mut members[1..] {
        let made = member.packages.generate(&member.own, 1, false, &mut member.rng).unwrap();
        let made = made.persist(&mut member.store).unwrap();
        packages.push((member.own.device().clone(), made[0].bytes.clone()));
    }
    let first = &mut members[0];
    first.group.create(NOW, &mut first.rng).unwrap().persist(&mut first.store).unwrap();
    for member in &mut members {
        member.input(Input::Desired(desired.clone()));
    }
    let first = &mut members[0];
    let outcome = first.group.carry_out(Orders { packages, update: false }, NOW, &mut first.rng).unwrap();
    let outcome: Outcome = outcome.persist(&mut first.store).unwrap();
    let Some(Publish::Commit(commit)) = outcome.publish.into_iter().next() else { panic!("no commit") };
    for welcome in commit.welcomes {
        let number: usize = welcome.to.user[4..].parse().unwrap();
        let member = &mut members[number];
        let welcome = Welcome {
            bytes: welcome.bytes.to_vec(),
            commit: commit.bytes.clone(),
            locator: Locator("$0".into()),
            epoch: commit.epoch.id,
            base: welcome.base,
            grant: welcome.grant,
        };
        let joined = member.group.join(welcome, &mut member.packages, NOW, &mut member.rng).unwrap();
        assert!(matches!(joined.persist(&mut member.store).unwrap().verdict, Verdict::Applied(_)));
    }
    let created = ticks();
    let mut epochs = vec![commit.epoch.id];
    for number in 0..size.commits {
        let committer = &mut members[number * 3];
        let orders = Orders { packages: Vec::new(), update: true };
        let outcome = committer.group.carry_out(orders, NOW, &mut committer.rng).unwrap();
        let outcome = outcome.persist(&mut committer.store).unwrap();
        let Some(Publish::Commit(commit)) = outcome.publish.into_iter().next() else { panic!("no commit") };
        let locator = Locator(format!("$c{number}"));
        committer.input(Input::Published { epoch: commit.epoch.id, locator: locator.clone() });
        epochs.push(commit.epoch.id);
        for (other, member) in members.iter_mut().enumerate().filter(|(other, _)| *other != number * 3) {
            let (bytes, locator) = (commit.bytes.clone(), Some(locator.clone()));
            let verdict = member.input(Input::Commit { bytes, locator, from: "x".into() });
            assert!(matches!(verdict, Verdict::Applied(Applied::Commit { .. })), "{other}: {verdict:?}");
        }
    }
    let committed = ticks();
    for number in 0..size.messages {
        let sender = &mut members[number % size.members];
        let from = sender.own.device().user.clone();
        let mut compose = |_: &SealContext<'_>| b"hello, all of you".to_vec();
        let sealed = sender.group.seal(&mut compose, NOW, &mut sender.rng).unwrap().persist(&mut sender.store).unwrap();
        for (other, member) in members.iter_mut().enumerate().filter(|(other, _)| *other != number % size.members) {
            let (bytes, locator) = (sealed.bytes.clone(), Locator(format!("$m{number}")));
            let input = Input::Message { bytes, locator, from: from.clone(), commit: None };
            let verdict = member.input(input);
            assert!(matches!(verdict, Verdict::Applied(Applied::Message(_))), "{other}: {verdict:?}");
        }
    }
    let end = ticks();
    (epochs, [created - start, committed - created, end - committed].map(|ticks| ticks * 10))
}

/// Joins, commits and messages go the same way with the stand-in, over other keys; and the same way again.
#[test]
fn the_stand_in_tells_the_same_story() {
    let size = Size { members: 7, commits: 2, messages: 9 };
    let ((real, _), (fast, _)) = (story(X25519_ED25519, size), story(STAND_IN, size));
    assert_eq!(real.len(), fast.len());
    assert_ne!(real, fast);
    assert_eq!(story(STAND_IN, size).0, fast, "equal seeds, equal epochs (SPEC §7.5)");
}

/// Prints what 64 members cost: joining, 20 commits and 200 messages, each taken in by all.
#[test]
#[ignore = "measures"]
fn what_the_stand_in_saves() {
    let size = Size { members: 64, commits: 20, messages: 200 };
    let (real, fast) = (story(X25519_ED25519, size).1, story(STAND_IN, size).1);
    for (name, [join, commits, messages]) in [("real", real), ("stand-in", fast)] {
        eprintln!("{name}: joining {join} ms, commits {commits} ms, messages {messages} ms of CPU time");
    }
    let sum = |times: [u64; 3]| times.iter().sum::<u64>() as f64;
    eprintln!("real / stand-in: {:.2}", sum(real) / sum(fast));
}
