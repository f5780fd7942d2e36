//! Why the driver could not do what it was asked, grouped by who can do something about it.

use std::io;

use dmls_matrix::RoomId;
use dmls_matrix::error::Error as MachineFault;
use dmls_store::StoreError;

use crate::error::{ApiError, IdentityError};

/// Errors of the machine on this store.
pub type MachineError = MachineFault<StoreError>;

/// Why the driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is logged in with this profile.
    #[error("not logged in")]
    NotLoggedIn,
    /// This profile belongs to a session already.
    #[error("already logged in as {user}")]
    LoggedInAlready {
        /// Whose session it is.
        user: String,
    },
    /// The homeserver no longer knows this device; what it had read stays readable here.
    #[error("the homeserver has ended this device's session")]
    SessionEnded {
        /// Whether logging in again continues the device.
        can_continue: bool,
    },
    /// Not a name for a profile.
    #[error("not a profile name: {0:?}; use 1 to 100 of A-Z a-z 0-9 - _ . @, not beginning with a dot")]
    BadProfileName(String),
    /// No room of this id or name.
    #[error("no such room: {0}")]
    UnknownRoom(String),
    /// Several rooms have this name.
    #[error("several rooms are called {0:?}; use the room's id")]
    AmbiguousRoom(String),
    /// The room was made, but the homeserver has not shown it yet.
    #[error("room {0} was created, but the homeserver has not shown it yet")]
    NotShownYet(RoomId),
    /// The homeserver.
    #[error(transparent)]
    Api(ApiError),
    /// The device identity.
    #[error(transparent)]
    Identity(IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine.
    #[error(transparent)]
    Machine(MachineError),
    /// The caller has no key for the store: the words say why.
    #[error("{0}")]
    NoKey(String),
    /// A file or directory of the profile.
    #[error("reading or writing the profile failed: {0}")]
    Profile(#[source] io::Error),
    /// The record of the session is damaged, or of a newer version.
    #[error("the record of the session cannot be read")]
    SessionRecord,
}

impl ClientError {
    /// A stable word for JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLoggedIn => "not_logged_in",
            Self::LoggedInAlready { .. } => "logged_in_already",
            Self::SessionEnded { .. } => "token_expired",
            Self::BadProfileName(_) => "bad_profile_name",
            Self::UnknownRoom(_) => "unknown_room",
            Self::AmbiguousRoom(_) => "ambiguous_room",
            Self::NotShownYet(_) => "not_shown_yet",
            Self::Api(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Machine(error) => error.code(),
            Self::NoKey(_) => "no_key",
            Self::Profile(_) => "profile_io",
            Self::SessionRecord => "session_record",
        }
    }

    /// The homeserver's error, if one is the cause.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) | Self::Identity(IdentityError::Api(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether the homeserver could not be reached, or not for now.
    pub fn is_network(&self) -> bool {
        self.api().is_some_and(ApiError::is_temporary)
    }
}

impl From<ApiError> for ClientError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::TokenExpired { soft_logout } => Self::SessionEnded { can_continue: soft_logout },
            error => Self::Api(error),
        }
    }
}

impl From<IdentityError> for ClientError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Api(error) => error.into(),
            error => Self::Identity(error),
        }
    }
}

impl From<MachineError> for ClientError {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::Store(error) => Self::Store(error),
            error => Self::Machine(error),
        }
    }
}
