//! Edges that no attacker gets over, and that no switch of the attack suite could take away.

use dmls::effect::{Notice, Verdict};
use dmls::error::Reason;
use dmls::group::{Group, Settings, inspect_commit};
use dmls::id::Locator;
use dmls::input::Input;

use crate::world::{Event, Seeded, World, room};

/// Alice and Bob in one epoch, with a commit and a message of Alice's that Bob has not seen.
fn scene() -> (World, Vec<u8>, Vec<u8>) {
    let mut world = World::new();
    for name in ["alice", "bob"] {
        world.device(name, 1);
        world.join_room(name);
    }
    world.create("alice");
    for name in ["alice", "bob"] {
        world.sync(name);
    }
    world.say("alice", "unseen");
    world.commit("alice", true);
    let bytes = |(_, event): (Locator, Event)| match event {
        Event::Commit { bytes, .. } | Event::Message { bytes, .. } | Event::Ask { bytes } => bytes,
    };
    let mut events = world.events().into_iter().map(bytes).collect::<Vec<_>>().into_iter().rev();
    let (commit, message) = (events.next().unwrap(), events.next().unwrap());
    (world, commit, message)
}

fn refusal(world: &mut World, input: Input) -> Option<Reason> {
    match world.input("bob", input) {
        Verdict::Rejected { reason, .. } => Some(reason),
        _ => None,
    }
}

fn commit_of(bytes: Vec<u8>) -> Input {
    Input::Commit { bytes, locator: Some(Locator("$bent".into())), from: "alice".into() }
}

/// Leaf indices that overflow tree arithmetic (2^31 and more) are refused like any other leaf that is not there.
#[test]
fn no_leaf_index_is_too_large() {
    let (mut world, commit, _) = scene();
    // version, wire format, group id, epoch number, sender type; then the leaf
    let at = 4 + 6 + 8 + 1;
    assert_eq!((commit[at - 1], &commit[at..at + 4]), (1, &[0, 0, 0, 0][..]));
    for leaf in [1, 2, 3, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, u32::MAX - 1, u32::MAX] {
        let mut bent = commit.clone();
        bent[at..at + 4].copy_from_slice(&u32::to_be_bytes(leaf));
        assert!(refusal(&mut world, commit_of(bent)).is_some(), "leaf {leaf}");
    }
    assert!(matches!(world.input("bob", commit_of(commit)), Verdict::Applied(_)));
}

/// Signature, confirmation tag and membership tag count in their full length only: cut to any length, or longer.
#[test]
fn no_tag_is_shortened() {
    let (mut world, commit, message) = scene();
    let end = commit.len();
    // At the end of a member's commit: signature<V>, confirmation_tag<V>, membership_tag<V>.
    let (membership, confirmation, signature) = (end - 33, end - 66, end - 66 - 66);
    assert_eq!(
        (&commit[signature..signature + 2], commit[confirmation], commit[membership]),
        (&[0x40, 64][..], 32, 32)
    );
    let mut tried = 0;
    for (start, head, full) in [(signature, 2, 64), (confirmation, 1, 32), (membership, 1, 32)] {
        for length in (0..full).chain([full + 1]) {
            let field = (0..length).map(|at| commit[start + head + at.min(full - 1)]);
            let prefix = if length < 64 { vec![length as u8] } else { vec![0x40, length as u8] };
            let field: Vec<u8> = prefix.into_iter().chain(field).collect();
            let bent = [&commit[..start], &field, &commit[start + head + full..]].concat();
            assert!(inspect_commit(&bent).is_ok(), "it is well-formed");
            assert!(refusal(&mut world, commit_of(bent)).is_some(), "{length} bytes of the field at {start}");
            tried += 1;
        }
    }
    assert_eq!(tried, 65 + 33 + 33);
    // A message ends with its ciphertext; its tag is the last 16 bytes of that.
    for cut in 1..=16 {
        let prefix = message.len() - 2 - usize::from(message_ciphertext(&message));
        let mut bent = message[..message.len() - cut].to_vec();
        let length = (message_ciphertext(&message) - cut as u16) | 0x4000;
        bent[prefix..prefix + 2].copy_from_slice(&length.to_be_bytes());
        let input =
            Input::Message { bytes: bent, locator: Locator("$bent".into()), from: "alice".into(), commit: None };
        assert!(refusal(&mut world, input).is_some(), "{cut} bytes less");
    }
    assert!(matches!(world.input("bob", commit_of(commit)), Verdict::Applied(_)));
}

/// What this device sent comes back as known; what its leaf sent and it did not is told as a clone (SPEC §7.7).
#[test]
fn an_echo_is_known_and_a_clones_message_is_told() {
    let (mut world, _, message) = scene();
    let place = Locator("$echo".into());
    let echo = Input::Message { bytes: message, locator: place.clone(), from: "alice".into(), commit: None };
    assert!(matches!(world.input("alice", echo), Verdict::Known));
    let told = |world: &World| {
        world.peers["alice"].notices.iter().filter(|notice| matches!(notice, Notice::Clone { .. })).count()
    };
    assert_eq!(told(&world), 0);
    // A live copy of the device says something.
    let store = world.peers["alice"].store.clone();
    let own = world.peers["alice"].own.clone();
    let mut copy = Group::load(room(), own, Settings::default(), &store).unwrap();
    let sealed = copy.seal(&mut |_| b"not Alice".to_vec(), world.now, &mut Seeded::new(9)).unwrap();
    let bytes = sealed.persist(&mut store.clone()).unwrap().bytes;
    let cloned = Input::Message { bytes, locator: place, from: "alice".into(), commit: None };
    assert!(matches!(world.input("alice", cloned), Verdict::Known));
    assert_eq!(told(&world), 1);
}

/// The length of the ciphertext at the end of a message, whose prefix has two bytes.
fn message_ciphertext(message: &[u8]) -> u16 {
    let found = (64..message.len() - 2).find(|length| {
        let at = message.len() - length - 2;
        message[at..at + 2] == (*length as u16 | 0x4000).to_be_bytes()
    });
    found.unwrap() as u16
}

/// Every library that holds our secrets is built to wipe them (cargo's resolved features, not what we asked for).
#[test]
fn secrets_are_zeroized_by_every_library() {
    let arguments = ["metadata", "--format-version", "1", "--offline", "--locked"];
    let output = std::process::Command::new(env!("CARGO")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let wiping = |name: &str| {
        let mut found = nodes.iter().filter(|node| {
            let id = node["id"].as_str().unwrap();
            id.contains(&format!("#{name}@")) || id.contains(&format!("/{name}#"))
        });
        found.any(|node| node["features"].as_array().unwrap().iter().any(|feature| feature == "zeroize"))
    };
    for name in ["aes", "aes-gcm", "ghash", "curve25519-dalek", "ed25519-dalek", "x25519-dalek", "argon2"] {
        assert!(wiping(name), "{name} is built without zeroize");
    }
}
