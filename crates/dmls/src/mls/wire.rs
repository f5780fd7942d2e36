//! The structs of RFC 9420 as they are on the wire.
//!
//! Lengths are in shortest form and every value has one encoding, so that what was read encodes to the same bytes.

use tls_codec::{Deserialize, Serialize, TlsDeserialize, TlsSerialize, TlsSize, VLBytes};

use zeroize::Zeroize;

use super::Refusal;
use super::refusal::Feature;
pub(crate) use crate::codec::{Length, push_vector};

/// Protocol version mls10 (RFC 9420 §6).
pub(crate) const VERSION: u16 = 1;

/// The encoding of one of our own structs, all of whose vectors are shorter than 2^30 bytes.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.tls_serialized_len());
    // Writing short vectors into memory cannot fail.
    let _ = value.tls_serialize(&mut out);
    out
}

/// The value of which these are all bytes (MLS M4): lengths in their shortest form, of four bytes at most (MLS M1, M2),
/// optionals there or not (MLS M3).
pub(crate) fn decode<T: Deserialize>(bytes: &[u8]) -> Result<T, Refusal> {
    T::tls_deserialize_exact(bytes).map_err(|_| Refusal::Malformed)
}

/// What an MLSMessage holds (RFC 9420 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum WireFormat {
    PublicMessage = 1,
    PrivateMessage = 2,
    Welcome = 3,
    GroupInfo = 4,
    KeyPackage = 5,
}

/// The body of an MLSMessage of this format; the version and the format are checked (MLS M5, M6).
pub(crate) fn body(bytes: &[u8], format: WireFormat) -> Result<&[u8], Refusal> {
    let (header, body) = bytes.split_first_chunk::<4>().ok_or(Refusal::Malformed)?;
    if header[..2] != VERSION.to_be_bytes() {
        return Err(Refusal::Version);
    }
    if header[2..] == (format as u16).to_be_bytes() { Ok(body) } else { Err(Refusal::Kind) }
}

/// An MLSMessage with this body.
pub(crate) fn message(format: WireFormat, body: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + body.tls_serialized_len());
    out.extend(VERSION.to_be_bytes());
    out.extend((format as u16).to_be_bytes());
    let _ = body.tls_serialize(&mut out);
    out
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct Extension {
    pub(crate) extension_type: u16,
    pub(crate) data: VLBytes,
}

/// Extension types (RFC 9420 §17.3 and draft-ietf-mls-extensions).
pub(crate) mod extension_type {
    pub(crate) const RATCHET_TREE: u16 = 2;
    pub(crate) const EXTERNAL_PUB: u16 = 4;
    /// Types up to this one are known to everybody and need not stand in capabilities.
    pub(crate) const LAST_DEFAULT: u16 = 5;
    pub(crate) const LAST_RESORT: u16 = 0x000a;
    /// Of private use: which of its device's leaves a leaf is (SPEC §2.7).
    pub(crate) const SERIAL: u16 = 0xf0d5;
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct Credential {
    pub(crate) credential_type: u16,
    /// Of a basic credential; an X.509 credential has another form and is not read.
    pub(crate) identity: VLBytes,
}

/// The credential type "basic".
pub(crate) const BASIC: u16 = 1;

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct Capabilities {
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    pub(crate) extensions: Vec<u16>,
    pub(crate) proposals: Vec<u16>,
    pub(crate) credentials: Vec<u16>,
}

/// Where a leaf comes from, with what only leaves of that source have (RFC 9420 §7.2).
#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u8)]
pub(crate) enum LeafSource {
    #[tls_codec(discriminant = 1)]
    KeyPackage { not_before: u64, not_after: u64 },
    #[tls_codec(discriminant = 2)]
    Update,
    #[tls_codec(discriminant = 3)]
    Commit { parent_hash: VLBytes },
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct LeafNode {
    pub(crate) encryption_key: VLBytes,
    pub(crate) signature_key: VLBytes,
    pub(crate) credential: Credential,
    pub(crate) capabilities: Capabilities,
    pub(crate) source: LeafSource,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: VLBytes,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct KeyPackage {
    pub(crate) version: u16,
    pub(crate) suite: u16,
    pub(crate) init_key: VLBytes,
    pub(crate) leaf: LeafNode,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: VLBytes,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct ParentNode {
    pub(crate) encryption_key: VLBytes,
    pub(crate) parent_hash: VLBytes,
    pub(crate) unmerged_leaves: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u8)]
pub(crate) enum TreeNode {
    // Boxed, so that blank nodes, of which a byte each makes one, take little memory (MLS M77).
    #[tls_codec(discriminant = 1)]
    Leaf(Box<LeafNode>),
    #[tls_codec(discriminant = 2)]
    Parent(Box<ParentNode>),
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct GroupContext {
    pub(crate) version: u16,
    pub(crate) suite: u16,
    pub(crate) group_id: VLBytes,
    pub(crate) epoch: u64,
    pub(crate) tree_hash: VLBytes,
    pub(crate) confirmed_transcript_hash: VLBytes,
    pub(crate) extensions: Vec<Extension>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct HpkeCiphertext {
    pub(crate) kem_output: VLBytes,
    pub(crate) ciphertext: VLBytes,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct UpdatePathNode {
    pub(crate) encryption_key: VLBytes,
    pub(crate) path_secret: Vec<HpkeCiphertext>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct UpdatePath {
    pub(crate) leaf: LeafNode,
    pub(crate) nodes: Vec<UpdatePathNode>,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u8)]
pub(crate) enum PskKind {
    #[tls_codec(discriminant = 1)]
    External { id: VLBytes },
    #[tls_codec(discriminant = 2)]
    Resumption { usage: u8, group_id: VLBytes, epoch: u64 },
}

/// `PreSharedKeyID` (RFC 9420 §8.4).
#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct PreSharedKeyId {
    pub(crate) kind: PskKind,
    pub(crate) nonce: VLBytes,
}

/// The proposals of RFC 9420. Where one of another type ends is not known: it is malformed (MLS M91).
#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u16)]
pub(crate) enum Proposal {
    #[tls_codec(discriminant = 1)]
    Add(KeyPackage),
    #[tls_codec(discriminant = 2)]
    Update(LeafNode),
    #[tls_codec(discriminant = 3)]
    Remove(u32),
    #[tls_codec(discriminant = 4)]
    PreSharedKey(PreSharedKeyId),
    #[tls_codec(discriminant = 5)]
    ReInit { group_id: VLBytes, version: u16, suite: u16, extensions: Vec<Extension> },
    #[tls_codec(discriminant = 6)]
    ExternalInit { kem_output: VLBytes },
    #[tls_codec(discriminant = 7)]
    GroupContextExtensions(Vec<Extension>),
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u8)]
#[allow(clippy::large_enum_variant, reason = "a wire struct, which lives as long as its commit is read")]
pub(crate) enum ProposalOrRef {
    #[tls_codec(discriminant = 1)]
    Proposal(Proposal),
    #[tls_codec(discriminant = 2)]
    Reference(VLBytes),
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct Commit {
    pub(crate) proposals: Vec<ProposalOrRef>,
    pub(crate) path: Option<UpdatePath>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u8)]
pub(crate) enum Sender {
    #[tls_codec(discriminant = 1)]
    Member(u32),
    #[tls_codec(discriminant = 2)]
    External(u32),
    #[tls_codec(discriminant = 3)]
    NewMemberProposal,
    #[tls_codec(discriminant = 4)]
    NewMemberCommit,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
#[repr(u8)]
pub(crate) enum Content {
    #[tls_codec(discriminant = 1)]
    Application(VLBytes),
    #[tls_codec(discriminant = 2)]
    Proposal(Proposal),
    #[tls_codec(discriminant = 3)]
    Commit(Commit),
}

/// The type of a sender that is a member.
pub(crate) const MEMBER: u8 = 1;

/// The content type of application messages.
pub(crate) const APPLICATION: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct FramedContent {
    pub(crate) group_id: VLBytes,
    pub(crate) epoch: u64,
    pub(crate) sender: Sender,
    pub(crate) authenticated_data: VLBytes,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct PrivateMessage {
    pub(crate) group_id: VLBytes,
    pub(crate) epoch: u64,
    pub(crate) content_type: u8,
    pub(crate) authenticated_data: VLBytes,
    pub(crate) encrypted_sender_data: VLBytes,
    pub(crate) ciphertext: VLBytes,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct SenderData {
    pub(crate) leaf_index: u32,
    pub(crate) generation: u32,
    pub(crate) reuse_guard: [u8; 4],
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct EncryptedGroupSecrets {
    pub(crate) new_member: VLBytes,
    pub(crate) encrypted_group_secrets: HpkeCiphertext,
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct Welcome {
    pub(crate) suite: u16,
    pub(crate) secrets: Vec<EncryptedGroupSecrets>,
    pub(crate) encrypted_group_info: VLBytes,
}

#[derive(Clone, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct PathSecret {
    pub(crate) path_secret: VLBytes,
}

/// Secret: whoever decodes one wipes the bytes it came from.
#[derive(Clone, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct GroupSecrets {
    pub(crate) joiner_secret: VLBytes,
    pub(crate) path_secret: Option<PathSecret>,
    pub(crate) psks: Vec<PreSharedKeyId>,
}

impl GroupSecrets {
    /// Overwrites the secrets.
    pub(crate) fn wipe(self) {
        let mut bytes = Vec::from(self.joiner_secret);
        bytes.zeroize();
        if let Some(path) = self.path_secret {
            Vec::from(path.path_secret).zeroize();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, TlsSerialize, TlsDeserialize, TlsSize)]
pub(crate) struct GroupInfo {
    pub(crate) context: GroupContext,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) confirmation_tag: VLBytes,
    pub(crate) signer: u32,
    pub(crate) signature: VLBytes,
}

/// A PublicMessage with a commit (RFC 9420 §6.2): its parts, and the bytes that are signed and hashed.
#[derive(Debug, Clone)]
pub(crate) struct PublicCommit<'a> {
    /// `FramedContent` as it came.
    pub(crate) framed: &'a [u8],
    pub(crate) content: FramedContent,
    pub(crate) signature: VLBytes,
    pub(crate) confirmation_tag: VLBytes,
    /// Only members' messages have one.
    pub(crate) membership_tag: Option<VLBytes>,
}

impl<'a> PublicCommit<'a> {
    /// Reads an MLSMessage that must hold a commit in a PublicMessage, to the last byte.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let kind = |refusal| if body(bytes, WireFormat::PrivateMessage).is_ok() { handshake(bytes) } else { refusal };
        let start = body(bytes, WireFormat::PublicMessage).map_err(kind)?;
        let mut rest = start;
        let content: FramedContent = next(&mut rest)?;
        let framed = &start[..start.len() - rest.len()];
        match content.content {
            Content::Commit(_) => {}
            // MLS M8, M9.
            Content::Proposal(_) => return Err(Refusal::Unsupported(Feature::ProposalMessage)),
            Content::Application(_) => return Err(Refusal::Kind),
        }
        let (signature, confirmation_tag) = (next(&mut rest)?, next(&mut rest)?);
        let membership_tag = match content.sender {
            Sender::Member(_) => Some(next(&mut rest)?),
            Sender::NewMemberCommit => None,
            // MLS M10; only members have the tag (MLS M17).
            Sender::External(_) => return Err(Refusal::Unsupported(Feature::ExternalSender)),
            Sender::NewMemberProposal => return Err(Refusal::Unsupported(Feature::ProposalMessage)),
        };
        if !rest.is_empty() {
            return Err(Refusal::Malformed);
        }
        Ok(Self { framed, content, signature, confirmation_tag, membership_tag })
    }

    pub(crate) fn commit(&self) -> Result<&Commit, Refusal> {
        match &self.content.content {
            Content::Commit(commit) => Ok(commit),
            _ => Err(Refusal::Kind),
        }
    }
}

/// A PrivateMessage where a commit should be: a handshake in private is a feature that this profile lacks.
fn handshake(bytes: &[u8]) -> Refusal {
    let content_type = body(bytes, WireFormat::PrivateMessage).and_then(decode::<PrivateMessage>);
    match content_type {
        Ok(message) if message.content_type != APPLICATION => Refusal::Unsupported(Feature::PrivateHandshake),
        _ => Refusal::Kind,
    }
}

/// The next vector of a stream, where it lies: as [`decode`] takes them (MLS M1, M2).
pub(crate) fn next_vector<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let (length, _) = tls_codec::vlen::read_length(rest).map_err(|_| Refusal::Malformed)?;
    let (vector, after) = rest.split_at_checked(length).ok_or(Refusal::Malformed)?;
    *rest = after;
    Ok(vector)
}

/// The next value of a stream.
pub(crate) fn next<T: Deserialize>(rest: &mut &[u8]) -> Result<T, Refusal> {
    T::tls_deserialize(rest).map_err(|_| Refusal::Malformed)
}
