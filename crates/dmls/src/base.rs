//! Which head is built on: an order that all who know the same DAG agree on (SPEC §3.2).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::codec::push_vector;
use crate::dag::{Dag, Epoch};
#[cfg(dmls_mutants)]
use crate::defence;
use crate::effect::EpochKind;
use crate::id::{EpochId, EpochNumber};

/// Smaller is better; the fields are SPEC §3.2's criteria in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    behind: usize,
    number: Reverse<EpochNumber>,
    tie: [u8; 32],
    id: EpochId,
}

/// The heads that may be built on or resolved, best first.
///
/// Heads made by devices outside D are set aside as long as any head by a device in D is there: a removed device must
/// not steer. When there is none (the creator of the only head left the room), they are all there is to build on.
pub(crate) fn eligible(dag: &Dag) -> Vec<&Epoch> {
    dag.eligible(|| choose(dag))
}

fn choose(dag: &Dag) -> Vec<&Epoch> {
    let heads = dag.heads();
    let inside = heads.iter().any(|head| head.usable() && head.by_desired(dag.desired()));
    let heads = if inside { dag.heads_by_desired() } else { heads };
    let mut chosen: Vec<_> = heads.into_iter().filter(|head| head.usable()).collect();
    let point = tie_point(dag, &chosen);
    let all = chosen.clone();
    chosen.sort_by_cached_key(|head| rank(dag, head, &all, point.as_ref()));
    #[cfg(dmls_mutants)]
    if !defence::on("C14") {
        pairwise_first(dag, &mut chosen);
    }
    chosen
}

/// A weaker order for the attack C14: each head that arrives is compared with the best so far, from where these two forked.
#[cfg(dmls_mutants)]
fn pairwise_first(dag: &Dag, heads: &mut [&Epoch]) {
    heads.sort_by_key(|head| head.first_seen);
    for at in 1..heads.len() {
        let point = tie_point(dag, &[heads[0], heads[at]]);
        let place = |head| rank(dag, head, &[], point.as_ref());
        if place(heads[at]) < place(heads[0]) {
            heads.swap(0, at);
        }
    }
}

/// What ties are decided by: where the heads parted. Of heads with the same parents everybody who has them can tell, though
/// they may not know which of these descends from another.
fn tie_point(dag: &Dag, heads: &[&Epoch]) -> Option<EpochId> {
    let parents: BTreeSet<_> = heads.iter().map(|head| head.parents()).collect();
    match parents.first() {
        Some(same) if parents.len() == 1 && heads.len() > 1 => same.first().copied(),
        _ => dag.fork(heads).point,
    }
}

fn rank(dag: &Dag, head: &Epoch, heads: &[&Epoch], point: Option<&EpochId>) -> Rank {
    // Heads that collapse stay side by side, so all must come to the same of them: who is updated in which of them says
    // nothing, for that depends on what else one knows.
    let same = heads.iter().filter(|other| other.id != head.id && collapse(dag, head, other));
    let behind = same.map(|other| dag.contrast(other).behind()).min();
    Rank {
        behind: dag.contrast(head).behind().min(behind.unwrap_or(usize::MAX)),
        number: Reverse(head.number),
        tie: tie(point, head),
        id: head.id,
    }
}

/// Fixed before the commits are made, so that no commit can be ground to win; and no clock takes part in it.
fn tie(fork_point: Option<&EpochId>, head: &Epoch) -> [u8; 32] {
    #[cfg(dmls_mutants)]
    if let Some(weaker) = weaker_tie(head) {
        return weaker;
    }
    let creator = &head.creator;
    let mut out = b"DMLS 1.0 tie".to_vec();
    out.extend(fork_point.map_or([0; 32], |id| id.0));
    push_vector(&mut out, creator.user.as_bytes());
    push_vector(&mut out, creator.device.as_bytes());
    Sha256::digest(&out).into()
}

/// By the commit's own hash (attack F2) or by when it came (attack F3).
#[cfg(dmls_mutants)]
fn weaker_tie(head: &Epoch) -> Option<[u8; 32]> {
    let mut time = [0; 32];
    time[..8].copy_from_slice(&head.first_seen.0.to_be_bytes());
    if defence::on("F2") { Some(time).filter(|_| !defence::on("F3")) } else { Some(head.id.0) }
}

/// Whether two heads say the same: equal {base} ∪ resolves and equal leaves, all of them in D (SPEC §3.4).
pub(crate) fn collapse(dag: &Dag, one: &Epoch, other: &Epoch) -> bool {
    one.parents() == other.parents()
        && one.kind != EpochKind::External
        && other.kind != EpochKind::External
        && dag.contrast(one).outside().len() == 0
        && one.members.same_devices(&other.members)
}
