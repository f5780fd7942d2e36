//! Facts and key packages over federation, with a server cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use dmls_client::identity::key_package_algorithm;
use dmls_matrix::facts::Endorsement;
use serde_json::{Value, json};
use xtask::homeserver::ServerNumber;

use crate::world::{Client, World, mls_key};

const TIMEOUT: Duration = Duration::from_secs(6);

pub async fn scenario(world: &World) {
    let anna = world.endorsed(ServerNumber::HS1, "anna", 21).await;
    let bob = world.endorsed(ServerNumber::HS2, "bob", 22).await;
    let carl = world.endorsed(ServerNumber::HS3, "carl", 23).await;
    facts(&anna, &bob, &carl).await;
    packages(&anna, &bob, &carl).await;
    cut_off(world, &anna, &bob, &carl).await;
}

async fn facts(anna: &Client, bob: &Client, carl: &Client) {
    assert_eq!(anna.identity.facts(&bob.id().user).await.unwrap(), None);
    let users = [bob.id().user, carl.id().user];
    let queried = anna.identity.query(&anna.api, &[&users[0], &users[1]]).await.unwrap();
    assert!(queried.failed_servers.is_empty());
    let facts = anna.identity.facts(&users[0]).await.unwrap().unwrap();
    assert_eq!(facts.devices.len(), 1);
    assert_eq!(facts.devices[0].device, bob.id());
    assert_eq!(facts.devices[0].ed25519, bob.identity.ed25519());
    assert_eq!(facts.devices[0].mls_key, Some(mls_key(22)));
    assert_eq!(facts.devices[0].endorsement, Endorsement::Endorsed);
    assert!(!anna.identity.identity_changed(&users[0]).await.unwrap());
}

fn package(reference: &str) -> (String, Value) {
    (reference.to_owned(), json!({ "key": format!("package {reference}"), "signatures": {} }))
}

async fn packages(anna: &Client, bob: &Client, carl: &Client) {
    let one_time = [package("one"), package("two")];
    for _ in 0..2 {
        let counts = bob.identity.upload_key_packages(&bob.api, &one_time, Some(&package("last"))).await.unwrap();
        assert_eq!(counts[&key_package_algorithm()], 2);
    }
    let counts = carl.identity.upload_key_packages(&carl.api, &[package("three")], None).await.unwrap();
    assert!(counts["signed_curve25519"] > 0);
    let claimed = anna.identity.claim_key_packages(&anna.api, &[bob.id(), carl.id()], TIMEOUT).await.unwrap();
    assert!(claimed.failed_servers.is_empty());
    let of = |client: &Client| claimed.packages.iter().find(|package| package.device == client.id()).unwrap().clone();
    assert!(one_time.contains(&(of(bob).reference, of(bob).value)));
    assert_eq!((of(carl).reference, of(carl).value), package("three"));
}

async fn cut_off(world: &World, anna: &Client, bob: &Client, carl: &Client) {
    let (hs1, hs3) = (ServerNumber::HS1, ServerNumber::HS3);
    world.servers.drop_link(hs1, hs3).unwrap();
    let hs3_only = BTreeSet::from(["hs3.test".to_owned()]);

    // Bob's package is there before Carl's server is given up.
    let mut claims = anna.identity.start_claim(&anna.api, &[carl.id(), bob.id()], TIMEOUT).unwrap();
    let first = claims.next().await.unwrap();
    assert_eq!((first.server.as_str(), first.packages.unwrap()[0].device.clone()), ("hs2.test", bob.id()));
    let second = claims.next().await.unwrap();
    assert_eq!(second.server, "hs3.test");
    assert!(second.packages.unwrap_err().is_temporary());
    assert!(claims.next().await.is_none());

    // No one-time package is left: the fallback, as often as it is asked for.
    for _ in 0..2 {
        let claimed = anna.identity.claim_key_packages(&anna.api, &[bob.id(), carl.id()], TIMEOUT).await.unwrap();
        assert_eq!(claimed.failed_servers, hs3_only);
        assert_eq!((claimed.packages[0].reference.clone(), claimed.packages.len()), ("last".to_owned(), 1));
    }

    let users = [bob.id().user, carl.id().user];
    let queried = anna.identity.query(&anna.api, &[&users[0], &users[1]]).await.unwrap();
    assert_eq!(queried.failed_servers, hs3_only);
    assert_eq!(anna.identity.facts(&users[1]).await.unwrap().unwrap().devices.len(), 1);
    anna.identity.track(&[&users[0], &users[1]]).await.unwrap();
    anna.identity.pump(&anna.api).await.unwrap();

    world.servers.heal(hs1, hs3).unwrap();
    let queried = anna.identity.query(&anna.api, &[&users[1]]).await.unwrap();
    assert!(queried.failed_servers.is_empty());
    let claimed = anna.identity.claim_key_packages(&anna.api, &[carl.id()], TIMEOUT).await.unwrap();
    assert!(claimed.failed_servers.is_empty() && claimed.packages.is_empty());
}
