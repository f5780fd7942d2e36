//! What is to be sent: records that outlive a crash, with stable transaction ids (SPEC §6.10).

use dmls::effect::{EpochRef, OutgoingCommit, OutgoingWelcome};
use dmls::entropy::{Entropy, EntropyError};
use dmls::id::{Device, EpochId};
use dmls::input::BaseProof;
use serde::{Deserialize, Serialize};

use super::record::Place;
use crate::wire::room::Media;

/// One thing to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Item {
    /// GroupInfo up, commit out; then its Welcomes take its place.
    Commit(Box<CommitItem>),
    /// Welcomes of a published commit.
    Welcome(WelcomeItem),
    /// An own message, sealed or not.
    Draft(Draft),
    /// A request or answer to one device; its place in the order does not matter.
    ToDevice(ToDeviceItem),
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CommitItem {
    pub(crate) epoch: EpochRef,
    pub(crate) base: EpochRef,
    pub(crate) resolves: Vec<EpochRef>,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(crate) group_info: Vec<u8>,
    /// Where the GroupInfo is, once uploaded.
    pub(crate) media: Option<Media>,
    pub(crate) txn_id: String,
    pub(crate) welcomes: Vec<KeptWelcome>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptWelcome {
    to: Device,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    base: BaseProof,
    #[serde(with = "serde_bytes")]
    grant: Vec<u8>,
}

impl From<OutgoingWelcome> for KeptWelcome {
    fn from(welcome: OutgoingWelcome) -> Self {
        let OutgoingWelcome { to, bytes, base, grant } = welcome;
        Self { to, bytes: bytes.to_vec(), base, grant }
    }
}

impl KeptWelcome {
    pub(crate) fn outgoing(&self) -> OutgoingWelcome {
        let Self { to, bytes, base, grant } = self.clone();
        OutgoingWelcome { to, bytes: bytes.into(), base, grant }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WelcomeItem {
    pub(crate) epoch: EpochId,
    pub(crate) commit_event: String,
    pub(crate) txn_id: String,
    pub(crate) welcomes: Vec<KeptWelcome>,
    /// Where the MLSMessage is, when it is too large for to-device messages.
    pub(crate) media: Option<Media>,
}

impl WelcomeItem {
    pub(crate) fn needs_upload(&self) -> Option<&[u8]> {
        let first = self.welcomes.first()?;
        let large = first.bytes.len() > crate::wire::welcome::INLINE_LIMIT;
        (large && self.media.is_none()).then_some(first.bytes.as_slice())
    }

    pub(crate) fn device(welcome: &KeptWelcome) -> &Device {
        &welcome.to
    }
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

/// A commit and what it takes to publish it.
pub(crate) fn commit_item(commit: OutgoingCommit, entropy: &mut dyn Entropy) -> Result<Item, EntropyError> {
    let OutgoingCommit { epoch, base, resolves, bytes, group_info, welcomes } = commit;
    let welcomes = welcomes.into_iter().map(KeptWelcome::from).collect();
    let txn_id = fresh_name(entropy)?;
    let group_info = group_info.bytes();
    Ok(Item::Commit(Box::new(CommitItem { epoch, base, resolves, bytes, group_info, media: None, txn_id, welcomes })))
}

/// A name that nobody else makes: transaction and message ids.
pub(crate) fn fresh_name(entropy: &mut dyn Entropy) -> Result<String, EntropyError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(crate::names::base64url(&bytes))
}
