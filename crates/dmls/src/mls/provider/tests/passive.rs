//! passive-client-*: join by Welcome with given keys, then follow every proposal and commit.
//!
//! Between any two messages the group is thrown away and loaded from its view, so these vectors also test storage.

use openmls::prelude::*;
use openmls::treesync::RatchetTreeIn;
use openmls_traits::storage::{CURRENT_VERSION, Entity, StorageProvider as _, traits};
use tls_codec::Deserialize as _;
use zeroize::Zeroizing;

use super::messages::message;
use super::{Hex, Seeded, vectors};
use crate::mls::provider::encoding::{decode, encode};
use crate::mls::provider::{Provider, View};

#[derive(serde::Deserialize)]
struct PassiveClient {
    external_psks: Vec<GivenPsk>,
    key_package: Hex,
    encryption_priv: Hex,
    init_priv: Hex,
    welcome: Hex,
    ratchet_tree: Option<Hex>,
    initial_epoch_authenticator: Hex,
    epochs: Vec<Epoch>,
}

#[derive(serde::Deserialize)]
struct GivenPsk {
    psk_id: Hex,
    psk: Hex,
}

#[derive(serde::Deserialize)]
struct Epoch {
    proposals: Vec<Hex>,
    commit: Hex,
    epoch_authenticator: Hex,
}

/// The layout of OpenMLS's `KeyPackageBundle`.
#[derive(serde::Serialize, serde::Deserialize)]
struct StoredBundle {
    key_package: KeyPackage,
    private_init_key: HpkePrivateKey,
    private_encryption_key: StoredPrivate,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct StoredPrivate {
    key: HpkePrivateKey,
}

impl Entity<CURRENT_VERSION> for StoredBundle {}
impl traits::KeyPackage<CURRENT_VERSION> for StoredBundle {}

/// A key package with its private keys, from a vector.
pub(super) struct WelcomeKeys {
    pub(super) key_package: Vec<u8>,
    pub(super) init: Vec<u8>,
    pub(super) encryption: Vec<u8>,
}

impl WelcomeKeys {
    /// A view that holds them.
    pub(super) fn view(self) -> View {
        let MlsMessageBodyIn::KeyPackage(package) = message(&self.key_package).extract() else { panic!() };
        // The stored form is the same, and `validate` would look at the lifetime: some vectors' are over.
        let key_package: KeyPackage = decode(&encode(&package).unwrap()).unwrap();
        let mut entropy = Seeded::new("keys");
        let provider = Provider::over(&View::default(), &mut entropy);
        let reference = key_package.hash_ref(provider.crypto()).unwrap();
        let bundle = StoredBundle {
            key_package,
            private_init_key: self.init.into(),
            private_encryption_key: StoredPrivate { key: self.encryption.into() },
        };
        provider.storage().write_key_package(&reference, &bundle).unwrap();
        provider.into_view()
    }
}

/// Accepts what the vectors' members send.
pub(super) fn member_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .use_ratchet_tree_extension(true)
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .number_of_resumption_psks(16)
        .build()
}

/// A client that sends nothing: a view and the PSKs that it was given.
struct Client {
    view: View,
    group: GroupId,
    psks: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Client {
    fn join(vector: &PassiveClient) -> Self {
        let psks: Vec<_> =
            vector.external_psks.iter().map(|p| (p.psk_id.0.clone(), Zeroizing::new(p.psk.0.clone()))).collect();
        let keys = WelcomeKeys {
            key_package: vector.key_package.0.clone(),
            init: vector.init_priv.0.clone(),
            encryption: vector.encryption_priv.0.clone(),
        };
        let mut entropy = Seeded::new("join");
        let provider = Provider::over(&keys.view(), &mut entropy).with_external_psks(psks.clone());
        let MlsMessageBodyIn::Welcome(welcome) = message(&vector.welcome.0).extract() else { panic!() };
        let tree = vector.ratchet_tree.as_ref().map(|tree| RatchetTreeIn::tls_deserialize_exact(&tree.0).unwrap());
        let mut builder = StagedWelcome::build_from_welcome(&provider, &member_config(), welcome).unwrap();
        if let Some(tree) = tree {
            builder = builder.with_ratchet_tree(tree);
        }
        let group = builder.skip_lifetime_validation().build().unwrap().into_group(&provider).unwrap();
        let group = group.group_id().clone();
        Self { view: provider.into_view(), group, psks }
    }

    fn with_group<T>(&mut self, run: impl FnOnce(&Provider<'_>, MlsGroup) -> T) -> T {
        let mut entropy = Seeded::new("follow");
        let provider = Provider::over(&self.view, &mut entropy).with_external_psks(self.psks.clone());
        let group = MlsGroup::load(provider.storage(), &self.group).unwrap().unwrap();
        let out = run(&provider, group);
        self.view = provider.into_view();
        out
    }

    fn follow(&mut self, bytes: &Hex) {
        self.with_group(|provider, mut group| {
            let message = message(&bytes.0).try_into_protocol_message().unwrap();
            match group.process_message(provider, message).unwrap().into_content() {
                ProcessedMessageContent::ProposalMessage(proposal) => {
                    group.store_pending_proposal(provider.storage(), *proposal).unwrap();
                }
                ProcessedMessageContent::StagedCommitMessage(staged) => {
                    group.merge_staged_commit(provider, *staged).unwrap();
                }
                other => panic!("{other:?}"),
            }
        });
    }

    fn authenticator(&mut self) -> Vec<u8> {
        self.with_group(|_, group| group.epoch_authenticator().as_slice().to_vec())
    }
}

fn run(file: &str) {
    for vector in vectors::<PassiveClient>(file).unwrap_or_default() {
        let mut client = Client::join(&vector);
        assert_eq!(client.authenticator(), vector.initial_epoch_authenticator.0);
        for epoch in &vector.epochs {
            epoch.proposals.iter().for_each(|proposal| client.follow(proposal));
            client.follow(&epoch.commit);
            assert_eq!(client.authenticator(), epoch.epoch_authenticator.0);
        }
    }
}

#[test]
fn welcome() {
    run("passive-client-welcome.json");
}

#[test]
fn handling_commit() {
    run("passive-client-handling-commit.json");
}

#[test]
fn random() {
    run("passive-client-random.json");
}
