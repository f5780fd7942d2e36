//! Asking for devices now and then although no sync said that they changed.
//!
//! A homeserver may swallow the news: Synapse says nothing to its clients when it learns, by fetching the whole list,
//! that a remote user has no device left. A device that its owner logged out must not go on reading for that.

use std::collections::BTreeSet;
use std::sync::Arc;

use dmls::id::Timestamp;
use dmls::journal::{Journal, Records, Table, Write};
use dmls_matrix::facts::UserDevices;
use dmls_matrix::view::{Encryption, Membership};

use super::{Client, ClientError, now};
use crate::error::IdentityError;
use crate::http::Api;
use crate::identity::Identity;

const REFRESH: Table = Table("client.refresh");
const KEY: &[u8] = b"next";
const VERSION: u8 = 1;
/// Pause between two rounds, and what each user adds to it: a homeserver is asked for one user a second at most.
const PAUSE: u64 = 60_000;
const PAUSE_PER_USER: u64 = 1_000;
const LONGEST_PAUSE: u64 = 12 * 3_600_000;

impl Client {
    /// Begins a round if it is time for one; whether it did.
    pub(super) fn start_refresh(&mut self) -> Result<(), ClientError> {
        let (now, at) = (now(), self.refresh_at()?);
        // A clock that was set back does not put it off for long.
        if now < at && at <= now.plus(LONGEST_PAUSE) {
            return Ok(());
        }
        let users = self.watched()?;
        let pause = PAUSE + PAUSE_PER_USER.saturating_mul(u64::try_from(users.len()).unwrap_or(u64::MAX));
        let next = now.plus(pause.min(LONGEST_PAUSE));
        self.refresh_at = Some(next);
        if !users.is_empty() {
            let record = [&[VERSION][..], &next.0.to_be_bytes()].concat();
            self.local.machine.journal_mut().commit(&[Write::put(REFRESH, KEY, record)])?;
            self.flight.start_refresh(refresh(self.api.clone(), self.identity.clone(), users));
        }
        Ok(())
    }

    /// When the next round is due.
    fn refresh_at(&mut self) -> Result<Timestamp, ClientError> {
        if let Some(at) = self.refresh_at {
            return Ok(at);
        }
        let record = self.local.machine.journal_mut().get(REFRESH, KEY)?;
        let bytes = record.as_ref().and_then(|record| record.split_first()).filter(|(version, _)| **version == VERSION);
        let at = bytes.and_then(|(_, at)| Some(Timestamp(u64::from_be_bytes(at.try_into().ok()?)))).unwrap_or_default();
        self.refresh_at = Some(at);
        Ok(at)
    }

    /// Everybody who may read something of this device's, but for its own user, of whom its homeserver knows best.
    fn watched(&mut self) -> Result<BTreeSet<String>, ClientError> {
        let mut users = BTreeSet::new();
        for row in self.local.machine.rooms()? {
            if row.membership == Membership::Joined && row.encryption == Encryption::Dmls {
                let members = self.local.machine.members(&row.room)?;
                users.extend(members.into_iter().filter(|row| row.in_room).map(|row| row.device.user));
            }
        }
        users.remove(self.identity.user());
        Ok(users)
    }
}

async fn refresh(
    api: Api,
    identity: Arc<Identity>,
    users: BTreeSet<String>,
) -> Result<Vec<UserDevices>, IdentityError> {
    let users: Vec<_> = users.into_iter().collect();
    super::carry::query_facts(&api, &identity, &users).await
}
