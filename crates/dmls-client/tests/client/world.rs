//! Servers, users and their devices.

use std::path::Path;
use std::time::{Duration, Instant};

use dmls::id::Device;
use dmls_client::http::{Api, Method};
use dmls_client::identity::{Identity, Received, SelfEndorsement, SyncKeys};
use dmls_matrix::facts::DeviceFacts;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use xtask::homeserver::{Homeservers, InstanceName, Options, ServerCount, ServerNumber};
use zeroize::Zeroizing;

pub const PASSWORD: &str = "correct horse";

pub struct World {
    pub servers: Homeservers,
    pub dir: TempDir,
}

impl World {
    pub fn up() -> Self {
        let name = InstanceName::unique("client").unwrap();
        let servers = Homeservers::up(name, ServerCount::THREE, Options::default()).unwrap();
        Self { servers, dir: tempfile::tempdir().unwrap() }
    }

    pub fn api(&self, server: ServerNumber) -> Api {
        Api::new(self.servers.url(server).unwrap()).unwrap()
    }

    /// A new user, without any device.
    pub fn user(&self, server: ServerNumber, name: &str) -> String {
        self.servers.user(server, name, PASSWORD).unwrap().as_str().to_owned()
    }

    /// A new session of a user without any keys.
    pub async fn login(&self, server: ServerNumber, user: &str, device: &str) -> Api {
        let api = self.api(server);
        let session = api.login(user, PASSWORD, Some(device), Some("test")).await.unwrap();
        assert_eq!((session.user.as_str(), session.device.as_str()), (user, device));
        api.with_token(session.token)
    }

    /// A new device that has published its keys and a credential made of `seed`.
    pub async fn device(&self, server: ServerNumber, user: &str, device: &str, seed: u8) -> Client {
        let api = self.login(server, user, device).await;
        let client = Client::open(self.dir.path(), api, user, device).await;
        client.identity.publish(&client.api, &mls_key(seed)).await.unwrap();
        client
    }

    /// A new user with one endorsed device.
    pub async fn endorsed(&self, server: ServerNumber, name: &str, seed: u8) -> Client {
        let user = self.user(server, name);
        let client = self.device(server, &user, "FIRST", seed).await;
        let endorsed = client.identity.endorse_self(&client.api, None).await.unwrap();
        assert_eq!(endorsed, SelfEndorsement::Endorsed);
        client
    }
}

pub struct Client {
    pub api: Api,
    pub identity: Identity,
    since: Mutex<Option<String>>,
}

impl Client {
    pub async fn open(dir: &Path, api: Api, user: &str, device: &str) -> Self {
        let dir = dir.join(format!("{user}-{device}"));
        let identity = Identity::open(&dir, &subkey(), user, device).await.unwrap();
        Self { api, identity, since: Mutex::new(None) }
    }

    pub fn id(&self) -> Device {
        Device::new(self.identity.user(), self.identity.device())
    }

    /// Facts of a device after a fresh query.
    pub async fn sees(&self, device: &Device) -> Option<DeviceFacts> {
        self.identity.query(&self.api, &[&device.user]).await.unwrap();
        let facts = self.identity.facts(&device.user).await.unwrap().unwrap();
        facts.devices.into_iter().find(|facts| facts.device == *device)
    }

    pub async fn sync(&self) -> Vec<Received> {
        let mut since = self.since.lock().await;
        let mut query = vec![("timeout", "2000")];
        query.extend(since.as_deref().map(|since| ("since", since)));
        let mut answer = self.api.call(Method::GET, &["_matrix", "client", "v3", "sync"], &query, None).await.unwrap();
        let received = self.identity.receive_sync(SyncKeys::take_from(&mut answer)).await.unwrap();
        *since = answer["next_batch"].as_str().map(str::to_owned);
        received
    }

    /// Syncs until there are to-device messages.
    pub async fn receive(&self) -> Vec<Received> {
        let begun = Instant::now();
        loop {
            let received = self.sync().await;
            if !received.is_empty() {
                return received;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no to-device message came");
        }
    }

    pub async fn send(&self, to: &Device, kind: &str, content: Value) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let body = serde_json::json!({ "messages": { &to.user: { &to.device: content } } });
        let path = ["_matrix", "client", "v3", "sendToDevice", kind, &id];
        self.api.call(Method::PUT, &path, &[], Some(&body)).await.unwrap();
    }
}

pub fn subkey() -> Zeroizing<[u8; 32]> {
    Zeroizing::new([9; 32])
}

/// A public MLS signature key.
pub fn mls_key(seed: u8) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()
}
