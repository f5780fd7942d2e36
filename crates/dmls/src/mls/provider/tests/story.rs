//! One parent, two forks: everything is loaded from views each time.

use openmls::prelude::*;
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use tls_codec::Serialize as _;

use super::Seeded;
use super::messages::sent;
use crate::mls::SUITE;
use crate::mls::provider::encoding::encode;
use crate::mls::provider::storage::Slot;
use crate::mls::provider::{Provider, Signer, View};
use crate::secret::Secret;

const GROUP: &[u8] = b"!room:example.org";
const COMPONENT: u16 = 0x8d02;
const PSK: [u8; 32] = [0x5a; 32];

fn config() -> MlsGroupCreateConfig {
    MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .use_ratchet_tree_extension(true)
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .number_of_resumption_psks(0)
        .lifetime(lifetime())
        .build()
}

/// Explicit: OpenMLS would take it from the system clock.
fn lifetime() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

/// A device: its signature key, its randomness, its key packages.
struct Device {
    signer: Signer,
    name: &'static str,
    entropy: Seeded,
    packages: View,
}

/// What a commit publishes, and the committer's view of the new epoch.
struct Committed {
    commit: MlsMessageOut,
    welcome: Option<MlsMessageOut>,
    view: View,
}

impl Device {
    fn new(name: &'static str) -> Self {
        let seed = <[u8; 32]>::try_from(format!("{name:->32}").as_bytes()).unwrap();
        Self { signer: Signer::from_seed(&seed), name, entropy: Seeded::new(name), packages: View::default() }
    }

    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.name.into()).into(),
            signature_key: self.signer.public().to_vec().into(),
        }
    }

    fn create(&mut self) -> View {
        let credential = self.credential();
        let provider = Provider::over(&View::default(), &mut self.entropy);
        let id = GroupId::from_slice(GROUP);
        MlsGroup::new_with_group_id(&provider, &self.signer, &config(), id, credential).unwrap();
        provider.into_view()
    }

    fn key_package(&mut self) -> KeyPackage {
        let credential = self.credential();
        let provider = Provider::over(&self.packages, &mut self.entropy);
        let bundle = KeyPackage::builder()
            .key_package_lifetime(lifetime())
            .build(SUITE, &provider, &self.signer, credential)
            .unwrap();
        self.packages = provider.into_view();
        bundle.key_package().clone()
    }

    fn commit(&mut self, parent: &View, adds: Vec<KeyPackage>, psk: bool) -> Committed {
        let provider = Provider::over(parent, &mut self.entropy).with_psk(Secret::new(PSK));
        let mut group = load(&provider);
        let id = Psk::External(ExternalPsk::new(b"dmls1 test".to_vec()));
        let proposal = psk.then(|| PreSharedKeyId::new(SUITE, provider.rand(), id).unwrap());
        let bundle = group
            .commit_builder()
            .consume_proposal_store(false)
            .propose_adds(adds)
            .add_proposals(proposal.map(|id| Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)))))
            .force_self_update(true)
            .load_psks(provider.storage())
            .unwrap()
            .build(provider.rand(), provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .stage_commit(&provider)
            .unwrap();
        group.merge_pending_commit(&provider).unwrap();
        let welcome = bundle.to_welcome_msg();
        Committed { commit: bundle.into_commit(), welcome, view: provider.into_view() }
    }

    fn join(&mut self, welcome: &MlsMessageOut) -> View {
        let provider = Provider::over(&self.packages, &mut self.entropy).with_psk(Secret::new(PSK));
        let MlsMessageBodyIn::Welcome(welcome) = sent(welcome).extract() else { panic!() };
        let staged = StagedWelcome::new_from_welcome(&provider, config().join_config(), welcome, None).unwrap();
        staged.into_group(&provider).unwrap();
        provider.into_view().without_packages()
    }

    fn receive(&mut self, parent: &View, commit: &MlsMessageOut) -> View {
        let provider = Provider::over(parent, &mut self.entropy).with_psk(Secret::new(PSK));
        let mut group = load(&provider);
        let message = sent(commit).try_into_protocol_message().unwrap();
        let content = group.process_message(&provider, message).unwrap().into_content();
        let ProcessedMessageContent::StagedCommitMessage(staged) = content else { panic!() };
        group.merge_staged_commit(&provider, *staged).unwrap();
        provider.into_view()
    }

    fn say(&mut self, view: &mut View, text: &str) -> MlsMessageOut {
        let provider = Provider::over(view, &mut self.entropy);
        let message = load(&provider).create_message(&provider, &self.signer, text.as_bytes()).unwrap();
        *view = provider.into_view();
        message
    }

    fn hear(&mut self, view: &mut View, message: &MlsMessageOut) -> Option<String> {
        let provider = Provider::over(view, &mut self.entropy);
        let message = sent(message).try_into_protocol_message().unwrap();
        let content = load(&provider).process_message(&provider, message).ok()?.into_content();
        let ProcessedMessageContent::ApplicationMessage(text) = content else { panic!() };
        *view = provider.into_view();
        Some(String::from_utf8(text.into_bytes()).unwrap())
    }

    /// The component's export, if this epoch still has it.
    fn export(&mut self, view: &mut View) -> Option<Vec<u8>> {
        let provider = Provider::over(view, &mut self.entropy);
        let mut group = load(&provider);
        let secret = group.safe_export_secret(provider.crypto(), provider.storage(), COMPONENT).ok();
        let again = group.safe_export_secret(provider.crypto(), provider.storage(), COMPONENT);
        assert!(again.is_err(), "twice in one session");
        *view = provider.into_view();
        secret
    }
}

fn load(provider: &Provider<'_>) -> MlsGroup {
    MlsGroup::load(provider.storage(), &GroupId::from_slice(GROUP)).unwrap().unwrap()
}

fn authenticator(view: &View) -> Vec<u8> {
    let mut entropy = Seeded::new("read");
    load(&Provider::over(view, &mut entropy)).epoch_authenticator().as_slice().to_vec()
}

fn bytes(message: &MlsMessageOut) -> Vec<u8> {
    message.tls_serialize_detached().unwrap()
}

/// Same keys and values.
fn same(a: &View, b: &View) -> bool {
    a.changes_since(b) == (vec![], vec![])
}

/// Three devices in one epoch, and a fourth outside.
struct Stage {
    a: Device,
    b: Device,
    c: Device,
    d: Device,
    base: [View; 3],
    /// All bytes published so far.
    published: Vec<Vec<u8>>,
}

fn stage() -> Stage {
    let [mut a, mut b, mut c, d] = ["a", "b", "c", "d"].map(Device::new);
    let packages = vec![b.key_package(), c.key_package()];
    let mut published: Vec<_> = packages.iter().map(|p| p.tls_serialize_detached().unwrap()).collect();
    let genesis = a.create();
    let first = a.commit(&genesis, packages, false);
    let welcome = first.welcome.unwrap();
    published.extend([bytes(&first.commit), bytes(&welcome)]);
    let base = [first.view, b.join(&welcome), c.join(&welcome)];
    Stage { a, b, c, d, base, published }
}

/// Each operation works on a copy (SPEC §7.4).
#[test]
fn two_forks_live_beside_their_parent() {
    let Stage { mut a, mut b, mut c, mut d, base: [mut a0, mut b0, c0], .. } = stage();
    let kept = a0.clone();
    let one = b.commit(&b0, vec![d.key_package()], true);
    let two = c.commit(&c0, vec![], true);
    let (mut a1, mut a2) = (a.receive(&a0, &one.commit), a.receive(&a0, &two.commit));
    let (mut c1, mut d1) = (c.receive(&c0, &one.commit), d.join(&one.welcome.unwrap()));
    let mut b2 = b.receive(&b0, &two.commit);
    assert!(same(&a0, &kept), "processing left the parent alone");

    let authenticators = [&a1, &c1, &d1, &one.view].map(authenticator);
    assert!(authenticators.iter().all(|x| *x == authenticators[0]));
    assert_eq!(authenticator(&a2), authenticator(&two.view));
    assert_ne!(authenticator(&a1), authenticator(&a2));

    let (in_base, in_one, in_two) = (a.say(&mut a0, "base"), d.say(&mut d1, "one"), a.say(&mut a2, "two"));
    assert_eq!(b.hear(&mut b0, &in_base).as_deref(), Some("base"));
    assert_eq!(a.hear(&mut a1, &in_one).as_deref(), Some("one"));
    assert_eq!(c.hear(&mut c1, &in_one).as_deref(), Some("one"));
    assert_eq!(b.hear(&mut b2, &in_two).as_deref(), Some("two"));
    assert_eq!(b.hear(&mut b2, &in_two), None, "a replay after reload");
    assert_eq!(b.hear(&mut b0, &in_two), None, "a message of a fork in its parent");
    let late = a.receive(&a0, &two.commit);
    assert_eq!(authenticator(&late), authenticator(&a2), "a parent in use still takes a late commit");
}

/// What a merge export is can be had once (SPEC §3.4).
#[test]
fn each_epoch_exports_once() {
    let Stage { mut a, mut b, mut c, base: [a0, b0, c0], .. } = stage();
    let fork = b.commit(&b0, vec![], false);
    let (mut a1, mut b1, mut c1) = (a.receive(&a0, &fork.commit), fork.view, c.receive(&c0, &fork.commit));
    let exports = [a.export(&mut a1), b.export(&mut b1), c.export(&mut c1)];
    assert!(exports[0].is_some() && exports.iter().all(|export| *export == exports[0]));
    assert_eq!([a.export(&mut a1), b.export(&mut b1), c.export(&mut c1)], [None, None, None], "after reload");
    let (mut a0, mut b0) = (a0, b0);
    let parent = a.export(&mut a0);
    assert!(parent.is_some() && parent != exports[0], "the parent's own export is another");
    assert_eq!(parent, b.export(&mut b0));
}

#[test]
fn equal_randomness_publishes_equal_bytes() {
    let run = || {
        let Stage { mut b, mut d, base: [_, b0, _], mut published, .. } = stage();
        let package = d.key_package();
        published.push(package.tls_serialize_detached().unwrap());
        let mut next = b.commit(&b0, vec![package], true);
        published.extend([bytes(&next.commit), bytes(next.welcome.as_ref().unwrap())]);
        published.push(bytes(&b.say(&mut next.view, "hello")));
        (published, next.view)
    };
    let ((first, view), (second, again)) = (run(), run());
    assert_eq!(first, second);
    // OpenMLS stamps the message secrets of a new epoch with the system clock (`MessageSecrets::added_at`), and
    // nothing else: no other stored value depends on the run.
    let (puts, deletes) = again.changes_since(&view);
    assert!(
        puts.iter().all(|(key, _)| key[0] == Slot::MessageSecrets as u8),
        "{:?}",
        puts.iter().map(|(key, _)| key[0]).collect::<Vec<_>>()
    );
    assert!(deletes.is_empty());
}

/// Whether `needle` occurs in a stored value, as CBOR's array of numbers (the form of OpenMLS's byte vectors).
fn holds(view: &View, needle: &[u8]) -> bool {
    let array = encode(needle).unwrap();
    let elements = &array[2..];
    view.iter().any(|(_, value)| value.windows(elements.len()).any(|window| window == elements))
}

#[test]
fn no_view_holds_the_psk() {
    let Stage { mut a, mut b, mut d, base: [a0, b0, _], .. } = stage();
    let fork = b.commit(&b0, vec![d.key_package()], true);
    assert!(holds(&fork.view, &authenticator(&fork.view)), "the search finds what is there");
    let views = [a.receive(&a0, &fork.commit), d.join(&fork.welcome.unwrap()), fork.view];
    assert!(views.iter().all(|view| !holds(view, &PSK)));
}

/// However early the source fails: an error, or the mark that all must be thrown away.
/// (SPEC §6.3)
#[test]
fn failing_randomness_never_passes_unseen() {
    let Stage { a, d, base: [a0, _, _], .. } = stage();
    let mut passed = None;
    for draws in 0..200 {
        let mut entropy = Seeded::failing_after("commit", draws);
        let provider = Provider::over(&a0, &mut entropy);
        let made = commit_with(&provider, &a.signer, &d.credential(), &d.signer);
        assert_eq!(made.is_some(), !provider.entropy_failed(), "{draws} draws");
        if made.is_some() {
            passed = Some(draws);
            break;
        }
    }
    assert!(passed.is_some_and(|draws| draws > 2), "{passed:?}");
}

/// A key package, a commit that adds it, and a message after it.
fn commit_with(
    provider: &Provider<'_>,
    signer: &Signer,
    added: &CredentialWithKey,
    added_signer: &Signer,
) -> Option<MlsMessageOut> {
    let package = KeyPackage::builder().build(SUITE, provider, added_signer, added.clone()).ok()?;
    let mut group = load(provider);
    group
        .commit_builder()
        .propose_adds([package.key_package().clone()])
        .force_self_update(true)
        .load_psks(provider.storage())
        .ok()?
        .build(provider.rand(), provider.crypto(), signer, |_| true)
        .ok()?
        .stage_commit(provider)
        .ok()?;
    group.merge_pending_commit(provider).ok()?;
    group.create_message(provider, signer, b"text").ok()
}
