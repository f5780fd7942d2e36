//! The account: its devices, approval, log-out, check-up.

use std::collections::BTreeMap;

use dmls_matrix::facts::Endorsement;

use super::setup::wants_password;
use super::{Client, ClientError, Local, PATIENCE};
use crate::error::ApiError;
use crate::http::Api;
use crate::identity::{Session as AccountDevice, key_package_algorithm};

/// What a look at homeserver and account showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkup {
    /// Whether the homeserver answers.
    pub reachable: bool,
    /// The newest version of the Client-Server API that it speaks.
    pub newest_version: Option<String>,
    /// Whether it accepts this device's token; `None` if it could not be asked.
    pub token_valid: Option<bool>,
    /// Unclaimed key packages of this device there.
    pub key_packages: Option<u64>,
    /// Whether this device holds the keys to approve others.
    pub can_approve: Option<bool>,
    /// Why this device is not endorsed; empty when it is.
    pub endorsement: Option<&'static str>,
    /// Code of what went wrong on the way, if anything.
    pub trouble: Option<&'static str>,
}

impl Client {
    /// All devices of the account, those without keys too.
    pub async fn devices(&self) -> Result<Vec<AccountDevice>, ClientError> {
        Ok(self.identity.sessions(&self.api).await?)
    }

    /// Vouches for another device of the account, after checking its fingerprint.
    pub async fn approve(&mut self, device: &str, fingerprint: &str) -> Result<(), ClientError> {
        self.identity.approve(&self.api, device, fingerprint).await?;
        let own = self.identity.user().to_owned();
        Ok(self.local.machine.mark_devices_changed(&[own])?)
    }

    /// Looks whether homeserver and account are as they should be; finds fault instead of failing.
    pub async fn checkup(&self) -> Checkup {
        let mut checkup = check_server(&self.api).await;
        if checkup.token_valid == Some(true) {
            let counts = self.identity.upload_key_packages(&self.api, &[], None).await;
            let packages = |counts: BTreeMap<String, u64>| counts.get(&key_package_algorithm()).copied().unwrap_or(0);
            checkup.key_packages = counts.ok().map(packages);
            checkup.can_approve = Some(self.identity.has_private_cross_signing().await);
            let devices = self.identity.sessions(&self.api).await.unwrap_or_default();
            let own = devices.into_iter().find(|device| device.device == self.identity.device());
            let endorsement =
                |own: AccountDevice| own.facts.map_or(Endorsement::NoCredential, |facts| facts.endorsement);
            checkup.endorsement = own.map(|own| endorsement(own).reason());
        }
        checkup
    }

    /// Ends the session on the homeserver, which removes the device everywhere, and erases the profile.
    pub async fn logout(self) -> Result<(), ClientError> {
        self.local.logout().await
    }
}

impl Local {
    /// As [`Client::logout`]; needs no identity.
    pub async fn logout(self) -> Result<(), ClientError> {
        let api = Api::new(&self.session.homeserver).map_err(ClientError::Api)?.with_patience(PATIENCE);
        match api.with_token(self.session.token()?).logout().await {
            // Already ended: what is left is here.
            Ok(()) | Err(ApiError::TokenExpired { .. }) => self.erase(),
            Err(error) => Err(error.into()),
        }
    }

    /// Erases the profile without telling the homeserver.
    pub fn erase(self) -> Result<(), ClientError> {
        let profile = self.profile.clone();
        // Its lock goes with it; wiping takes the lock anew.
        drop(self);
        profile.wipe()
    }

    /// A check-up that needs no identity.
    pub async fn check_server(&self) -> Checkup {
        let api = Api::new(&self.session.homeserver).map_err(ClientError::Api);
        match (api, self.session.token()) {
            (Ok(api), Ok(token)) => check_server(&api.with_token(token).with_patience(PATIENCE)).await,
            _ => Checkup::default(),
        }
    }
}

async fn check_server(api: &Api) -> Checkup {
    let mut checkup = Checkup::default();
    match api.versions().await {
        Ok(versions) => {
            checkup.reachable = true;
            checkup.newest_version = versions.into_iter().next_back();
        }
        Err(error) => {
            checkup.trouble = Some(error.code());
            return checkup;
        }
    }
    match api.whoami().await {
        Ok(_) => checkup.token_valid = Some(true),
        Err(ApiError::TokenExpired { .. }) => checkup.token_valid = Some(false),
        Err(error) => checkup.trouble = Some(error.code()),
    }
    checkup
}

impl ClientError {
    /// Whether logging in once more with the password lets the interrupted set-up go on.
    pub fn wants_password(&self) -> bool {
        wants_password(self)
    }
}
