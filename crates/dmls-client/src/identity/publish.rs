//! Publishing the device's keys, the DMLS credential among them (SPEC §5).

use matrix_sdk_crypto::types::requests::AnyOutgoingRequest;
use ruma::api::client::keys::{get_keys, upload_keys};
use ruma::serde::Raw;
use ruma::{CanonicalJsonValue, TransactionId, encryption};
use serde_json::{Value, json};

use super::facts::credential_key_id;
use super::{Identity, base64, olm_error, store_error};
use crate::error::{ApiError, IdentityError};
use crate::http::Api;

impl Identity {
    /// Publishes the device keys with `mls_key` as the DMLS credential, and the first Olm keys.
    ///
    /// May be repeated, also after a crash at any point. `mls_key` may change until the device is cross-signed, then
    /// never: Synapse neither drops nor replaces a cross-signature ([`IdentityError::CredentialFixed`]).
    pub async fn publish(&self, api: &Api, mls_key: &[u8; 32]) -> Result<(), IdentityError> {
        let upload = self.machine.upload_device_keys().await.map_err(store_error)?;
        if let Some((id, mut upload)) = upload {
            if let Some(device_keys) = upload.device_keys.take() {
                upload.device_keys = Some(self.with_credential(&device_keys, mls_key).await?);
            }
            self.upload(api, &id, upload).await?;
        }
        let answer = self.query_self(api).await?;
        if self.shows(&answer, mls_key) {
            return Ok(());
        }
        if self.is_signed_by_owner(&answer) {
            return Err(IdentityError::CredentialFixed);
        }
        self.republish(api, mls_key).await?;
        if self.shows(&self.query_self(api).await?, mls_key) { Ok(()) } else { Err(IdentityError::NotPublished) }
    }

    /// Sends the machine's own upload and gives it the answer.
    pub(super) async fn upload(
        &self,
        api: &Api,
        id: &TransactionId,
        upload: upload_keys::v3::Request,
    ) -> Result<(), IdentityError> {
        let answer = api.send_ruma(upload, true).await?;
        self.machine.mark_request_as_sent(id, &answer).await.map_err(olm_error)
    }

    /// Uploads the device keys once more. The machine does not hear of the answer: it did not ask.
    async fn republish(&self, api: &Api, mls_key: &[u8; 32]) -> Result<(), IdentityError> {
        let own = self.machine.get_device(&self.user, &self.device, None).await.map_err(store_error)?;
        let own = own.ok_or_else(|| IdentityError::UnknownDevice(self.device.to_string()))?;
        let mut upload = upload_keys::v3::Request::new();
        upload.device_keys = Some(self.with_credential(&own.as_device_keys().to_raw(), mls_key).await?);
        api.send_ruma(upload, true).await?;
        Ok(())
    }

    /// Puts the credential into device keys and signs them anew with the device's key alone.
    async fn with_credential(
        &self,
        device_keys: &Raw<encryption::DeviceKeys>,
        mls_key: &[u8; 32],
    ) -> Result<Raw<encryption::DeviceKeys>, IdentityError> {
        let mut keys: Value =
            device_keys.deserialize_as_unchecked().map_err(|_| ApiError::BadRequest("device keys"))?;
        let object = keys.as_object_mut().ok_or(ApiError::BadRequest("device keys"))?;
        object.remove("signatures");
        object.remove("unsigned");
        keys["keys"][credential_key_id(self.device())] = base64(mls_key).into();
        let canonical: CanonicalJsonValue = keys.clone().try_into().map_err(|_| ApiError::BadRequest("device keys"))?;
        let signature = self.sign(canonical.to_string().as_bytes()).await?;
        keys["signatures"] = json!({ self.user(): { format!("ed25519:{}", self.device): base64(&signature) } });
        Raw::new(&keys).map(Raw::cast_unchecked).map_err(|_| ApiError::BadRequest("device keys").into())
    }

    /// This device's keys as the homeserver shows them.
    fn shown(&self, answer: &get_keys::v3::Response) -> Option<Value> {
        answer.device_keys.get(&self.user)?.get(&self.device)?.deserialize_as_unchecked().ok()
    }

    /// Whether the homeserver shows a signature on this device's keys that is not the device's own, valid or stale.
    fn is_signed_by_owner(&self, answer: &get_keys::v3::Response) -> bool {
        let own = format!("ed25519:{}", self.device);
        let shown = self.shown(answer).unwrap_or_default();
        shown["signatures"][self.user()].as_object().is_some_and(|signed| signed.keys().any(|key| *key != own))
    }

    /// Whether the homeserver shows this device with its Ed25519 key and this credential.
    fn shows(&self, answer: &get_keys::v3::Response, mls_key: &[u8; 32]) -> bool {
        let Some(shown) = self.shown(answer) else { return false };
        shown["keys"][credential_key_id(self.device())] == base64(mls_key).as_str()
            && shown["keys"][format!("ed25519:{}", self.device)] == self.ed25519_fingerprint().as_str()
    }

    /// Whether the machine's request would publish device keys without the credential: only `publish` may.
    pub(super) fn is_first_upload(request: &AnyOutgoingRequest) -> bool {
        matches!(request, AnyOutgoingRequest::KeysUpload(upload) if upload.device_keys.is_some())
    }
}
