//! Groups of members of ours and of OpenMLS.
#![allow(clippy::unwrap_used, clippy::panic)]

use openmls::prelude::*;
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::{Signer, SignerError};
use tls_codec::{Deserialize as _, Serialize as _};

use super::mixed::{Entrance, Peer, PeerKind, Work, commits_wanted, play};
use super::world::Identity;
use crate::secret::Secret;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
const MERGE_COMPONENT: u16 = 0x8d02;

struct Keys(Identity);

impl Signer for Keys {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.signer().sign(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

struct OpenMls {
    provider: OpenMlsRustCrypto,
    keys: Keys,
    credential: CredentialWithKey,
    tree_in_welcome: bool,
    group: Option<MlsGroup>,
}

fn message(bytes: &[u8]) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact(bytes).unwrap()
}

impl OpenMls {
    fn new(kind: PeerKind) -> Self {
        let credential = CredentialWithKey {
            credential: BasicCredential::new(kind.identity.content.clone()).into(),
            signature_key: kind.identity.signer().public().to_vec().into(),
        };
        let provider = OpenMlsRustCrypto::default();
        let keys = Keys(kind.identity);
        Self { provider, keys, credential, tree_in_welcome: kind.tree_in_welcome, group: None }
    }

    fn config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(self.tree_in_welcome)
            .build()
    }

    fn group(&self) -> &MlsGroup {
        self.group.as_ref().unwrap()
    }

    fn psk_proposal(&self, id: &[u8]) -> PreSharedKeyProposal {
        let psk = Psk::External(ExternalPsk::new(id.to_vec()));
        PreSharedKeyProposal::new(PreSharedKeyId::new(SUITE, self.provider.rand(), psk).unwrap())
    }

    fn process(&mut self, bytes: &[u8]) -> ProcessedMessage {
        let message = message(bytes).try_into_protocol_message().unwrap();
        self.group.as_mut().unwrap().process_message(&self.provider, message).unwrap()
    }
}

impl Peer for OpenMls {
    fn found(&mut self, group: &[u8]) {
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(self.tree_in_welcome)
            .build();
        let (id, credential) = (GroupId::from_slice(group), self.credential.clone());
        let group = MlsGroup::new_with_group_id(&self.provider, &self.keys, &config, id, credential);
        self.group = Some(group.unwrap());
    }

    fn key_package(&mut self) -> Vec<u8> {
        let bundle = KeyPackage::builder().build(SUITE, &self.provider, &self.keys, self.credential.clone()).unwrap();
        MlsMessageOut::from(bundle.key_package().clone()).tls_serialize_detached().unwrap()
    }

    fn learn(&mut self, psk_id: &[u8], psk: &Secret) {
        // The nonce is no part of what the value is stored under.
        PreSharedKeyId::external(psk_id.to_vec(), vec![0; 32]).store(&self.provider, psk.expose()).unwrap();
    }

    fn join(&mut self, welcome: &[u8], tree: Option<&[u8]>) {
        let MlsMessageBodyIn::Welcome(welcome) = message(welcome).extract() else { panic!("no Welcome") };
        let mut builder = StagedWelcome::build_from_welcome(&self.provider, &self.config(), welcome).unwrap();
        if let Some(tree) = tree {
            builder = builder.with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(tree).unwrap());
        }
        // Our lifetimes never end, which is longer than what OpenMLS would have.
        let staged = builder.skip_lifetime_validation().build().unwrap();
        self.group = Some(staged.into_group(&self.provider).unwrap());
    }

    fn join_externally(&mut self, door: &Entrance<'_>) -> Vec<u8> {
        let MlsMessageBodyIn::GroupInfo(info) = message(door.info).extract() else { panic!("no GroupInfo") };
        let mut builder = MlsGroup::external_commit_builder().with_config(self.config()).skip_lifetime_validation();
        if let Some(tree) = door.tree {
            builder = builder.with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(tree).unwrap());
        }
        // The old leaf it finds by itself.
        let builder = builder.build_group(&self.provider, info, self.credential.clone()).unwrap();
        let builder = builder.add_psk_proposals(door.psk_id.map(|id| self.psk_proposal(id)));
        let (random, crypto) = (self.provider.rand(), self.provider.crypto());
        let builder = builder.load_psks(self.provider.storage()).unwrap();
        let built = builder.build(random, crypto, &self.keys, |_| true).unwrap();
        let (group, bundle) = built.finalize(&self.provider).unwrap();
        self.group = Some(group);
        bundle.commit().tls_serialize_detached().unwrap()
    }

    fn commit(&mut self, work: &Work<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        let crypto = self.provider.crypto();
        let read = |bytes: &Vec<u8>| match message(bytes).extract() {
            MlsMessageBodyIn::KeyPackage(package) => package.validate(crypto, ProtocolVersion::Mls10).unwrap(),
            _ => panic!("no key package"),
        };
        let adds: Vec<KeyPackage> = work.packages.iter().map(read).collect();
        let psk = Proposal::PreSharedKey(Box::new(self.psk_proposal(work.psk_id)));
        let builder = self.group.as_mut().unwrap().commit_builder().consume_proposal_store(false);
        let removes = work.removes.iter().copied().map(LeafNodeIndex::new);
        let builder = builder.propose_adds(adds).propose_removals(removes).add_proposal(psk).force_self_update(true);
        let builder = builder.load_psks(self.provider.storage()).unwrap();
        let built = builder.build(self.provider.rand(), crypto, &self.keys, |_| true).unwrap();
        let bundle = built.stage_commit(&self.provider).unwrap();
        let welcome = bundle.to_welcome_msg().map(|welcome| welcome.tls_serialize_detached().unwrap());
        self.group.as_mut().unwrap().merge_pending_commit(&self.provider).unwrap();
        (bundle.commit().tls_serialize_detached().unwrap(), welcome)
    }

    fn take(&mut self, commit: &[u8]) -> bool {
        let ProcessedMessageContent::StagedCommitMessage(staged) = self.process(commit).into_content() else {
            panic!("no commit")
        };
        let group = self.group.as_mut().unwrap();
        group.merge_staged_commit(&self.provider, *staged).unwrap();
        group.is_active()
    }

    fn leaf(&self) -> u32 {
        self.group().own_leaf_index().u32()
    }

    fn tree(&self) -> Vec<u8> {
        self.group().export_ratchet_tree().tls_serialize_detached().unwrap()
    }

    fn info(&mut self, with_tree: bool) -> Vec<u8> {
        let info = self.group().export_group_info(self.provider.crypto(), &self.keys, with_tree);
        info.unwrap().tls_serialize_detached().unwrap()
    }

    fn merge_export(&mut self) -> Option<Vec<u8>> {
        let (crypto, storage) = (self.provider.crypto(), self.provider.storage());
        Some(self.group.as_mut().unwrap().safe_export_secret(crypto, storage, MERGE_COMPONENT).unwrap())
    }

    fn seal(&mut self, authenticated: &[u8], text: &[u8]) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        group.set_aad(authenticated.to_vec());
        group.create_message(&self.provider, &self.keys, text).unwrap().tls_serialize_detached().unwrap()
    }

    fn open(&mut self, message: &[u8]) -> (u32, Vec<u8>) {
        let processed = self.process(message);
        let Sender::Member(leaf) = *processed.sender() else { panic!("by no member") };
        let ProcessedMessageContent::ApplicationMessage(text) = processed.into_content() else { panic!("no text") };
        (leaf.u32(), text.into_bytes())
    }
}

/// Both read what the other makes, and mean the same by it.
#[test]
fn we_and_openmls_agree_on_every_commit() {
    let counts = play("OpenMLS", commits_wanted(), &OpenMls::new);
    assert!(counts.we_joined_theirs > 0 && counts.they_joined_ours > 0 && counts.came_back > 0, "{counts:?}");
}
