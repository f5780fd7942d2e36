//! message-protection and messages.

use std::sync::Arc;

use tls_codec::{Deserialize, Serialize, VLBytes};

use super::client::unframe;
use super::given::{hex, number, secret, vectors};
use crate::mls::ratchets::Ratchets;
use crate::mls::refusal::{Feature, Refusal};
use crate::mls::tree::{Leaf, Maker, Tree};
use crate::mls::wire::{
    Commit, Content, Extension, FramedContent, GroupContext, GroupInfo, GroupSecrets, KeyPackage, LeafNode,
    PreSharedKeyId, PrivateMessage, PublicCommit, TreeNode, Welcome, WireFormat, body, decode, encode, next,
};
use crate::mls::{Epoch, OwnPackage};
use crate::suite::X25519_ED25519;

fn round<T: Deserialize + Serialize>(bytes: &[u8]) {
    assert_eq!(encode(&decode::<T>(bytes).unwrap()), bytes);
}

#[test]
fn messages() {
    for vector in vectors("messages") {
        let of = |name: &str| hex(&vector, name);
        round::<Welcome>(body(&of("mls_welcome"), WireFormat::Welcome).unwrap());
        round::<GroupInfo>(body(&of("mls_group_info"), WireFormat::GroupInfo).unwrap());
        round::<KeyPackage>(body(&of("mls_key_package"), WireFormat::KeyPackage).unwrap());
        round::<PrivateMessage>(body(&of("private_message"), WireFormat::PrivateMessage).unwrap());
        round::<Vec<Option<TreeNode>>>(&of("ratchet_tree"));
        round::<GroupSecrets>(&of("group_secrets"));
        round::<Commit>(&of("commit"));
        round::<KeyPackage>(&of("add_proposal"));
        round::<LeafNode>(&of("update_proposal"));
        round::<PreSharedKeyId>(&of("pre_shared_key_proposal"));
        round::<Vec<Extension>>(&of("group_context_extensions_proposal"));
        round::<u32>(&of("remove_proposal"));
        round::<VLBytes>(&of("external_init_proposal"));
        for (name, refusal) in [
            ("public_message_application", Refusal::Kind),
            ("public_message_proposal", Refusal::Unsupported(Feature::ProposalMessage)),
        ] {
            let bytes = of(name);
            let mut rest = body(&bytes, WireFormat::PublicMessage).unwrap();
            let start = rest;
            let content: FramedContent = next(&mut rest).unwrap();
            assert_eq!(encode(&content), start[..start.len() - rest.len()]);
            assert_eq!(PublicCommit::parse(&bytes).unwrap_err(), refusal);
        }
        let bytes = of("public_message_commit");
        let parsed = PublicCommit::parse(&bytes).unwrap();
        assert_eq!(encode(&parsed.content), parsed.framed);
    }
}

#[test]
fn message_protection() {
    for vector in vectors("message-protection") {
        let signer = X25519_ED25519.signer(&hex(&vector, "signature_priv")[..32].try_into().unwrap());
        let other = X25519_ED25519.signer(&[9; 32]);
        assert_eq!(signer.public()[..], hex(&vector, "signature_pub")[..]);
        let own = Maker { suite: X25519_ED25519, signer: &*signer, identity: &[1], serial: None };
        let reader = Maker { suite: X25519_ED25519, signer: &*other, identity: &[2], serial: None };
        let mut entropy = super::given::Seeded::new("protection");
        // The sender is leaf 1 of two.
        let mut leaf = |maker: &Maker<'_>| {
            let package = OwnPackage::make(maker, false, &mut entropy).unwrap();
            Leaf::parse(X25519_ED25519, &package.wire.leaf).unwrap()
        };
        let mut tree = Tree::of(leaf(&reader)).unwrap();
        assert_eq!(tree.add(leaf(&own)).unwrap(), 1);
        let entered = Epoch::create(&hex(&vector, "group_id"), &reader, &mut entropy).unwrap();
        let mut epoch = entered.epoch;
        let mut secrets = (*epoch.secrets).clone();
        secrets.sender_data = secret(&vector, "sender_data_secret");
        secrets.membership = secret(&vector, "membership_key");
        epoch.secrets = Arc::new(secrets);
        epoch.public.context = Arc::new(GroupContext {
            version: 1,
            suite: 1,
            group_id: hex(&vector, "group_id").into(),
            epoch: number(&vector, "epoch"),
            tree_hash: hex(&vector, "tree_hash").into(),
            confirmed_transcript_hash: hex(&vector, "confirmed_transcript_hash").into(),
            extensions: Vec::new(),
        });
        let ratchets = Ratchets::new(secret(&vector, "encryption_secret"), tree.height());
        epoch.public.tree = tree;
        for name in ["proposal_pub", "proposal_priv"] {
            let content = unframe(&epoch, &ratchets, &hex(&vector, name)).content.content;
            let Content::Proposal(proposal) = content else { panic!("{name}") };
            assert_eq!(encode(&proposal), hex(&vector, "proposal"), "{name}");
        }
        for name in ["commit_pub", "commit_priv"] {
            let content = unframe(&epoch, &ratchets, &hex(&vector, name)).content.content;
            let Content::Commit(commit) = content else { panic!("{name}") };
            assert_eq!(encode(&commit), hex(&vector, "commit"), "{name}");
        }
        let private = Refusal::Unsupported(Feature::PrivateHandshake);
        assert_eq!(epoch.read(&hex(&vector, "commit_priv")).err(), Some(private));
        assert_eq!(epoch.open_message(&ratchets, &hex(&vector, "commit_priv")).err(), Some(private));
        let opened = epoch.open_message(&ratchets, &hex(&vector, "application_priv")).unwrap();
        assert_eq!((opened.sender, &**opened.plaintext), (1, &hex(&vector, "application")[..]));
        // And ours.
        let mut speaker = epoch.clone();
        speaker.own = 1;
        let (_, sealed) = speaker.seal(&ratchets, &own, b"", &hex(&vector, "application"), &mut entropy).unwrap();
        assert_eq!(*epoch.open_message(&ratchets, &sealed).unwrap().plaintext, hex(&vector, "application"));
    }
}
