//! Devices that meet only in a folder of files: a memory stick that is carried about.
//!
//! Each device touches its own state and the folder it can reach, nothing else. Then there are two folders, and nobody
//! carries files between them: both sides go on, and their epochs fork. When the files are copied both ways the forks
//! merge by themselves.
//!
//! `cargo run -p dmls --example sneakernet [DIRECTORY]` leaves the folders in DIRECTORY to be looked at.
//!
//! What a real host must do better: here whoever can write into the folder says who is a member.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dmls::device::{Credential, OwnDevice, SigningKey};
use dmls::effect::{Applied, Outcome, OutgoingCommit, Publish, Readiness, Settled, Verdict};
use dmls::entropy::{Entropy, EntropyError};
use dmls::group::{Group, Orders, Settings};
use dmls::id::{Device, EpochId, GroupId, Locator, SignatureKey, Timestamp};
use dmls::input::{BaseProof, Desired, DesiredDevice, Input, Welcome};
use dmls::package::KeyPackages;
use dmls_store::MemoryStore;
use ed25519_dalek::Signer;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let directory =
        given.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("sneakernet-{}", std::process::id())));
    let (one, two) = (Folder::new(directory.join("one"))?, Folder::new(directory.join("two"))?);
    let played = play(&one, &two);
    if given.is_none() {
        fs::remove_dir_all(&directory)?;
    }
    played
}

fn play(one: &Folder, two: &Folder) -> Result<(), Failure> {
    let mut world = BTreeMap::new();
    for (name, folder) in [("alice", one), ("bob", one), ("carol", one), ("erin", one), ("frank", two)] {
        world.insert(name, Member::new(name, folder)?);
    }
    let mut act = |name: &str, act: &mut dyn FnMut(&mut Member) -> Result<(), Failure>| {
        world.get_mut(name).ok_or_else(|| Failure::from("nobody of that name")).and_then(act)
    };

    println!("-- Alice makes a group with Bob and Carol.");
    act("alice", &mut |alice| alice.found())?;
    for name in ["bob", "carol"] {
        act(name, &mut |member| member.enter())?;
    }
    act("alice", &mut |alice| alice.sync())?;
    act("alice", &mut |alice| alice.say("hello"))?;
    for name in ["bob", "carol"] {
        act(name, &mut |member| member.sync())?;
    }

    println!("-- Carol goes away with a copy of the folder. Bob lets Erin in; Carol lets Frank in.");
    one.copy_to(two)?;
    act("carol", &mut |carol| carol.move_to(two))?;
    act("erin", &mut |erin| erin.enter())?;
    act("bob", &mut |bob| bob.say("welcome, Erin"))?;
    act("frank", &mut |frank| frank.enter())?;
    act("carol", &mut |carol| carol.say("welcome, Frank"))?;
    for name in ["alice", "erin", "frank"] {
        act(name, &mut |member| member.sync())?;
    }

    println!("-- Carol comes back: the files are copied both ways.");
    one.copy_to(two)?;
    two.copy_to(one)?;
    for _ in 0..2 {
        for name in ["carol", "bob", "alice", "erin", "frank"] {
            act(name, &mut |member| member.sync())?;
            one.copy_to(two)?;
            two.copy_to(one)?;
        }
    }
    act("frank", &mut |frank| frank.say("all together"))?;
    two.copy_to(one)?;
    for name in ["alice", "bob", "carol", "erin"] {
        act(name, &mut |member| member.sync())?;
    }

    println!("-- The epochs, as Carol sees them:");
    act("carol", &mut |carol| {
        carol.log();
        Ok(())
    })?;
    let heads: BTreeSet<_> = world.values().map(|member| member.group.canonical()).collect();
    if heads.len() == 1 { Ok(()) } else { Err("they did not meet in one epoch".into()) }
}

/// A folder. A file's name says what it is; no file is ever changed.
///
/// `NAME.member`: MLS signature key. `NAME-N.package`, `.claimed` once used. `EPOCH.commit`. `EPOCH-NAME.welcome`.
/// `EPOCH-NAME-N.message`.
#[derive(Clone)]
struct Folder(PathBuf);

impl Folder {
    fn new(path: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Whole or not at all: another may be reading.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let half = self.0.join(format!(".{name}"));
        fs::write(&half, bytes)?;
        Ok(fs::rename(half, self.0.join(name))?)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Failure> {
        Ok(fs::read(self.0.join(name))?)
    }

    /// Names of all files of a kind, sorted.
    fn list(&self, kind: &str) -> Result<BTreeSet<String>, Failure> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Result<BTreeSet<_>, std::io::Error> = names.collect();
        Ok(names?.into_iter().filter(|name| !name.starts_with('.') && name.ends_with(kind)).collect())
    }

    fn copy_to(&self, other: &Self) -> Result<(), Failure> {
        for name in self.list("")?.difference(&other.list("")?) {
            other.write(name, &self.read(name)?)?;
        }
        Ok(())
    }

    /// Takes a key package of `user` that nobody took.
    fn claim(&self, user: &str) -> Result<Option<Vec<u8>>, Failure> {
        for name in self.list(".package")?.iter().filter(|name| name.starts_with(&format!("{user}-"))) {
            let mark = Path::new(name).with_extension("claimed");
            if fs::OpenOptions::new().write(true).create_new(true).open(self.0.join(mark)).is_ok() {
                return self.read(name).map(Some);
            }
        }
        Ok(None)
    }
}

/// One device: its state, and the folder it can reach.
struct Member {
    own: Arc<OwnDevice>,
    group: Group,
    packages: KeyPackages,
    store: MemoryStore,
    folder: Folder,
    seen: BTreeSet<String>,
}

impl Member {
    fn new(user: &str, folder: &Folder) -> Result<Self, Failure> {
        let long_term = ed25519_dalek::SigningKey::from_bytes(&SigningKey::generate(&mut Os)?.to_bytes());
        let (device, key) = (Device::new(user, "LAPTOP"), SigningKey::generate(&mut Os)?);
        let signature = long_term.sign(&Credential::payload(&device, &key.public(), 0)).to_bytes();
        let own = Arc::new(OwnDevice::new(key, device, long_term.verifying_key().to_bytes(), 0, signature)?);
        let group = Group::new(GroupId::new("sneakernet"), own.clone(), Settings::default());
        let (packages, store) = (KeyPackages::default(), MemoryStore::new());
        Ok(Self { own, group, packages, store, folder: folder.clone(), seen: BTreeSet::new() })
    }

    fn user(&self) -> &str {
        &self.own.device().user
    }

    /// Shows oneself in the folder, as someone who may read and can be added.
    fn enter(&mut self) -> Result<(), Failure> {
        let made = self.packages.generate(&self.own, 4, false, &mut Os)?.persist(&mut self.store)?;
        for (number, package) in made.into_iter().enumerate() {
            self.folder.write(&format!("{}-{number}.package", self.user()), &package.bytes)?;
        }
        self.folder.write(&format!("{}.member", self.user()), &self.own.key().0)
    }

    fn found(&mut self) -> Result<(), Failure> {
        self.enter()?;
        let outcome = self.group.create(now(), &mut Os)?.persist(&mut self.store)?;
        self.act_on(outcome)
    }

    fn move_to(&mut self, folder: &Folder) -> Result<(), Failure> {
        self.folder = folder.clone();
        Ok(())
    }

    /// Takes in what is new, then does what is due.
    fn sync(&mut self) -> Result<(), Failure> {
        self.handle(Input::Desired(self.desired()?))?;
        for name in self.folder.list(&format!("-{}.welcome", self.user()))? {
            self.join(&name)?;
        }
        for name in self.folder.list(".commit")?.into_iter().chain(self.folder.list(".message")?) {
            if self.seen.insert(name.clone()) {
                self.take(&name)?;
            }
        }
        if self.group.due(now()).at.is_some() { self.commit() } else { Ok(()) }
    }

    /// Here everybody in the folder may read.
    fn desired(&self) -> Result<Desired, Failure> {
        let mut desired = Desired::default();
        for name in self.folder.list(".member")? {
            let key = SignatureKey(self.folder.read(&name)?.as_slice().try_into()?);
            let user = name.trim_end_matches(".member");
            desired.devices.insert(Device::new(user, "LAPTOP"), DesiredDevice { key, joined: Locator(name.clone()) });
        }
        Ok(desired)
    }

    fn take(&mut self, name: &str) -> Result<(), Failure> {
        let (bytes, locator) = (self.folder.read(name)?, Locator(name.to_owned()));
        self.handle(match name.ends_with(".commit") {
            // For the caps only; what counts is signed.
            true => Input::Commit { bytes, locator: Some(locator), from: "folder".to_owned() },
            false => {
                let from = name.split('-').nth(1).ok_or("not named after its sender")?.to_owned();
                Input::Message { bytes, locator, from, commit: None }
            }
        })
    }

    fn handle(&mut self, input: Input) -> Result<(), Failure> {
        let outcome = self.group.handle(input, now(), &mut Os)?.persist(&mut self.store)?;
        self.act_on(outcome)
    }

    /// All that follows from an input. Requests of other members cannot come: a folder has no private channel.
    fn act_on(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let settled = outcome.settled.into_iter().map(|Settled { verdict, .. }| verdict);
        for verdict in settled.chain([outcome.verdict]) {
            if let Verdict::Applied(Applied::Message(read)) = verdict {
                println!("{} reads of {}: {}", self.user(), read.device.user, str::from_utf8(&read.plaintext)?);
            }
        }
        for publish in outcome.publish {
            if let Publish::Commit(commit) = publish {
                self.publish(*commit)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, commit: OutgoingCommit) -> Result<(), Failure> {
        let epoch = commit.epoch.id;
        let name = format!("{}.commit", hex(&epoch));
        self.folder.write(&name, &commit.bytes)?;
        self.seen.insert(name.clone());
        self.handle(Input::Published { epoch, locator: Locator(name) })?;
        for welcome in commit.welcomes {
            let BaseProof { confirmed_transcript_hash, confirmation_tag } = &welcome.base;
            let parts = join([&welcome.bytes.to_vec(), confirmed_transcript_hash, confirmation_tag, &welcome.grant]);
            self.folder.write(&format!("{}-{}.welcome", hex(&epoch), welcome.to.user), &parts)?;
        }
        Ok(())
    }

    fn join(&mut self, name: &str) -> Result<(), Failure> {
        let commit = format!("{}.commit", name.split('-').next().unwrap_or_default());
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let [bytes, confirmed_transcript_hash, confirmation_tag, grant] = split(&self.folder.read(name)?)?;
        let base = BaseProof { confirmed_transcript_hash, confirmation_tag };
        let (epoch, locator) = (unhex(&commit)?, Locator(commit.clone()));
        let welcome = Welcome { bytes, commit: self.folder.read(&commit)?, locator, epoch, base, grant };
        let outcome = self.group.join(welcome, &mut self.packages, now(), &mut Os)?.persist(&mut self.store)?;
        self.act_on(outcome)
    }

    /// One commit that does everything that is due.
    fn commit(&mut self) -> Result<(), Failure> {
        let mut packages = Vec::new();
        for device in self.group.due(now()).add {
            let claimed = self.folder.claim(&device.user)?;
            packages.extend(claimed.map(|package| (device, package)));
        }
        let orders = Orders { packages, update: false };
        let outcome = self.group.carry_out(orders, now(), &mut Os)?.persist(&mut self.store)?;
        self.act_on(outcome)
    }

    fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.sync()?;
        if matches!(self.group.readiness(), Readiness::CommitFirst(_)) {
            self.commit()?;
        }
        println!("{} says: {text}", self.user());
        let sealed = self.group.seal(&mut |_| text.as_bytes().to_vec(), now(), &mut Os)?.persist(&mut self.store)?;
        let name = format!("{}-{}-{}.message", hex(&sealed.epoch.id), self.user(), sealed.sequence.0);
        self.seen.insert(name.clone());
        self.folder.write(&name, &sealed.bytes)
    }

    fn log(&self) {
        for info in self.group.epochs().iter().rev() {
            let mark = if info.canonical { '@' } else { '*' };
            let parents: Vec<_> = info.base.iter().chain(&info.resolves).map(ToString::to_string).collect();
            let added: Vec<_> = info.added.iter().map(|device| format!(" +{}", device.user)).collect();
            let (id, number, creator) = (info.epoch.id, info.number.0, &info.creator.user);
            let (kind, added, parents) = (info.kind.word(), added.concat(), parents.join(", "));
            println!("{mark} {id} {number}:{creator} {kind}{added} <- {parents}");
        }
    }
}

/// The operating system's randomness.
struct Os;

impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

fn hex(epoch: &EpochId) -> String {
    epoch.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(name: &str) -> Result<EpochId, Failure> {
    let digits = name.get(..64).ok_or("not named after an epoch")?;
    let bytes: Result<Vec<_>, _> = (0..32).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16)).collect();
    EpochId::parse(&bytes?).ok_or_else(|| "not named after an epoch".into())
}

/// Each part after its length.
fn join(parts: [&Vec<u8>; 4]) -> Vec<u8> {
    let one = |part: &Vec<u8>| [&(part.len() as u64).to_be_bytes(), part.as_slice()].concat();
    parts.into_iter().flat_map(one).collect()
}

fn split(mut rest: &[u8]) -> Result<[Vec<u8>; 4], Failure> {
    let mut parts = [const { Vec::new() }; 4];
    for part in &mut parts {
        let (length, after) = rest.split_first_chunk().ok_or("a cut file")?;
        let (head, tail) = after.split_at_checked(u64::from_be_bytes(*length) as usize).ok_or("a cut file")?;
        (*part, rest) = (head.to_vec(), tail);
    }
    Ok(parts)
}
