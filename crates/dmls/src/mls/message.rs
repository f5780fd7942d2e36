//! Application messages.

use openmls::prelude::*;
use zeroize::Zeroizing;

use super::facts;
use super::{Provider, View, checked, encode, load, signer};
use crate::device::OwnDevice;
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::members::Leaf;

/// Seals `plaintext` in the epoch of `view`; the view that comes back must be stored before the bytes are shown.
pub(crate) fn seal(
    view: &View,
    group: &[u8],
    own: &OwnDevice,
    authenticated_data: Vec<u8>,
    plaintext: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(View, Vec<u8>), GroupError> {
    let provider = Provider::over(view, entropy);
    let mut mls = load(&provider, group)?;
    mls.set_aad(authenticated_data);
    let message = mls
        .create_message(&provider, signer(own), plaintext)
        .map_err(|_| GroupError::Mls("the message cannot be sealed"))?;
    let bytes = encode(&message)?;
    checked(&provider, ())?;
    Ok((provider.into_view_of(mls), bytes))
}

/// A message that opened.
pub(crate) struct OpenedFrame {
    pub(crate) view: View,
    pub(crate) sender: Leaf,
    /// Which key of the sender's ratchet it was sealed under.
    pub(crate) generation: u32,
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
}

/// Why a message did not open.
pub(crate) enum OpenFailure {
    Rejected(Reason),
    /// It comes from this device's own leaf, which MLS cannot open.
    OwnMessage,
    Own(GroupError),
}

/// Opens a message in the epoch of `view`; the used key is gone from the view that comes back.
pub(crate) fn open(
    view: &View,
    group: &[u8],
    bytes: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<OpenedFrame, OpenFailure> {
    let reject = OpenFailure::Rejected;
    let message = super::decode(bytes).map_err(reject)?;
    let message = message.try_into_protocol_message().map_err(|_| reject(Reason::WrongKind))?;
    let provider = Provider::over(view, entropy);
    let mut mls = load(&provider, group).map_err(OpenFailure::Own)?;
    let message = mls.process_message(&provider, message).map_err(|error| refusal(&error))?;
    let Sender::Member(index) = *message.sender() else { return Err(reject(Reason::WrongKind)) };
    let member = mls.member_at(index).ok_or(reject(Reason::Forged))?;
    let sender = facts::accepted_leaf(&member).map_err(reject)?;
    let content = match message.into_content() {
        ProcessedMessageContent::ApplicationMessage(content) => content,
        ProcessedMessageContent::OwnPrivateMessage => return Err(OpenFailure::OwnMessage),
        _ => return Err(reject(Reason::WrongKind)),
    };
    let plaintext = Zeroizing::new(content.into_bytes());
    let generation = provider.generation().ok_or(reject(Reason::Forged))?;
    Ok(OpenedFrame { view: provider.into_view_of(mls), sender, generation, plaintext })
}

/// A used or too old key is another matter than a forgery.
///
/// OpenMLS does not export the type that tells them apart, only its words; a test of this module pins them.
fn refusal<E>(error: &ProcessMessageError<E>) -> OpenFailure {
    use openmls::framing::errors::MessageDecryptionError as Decryption;
    let ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(Decryption::SecretTreeError(tree))) =
        error
    else {
        return OpenFailure::Rejected(Reason::Forged);
    };
    let words = tree.to_string();
    if words.starts_with("Generation is too") || words.contains("deleted to preserve forward secrecy") {
        OpenFailure::Rejected(Reason::BeyondWindow)
    } else {
        OpenFailure::Rejected(Reason::Forged)
    }
}
