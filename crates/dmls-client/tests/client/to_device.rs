//! To-device messages between servers.

use dmls_client::error::IdentityError;
use dmls_client::identity::Wrapping;
use dmls_matrix::facts::Endorsement;
use serde_json::json;
use xtask::homeserver::ServerNumber;

use crate::world::World;

const KIND: &str = "org.dmls.v1.merge_request";

pub async fn scenario(world: &World) {
    let dora = world.endorsed(ServerNumber::HS1, "dora", 11).await;
    let emil = world.endorsed(ServerNumber::HS2, "emil", 12).await;

    let unknown = dora.identity.encrypt_to_device(&dora.api, &emil.id(), KIND, &json!({})).await;
    assert!(matches!(unknown, Err(IdentityError::UnknownDevice(_))));
    assert!(dora.sees(&emil.id()).await.is_some());
    let (kind, content) =
        dora.identity.encrypt_to_device(&dora.api, &emil.id(), KIND, &json!({ "a": 1 })).await.unwrap();
    assert_eq!(kind, "m.room.encrypted");
    assert!(!content.to_string().contains("merge"));
    dora.send(&emil.id(), &kind, content.clone()).await;

    // Emil has not asked for Dora's keys: he can read the message, and does not know whose it is.
    let mut received = emil.receive().await.remove(0);
    assert_eq!((received.wrapping, received.kind.as_str()), (Wrapping::Olm, KIND));
    assert_eq!((&received.sender, &received.content), (&dora.id().user, &json!({ "a": 1 })));
    assert_eq!(received.sender_device, None);
    let seen = emil.sees(&dora.id()).await;
    emil.identity.resolve_sender(&mut received).await.unwrap();
    assert!(seen.is_some() && received.sender_device == seen);
    let (kind, reply) = emil.identity.encrypt_to_device(&emil.api, &dora.id(), KIND, &json!({ "b": 2 })).await.unwrap();
    emil.send(&dora.id(), &kind, reply).await;
    let received = dora.receive().await.remove(0);
    assert_eq!((received.wrapping, received.content), (Wrapping::Olm, json!({ "b": 2 })));
    let sender = received.sender_device.unwrap();
    assert_eq!((sender.device, sender.endorsement), (emil.id(), Endorsement::Endorsed));

    // A message a second time, one in the clear, one of our own algorithm.
    dora.send(&emil.id(), &kind, content).await;
    assert_eq!(emil.receive().await.remove(0).wrapping, Wrapping::Undecryptable);
    dora.send(&emil.id(), "org.dmls.v1.commit_request", json!({ "c": 3 })).await;
    let received = emil.receive().await.remove(0);
    assert_eq!((received.wrapping, received.content), (Wrapping::Plain, json!({ "c": 3 })));
    let welcome = json!({ "algorithm": "org.dmls.v1.welcome", "x": 1 });
    dora.send(&emil.id(), "m.room.encrypted", welcome.clone()).await;
    let received = emil.receive().await.remove(0);
    assert_eq!((received.wrapping, received.kind.as_str()), (Wrapping::Plain, "m.room.encrypted"));
    assert_eq!((received.content, received.sender_device), (welcome, None));

    let stranger = world.device(ServerNumber::HS2, &emil.id().user, "SECOND", 13).await;
    assert_eq!(dora.sees(&stranger.id()).await.unwrap().endorsement, Endorsement::NotCrossSigned);
    let refused = dora.identity.encrypt_to_device(&dora.api, &stranger.id(), KIND, &json!({})).await;
    assert!(matches!(refused, Err(IdentityError::Unendorsed(_))), "{refused:?}");
    emil.identity.pump(&emil.api).await.unwrap();
    dora.identity.pump(&dora.api).await.unwrap();
}
