//! Application messages as a member likes them, also under the names of others.

use ciborium::Value;
use openmls::prelude::*;
use openmls_traits::signatures::{Signer, SignerError};
use zeroize::Zeroizing;

use super::crypto::Bent;
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::GroupError;
use crate::id::LeafIndex;
use crate::mls::provider::Signer as OwnSigner;
use crate::mls::{Provider, View, checked, encode, load, signer};

/// A message in which everything can be other than it should be.
pub(crate) struct BentMessage {
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) plaintext: Vec<u8>,
    /// Generations that pass unused before it.
    pub(crate) skip: u32,
    /// The generation that its sender data says, whatever it was sealed with.
    pub(crate) generation: Option<u32>,
    /// Whose leaf and ratchet it uses.
    pub(crate) leaf: LeafIndex,
    /// A signature made by somebody before.
    pub(crate) signature: Option<Vec<u8>>,
}

/// What an insider keeps of a message that it opened.
pub(crate) struct Overheard {
    pub(crate) leaf: LeafIndex,
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// The sender's ratchet has passed it.
    pub(crate) view: View,
}

/// Opens a message and keeps its signature, which holds under every generation.
pub(crate) fn overhear(view: &View, group: &[u8], bytes: &[u8], entropy: &mut dyn Entropy) -> Option<Overheard> {
    let provider = Provider::over(view, entropy);
    let mut mls = load(&provider, group).ok()?;
    let bent = Bent::over(&provider, Vec::new(), Vec::new());
    let message = crate::mls::decode(bytes).ok()?.try_into_protocol_message().ok()?;
    let message = mls.process_message(&bent, message).ok()?;
    let Sender::Member(leaf) = *message.sender() else { return None };
    let authenticated_data = message.aad().to_vec();
    let opened = bent.opened();
    // `PrivateMessageContent`: the application data, then the signature (RFC 9420 §6.3.1).
    let (plaintext, rest) = VLBytes::tls_deserialize_bytes(&opened).ok()?;
    let (signature, _) = VLBytes::tls_deserialize_bytes(rest).ok()?;
    let (leaf, plaintext, signature) = (LeafIndex(leaf.u32()), plaintext.into(), signature.into());
    drop(bent);
    Some(Overheard { leaf, authenticated_data, plaintext, signature, view: provider.into_view() })
}

/// Seals it; the view that comes back is that of whoever sealed.
pub(crate) fn seal(
    view: &View,
    group: &[u8],
    own: &OwnDevice,
    message: BentMessage,
    entropy: &mut dyn Entropy,
) -> Result<(View, Vec<u8>), GroupError> {
    let provider = Provider::over(view, entropy);
    let mut mls = load(&provider, group)?;
    if mls.own_leaf_index().u32() != message.leaf.0 {
        let id = mls.group_id().clone();
        provider.become_leaf(&id, message.leaf).ok_or(GroupError::Mls("no such leaf"))?;
        mls = load(&provider, group)?;
    }
    let bent = Bent::over(&provider, Vec::new(), Vec::new()).claiming(message.generation);
    let failed = |_| GroupError::Mls("the message cannot be sealed");
    for _ in 0..message.skip {
        mls.create_message(&bent, signer(own), b"").map_err(failed)?;
    }
    mls.set_aad(message.authenticated_data);
    let sign = Replayed { own: signer(own), signature: message.signature };
    let sealed = mls.create_message(&bent, &sign, &message.plaintext).map_err(failed)?;
    let bytes = encode(&sealed)?;
    checked(&provider, ())?;
    drop(bent);
    Ok((provider.into_view(), bytes))
}

/// Gives a signature that was made before, or a new one of its own.
struct Replayed<'a> {
    own: &'a OwnSigner,
    signature: Option<Vec<u8>>,
}

impl Signer for Replayed<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        self.signature.clone().map_or_else(|| Signer::sign(self.own, payload), Ok)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        self.own.signature_scheme()
    }
}

/// Message secrets in CBOR, turned so that they seal for `leaf`: its ratchet, which opened, seals from where it stands.
pub(crate) fn secrets_of(secrets: &[u8], leaf: LeafIndex) -> Option<Zeroizing<Vec<u8>>> {
    let mut value: Value = ciborium::from_reader(secrets).ok()?;
    let tree = field(field(&mut value, "message_secrets")?, "secret_tree")?;
    *field(tree, "own_index")? = Value::from(leaf.0);
    for ratchets in ["handshake_sender_ratchets", "application_sender_ratchets"] {
        let ratchet = field(tree, ratchets)?.as_array_mut()?.get_mut(leaf.0 as usize)?;
        if let Some(opening) = field(ratchet, "DecryptionRatchet") {
            let head = field(opening, "ratchet_head")?.clone();
            *ratchet = Value::Map(vec![(Value::from("EncryptionRatchet"), head)]);
        }
    }
    let mut out = Zeroizing::new(Vec::new());
    ciborium::into_writer(&value, &mut *out).ok()?;
    Some(out)
}

fn field<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let entries = value.as_map_mut()?;
    entries.iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}
