//! Commits by a member who does not keep to the rules: MLS accepts them, the table does not.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use ed25519_dalek::Signer as _;

use super::{Group, Orders, Settings};
use crate::device::{Credential, OwnDevice, SigningKey};
use crate::effect::{Publish, Verdict};
use crate::entropy::{Entropy, EntropyError};
use crate::error::Reason;
use crate::id::{Device, GroupId, Locator, Timestamp};
use crate::input::{Desired, DesiredDevice, Input, Welcome};
use crate::journal::{Durable, Entry, Journal, Records, Table, Write};
use crate::mls::tests::suites::SPOILING;
use crate::mls::{Epoch, Plan};
use crate::package::KeyPackages;
use crate::secret::{Secret, merge_value, no_chain, psk_secret};
use crate::wire::{CommitData, PskId};

pub(super) const NOW: Timestamp = Timestamp(1);

/// Counts up through SHA-256: not random, but never the same.
pub(super) struct Counter(pub(super) u64);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        use sha2::Digest;
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&sha2::Sha256::digest(self.0.to_be_bytes())[..chunk.len()]);
        }
        Ok(())
    }
}

/// Takes everything and keeps nothing: these tests never reload.
pub(super) struct Void;

impl Records for Void {
    type Error = std::convert::Infallible;

    fn get(&self, _: Table, _: &[u8]) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, Self::Error> {
        Ok(None)
    }

    fn scan(&self, _: Table, _: &[u8]) -> Result<Vec<Entry>, Self::Error> {
        Ok(Vec::new())
    }
}

impl Journal for Void {
    fn commit(&mut self, _: &[Write]) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Keeps what it is given, for who is read back.
#[derive(Default, Clone)]
pub(super) struct Shelf(std::collections::BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Shelf {
    pub(super) fn take<T>(&mut self, durable: Durable<T>) -> T {
        durable.persist(self).unwrap()
    }
}

impl Records for Shelf {
    type Error = std::convert::Infallible;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, Self::Error> {
        Ok(self.0.get(&(table, key.to_vec())).cloned().map(zeroize::Zeroizing::new))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, Self::Error> {
        let of_table = self.0.iter().filter(|((of, key), _)| *of == table && key.starts_with(prefix));
        Ok(of_table.map(|((_, key), value)| (key.clone(), value.clone().into())).collect())
    }
}

impl Journal for Shelf {
    fn commit(&mut self, writes: &[Write]) -> Result<(), Self::Error> {
        for write in writes {
            match write {
                Write::Put { table, key, value } => self.0.insert((*table, key.clone()), value.to_vec()),
                Write::Delete { table, key } => self.0.remove(&(*table, key.clone())),
            };
        }
        Ok(())
    }
}

pub(super) fn take<T>(durable: Durable<T>) -> T {
    durable.persist(&mut Void).unwrap()
}

pub(super) fn own(name: &str, seed: u8) -> Arc<OwnDevice> {
    let (matrix, signing) =
        (SigningKey::from_bytes(&[seed; 32]), SigningKey::from_bytes_in(SPOILING, &[seed + 100; 32]));
    let device = Device::new(name, "D");
    let payload = Credential::payload(&device, &signing.public(), 0);
    let signature = ed25519_dalek::SigningKey::from_bytes(&matrix.to_bytes()).sign(&payload).to_bytes();
    Arc::new(OwnDevice::new(signing, device, matrix.public().0, 0, signature).unwrap())
}

/// Mallory made the group and added Bob; both stand in the same epoch.
pub(super) fn mallory_and_bob() -> (Group, Group, Counter) {
    let mut entropy = Counter(0);
    let (mallory, bob) = (own("mallory", 1), own("bob", 2));
    let vouched =
        |own: &OwnDevice| (own.device().clone(), DesiredDevice { key: own.key(), joined: Locator("$join".into()) });
    let desired: Desired = [vouched(&mallory), vouched(&bob)].into_iter().collect();
    let new = |own: &Arc<OwnDevice>| Group::new(GroupId::new("!r"), own.clone(), Settings::default());
    let (mut one, mut two) = (new(&mallory), new(&bob));
    take(one.create(NOW, &mut entropy).unwrap());
    for group in [&mut one, &mut two] {
        take(group.handle(Input::Desired(desired.clone()), NOW, &mut entropy).unwrap());
    }
    let mut packages = KeyPackages::default();
    let made = take(packages.generate(&bob, 1, false, &mut entropy).unwrap());
    let orders = Orders { packages: vec![(bob.device().clone(), made[0].bytes.clone())], update: false };
    let outcome = take(one.carry_out(orders, NOW, &mut entropy).unwrap());
    let Some(Publish::Commit(commit)) = outcome.publish.into_iter().next() else { panic!("no commit") };
    let welcome = commit.welcomes[0].clone();
    let welcome = Welcome {
        bytes: welcome.bytes.to_vec(),
        commit: commit.bytes,
        locator: Locator("$c".into()),
        epoch: commit.epoch.id,
        base: welcome.base,
        grant: welcome.grant,
    };
    take(two.join(welcome, &mut packages, NOW, &mut entropy).unwrap());
    assert_eq!(one.canonical(), two.canonical());
    (one, two, entropy)
}

/// A commit as Mallory likes it: `bend` changes bookkeeping, PSK id, PSK and removals before it is made.
fn bent(bend: impl FnOnce(&mut CommitData, &mut PskId, &mut Secret, &mut Vec<crate::id::LeafIndex>)) -> Reason {
    let (one, mut two, mut entropy) = mallory_and_bob();
    let base = one.dag.get(&one.canonical().unwrap()).unwrap();
    let mut data = CommitData {
        base: base.reference(),
        resolves: Vec::new(),
        membership: [0; 32],
        policy: [0; 32],
        changes: Vec::new(),
        grants: Vec::new(),
    };
    // Bob knows where the commit is; Mallory's copy was never told.
    let mut psk_id = PskId { base: base.id, leaf: base.own_leaf.unwrap(), r: [9; 32] };
    let mut psk = psk_secret(&no_chain(), &merge_value(Vec::new()));
    let mut removes = Vec::new();
    bend(&mut data, &mut psk_id, &mut psk, &mut removes);
    let removes = removes.iter().map(|leaf| leaf.0).collect();
    let plan = Plan { adds: Vec::new(), removes, psk_id: psk_id.encode(), authenticated_data: data.encode() };
    let draft = one.held.get(&base.id).unwrap().epoch.draft(plan, &one.own.leaf_maker(), &mut entropy).unwrap();
    let built = draft.finish(Some(&psk), &one.own.maker(), &mut entropy).unwrap();
    let heads = two.head_ids();
    let input = Input::Commit { bytes: built.bytes, locator: None, from: "mallory".into() };
    let verdict = take(two.handle(input, NOW, &mut entropy).unwrap()).verdict;
    match verdict {
        Verdict::Rejected { reason, .. } => {
            assert_eq!(two.head_ids(), heads);
            reason
        }
        Verdict::Applied(_) => panic!("applied"),
        other => panic!("{other:?}"),
    }
}

/// What is done is what is named, or the commit is refused (SPEC §2.5).
#[test]
fn unnamed_and_invented_changes_are_refused() {
    use crate::wire::{Change, Justification};
    let invented = Justification { change: Change::Add, device: Device::new("x", "y"), event: Locator::default() };
    assert_eq!(bent(|data, _, _, _| data.changes.push(invented)), Reason::Mismatch);
    assert_eq!(bent(|_, _, _, removes| removes.push(crate::id::LeafIndex(1))), Reason::Mismatch);
}

/// The PSK id names this base and the committer's own leaf (SPEC §3.1), in the one form there is (SPEC §4.1).
#[test]
fn a_point_of_somebody_else_is_refused() {
    assert_eq!(bent(|_, id, _, _| id.leaf = crate::id::LeafIndex(1)), Reason::BadPsk);
    assert_eq!(bent(|_, id, _, _| id.base.0[0] ^= 1), Reason::BadPsk);
}

/// A commit that was made with another merge value than its `resolves` say does not verify (SPEC §3.5).
#[test]
fn a_wrong_merge_value_is_a_forgery() {
    assert_eq!(bent(|_, _, psk, _| *psk = Secret::new([1; 32])), Reason::Forged);
}

/// One identity has one leaf (SPEC §5.3).
#[test]
fn one_identity_has_one_leaf() {
    let (one, other, mut entropy) = (own("twin", 1), own("twin", 2), Counter(9));
    let mut packages = KeyPackages::default();
    let package = take(packages.generate(&other, 1, false, &mut entropy).unwrap()).remove(0);
    let package = crate::mls::Package::read(one.suite(), &package.bytes).unwrap();
    let entered = Epoch::create(b"!r", &one.leaf_maker(), &mut entropy).unwrap();
    let plan = Plan { adds: vec![package], psk_id: vec![1], ..Plan::default() };
    let refused = entered.epoch.draft(plan, &one.maker(), &mut entropy).err().map(crate::error::GroupError::from);
    assert_eq!(refused, Some(crate::error::GroupError::Refused(Reason::BadCredential)));
}
