//! Errors and refusal codes, grouped by who is to blame.

use crate::entropy::EntropyError;

/// Why an input was refused for good. The peer is to blame; the code is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// Not an MLS message, or bytes left over.
    Malformed,
    /// A version byte that this build does not know.
    UnknownVersion,
    /// An MLS message of a kind that has no business here (a proposal, a key package, a private commit).
    WrongKind,
    /// Made for another group.
    OtherGroup,
    /// MLS refused it: signature, membership tag, confirmation tag, tree, or a missing or wrong PSK.
    Forged,
    /// Authenticated data and content disagree, or the routing hint disagrees with the signed copy.
    Mismatch,
    /// A proposal by reference.
    ProposalByReference,
    /// A proposal type, PSK or extension outside the table of SPEC §3.1.
    NotAllowed,
    /// No UpdatePath, or not exactly the PSK of SPEC §3.
    BadPsk,
    /// A leaf without a valid credential, or one identity on two leaves, or an identity that changed.
    BadCredential,
    /// `resolves` is unsorted, repeats itself or names the base.
    BadResolves,
    /// The sender used up its share of waiting inputs.
    TooManyPending,
    /// The signed sequence number is not the generation that the message was sealed under, or was seen before.
    Replay,
    /// The Matrix sender is not the MLS sender.
    RejectedSender,
    /// The path of this commit cannot be opened by this device although others may.
    CannotProcess,
    /// The Welcome does not belong to the commit it names.
    WrongCommit,
    /// No private key for any key package of this Welcome.
    NoKeyPackage,
    /// What it waited for did not come in time.
    Expired,
    /// The keys for it were used or deleted.
    BeyondWindow,
    /// The epoch is known and this device has no part in it.
    NotInEpoch,
    /// The epoch comes after this device's removal.
    Removed,
}

impl Reason {
    /// Stable code for JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownVersion => "unknown_version",
            Self::WrongKind => "wrong_kind",
            Self::OtherGroup => "other_group",
            Self::Forged => "forged",
            Self::Mismatch => "mismatch",
            Self::ProposalByReference => "proposal_by_reference",
            Self::NotAllowed => "not_allowed",
            Self::BadPsk => "bad_psk",
            Self::BadCredential => "bad_credential",
            Self::BadResolves => "bad_resolves",
            Self::TooManyPending => "too_many_pending",
            Self::Replay => "replay",
            Self::RejectedSender => "rejected_sender",
            Self::CannotProcess => "cannot_process",
            Self::WrongCommit => "wrong_commit",
            Self::NoKeyPackage => "no_key_package",
            Self::Expired => "expired",
            Self::BeyondWindow => "beyond_window",
            Self::NotInEpoch => "not_in_epoch",
            Self::Removed => "removed",
        }
    }
}

/// Why an operation of this device's own could not be done. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The caller's randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// There is no epoch that this device could use.
    #[error("this device is not in the group")]
    NotInGroup,
    /// The epoch has members that may not read: commit first.
    #[error("a commit is due before anything may be sent")]
    CommitFirst,
    /// There is nothing to commit.
    #[error("nothing is due")]
    NothingDue,
    /// The commit would not fit into one event.
    #[error("the commit has {bytes} bytes, more than {limit} fit into one event")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
    /// The group exists already.
    #[error("the group exists already")]
    Exists,
    /// What was to be committed or sealed does not go, for MLS.
    #[error("MLS refuses it: {}", .0.code())]
    Refused(Reason),
    /// The GroupInfo cannot be used for an external commit.
    #[error("unusable GroupInfo: {}", .0.code())]
    GroupInfo(Reason),
}

impl From<crate::mls::MakeError> for GroupError {
    fn from(error: crate::mls::MakeError) -> Self {
        match error {
            crate::mls::MakeError::Entropy(error) => Self::Entropy(error),
            crate::mls::MakeError::Refused(refusal) => Self::Refused(refusal.into()),
        }
    }
}

/// Why stored records could not be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The store failed.
    #[error("store: {0}")]
    Store(E),
    /// A record is damaged.
    #[error("damaged record in table {0}")]
    Damaged(&'static str),
    /// A record was written by a newer version.
    #[error("table {table} has record version {found}, this build knows {known}")]
    NewerVersion {
        /// Where.
        table: &'static str,
        /// Version on disk.
        found: u8,
        /// Newest version known.
        known: u8,
    },
}
