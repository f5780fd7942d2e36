//! Why something was not taken in.

use crate::error::Reason;

/// What is refused and why: always the peer's fault, and the same for everybody who holds the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("malformed, or bytes left over")]
    Malformed,
    #[error("a protocol version other than mls10")]
    Version,
    #[error("a message of another kind")]
    Kind,
    #[error("made for another group")]
    OtherGroup,
    #[error("made for another epoch")]
    OtherEpoch,
    #[error("the last epoch number that there is")]
    LastEpoch,
    #[error("a feature that this profile does not have: {0:?}")]
    Unsupported(Feature),
    #[error("a signature does not hold")]
    Signature,
    #[error("the membership tag does not hold")]
    MembershipTag,
    #[error("the confirmation tag does not hold")]
    ConfirmationTag,
    #[error("a ciphertext does not open")]
    Ciphertext,
    #[error("an HPKE key of small order or in a second encoding")]
    PublicKey,
    #[error("a key stands in the tree twice")]
    KeyTwice,
    #[error("a device has two leaves")]
    DeviceTwice,
    #[error("a leaf node from another source")]
    LeafSource,
    #[error("a leaf that does not list what it uses")]
    Capabilities,
    #[error("an extension twice, or not what it should be")]
    Extension,
    #[error("init key and leaf key are the same")]
    InitKey,
    #[error("another member's identity")]
    Succession,
    #[error("no such leaf")]
    NoSuchLeaf,
    #[error("a sender that may not do this")]
    Sender,
    #[error("proposals that do not go together")]
    Proposals,
    #[error("not exactly the PSK that must be there")]
    Psk,
    #[error("no path")]
    NoPath,
    #[error("a path of another length")]
    PathLength,
    #[error("a key of the path is not what its secret says")]
    PathKey,
    #[error("a parent hash does not hold")]
    ParentHash,
    #[error("another number of ciphertexts than there are nodes to seal to")]
    Ciphertexts,
    #[error("the path does not open for this member")]
    PathClosed,
    #[error("nodes that are no tree")]
    Tree,
    #[error("another tree than the one that was signed")]
    TreeHash,
    #[error("unmerged leaves that are not there, or in disorder")]
    Unmerged,
    #[error("made for other key packages")]
    NotForUs,
    #[error("sealed under this member's own leaf")]
    OwnMessage,
    #[error("the key was used or deleted")]
    KeyUsed,
    #[error("the key is too far ahead")]
    TooFarAhead,
    #[error("padding that is not zero")]
    Padding,
}

impl From<Refusal> for Reason {
    /// The stable code that hosts see (SPEC §6.1).
    fn from(refusal: Refusal) -> Self {
        use Feature::{Credential, PrivateHandshake, ProposalByReference, ProposalMessage, ResumptionPsk};
        match refusal {
            Refusal::Malformed => Self::Malformed,
            Refusal::Version => Self::UnknownVersion,
            Refusal::Kind | Refusal::Unsupported(ProposalMessage | PrivateHandshake) => Self::WrongKind,
            Refusal::OtherGroup => Self::OtherGroup,
            Refusal::Unsupported(ProposalByReference) => Self::ProposalByReference,
            Refusal::Psk | Refusal::NoPath | Refusal::Unsupported(ResumptionPsk) => Self::BadPsk,
            Refusal::Succession | Refusal::DeviceTwice | Refusal::Unsupported(Credential) => Self::BadCredential,
            Refusal::Proposals | Refusal::Unsupported(_) => Self::NotAllowed,
            Refusal::PathClosed | Refusal::PathKey => Self::CannotProcess,
            Refusal::KeyUsed | Refusal::TooFarAhead => Self::BeyondWindow,
            Refusal::NotForUs => Self::NoKeyPackage,
            _ => Self::Forged,
        }
    }
}

/// What RFC 9420 has and this profile has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    Suite,
    Credential,
    ProposalMessage,
    PrivateHandshake,
    ExternalSender,
    ProposalByReference,
    Update,
    ReInit,
    GroupContextExtensions,
    ResumptionPsk,
}
