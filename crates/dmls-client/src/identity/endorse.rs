//! Cross-signing: the account's identity, this device's own signature, approval of other devices.

use matrix_sdk_crypto::UserIdentity;
use matrix_sdk_crypto::types::requests::{AnyIncomingResponse, UploadSigningKeysRequest};
use reqwest::Method;
use ruma::TransactionId;
use ruma::api::client::keys::{upload_signatures, upload_signing_keys};
use serde_json::{Value, json};

use dmls::id::Device;

use super::{Identity, olm_error, store_error, user_id};
use crate::error::{ApiError, Beneath, IdentityError};
use crate::http::Api;

/// Whether this device is vouched for by its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfEndorsement {
    /// Cross-signed.
    Endorsed,
    /// The account's identity is elsewhere: a device that holds it must approve this one.
    AwaitsApproval,
}

impl Identity {
    /// Sees to this device's cross-signature: the account's first device makes the account's identity.
    ///
    /// An identity that exists is never replaced. `password` is for homeservers that ask for it
    /// ([`ApiError::NeedsAuth`] without). Comes after [`Identity::publish`]; may be repeated.
    pub async fn endorse_self(&self, api: &Api, password: Option<&str>) -> Result<SelfEndorsement, IdentityError> {
        if !self.account_has_identity(api).await? {
            self.create_account_identity(api, password).await?;
        }
        let own = self.known_device(&Device::new(self.user(), self.device())).await?;
        if own.is_cross_signed_by_owner() {
            return Ok(SelfEndorsement::Endorsed);
        }
        if !self.has_private_cross_signing().await {
            return Ok(SelfEndorsement::AwaitsApproval);
        }
        self.cross_sign(api, &own).await.map(|()| SelfEndorsement::Endorsed)
    }

    /// Cross-signs another device of this account, after checking that `fingerprint` is its Ed25519 key.
    ///
    /// Spaces in the fingerprint do not count.
    pub async fn approve(&self, api: &Api, device: &str, fingerprint: &str) -> Result<(), IdentityError> {
        self.query_self(api).await?;
        if !self.has_private_cross_signing().await {
            return Err(IdentityError::NotEndorsed);
        }
        let found = self.known_device(&Device::new(self.user(), device)).await?;
        let given: String = fingerprint.chars().filter(|letter| !letter.is_whitespace()).collect();
        let is_right = found.ed25519_key().is_some_and(|key| key.to_base64() == given.trim_end_matches('='));
        if !is_right {
            return Err(IdentityError::TrustRefused { device: device.to_owned() });
        }
        self.cross_sign(api, &found).await
    }

    /// Whether a user's cross-signing identity is no longer the one that was seen first, or that was accepted since.
    ///
    /// For the own account: whether somebody has replaced the identity that this device once held.
    pub async fn identity_changed(&self, user: &str) -> Result<bool, IdentityError> {
        Ok(match self.machine.get_identity(&user_id(user)?, None).await.map_err(store_error)? {
            Some(UserIdentity::Other(other)) => other.identity_needs_user_approval(),
            Some(UserIdentity::Own(own)) => own.has_verification_violation(),
            None => false,
        })
    }

    /// Accepts a user's present cross-signing identity as theirs.
    pub async fn accept_identity(&self, user: &str) -> Result<(), IdentityError> {
        match self.machine.get_identity(&user_id(user)?, None).await.map_err(store_error)? {
            Some(UserIdentity::Other(other)) => other.pin_current_master_key().await.map_err(store_error),
            Some(UserIdentity::Own(own)) => own.withdraw_verification().await.map_err(store_error),
            None => Ok(()),
        }
    }

    async fn account_has_identity(&self, api: &Api) -> Result<bool, IdentityError> {
        Ok(self.query_self(api).await?.master_keys.contains_key(&self.user))
    }

    async fn create_account_identity(&self, api: &Api, password: Option<&str>) -> Result<(), IdentityError> {
        // Its signature request is for device keys without the credential: the query and `cross_sign` replace it.
        let made = self.machine.bootstrap_cross_signing(false).await.map_err(store_error)?;
        match (self.upload_identity(api, &made.upload_signing_keys_req, None).await, password) {
            (Err(IdentityError::Api(ApiError::NeedsAuth(uia))), password) => {
                // Another device may have been quicker; then its identity stands, and the query drops ours.
                if self.account_has_identity(api).await? {
                    return Ok(());
                }
                let Some(password) = password.filter(|_| uia.password_suffices) else {
                    return Err(ApiError::NeedsAuth(uia).into());
                };
                let auth = json!({
                    "type": "m.login.password",
                    "identifier": { "type": "m.id.user", "user": self.user() },
                    "password": password,
                    "session": uia.session,
                });
                self.upload_identity(api, &made.upload_signing_keys_req, Some(auth)).await?;
            }
            (uploaded, _) => uploaded?,
        }
        let answer = upload_signing_keys::v3::Response::new();
        let answer = AnyIncomingResponse::SigningKeysUpload(&answer);
        self.machine.mark_request_as_sent(&TransactionId::new(), answer).await.map_err(olm_error)?;
        self.query_self(api).await.map(drop)
    }

    async fn upload_identity(
        &self,
        api: &Api,
        request: &UploadSigningKeysRequest,
        auth: Option<Value>,
    ) -> Result<(), IdentityError> {
        let mut body = json!({
            "master_key": request.master_key,
            "self_signing_key": request.self_signing_key,
            "user_signing_key": request.user_signing_key,
        });
        if let Some(auth) = auth {
            body["auth"] = auth;
        }
        let path = ["_matrix", "client", "v3", "keys", "device_signing", "upload"];
        api.call_repeatable(Method::POST, &path, &[], Some(&body)).await?;
        Ok(())
    }

    /// Signs a device with the account's self-signing key and sees that the homeserver shows the signature.
    async fn cross_sign(&self, api: &Api, device: &matrix_sdk_crypto::Device) -> Result<(), IdentityError> {
        let request = device.verify().await.map_err(|error| IdentityError::Crypto(Beneath::new(error)))?;
        self.upload_signatures(api, request).await?;
        self.query_self(api).await?;
        let id = Device::new(device.user_id().as_str(), device.device_id().as_str());
        let signed = self.known_device(&id).await?.is_cross_signed_by_owner();
        if signed { Ok(()) } else { Err(IdentityError::NotPublished) }
    }

    /// The homeserver answers 200 also when it refuses a signature.
    pub(super) async fn upload_signatures(
        &self,
        api: &Api,
        request: upload_signatures::v3::Request,
    ) -> Result<(), IdentityError> {
        let body = json!(request.signed_keys);
        let path = ["_matrix", "client", "v3", "keys", "signatures", "upload"];
        let answer = api.call_repeatable(Method::POST, &path, &[], Some(&body)).await?;
        let failures = answer["failures"].as_object().into_iter().flatten();
        let first = failures.filter_map(|(_, devices)| devices.as_object()?.iter().next()).next();
        let Some((device, failure)) = first else { return Ok(()) };
        let reason = failure["message"].as_str().or(failure["error"].as_str()).unwrap_or_default();
        Err(IdentityError::SignatureRejected { device: device.clone(), reason: reason.to_owned() })
    }
}
