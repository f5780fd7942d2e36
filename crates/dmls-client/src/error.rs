//! Errors of HTTP and of the device identity, grouped by cause, each with a stable `code()`.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::http::Uia;

/// Why no usable answer arrived from the homeserver's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Silence {
    /// No connection: refused, no route, no such name, TLS failed.
    Connect,
    /// No complete answer in time.
    Timeout,
    /// The connection broke before the answer was complete.
    Broken,
    /// A gateway answered in the homeserver's place.
    Gateway(u16),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Gateway(status) => write!(f, "a gateway answered {status}"),
        }
    }
}

/// Why a request to the homeserver brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The homeserver does not answer.
    #[error("the homeserver is unreachable: {0}")]
    Unreachable(Silence),
    /// The homeserver asks for a longer pause than the caller's patience.
    #[error("the homeserver asks to wait {} ms", .retry_after.as_millis())]
    LimitExceeded {
        /// How long it wants no further request.
        retry_after: Duration,
    },
    /// The access token is no longer valid: log in again (Client-Server API, soft logout).
    #[error("the access token is no longer valid")]
    TokenExpired {
        /// Whether the device goes on existing, so that a log-in with its id continues it.
        soft_logout: bool,
    },
    /// The homeserver refuses.
    #[error("the homeserver refuses: {status} {errcode} {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Matrix error code, empty if there is none.
        errcode: String,
        /// The homeserver's words.
        message: String,
    },
    /// The homeserver wants the user to prove who they are for this request (user-interactive authentication).
    #[error("the homeserver asks for the user's password again")]
    NeedsAuth(Uia),
    /// Request or answer is larger than the other side takes.
    #[error("too large")]
    TooLarge,
    /// The answer is not what the Client-Server API promises.
    #[error("the homeserver's answer is not understood: {0}")]
    BadAnswer(&'static str),
    /// The request cannot be made: a misuse by the caller.
    #[error("not a possible request: {0}")]
    BadRequest(&'static str),
}

impl ApiError {
    /// A stable word for JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::TokenExpired { .. } => "token_expired",
            Self::Refused { .. } => "refused",
            Self::NeedsAuth(_) => "needs_auth",
            Self::TooLarge => "too_large",
            Self::BadAnswer(_) => "bad_answer",
            Self::BadRequest(_) => "bad_request",
        }
    }

    /// Whether the same request may succeed later with nothing changed by the user.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::LimitExceeded { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

/// An error of the device identity's database or cryptography, from the library beneath.
#[derive(Debug)]
pub struct Beneath(Box<dyn StdError + Send + Sync>);

impl Beneath {
    pub(crate) fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Beneath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Beneath {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Why the device identity could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The homeserver.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The identity's database could not be opened: damaged, or not with this key.
    #[error("the device's key store cannot be opened")]
    Open(#[source] Beneath),
    /// The database belongs to another user or device.
    #[error("the key store belongs to another device")]
    OtherDevice,
    /// The database could not be read or written.
    #[error("the device's key store failed")]
    Store(#[source] Beneath),
    /// Not a Matrix user id, device id or key id.
    #[error("not a Matrix identifier: {0}")]
    BadId(String),
    /// The user has no such device, as far as the homeserver says.
    #[error("no such device: {0}")]
    UnknownDevice(String),
    /// What the user confirmed and what the homeserver shows are different keys.
    #[error("the fingerprint is not that of device {device}")]
    TrustRefused {
        /// The device that was to be approved.
        device: String,
    },
    /// This device lacks the account's private cross-signing keys: another device must approve.
    #[error("this device does not hold the account's cross-signing keys")]
    NotEndorsed,
    /// The account already has a cross-signing identity, which this device does not hold.
    #[error("the account already has a cross-signing identity")]
    IdentityExists,
    /// The homeserver took the request but not every signature in it.
    #[error("the homeserver refused the signature of {device}: {reason}")]
    SignatureRejected {
        /// The key or device that was signed.
        device: String,
        /// The homeserver's words.
        reason: String,
    },
    /// The homeserver does not show the keys that this device has just published.
    #[error("the homeserver does not show this device's published keys")]
    NotPublished,
    /// The device keys are cross-signed with another credential in them, or none, and homeservers keep that signature
    /// for ever: only a new device can have a new credential.
    #[error("this device is already endorsed with another credential; log in as a new device")]
    CredentialFixed,
    /// There is no Olm session with a device and none can be made: it has no key left, or its server is unreachable.
    #[error("no encrypted channel to device {0}")]
    NoChannel(String),
    /// Nothing is encrypted for a device that its owner does not vouch for, or that is blocked.
    #[error("device {0} is blocked or not endorsed by its owner")]
    Unendorsed(String),
    /// Something could not be encrypted or signed.
    #[error("cryptography failed")]
    Crypto(#[source] Beneath),
}

impl IdentityError {
    /// A stable word for JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Api(error) => error.code(),
            Self::Open(_) => "identity_open",
            Self::OtherDevice => "other_device",
            Self::Store(_) => "identity_store",
            Self::BadId(_) => "bad_id",
            Self::UnknownDevice(_) => "unknown_device",
            Self::TrustRefused { .. } => "trust_refused",
            Self::NotEndorsed => "not_endorsed",
            Self::IdentityExists => "identity_exists",
            Self::SignatureRejected { .. } => "signature_rejected",
            Self::NotPublished => "not_published",
            Self::CredentialFixed => "credential_fixed",
            Self::NoChannel(_) => "no_channel",
            Self::Unendorsed(_) => "unendorsed",
            Self::Crypto(_) => "identity_crypto",
        }
    }
}
