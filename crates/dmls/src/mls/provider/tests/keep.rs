//! Views, storage and PSKs.

use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::random::OpenMlsRand as _;
use openmls_traits::storage::{CURRENT_VERSION, Entity, Key, StorageProvider as _, traits};
use zeroize::Zeroizing;

use super::Seeded;
use crate::mls::provider::storage::StorageError;
use crate::mls::provider::{Provider, View};
use crate::secret::Secret;

#[derive(serde::Serialize)]
struct Group(&'static str);

impl Key<CURRENT_VERSION> for Group {}
impl traits::GroupId<CURRENT_VERSION> for Group {}
impl traits::HashReference<CURRENT_VERSION> for Group {}
impl traits::EncryptionKey<CURRENT_VERSION> for Group {}
impl traits::SignaturePublicKey<CURRENT_VERSION> for Group {}
impl traits::EpochKey<CURRENT_VERSION> for Group {}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Value(String);

fn value(text: &str) -> Value {
    Value(text.into())
}

impl Key<CURRENT_VERSION> for Value {}
impl Entity<CURRENT_VERSION> for Value {}
impl traits::TreeSync<CURRENT_VERSION> for Value {}
impl traits::LeafNode<CURRENT_VERSION> for Value {}
impl traits::ProposalRef<CURRENT_VERSION> for Value {}
impl traits::QueuedProposal<CURRENT_VERSION> for Value {}
impl traits::HpkeKeyPair<CURRENT_VERSION> for Value {}
impl traits::KeyPackage<CURRENT_VERSION> for Value {}
impl traits::SignatureKeyPair<CURRENT_VERSION> for Value {}

/// OpenMLS's `PskBundle`, which is private: the layout that it decodes.
#[derive(serde::Serialize, serde::Deserialize)]
struct Bundle {
    secret: BundleSecret,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct BundleSecret {
    value: tls_codec::SecretVLBytes,
}

impl Entity<CURRENT_VERSION> for Bundle {}
impl traits::PskBundle<CURRENT_VERSION> for Bundle {}

fn over<T>(view: &View, run: impl FnOnce(&Provider<'_>) -> T) -> (T, View) {
    let mut entropy = Seeded::new("keep");
    let provider = Provider::over(view, &mut entropy);
    let out = run(&provider);
    (out, provider.into_view())
}

fn entry(key: &[u8], value: &[u8]) -> (Vec<u8>, Zeroizing<Vec<u8>>) {
    (key.to_vec(), Zeroizing::new(value.to_vec()))
}

#[test]
fn changes_turn_the_older_view_into_the_newer() {
    let older = View::from_entries([entry(b"a", b"1"), entry(b"b", b"2"), entry(b"c", b"3")]);
    let newer = View::from_entries([entry(b"b", b"2"), entry(b"c", b"4"), entry(b"d", b"5")]);
    let (puts, deletes) = newer.changes_since(&older);
    assert_eq!(puts, [entry(b"c", b"4"), entry(b"d", b"5")]);
    assert_eq!(deletes, [b"a".to_vec()]);
    assert_eq!(newer.changes_since(&newer.clone()), (vec![], vec![]));
    assert_eq!(newer.changes_since(&View::default()).0.len(), newer.len());
}

#[test]
fn debug_shows_no_value() {
    let shown = format!("{:?}", View::from_entries([entry(b"key", b"planted secret")]));
    assert_eq!(shown, "View(1 values)");
    let signer = crate::mls::provider::Signer::from_seed(&[7; 32]);
    assert_eq!(format!("{signer:?}"), "Signer(…)");
}

#[test]
fn writes_and_deletes_leave_the_parent_view_alone() {
    let (_, parent) = over(&View::default(), |p| {
        p.storage().write_tree(&Group("g"), &value("parent")).unwrap();
        p.storage().write_encryption_epoch_key_pairs(&Group("g"), &Group("1"), 0, &[value("k")]).unwrap();
    });
    let (_, child) = over(&parent, |p| {
        p.storage().write_tree(&Group("g"), &value("child")).unwrap();
        p.storage().delete_encryption_epoch_key_pairs(&Group("g"), &Group("1"), 0).unwrap();
    });
    let tree = |view| over(view, |p| p.storage().tree::<_, Value>(&Group("g")).unwrap()).0;
    let keys = |view| {
        let read = |p: &Provider<'_>| p.storage().encryption_epoch_key_pairs(&Group("g"), &Group("1"), 0).unwrap();
        over(view, read).0
    };
    assert_eq!((tree(&parent), keys(&parent)), (Some(value("parent")), vec![value("k")]));
    assert_eq!((tree(&child), keys(&child)), (Some(value("child")), Vec::<Value>::new()));
}

#[test]
fn keys_of_different_kinds_groups_epochs_and_leaves_are_apart() {
    let (_, view) = over(&View::default(), |p| {
        let s = p.storage();
        s.write_tree(&Group("a"), &value("tree a")).unwrap();
        s.write_tree(&Group("b"), &value("tree b")).unwrap();
        for (group, epoch, leaf) in [("a", "1", 0), ("a", "1", 1), ("a", "2", 0), ("b", "1", 0)] {
            let pair = value(&format!("{group}{epoch}{leaf}"));
            s.write_encryption_epoch_key_pairs(&Group(group), &Group(epoch), leaf, &[pair]).unwrap();
        }
    });
    assert_eq!(view.len(), 6);
    over(&view, |p| {
        assert_eq!(p.storage().tree::<_, Value>(&Group("b")).unwrap(), Some(value("tree b")));
        let pairs: Vec<Value> = p.storage().encryption_epoch_key_pairs(&Group("a"), &Group("1"), 1).unwrap();
        assert_eq!(pairs, [value("a11")]);
    });
}

#[test]
fn lists_keep_their_order_and_replace_equal_references() {
    let g = Group("g");
    let (_, view) = over(&View::default(), |p| {
        for (reference, proposal) in [("r1", "p1"), ("r2", "p2"), ("r3", "p3"), ("r1", "p1 again")] {
            p.storage().queue_proposal(&g, &value(reference), &value(proposal)).unwrap();
        }
        p.storage().remove_proposal(&g, &value("r2")).unwrap();
        p.storage().append_own_leaf_node(&g, &value("leaf 1")).unwrap();
        p.storage().append_own_leaf_node(&g, &value("leaf 2")).unwrap();
    });
    let (_, emptied) = over(&view, |p| {
        let queue: Vec<(Value, Value)> = p.storage().queued_proposals(&g).unwrap();
        assert_eq!(queue, [(value("r3"), value("p3")), (value("r1"), value("p1 again"))]);
        let refs: Vec<Value> = p.storage().queued_proposal_refs(&g).unwrap();
        assert_eq!(refs, [value("r3"), value("r1")]);
        let leaves: Vec<Value> = p.storage().own_leaf_nodes(&g).unwrap();
        assert_eq!(leaves, [value("leaf 1"), value("leaf 2")]);
        p.storage().clear_proposal_queue::<_, Value>(&g).unwrap();
        p.storage().delete_own_leaf_nodes(&g).unwrap();
    });
    assert_eq!(emptied.len(), 0);
    over(&emptied, |p| {
        assert!(p.storage().queued_proposals::<_, Value, Value>(&g).unwrap().is_empty());
        assert!(p.storage().own_leaf_nodes::<_, Value>(&g).unwrap().is_empty());
    });
}

#[test]
fn without_packages_keeps_only_what_is_the_groups() {
    let (_, view) = over(&View::default(), |p| {
        p.storage().write_tree(&Group("g"), &value("tree")).unwrap();
        p.storage().write_key_package(&Group("k"), &value("package")).unwrap();
        p.storage().write_signature_key_pair(&Group("s"), &value("pair")).unwrap();
        p.storage().write_encryption_key_pair(&Group("e"), &value("pending leaf")).unwrap();
    });
    let left = view.clone().without_packages();
    assert_eq!((view.len(), left.len()), (4, 2));
    over(&left, |p| assert!(p.storage().key_package::<_, Value>(&Group("k")).unwrap().is_none()));
}

#[test]
fn a_damaged_value_is_an_error() {
    let (_, view) = over(&View::default(), |p| p.storage().write_tree(&Group("g"), &value("tree")).unwrap());
    let damaged = View::from_entries(view.iter().map(|(key, _)| entry(key, b"\xff")));
    over(&damaged, |p| assert_eq!(p.storage().tree::<_, Value>(&Group("g")), Err(StorageError::Decode)));
}

fn ask(provider: &Provider<'_>, id: &Psk) -> Option<Vec<u8>> {
    let bundle: Option<Bundle> = provider.storage().psk(id).unwrap();
    bundle.map(|bundle| bundle.secret.value.as_slice().to_vec())
}

fn external(id: &[u8]) -> Psk {
    Psk::External(ExternalPsk::new(id.to_vec()))
}

#[test]
fn only_external_ids_of_ours_get_the_secret() {
    let mut entropy = Seeded::new("psk");
    let provider = Provider::over(&View::default(), &mut entropy).with_psk(Secret::new([9; 32]));
    assert_eq!(ask(&provider, &external(b"dmls1|base")), Some(vec![9; 32]));
    assert_eq!(ask(&provider, &external(b"dmls2|base")), None);
    assert_eq!(ask(&provider, &external(b"")), None);
    let application = PreSharedKeyId::application(7, b"dmls1".to_vec(), vec![0; 32]);
    assert_eq!(ask(&provider, application.psk()), None);
    over(&View::default(), |p| assert_eq!(ask(p, &external(b"dmls1|base")), None));
}

#[test]
fn no_view_takes_a_psk() {
    let (stored, view) =
        over(&View::default(), |p| PreSharedKeyId::external(b"dmls1".to_vec(), vec![0; 32]).store(p, &[9; 32]));
    assert!(stored.is_err());
    assert_eq!(view.len(), 0);
}

#[test]
fn failed_randomness_is_an_error_and_remembered() {
    let mut entropy = Seeded::failing_after("", 2);
    let provider = Provider::over(&View::default(), &mut entropy);
    assert!(provider.rand().random_array::<16>().is_ok());
    assert!(!provider.entropy_failed());
    assert!(provider.rand().random_vec(16).is_err());
    assert!(provider.entropy_failed());
}
