//! Newtypes for identities and counts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names an epoch by what it is: the hash of group id, confirmed transcript hash and confirmation tag (SPEC §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochId(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl EpochId {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses exactly 32 bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The first eight bytes, as used where a full id would be too long.
    pub fn short(&self) -> [u8; 8] {
        let mut out = [0; 8];
        out.copy_from_slice(&self.0[..8]);
        out
    }
}

impl fmt::Display for EpochId {
    /// Lower-case hexadecimal of the first five bytes, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..5].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochId({self})")
    }
}

/// Names a group; on Matrix the room id, so that nothing of one room counts in another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct GroupId(String);

impl GroupId {
    /// A group of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name's bytes: MLS's group id.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A device of a user: the identity of a member for uniqueness and succession.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Device {
    /// The owner.
    pub user: String,
    /// The device, unique among the owner's.
    pub device: String,
}

impl Device {
    /// The device `device` of `user`.
    pub fn new(user: impl Into<String>, device: impl Into<String>) -> Self {
        Self { user: user.into(), device: device.into() }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.device)
    }
}

/// Where a host finds some bytes again: on Matrix an event id. Opaque to the core.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Locator(pub String);

/// An epoch's number as MLS counts it: its base's and one (RFC 9420 §8.1, SPEC §2.4). Forks share it, so it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct EpochNumber(pub u64);

impl EpochNumber {
    /// The number of an epoch that is made on this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Index of a leaf in the ratchet tree (RFC 9420 §4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LeafIndex(pub u32);

/// Counts one sender's messages in one epoch, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Sequence(pub u32);

/// Milliseconds since the Unix epoch, by the caller's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This moment and `millis` milliseconds.
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// An Ed25519 public key that signs MLS leaves and messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignatureKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}
