//! Target `joins`: Welcomes, GroupInfos and key packages from others.

use dmls::effect::{Applied, Publish, Verdict};
use dmls::group::Orders;
use dmls::id::{Device, EpochId};
use dmls::input::Input;

use super::alter;
use super::core::{NOW, scene};
use super::source::Source;

/// The membership tag at the end of a member's commit, as `opaque<V>`.
const MEMBERSHIP_TAG: usize = 33;

/// None of them counts if one byte of it was altered, and none hinders what comes after it.
///
/// One thing in a Welcome is not altered by being another: the membership tag of its commit. It shows the members of
/// the base, who have its key, that a member sent the commit (RFC 9420 §6.2); a joiner does not have that key, and the
/// EpochId does not depend on the tag (§8.2).
pub fn target(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    match source.byte() % 3 {
        0 => welcome(&mut source),
        1 => group_info(&mut source),
        _ => package(&mut source),
    }
}

fn welcome(source: &mut Source<'_>) {
    let scene = scene();
    let mut dave = scene.dave.load();
    let real = &scene.welcome;
    let mut welcome = real.clone();
    let parts = source.byte();
    let mut part = |at: u8, part: &mut Vec<u8>| {
        if parts & at != 0 {
            alter::edit(source, part, &scene.wire);
        }
    };
    part(1, &mut welcome.bytes);
    part(2, &mut welcome.commit);
    part(4, &mut welcome.grant);
    part(8, &mut welcome.base.confirmed_transcript_hash);
    part(16, &mut welcome.base.confirmation_tag);
    if parts & 32 != 0 {
        welcome.epoch = EpochId([source.byte(); 32]);
    }
    let vouched = real.commit.split_at(real.commit.len() - MEMBERSHIP_TAG).0;
    let altered = welcome.bytes != real.bytes
        || !welcome.commit.starts_with(vouched)
        || welcome.grant != real.grant
        || welcome.base != real.base;
    let joined = |outcome: &dmls::effect::Outcome| matches!(outcome.verdict, Verdict::Applied(Applied::Joined { .. }));
    dave.handle(Input::Desired(scene.desired.clone())).expect_fact();
    let packages = dave.packages.len();
    let first = dave.call(|group, packages, entropy| group.join(welcome, packages, NOW, entropy)).expect_fact();
    assert!(!(altered && joined(&first)), "an altered Welcome counts");
    assert!(!joined(&first) || dave.group.head_ids() == [real.epoch], "a Welcome leads elsewhere");
    assert!(joined(&first) || dave.packages.len() == packages, "a refused Welcome uses a key package up");
    if !joined(&first) {
        let second = scene.welcome.clone();
        let second = dave.call(|group, packages, entropy| group.join(second, packages, NOW, entropy)).expect_fact();
        assert!(joined(&second), "the real Welcome comes too late: {:?}", second.verdict);
    }
}

fn group_info(source: &mut Source<'_>) {
    let scene = scene();
    let (real, target) = &scene.group_info;
    let altered = alter::bytes(source, std::slice::from_ref(real));
    let mut erin = scene.erin.load();
    erin.handle(Input::Desired(scene.desired.clone())).expect_fact();
    let joined = erin.call(|group, _, entropy| group.join_externally(&altered, target.clone(), NOW, entropy));
    assert!(joined.is_err() || altered == *real, "an altered GroupInfo counts");
}

fn package(source: &mut Source<'_>) {
    let scene = scene();
    let altered = alter::bytes(source, &scene.packages);
    let mut alice = scene.alice.load();
    let dave: Device = scene.dave.own.device().clone();
    let orders = Orders { packages: vec![(dave.clone(), altered.clone())], update: true };
    let Ok(outcome) = alice.call(|group, _, entropy| group.carry_out(orders, NOW, entropy)) else { return };
    let adds = |publish: &Publish| matches!(publish, Publish::Commit(commit) if commit.welcomes.iter().any(|out| out.to == dave));
    let added = outcome.publish.iter().any(adds);
    assert!(!added || scene.packages.contains(&altered), "an altered key package counts");
}

/// Only the store and the randomness can fail a call, and here they do not.
pub(super) trait ExpectFact<T> {
    fn expect_fact(self) -> T;
}

impl<T, E: std::fmt::Display> ExpectFact<T> for Result<T, E> {
    #[allow(clippy::panic, reason = "a target that finds something panics")]
    fn expect_fact(self) -> T {
        self.unwrap_or_else(|error| panic!("no verdict but an error: {error}"))
    }
}
