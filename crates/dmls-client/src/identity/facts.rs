//! Device facts from verified device keys.

use std::collections::BTreeMap;

use dmls::id::Device;
use dmls_matrix::NAMESPACE;
use dmls_matrix::facts::{DeviceFacts, Endorsement, UserDevices};
use matrix_sdk_crypto::types::DeviceKey;
use reqwest::Method;
use ruma::DeviceId;

use super::{Identity, key32, store_error, user_id};
use crate::error::{ApiError, IdentityError};
use crate::http::Api;

/// One of the account's own sessions, with or without published keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session's device id.
    pub device: String,
    /// The name its owner gave it.
    pub display_name: Option<String>,
    /// What its device keys show; `None` if it has published none.
    pub facts: Option<DeviceFacts>,
}

/// Name of a device's DMLS credential among its device keys (SPEC §5).
pub(super) fn credential_key_id(device: &str) -> String {
    format!("{NAMESPACE}.credential.ed25519:{device}")
}

impl Identity {
    /// The user's devices as the newest answer of their homeserver shows them; `None` before the first answer.
    ///
    /// Only devices whose keys are signed by themselves are listed.
    pub async fn facts(&self, user: &str) -> Result<Option<UserDevices>, IdentityError> {
        let user = user_id(user)?;
        let devices = self.machine.get_user_devices(&user, None).await.map_err(store_error)?;
        let has_identity = self.machine.get_identity(&user, None).await.map_err(store_error)?.is_some();
        let devices: Vec<_> = devices.devices().filter_map(|device| facts_of(&device, has_identity)).collect();
        let known = !devices.is_empty() || self.answered.lock().await.contains(&user);
        Ok(known.then(|| UserDevices { user: user.to_string(), devices }))
    }

    /// One device's facts, if the device exists and its keys are known.
    pub async fn device_facts(&self, device: &Device) -> Result<Option<DeviceFacts>, IdentityError> {
        let user = user_id(&device.user)?;
        let has_identity = self.machine.get_identity(&user, None).await.map_err(store_error)?.is_some();
        let id: &DeviceId = device.device.as_str().into();
        let found = self.machine.get_device(&user, id, None).await.map_err(store_error)?;
        Ok(found.and_then(|found| facts_of(&found, has_identity)))
    }

    /// Blocks a device or lifts the block; kept on this device only.
    pub async fn set_blocked(&self, device: &Device, blocked: bool) -> Result<(), IdentityError> {
        use matrix_sdk_crypto::LocalTrust;
        let trust = if blocked { LocalTrust::BlackListed } else { LocalTrust::Unset };
        self.known_device(device).await?.set_local_trust(trust).await.map_err(store_error)
    }

    /// All sessions of the account, those without keys too (Client-Server API §10.11).
    pub async fn sessions(&self, api: &Api) -> Result<Vec<Session>, IdentityError> {
        self.query(api, &[self.user()]).await?;
        let known = self.facts(self.user()).await?.map_or_else(Vec::new, |user| user.devices);
        let mut known: BTreeMap<_, _> = known.into_iter().map(|facts| (facts.device.device.clone(), facts)).collect();
        let answer = api.call(Method::GET, &["_matrix", "client", "v3", "devices"], &[], None).await?;
        let devices = answer["devices"].as_array().ok_or(ApiError::BadAnswer("devices"))?;
        let session = |device: &serde_json::Value| {
            let id = device["device_id"].as_str()?.to_owned();
            let display_name = device["display_name"].as_str().map(str::to_owned);
            Some(Session { facts: known.remove(&id), device: id, display_name })
        };
        Ok(devices.iter().filter_map(session).collect())
    }

    pub(super) async fn known_device(&self, device: &Device) -> Result<matrix_sdk_crypto::Device, IdentityError> {
        let user = user_id(&device.user)?;
        let id: &DeviceId = device.device.as_str().into();
        let found = self.machine.get_device(&user, id, None).await.map_err(store_error)?;
        found.ok_or_else(|| IdentityError::UnknownDevice(device.to_string()))
    }
}

/// `None` for a device without an Ed25519 key: it has no identity that anything could hold on to.
pub(super) fn facts_of(device: &matrix_sdk_crypto::Device, has_identity: bool) -> Option<DeviceFacts> {
    let ed25519 = *device.ed25519_key()?.as_bytes();
    let credential = credential(device);
    let endorsement = match credential {
        _ if device.is_blacklisted() => Endorsement::Blocked,
        _ if !has_identity => Endorsement::NoIdentity,
        _ if !device.is_cross_signed_by_owner() => Endorsement::NotCrossSigned,
        None => Endorsement::NoCredential,
        Some(None) => Endorsement::BadCredential,
        Some(Some(_)) => Endorsement::Endorsed,
    };
    let id = Device::new(device.user_id().as_str(), device.device_id().as_str());
    Some(DeviceFacts { device: id, ed25519, mls_key: credential.flatten(), endorsement })
}

/// The MLS key in the device's signed keys: absent, there but not a key, or a key.
fn credential(device: &matrix_sdk_crypto::Device) -> Option<Option<[u8; 32]>> {
    let wanted = credential_key_id(device.device_id().as_str());
    let (_, entry) = device.keys().iter().find(|(id, _)| id.as_str() == wanted)?;
    let DeviceKey::Unknown(text) = entry else { return Some(None) };
    Some(key32(text).filter(is_strong))
}

/// Whether an Ed25519 public key is a point that can carry a signature of its own (SPEC §5.2).
fn is_strong(key: &[u8; 32]) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

#[cfg(test)]
mod tests;
