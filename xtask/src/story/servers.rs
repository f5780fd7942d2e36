//! The two homeservers that a story is played on.

use std::path::Path;

use crate::homeserver::detached::Detached;
use crate::homeserver::{Homeservers, InstanceName, LinkState, Options, RateLimits, ServerCount, ServerNumber, UserId};

use super::error::Error;

/// The first server.
const HS1: ServerNumber = ServerNumber::HS1;
/// The second server.
const HS2: ServerNumber = ServerNumber::HS2;

/// Two federated homeservers.
#[derive(Debug)]
pub enum Servers {
    /// They end with this value.
    Owned(Box<Homeservers>),
    /// They go on until `cargo xtask homeserver --instance NAME down`.
    Kept(Detached),
}

impl Servers {
    /// Starts two fresh servers under a name that no other process uses.
    ///
    /// # Errors
    /// As [`Homeservers::up`].
    pub fn up(stem: &str, rate_limits: RateLimits) -> Result<Self, Error> {
        let options = Options { rate_limits, ..Options::default() };
        let up = Homeservers::up(InstanceName::unique(stem)?, ServerCount::TWO, options)?;
        Ok(Self::Owned(Box::new(up)))
    }

    /// Makes two servers be up that outlive this process; `program` is this tool's executable.
    ///
    /// # Errors
    /// As [`Detached::up`].
    pub fn keep(name: &str, program: &Path) -> Result<Self, Error> {
        let detached = Detached::new(name.parse()?);
        detached.up(program, ServerCount::TWO, Options::default())?;
        Ok(Self::Kept(detached))
    }

    /// Gives the base URL of a server's client API.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn url(&self, server: ServerNumber) -> Result<String, Error> {
        match self {
            Self::Owned(up) => Ok(up.url(server)?.to_owned()),
            Self::Kept(detached) => {
                let servers = detached.status()?.servers;
                let found = servers.into_iter().find(|status| status.name == server);
                found.map(|status| status.url).ok_or_else(|| Error::Missing(server.to_string()))
            }
        }
    }

    /// Registers a user.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn user(&self, server: ServerNumber, name: &str, password: &str) -> Result<UserId, Error> {
        Ok(match self {
            Self::Owned(up) => up.user(server, name, password)?,
            Self::Kept(detached) => detached.user(server, name, password)?,
        })
    }

    /// Cuts the link of the two servers.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn cut(&self) -> Result<(), Error> {
        match self {
            Self::Owned(up) => up.cut(HS1, HS2)?,
            Self::Kept(detached) => detached.set_link(HS1, HS2, LinkState::Cut)?,
        }
        Ok(())
    }

    /// Heals the link, and waits until the servers reach each other.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn heal(&self) -> Result<(), Error> {
        match self {
            Self::Owned(up) => up.heal(HS1, HS2)?,
            Self::Kept(detached) => detached.set_link(HS1, HS2, LinkState::Up)?,
        }
        Ok(())
    }

    /// Stops a server: its clients find the port closed.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn stop(&self, server: ServerNumber) -> Result<(), Error> {
        match self {
            Self::Owned(up) => up.stop(server)?,
            Self::Kept(detached) => detached.stop(server)?,
        }
        Ok(())
    }

    /// Starts a stopped server on the same port, and waits until it serves.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn start(&self, server: ServerNumber) -> Result<(), Error> {
        match self {
            Self::Owned(up) => up.start(server)?,
            Self::Kept(detached) => detached.start(server)?,
        }
        Ok(())
    }

    /// Ends servers that are owned and removes their files; leaves kept ones alone.
    ///
    /// # Errors
    /// [`Error::Homeserver`].
    pub fn end(self) -> Result<(), Error> {
        match self {
            Self::Owned(up) => up.down()?,
            Self::Kept(_) => {}
        }
        Ok(())
    }
}
