//! The device's Matrix identity: device keys, cross-signing, Olm messages, and the verified facts about devices.
//!
//! Everything of matrix-sdk-crypto's `OlmMachine` stays in here.

mod endorse;
mod facts;
mod packages;
mod publish;
mod pump;
mod query;
mod to_device;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use matrix_sdk_crypto::store::CryptoStore as _;
use matrix_sdk_crypto::{CryptoStoreError, OlmMachine, vodozemac};
use matrix_sdk_sqlite::SqliteCryptoStore;
use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

use crate::error::{Beneath, IdentityError};

pub use endorse::SelfEndorsement;
pub use facts::Session;
pub use packages::{Claimed, ClaimedPackage, Claims, ServerClaim, key_package_algorithm};
pub use query::Queried;
pub use to_device::{Received, SyncKeys, Wrapping};

/// This device's Matrix identity, kept in its own database.
pub struct Identity {
    machine: OlmMachine,
    store: SqliteCryptoStore,
    user: OwnedUserId,
    device: OwnedDeviceId,
    /// Users whose homeserver has answered a key query since the identity was opened.
    answered: Mutex<BTreeSet<OwnedUserId>>,
    /// Queries take turns, so that an older answer never comes after a newer one.
    queries: Mutex<()>,
    /// Olm channels advance one message at a time.
    channels: Mutex<()>,
}

impl Identity {
    /// Opens the identity of `device` of `user` in the directory `dir`, sealed with `subkey`; makes it if there is none.
    ///
    /// The caller holds the profile's lock: the database has one owner at a time.
    pub async fn open(
        dir: &Path,
        subkey: &Zeroizing<[u8; 32]>,
        user: &str,
        device: &str,
    ) -> Result<Self, IdentityError> {
        let user = user_id(user)?;
        let device = OwnedDeviceId::from(device);
        let store = SqliteCryptoStore::open_with_key(dir, Some(subkey)).await;
        let store = store.map_err(|error| IdentityError::Open(Beneath::new(error)))?;
        let machine =
            OlmMachine::with_store(&user, &device, store.clone(), None).await.map_err(|error| match error {
                CryptoStoreError::MismatchedAccount { .. } => IdentityError::OtherDevice,
                error => IdentityError::Open(Beneath::new(error)),
            })?;
        machine.update_tracked_users([&*user]).await.map_err(store_error)?;
        let answered = Mutex::default();
        Ok(Self { machine, store, user, device, answered, queries: Mutex::default(), channels: Mutex::default() })
    }

    /// Full user id.
    pub fn user(&self) -> &str {
        self.user.as_str()
    }

    /// Device id.
    pub fn device(&self) -> &str {
        self.device.as_str()
    }

    /// The device's Ed25519 key: 32 bytes.
    pub fn ed25519(&self) -> [u8; 32] {
        *self.machine.identity_keys().ed25519.as_bytes()
    }

    /// The device's Ed25519 key as people compare it: unpadded base64.
    pub fn ed25519_fingerprint(&self) -> String {
        self.machine.identity_keys().ed25519.to_base64()
    }

    /// Signs bytes with the device's Ed25519 key, as they are.
    ///
    /// The caller's label keeps the signature apart from those of Matrix, which are over JSON objects.
    pub async fn sign(&self, message: &[u8]) -> Result<[u8; 64], IdentityError> {
        // The machine signs text only; a short-lived copy of its account signs bytes and is erased when dropped.
        let account = self.store.load_account().await.map_err(|error| IdentityError::Store(Beneath::new(error)))?;
        let account = account.ok_or(IdentityError::OtherDevice)?;
        let account = vodozemac::olm::Account::from_pickle(account.pickle().pickle);
        Ok(account.sign(message).to_bytes())
    }

    /// Whether this device can cross-sign the account's other devices.
    pub async fn has_private_cross_signing(&self) -> bool {
        self.machine.cross_signing_status().await.has_self_signing
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}/{})", self.user, self.device)
    }
}

/// Requests to the own homeserver at the same time, where each waits for another homeserver.
const LANES: usize = 32;

fn lanes() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LANES))
}

fn user_id(user: &str) -> Result<OwnedUserId, IdentityError> {
    UserId::parse(user).map_err(|_| IdentityError::BadId(user.to_owned()))
}

fn store_error(error: CryptoStoreError) -> IdentityError {
    IdentityError::Store(Beneath::new(error))
}

fn olm_error(error: matrix_sdk_crypto::OlmError) -> IdentityError {
    match error {
        matrix_sdk_crypto::OlmError::Store(error) => store_error(error),
        error => IdentityError::Crypto(Beneath::new(error)),
    }
}

fn base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

fn key32(text: &str) -> Option<[u8; 32]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}
