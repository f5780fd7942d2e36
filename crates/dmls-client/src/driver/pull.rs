//! Syncs: what is asked for, and how an answer is taken in.

use std::collections::BTreeSet;
use std::time::Duration;

use dmls_matrix::NAMESPACE;
use dmls_matrix::sync::{SyncInput, ToDeviceEvent};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, ClientError, Note, SystemEntropy, now};
use crate::error::ApiError;
use crate::http::{Api, Patience};
use crate::identity::{Received, SyncKeys, Wrapping};

/// Timeline events per room in one answer.
const TIMELINE: u32 = 100;
/// What the homeserver may take longer than the time it was given to wait.
const GRACE: Duration = Duration::from_secs(35);

/// Nothing but what the machine reads, in the form that clients know.
fn filter() -> String {
    let nothing = json!({ "not_types": ["*"] });
    json!({
        "event_format": "client",
        "presence": nothing,
        "account_data": nothing,
        "room": {
            "timeline": { "limit": TIMELINE },
            "ephemeral": nothing,
            "account_data": nothing,
            "include_leave": false,
        },
    })
    .to_string()
}

/// One sync, of which the homeserver answers when there is something or after `wait`.
pub(super) async fn sync(api: Api, since: Option<String>, wait: Duration, patient: bool) -> Result<Value, ApiError> {
    let (wait_ms, filter) = (wait.as_millis().to_string(), filter());
    let mut query = vec![("timeout", wait_ms.as_str()), ("filter", &filter), ("set_presence", "offline")];
    query.extend(since.as_deref().map(|since| ("since", since)));
    let mut patience = Patience { attempt: wait + GRACE, ..api.patience() };
    if !patient {
        patience.offline = Duration::ZERO;
    }
    api.with_patience(patience).call(Method::GET, &["_matrix", "client", "v3", "sync"], &query, None).await
}

impl Client {
    /// Takes in a sync answer, the identity first; whether there was something in it.
    pub(super) async fn take_in(&mut self, mut body: Value) -> Result<bool, ClientError> {
        let keys = SyncKeys::take_from(&mut body);
        let (devices_moved, to_device) = (!keys.changed.is_empty() || !keys.left.is_empty(), keys.to_device.len());
        let received = self.identity.receive_sync(keys).await?;
        let events = self.to_device_events(received).await?;
        let input = SyncInput::parse(&body, events).ok_or(ApiError::BadAnswer("a sync without next_batch"))?;
        let rooms = input.rooms.len();
        let report = self.local.machine.receive_sync(input, now(), &mut SystemEntropy)?;
        self.take_report(report);
        (self.observer)(&Note::Synced { rooms, to_device });
        Ok(devices_moved || to_device > 0 || rooms > 0)
    }

    /// To-device messages as the machine reads them; those that Olm could not decrypt are left out.
    async fn to_device_events(&self, received: Vec<Received>) -> Result<Vec<ToDeviceEvent>, ClientError> {
        let mut asked = BTreeSet::new();
        let mut events = Vec::with_capacity(received.len());
        for mut message in received {
            let ours = message.kind.starts_with(NAMESPACE);
            if ours && message.wrapping == Wrapping::Olm && sending_device(&message).is_none() {
                self.look_up(&mut message, &mut asked).await?;
            }
            let verified = sending_device(&message);
            if message.wrapping == Wrapping::Undecryptable
                || ours && message.wrapping == Wrapping::Olm && verified.is_none()
            {
                (self.observer)(&Note::Undecrypted { sender: message.sender.clone() });
            }
            if message.wrapping != Wrapping::Undecryptable {
                events.push(ToDeviceEvent {
                    sender: message.sender,
                    sender_device: verified,
                    encrypted: message.wrapping == Wrapping::Olm,
                    event_type: message.kind,
                    content: message.content,
                });
            }
        }
        Ok(events)
    }

    /// Asks once for the devices of a sender whose message came before their keys.
    async fn look_up(&self, message: &mut Received, asked: &mut BTreeSet<String>) -> Result<(), ClientError> {
        if asked.insert(message.sender.clone()) {
            match self.identity.query(&self.api, &[&message.sender]).await.map_err(ClientError::from) {
                Err(error) if !error.is_network() => return Err(error),
                _ => {}
            }
        }
        Ok(self.identity.resolve_sender(message).await?)
    }
}

/// The device that sent an encrypted message, if its owner vouches for it.
fn sending_device(message: &Received) -> Option<dmls::id::Device> {
    use dmls_matrix::facts::Endorsement;
    let facts = message.sender_device.as_ref()?;
    (facts.endorsement == Endorsement::Endorsed).then(|| facts.device.clone())
}
