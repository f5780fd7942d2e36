//! Whose devices are watched, and key queries, one homeserver apart from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use matrix_sdk_crypto::types::requests::KeysQueryRequest;
use ruma::api::client::keys::get_keys::v3;
use ruma::{OwnedTransactionId, OwnedUserId, UserId};
use tokio::task::JoinSet;

use super::{Identity, lanes, olm_error, store_error, user_id};
use crate::error::{ApiError, IdentityError};
use crate::http::Api;

/// Users in one `/keys/query`.
const BATCH: usize = 250;
/// How long the homeserver shall wait for a remote one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a key query could not bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queried {
    /// Homeservers that did not answer; what is known of their users is older. Ask again when they show life.
    pub failed_servers: BTreeSet<String>,
}

impl Identity {
    /// Watches the device lists of these users: those with whom this device shares encrypted rooms.
    ///
    /// [`Identity::pump`] queries those not seen before, and those whom a sync names as changed.
    pub async fn track(&self, users: &[&str]) -> Result<(), IdentityError> {
        let users = users.iter().map(|user| user_id(user)).collect::<Result<Vec<_>, _>>()?;
        let tracked = self.machine.update_tracked_users(users.iter().map(|user| &**user));
        // By name of its type only, the compiler does not see that the future is `Send`.
        let tracked: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(tracked);
        tracked.await.map_err(store_error)
    }

    /// Asks for these users' keys now, also those whose server lately failed (Client-Server API §11.12.2.1).
    pub async fn query(&self, api: &Api, users: &[&str]) -> Result<Queried, IdentityError> {
        let users = users.iter().map(|user| user_id(user)).collect::<Result<BTreeSet<_>, _>>()?;
        let _turn = self.queries.lock().await;
        let (mut batches, lanes) = (JoinSet::new(), lanes());
        for batch in by_server(&users) {
            let (id, request) = self.machine.query_keys_for_users(batch.iter().map(|user| &**user));
            let (api, lanes) = (api.clone(), lanes.clone());
            batches.spawn(async move {
                let _lane = lanes.acquire().await;
                (id, batch, ask(&api, request).await)
            });
        }
        self.take_in(batches).await
    }

    async fn take_in(&self, mut batches: JoinSet<BatchAnswer>) -> Result<Queried, IdentityError> {
        let (mut queried, mut error, mut any) = (Queried::default(), None, false);
        while let Some(joined) = batches.join_next().await {
            let Ok((id, batch, answer)) = joined else { continue };
            match answer {
                Ok(answer) => {
                    any = true;
                    queried.failed_servers.extend(self.receive_query(&id, &answer).await?);
                }
                Err(failure) if failure.is_temporary() => {
                    queried.failed_servers.extend(batch.iter().map(|user| user.server_name().to_string()));
                    error.get_or_insert(failure);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        match error {
            Some(error) if !any => Err(error.into()),
            _ => Ok(queried),
        }
    }

    /// Gives an answer to the machine; returns the homeservers that failed.
    pub(super) async fn receive_query(
        &self,
        id: &OwnedTransactionId,
        answer: &v3::Response,
    ) -> Result<BTreeSet<String>, IdentityError> {
        self.machine.mark_request_as_sent(id, answer).await.map_err(olm_error)?;
        self.answered.lock().await.extend(answer.device_keys.keys().cloned());
        Ok(answer.failures.keys().cloned().collect())
    }

    /// Queries this account and returns what the homeserver itself says of it.
    pub(super) async fn query_self(&self, api: &Api) -> Result<v3::Response, IdentityError> {
        let _turn = self.queries.lock().await;
        let (id, request) = self.machine.query_keys_for_users([&*self.user]);
        let answer = ask(api, request).await?;
        self.receive_query(&id, &answer).await?;
        Ok(answer)
    }
}

type BatchAnswer = (OwnedTransactionId, Vec<OwnedUserId>, Result<v3::Response, ApiError>);

pub(super) async fn ask(api: &Api, request: KeysQueryRequest) -> Result<v3::Response, ApiError> {
    let mut typed = v3::Request::new();
    typed.timeout = Some(TIMEOUT);
    typed.device_keys = request.device_keys;
    api.send_ruma(typed, true).await
}

/// Batches of users of one homeserver each.
fn by_server(users: &BTreeSet<OwnedUserId>) -> Vec<Vec<OwnedUserId>> {
    let mut servers: BTreeMap<_, Vec<OwnedUserId>> = BTreeMap::new();
    for user in users {
        servers.entry(UserId::server_name(user)).or_default().push(user.clone());
    }
    servers.into_values().flat_map(|users| users.chunks(BATCH).map(<[_]>::to_vec).collect::<Vec<_>>()).collect()
}
