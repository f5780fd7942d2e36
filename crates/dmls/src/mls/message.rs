//! Application messages (RFC 9420 §6.3).

use zeroize::Zeroizing;

use super::commit::CONTENT_LABEL;
use super::crypto::{self, AeadKey};
use super::path::MakeError;
use super::ratchets::{Ratchets, Turn};
use super::refusal::Feature;
use super::tree::Maker;
#[cfg(any(test, dmls_mutants))]
use super::wire::PrivateMessage;
use super::wire::{
    APPLICATION, GroupContext, Length, MEMBER, SenderData, VERSION, WireFormat, body, decode, encode, next,
    next_vector, push_vector,
};
use super::{Epoch, Refusal};
use crate::entropy::Entropy;

/// Plaintexts are padded to a multiple of this many bytes.
const PADDING: usize = 64;
/// Bytes of an AEAD's tag.
const TAG: usize = 16;
/// The version and the wire format, which stand before a PrivateMessage.
const BEFORE: usize = 4;
/// At most so many bytes are in a message beside group, authenticated data and plaintext.
const ADDED: usize = 256;

/// A message that opened; its key is used up once [`Ratchets::advance`] was given the turn.
pub(crate) struct Opened {
    pub(crate) turn: Turn,
    /// The leaf of who sent it.
    pub(crate) sender: u32,
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
}

impl Epoch {
    /// Seals a message with the next key of this device's ratchet.
    ///
    /// # Errors
    /// If randomness fails, or the ratchet is at its end.
    pub(crate) fn seal(
        &self,
        ratchets: &Ratchets,
        maker: &Maker<'_>,
        authenticated_data: &[u8],
        plaintext: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<(Turn, Vec<u8>), MakeError> {
        let GroupContext { group_id, epoch, .. } = &*self.public.context;
        let length = group_id.as_slice().len() + authenticated_data.len() + plaintext.len();
        let mut out = Vec::with_capacity(ADDED + length);
        out.extend(VERSION.to_be_bytes());
        out.extend((WireFormat::PrivateMessage as u16).to_be_bytes());
        push_vector(&mut out, group_id.as_slice());
        out.extend(epoch.to_be_bytes());
        out.push(APPLICATION);
        let typed = out.len();
        push_vector(&mut out, authenticated_data);
        let header = Header { bytes: &out, typed };
        let signature = maker.signer.sign(&self.signed(header, self.own, plaintext));
        let turn = ratchets.next(self.own)?;
        let mut reuse_guard = [0; 4];
        // MLS M37.
        entropy.fill(&mut reuse_guard)?;
        let suite = self.public.suite;
        let key = turn.key().guarded(reuse_guard);
        let ciphertext = key.seal(suite, header.content_aad(), padded(plaintext, &signature));
        let data = SenderData { leaf_index: self.own, generation: turn.generation(), reuse_guard };
        let data = self.sender_data_key(&ciphertext).seal(suite, header.sender_aad(), encode(&data));
        push_vector(&mut out, &data);
        push_vector(&mut out, &ciphertext);
        Ok((turn, out))
    }

    /// Opens a message of another member. Nothing is used up unless all of it holds (MLS M34).
    ///
    /// # Errors
    /// [`Refusal::OwnMessage`] for what this very leaf sealed; otherwise why it is no message of this epoch, or that its
    /// key is gone or too far ahead.
    pub(crate) fn open_message(&self, ratchets: &Ratchets, bytes: &[u8]) -> Result<Opened, Refusal> {
        self.open_with(bytes, |leaf, generation| ratchets.turn(leaf, generation))
    }

    /// As [`Self::open_message`], for a message before which much is missing that cannot come any more.
    pub(crate) fn open_past_a_gap(&self, ratchets: &Ratchets, bytes: &[u8]) -> Result<Opened, Refusal> {
        self.open_with(bytes, |leaf, generation| ratchets.leap(leaf, generation))
    }

    /// The leaf and the generation that a message says it is sealed under: any member can say so of any other, and nothing
    /// of the message is proven yet.
    pub(crate) fn sealed_as(&self, bytes: &[u8]) -> Result<(u32, u32), Refusal> {
        let data = self.sender_data(&self.private(bytes)?)?;
        Ok((data.leaf_index, data.generation))
    }

    /// A message of this epoch by its header.
    fn private<'a>(&self, bytes: &'a [u8]) -> Result<Private<'a>, Refusal> {
        let private = Private::parse(bytes)?;
        if private.group_id != self.public.context.group_id.as_slice() {
            return Err(Refusal::OtherGroup);
        }
        if private.epoch != self.public.context.epoch {
            return Err(Refusal::OtherEpoch);
        }
        // MLS M23, M24.
        if private.content_type != APPLICATION {
            return Err(Refusal::Unsupported(Feature::PrivateHandshake));
        }
        Ok(private)
    }

    fn sender_data(&self, private: &Private<'_>) -> Result<SenderData, Refusal> {
        let key = self.sender_data_key(private.ciphertext);
        let data = key.open(self.public.suite, private.header.sender_aad(), private.sealed_data)?;
        let data: SenderData = decode(&data)?;
        // MLS M30.
        if data.leaf_index == self.own { Err(Refusal::OwnMessage) } else { Ok(data) }
    }

    fn open_with(&self, bytes: &[u8], turn: impl FnOnce(u32, u32) -> Result<Turn, Refusal>) -> Result<Opened, Refusal> {
        let private = self.private(bytes)?;
        let data = self.sender_data(&private)?;
        let Private { header, ciphertext, .. } = private;
        // MLS M26.
        let leaf = self.public.tree.leaf(data.leaf_index).ok_or(Refusal::NoSuchLeaf)?;
        let turn = turn(data.leaf_index, data.generation)?;
        let key = turn.key().guarded(data.reuse_guard);
        let content = key.open(self.public.suite, header.content_aad(), ciphertext)?;
        let (plaintext, signature) = unpadded(&content)?;
        let signed = self.signed(header, data.leaf_index, plaintext);
        // MLS M28.
        leaf.verify(self.public.suite, &signed, signature)?;
        Ok(Opened { turn, sender: data.leaf_index, plaintext: Zeroizing::new(plaintext.to_vec()) })
    }

    /// What a member signs of a message: `FramedContentTBS` with its label (RFC 9420 §5.1.2, §6.1).
    fn signed(&self, header: Header<'_>, sender: u32, plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
        let (length, context) = (Length::new(plaintext.len()), encode(&*self.public.context));
        let parts: [&[u8]; 8] = [
            header.place(),
            &[MEMBER],
            &sender.to_be_bytes(),
            header.authenticated_data(),
            &[APPLICATION],
            length.as_slice(),
            plaintext,
            &context,
        ];
        crypto::labelled(CONTENT_LABEL, &parts)
    }

    /// Key and nonce of the sender data, from a sample of the ciphertext (RFC 9420 §6.3.2; MLS M27).
    pub(super) fn sender_data_key(&self, ciphertext: &[u8]) -> AeadKey {
        AeadKey::derive(&self.secrets.sender_data, &ciphertext[..ciphertext.len().min(32)])
    }
}

/// An MLSMessage with a PrivateMessage (RFC 9420 §6.3), where it lies.
struct Private<'a> {
    header: Header<'a>,
    group_id: &'a [u8],
    epoch: u64,
    content_type: u8,
    sealed_data: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> Private<'a> {
    /// Reads it to the last byte (MLS M4).
    fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut rest = body(bytes, WireFormat::PrivateMessage)?;
        let (group_id, epoch, content_type) = (next_vector(&mut rest)?, next(&mut rest)?, next(&mut rest)?);
        let typed = bytes.len() - rest.len();
        next_vector(&mut rest)?;
        let header = Header { bytes: &bytes[..bytes.len() - rest.len()], typed };
        let (sealed_data, ciphertext) = (next_vector(&mut rest)?, next_vector(&mut rest)?);
        if !rest.is_empty() {
            return Err(Refusal::Malformed);
        }
        Ok(Self { header, group_id, epoch, content_type, sealed_data, ciphertext })
    }
}

/// A message up to its authenticated data, as it is sent. What is signed and authenticated of it are these bytes
/// themselves: every value has one encoding.
#[derive(Clone, Copy)]
struct Header<'a> {
    bytes: &'a [u8],
    /// Where the content type ends.
    typed: usize,
}

impl<'a> Header<'a> {
    /// Version, wire format, group and epoch number.
    fn place(self) -> &'a [u8] {
        &self.bytes[..self.typed - 1]
    }

    /// The authenticated data after their length.
    fn authenticated_data(self) -> &'a [u8] {
        &self.bytes[self.typed..]
    }

    /// `SenderDataAAD` (RFC 9420 §6.3.2).
    fn sender_aad(self) -> &'a [u8] {
        &self.bytes[BEFORE..self.typed]
    }

    /// `PrivateContentAAD` (RFC 9420 §6.3.1; MLS M25).
    fn content_aad(self) -> &'a [u8] {
        &self.bytes[BEFORE..]
    }
}

/// [`Header::sender_aad`] of a message that its maker still bends.
#[cfg(any(test, dmls_mutants))]
pub(super) fn sender_aad(message: &PrivateMessage) -> Vec<u8> {
    header_of(message, |header| header.sender_aad().to_vec())
}

/// [`Header::content_aad`] of a message that its maker still bends.
#[cfg(any(test, dmls_mutants))]
pub(super) fn content_aad(message: &PrivateMessage) -> Vec<u8> {
    header_of(message, |header| header.content_aad().to_vec())
}

#[cfg(any(test, dmls_mutants))]
fn header_of(message: &PrivateMessage, read: impl FnOnce(Header<'_>) -> Vec<u8>) -> Vec<u8> {
    let bytes = super::wire::message(WireFormat::PrivateMessage, message);
    Private::parse(&bytes).map(|private| read(private.header)).unwrap_or_default()
}

/// `PrivateMessageContent` with zeros up to the next multiple of [`PADDING`] (RFC 9420 §6.3.1).
pub(super) fn padded(plaintext: &[u8], signature: &[u8]) -> Vec<u8> {
    // In one piece from the start, with place for the tag: growing would leave a copy of the plaintext behind.
    let mut out = Vec::with_capacity(plaintext.len() + signature.len() + 8 + PADDING + TAG);
    push_vector(&mut out, plaintext);
    push_vector(&mut out, signature);
    let length = out.len().next_multiple_of(PADDING);
    out.resize(length, 0);
    out
}

/// Plaintext and signature in a `PrivateMessageContent`.
pub(super) fn unpadded(content: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let mut rest = content;
    let (plaintext, signature) = (next_vector(&mut rest)?, next_vector(&mut rest)?);
    // MLS M29.
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Refusal::Padding);
    }
    Ok((plaintext, signature))
}
