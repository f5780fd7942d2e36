//! What is to be sent: records that outlive a crash, with stable transaction ids (SPEC §6.10).

use dmls::effect::{EpochRef, OutgoingWelcome};
use dmls::entropy::{Entropy, EntropyError};
use dmls::id::{Device, EpochId};
use dmls::input::BaseProof;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::record::Place;
use crate::wire::room::Media;

/// One thing to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Item {
    /// GroupInfo up, commit out; then its Welcomes take its place.
    Commit(CommitItem),
    /// Welcomes of a published commit.
    Welcome(WelcomeItem),
    /// This device asks to be added anew.
    Ask(AskItem),
    /// An own message, sealed or not.
    Draft(Draft),
    /// A request or answer to one device; its place in the order does not matter.
    ToDevice(ToDeviceItem),
}

/// An own commit that the server has not accepted yet. What is sent is the core's: it keeps the commit, and of an epoch
/// that it holds it makes the GroupInfo, the same bytes each time.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CommitItem {
    /// The epoch that it makes.
    pub(crate) epoch: EpochId,
    /// Where the GroupInfo is, once uploaded.
    pub(crate) media: Option<Media>,
    pub(crate) txn_id: String,
    /// It is the rekey that was asked for.
    pub(crate) update: bool,
}

/// An ask that the server has not accepted yet.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AskItem {
    pub(crate) bytes: ByteBuf,
    pub(crate) txn_id: String,
}

/// The Welcome of an own commit, with fresh randomness in it: stored once, with the commit, until it was sent.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptWelcome {
    /// The MLSMessage, the same for all.
    bytes: ByteBuf,
    base: BaseProof,
    /// For each device that the commit adds.
    grants: Vec<(Device, ByteBuf)>,
}

impl KeptWelcome {
    /// That of a commit; `None` if it adds nobody.
    pub(crate) fn of(welcomes: Vec<OutgoingWelcome>) -> Option<Self> {
        let first = welcomes.first()?;
        let (bytes, base) = (ByteBuf::from(first.bytes.to_vec()), first.base.clone());
        let grants = welcomes.into_iter().map(|welcome| (welcome.to, welcome.grant.into())).collect();
        Some(Self { bytes, base, grants })
    }

    /// Whom it is for.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Device> {
        self.grants.iter().map(|(device, _)| device)
    }

    /// The MLSMessage.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it does not fit into a to-device message.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes.len() > crate::wire::welcome::INLINE_LIMIT
    }

    /// What the base showed, and the device's grant.
    pub(crate) fn proofs(&self, device: &Device) -> Option<(&BaseProof, &[u8])> {
        let (_, grant) = self.grants.iter().find(|(to, _)| to == device)?;
        Some((&self.base, grant))
    }
}

/// Whom the Welcome of a published commit goes to.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WelcomeItem {
    pub(crate) epoch: EpochId,
    pub(crate) commit_event: String,
    pub(crate) txn_id: String,
    pub(crate) to: Vec<Device>,
    /// Where the MLSMessage is, when it is too large for to-device messages.
    pub(crate) media: Option<Media>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Draft {
    /// Where it is listed, with its content.
    pub(crate) place: Place,
    pub(crate) sealed: Option<SealedDraft>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SealedDraft {
    pub(crate) epoch: EpochRef,
    pub(crate) txn_id: String,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ToDeviceItem {
    pub(crate) to: Device,
    pub(crate) event_type: String,
    /// JSON text; secret when `encrypt`.
    pub(crate) content: String,
    pub(crate) txn_id: String,
    pub(crate) encrypt: bool,
    pub(crate) attempts: u32,
}

/// A name that nobody else makes: transaction and message ids.
pub(crate) fn fresh_name(entropy: &mut dyn Entropy) -> Result<String, EntropyError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(crate::names::base64url(&bytes))
}
