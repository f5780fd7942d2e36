//! What a homeserver cannot make us believe about a device.
#![allow(clippy::unwrap_used)]

use dmls_matrix::facts::Endorsement;
use matrix_sdk_crypto::OlmMachine;
use ruma::api::client::keys::get_keys::v3::Response;
use ruma::serde::Raw;
use ruma::{TransactionId, UserId};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{credential_key_id, is_strong};
use crate::identity::{Identity, base64};

const BOB: &str = "@bob:hs2.test";

#[test]
fn weak_keys_are_no_credentials() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(!is_strong(&identity));
    assert!(!is_strong(&[0; 32]));
    assert!(is_strong(&strong_key()));
}

fn strong_key() -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes()
}

/// Device keys of Bob's, signed by his device.
async fn device_keys(device: &str) -> Value {
    let machine = OlmMachine::new(&UserId::parse(BOB).unwrap(), device.into()).await;
    let (_, upload) = machine.upload_device_keys().await.unwrap().unwrap();
    upload.device_keys.unwrap().deserialize_as_unchecked().unwrap()
}

async fn answer(identity: &Identity, devices: &[(&str, &Value)]) {
    let mut answer = Response::new();
    let devices = devices.iter().map(|(id, keys)| ((*id).into(), Raw::new(*keys).unwrap().cast_unchecked()));
    answer.device_keys.insert(UserId::parse(BOB).unwrap(), devices.collect());
    identity.receive_query(&TransactionId::new(), &answer).await.unwrap();
}

#[tokio::test]
async fn a_credential_counts_only_inside_the_device_s_signature() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(dir.path(), &Zeroizing::new([1; 32]), "@alice:hs1.test", "A").await.unwrap();
    assert_eq!(identity.facts(BOB).await.unwrap(), None);
    let honest = device_keys("HONEST").await;
    answer(&identity, &[("HONEST", &honest)]).await;

    let mut planted = honest.clone();
    planted["keys"][credential_key_id("HONEST")] = base64(&strong_key()).into();
    let mut fresh = device_keys("FRESH").await;
    fresh["keys"][credential_key_id("FRESH")] = base64(&strong_key()).into();
    let moved = device_keys("MOVED").await;
    answer(&identity, &[("HONEST", &planted), ("FRESH", &fresh), ("ELSE", &moved)]).await;

    let facts = identity.facts(BOB).await.unwrap().unwrap();
    assert_eq!(facts.devices.len(), 1);
    assert_eq!((facts.devices[0].device.device.as_str(), facts.devices[0].mls_key), ("HONEST", None));
    assert_eq!(facts.devices[0].endorsement, Endorsement::NoIdentity);

    // Another key for a device id that is known is another device, and does not take its place.
    answer(&identity, &[("HONEST", &device_keys("HONEST").await)]).await;
    let kept = identity.facts(BOB).await.unwrap().unwrap();
    assert_eq!(kept, facts);

    answer(&identity, &[]).await;
    assert_eq!(identity.facts(BOB).await.unwrap().unwrap().devices, []);
}
