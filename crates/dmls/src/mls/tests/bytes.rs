//! Every byte counts: three bits of each are flipped in all that is read, and all of it is cut short.
#![allow(clippy::unwrap_used)]

use super::super::wire::{TreeNode, decode, encode};
use super::super::{Door, Invitation, OwnPackage, Package, Plan, Refusal, Tree};
use super::world::{Chance, Member, Person, SUITE, finish, group};
use crate::secret::Secret;

/// A group whose tree has blank leaves and parents, unmerged leaves, and parents of all ages.
struct Scene {
    chance: Chance,
    members: Vec<Member>,
}

impl Scene {
    fn new(name: &str) -> Self {
        let mut chance = Chance::new(name);
        let members = group(7, &mut chance);
        let mut scene = Self { chance, members };
        scene.commit(3, &[], 0);
        scene.commit(6, &[1, 4], 0);
        scene.commit(2, &[], 0);
        scene.commit(6, &[], 1);
        scene
    }

    fn at(&self, leaf: u32) -> usize {
        self.members.iter().position(|member| member.epoch.own() == leaf).unwrap()
    }

    /// The member at this leaf commits, and everybody enters.
    fn commit(&mut self, leaf: u32, removes: &[u32], adds: usize) {
        let (people, packages) = self.newcomers(adds);
        let psk = self.chance.secret();
        let made = self.members[self.at(leaf)].commit(plan(removes, &packages), &psk, &mut self.chance);
        let by = self.at(leaf);
        for member in &mut self.members {
            if member.epoch.own() != leaf && !removes.contains(&member.epoch.own()) {
                assert!(member.take(&made.bytes, &psk));
            }
        }
        self.members[by].enter(made.entered);
        self.members.retain(|member| !removes.contains(&member.epoch.own()));
        for (person, package) in people.into_iter().zip(packages) {
            self.members.push(person.join(&package, made.welcome.as_ref().unwrap(), None, &psk));
        }
    }

    fn newcomers(&mut self, count: usize) -> (Vec<Person>, Vec<OwnPackage>) {
        let named = |_| format!("{:x?}", &self.chance.bytes()[..4]);
        let names: Vec<String> = (0..count).map(named).collect();
        let people: Vec<Person> = names.iter().map(|name| Person::new(name, &mut self.chance)).collect();
        let packages = people.iter().map(|person| person.package(false, &mut self.chance)).collect();
        (people, packages)
    }
}

fn plan(removes: &[u32], packages: &[OwnPackage]) -> Plan {
    let adds = packages.iter().map(|package| Package::read(SUITE, &package.bytes()).unwrap()).collect();
    Plan { adds, removes: removes.to_vec(), psk_id: b"psk".to_vec(), authenticated_data: b"data".to_vec() }
}

/// These bytes with one bit flipped, for three bits of each byte; with the place of the byte.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let places = (0..bytes.len()).flat_map(|at| [0, 3, 6].map(|step| (at, (at + step) % 8)));
    places.map(|(at, bit)| {
        let mut other = bytes.to_vec();
        other[at] ^= 1 << bit;
        (at, other)
    })
}

/// All beginnings of these bytes, and these bytes with another one after them.
fn of_other_length(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let longer = [bytes, &[0]].concat();
    (0..bytes.len()).map(|end| bytes[..end].to_vec()).chain([longer])
}

/// The places of the bytes of which some flipped bit was not refused.
fn accepted<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, Refusal>) -> Vec<usize> {
    for other in of_other_length(bytes) {
        assert!(read(&other).is_err(), "of {} bytes, {} were taken", bytes.len(), other.len());
    }
    assert!(read(bytes).is_ok());
    let mut places: Vec<usize> = flipped(bytes).filter(|(_, other)| read(other).is_ok()).map(|(at, _)| at).collect();
    places.dedup();
    places
}

fn place_of(part: &[u8], bytes: &[u8]) -> std::ops::Range<usize> {
    let at = bytes.windows(part.len()).position(|window| window == part).unwrap();
    at..at + part.len()
}

const NOWHERE: [usize; 0] = [];

/// A member refuses another commit than the one that was made. Who knows no secrets cannot check the two tags, and
/// refuses all else.
#[test]
fn no_byte_of_a_commit_can_be_changed() {
    let mut scene = Scene::new("commit");
    let (_, packages) = scene.newcomers(2);
    let psk = scene.chance.secret();
    let made = scene.members[0].commit(plan(&[5], &packages), &psk, &mut scene.chance);
    let reader = &scene.members[scene.at(3)];
    assert_eq!(accepted(&made.bytes, |bytes| finish(&reader.epoch.read(bytes)?, &psk)), NOWHERE);

    let tags = made.bytes.len() - 33 - 32..made.bytes.len();
    let public = accepted(&made.bytes, |bytes| reader.epoch.public().read(bytes));
    assert_eq!(public, tags.filter(|at| *at != made.bytes.len() - 33).collect::<Vec<_>>());
}

/// Another PSK, or none, is no way in.
#[test]
fn a_commit_holds_with_its_own_psk_alone() {
    let mut scene = Scene::new("psk");
    let psk = scene.chance.secret();
    let made = scene.members[0].commit(plan(&[], &[]), &psk, &mut scene.chance);
    let draft = scene.members[1].epoch.read(&made.bytes).unwrap();
    let other = scene.chance.secret();
    assert_eq!(draft.finish(Some(&other)).err(), Some(Refusal::ConfirmationTag));
    assert_eq!(draft.finish(None).err(), Some(Refusal::Psk));
    assert!(draft.finish(Some(&psk)).is_ok());
}

#[test]
fn no_byte_of_an_external_commit_can_be_changed() {
    let mut scene = Scene::new("external");
    let psk = scene.chance.secret();
    let door = Door::read(SUITE, &scene.members[0].info(true), None).unwrap();
    let person = Person::new("external", &mut scene.chance);
    let (_, commit) = person.join_externally(door, Some((b"psk", &psk)), &mut scene.chance);
    let reader = &scene.members[scene.at(3)];
    assert_eq!(accepted(&commit, |bytes| finish(&reader.epoch.read(bytes)?, &psk)), NOWHERE);
}

/// A Welcome's secrets for others mean nothing to a newcomer: it comes into the same epoch whatever they are.
#[test]
fn only_what_is_for_others_can_be_changed_in_a_welcome() {
    let mut scene = Scene::new("welcome");
    let (_, packages) = scene.newcomers(3);
    let psk = scene.chance.secret();
    let made = scene.members[0].commit(plan(&[], &packages), &psk, &mut scene.chance);
    let welcome = made.welcome.unwrap();
    let enter = |bytes: &[u8]| Invitation::open(SUITE, bytes, &packages[1])?.enter(&psk, None);
    let epoch = made.entered.epoch;
    let same = |bytes: &[u8]| {
        let entered = enter(bytes)?;
        assert_eq!(entered.epoch.tree(), epoch.tree());
        assert_eq!(entered.epoch.public().context, epoch.public().context);
        assert_eq!(entered.merge_export, made.entered.merge_export);
        Ok(())
    };
    let references = [0, 1, 2].map(|at| place_of(&packages[at].reference(), &welcome));
    // A reference begins with its length, and its ciphertext goes to the next one's.
    let for_others = |at: &usize| {
        (references[0].start..references[1].start - 1).contains(at)
            || references[2].start <= *at && *at < references[2].end + 200
    };
    let places = accepted(&welcome, same);
    assert!(places.iter().all(for_others), "{places:?}");
    // All that is not a length there.
    assert!(references[0].clone().chain(references[2].clone()).all(|at| places.contains(&at)));
    assert_eq!(enter(&welcome[..4]).err(), Some(Refusal::Malformed));
    let other: Secret = scene.chance.secret();
    assert!(Invitation::open(SUITE, &welcome, &packages[1]).unwrap().enter(&other, None).is_err());
}

#[test]
fn no_byte_of_a_group_info_can_be_changed() {
    let scene = Scene::new("info");
    let info = scene.members[1].info(true);
    assert_eq!(accepted(&info, |bytes| Door::read(SUITE, bytes, None)), NOWHERE);
}

/// With its tree apart neither can be changed alone.
#[test]
fn no_byte_of_a_tree_can_be_changed_under_its_group_info() {
    let scene = Scene::new("apart");
    let (info, tree) = (scene.members[1].info(false), scene.members[1].epoch.tree().export());
    assert_eq!(accepted(&info, |bytes| Door::read(SUITE, bytes, Some(&tree))), NOWHERE);
    assert_eq!(accepted(&tree, |bytes| Door::read(SUITE, &info, Some(bytes))), NOWHERE);
}

/// By its own rules alone, too, this tree is the only one in reach of a bit.
#[test]
fn no_byte_of_a_tree_can_be_changed() {
    let scene = Scene::new("tree");
    let tree = scene.members[0].epoch.tree();
    assert_eq!(accepted(&tree.export(), |bytes| Tree::import(SUITE, b"room", bytes)), NOWHERE);
    assert_eq!(&Tree::import(SUITE, b"room", &tree.export()).unwrap(), tree);
    assert!(Tree::import(SUITE, b"moor", &tree.export()).is_err());
}

/// What the flipping of bits goes over: a tree with all that a tree can have.
#[test]
fn the_tree_has_blank_nodes_unmerged_leaves_and_old_parents() {
    let scene = Scene::new("tree");
    let nodes: Vec<Option<TreeNode>> = decode(&scene.members[0].epoch.tree().export()).unwrap();
    assert!(nodes.iter().step_by(2).any(Option::is_none));
    assert!(nodes.iter().skip(1).step_by(2).any(Option::is_none));
    let parents = nodes.iter().flatten().filter_map(|node| match node {
        TreeNode::Parent(parent) => Some(parent),
        TreeNode::Leaf(_) => None,
    });
    let parents: Vec<_> = parents.collect();
    assert!(parents.len() > 2);
    assert!(parents.iter().any(|parent| !parent.unmerged_leaves.is_empty()));
    assert!(parents.iter().any(|parent| !parent.parent_hash.as_slice().is_empty()));
}

/// A parent at the end would stand beside the tree: no rule would look at it.
#[test]
fn nothing_stands_after_the_last_leaf_of_a_tree() {
    let scene = Scene::new("end");
    let whole: Vec<Option<TreeNode>> = decode(&scene.members[0].epoch.tree().export()).unwrap();
    let parent = whole.iter().find(|node| matches!(node, Some(TreeNode::Parent(_)))).unwrap();
    let mut chance = Chance::new("end");
    for count in 1..6 {
        let tree = group(count, &mut chance)[0].epoch.tree().export();
        let nodes: Vec<Option<TreeNode>> = decode(&tree).unwrap();
        let leaf = nodes.last().unwrap();
        for after in [parent, &None, leaf] {
            let longer: Vec<_> = nodes.iter().chain([after]).cloned().collect();
            assert_eq!(Tree::import(SUITE, b"room", &encode(&longer)).err(), Some(Refusal::Tree), "{count}");
        }
        assert_eq!(Tree::import(SUITE, b"room", &tree).unwrap().export(), tree);
    }
    let alone = encode(&vec![None, parent.clone()]);
    assert_eq!(Tree::import(SUITE, b"room", &alone).err(), Some(Refusal::Tree));
}

#[test]
fn no_byte_of_a_message_can_be_changed() {
    let mut scene = Scene::new("message");
    let sealed = scene.members[0].seal(b"authenticated", b"text", &mut scene.chance);
    let reader = &scene.members[1];
    assert_eq!(accepted(&sealed, |bytes| reader.epoch.open_message(&reader.ratchets, bytes)), NOWHERE);
}

#[test]
fn no_byte_of_a_key_package_can_be_changed() {
    let mut chance = Chance::new("package");
    let package = Person::new("somebody", &mut chance).package(true, &mut chance);
    assert_eq!(accepted(&package.bytes(), |bytes| Package::read(SUITE, bytes)), NOWHERE);
}
