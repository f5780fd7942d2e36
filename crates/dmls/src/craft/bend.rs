//! What a member makes of an epoch who holds all its keys and keeps to no rule. Only in the test build.
//!
//! It goes the way of an honest commit or message, with the module's own parts, and bends what it is told to.

use std::sync::Arc;

use tls_codec::VLBytes;

use super::commit::{
    CONTENT_LABEL, Entered, Public, apply, ascending, confirmed_hash, enter, membership_content, signed_content,
};
use super::crypto::{self, Hash, draw};
use super::message::{content_aad, padded, sender_aad, unpadded};
use super::path::{MakeError, OwnPath, PathKeys};
use super::schedule::{Joiner, Member, psk_secret};
use super::tree::{Place, Step, Tree};
use super::wire::{
    APPLICATION, Content, EncryptedGroupSecrets, FramedContent, GroupSecrets, PathSecret, PreSharedKeyId,
    PrivateMessage, Proposal, ProposalOrRef, PskKind, Sender, SenderData, UpdatePath, VERSION, Welcome, WireFormat,
    body, decode, encode, message, push_vector,
};
use super::{Epoch, Package, Ratchets};
use crate::craft::GroupInfoParts;
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::secret::Secret;

/// Changes a GroupInfo.
pub(crate) type EditInfo = Arc<dyn Fn(&mut GroupInfoParts) + Send + Sync>;

/// A commit in which everything can be other than it should be.
pub(crate) struct BentPlan<'a> {
    pub(crate) adds: Vec<Package>,
    pub(crate) removes: Vec<u32>,
    /// External PSKs: ids and secrets. Of several only the last one is mixed in, as a reader takes it who counts none.
    pub(crate) psks: Vec<(Vec<u8>, Secret)>,
    pub(crate) authenticated_data: Vec<u8>,
    /// Whether there is an UpdatePath.
    pub(crate) path: bool,
    /// Further entries of the commit's proposals, each a ProposalOrRef (RFC 9420 §12.4).
    pub(crate) extra: Vec<Vec<u8>>,
    /// Leaves for which no ciphertext of the path opens.
    pub(crate) poison: Vec<u32>,
    /// What the Welcome's GroupInfo says otherwise.
    pub(crate) info: Option<EditInfo>,
    /// Who the committer is from now on.
    pub(crate) identity: Option<&'a OwnDevice>,
}

/// A bent commit.
pub(crate) struct BentMade {
    pub(crate) bytes: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
    pub(crate) entered: Entered,
    /// The leaves for which its path is spoiled.
    pub(crate) hit: Vec<u32>,
}

struct Path {
    tree: Tree,
    keys: PathKeys,
    secrets: Vec<(Place, Secret)>,
    commit_secret: Secret,
    sealed: Option<UpdatePath>,
    hit: Vec<u32>,
}

/// Makes the commit; the base stays as it is.
pub(crate) fn commit(
    base: &Epoch,
    own: &OwnDevice,
    plan: BentPlan<'_>,
    entropy: &mut dyn Entropy,
) -> Result<BentMade, MakeError> {
    let public = &base.public;
    let applied = apply(&public.tree, &plan.removes, &plan.adds)?;
    let new = ascending(&applied.added);
    let mut proposals: Vec<_> = plan.adds.iter().map(|package| Proposal::Add(package.wire.clone())).collect();
    let mut psks = Vec::new();
    for (id, secret) in &plan.psks {
        let nonce = draw(entropy)?;
        let kind = PskKind::External { id: id.clone().into() };
        let id = PreSharedKeyId { kind, nonce: nonce.expose()[..].into() };
        proposals.push(Proposal::PreSharedKey(id.clone()));
        psks = vec![(id, &secret.expose()[..])];
    }
    proposals.extend(plan.removes.iter().map(|index| Proposal::Remove(*index)));
    let mut listed: Vec<u8> = proposals.into_iter().flat_map(|one| encode(&ProposalOrRef::Proposal(one))).collect();
    plan.extra.iter().for_each(|extra| listed.extend(extra));
    let path = path_of(base, own, applied.tree, &plan, &new, entropy)?;
    let mut context = public.next_context()?;
    context.tree_hash = path.tree.hash()[..].into();
    let framed = framed(base, &plan.authenticated_data, &listed, path.sealed.as_ref());
    let content = signed_content(&framed, WireFormat::PublicMessage, &encode(&*public.context));
    let signature = crypto::sign(own.maker().signer, CONTENT_LABEL, &content);
    context.confirmed_transcript_hash = confirmed_hash(&public.interim(), &framed, &signature)[..].into();
    let bytes = encode(&context);
    let joiner = Joiner::new(&base.secrets.init, &path.commit_secret, &bytes);
    let member = joiner.with_psk(&psk_secret(&psks));
    let secret = member.epoch(&bytes);
    let tag = secret.confirmation_tag(context.confirmed_transcript_hash.as_slice());
    let membership = crypto::mac(&base.secrets.membership, &membership_content(content, &signature, &tag));
    let after = Public { suite: public.suite, context: Arc::new(context), tree: path.tree, tag };
    let entered = enter(after, &secret, path.keys, base.own);
    let newcomers: Vec<_> = applied.added.iter().map(|(index, _)| *index).zip(&plan.adds).collect();
    let seals = Seals { joiner: &joiner, member: &member, path: &path.secrets, info: plan.info.as_ref() };
    let ids = psks.into_iter().map(|(id, _)| id).collect();
    let welcome =
        if newcomers.is_empty() { None } else { Some(seals.welcome(&entered.epoch, &newcomers, ids, own, entropy)?) };
    Ok(BentMade { bytes: public_message(&framed, &signature, &tag, &membership), welcome, entered, hit: path.hit })
}

fn path_of(
    base: &Epoch,
    own: &OwnDevice,
    mut tree: Tree,
    plan: &BentPlan<'_>,
    new: &[u32],
    entropy: &mut dyn Entropy,
) -> Result<Path, MakeError> {
    if !plan.path {
        let keys = base.keys.standing_in(&tree, base.own);
        let commit_secret = Secret::new([0; 32]);
        return Ok(Path { tree, keys, secrets: Vec::new(), commit_secret, sealed: None, hit: Vec::new() });
    }
    let mut maker = own.same_leaf_maker();
    if let Some(identity) = plan.identity {
        maker.identity = identity.maker().identity;
    }
    let steps = tree.filtered_path(base.own);
    let made = OwnPath::make(&mut tree, base.own, &maker, base.group(), entropy)?;
    let mut context = base.public.next_context()?;
    context.tree_hash = tree.hash()[..].into();
    let mut sealed = made.seal(maker.suite, &encode(&context), new, entropy)?;
    let hit = spoil(&tree, &steps, &mut sealed, new, &plan.poison);
    let OwnPath { keys, secrets, commit_secret, .. } = made;
    Ok(Path { tree, keys, secrets, commit_secret, sealed: Some(sealed), hit })
}

/// Spoils what the victims could open; gives all leaves that are hit.
fn spoil(tree: &Tree, steps: &[Step], sealed: &mut UpdatePath, new: &[u32], victims: &[u32]) -> Vec<u32> {
    let opens = |place: Place, leaf: u32| place.covers(leaf) && (place.height == 0 || tree.is_merged(place, leaf));
    let mut hit = Vec::new();
    for (step, node) in steps.iter().zip(&mut sealed.nodes) {
        for (target, ciphertext) in step.targets(new).iter().zip(&mut node.path_secret) {
            if !victims.iter().any(|victim| opens(target.place, *victim)) {
                continue;
            }
            let mut bytes = ciphertext.ciphertext.as_slice().to_vec();
            bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            ciphertext.ciphertext = bytes.into();
            hit.extend(tree.leaves().into_iter().map(|(index, _)| index).filter(|leaf| opens(target.place, *leaf)));
        }
    }
    hit
}

/// `FramedContent` of a member's commit with these proposals (RFC 9420 §6.1, §12.4).
fn framed(base: &Epoch, authenticated_data: &[u8], proposals: &[u8], path: Option<&UpdatePath>) -> Vec<u8> {
    let mut out = Vec::new();
    push_vector(&mut out, base.group());
    out.extend(base.public.context.epoch.to_be_bytes());
    out.extend(encode(&Sender::Member(base.own)));
    push_vector(&mut out, authenticated_data);
    out.push(3);
    push_vector(&mut out, proposals);
    out.push(path.is_some().into());
    out.extend(path.map(encode).unwrap_or_default());
    out
}

fn public_message(framed: &[u8], signature: &[u8], tag: &Hash, membership: &Hash) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    out.extend((WireFormat::PublicMessage as u16).to_be_bytes());
    out.extend(framed);
    [signature, tag, membership].into_iter().for_each(|part| push_vector(&mut out, part));
    out
}

struct Seals<'a> {
    joiner: &'a Joiner,
    member: &'a Member,
    path: &'a [(Place, Secret)],
    info: Option<&'a EditInfo>,
}

impl Seals<'_> {
    fn welcome(
        &self,
        epoch: &Epoch,
        newcomers: &[(u32, &Package)],
        psks: Vec<PreSharedKeyId>,
        own: &OwnDevice,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, MakeError> {
        let (maker, mut info) = (own.maker(), epoch.group_info(&own.maker(), true));
        if let (Some(edit), Some(mut parts)) = (self.info, GroupInfoParts::of_message(&info)) {
            edit(&mut parts);
            info = parts.sign(maker.signer);
        }
        let sealed_info =
            self.member.welcome_key().seal(maker.suite, b"", body(&info, WireFormat::GroupInfo)?.to_vec());
        let mut secrets = Vec::new();
        for (index, package) in newcomers {
            let meeting = Place::meeting(*index, epoch.own());
            let path_secret = self.path.iter().find(|(place, _)| *place == meeting);
            let path_secret = path_secret.map(|(_, secret)| PathSecret { path_secret: secret.expose()[..].into() });
            let joiner_secret = self.joiner.0.expose()[..].into();
            let content = encode(&GroupSecrets { joiner_secret, path_secret, psks: psks.clone() });
            let key = package.init_key();
            let sealed = crypto::seal(maker.suite, key, "Welcome", &sealed_info, &content, entropy)?;
            let new_member = VLBytes::new(package.reference().to_vec());
            secrets.push(EncryptedGroupSecrets { new_member, encrypted_group_secrets: sealed });
        }
        let welcome = Welcome { suite: maker.suite.number(), secrets, encrypted_group_info: sealed_info.into() };
        Ok(message(WireFormat::Welcome, &welcome))
    }
}

/// An external commit that takes somebody's leaf away.
pub(crate) fn join_removing(
    own: &OwnDevice,
    info: &[u8],
    victim: &crate::id::Device,
    authenticated_data: Vec<u8>,
    entropy: &mut dyn Entropy,
) -> Result<super::Made, MakeError> {
    let door = super::Door::read(own.suite(), info, None)?;
    let removes = door.public().tree().leaf_of(victim).into_iter().collect();
    let draft = door.draft_removing(removes, None, authenticated_data, &own.same_leaf_maker(), entropy)?;
    draft.finish(None, &own.maker(), entropy)
}

/// A message in which everything can be other than it should be.
pub(crate) struct BentMessage {
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) plaintext: Vec<u8>,
    /// Generations that pass unused before it.
    pub(crate) skip: u32,
    /// The generation that its sender data says, whatever it was sealed with.
    pub(crate) generation: Option<u32>,
    /// Whose leaf and ratchet it uses.
    pub(crate) leaf: u32,
    /// A signature made by somebody before.
    pub(crate) signature: Option<Vec<u8>>,
}

/// What an insider keeps of a message that it opened.
pub(crate) struct Overheard {
    pub(crate) leaf: u32,
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// Opens a message and keeps its signature, which holds under every generation; the sender's ratchet passes it.
pub(crate) fn overhear(epoch: &Epoch, ratchets: &mut Ratchets, bytes: &[u8]) -> Option<Overheard> {
    let private: PrivateMessage = decode(body(bytes, WireFormat::PrivateMessage).ok()?).ok()?;
    let (suite, key) = (epoch.public.suite, epoch.sender_data_key(private.ciphertext.as_slice()));
    let data = key.open(suite, &sender_aad(&private), private.encrypted_sender_data.as_slice()).ok()?;
    let data: SenderData = decode(&data).ok()?;
    let turn = ratchets.turn(data.leaf_index, data.generation).ok()?;
    let key = turn.key().guarded(data.reuse_guard);
    let content = key.open(suite, &content_aad(&private), private.ciphertext.as_slice()).ok()?;
    let (plaintext, signature) = unpadded(&content).ok()?;
    ratchets.advance(turn);
    let authenticated_data = private.authenticated_data.as_slice().to_vec();
    Some(Overheard {
        leaf: data.leaf_index,
        authenticated_data,
        plaintext: plaintext.to_vec(),
        signature: signature.to_vec(),
    })
}

/// Seals it; the ratchets are those of whoever sealed.
pub(crate) fn seal(
    epoch: &Epoch,
    ratchets: &mut Ratchets,
    own: &OwnDevice,
    bent: BentMessage,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, MakeError> {
    for _ in 0..bent.skip {
        let turn = ratchets.next(bent.leaf)?;
        ratchets.advance(turn);
    }
    let turn = ratchets.next(bent.leaf)?;
    let (suite, context) = (epoch.public.suite, &epoch.public.context);
    let framed = encode(&FramedContent {
        group_id: context.group_id.clone(),
        epoch: context.epoch,
        sender: Sender::Member(bent.leaf),
        authenticated_data: bent.authenticated_data.clone().into(),
        content: Content::Application(bent.plaintext.clone().into()),
    });
    let signed = signed_content(&framed, WireFormat::PrivateMessage, &encode(&**context));
    let signature = bent.signature.unwrap_or_else(|| crypto::sign(own.maker().signer, CONTENT_LABEL, &signed).to_vec());
    let mut reuse_guard = [0; 4];
    entropy.fill(&mut reuse_guard)?;
    let mut private = PrivateMessage {
        group_id: context.group_id.clone(),
        epoch: context.epoch,
        content_type: APPLICATION,
        authenticated_data: bent.authenticated_data.into(),
        encrypted_sender_data: Vec::new().into(),
        ciphertext: Vec::new().into(),
    };
    let content = padded(&bent.plaintext, &signature);
    private.ciphertext = turn.key().guarded(reuse_guard).seal(suite, &content_aad(&private), content).into();
    let generation = bent.generation.unwrap_or(turn.generation());
    let data = encode(&SenderData { leaf_index: bent.leaf, generation, reuse_guard });
    let key = epoch.sender_data_key(private.ciphertext.as_slice());
    private.encrypted_sender_data = key.seal(suite, &sender_aad(&private), data).into();
    ratchets.advance(turn);
    Ok(message(WireFormat::PrivateMessage, &private))
}
