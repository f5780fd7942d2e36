//! What an instance was made with, kept in its directory so that it can be resumed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::names::ServerCount;
use super::paths::{self, Layout};
use super::random::Secret;

/// How an instance is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Synapse's rate limits.
    pub rate_limits: RateLimits,
    /// When the instance ends by itself.
    pub lifetime: Lifetime,
}

/// Which rate limits the servers keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateLimits {
    /// So high that no test meets them.
    #[default]
    Raised,
    /// Synapse's own.
    Default,
}

/// How long after its last `up` an instance ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime(pub Duration);

impl Default for Lifetime {
    /// Two hours.
    fn default() -> Self {
        Self(Duration::from_secs(2 * 60 * 60))
    }
}

/// What an instance was made with.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) count: ServerCount,
    pub(super) rate_limits: RateLimits,
    pub(super) registration_secret: Secret,
    pub(super) macaroon_secret: Secret,
    pub(super) admin_password: Secret,
    /// One entry a server; empty before the first start.
    pub(super) ports: Vec<ServerPorts>,
}

/// The loopback ports of a server.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct ServerPorts {
    pub(super) client: u16,
    pub(super) federation: u16,
    pub(super) proxy: u16,
}

impl Record {
    /// Makes the record of a new instance.
    pub(super) fn new(count: ServerCount, rate_limits: RateLimits) -> Result<Self, Error> {
        Ok(Self {
            count,
            rate_limits,
            registration_secret: Secret::random()?,
            macaroon_secret: Secret::random()?,
            admin_password: Secret::random()?,
            ports: Vec::new(),
        })
    }

    /// Reads the instance's record, if it has a whole one.
    pub(super) fn load(layout: &Layout) -> Option<Self> {
        let text = std::fs::read(layout.record()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes the instance's record.
    pub(super) fn save(&self, layout: &Layout) -> Result<(), Error> {
        paths::write_json(&layout.record(), self)
    }

    /// Finds out that the instance is as `up` wants it now.
    pub(super) fn check(&self, layout: &Layout, count: ServerCount, limits: RateLimits) -> Result<(), Error> {
        if self.count == count && self.rate_limits == limits {
            return Ok(());
        }
        let limits = match self.rate_limits {
            RateLimits::Raised => "raised",
            RateLimits::Default => "default",
        };
        let existing = format!("{} servers and {limits} rate limits", self.count);
        Err(Error::Mismatch { instance: layout.instance.clone(), existing })
    }
}
