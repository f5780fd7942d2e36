//! The record of the session, in a table of its own in the sealed store.

use std::fmt;
use std::mem::take;

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::SqliteStore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::error::ClientError;
use crate::http::AccessToken;

const SESSION: Table = Table("client.session");
const KEY: &[u8] = b"session";
const VERSION: u8 = 1;

/// How far the set-up of the device has come. Every step may be repeated, so a crash between two costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The device id is chosen; the homeserver may or may not have heard of it.
    LoggingIn,
    /// The homeserver gave a token.
    LoggedIn,
    /// Device keys and credential are published.
    Published,
    /// Cross-signed, or left to another device of the account to approve.
    Ready,
}

/// Whose device this is, and how its homeserver knows it.
pub struct Session {
    /// Base URL of the homeserver.
    pub homeserver: String,
    /// Full user id; before the log-in what the user typed.
    pub user: String,
    /// Device id.
    pub device: String,
    /// Access token; secret.
    pub token: Option<AccessToken>,
    /// How far the set-up has come.
    pub stage: Stage,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    homeserver: String,
    user: String,
    device: String,
    token: Option<String>,
    stage: Stage,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl Session {
    /// Reads the session of a profile, if it has one.
    pub(super) fn load(store: &SqliteStore) -> Result<Option<Self>, ClientError> {
        let Some(bytes) = store.get(SESSION, KEY)? else { return Ok(None) };
        let body = bytes.split_first().filter(|(version, _)| **version == VERSION).map(|(_, body)| body);
        let stored = body.and_then(|body| serde_json::from_slice::<Stored>(body).ok());
        let mut stored = stored.ok_or(ClientError::SessionRecord)?;
        Ok(Some(Self {
            homeserver: take(&mut stored.homeserver),
            user: take(&mut stored.user),
            device: take(&mut stored.device),
            token: stored.token.take().map(AccessToken::new),
            stage: stored.stage,
        }))
    }

    /// Stores the session durably.
    pub(super) fn save(&self, store: &mut SqliteStore) -> Result<(), ClientError> {
        let stored = Stored {
            homeserver: self.homeserver.clone(),
            user: self.user.clone(),
            device: self.device.clone(),
            token: self.token.as_ref().map(|token| token.expose().to_owned()),
            stage: self.stage,
        };
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, &stored).map_err(|_| ClientError::SessionRecord)?;
        Ok(store.commit(&[Write::put(SESSION, KEY, bytes)])?)
    }

    /// The token once more, for the HTTP client.
    pub(super) fn token(&self) -> Result<AccessToken, ClientError> {
        self.token.as_ref().map(|token| AccessToken::new(token.expose())).ok_or(ClientError::NotLoggedIn)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { homeserver, user, device, token: _, stage } = self;
        write!(f, "Session({user}/{device} at {homeserver}, {stage:?})")
    }
}
