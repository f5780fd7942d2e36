//! To-device messages: out of a sync, and Olm-encrypted to one device.

use std::collections::BTreeMap;
use std::time::Duration;

use dmls::id::Device;
use dmls_matrix::facts::DeviceFacts;
use matrix_sdk_common::deserialized_responses::{AlgorithmInfo, EncryptionInfo, ProcessedToDeviceEvent};
use matrix_sdk_crypto::types::events::room::encrypted::ToDeviceEncryptedEventContent;
use matrix_sdk_crypto::{CollectStrategy, DecryptionSettings, EncryptionSyncChanges, OlmError, TrustRequirement};
use ruma::api::client::keys::claim_keys;
use ruma::api::client::sync::sync_events::DeviceLists;
use ruma::events::AnyToDeviceEvent;
use ruma::serde::Raw;
use ruma::{OneTimeKeyAlgorithm, OwnedUserId, TransactionId, UInt, UserId};
use serde_json::Value;

use super::facts::facts_of;
use super::{Identity, olm_error, store_error, user_id};
use crate::error::{ApiError, IdentityError};
use crate::http::Api;

const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
const ENCRYPTED: &str = "m.room.encrypted";
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);

/// What of a sync answer concerns the device identity (Client-Server API §11.12).
#[derive(Debug, Clone, Default)]
pub struct SyncKeys {
    /// `to_device.events`, raw.
    pub to_device: Vec<Value>,
    /// `device_lists.changed`.
    pub changed: Vec<String>,
    /// `device_lists.left`.
    pub left: Vec<String>,
    /// `device_one_time_keys_count`.
    pub one_time_key_counts: BTreeMap<String, u64>,
    /// `device_unused_fallback_key_types`.
    pub unused_fallback_keys: Option<Vec<String>>,
}

impl SyncKeys {
    /// Takes them out of the JSON answer of `/sync`; the to-device events are moved, not copied.
    pub fn take_from(sync: &mut Value) -> Self {
        let texts = |value: &Value| -> Option<Vec<String>> {
            Some(value.as_array()?.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
        };
        let counts = sync["device_one_time_keys_count"].as_object().into_iter().flatten();
        let one_time_key_counts = counts.filter_map(|(kind, count)| Some((kind.clone(), count.as_u64()?))).collect();
        let to_device = sync.pointer_mut("/to_device/events").and_then(Value::as_array_mut).map(std::mem::take);
        Self {
            to_device: to_device.unwrap_or_default(),
            changed: texts(&sync["device_lists"]["changed"]).unwrap_or_default(),
            left: texts(&sync["device_lists"]["left"]).unwrap_or_default(),
            one_time_key_counts,
            unused_fallback_keys: texts(&sync["device_unused_fallback_key_types"]),
        }
    }
}

/// How a to-device message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// Not Olm-encrypted: the homeservers could read and forge it.
    Plain,
    /// Olm-encrypted, and decrypted.
    Olm,
    /// Olm-encrypted, and not to be decrypted; the content is as it came.
    Undecryptable,
}

/// A to-device message for this device.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Who sent it; only as good as the homeservers if `sender_device` is `None`.
    pub sender: String,
    /// The device that encrypted it, checked against its signed device keys; `None` if plain or not known.
    pub sender_device: Option<DeviceFacts>,
    /// How it came.
    pub wrapping: Wrapping,
    /// Event type, of the decrypted event if it was encrypted.
    pub kind: String,
    /// Its content.
    pub content: Value,
    /// Device id and Curve25519 key at the other end of the Olm channel, as the message claims.
    channel: Option<(String, String)>,
}

impl Identity {
    /// Takes in a sync: decrypts Olm messages, notes changed devices and key counts. Durable when it returns.
    ///
    /// The caller stores the sync position after it, so that a crash repeats the sync rather than losing it;
    /// a repeated Olm message then comes as [`Wrapping::Undecryptable`].
    pub async fn receive_sync(&self, sync: SyncKeys) -> Result<Vec<Received>, IdentityError> {
        let (olm, other): (Vec<_>, Vec<_>) = sync.to_device.into_iter().partition(is_for_machine);
        let mut lists = DeviceLists::new();
        lists.changed = parse_users(&sync.changed);
        lists.left = parse_users(&sync.left);
        let counts = sync.one_time_key_counts.iter();
        let counts = counts.map(|(kind, count)| (kind.as_str().into(), UInt::new_saturating(*count))).collect();
        let fallback = sync.unused_fallback_keys.map(|kinds| kinds.iter().map(|kind| kind.as_str().into()).collect());
        let fallback: Option<Vec<OneTimeKeyAlgorithm>> = fallback;
        let changes = EncryptionSyncChanges {
            to_device_events: olm.iter().filter_map(raw).collect(),
            changed_devices: &lists,
            one_time_keys_counts: &counts,
            unused_fallback_keys: fallback.as_deref(),
            next_batch_token: None,
        };
        let settings = DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };
        let (processed, _) = self.machine.receive_sync_changes(changes, &settings).await.map_err(olm_error)?;
        let mut received = Vec::with_capacity(processed.len() + other.len());
        for event in processed {
            received.extend(self.received(event).await?);
        }
        received.extend(other.into_iter().filter_map(|event| from_json(event, Wrapping::Plain)));
        Ok(received)
    }

    async fn received(&self, event: ProcessedToDeviceEvent) -> Result<Option<Received>, IdentityError> {
        let parse = |raw: &Raw<AnyToDeviceEvent>, wrapping| from_json(raw.deserialize_as_unchecked().ok()?, wrapping);
        Ok(match event {
            ProcessedToDeviceEvent::Decrypted { raw, encryption_info } => {
                let mut received = parse(&raw, Wrapping::Olm);
                if let Some(received) = &mut received {
                    received.sender = encryption_info.sender.to_string();
                    received.channel = channel(&encryption_info);
                    self.resolve_sender(received).await?;
                }
                received
            }
            ProcessedToDeviceEvent::UnableToDecrypt { encrypted_event, .. } => {
                parse(&encrypted_event, Wrapping::Undecryptable)
            }
            ProcessedToDeviceEvent::PlainText(raw) => parse(&raw, Wrapping::Plain),
            ProcessedToDeviceEvent::Invalid(_) => None,
        })
    }

    /// Looks once more for the device that encrypted a message, after a query for its sender.
    ///
    /// It is the device whose signed keys name the Curve25519 key of the Olm channel.
    pub async fn resolve_sender(&self, received: &mut Received) -> Result<(), IdentityError> {
        let Some((id, key)) = &received.channel else { return Ok(()) };
        let user = user_id(&received.sender)?;
        let device = self.machine.get_device(&user, id.as_str().into(), None).await.map_err(store_error)?;
        let device = device.filter(|device| device.curve25519_key().is_some_and(|known| known.to_base64() == *key));
        let has_identity = self.machine.get_identity(&user, None).await.map_err(store_error)?.is_some();
        received.sender_device = device.and_then(|device| facts_of(&device, has_identity));
        Ok(())
    }

    /// Olm-encrypts a message for one cross-signed device; returns event type and content for `/sendToDevice`.
    ///
    /// Claims a key of the device if there is no channel to it yet. Send in the order of the calls.
    pub async fn encrypt_to_device(
        &self,
        api: &Api,
        to: &Device,
        kind: &str,
        content: &Value,
    ) -> Result<(String, Value), IdentityError> {
        let device = self.known_device(to).await?;
        let mut encrypted = self.encrypt_once(&device, kind, content).await;
        if matches!(encrypted, Err(OlmError::MissingSession)) {
            self.open_channel(api, &device).await?;
            encrypted = self.encrypt_once(&device, kind, content).await;
        }
        let encrypted = encrypted.map_err(|error| match error {
            OlmError::MissingSession => IdentityError::NoChannel(to.to_string()),
            OlmError::Withheld(_) => IdentityError::Unendorsed(to.to_string()),
            error => olm_error(error),
        })?;
        let content = encrypted.deserialize_as_unchecked().map_err(|_| ApiError::BadRequest("encrypted content"))?;
        Ok((ENCRYPTED.to_owned(), content))
    }

    async fn encrypt_once(
        &self,
        device: &matrix_sdk_crypto::Device,
        kind: &str,
        content: &Value,
    ) -> Result<Raw<ToDeviceEncryptedEventContent>, OlmError> {
        let _turn = self.channels.lock().await;
        device.encrypt_event_raw(kind, content, CollectStrategy::IdentityBasedStrategy).await
    }

    /// Claims a key of this one device; the machine would claim for all devices of the user.
    async fn open_channel(&self, api: &Api, device: &matrix_sdk_crypto::Device) -> Result<(), IdentityError> {
        let wanted = BTreeMap::from([(device.device_id().to_owned(), OneTimeKeyAlgorithm::SignedCurve25519)]);
        let mut claim = claim_keys::v3::Request::new(BTreeMap::from([(device.user_id().to_owned(), wanted)]));
        claim.timeout = Some(CLAIM_TIMEOUT);
        self.claim(api, &TransactionId::new(), claim).await
    }
}

/// Plain messages and Olm ones are the machine's; `m.room.encrypted` with an algorithm of ours is not.
fn is_for_machine(event: &Value) -> bool {
    event["type"] != ENCRYPTED || event["content"]["algorithm"] == OLM
}

fn raw(event: &Value) -> Option<Raw<AnyToDeviceEvent>> {
    Raw::new(event).ok().map(Raw::cast_unchecked)
}

fn from_json(mut event: Value, wrapping: Wrapping) -> Option<Received> {
    Some(Received {
        sender: event["sender"].as_str().unwrap_or_default().to_owned(),
        sender_device: None,
        wrapping,
        kind: event["type"].as_str()?.to_owned(),
        content: event["content"].take(),
        channel: None,
    })
}

fn channel(from: &EncryptionInfo) -> Option<(String, String)> {
    match &from.algorithm_info {
        AlgorithmInfo::OlmV1Curve25519AesSha2 { curve25519_public_key_base64: key } => {
            Some((from.sender_device.as_ref()?.to_string(), key.clone()))
        }
        _ => None,
    }
}

fn parse_users(users: &[String]) -> Vec<OwnedUserId> {
    users.iter().filter_map(|user| UserId::parse(user).ok()).collect()
}
