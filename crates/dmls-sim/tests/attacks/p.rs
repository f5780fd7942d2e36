//! P: parsing and primitives.

use dmls::entropy::{Entropy, EntropyError};
use dmls::group::inspect_commit;
use serde_json::json;

use crate::attack::{Attack, Elsewhere, End, Later};
use crate::core_world::Seeded;
use crate::rooms::alice_and_bob;
use crate::scene::{Puppet, group_of, update};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "P1",
        attack: "lengths not in their shortest form give one commit many byte strings",
        defence: "only the shortest form is read, to the last byte",
        run: long_lengths,
    },
    Attack {
        id: "P7",
        attack: "the randomness fails at any one draw",
        defence: "the operation fails; no key of zeros is made",
        run: failing_randomness,
    },
    Attack {
        id: "P8",
        attack: "numbers that JSON parsers read differently",
        defence: "only integers below 2^53 have a canonical form; others are neither sent nor shown",
        run: odd_numbers,
    },
    Attack {
        id: "P9",
        attack: "another version of MLS",
        defence: "only MLS 1.0 and its one suite are read",
        run: other_version,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        id: "P2",
        test: ("crates/dmls/tests/core/edges.rs", "no_leaf_index_is_too_large"),
        reason: "leaf indices at and over every edge; tree arithmetic meets RFC 9420's vectors",
    },
    Elsewhere {
        id: "P3",
        test: ("crates/dmls/src/suite.rs", "keys_of_small_order_are_refused_and_could_not_be_sealed_to"),
        reason: "an all-zero shared secret is refused inside the HPKE library",
    },
    Elsewhere {
        id: "P10",
        test: ("crates/dmls/tests/core/edges.rs", "secrets_are_zeroized_by_every_library"),
        reason: "features of libraries are a matter of the build: read from cargo's metadata",
    },
];

pub const LATER: &[Later] = &[
    Later { id: "P4", reason: "no HPKE context seals twice, so there is no counter that could wrap" },
    Later {
        id: "P5",
        reason: "time is not measured in tests; secrets have no comparison but subtle's (dmls::secret), \
                 and libraries are trusted for theirs",
    },
    Later {
        id: "P6",
        reason: "M is the only secret that travels in base64, inside Olm; its encoder is not constant in time",
    },
];

fn long_lengths() -> End {
    let world = group_of(&["alice", "bob"]);
    let commit = Puppet::of(&world, "alice", 1).commit(update()).bytes;
    assert!(inspect_commit(&commit).is_ok() && commit[4] == 5);
    // The length of the group's name in two bytes and in four, and one byte too many at the end.
    let longer = |length: &[u8]| [&commit[..4], length, &commit[5..]].concat();
    let bent = [longer(&[0x40, 5]), longer(&[0x80, 0, 0, 5]), [&commit[..], &[0]].concat()];
    End::succeeded_if(bent.iter().any(|bytes| inspect_commit(bytes).is_ok()))
}

/// Fails at one draw, once.
struct FailsAt {
    draw: usize,
    failed: bool,
    rest: Seeded,
}

impl Entropy for FailsAt {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if self.draw == 0 && !self.failed {
            self.failed = true;
            return Err(EntropyError);
        }
        self.draw = self.draw.saturating_sub(1);
        self.rest.fill(out)
    }
}

fn failing_randomness() -> End {
    let mut world = group_of(&["alice", "bob"]);
    let store = world.peers["alice"].store.clone();
    let mut weak = 0;
    for draw in 0..20 {
        world.peers.get_mut("alice").unwrap().store = store.clone();
        world.restart("alice");
        let (now, peer) = (world.now, world.peers.get_mut("alice").unwrap());
        let mut entropy = FailsAt { draw, failed: false, rest: Seeded::new(3) };
        let made = peer.group.carry_out(update(), now, &mut entropy).is_ok();
        weak += usize::from(made && entropy.failed);
    }
    End::succeeded_if(weak > 0)
}

fn odd_numbers() -> End {
    let (mut world, room) = alice_and_bob();
    let now = world.now();
    let alice = world.client("alice");
    let machine = alice.machine.as_mut().unwrap();
    let odd = [json!({ "n": 1u64 << 60 }), json!({ "n": 0.5 }), json!({ "n": [{ "m": -1e300 }] })];
    let taken = odd
        .into_iter()
        .filter(|content| machine.send(&room, "m.room.message", content.clone(), now, &mut alice.entropy).is_ok());
    End::succeeded_if(taken.count() > 0)
}

fn other_version() -> End {
    let world = group_of(&["alice", "bob"]);
    let mut commit = Puppet::of(&world, "alice", 1).commit(update()).bytes;
    commit[1] = 2;
    End::succeeded_if(inspect_commit(&commit).is_ok())
}
