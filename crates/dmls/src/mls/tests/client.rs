//! A whole RFC 9420 client made of the module's parts: it has the features that the product refuses, because the vectors'
//! members use them (Update, proposals by reference, private handshakes, resumption PSKs, GroupContext extensions).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tls_codec::{Serialize as _, VLBytes};

use super::given::{hex, list, secret, unhex};
use crate::mls::commit::{self, Public};
use crate::mls::crypto::{KeyPair, derive, mac_holds, ref_hash, verify};
use crate::mls::message::{content_aad, sender_aad};
use crate::mls::path;
use crate::mls::ratchets::{Ratchets, following, step};
use crate::mls::schedule::{EpochSecret, Joiner, psk_secret};
use crate::mls::tree::{Found, Leaf};
use crate::mls::wire::{
    Commit, Content, FramedContent, GroupContext, PreSharedKeyId, PrivateMessage, Proposal, ProposalOrRef, PskKind,
    Sender, SenderData, UpdatePath, WireFormat, body, decode, encode, next, push_vector,
};
use crate::mls::{Entered, Epoch, Invitation, OwnPackage, Package};
use crate::secret::Secret;
use crate::suite::X25519_ED25519;

/// A message out of its frame, with its signature checked.
pub(super) struct Unframed {
    pub(super) content: FramedContent,
    framed: Vec<u8>,
    format: WireFormat,
    signature: VLBytes,
    tag: Option<VLBytes>,
}

pub(super) struct Client {
    epoch: Epoch,
    ratchets: Ratchets,
    secret: EpochSecret,
    external: Vec<(Vec<u8>, Vec<u8>)>,
    resumption: Vec<(u64, Secret)>,
    proposals: BTreeMap<Vec<u8>, (Sender, Proposal)>,
}

impl Client {
    pub(super) fn join(vector: &Value) -> Self {
        let wire = Package::check_in_test(&hex(vector, "key_package"));
        let (init, leaf) = (secret(vector, "init_priv"), secret(vector, "encryption_priv"));
        let package = OwnPackage { wire, init, leaf };
        let given = |psk: &Value| (hex(psk, "psk_id"), hex(psk, "psk"));
        let external: Vec<_> = list(vector, "external_psks").iter().map(given).collect();
        let tree = vector["ratchet_tree"].as_str().map(unhex);
        let invitation = Invitation::open(X25519_ED25519, &hex(vector, "welcome"), &package).unwrap();
        let psks: Vec<_> = invitation.psks.iter().map(|id| find(&external, &[], id)).collect();
        let entered = invitation.enter_with(&psks, tree.as_deref()).unwrap();
        let ids = invitation.psks.iter().cloned().zip(psks).collect::<Vec<_>>();
        let context = encode(&*entered.epoch.public.context);
        let secret = invitation.joiner.with_psk(&psk_secret(&ids)).epoch(&context);
        Self::new(entered, secret, external, Vec::new())
    }

    fn new(
        entered: Entered,
        secret: EpochSecret,
        external: Vec<(Vec<u8>, Vec<u8>)>,
        mut resumption: Vec<(u64, Secret)>,
    ) -> Self {
        resumption.push((entered.epoch.public.context.epoch, derive(&secret.0, "resumption")));
        let (epoch, ratchets) = (entered.epoch, entered.ratchets);
        Self { epoch, ratchets, secret, external, resumption, proposals: BTreeMap::new() }
    }

    pub(super) fn authenticator(&self) -> Secret {
        derive(&self.secret.0, "authentication")
    }

    /// Takes a proposal in, to be referred to.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let message = unframe(&self.epoch, &self.ratchets, bytes);
        let mut whole = (message.format as u16).to_be_bytes().to_vec();
        whole.extend(&message.framed);
        push_vector(&mut whole, message.signature.as_slice());
        let reference = ref_hash("MLS 1.0 Proposal Reference", &whole);
        let Content::Proposal(proposal) = message.content.content else { panic!("no proposal") };
        self.proposals.insert(reference.to_vec(), (message.content.sender, proposal));
    }

    /// Processes a commit.
    pub(super) fn follow(self, bytes: &[u8]) -> Self {
        let message = unframe(&self.epoch, &self.ratchets, bytes);
        let Content::Commit(commit) = &message.content.content else { panic!("no commit") };
        let Sender::Member(committer) = message.content.sender else { panic!("no member") };
        let public = &self.epoch.public;
        let mut work = self.apply(commit, committer);
        let mut context = public.next_context().unwrap();
        context.extensions = work.extensions.take().unwrap_or(context.extensions);
        context.tree_hash = work.tree.hash()[..].into();
        let (keys, commit_secret) = match &commit.path {
            None => (self.epoch.keys.standing_in(&work.tree, self.epoch.own), Secret::new([0; 32])),
            Some(path) => work.open(&self.epoch, committer, path, &mut context),
        };
        let psks: Vec<_> =
            work.psks.iter().map(|id| (id.clone(), find(&self.external, &self.resumption, id))).collect();
        context.confirmed_transcript_hash = transcript(&public.interim(), &message)[..].into();
        let bytes = encode(&context);
        let joiner = Joiner::new(&self.epoch.secrets.init, &commit_secret, &bytes);
        let secret = joiner.with_psk(&psk_secret(&psks)).epoch(&bytes);
        let tag = message.tag.unwrap();
        secret.check_tag(context.confirmed_transcript_hash.as_slice(), tag.as_slice()).unwrap();
        let tag = tag.as_slice().try_into().unwrap();
        let public = Public { suite: public.suite, context: Arc::new(context), tree: work.tree, tag };
        let entered = commit::enter(public, &secret, keys, self.epoch.own);
        Self::new(entered, secret, self.external, self.resumption)
    }

    fn apply(&self, commit: &Commit, committer: u32) -> Work {
        let find = |proposal: &ProposalOrRef| match proposal {
            ProposalOrRef::Proposal(proposal) => (Sender::Member(committer), proposal.clone()),
            ProposalOrRef::Reference(reference) => self.proposals[reference.as_slice()].clone(),
        };
        let proposals: Vec<_> = commit.proposals.iter().map(find).collect();
        let tree = self.epoch.public.tree.clone();
        let mut work = Work { tree, new: Vec::new(), psks: Vec::new(), extensions: None };
        let group = self.epoch.public.context.group_id.as_slice();
        for (sender, proposal) in &proposals {
            match (proposal, sender) {
                (Proposal::Update(leaf), Sender::Member(index)) => {
                    let leaf = Leaf::check(X25519_ED25519, leaf, Found::Tree { group, index: *index }).unwrap();
                    work.tree.set_path(*index, leaf, &Vec::new()).unwrap();
                }
                (Proposal::PreSharedKey(id), _) => work.psks.push(id.clone()),
                (Proposal::GroupContextExtensions(extensions), _) => work.extensions = Some(extensions.clone()),
                _ => {}
            }
        }
        for (_, proposal) in &proposals {
            if let Proposal::Remove(index) = proposal {
                work.tree.remove(*index).unwrap();
            }
        }
        for (_, proposal) in proposals {
            if let Proposal::Add(package) = proposal {
                let package = Package::check(X25519_ED25519, package).unwrap();
                work.new.push(work.tree.add(package.leaf).unwrap());
            }
        }
        work.new.sort_unstable();
        work
    }
}

struct Work {
    tree: crate::mls::Tree,
    new: Vec<u32>,
    psks: Vec<PreSharedKeyId>,
    extensions: Option<Vec<crate::mls::wire::Extension>>,
}

impl Work {
    fn open(
        &mut self,
        epoch: &Epoch,
        committer: u32,
        path: &UpdatePath,
        context: &mut GroupContext,
    ) -> (path::PathKeys, Secret) {
        let group = context.group_id.clone();
        let suite = X25519_ED25519;
        let steps = path::take(suite, &mut self.tree, committer, path, group.as_slice(), &self.new).unwrap();
        context.tree_hash = self.tree.hash()[..].into();
        let keys = epoch.keys.standing_in(&self.tree, epoch.own);
        let sealed_to = encode(&*context);
        path::open(suite, epoch.own, &keys, &self.tree, committer, path, &steps, &sealed_to, &self.new).unwrap()
    }
}

/// PSKs of the vectors have any length.
fn find<'a>(external: &'a [(Vec<u8>, Vec<u8>)], resumption: &'a [(u64, Secret)], id: &PreSharedKeyId) -> &'a [u8] {
    match &id.kind {
        PskKind::External { id } => &external.iter().find(|(known, _)| known == id.as_slice()).unwrap().1,
        PskKind::Resumption { epoch, .. } => resumption.iter().find(|(known, _)| known == epoch).unwrap().1.expose(),
    }
}

fn transcript(interim: &[u8; 32], message: &Unframed) -> [u8; 32] {
    let mut input = interim.to_vec();
    input.extend((message.format as u16).to_be_bytes());
    input.extend(&message.framed);
    push_vector(&mut input, message.signature.as_slice());
    crate::mls::crypto::hash(&input)
}

/// Takes a message of a member out of its frame, public or private.
pub(super) fn unframe(epoch: &Epoch, ratchets: &Ratchets, bytes: &[u8]) -> Unframed {
    let message = match body(bytes, WireFormat::PublicMessage) {
        Ok(public) => unframe_public(epoch, public),
        Err(_) => unframe_private(epoch, ratchets, body(bytes, WireFormat::PrivateMessage).unwrap()),
    };
    let Sender::Member(index) = message.content.sender else { panic!("no member") };
    let key = *epoch.public.tree.leaf(index).unwrap().signature_key();
    let signed = commit::signed_content(&message.framed, message.format, &encode(&*epoch.public.context));
    verify(X25519_ED25519, &key, "FramedContentTBS", &signed, message.signature.as_slice()).unwrap();
    message
}

fn unframe_public(epoch: &Epoch, start: &[u8]) -> Unframed {
    let mut rest = start;
    let content: FramedContent = next(&mut rest).unwrap();
    let framed = start[..start.len() - rest.len()].to_vec();
    let signature: VLBytes = next(&mut rest).unwrap();
    let tag: Option<VLBytes> = matches!(content.content, Content::Commit(_)).then(|| next(&mut rest).unwrap());
    let membership: VLBytes = next(&mut rest).unwrap();
    let format = WireFormat::PublicMessage;
    let mut signed = commit::signed_content(&framed, format, &encode(&*epoch.public.context));
    push_vector(&mut signed, signature.as_slice());
    if let Some(tag) = &tag {
        push_vector(&mut signed, tag.as_slice());
    }
    assert!(mac_holds(&epoch.secrets.membership, &signed, membership.as_slice()));
    Unframed { content, framed, format, signature, tag }
}

fn unframe_private(epoch: &Epoch, ratchets: &Ratchets, bytes: &[u8]) -> Unframed {
    let message: PrivateMessage = decode(bytes).unwrap();
    let key = epoch.sender_data_key(message.ciphertext.as_slice());
    let data = key.open(X25519_ED25519, &sender_aad(&message), message.encrypted_sender_data.as_slice()).unwrap();
    let data: SenderData = decode(&data).unwrap();
    let label = if message.content_type == 1 { "application" } else { "handshake" };
    let (mut secret, _) = ratchets.open_leaf(data.leaf_index, label).unwrap();
    for generation in 0..data.generation {
        secret = following(&secret, generation);
    }
    let key = step(&secret, data.generation).0.guarded(data.reuse_guard);
    let opened = key.open(X25519_ED25519, &content_aad(&message), message.ciphertext.as_slice()).unwrap();
    let mut rest = &opened[..];
    let content = match message.content_type {
        1 => Content::Application(next(&mut rest).unwrap()),
        2 => Content::Proposal(next(&mut rest).unwrap()),
        _ => Content::Commit(next(&mut rest).unwrap()),
    };
    let signature: VLBytes = next(&mut rest).unwrap();
    let tag: Option<VLBytes> = (message.content_type == 3).then(|| next(&mut rest).unwrap());
    assert!(rest.iter().all(|byte| *byte == 0), "padding is zero");
    let content = FramedContent {
        group_id: message.group_id,
        epoch: message.epoch,
        sender: Sender::Member(data.leaf_index),
        authenticated_data: message.authenticated_data,
        content,
    };
    let framed = content.tls_serialize_detached().unwrap();
    Unframed { content, framed, format: WireFormat::PrivateMessage, signature, tag }
}

impl Package {
    /// The wire form of a key package of the vectors.
    fn check_in_test(bytes: &[u8]) -> crate::mls::wire::KeyPackage {
        decode(body(bytes, WireFormat::KeyPackage).unwrap()).unwrap()
    }
}

/// A member of a vector's tree, able to make leaves.
pub(super) fn pair(private: &[u8]) -> KeyPair {
    let key = x25519_dalek::StaticSecret::from(<[u8; 32]>::try_from(private).unwrap());
    let public = x25519_dalek::PublicKey::from(&key);
    let public = crate::mls::crypto::PublicKey::parse(X25519_ED25519, public.as_bytes()).unwrap();
    KeyPair { public, private: Secret::parse(private).unwrap() }
}
