//! docs/MLS.md: for each row something good, and the same with exactly that broken.

mod commits;
mod external;
mod following;
mod frames;
mod infos;
mod keys;
mod leaves;
mod messages;
mod packages;
mod paths;

mod trees;
mod welcomes;

use std::cell::RefCell;

use super::forge::{Bend, Forged, Forger};
use super::world::{Chance, Member, Person, SUITE, finish, group};
use crate::entropy::{Entropy, EntropyError};
use crate::mls::wire::KeyPackage;
use crate::mls::{Entered, OwnPackage, Package, Plan, Refusal};
use crate::secret::Secret;

/// The group of all these tests.
const ROOM: &[u8] = b"room";

/// Five members in a tree of eight leaves, of which 5 to 7 are blank. Leaf 1 is unmerged at the parent of 0 to 3, and
/// the parent of 0 and 1 is blank. Members stand at their leaves' places.
pub(super) struct Scene {
    pub(super) members: Vec<Member>,
    pub(super) psk: Secret,
    chance: RefCell<Chance>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut chance = Chance::new("musts");
        let members = group(5, &mut chance);
        let psk = chance.secret();
        let mut scene = Self { members, psk, chance: RefCell::new(chance) };
        scene.commit(2, &[1], None);
        scene.commit(3, &[], None);
        let (person, package) = scene.newcomer("late");
        scene.commit(4, &[], Some((person, package)));
        scene.members.sort_by_key(|member| member.epoch.own());
        scene
    }

    /// Somebody outside, and a package of theirs.
    pub(super) fn newcomer(&self, name: &str) -> (Person, OwnPackage) {
        let person = self.person(name);
        let package = person.package(false, &mut self.chance.borrow_mut());
        (person, package)
    }

    pub(super) fn person(&self, name: &str) -> Person {
        Person::new(name, &mut self.chance.borrow_mut())
    }

    pub(super) fn chance(&self) -> Chance {
        Chance::new(&format!("{:x?}", self.chance.borrow_mut().bytes()))
    }

    fn commit(&mut self, by: u32, removes: &[u32], added: Option<(Person, OwnPackage)>) {
        let adds = added.iter().map(|(_, package)| Package::read(SUITE, &package.bytes()).unwrap()).collect();
        let plan = Plan { adds, removes: removes.to_vec(), psk_id: b"psk".to_vec(), ..Plan::default() };
        let at = self.members.iter().position(|member| member.epoch.own() == by).unwrap();
        let made = self.members[at].commit(plan, &self.psk, &mut self.chance.borrow_mut());
        self.members.retain(|member| !removes.contains(&member.epoch.own()));
        for member in self.members.iter_mut().filter(|member| member.epoch.own() != by) {
            assert!(member.take(&made.bytes, &self.psk));
        }
        let at = self.members.iter().position(|member| member.epoch.own() == by).unwrap();
        self.members[at].enter(made.entered);
        if let Some((person, package)) = added {
            self.members.push(person.join(&package, &made.welcome.unwrap(), None, &self.psk));
        }
    }

    /// Who makes commits of member 0.
    pub(super) fn forger(&self) -> Forger<'_> {
        Forger::member(&self.members[0], &self.psk)
    }

    /// What member 0 makes of this.
    pub(super) fn forge(&self, bend: Bend<'_>) -> Forged {
        self.forger().commit(bend)
    }

    /// What a member makes of a commit.
    pub(super) fn hear(&self, reader: usize, commit: &[u8]) -> Result<Entered, Refusal> {
        finish(&self.members[reader].epoch.read(commit)?, &self.psk)
    }

    /// Whether all others take a commit in.
    pub(super) fn accepted(&self, forged: &Forged) {
        for reader in 1..self.members.len() {
            let entered = self.hear(reader, &forged.bytes).unwrap();
            assert_eq!(entered.epoch.tree(), &forged.tree, "member {reader}");
        }
        assert!(self.members[0].epoch.public().read(&forged.bytes).is_ok());
    }

    /// Whether all others refuse a commit of member 0 for this reason, also who knows no secrets, and still take the same
    /// with nothing bent.
    #[track_caller]
    pub(super) fn refused(&self, bend: Bend<'_>, refusal: Refusal) {
        let plain = Bend { removes: bend.removes, adds: &[], ..Bend::none() };
        self.refused_unlike(plain, bend, refusal);
    }

    #[track_caller]
    pub(super) fn refused_unlike(&self, good: Bend<'_>, bend: Bend<'_>, refusal: Refusal) {
        self.good(good);
        let forged = self.forge(bend);
        for reader in 1..self.members.len() {
            assert_eq!(self.hear(reader, &forged.bytes).err(), Some(refusal), "member {reader}");
        }
        let public = self.members[0].epoch.public().read(&forged.bytes);
        assert_eq!(public.err(), Some(refusal), "who follows");
    }

    /// As [`Self::refused`], where only who has secrets can tell.
    #[track_caller]
    pub(super) fn refused_by_members(&self, bend: Bend<'_>, refusal: Refusal) {
        self.good(Bend { removes: bend.removes, adds: bend.adds, ..Bend::none() });
        let forged = self.forge(bend);
        for reader in 1..self.members.len() {
            assert_eq!(self.hear(reader, &forged.bytes).err(), Some(refusal), "member {reader}");
        }
    }

    fn good(&self, bend: Bend<'_>) {
        let good = self.forge(bend);
        for reader in (1..self.members.len()).filter(|reader| !bend.removes.contains(&(*reader as u32))) {
            let entered = self.hear(reader, &good.bytes).unwrap();
            assert_eq!(entered.epoch.tree(), &good.tree, "member {reader}");
        }
    }

    /// Who joins from outside.
    pub(super) fn joiner<'a>(&'a self, person: &'a Person) -> Forger<'a> {
        Forger::joiner(&self.members[0].epoch, person, &self.psk)
    }

    /// Whether all members refuse this external commit, and take the one that is not bent.
    #[track_caller]
    pub(super) fn joiner_refused(&self, person: &Person, bend: Bend<'_>, refusal: Refusal) {
        let good = self.joiner(person).commit(Bend { removes: bend.removes, ..Bend::none() });
        self.joiner_refused_unlike(&good, person, bend, refusal);
    }

    #[track_caller]
    pub(super) fn joiner_refused_unlike(&self, good: &Forged, person: &Person, bend: Bend<'_>, refusal: Refusal) {
        let forged = self.joiner(person).commit(bend);
        for reader in 2..self.members.len() {
            assert_eq!(self.hear(reader, &good.bytes).map(|entered| entered.epoch.own()), Ok(reader as u32));
            assert_eq!(self.hear(reader, &forged.bytes).err(), Some(refusal), "member {reader}");
        }
    }
}

/// The scene is what its description says.
#[test]
fn the_scene_has_blank_and_unmerged_leaves() {
    use crate::mls::tree::Place;
    let scene = Scene::new();
    let tree = scene.members[0].epoch.tree();
    assert_eq!((tree.members(), tree.height()), (5, 3));
    assert!(tree.key(Place::above(0, 1)).is_none() && tree.key(Place::above(0, 3)).is_some());
    assert!(tree.key(Place::above(0, 2)).is_some() && !tree.is_merged(Place::above(0, 2), 1));
    scene.accepted(&scene.forge(Bend::none()));
}

/// A package of a newcomer, bent.
pub(super) fn bent_package(scene: &Scene, bend: impl Fn(&mut KeyPackage)) -> KeyPackage {
    super::forge::package_with(&scene.person("new"), &mut scene.chance(), bend).1
}

/// Randomness that remembers what it gave.
pub(super) struct Recorded {
    chance: Chance,
    pub(super) drawn: Vec<Vec<u8>>,
}

impl Recorded {
    pub(super) fn new(chance: Chance) -> Self {
        Self { chance, drawn: Vec::new() }
    }
}

impl Entropy for Recorded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.chance.fill(out)?;
        self.drawn.push(out.to_vec());
        Ok(())
    }
}
