//! Which head is built on: an order that all who know the same DAG agree on (SPEC §3.2).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::codec::push_vector;
use crate::dag::{Dag, Epoch};
use crate::effect::EpochKind;
use crate::id::{Device, EpochId, Height};
use crate::input::Desired;

/// Smaller is better; the fields are SPEC §3.2's criteria in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    missing: usize,
    outside: usize,
    restart: bool,
    committers: Reverse<usize>,
    height: Reverse<Height>,
    tie: [u8; 32],
    id: EpochId,
}

/// The heads that may be built on or resolved, best first.
///
/// Heads made by devices outside D are set aside as long as any head by a device in D is there: a removed device must
/// not steer. When there is none (the creator of the only head left the room), they are all there is to build on.
pub(crate) fn eligible<'a>(dag: &'a Dag, desired: &Desired) -> Vec<&'a Epoch> {
    let heads: Vec<_> = dag.heads(desired).into_iter().filter(|head| head.usable()).collect();
    let by_desired: Vec<_> = heads.iter().copied().filter(|head| head.by_desired(desired)).collect();
    let mut chosen = if by_desired.is_empty() { heads } else { by_desired };
    let fork_point = dag.fork_point(&chosen);
    chosen.sort_by_cached_key(|head| rank(dag, head, fork_point.as_ref(), desired));
    chosen
}

fn rank(dag: &Dag, head: &Epoch, fork_point: Option<&EpochId>, desired: &Desired) -> Rank {
    let missing = desired.devices.iter().filter(|(device, facts)| !head.has(device, &facts.key)).count();
    Rank {
        missing,
        outside: head.outside(desired).count(),
        restart: head.kind == EpochKind::External,
        committers: Reverse(committers(dag, head, fork_point, desired)),
        height: Reverse(head.height),
        tie: tie(fork_point, &head.creator),
        id: head.id,
    }
}

/// How many devices of D committed between the fork point and `head`.
fn committers(dag: &Dag, head: &Epoch, fork_point: Option<&EpochId>, desired: &Desired) -> usize {
    let before = fork_point.map(|id| dag.ancestry(id)).unwrap_or_default();
    let since = dag.ancestry(&head.id).into_iter().filter(|id| !before.contains(id));
    let epochs = since.filter_map(|id| dag.get(&id)).filter(|epoch| epoch.by_desired(desired));
    epochs.map(|epoch| &epoch.creator).collect::<BTreeSet<&Device>>().len()
}

/// Fixed before the commits are made, so that no commit can be ground to win.
fn tie(fork_point: Option<&EpochId>, creator: &Device) -> [u8; 32] {
    let mut out = b"DMLS 1.0 tie".to_vec();
    out.extend(fork_point.map_or([0; 32], |id| id.0));
    push_vector(&mut out, creator.user.as_bytes());
    push_vector(&mut out, creator.device.as_bytes());
    Sha256::digest(&out).into()
}

/// Whether two heads say the same: equal {base} ∪ resolves and equal leaves, all of them in D (SPEC §3.4).
pub(crate) fn collapse(one: &Epoch, other: &Epoch, desired: &Desired) -> bool {
    let members =
        |epoch: &Epoch| -> BTreeSet<_> { epoch.leaves.iter().map(|leaf| (leaf.device.clone(), leaf.key)).collect() };
    one.parents() == other.parents()
        && one.kind != EpochKind::External
        && other.kind != EpochKind::External
        && one.outside(desired).next().is_none()
        && members(one) == members(other)
}
