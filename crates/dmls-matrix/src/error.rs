//! Errors of the machine, grouped by who is to blame.

use dmls::entropy::EntropyError;
use dmls::error::{GroupError, LoadError};

use crate::id::RoomId;

/// Why a call could not be carried out. Nothing changed, in memory or in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// Store: reading or writing failed. What was in memory of the affected room was dropped and is read anew.
    #[error("store: {0}")]
    Store(E),
    /// Store: a record is damaged.
    #[error("damaged record in table {0}")]
    Damaged(&'static str),
    /// Store: a record was written by a newer version.
    #[error("table {table} has record version {found}, this build knows {known}")]
    NewerVersion {
        /// Where.
        table: &'static str,
        /// Version on disk.
        found: u8,
        /// Newest version known.
        known: u8,
    },
    /// Store: it belongs to another device.
    #[error("this store belongs to {0}")]
    OtherDevice(dmls::id::Device),
    /// Host: the source of randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Misuse: `install_credential` must come first.
    #[error("this device has no credential yet")]
    NoCredential,
    /// Misuse: the signature is not the device key's over the requested payload.
    #[error("the device key has not signed the credential")]
    BadCredential,
    /// Misuse: not a room that this device knows.
    #[error("unknown room {0}")]
    UnknownRoom(RoomId),
    /// Policy: the room is not encrypted with this protocol.
    #[error("room {0} is not encrypted with DMLS")]
    NotEncrypted(RoomId),
    /// Policy: this user is not joined in the room.
    #[error("not joined in room {0}")]
    NotJoined(RoomId),
    /// Policy: the message does not fit into one event.
    #[error("the message has {bytes} bytes, {limit} fit")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
    /// Own state: the core could not do it.
    #[error(transparent)]
    Group(GroupError),
    /// Host: an answer does not have the form that the specification gives it.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
}

impl<E> Error<E> {
    /// Stable code for JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::Damaged(_) => "damaged_record",
            Self::NewerVersion { .. } => "newer_version",
            Self::OtherDevice(_) => "other_device",
            Self::Entropy(_) => "entropy",
            Self::NoCredential => "no_credential",
            Self::BadCredential => "bad_credential",
            Self::UnknownRoom(_) => "unknown_room",
            Self::NotEncrypted(_) => "not_encrypted",
            Self::NotJoined(_) => "not_joined",
            Self::TooLarge { .. } => "too_large",
            Self::Group(GroupError::TooLarge { .. }) => "commit_too_large",
            Self::Group(_) => "group",
            Self::Malformed(_) => "malformed_answer",
        }
    }
}

impl<E> From<GroupError> for Error<E> {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Entropy(error) => Self::Entropy(error),
            error => Self::Group(error),
        }
    }
}

impl<E> From<LoadError<E>> for Error<E> {
    fn from(error: LoadError<E>) -> Self {
        match error {
            LoadError::Store(error) => Self::Store(error),
            LoadError::Damaged(table) => Self::Damaged(table),
            LoadError::NewerVersion { table, found, known } => Self::NewerVersion { table, found, known },
            _ => Self::Damaged("unknown"),
        }
    }
}
