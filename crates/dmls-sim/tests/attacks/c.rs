//! C: attacks that the review of the design found.

#[cfg(dmls_mutants)]
mod forged;
mod secrets;
mod steering;

use crate::attack::{Attack, Elsewhere, Later, crafted};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "C2",
        attack: "a commit carries the point of somebody else",
        defence: "the PSK id must name this base and the committer's leaf",
        run: crafted!(forged::copied_point),
    },
    Attack {
        id: "C3",
        attack: "a thief opens a grant with an old leaf key",
        defence: "its PSK holds what the heads export that the owner is in",
        run: secrets::stolen_grant,
    },
    Attack {
        id: "C4",
        attack: "a head that only some hold is merged",
        defence: "who lacks the merge value asks, and members answer",
        run: steering::merged_unseen,
    },
    Attack {
        id: "C9",
        attack: "a child's copy of its parent's secret tree opens a used message",
        defence: "one secret tree for each epoch",
        run: secrets::second_tree,
    },
    Attack {
        id: "C10",
        attack: "an own commit spoils the base for the commits of others",
        defence: "an epoch is a value: a commit makes a child and changes no base",
        run: secrets::pending_commit,
    },
    Attack {
        id: "C11",
        attack: "two devices heal on two forks, the thief of both joins what they know",
        defence: "who healed on the fork that lost heals again before speaking: to this extent",
        run: secrets::healed_on_two_forks,
    },
    Attack {
        id: "C12",
        attack: "a removal without cause cuts a member off",
        defence: "it does not bury its base",
        run: steering::cut_off,
    },
    Attack {
        id: "C13",
        attack: "commits that come in another order leave other heads",
        defence: "what is refused follows from bytes and base alone",
        run: crafted!(forged::order_of_arrival),
    },
    Attack {
        id: "C14",
        attack: "three heads of which each beats another",
        defence: "one fork point for all eligible heads",
        run: steering::no_total_order,
    },
    Attack {
        id: "C15",
        attack: "traffic puts a merge off for ever",
        defence: "the moment is fixed when something first is due",
        run: steering::put_off,
    },
    Attack {
        id: "C16",
        attack: "the outbox sends what was sealed before a removal was seen",
        defence: "the gate is asked again when a ciphertext leaves",
        run: secrets::outbox,
    },
    Attack {
        id: "C17",
        attack: "a signed message is sealed again under its sender's next generation",
        defence: "the sequence number is signed, and is the generation",
        run: secrets::next_generation,
    },
    Attack {
        id: "C18",
        attack: "a stolen credential that was replaced comes back",
        defence: "a leaf counts only under the key that its owner vouches for now",
        run: secrets::old_credential,
    },
    Attack {
        id: "C19",
        attack: "one signed commit with two confirmation tags",
        defence: "the EpochId takes in the tag",
        run: crafted!(forged::two_tags),
    },
    Attack {
        id: "C20",
        attack: "a Welcome opens to another epoch than its commit makes",
        defence: "the EpochId is computed on both ways and compared",
        run: steering::lying_welcome,
    },
];

pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        id: "C1",
        test: ("crates/dmls/tests/core/hostile.rs", "kinds_are_not_mixed_up"),
        reason: "commits are PublicMessage alone, which nobody can frame anew: there is no check to take away",
    },
    Elsewhere {
        id: "C5",
        test: ("crates/dmls/tests/core/hostile.rs", "proposals_do_not_travel"),
        reason: "no proposal is ever kept, so a reference finds none: there is no check to take away",
    },
];

pub const LATER: &[Later] = &[
    Later { id: "C6", reason: "no chain, so no K that could be known" },
    Later { id: "C7", reason: "no chain is granted; a wrong M does not verify (C20, X1)" },
    Later { id: "C8", reason: "no repair inputs and no restart epochs" },
    Later { id: "C21", reason: "one clock: an epoch's keys for commits and messages go together (SPEC §7.6)" },
    Later { id: "C22", reason: "no backup" },
];
