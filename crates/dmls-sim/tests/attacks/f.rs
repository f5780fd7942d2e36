//! F: attacks on the fork layer. Numbers of the threat list are scaled down where a comment says so.

mod flood;
#[cfg(dmls_mutants)]
mod forged;
pub mod healing;
mod membership;
mod order;
mod routes;

use crate::attack::{Attack, crafted};

pub const ATTACKS: &[Attack] = &[
    Attack {
        id: "F1",
        attack: "one creator makes two commits on one base",
        defence: "both are kept under their EpochIds and told as evidence",
        run: order::equivocation,
    },
    Attack {
        id: "F2",
        attack: "commits are ground until one wins the race",
        defence: "the tie is fixed before the commits are made; removes take effect on any base",
        run: order::grinding,
    },
    Attack {
        id: "F3",
        attack: "time and order of arrival steer which head is built on",
        defence: "no clock and no server order takes part",
        run: order::dates,
    },
    Attack {
        id: "F4",
        attack: "a long branch is shown late",
        defence: "heads are merged; what is not built on stays readable",
        run: order::late_branch,
    },
    Attack {
        id: "F5",
        attack: "a removed device commits on every epoch it knew, adding a sybil",
        defence: "who is added follows from the room, not from commits",
        run: membership::time_travel,
    },
    Attack {
        id: "F6",
        attack: "a device speaks on while a removed one has a leaf",
        defence: "send gate: a commit comes first",
        run: membership::send_gate,
    },
    Attack {
        id: "F7",
        attack: "a merge resolves a head and leaves out what it changed",
        defence: "what is due is computed anew from D",
        run: membership::burying_merge,
    },
    Attack {
        id: "F8",
        attack: "a healed device is left under its old leaf by a merge",
        defence: "it updates before it speaks",
        run: healing::old_leaf,
    },
    Attack {
        id: "F9",
        attack: "a merge drops what one fork healed",
        defence: "the merge value binds all merged heads",
        run: healing::dropped_heal,
    },
    Attack {
        id: "F10",
        attack: "a thief finds epochs from before the horizon",
        defence: "epochs that ceased to be heads a week ago are deleted",
        run: healing::horizon,
    },
    Attack {
        id: "F11",
        attack: "fork bomb",
        defence: "so many heads of one user count and no more",
        run: flood::fork_bomb,
    },
    Attack {
        id: "F12",
        attack: "a flood that keeps others from sending",
        defence: "sending never waits for quiet",
        run: flood::blocked_senders,
    },
    Attack {
        id: "F13",
        attack: "everybody merges at the heal",
        defence: "ranks, and collapse of equal merges",
        run: flood::merge_storm,
    },
    Attack {
        id: "F14",
        attack: "a commit whose path does not open for some",
        defence: "its maker is blamed; who cannot follow asks, and is added anew",
        run: crafted!(forged::poisoned_path),
    },
    Attack {
        id: "F15",
        attack: "inputs that can never count fill the pool",
        defence: "every input has a deadline and a last verdict",
        run: flood::never_valid,
    },
    Attack {
        id: "F16",
        attack: "the same commits come by another route",
        defence: "one judgement for all routes",
        run: routes::five_routes,
    },
    Attack {
        id: "F17",
        attack: "two members remove each other on two forks",
        defence: "the room decides, the merge carries it out",
        run: membership::mutual_removal,
    },
    Attack {
        id: "F18",
        attack: "a state reset brings a removed user back",
        defence: "removal is sticky until a join that was not known",
        run: membership::state_reset,
    },
    Attack {
        id: "F19",
        attack: "ghosts: in the tree and not in the room, or the reverse",
        defence: "both ways are due, in one commit",
        run: membership::ghosts,
    },
    Attack {
        id: "F20",
        attack: "events are replayed, and shown in another room",
        defence: "known by hash; the group is the room",
        run: routes::replays,
    },
    Attack {
        id: "F21",
        attack: "a crash around one's own commit",
        defence: "the epoch is stored before the commit leaves",
        run: routes::own_commit,
    },
    Attack {
        id: "F22",
        attack: "a restart restores the state of the wrong fork",
        defence: "states lie under their EpochId",
        run: routes::wrong_lineage,
    },
];
