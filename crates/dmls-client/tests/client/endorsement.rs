//! Device keys with a credential, cross-signing, approval.

use dmls::id::Device;
use dmls_client::error::{ApiError, IdentityError};
use dmls_client::http::Method;
use dmls_client::identity::{Identity, SelfEndorsement};
use dmls_matrix::facts::Endorsement;
use ed25519_dalek::{Signature, VerifyingKey};
use matrix_sdk_crypto::OlmMachine;
use matrix_sdk_crypto::types::requests::UploadSigningKeysRequest;
use matrix_sdk_sqlite::SqliteCryptoStore;
use ruma::UserId;
use serde_json::json;
use xtask::homeserver::ServerNumber;

use crate::world::{Client, PASSWORD, World, mls_key, subkey};

const HS: ServerNumber = ServerNumber::HS1;

pub async fn scenario(world: &World) {
    let user = world.user(HS, "alice");
    let laptop = first_device(world, &user).await;
    reopened(world, &laptop).await;
    let phone = second_device(world, &laptop, &user).await;
    new_credential(&laptop, &phone).await;
    reasons(world, &laptop, &user).await;
    interrupted(world, &laptop).await;
}

/// The process ended between making an identity and telling the homeserver; meanwhile another device may have come.
async fn interrupted(world: &World, alice: &Client) {
    let user = world.user(HS, "ines");
    let mut one = None;
    for (device, expected) in [("ONE", SelfEndorsement::Endorsed), ("TWO", SelfEndorsement::AwaitsApproval)] {
        let api = world.login(HS, &user, device).await;
        let dir = world.dir.path().join(format!("{user}-{device}"));
        let store = SqliteCryptoStore::open_with_key(&dir, Some(&subkey())).await.unwrap();
        let machine = OlmMachine::with_store(&UserId::parse(&user).unwrap(), device.into(), store, None).await.unwrap();
        let (id, upload) = machine.upload_device_keys().await.unwrap().unwrap();
        let answer = api.send_ruma(upload, true).await.unwrap();
        machine.mark_request_as_sent(&id, &answer).await.unwrap();
        let made = machine.bootstrap_cross_signing(false).await.unwrap().upload_signing_keys_req;
        drop(machine);

        // The homeserver has device keys without the credential, and no or another identity.
        let client = Client::open(world.dir.path(), api, &user, device).await;
        client.identity.publish(&client.api, &mls_key(5)).await.unwrap();
        assert_eq!(client.identity.endorse_self(&client.api, None).await.unwrap(), expected);
        let endorsement = client.sees(&client.id()).await.unwrap().endorsement;
        assert_eq!(endorsement == Endorsement::Endorsed, expected == SelfEndorsement::Endorsed);
        match expected {
            SelfEndorsement::Endorsed => one = Some(client),
            SelfEndorsement::AwaitsApproval => replaced(alice, &one.take().unwrap(), &client, &made).await,
        }
    }
}

/// Somebody with the password replaces the account's identity by one of their own: everybody notices.
async fn replaced(alice: &Client, one: &Client, two: &Client, made: &UploadSigningKeysRequest) {
    assert_eq!(alice.sees(&one.id()).await.unwrap().endorsement, Endorsement::Endorsed);
    let mut body = json!({ "master_key": made.master_key, "self_signing_key": made.self_signing_key,
        "user_signing_key": made.user_signing_key });
    let path = ["_matrix", "client", "v3", "keys", "device_signing", "upload"];
    let refused = two.api.call(Method::POST, &path, &[], Some(&body)).await;
    let Err(ApiError::NeedsAuth(uia)) = refused else { panic!("{refused:?}") };
    assert!(uia.password_suffices);
    let user = one.id().user;
    body["auth"] = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user },
        "password": PASSWORD, "session": uia.session });
    two.api.call(Method::POST, &path, &[], Some(&body)).await.unwrap();

    for observer in [alice, one] {
        assert!(!observer.identity.identity_changed(&user).await.unwrap());
        assert_eq!(observer.sees(&one.id()).await.unwrap().endorsement, Endorsement::NotCrossSigned);
        assert!(observer.identity.identity_changed(&user).await.unwrap());
        observer.identity.accept_identity(&user).await.unwrap();
        assert!(!observer.identity.identity_changed(&user).await.unwrap());
    }
    assert!(!one.identity.has_private_cross_signing().await);
    assert_eq!(one.identity.endorse_self(&one.api, None).await.unwrap(), SelfEndorsement::AwaitsApproval);
}

async fn first_device(world: &World, user: &str) -> Client {
    let laptop = world.device(HS, user, "LAPTOP", 1).await;
    laptop.identity.publish(&laptop.api, &mls_key(1)).await.unwrap();
    let facts = laptop.sees(&laptop.id()).await.unwrap();
    assert_eq!((facts.endorsement, facts.mls_key), (Endorsement::NoIdentity, Some(mls_key(1))));
    assert_eq!(facts.ed25519, laptop.identity.ed25519());

    assert!(!laptop.identity.has_private_cross_signing().await);
    for _ in 0..2 {
        let endorsed = laptop.identity.endorse_self(&laptop.api, None).await.unwrap();
        assert_eq!(endorsed, SelfEndorsement::Endorsed);
    }
    assert!(laptop.identity.has_private_cross_signing().await);
    assert_eq!(laptop.sees(&laptop.id()).await.unwrap().endorsement, Endorsement::Endorsed);

    let payload = [0xff, 0x00, 0xfe];
    let signature = Signature::from_bytes(&laptop.identity.sign(&payload).await.unwrap());
    let key = VerifyingKey::from_bytes(&laptop.identity.ed25519()).unwrap();
    key.verify_strict(&payload, &signature).unwrap();
    laptop
}

/// Everything survives a restart, and only with the right key.
async fn reopened(world: &World, laptop: &Client) {
    let (user, dir) = (laptop.identity.user(), world.dir.path().join(format!("{}-LAPTOP", laptop.identity.user())));
    let again = Identity::open(&dir, &subkey(), user, "LAPTOP").await.unwrap();
    assert_eq!(again.ed25519_fingerprint(), laptop.identity.ed25519_fingerprint());
    assert!(again.has_private_cross_signing().await);
    again.publish(&laptop.api, &mls_key(1)).await.unwrap();
    assert_eq!(again.endorse_self(&laptop.api, None).await.unwrap(), SelfEndorsement::Endorsed);
    let wrong_key = Identity::open(&dir, &zeroize::Zeroizing::new([8; 32]), user, "LAPTOP").await;
    assert!(matches!(wrong_key, Err(IdentityError::Open(_))));
    let other = Identity::open(&dir, &subkey(), user, "OTHER").await;
    assert!(matches!(other, Err(IdentityError::OtherDevice)));
}

async fn second_device(world: &World, laptop: &Client, user: &str) -> Client {
    let phone = world.device(HS, user, "PHONE", 2).await;
    let endorsed = phone.identity.endorse_self(&phone.api, None).await.unwrap();
    assert_eq!(endorsed, SelfEndorsement::AwaitsApproval);
    assert_eq!(laptop.sees(&phone.id()).await.unwrap().endorsement, Endorsement::NotCrossSigned);

    let fingerprint = phone.identity.ed25519_fingerprint();
    let approved = phone.identity.approve(&phone.api, "PHONE", &fingerprint).await;
    assert!(matches!(approved, Err(IdentityError::NotEndorsed)));
    let wrong = laptop.identity.approve(&laptop.api, "PHONE", &laptop.identity.ed25519_fingerprint()).await;
    assert_eq!(wrong.unwrap_err().code(), "trust_refused");
    let none = laptop.identity.approve(&laptop.api, "TABLET", &fingerprint).await;
    assert!(matches!(none, Err(IdentityError::UnknownDevice(_))));
    assert_eq!(phone.sees(&phone.id()).await.unwrap().endorsement, Endorsement::NotCrossSigned);

    let (head, tail) = fingerprint.split_at(10);
    laptop.identity.approve(&laptop.api, "PHONE", &format!(" {head} {tail}")).await.unwrap();
    assert_eq!(phone.sees(&phone.id()).await.unwrap().endorsement, Endorsement::Endorsed);
    assert_eq!(phone.identity.endorse_self(&phone.api, None).await.unwrap(), SelfEndorsement::Endorsed);
    assert!(!phone.identity.has_private_cross_signing().await);
    phone
}

/// An endorsed device keeps its credential: homeservers would keep the signature of the old one.
async fn new_credential(laptop: &Client, phone: &Client) {
    for client in [laptop, phone] {
        let refused = client.identity.publish(&client.api, &mls_key(3)).await;
        assert!(matches!(refused, Err(IdentityError::CredentialFixed)));
        assert_eq!(laptop.sees(&client.id()).await.unwrap().endorsement, Endorsement::Endorsed);
    }
}

/// Devices that may not be added are there, with the reason.
async fn reasons(world: &World, laptop: &Client, user: &str) {
    let weak = world.device(HS, user, "WEAK", 4).await;
    assert_eq!(laptop.sees(&weak.id()).await.unwrap().mls_key, Some(mls_key(4)));
    weak.identity.publish(&weak.api, &[0; 32]).await.unwrap();
    laptop.identity.approve(&laptop.api, "WEAK", &weak.identity.ed25519_fingerprint()).await.unwrap();
    assert_eq!(laptop.sees(&weak.id()).await.unwrap().endorsement, Endorsement::BadCredential);

    let fingerprint = other_software(world, user).await;
    laptop.identity.approve(&laptop.api, "ELEMENT", &fingerprint).await.unwrap();
    let element = Device::new(user, "ELEMENT");
    let facts = laptop.sees(&element).await.unwrap();
    assert_eq!((facts.endorsement, facts.mls_key), (Endorsement::NoCredential, None));
    laptop.identity.set_blocked(&element, true).await.unwrap();
    assert_eq!(laptop.sees(&element).await.unwrap().endorsement, Endorsement::Blocked);
    laptop.identity.set_blocked(&element, false).await.unwrap();

    world.login(HS, user, "BARE").await;
    let sessions = laptop.identity.sessions(&laptop.api).await.unwrap();
    let of = |id: &str| sessions.iter().find(|session| session.device == id).unwrap();
    assert_eq!(sessions.len(), 5);
    assert_eq!(of("BARE").facts, None);
    assert_eq!(of("ELEMENT").facts.as_ref().unwrap().endorsement.reason(), "no_credential");
    assert!(laptop.sees(&Device::new(user, "BARE")).await.is_none());

    weak.api.logout().await.unwrap();
    assert!(laptop.sees(&weak.id()).await.is_none());
}

/// A device that knows Matrix's own encryption only; returns its fingerprint.
async fn other_software(world: &World, user: &str) -> String {
    let api = world.login(HS, user, "ELEMENT").await;
    let machine = OlmMachine::new(&UserId::parse(user).unwrap(), "ELEMENT".into()).await;
    let (_, upload) = machine.upload_device_keys().await.unwrap().unwrap();
    api.send_ruma(upload, true).await.unwrap();
    machine.identity_keys().ed25519.to_base64()
}
