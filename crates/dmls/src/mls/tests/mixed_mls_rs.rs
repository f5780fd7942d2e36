//! Groups of members of ours and of mls-rs.
#![allow(clippy::unwrap_used, clippy::panic)]

use mls_rs::client_builder::MlsConfig;
use mls_rs::crypto::{SignaturePublicKey, SignatureSecretKey};
use mls_rs::group::{CommitEffect, ExportedTree, ReceivedMessage};
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules};
use mls_rs::psk::{ExternalPskId, PreSharedKey};
use mls_rs::storage_provider::in_memory::InMemoryPreSharedKeyStorage;
use mls_rs::{CipherSuite, Client, Group, MlsMessage};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use super::mixed::{Entrance, Peer, PeerKind, Work, commits_wanted, play};
use crate::secret::Secret;

const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

struct MlsRs<C: MlsConfig> {
    client: Client<C>,
    psks: InMemoryPreSharedKeyStorage,
    group: Option<Group<C>>,
}

fn mls_rs(kind: PeerKind) -> MlsRs<impl MlsConfig + use<>> {
    let psks = InMemoryPreSharedKeyStorage::default();
    let public = kind.identity.signer().public().to_vec();
    let secret = SignatureSecretKey::new([&kind.identity.seed[..], &public].concat());
    let credential = BasicCredential::new(kind.identity.content).into_credential();
    let identity = SigningIdentity::new(credential, SignaturePublicKey::new(public));
    let options = CommitOptions::new().with_path_required(true).with_ratchet_tree_extension(kind.tree_in_welcome);
    let client = Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(RustCryptoProvider::default())
        .psk_store(psks.clone())
        .mls_rules(DefaultMlsRules::new().with_commit_options(options))
        .signing_identity(identity, secret, SUITE)
        .build();
    MlsRs { client, psks, group: None }
}

fn message(bytes: &[u8]) -> MlsMessage {
    MlsMessage::from_bytes(bytes).unwrap()
}

impl<C: MlsConfig> MlsRs<C> {
    fn group(&self) -> &Group<C> {
        self.group.as_ref().unwrap()
    }

    fn process(&mut self, bytes: &[u8]) -> ReceivedMessage {
        self.group.as_mut().unwrap().process_incoming_message(message(bytes)).unwrap()
    }
}

impl<C: MlsConfig> Peer for MlsRs<C> {
    fn found(&mut self, group: &[u8]) {
        let made = self.client.create_group_with_id(group.to_vec(), Default::default(), Default::default(), None);
        self.group = Some(made.unwrap());
    }

    fn key_package(&mut self) -> Vec<u8> {
        let package = self.client.generate_key_package_message(Default::default(), Default::default(), None);
        package.unwrap().to_bytes().unwrap()
    }

    fn learn(&mut self, psk_id: &[u8], psk: &Secret) {
        self.psks.insert(ExternalPskId::new(psk_id.to_vec()), PreSharedKey::new(psk.expose().to_vec()));
    }

    fn join(&mut self, welcome: &[u8], tree: Option<&[u8]>) {
        let tree = tree.map(|tree| ExportedTree::from_bytes(tree).unwrap());
        let (group, _) = self.client.join_group(tree, &message(welcome), None).unwrap();
        self.group = Some(group);
    }

    fn join_externally(&mut self, door: &Entrance<'_>) -> Vec<u8> {
        let mut builder = self.client.external_commit_builder().unwrap();
        if let Some(tree) = door.tree {
            builder = builder.with_tree_data(ExportedTree::from_bytes(tree).unwrap());
        }
        if let Some(leaf) = door.old_leaf {
            builder = builder.with_removal(leaf);
        }
        if let Some(id) = door.psk_id {
            builder = builder.with_external_psk(ExternalPskId::new(id.to_vec()));
        }
        let (group, commit) = builder.build(message(door.info)).unwrap();
        self.group = Some(group);
        commit.to_bytes().unwrap()
    }

    fn commit(&mut self, work: &Work<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        let group = self.group.as_mut().unwrap();
        let mut builder = group.commit_builder();
        for package in work.packages {
            builder = builder.add_member(message(package)).unwrap();
        }
        for leaf in work.removes {
            builder = builder.remove_member(*leaf).unwrap();
        }
        let output = builder.add_external_psk(ExternalPskId::new(work.psk_id.to_vec())).unwrap().build().unwrap();
        group.apply_pending_commit().unwrap();
        let welcome = output.welcome_messages().first().map(|welcome| welcome.to_bytes().unwrap());
        (output.commit_message().to_bytes().unwrap(), welcome)
    }

    fn take(&mut self, commit: &[u8]) -> bool {
        let ReceivedMessage::Commit(taken) = self.process(commit) else { panic!("no commit") };
        matches!(taken.effect, CommitEffect::NewEpoch(_))
    }

    fn leaf(&self) -> u32 {
        self.group().current_member_index()
    }

    fn tree(&self) -> Vec<u8> {
        self.group().export_tree().to_bytes().unwrap()
    }

    fn info(&mut self, with_tree: bool) -> Vec<u8> {
        self.group().group_info_message_allowing_ext_commit(with_tree).unwrap().to_bytes().unwrap()
    }

    fn merge_export(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn seal(&mut self, authenticated: &[u8], text: &[u8]) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        group.encrypt_application_message(text, authenticated.to_vec()).unwrap().to_bytes().unwrap()
    }

    fn open(&mut self, message: &[u8]) -> (u32, Vec<u8>) {
        let ReceivedMessage::ApplicationMessage(opened) = self.process(message) else { panic!("no text") };
        (opened.sender_index, opened.data().to_vec())
    }
}

/// Both read what the other makes, and mean the same by it.
#[test]
fn we_and_mls_rs_agree_on_every_commit() {
    let counts = play("mls-rs", commits_wanted(), &mls_rs);
    assert!(counts.we_joined_theirs > 0 && counts.they_joined_ours > 0 && counts.came_back > 0, "{counts:?}");
}
