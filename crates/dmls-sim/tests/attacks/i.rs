//! I: insiders, and the MLS protocol itself.

mod messages;
#[cfg(dmls_mutants)]
mod proposals;
mod signatures;
mod tree;

use crate::attack::{Attack, Elsewhere, crafted};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "I1",
        attack: "a signed GroupInfo carries a forged ratchet tree (1,500 mutants)",
        defence: "every leaf and every parent is checked at the join (RFC 9420 §7.9.2)",
        run: tree::forged_trees,
    },
    Attack {
        id: "I2",
        attack: "a key of small order vouches for anybody; S is raised by the group order",
        defence: "Ed25519 is strict",
        run: signatures::malleable,
    },
    Attack {
        id: "I3",
        attack: "a late message is ascribed to whoever has its sender's leaf now",
        defence: "the sender is looked up in the message's own epoch",
        run: messages::reused_leaf,
    },
    Attack {
        id: "I5",
        attack: "a thief of the store opens what was read long ago",
        defence: "a used key is deleted from the store with its use",
        run: messages::kept_keys,
    },
    Attack {
        id: "I6",
        attack: "a signature made for another protocol counts as one on content",
        defence: "a key of its own, a label, and the message's place in what is signed",
        run: signatures::other_protocol,
    },
    Attack {
        id: "I7",
        attack: "a commit mixes in a PSK more than it should",
        defence: "exactly one PSK, of the one form",
        run: crafted!(proposals::second_psk),
    },
    Attack {
        id: "I8",
        attack: "a commit rewrites the group's extensions: external senders",
        defence: "no GroupContextExtensions at all",
        run: crafted!(proposals::rewritten_extensions),
    },
    Attack {
        id: "I9",
        attack: "a message claims a far generation, so that others compute up to it",
        defence: "at most 24,576 generations ahead; what is further waits",
        run: messages::far_generation,
    },
    Attack {
        id: "I10",
        attack: "the size of a ciphertext tells a yes from a no",
        defence: "padding to multiples of 64 bytes",
        run: messages::telling_size,
    },
    Attack {
        id: "I11",
        attack: "a server shows one user's ciphertext as another's",
        defence: "Matrix sender, MLS sender and signature are compared in one place",
        run: messages::other_sender,
    },
    Attack {
        id: "I12",
        attack: "an unencrypted event stands among the encrypted",
        defence: "what is not sealed is not listed, only told",
        run: messages::unencrypted,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[Elsewhere {
    id: "I4",
    test: ("crates/dmls/tests/core/edges.rs", "no_tag_is_shortened"),
    reason: "every tag and signature at every length; each check by itself is broken by cargo xtask mutants",
}];
