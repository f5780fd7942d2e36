//! Carrying one request of the machine to the homeserver, and reading the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dmls::id::Device;
use dmls_matrix::facts::UserDevices;
use dmls_matrix::request::{Failure, Request, Response};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, IdentityError};
use crate::http::{Api, Patience};
use crate::identity::Identity;

/// How long the homeserver waits for a remote one that is to give out key packages.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);
/// What the own homeserver may need on top of that.
const CLAIM_OVERHEAD: Duration = Duration::from_secs(15);
/// Devices in one `/sendToDevice`.
const TO_DEVICE_BATCH: usize = 20;

/// What came of a request.
pub(super) struct Carried {
    /// Devices of users, to be taken in before the answer.
    pub(super) facts: Vec<UserDevices>,
    /// The answer, or why there is none.
    pub(super) answer: Result<Response, Refusal>,
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The machine is to know, and goes on.
    Failed(Failure),
    /// The homeserver cannot be reached: as before, and worth telling.
    Away(ApiError, Failure),
    /// Nothing more can be done in this session.
    Fatal(IdentityError),
}

/// Whether the homeserver may have to wait for another homeserver before it answers.
pub(super) fn waits_for_others(request: &Request) -> bool {
    matches!(
        request,
        Request::KeysQuery { .. }
            | Request::KeysClaim { .. }
            | Request::FetchEvent { .. }
            | Request::Messages { .. }
            | Request::Download { .. }
    )
}

/// A word for the request, to talk about it.
pub(super) fn word(request: &Request) -> &'static str {
    match request {
        Request::KeyPackagesUpload { .. } => "upload key packages",
        Request::KeysQuery { .. } => "query devices",
        Request::KeysClaim { .. } => "claim key packages",
        Request::ToDevice { .. } => "send to devices",
        Request::RoomEvent { .. } => "send into the room",
        Request::StateEvent { .. } => "set room state",
        Request::FetchEvent { .. } => "fetch an event",
        Request::Messages { .. } => "page backwards",
        Request::Members { .. } => "fetch members",
        Request::RoomState { .. } => "fetch room state",
        Request::Upload { .. } => "upload media",
        Request::Download { .. } => "download media",
        _ => "request",
    }
}

/// Carries out a request. Rate limits and silence go back to the machine, which may have something newer to send then.
pub(super) async fn carry(api: Api, identity: Arc<Identity>, request: Request) -> Carried {
    let once = Patience { limited: Duration::ZERO, offline: Duration::ZERO, ..api.patience() };
    let api = api.with_patience(once);
    if let Request::KeysQuery { users } = request {
        return query(&api, &identity, &users).await;
    }
    let answer = dispatch(&api, &identity, request).await;
    Carried { facts: Vec::new(), answer: answer.map_err(refusal) }
}

async fn dispatch(api: &Api, identity: &Identity, request: Request) -> Result<Response, IdentityError> {
    let json = match request {
        Request::KeyPackagesUpload { one_time, fallback } => upload_packages(api, one_time, fallback).await?,
        Request::KeysClaim { algorithm, devices, .. } => claim(api, &algorithm, &devices).await?,
        Request::ToDevice { txn_id, event_type, messages, encrypt } => {
            let outgoing = Outgoing { txn_id, event_type, messages };
            return outgoing.send(api, identity, encrypt).await.map(|()| Response::Done);
        }
        Request::RoomEvent { room, event_type, txn_id, content } => {
            let path = ["_matrix", "client", "v3", "rooms", room.as_str(), "send", &event_type, &txn_id];
            api.call(Method::PUT, &path, &[], Some(&content)).await?
        }
        Request::StateEvent { room, event_type, state_key, content } => {
            let path = ["_matrix", "client", "v3", "rooms", room.as_str(), "state", &event_type, &state_key];
            api.call(Method::PUT, &path, &[], Some(&content)).await?
        }
        Request::FetchEvent { room, event_id } => fetch(api, room.as_str(), &["event", &event_id], &[]).await?,
        Request::Messages { room, from, limit } => page(api, room.as_str(), from, limit).await?,
        Request::Members { room } => fetch(api, room.as_str(), &["members"], &[]).await?,
        Request::RoomState { room } => fetch(api, room.as_str(), &["state"], &[]).await?,
        Request::Upload { bytes, content_type } => {
            json!({ "content_uri": api.upload_media(bytes, &content_type).await? })
        }
        Request::Download { mxc, max, .. } => return Ok(Response::Media(api.download_media(&mxc, max).await?)),
        _ => return Err(ApiError::BadRequest("a request of a newer machine").into()),
    };
    Ok(Response::Json(json))
}

async fn fetch(api: &Api, room: &str, rest: &[&str], query: &[(&str, &str)]) -> Result<Value, ApiError> {
    let path = [&["_matrix", "client", "v3", "rooms", room], rest].concat();
    api.call(Method::GET, &path, query, None).await
}

async fn page(api: &Api, room: &str, from: Option<String>, limit: u16) -> Result<Value, ApiError> {
    let limit = limit.to_string();
    let mut query = vec![("dir", "b"), ("limit", &limit)];
    query.extend(from.as_deref().map(|from| ("from", from)));
    fetch(api, room, &["messages"], &query).await
}

async fn upload_packages(
    api: &Api,
    one_time: Vec<(String, Value)>,
    fallback: Option<(String, Value)>,
) -> Result<Value, ApiError> {
    let mut body = json!({ "one_time_keys": Map::from_iter(one_time) });
    if let Some(fallback) = fallback {
        body["fallback_keys"] = Value::Object(Map::from_iter([fallback]));
    }
    api.call_repeatable(Method::POST, &["_matrix", "client", "v3", "keys", "upload"], &[], Some(&body)).await
}

async fn claim(api: &Api, algorithm: &str, devices: &[Device]) -> Result<Value, ApiError> {
    let mut wanted: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for device in devices {
        wanted.entry(&device.user).or_default().insert(&device.device, algorithm);
    }
    let body = json!({ "timeout": CLAIM_TIMEOUT.as_millis(), "one_time_keys": wanted });
    let api = api.with_patience(Patience { attempt: CLAIM_TIMEOUT + CLAIM_OVERHEAD, ..api.patience() });
    api.call_repeatable(Method::POST, &["_matrix", "client", "v3", "keys", "claim"], &[], Some(&body)).await
}

async fn query(api: &Api, identity: &Identity, users: &[String]) -> Carried {
    match query_facts(api, identity, users).await {
        Ok(facts) => Carried { facts, answer: Ok(Response::Done) },
        Err(error) => Carried { facts: Vec::new(), answer: Err(refusal(error)) },
    }
}

/// Facts about the users whose homeservers answered.
pub(super) async fn query_facts(
    api: &Api,
    identity: &Identity,
    users: &[String],
) -> Result<Vec<UserDevices>, IdentityError> {
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    identity.track(&users).await?;
    let queried = identity.query(api, &users).await?;
    let mut facts = Vec::with_capacity(users.len());
    for user in users {
        let server = user.split_once(':').map_or("", |(_, server)| server);
        if !queried.failed_servers.contains(server) {
            facts.extend(identity.facts(user).await?);
        }
    }
    Ok(facts)
}

/// To-device messages of one request.
struct Outgoing {
    txn_id: String,
    event_type: String,
    messages: Vec<(Device, Value)>,
}

impl Outgoing {
    /// In batches, whose transaction ids follow from the request's: a repetition repeats each of them.
    async fn send(self, api: &Api, identity: &Identity, encrypt: bool) -> Result<(), IdentityError> {
        let (mut sent, mut unsendable) = (false, None);
        for (number, batch) in self.messages.chunks(TO_DEVICE_BATCH).enumerate() {
            let (mut kind, mut body) = (self.event_type.clone(), Batch::default());
            for (device, content) in batch {
                if !encrypt {
                    body.add(device, content.clone());
                    continue;
                }
                match identity.encrypt_to_device(api, device, &self.event_type, content).await {
                    Ok((encrypted, content)) => {
                        kind = encrypted;
                        body.add(device, content);
                    }
                    Err(error) if is_about_one_device(&error) => unsendable = Some(error),
                    Err(error) => return Err(error),
                }
            }
            if !body.0.is_empty() {
                let txn_id = if number == 0 { self.txn_id.clone() } else { format!("{}.{number}", self.txn_id) };
                let path = ["_matrix", "client", "v3", "sendToDevice", &kind, &txn_id];
                api.call(Method::PUT, &path, &[], Some(&json!({ "messages": body.0 }))).await?;
                sent = true;
            }
        }
        match unsendable {
            Some(error) if !sent => Err(error),
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Batch(BTreeMap<String, BTreeMap<String, Value>>);

impl Batch {
    fn add(&mut self, device: &Device, content: Value) {
        self.0.entry(device.user.clone()).or_default().insert(device.device.clone(), content);
    }
}

/// Others of the same request can still be served.
fn is_about_one_device(error: &IdentityError) -> bool {
    matches!(
        error,
        IdentityError::NoChannel(_)
            | IdentityError::Unendorsed(_)
            | IdentityError::UnknownDevice(_)
            | IdentityError::BadId(_)
            | IdentityError::Crypto(_)
    )
}

/// What the machine is to hear of an error.
pub(super) fn refusal(error: IdentityError) -> Refusal {
    let for_good = |code: &str| Refusal::Failed(Failure { permanent: Some(code.to_owned()), ..Failure::default() });
    match error {
        IdentityError::Api(error) => api_refusal(error),
        IdentityError::NoChannel(_) => Refusal::Failed(Failure::default()),
        error if is_about_one_device(&error) => for_good(error.code()),
        fatal => Refusal::Fatal(fatal),
    }
}

fn api_refusal(error: ApiError) -> Refusal {
    let for_good = |code: String| Refusal::Failed(Failure { permanent: Some(code), ..Failure::default() });
    match error {
        ApiError::Unreachable(_) => Refusal::Away(error, Failure::default()),
        ApiError::LimitExceeded { retry_after } => {
            let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            Refusal::Failed(Failure { retry_after_ms: Some(millis), permanent: None })
        }
        ApiError::TokenExpired { .. } => Refusal::Fatal(error.into()),
        ApiError::Refused { status, .. } if status >= 500 || status == 408 => Refusal::Failed(Failure::default()),
        ApiError::Refused { status, errcode, .. } => {
            for_good(if errcode.is_empty() { status.to_string() } else { errcode })
        }
        ApiError::TooLarge => for_good("M_TOO_LARGE".to_owned()),
        ApiError::BadAnswer(_) => Refusal::Failed(Failure::default()),
        error @ (ApiError::NeedsAuth(_) | ApiError::BadRequest(_)) => for_good(error.code().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Silence;

    use super::*;

    fn failure(error: ApiError) -> Option<(Option<u64>, Option<String>)> {
        match api_refusal(error) {
            Refusal::Failed(failure) | Refusal::Away(_, failure) => Some((failure.retry_after_ms, failure.permanent)),
            Refusal::Fatal(_) => None,
        }
    }

    fn refused(status: u16, errcode: &str) -> ApiError {
        ApiError::Refused { status, errcode: errcode.to_owned(), message: String::new() }
    }

    #[test]
    fn what_the_machine_hears() {
        let limited = ApiError::LimitExceeded { retry_after: Duration::from_millis(700) };
        assert_eq!(failure(limited), Some((Some(700), None)));
        assert_eq!(failure(ApiError::Unreachable(Silence::Connect)), Some((None, None)));
        assert_eq!(failure(refused(502, "M_UNKNOWN")), Some((None, None)));
        assert_eq!(failure(refused(403, "M_FORBIDDEN")), Some((None, Some("M_FORBIDDEN".to_owned()))));
        assert_eq!(failure(refused(404, "")), Some((None, Some("404".to_owned()))));
        assert_eq!(failure(ApiError::TooLarge), Some((None, Some("M_TOO_LARGE".to_owned()))));
        assert_eq!(failure(ApiError::TokenExpired { soft_logout: true }), None);
    }
}
