//! What must be true at the end of the split, and who read what.

use std::collections::{BTreeMap, BTreeSet};

use dmls::id::{Device, EpochId};
use dmls_matrix::view::MessageRow;

use super::{PEOPLE, Said, Story, When, user};
use crate::trace::{Name, View};
use crate::world::{Crypto, Fault};

/// Commits that may follow the heal, the first speaker's among them.
const COMMITS: usize = 4;

/// One claim, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// A sentence.
    pub claim: &'static str,
    /// What was counted or compared.
    pub seen: String,
    /// What speaks against it; empty if it holds.
    pub against: Vec<String>,
}

impl Claim {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.against.is_empty()
    }
}

/// What a device shows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The text.
    Read,
    /// That there is one, and a code why it cannot be read.
    Unread(&'static str),
    /// Nothing.
    Nothing,
}

/// How the story ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// All messages, and what each of [`PEOPLE`] sees of it.
    pub said: Vec<(Said, Vec<Seen>)>,
    /// The claims.
    pub claims: Vec<Claim>,
    /// Virtual milliseconds.
    pub millis: u64,
    /// The cryptography that was used.
    pub crypto: Crypto,
    /// SHA-256 over everything that was published.
    pub digest: [u8; 32],
}

type Views = BTreeMap<&'static str, View>;

impl Story {
    pub(super) fn end(mut self) -> Result<Ending, Fault> {
        let (counts, digest, room) = (self.world.counts(), self.world.digest(), self.room.clone());
        let mut heads = BTreeMap::new();
        for name in &PEOPLE[1..] {
            heads.insert(*name, self.canonical(name)?);
        }
        let mut views = Views::new();
        for name in PEOPLE {
            views.insert(name, self.world.view(&Name::from(name), &room)?);
        }
        let claims = vec![
            self.one_head(&heads, &views),
            self.all_read_all(&views),
            self.alice_reads_nothing(&views),
            self.exact_readers(&views),
            self.explained(&views),
            few_commits(counts.commits - self.commits_before_heal),
        ];
        let column = |said: &Said| PEOPLE.iter().map(|name| seen(&views, name, said)).collect();
        let said = self.said.iter().map(|said| (said.clone(), column(said))).collect();
        let crypto = self.world.options.crypto;
        Ok(Ending { said, claims, millis: counts.millis, crypto, digest })
    }

    fn one_head(&self, heads: &BTreeMap<&'static str, Option<EpochId>>, views: &Views) -> Claim {
        let first = heads.values().next().copied().flatten();
        let elsewhere = heads.iter().filter(|(_, head)| head.is_none() || **head != first);
        let mut against: Vec<_> = elsewhere.map(|(name, head)| format!("{name} is in {head:?}")).collect();
        let known = views.get("bob").map(|view| ancestors(view, first)).unwrap_or_default();
        against
            .extend(self.heads.iter().filter(|head| !known.contains(head)).map(|head| format!("{head} is not in it")));
        let seen = first.map_or_else(|| "none".to_owned(), |head| head.to_string());
        Claim { claim: "Everybody in the room shares one epoch that contains both forks", seen, against }
    }

    fn all_read_all(&self, views: &Views) -> Claim {
        let mut against = Vec::new();
        let said: Vec<_> = self.said.iter().filter(|said| said.when == When::Merged).collect();
        for said in &said {
            let not = PEOPLE[1..].iter().filter(|name| seen(views, name, said) != Seen::Read);
            against.extend(not.map(|name| format!("{name} does not read {:?}", said.body)));
        }
        let seen = format!("{} readings", said.len() * (PEOPLE.len() - 1));
        Claim { claim: "After the merge everybody reads everybody", seen, against }
    }

    fn alice_reads_nothing(&self, views: &Views) -> Claim {
        let after = [When::AliceLeft, When::Healed, When::Merged];
        let said: Vec<_> = self.said.iter().filter(|said| after.contains(&said.when)).collect();
        let could = |said: &&&Said| {
            let listed = readers(views, said).is_none_or(|readers| readers.contains("alice"));
            listed || seen(views, "alice", said) == Seen::Read
        };
        let against = said.iter().filter(could).map(|said| format!("she could read {:?}", said.body)).collect();
        let claim = "Alice's device reads nothing sent after her leaving was seen";
        Claim { claim, seen: format!("{} messages", said.len()), against }
    }

    fn exact_readers(&self, views: &Views) -> Claim {
        let (mut against, mut count) = (Vec::new(), 0);
        for said in &self.said {
            let Some(expected) = expected_readers(said.when) else { continue };
            count += 1;
            let found = readers(views, said).unwrap_or_default();
            if found != expected.iter().map(|name| (*name).to_owned()).collect() {
                against.push(format!("{:?} has the readers {found:?}", said.body));
            }
        }
        let claim = "Every epoch has exactly the devices that its side of the room says";
        Claim { claim, seen: format!("{count} messages"), against }
    }

    fn explained(&self, views: &Views) -> Claim {
        let (mut against, mut read, mut unread) = (Vec::new(), 0, 0);
        for said in &self.said {
            let readers = readers(views, said).unwrap_or_default();
            for name in PEOPLE {
                match (readers.contains(name), seen(views, name, said)) {
                    (true, Seen::Read) => read += 1,
                    (false, Seen::Unread(_)) => unread += 1,
                    // Her server shows her nothing after she left, whichever epoch it was sent in.
                    (_, Seen::Nothing) if name == "alice" && said.when > When::ErinCame => {}
                    (false, Seen::Nothing) if is_before(name, said.when) => {}
                    (_, other) => against.push(format!("{name} and {:?}: {other:?}", said.body)),
                }
            }
        }
        let claim = "Every message is read by exactly the devices of its epoch, others see why not";
        Claim { claim, seen: format!("{read} read, {unread} explained"), against }
    }
}

fn few_commits(commits: usize) -> Claim {
    let against = if commits <= COMMITS { Vec::new() } else { vec![format!("at most {COMMITS} would be few")] };
    Claim { claim: "Few commits followed the heal", seen: commits.to_string(), against }
}

/// A message as its sender shows it.
fn sent<'a>(views: &'a Views, said: &Said) -> Option<&'a MessageRow> {
    views.get(said.by)?.messages.iter().find(|row| row.body() == Some(&said.body))
}

fn seen(views: &Views, name: &str, said: &Said) -> Seen {
    let Some(event) = sent(views, said).and_then(|row| row.event_id.as_ref()) else { return Seen::Nothing };
    let rows = views.get(name).map(|view| view.messages.as_slice()).unwrap_or_default();
    match rows.iter().find(|row| row.event_id.as_ref() == Some(event)) {
        None => Seen::Nothing,
        Some(row) => row.utd.as_ref().map_or(Seen::Read, |utd| Seen::Unread(utd.code.code())),
    }
}

/// The people whose devices are in a message's epoch.
fn readers(views: &Views, said: &Said) -> Option<BTreeSet<String>> {
    let readers = sent(views, said)?.readers.as_ref()?;
    let name = |device: &Device| PEOPLE.iter().find(|name| user(name) == device.user).map(|name| (*name).to_owned());
    readers.iter().map(name).collect()
}

fn expected_readers(when: When) -> Option<Vec<&'static str>> {
    let names: &[&str] = match when {
        When::Before => &["alice", "bob", "carol", "dan"],
        When::ErinCame => &["alice", "bob", "carol", "dan", "erin"],
        When::AliceLeft => &["bob", "carol", "dan", "erin"],
        When::FrankCame | When::DanRekeyed => &["alice", "bob", "carol", "dan", "frank"],
        When::GraceCame => &["alice", "bob", "carol", "dan", "frank", "grace"],
        When::Healed => return None,
        When::Merged => &PEOPLE[1..],
    };
    Some(names.to_vec())
}

/// What was sent before one came may not be shown at all.
fn is_before(name: &str, when: When) -> bool {
    when == When::Before && ["erin", "frank", "grace"].contains(&name)
        || when < When::AliceLeft && name == "erin"
        || when < When::GraceCame && ["frank", "grace"].contains(&name)
}

/// An epoch and all that it descends from, by base or by resolves.
fn ancestors(view: &View, of: Option<EpochId>) -> BTreeSet<EpochId> {
    let (mut found, mut next) = (BTreeSet::new(), Vec::from_iter(of));
    while let Some(id) = next.pop() {
        if let Some(info) = view.log.iter().find(|info| info.epoch.id == id).filter(|_| found.insert(id)) {
            next.extend(info.base);
            next.extend(&info.resolves);
        }
    }
    found
}
