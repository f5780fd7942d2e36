//! Application messages (RFC 9420 §6.3).

use tls_codec::VLBytes;
use zeroize::Zeroizing;

use super::commit::{CONTENT_LABEL, signed_content};
use super::crypto::{self, AeadKey};
use super::path::MakeError;
use super::ratchets::{Ratchets, Turn};
use super::refusal::Feature;
use super::tree::Maker;
use super::wire::{
    APPLICATION, Content, FramedContent, PrivateMessage, Sender, SenderData, WireFormat, body, decode, encode, message,
    next, push_vector,
};
use super::{Epoch, Refusal};
use crate::entropy::Entropy;

/// Plaintexts are padded to a multiple of this many bytes.
const PADDING: usize = 64;

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
        let content = FramedContent {
            group_id: self.public.context.group_id.clone(),
            epoch: self.public.context.epoch,
            sender: Sender::Member(self.own),
            authenticated_data: authenticated_data.into(),
            content: Content::Application(plaintext.into()),
        };
        let framed = Zeroizing::new(encode(&content));
        wipe(content);
        let signed = Zeroizing::new(self.signed(&framed));
        let signature = crypto::sign(maker.signer, CONTENT_LABEL, &signed);
        let turn = ratchets.next(self.own)?;
        let mut reuse_guard = [0; 4];
        // MLS M37.
        entropy.fill(&mut reuse_guard)?;
        let mut private = PrivateMessage {
            group_id: self.public.context.group_id.clone(),
            epoch: self.public.context.epoch,
            content_type: APPLICATION,
            authenticated_data: authenticated_data.into(),
            encrypted_sender_data: Vec::new().into(),
            ciphertext: Vec::new().into(),
        };
        let key = turn.key().guarded(reuse_guard);
        let suite = self.public.suite;
        private.ciphertext = key.seal(suite, &content_aad(&private), &padded(plaintext, &signature)).into();
        let data = SenderData { leaf_index: self.own, generation: turn.generation(), reuse_guard };
        let key = self.sender_data_key(&private);
        private.encrypted_sender_data = key.seal(suite, &sender_aad(&private), &encode(&data)).into();
        Ok((turn, message(WireFormat::PrivateMessage, &private)))
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

    fn open_with(&self, bytes: &[u8], turn: impl FnOnce(u32, u32) -> Result<Turn, Refusal>) -> Result<Opened, Refusal> {
        let private: PrivateMessage = decode(body(bytes, WireFormat::PrivateMessage)?)?;
        if private.group_id != self.public.context.group_id {
            return Err(Refusal::OtherGroup);
        }
        if private.epoch != self.public.context.epoch {
            return Err(Refusal::OtherEpoch);
        }
        // MLS M23, M24.
        if private.content_type != APPLICATION {
            return Err(Refusal::Unsupported(Feature::PrivateHandshake));
        }
        let key = self.sender_data_key(&private);
        let sealed = private.encrypted_sender_data.as_slice();
        let data = key.open(self.public.suite, &sender_aad(&private), sealed)?;
        let data: SenderData = decode(&data)?;
        // MLS M30.
        if data.leaf_index == self.own {
            return Err(Refusal::OwnMessage);
        }
        // MLS M26.
        let leaf = self.public.tree.leaf(data.leaf_index).ok_or(Refusal::NoSuchLeaf)?;
        let turn = turn(data.leaf_index, data.generation)?;
        let key = turn.key().guarded(data.reuse_guard);
        let content = key.open(self.public.suite, &content_aad(&private), private.ciphertext.as_slice())?;
        let (plaintext, signature) = unpadded(&content)?;
        let framed = FramedContent {
            group_id: private.group_id,
            epoch: private.epoch,
            sender: Sender::Member(data.leaf_index),
            authenticated_data: private.authenticated_data,
            content: Content::Application(plaintext.to_vec().into()),
        };
        let bytes = Zeroizing::new(encode(&framed));
        wipe(framed);
        let signed = Zeroizing::new(self.signed(&bytes));
        // MLS M28.
        crypto::verify(self.public.suite, leaf.signature_key(), CONTENT_LABEL, &signed, &signature)?;
        Ok(Opened { turn, sender: data.leaf_index, plaintext })
    }

    pub(super) fn signed(&self, framed: &[u8]) -> Vec<u8> {
        signed_content(framed, WireFormat::PrivateMessage, &encode(&*self.public.context))
    }

    /// Key and nonce of the sender data, from a sample of the ciphertext (RFC 9420 §6.3.2; MLS M27).
    pub(super) fn sender_data_key(&self, message: &PrivateMessage) -> AeadKey {
        let ciphertext = message.ciphertext.as_slice();
        AeadKey::derive(&self.secrets.sender_data, &ciphertext[..ciphertext.len().min(32)])
    }
}

/// Wipes the plaintext in a content that is no longer needed.
fn wipe(content: FramedContent) {
    if let Content::Application(text) = content.content {
        drop(Zeroizing::new(Vec::from(text)));
    }
}

/// `SenderDataAAD` (RFC 9420 §6.3.2).
pub(super) fn sender_aad(message: &PrivateMessage) -> Vec<u8> {
    let mut out = encode(&message.group_id);
    out.extend(message.epoch.to_be_bytes());
    out.push(message.content_type);
    out
}

/// `PrivateContentAAD` (RFC 9420 §6.3.1; MLS M25).
pub(super) fn content_aad(message: &PrivateMessage) -> Vec<u8> {
    let mut out = sender_aad(message);
    push_vector(&mut out, message.authenticated_data.as_slice());
    out
}

/// `PrivateMessageContent` with zeros up to the next multiple of [`PADDING`] (RFC 9420 §6.3.1).
pub(super) fn padded(plaintext: &[u8], signature: &[u8]) -> Zeroizing<Vec<u8>> {
    // In one piece from the start: growing would leave a copy of the plaintext behind.
    let mut out = Zeroizing::new(Vec::with_capacity(plaintext.len() + signature.len() + 8 + PADDING));
    push_vector(&mut out, plaintext);
    push_vector(&mut out, signature);
    let length = out.len().next_multiple_of(PADDING);
    out.resize(length, 0);
    out
}

pub(super) fn unpadded(content: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), Refusal> {
    let mut rest = content;
    let plaintext: VLBytes = next(&mut rest)?;
    let plaintext = Zeroizing::new(Vec::from(plaintext));
    let signature: VLBytes = next(&mut rest)?;
    // MLS M29.
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Refusal::Padding);
    }
    Ok((plaintext, Vec::from(signature)))
}
