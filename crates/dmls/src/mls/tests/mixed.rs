//! Random games of a group whose members are ours and another implementation's: everybody agrees after every commit.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{HashMap, VecDeque};

use super::super::wire::{GroupContext, GroupInfo, WireFormat, body, decode, extension_type};
use super::super::{Door, Forest, OwnPackage, Package, Plan, Public, Tree};
use super::world::{Chance, Identity, Member, Person, SUITE};
use crate::secret::Secret;

/// A member of another implementation, or a device that may become one.
pub(super) trait Peer {
    fn found(&mut self, group: &[u8]);
    fn key_package(&mut self) -> Vec<u8>;
    fn learn(&mut self, psk_id: &[u8], psk: &Secret);
    /// `tree` if it is not in the Welcome.
    fn join(&mut self, welcome: &[u8], tree: Option<&[u8]>);
    /// Gives the commit; `old_leaf` is that of this device if it is still there.
    fn join_externally(&mut self, door: &Entrance<'_>) -> Vec<u8>;
    /// Gives the commit and the Welcome, and enters what it made.
    fn commit(&mut self, work: &Work<'_>) -> (Vec<u8>, Option<Vec<u8>>);
    /// Whether this device is still in the group.
    fn take(&mut self, commit: &[u8]) -> bool;
    fn leaf(&self) -> u32;
    fn tree(&self) -> Vec<u8>;
    fn info(&mut self, with_tree: bool) -> Vec<u8>;
    /// The single-use export of the merge component, if the implementation has that.
    fn merge_export(&mut self) -> Option<Vec<u8>>;
    fn seal(&mut self, authenticated: &[u8], text: &[u8]) -> Vec<u8>;
    fn open(&mut self, message: &[u8]) -> (u32, Vec<u8>);
}

/// What a commit is to do.
pub(super) struct Work<'a> {
    pub(super) packages: &'a [Vec<u8>],
    pub(super) removes: &'a [u32],
    pub(super) psk_id: &'a [u8],
}

/// Where an external commit enters.
pub(super) struct Entrance<'a> {
    pub(super) info: &'a [u8],
    /// Unless it is in there.
    pub(super) tree: Option<&'a [u8]>,
    pub(super) old_leaf: Option<u32>,
    pub(super) psk_id: Option<&'a [u8]>,
}

/// What a game's peer is like.
pub(super) struct PeerKind {
    pub(super) identity: Identity,
    pub(super) tree_in_welcome: bool,
}

/// What was played.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) commits_by_us: usize,
    pub(super) commits_by_them: usize,
    pub(super) external_by_us: usize,
    pub(super) external_by_them: usize,
    pub(super) came_back: usize,
    pub(super) we_read_theirs: usize,
    pub(super) they_read_ours: usize,
    pub(super) we_joined_theirs: usize,
    pub(super) they_joined_ours: usize,
    pub(super) removed: usize,
    pub(super) we_opened_theirs: usize,
    pub(super) they_opened_ours: usize,
    pub(super) trees_compared: usize,
    pub(super) trees_stored: usize,
    pub(super) largest: usize,
}

impl Counts {
    pub(super) fn commits(&self) -> usize {
        self.commits_by_us + self.commits_by_them + self.external_by_us + self.external_by_them
    }
}

/// How many commits to play: a few hundred, or what the environment says.
pub(super) fn commits_wanted() -> usize {
    std::env::var("DMLS_MIXED_COMMITS").map_or(300, |count| count.parse().unwrap())
}

/// Games with groups of different sizes, until there are `commits`.
pub(super) fn play<P: Peer>(name: &str, commits: usize, peer: &dyn Fn(PeerKind) -> P) -> Counts {
    let length = (commits / 40).max(50);
    let mut counts = Counts::default();
    for game in 0..commits.div_ceil(length) {
        let most = [5, 12, 3, 24, 8, 60][game % 6];
        let mut room = Room::open(&format!("{name} {game}"), most, peer, counts);
        for _ in 0..length.min(commits - game * length) {
            room.step();
        }
        counts = room.counts;
    }
    println!("{name}: {} commits, {counts:?}", counts.commits());
    counts
}

/// The same of every member: GroupContext, confirmation tag and external key, the last of which only those can work out
/// who have the epoch's secret.
#[derive(Debug, PartialEq)]
struct Summary {
    context: GroupContext,
    tag: Vec<u8>,
    external_key: Vec<u8>,
}

fn summary(info: &[u8]) -> Summary {
    let info: GroupInfo = decode(body(info, WireFormat::GroupInfo).unwrap()).unwrap();
    let external = info.extensions.iter().find(|extension| extension.extension_type == extension_type::EXTERNAL_PUB);
    Summary {
        context: info.context,
        tag: info.confirmation_tag.as_slice().to_vec(),
        external_key: external.unwrap().data.as_slice().to_vec(),
    }
}

/// Somebody who is to come in by Welcome.
enum Newcomer<P> {
    Ours(Person, Box<OwnPackage>),
    Theirs(Them<P>),
}

struct Them<P> {
    peer: P,
    /// Whether we know whose device it is.
    is_device: bool,
    tree_in_welcome: bool,
}

/// The trees of the last epochs as they are stored: each node once.
#[derive(Default)]
struct Store {
    forest: Forest,
    records: HashMap<[u8; 32], Vec<u8>>,
    held: VecDeque<Tree>,
}

impl Store {
    const HELD: usize = 3;

    /// Takes a tree in, lets the oldest go, and gives the tree as it is read back from the records alone.
    fn keep(&mut self, tree: &Tree) -> Tree {
        let new = self.forest.plant(tree);
        self.records.extend(new.into_iter().map(|record| (record.name, record.bytes)));
        self.held.push_back(tree.clone());
        if self.held.len() > Self::HELD {
            for name in self.forest.fell(&self.held.pop_front().unwrap()) {
                assert!(self.records.remove(&name).is_some());
            }
        }
        assert_eq!(self.records.len(), self.forest.len());
        let mut get = |name: &[u8; 32]| self.records.get(name).cloned();
        Forest::default().load(SUITE, tree.hash(), tree.height(), &mut get).unwrap()
    }
}

struct Room<'a, P> {
    name: String,
    most: usize,
    new_peer: &'a dyn Fn(PeerKind) -> P,
    chance: Chance,
    ours: Vec<Member>,
    theirs: Vec<Them<P>>,
    /// Followed with nothing but what is public.
    public: Public,
    store: Store,
    named: usize,
    psk_id: Vec<u8>,
    psk: Secret,
    counts: Counts,
}

impl<'a, P: Peer> Room<'a, P> {
    fn open(name: &str, most: usize, new_peer: &'a dyn Fn(PeerKind) -> P, counts: Counts) -> Self {
        let mut chance = Chance::new(name);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let info = if chance.one_in(2) {
            ours.push(Person::new("founder", &mut chance).found(name.as_bytes(), &mut chance));
            ours[0].info(true)
        } else {
            let identity = Identity::device("founder", &mut chance);
            let mut peer = new_peer(PeerKind { identity, tree_in_welcome: true });
            peer.found(name.as_bytes());
            let info = peer.info(true);
            theirs.push(Them { peer, is_device: true, tree_in_welcome: true });
            info
        };
        let public = Door::read(SUITE, &info, None).unwrap().public().clone();
        let psk = chance.secret();
        let (name, psk_id, store) = (name.to_owned(), Vec::new(), Store::default());
        Self { name, most, new_peer, chance, ours, theirs, public, store, named: 0, psk_id, psk, counts }
    }

    fn members(&self) -> usize {
        self.ours.len() + self.theirs.len()
    }

    fn step(&mut self) {
        self.psk_id = format!("{} {}", self.name, self.counts.commits()).into_bytes();
        self.psk = self.chance.secret();
        for them in &mut self.theirs {
            them.peer.learn(&self.psk_id, &self.psk);
        }
        if self.members() < self.most && self.chance.one_in(5) {
            self.external_commit();
        } else if self.members() > 1 && self.chance.one_in(12) {
            self.come_back();
        } else {
            self.member_commit();
        }
        self.counts.largest = self.counts.largest.max(self.members());
        self.check();
        self.talk();
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("{} {}", self.name, self.named)
    }

    fn peer(&mut self) -> Them<P> {
        let (name, is_device) = (self.name(), !self.chance.one_in(3));
        let identity = if is_device {
            Identity::device(&name, &mut self.chance)
        } else {
            Identity::stranger(&name, &mut self.chance)
        };
        let tree_in_welcome = self.chance.one_in(2);
        let mut peer = (self.new_peer)(PeerKind { identity, tree_in_welcome });
        peer.learn(&self.psk_id, &self.psk);
        Them { peer, is_device, tree_in_welcome }
    }

    /// A GroupInfo by anybody, with the tree in it or apart.
    fn entrance(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let (at, with_tree) = (self.chance.below(self.members()), self.chance.one_in(2));
        let tree = (!with_tree).then(|| self.public.tree().export());
        let info = match at.checked_sub(self.ours.len()) {
            None => self.ours[at].info(with_tree),
            Some(at) => self.theirs[at].peer.info(with_tree),
        };
        (info, tree)
    }

    /// Somebody new comes in by external commit.
    fn external_commit(&mut self) {
        let entrance = self.entrance();
        if self.chance.one_in(2) {
            let name = self.name();
            let person = Person::new(&name, &mut self.chance);
            self.enter_ours(person, &entrance);
        } else {
            let them = self.peer();
            self.enter_theirs(them, None, &entrance);
        }
    }

    /// A member that lost its state comes in again, and its old leaf goes.
    fn come_back(&mut self) {
        let at = self.chance.below(self.members());
        let entrance = self.entrance();
        match at.checked_sub(self.ours.len()) {
            None => {
                let person = self.ours.swap_remove(at).person;
                self.enter_ours(person, &entrance);
            }
            // Whose device we do not know has no old leaf for us.
            Some(at) if !self.theirs[at].is_device => return self.member_commit(),
            Some(at) => {
                let them = self.theirs.swap_remove(at);
                let leaf = them.peer.leaf();
                self.enter_theirs(them, Some(leaf), &entrance);
            }
        }
        self.counts.came_back += 1;
    }

    fn enter_ours(&mut self, person: Person, (info, tree): &(Vec<u8>, Option<Vec<u8>>)) {
        let door = Door::read(SUITE, info, tree.as_deref()).unwrap();
        let psk = self.chance.one_in(2).then_some((&self.psk_id[..], &self.psk));
        let (member, commit) = person.join_externally(door, psk, &mut self.chance);
        self.counts.external_by_us += 1;
        self.deliver(&commit, None, true);
        self.ours.push(member);
    }

    fn enter_theirs(&mut self, mut them: Them<P>, old_leaf: Option<u32>, (info, tree): &(Vec<u8>, Option<Vec<u8>>)) {
        let psk_id = self.chance.one_in(2).then_some(&self.psk_id[..]);
        let commit = them.peer.join_externally(&Entrance { info, tree: tree.as_deref(), old_leaf, psk_id });
        self.counts.external_by_them += 1;
        self.deliver(&commit, None, false);
        self.theirs.push(them);
    }

    /// A member commits: some come, some go.
    fn member_commit(&mut self) {
        let at = self.chance.below(self.members());
        let newcomers = self.newcomers();
        let packages: Vec<Vec<u8>> = newcomers.iter().map(|(_, package)| package.clone()).collect();
        let removes = self.leaving(at);
        match at.checked_sub(self.ours.len()) {
            None => {
                let adds = packages.iter().map(|package| Package::read(SUITE, package).unwrap()).collect();
                let authenticated_data = b"ours".to_vec();
                let plan = Plan { adds, removes, psk_id: self.psk_id.clone(), authenticated_data };
                let made = self.ours[at].commit(plan, &self.psk, &mut self.chance);
                self.counts.commits_by_us += 1;
                self.deliver(&made.bytes, Some(at), true);
                let member = self.ours.iter_mut().find(|member| member.epoch.own() == made.entered.epoch.own());
                member.unwrap().enter(made.entered);
                self.welcome(newcomers, made.welcome, true, true);
            }
            Some(theirs) => {
                let work = Work { packages: &packages, removes: &removes, psk_id: &self.psk_id };
                let them = &mut self.theirs[theirs];
                let (commit, welcome) = them.peer.commit(&work);
                let with_tree = them.tree_in_welcome;
                self.counts.commits_by_them += 1;
                self.deliver(&commit, Some(at), false);
                self.welcome(newcomers, welcome, with_tree, false);
            }
        }
    }

    fn newcomers(&mut self) -> Vec<(Newcomer<P>, Vec<u8>)> {
        let room = self.most.saturating_sub(self.members()).min(4);
        let count = if room == 0 || self.chance.one_in(3) { 0 } else { 1 + self.chance.below(room) };
        (0..count).map(|_| self.newcomer()).collect()
    }

    fn newcomer(&mut self) -> (Newcomer<P>, Vec<u8>) {
        if self.chance.one_in(2) {
            let name = self.name();
            let person = Person::new(&name, &mut self.chance);
            let last_resort = self.chance.one_in(2);
            let package = person.package(last_resort, &mut self.chance);
            let bytes = package.bytes();
            return (Newcomer::Ours(person, Box::new(package)), bytes);
        }
        let mut them = self.peer();
        let bytes = them.peer.key_package();
        (Newcomer::Theirs(them), bytes)
    }

    /// The leaves to be removed by the member `at`: the fuller the group, the more.
    fn leaving(&mut self, at: usize) -> Vec<u32> {
        let mut leaves: Vec<u32> = self.ours.iter().map(|member| member.epoch.own()).collect();
        leaves.extend(self.theirs.iter().map(|them| them.peer.leaf()));
        leaves.remove(at);
        let is_full = self.members() >= self.most;
        let most = if is_full { leaves.len() } else { leaves.len() / 3 };
        if most == 0 || !is_full && self.chance.one_in(2) {
            return Vec::new();
        }
        let count = 1 + self.chance.below(most);
        (0..count).map(|_| leaves.swap_remove(self.chance.below(leaves.len()))).collect()
    }

    /// Everybody but the member `by` takes a commit in, and so does who knows no secrets.
    fn deliver(&mut self, commit: &[u8], by: Option<usize>, by_us: bool) {
        self.public = self.public.read(commit).unwrap().into_public();
        let before = self.members();
        let ours = std::mem::take(&mut self.ours);
        let count = ours.len();
        for (at, mut member) in ours.into_iter().enumerate() {
            if by == Some(at) || member.take(commit, &self.psk) {
                self.ours.push(member);
            }
        }
        for (at, mut them) in std::mem::take(&mut self.theirs).into_iter().enumerate() {
            if by == Some(count + at) || them.peer.take(commit) {
                self.theirs.push(them);
            }
        }
        let (us, them) = (self.ours.len(), self.theirs.len());
        if by_us {
            self.counts.they_read_ours += them;
        } else {
            self.counts.we_read_theirs += us;
        }
        self.counts.removed += before - us - them;
    }

    fn welcome(
        &mut self,
        newcomers: Vec<(Newcomer<P>, Vec<u8>)>,
        welcome: Option<Vec<u8>>,
        with_tree: bool,
        by_us: bool,
    ) {
        assert_eq!(newcomers.is_empty(), welcome.is_none());
        let Some(welcome) = welcome else { return };
        let apart = self.public.tree().export();
        let tree = (!with_tree).then_some(&apart[..]);
        for (newcomer, _) in newcomers {
            match newcomer {
                Newcomer::Ours(person, package) => {
                    self.ours.push(person.join(&package, &welcome, tree, &self.psk));
                    self.counts.we_joined_theirs += usize::from(!by_us);
                }
                Newcomer::Theirs(mut them) => {
                    them.peer.join(&welcome, tree);
                    self.theirs.push(them);
                    self.counts.they_joined_ours += usize::from(by_us);
                }
            }
        }
    }

    /// Trees to the byte, contexts, tags, external keys and merge exports are the same for everybody.
    fn check(&mut self) {
        let at = format!("{} after {} commits", self.name, self.counts.commits());
        let tree = self.public.tree().export();
        let imported = Tree::import(SUITE, self.public.context.group_id.as_slice(), &tree).unwrap();
        assert_eq!(imported, *self.public.tree(), "{at}");
        assert_eq!(self.store.keep(&imported).export(), tree, "{at}");
        self.counts.trees_stored += 1;
        let mut summaries = Vec::new();
        let mut exports = Vec::new();
        for member in &self.ours {
            assert_eq!(member.epoch.tree().export(), tree, "{at}");
            summaries.push(summary(&member.info(false)));
            exports.push(member.merge_export.expose().to_vec());
        }
        for them in &mut self.theirs {
            assert_eq!(them.peer.tree(), tree, "{at}");
            summaries.push(summary(&them.peer.info(false)));
            exports.extend(them.peer.merge_export());
        }
        assert!(summaries.iter().all(|summary| summary.context == *self.public.context), "{at}");
        assert!(summaries.windows(2).all(|pair| pair[0] == pair[1]), "{at}");
        assert!(exports.windows(2).all(|pair| pair[0] == pair[1]), "{at}");
        self.counts.trees_compared += summaries.len();
    }

    /// Two members send some messages, which all others open, the last one first.
    fn talk(&mut self) {
        for _ in 0..2 {
            let at = self.chance.below(self.members());
            let texts: Vec<Vec<u8>> = (0..1 + self.chance.below(3)).map(|n| format!("text {n}").into_bytes()).collect();
            let theirs = at.checked_sub(self.ours.len());
            let leaf = match theirs {
                None => self.ours[at].epoch.own(),
                Some(at) => self.theirs[at].peer.leaf(),
            };
            let sealed: Vec<Vec<u8>> = texts.iter().map(|text| self.seal(at, text)).collect();
            for (text, message) in texts.iter().zip(&sealed).rev() {
                self.everybody_opens(at, leaf, text, message);
            }
        }
    }

    fn seal(&mut self, at: usize, text: &[u8]) -> Vec<u8> {
        match at.checked_sub(self.ours.len()) {
            None => self.ours[at].seal(b"beside", text, &mut self.chance),
            Some(at) => self.theirs[at].peer.seal(b"beside", text),
        }
    }

    fn everybody_opens(&mut self, by: usize, leaf: u32, text: &[u8], message: &[u8]) {
        let count = self.ours.len();
        for (at, member) in self.ours.iter_mut().enumerate().filter(|(at, _)| *at != by) {
            assert_eq!(member.open(message), (leaf, text.to_vec()), "{} by {by} to {at}", self.name);
            self.counts.we_opened_theirs += usize::from(by >= count);
        }
        for (at, them) in self.theirs.iter_mut().enumerate().filter(|(at, _)| count + *at != by) {
            assert_eq!(them.peer.open(message), (leaf, text.to_vec()), "{} by {by} to {at}", self.name);
            self.counts.they_opened_ours += usize::from(by < count);
        }
    }
}
