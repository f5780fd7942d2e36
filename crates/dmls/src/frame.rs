//! Reads the outside of MLS messages without their secrets: header, authenticated data, transcript (SPEC §2.2).
//!
//! A commit travels as PublicMessage (RFC 9420 §6.2), so that its signed bookkeeping can be read, and the EpochId of
//! its child be computed, by anybody who has the base's public transcript values.

use sha2::{Digest, Sha256};

use crate::codec::push_vector;
use crate::error::Reason;
use crate::id::{EpochNumber, LeafIndex};
use crate::input::BaseProof;

const MLS10: u16 = 1;
const PUBLIC_MESSAGE: u16 = 1;
const PRIVATE_MESSAGE: u16 = 2;
const GROUP_INFO: u16 = 4;
const CONTENT_APPLICATION: u8 = 1;
const CONTENT_COMMIT: u8 = 3;
const SENDER_MEMBER: u8 = 1;
const SENDER_NEW_MEMBER_COMMIT: u8 = 4;
const LEAF_SOURCE_COMMIT: u8 = 3;
const BY_REFERENCE: u8 = 2;

/// A forward-only reader over attacker-controlled bytes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, Reason> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Result<u16, Reason> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Reason> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self) -> Result<u64, Reason> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// `opaque<V>` with RFC 9420 §2.1.2's shortest-form length.
    fn vector(&mut self) -> Result<&'a [u8], Reason> {
        let first = self.u8()?;
        let (extra, prefix) = (usize::from(first >> 6), usize::from(first & 0x3f));
        let length = match extra {
            0 => prefix,
            1 => prefix << 8 | usize::from(self.u8()?),
            2 => self.take(3)?.iter().fold(prefix, |length, byte| length << 8 | usize::from(*byte)),
            _ => return Err(Reason::Malformed),
        };
        let shortest = match extra {
            1 => length >= 1 << 6,
            2 => length >= 1 << 14,
            _ => true,
        };
        if shortest { self.take(length) } else { Err(Reason::Malformed) }
    }
}

/// Who signed a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitSender {
    /// The member at this leaf of the base.
    Member(u32),
    /// A new member, by external commit.
    New,
}

/// The outside of a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitFrame<'a> {
    pub(crate) group: &'a [u8],
    /// The base's number.
    pub(crate) number: EpochNumber,
    pub(crate) sender: CommitSender,
    pub(crate) authenticated_data: &'a [u8],
    pub(crate) confirmation_tag: &'a [u8],
    framed_content: &'a [u8],
    signature: &'a [u8],
}

fn header(bytes: &[u8]) -> Result<(u16, Reader<'_>), Reason> {
    let mut reader = Reader { rest: bytes };
    if reader.u16()? != MLS10 {
        return Err(Reason::UnknownVersion);
    }
    let wire_format = reader.u16()?;
    Ok((wire_format, reader))
}

impl<'a> CommitFrame<'a> {
    /// Splits an MLSMessage that must hold a PublicMessage with a commit.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let (wire_format, mut reader) = header(bytes)?;
        if wire_format != PUBLIC_MESSAGE {
            return Err(Reason::WrongKind);
        }
        let start = reader.rest;
        let group = reader.vector()?;
        let number = EpochNumber(reader.u64()?);
        let sender = read_sender(&mut reader)?;
        let authenticated_data = reader.vector()?;
        if reader.u8()? != CONTENT_COMMIT {
            return Err(Reason::WrongKind);
        }
        skip_commit(&mut reader)?;
        let framed_content = &start[..start.len() - reader.rest.len()];
        let signature = reader.vector()?;
        let confirmation_tag = reader.vector()?;
        if sender != CommitSender::New {
            reader.vector()?; // membership tag
        }
        if reader.rest.is_empty() {
            Ok(Self { group, number, sender, authenticated_data, confirmation_tag, framed_content, signature })
        } else {
            Err(Reason::Malformed)
        }
    }

    /// The child's public transcript, if `base` is what this commit was made on (RFC 9420 §8.2).
    pub(crate) fn child_of(&self, base: &BaseProof) -> BaseProof {
        let mut interim = base.confirmed_transcript_hash.clone();
        push_vector(&mut interim, &base.confirmation_tag);
        let mut input = Sha256::digest(&interim).to_vec();
        input.extend(PUBLIC_MESSAGE.to_be_bytes());
        input.extend(self.framed_content);
        push_vector(&mut input, self.signature);
        BaseProof {
            confirmed_transcript_hash: Sha256::digest(&input).to_vec(),
            confirmation_tag: self.confirmation_tag.to_vec(),
        }
    }
}

fn read_sender(reader: &mut Reader<'_>) -> Result<CommitSender, Reason> {
    match reader.u8()? {
        SENDER_MEMBER => reader.u32().map(CommitSender::Member),
        SENDER_NEW_MEMBER_COMMIT => Ok(CommitSender::New),
        _ => Err(Reason::WrongKind),
    }
}

/// `Commit { ProposalOrRef proposals<V>; optional<UpdatePath> path; }` (RFC 9420 §12.4).
fn skip_commit(reader: &mut Reader<'_>) -> Result<(), Reason> {
    // Of the proposals only the first is looked at here; a reference behind it is found by MLS.
    if reader.vector()?.first() == Some(&BY_REFERENCE) {
        return Err(Reason::ProposalByReference);
    }
    match reader.u8()? {
        0 => Ok(()),
        1 => skip_leaf_node(reader).and_then(|()| reader.vector().map(drop)),
        _ => Err(Reason::Malformed),
    }
}

/// `LeafNode` of source commit with a basic credential (RFC 9420 §7.2).
fn skip_leaf_node(reader: &mut Reader<'_>) -> Result<(), Reason> {
    reader.vector()?; // encryption key
    reader.vector()?; // signature key
    if reader.u16()? != 1 {
        return Err(Reason::BadCredential);
    }
    reader.vector()?; // identity
    for _ in 0..5 {
        reader.vector()?; // capabilities
    }
    if reader.u8()? != LEAF_SOURCE_COMMIT {
        return Err(Reason::Malformed);
    }
    reader.vector()?; // parent hash
    reader.vector()?; // extensions
    reader.vector().map(drop) // signature
}

/// The outside of an application message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageFrame<'a> {
    pub(crate) group: &'a [u8],
    pub(crate) authenticated_data: &'a [u8],
}

impl<'a> MessageFrame<'a> {
    /// Splits an MLSMessage that must hold a PrivateMessage with application content.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let (wire_format, mut reader) = header(bytes)?;
        if wire_format != PRIVATE_MESSAGE {
            return Err(Reason::WrongKind);
        }
        let group = reader.vector()?;
        reader.take(8)?; // epoch number
        if reader.u8()? != CONTENT_APPLICATION {
            return Err(Reason::WrongKind);
        }
        let authenticated_data = reader.vector()?;
        reader.vector()?; // encrypted sender data
        reader.vector()?; // ciphertext
        if reader.rest.is_empty() { Ok(Self { group, authenticated_data }) } else { Err(Reason::Malformed) }
    }
}

/// What a GroupInfo says of its epoch (RFC 9420 §12.4.3); its signature is not checked.
#[derive(Debug, Clone)]
pub(crate) struct GroupInfoFrame<'a> {
    pub(crate) group: &'a [u8],
    pub(crate) proof: BaseProof,
    /// The leaf that signed it.
    pub(crate) signer: LeafIndex,
}

/// Reads the outside of a GroupInfo.
pub(crate) fn group_info(bytes: &[u8]) -> Result<GroupInfoFrame<'_>, Reason> {
    let (wire_format, mut reader) = header(bytes)?;
    if wire_format != GROUP_INFO {
        return Err(Reason::WrongKind);
    }
    reader.take(4)?; // version, ciphersuite
    let group = reader.vector()?;
    reader.take(8)?; // epoch number
    reader.vector()?; // tree hash
    let confirmed_transcript_hash = reader.vector()?.to_vec();
    reader.vector()?; // group context extensions
    reader.vector()?; // GroupInfo extensions
    let confirmation_tag = reader.vector()?.to_vec();
    let signer = LeafIndex(reader.u32()?);
    Ok(GroupInfoFrame { group, proof: BaseProof { confirmed_transcript_hash, confirmation_tag }, signer })
}
