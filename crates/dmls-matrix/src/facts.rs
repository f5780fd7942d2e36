//! What the host knows about devices and hands to the binding: verified facts, never raw server answers.

use dmls::id::Device;

/// Whether a device's owner vouches for it, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Endorsement {
    /// Cross-signed by its owner and carrying a DMLS credential.
    Endorsed,
    /// The owner has no cross-signing identity.
    NoIdentity,
    /// The owner's self-signing key has not signed this device.
    NotCrossSigned,
    /// The device publishes no DMLS credential in its signed device keys.
    NoCredential,
    /// The user blocked this device.
    Blocked,
    /// The signed device keys carry something that is not a valid credential.
    BadCredential,
}

impl Endorsement {
    /// Stable word for JSON; empty when endorsed.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Endorsed => "",
            Self::NoIdentity => "no_cross_signing_identity",
            Self::NotCrossSigned => "not_cross_signed",
            Self::NoCredential => "no_credential",
            Self::Blocked => "blocked",
            Self::BadCredential => "bad_credential",
        }
    }
}

/// One device as its owner's signed device keys show it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceFacts {
    /// User and device id.
    pub device: Device,
    /// The device's Ed25519 fingerprint key.
    pub ed25519: [u8; 32],
    /// The MLS signature public key inside the signed device keys (SPEC §5), if there is one.
    pub mls_key: Option<[u8; 32]>,
    /// Whether it may be added, with the reason when it may not.
    pub endorsement: Endorsement,
}

/// All devices of one user, as of the newest answer of that user's homeserver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDevices {
    /// Matrix user id.
    pub user: String,
    /// The user's devices; a device that is missing here no longer exists.
    pub devices: Vec<DeviceFacts>,
}
