//! Targets `commits`, `welcomes`, `trees` and `messages`: the MLS group (RFC 9420) by itself.
//!
//! What is not to the byte what a member made never counts, and hinders nothing that comes after it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use dmls::hazmat::{self, Actor, Follower, Made, Member, OwnKeyPackage};

use super::alter;
use super::core::own_device;
use super::joins::ExpectFact;
use super::source::Source;
use crate::entropy::Stream;

type Fault = Box<dyn std::error::Error>;

const GROUP: &[u8] = b"!fuzz:hs1.test";
const PSK: (&[u8], &[u8; 32]) = (b"psk", &[7; 32]);
/// The two tags at the end of a member's commit, as `opaque<V>`.
const TAGS: usize = 2 * 33;

struct Scene {
    /// A member before any of `commits`.
    reader: Member,
    /// Commits on one epoch, and where they lead.
    commits: Vec<(Vec<u8>, [u8; 32])>,
    /// The packages of who is welcomed.
    packages: Vec<OwnKeyPackage>,
    welcome: Vec<u8>,
    welcomed: Member,
    /// A GroupInfo with the tree inside and one without.
    infos: Vec<Vec<u8>>,
    trees: Vec<Vec<u8>>,
    hashes: BTreeSet<[u8; 32]>,
    /// Sender's leaf, text, bytes.
    messages: Vec<(u32, Vec<u8>, Vec<u8>)>,
}

#[allow(clippy::expect_used, reason = "the scene is the same every time, and the corpus test plays it")]
fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| play().expect("the scene of the MLS group can be played"))
}

struct Person {
    actor: Actor,
    member: Member,
}

/// Adds people, takes leaves away, and lets everybody in.
fn advance(people: &mut Vec<Person>, by: usize, new: &[&str], gone: &[u32], entropy: &mut Stream) -> Result<(), Fault> {
    let mut actors = Vec::new();
    for name in new {
        let actor = Actor::new(&own_device(name, entropy)?);
        let package = actor.package(entropy)?;
        actors.push((actor, package));
    }
    let adds =
        actors.iter().map(|(_, package)| hazmat::read_package(&package.bytes())).collect::<Result<Vec<_>, _>>()?;
    let made = people[by].member.commit(&adds, gone, PSK, &people[by].actor, entropy)?;
    let maker = made.member.leaf();
    for person in people.iter_mut().filter(|person| !gone.contains(&person.member.leaf())) {
        let own = person.member.leaf() == maker;
        person.member =
            if own { made.member.clone() } else { person.member.read(&made.commit)?.finish(Some(PSK.1))? };
    }
    people.retain(|person| !gone.contains(&person.member.leaf()));
    for (actor, package) in actors {
        let member = hazmat::join(made.welcome.as_ref().ok_or("no Welcome")?, &package, PSK.1, None)?;
        people.push(Person { actor, member });
    }
    Ok(())
}

fn play() -> Result<Scene, Fault> {
    let entropy = &mut Stream::new(0, "mls");
    let actor = Actor::new(&own_device("alice", entropy)?);
    let member = actor.create(GROUP, entropy)?;
    let (mut people, mut trees) = (vec![Person { actor, member }], Vec::new());
    advance(&mut people, 0, &["bob", "carol", "dave", "erin", "frank"], &[], entropy)?;
    for (by, new, gone) in [(2, &[][..], &[][..]), (5, &[], &[1]), (1, &[], &[4]), (3, &["grace", "heidi"], &[])] {
        advance(&mut people, by, new, gone, entropy)?;
        trees.push(people[0].member.tree());
    }
    let mut messages = Vec::new();
    for at in [1, 2, 1, 3, 1, 2] {
        let text = format!("text {}", messages.len()).into_bytes();
        let person = &mut people[at];
        let bytes = person.member.seal(b"beside", &text, &person.actor, entropy)?;
        messages.push((person.member.leaf(), text, bytes));
    }
    let invited = [Actor::new(&own_device("ivan", entropy)?), Actor::new(&own_device("judy", entropy)?)];
    let packages = invited.iter().map(|actor| actor.package(entropy)).collect::<Result<Vec<_>, _>>()?;
    let adds = packages.iter().map(|own| hazmat::read_package(&own.bytes())).collect::<Result<Vec<_>, _>>()?;
    let maker = &people[1];
    let adding = maker.member.commit(&adds, &[people[2].member.leaf()], PSK, &maker.actor, entropy)?;
    let rekey = people[3].member.commit(&[], &[], PSK, &people[3].actor, entropy)?;
    let infos = vec![maker.member.group_info(&maker.actor, true), maker.member.group_info(&maker.actor, false)];
    let outsider = Actor::new(&own_device("mallory", entropy)?);
    let entering = hazmat::join_externally(&infos[0], None, Some(PSK), &outsider, entropy)?;
    let led = |made: &Made| (made.commit.clone(), made.member.tree_hash());
    let welcome = adding.welcome.clone().ok_or("no Welcome")?;
    let welcomed = hazmat::join(&welcome, &packages[0], PSK.1, None)?;
    let hashes = trees.iter().map(|tree| Ok(hazmat::read_tree(GROUP, tree)?.hash())).collect::<Result<_, Fault>>()?;
    Ok(Scene {
        reader: people.swap_remove(0).member,
        commits: [&adding, &rekey, &entering].map(led).to_vec(),
        packages,
        welcome,
        welcomed,
        infos,
        trees,
        hashes,
        messages,
    })
}

/// An altered commit leads nowhere, and who knows no secrets takes nothing but other tags for it.
pub fn commits(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    let real: Vec<_> = scene.commits.iter().map(|(commit, _)| commit.clone()).collect();
    let commit = alter::bytes(&mut source, &real);
    let led = scene.commits.iter().find(|(real, _)| *real == commit).map(|(_, hash)| *hash);
    let psk = |id: Option<&[u8]>| id.map(|_| PSK.1);
    let entered = scene.reader.read(&commit).and_then(|draft| draft.finish(psk(draft.psk_id())));
    assert_eq!(entered.map(|member| member.tree_hash()).ok(), led, "an altered commit counts");
    if let Ok(follower) = scene.reader.public().follow(&commit) {
        let same = |(real, hash): &&(Vec<u8>, [u8; 32])| {
            commit.starts_with(&real[..real.len() - TAGS]) && follower.tree_hash() == *hash
        };
        assert!(scene.commits.iter().any(|known| same(&known)), "an altered commit is followed");
    }
}

/// An altered Welcome leads into the same epoch or nowhere; altered GroupInfos and key packages are none.
pub fn welcomes(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    match source.byte() % 4 {
        0 => {
            let altered = alter::bytes(&mut source, std::slice::from_ref(&scene.welcome));
            let Ok(joined) = hazmat::join(&altered, &scene.packages[0], PSK.1, None) else { return };
            let same = joined.tree_hash() == scene.welcomed.tree_hash() && joined.leaf() == scene.welcomed.leaf();
            assert!(same, "a Welcome leads elsewhere");
        }
        1 => {
            let altered = alter::bytes(&mut source, &scene.infos[..1]);
            assert_eq!(
                Follower::read(&altered, None).is_ok(),
                altered == scene.infos[0],
                "an altered GroupInfo counts"
            );
        }
        2 => {
            let (info, tree) = (&scene.infos[1], scene.reader.tree());
            let altered = [alter::bytes(&mut source, &scene.infos[1..]), alter::bytes(&mut source, &scene.trees[3..])];
            let is_real = altered[0] == *info && altered[1] == tree || altered[0] == scene.infos[0];
            assert!(is_real || Follower::read(&altered[0], Some(&altered[1])).is_err(), "another tree counts");
        }
        _ => {
            let real: Vec<_> = scene.packages.iter().map(OwnKeyPackage::bytes).collect();
            let altered = alter::bytes(&mut source, &real);
            assert_eq!(hazmat::read_package(&altered).is_ok(), real.contains(&altered), "an altered package counts");
        }
    }
}

/// A tree that the rules let pass has one encoding, and the hash of another tree only if it is that tree.
pub fn trees(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    let by_node = source.byte() % 2 == 1;
    let altered = if by_node { shuffled(&mut source, scene) } else { alter::bytes(&mut source, &scene.trees) };
    let read = hazmat::read_tree(GROUP, &altered);
    let is_real = scene.trees.contains(&altered);
    assert!(read.is_ok() || !is_real, "a real tree is refused");
    let Ok(tree) = read else { return };
    assert_eq!(tree.bytes(), altered, "a tree has two encodings");
    assert_eq!(scene.hashes.contains(&tree.hash()), is_real, "two trees have one hash");
}

/// The nodes of a real tree, some of them blanked, doubled, exchanged, cut off or with other unmerged leaves.
fn shuffled(source: &mut Source<'_>, scene: &Scene) -> Vec<u8> {
    let others: Vec<Vec<Vec<u8>>> = scene.trees.iter().map(|tree| nodes(tree).unwrap_or_default()).collect();
    let mut out = source.pick(&others).cloned().unwrap_or_default();
    for _ in 0..source.byte() % 8 {
        let (kind, at) = (source.byte(), source.index(out.len()));
        let donor = source.pick(&others).and_then(|other| source.pick(other)).cloned();
        match kind % 6 {
            0 => out.iter_mut().skip(at).take(1).for_each(|node| *node = vec![0]),
            1 => out.iter_mut().skip(at).take(1).for_each(|node| node.clone_from(donor.as_ref().unwrap_or(&vec![0]))),
            2 => out.truncate(at),
            3 => out.extend(donor),
            4 if !out.is_empty() => {
                let with = source.index(out.len());
                out.swap(at, with);
            }
            _ => out.iter_mut().skip(at).take(1).for_each(|node| unmerge(node, source)),
        }
    }
    vector(&out.concat())
}

/// A parent gets other unmerged leaves.
fn unmerge(node: &mut Vec<u8>, source: &mut Source<'_>) {
    if !node.starts_with(&[1, 2]) {
        return;
    }
    let mut rest = &node[2..];
    if take_vector(&mut rest).and_then(|()| take_vector(&mut rest)).is_none() {
        return;
    }
    node.truncate(node.len() - rest.len());
    let leaves: Vec<u8> = source.chunk().iter().take(8).flat_map(|leaf| u32::from(*leaf).to_be_bytes()).collect();
    node.extend(vector(&leaves));
}

/// The nodes of a `ratchet_tree`, blank ones too.
fn nodes(tree: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (_, mut rest) = length(tree)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        take_node(&mut rest)?;
        out.push(start[..start.len() - rest.len()].to_vec());
    }
    Some(out)
}

/// Goes past one node (RFC 9420 §7.1, §7.2).
fn take_node(rest: &mut &[u8]) -> Option<()> {
    if take(rest, 1)? == [0] {
        return Some(());
    }
    if take(rest, 1)? == [2] {
        return (0..3).try_for_each(|_| take_vector(rest));
    }
    (0..2).try_for_each(|_| take_vector(rest))?;
    take(rest, 2)?;
    (0..6).try_for_each(|_| take_vector(rest))?;
    match take(rest, 1)? {
        [1] => drop(take(rest, 16)?),
        [3] => take_vector(rest)?,
        _ => {}
    }
    (0..2).try_for_each(|_| take_vector(rest))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn take_vector(rest: &mut &[u8]) -> Option<()> {
    let (length, after) = length(rest)?;
    *rest = after.get(length..)?;
    Some(())
}

/// A length in the form of RFC 9420 §2.1.2, and what comes after it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, _) = bytes.split_first()?;
    let size = 1 << (first >> 6);
    let (head, rest) = bytes.split_at_checked(size)?;
    let value = head.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
    Some((value & ((1 << (8 * size - 2)) - 1), rest))
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    let head = match length {
        0..64 => vec![length as u8],
        64..16_384 => (length as u16 | 0x4000).to_be_bytes().to_vec(),
        _ => (length | 0x8000_0000).to_be_bytes().to_vec(),
    };
    [head, bytes.to_vec()].concat()
}

/// Every message opens once, whatever came before it; altered ones do not.
pub fn messages(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    let (mut reader, mut opened) = (scene.reader.clone(), BTreeSet::new());
    let real: Vec<_> = scene.messages.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    for _ in 0..32 {
        if source.is_empty() {
            return;
        }
        let message = alter::bytes(&mut source, &real);
        let known = scene.messages.iter().find(|(_, _, bytes)| *bytes == message);
        let expected = known.filter(|_| opened.insert(message.clone())).map(|(leaf, text, _)| (*leaf, text.clone()));
        let found = reader.open(&message);
        if expected.is_some() {
            assert_eq!(Some(found.expect_fact()), expected, "a message says something else");
        } else {
            assert!(found.is_err(), "a message opens that nobody sent, or twice");
        }
    }
}
