//! Log-in, tokens, media.

use dmls_client::error::ApiError;
use dmls_client::http::Method;
use serde_json::json;
use xtask::homeserver::ServerNumber;

use crate::world::{PASSWORD, World};

pub async fn scenario(world: &World) {
    let api = world.api(ServerNumber::HS1);
    assert!(api.versions().await.unwrap().iter().any(|version| version == "v1.11"));
    let user = world.user(ServerNumber::HS1, "sam");
    let refused = api.login("sam", "wrong", None, None).await.unwrap_err();
    assert!(matches!(&refused, ApiError::Refused { status: 403, errcode, .. } if errcode == "M_FORBIDDEN"));
    assert!(!format!("{refused:?}").contains("wrong"));

    let session = api.login("sam", PASSWORD, None, None).await.unwrap();
    let device = session.device.clone();
    let shown = format!("{session:?}");
    assert!(!shown.contains(session.token.expose()));
    let sam = api.with_token(session.token);
    let who = sam.whoami().await.unwrap();
    assert_eq!((who.user, who.device), (user, Some(device)));

    media(&sam).await;

    let missing = sam.call(Method::GET, &["_matrix", "client", "v3", "rooms", "!no/such?", "state"], &[], None).await;
    assert!(matches!(missing, Err(ApiError::Refused { .. })));
    sam.logout().await.unwrap();
    assert_eq!(sam.whoami().await, Err(ApiError::TokenExpired { soft_logout: false }));
    assert_eq!(
        sam.call(Method::POST, &["_matrix", "client", "v3", "createRoom"], &[], Some(&json!({})))
            .await
            .map_err(|error| error.code()),
        Err("token_expired")
    );
}

async fn media(sam: &dmls_client::http::Api) {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let uri = sam.upload_media(bytes.clone(), "application/octet-stream").await.unwrap();
    assert_eq!(sam.download_media(&uri, 1_000_000).await.unwrap(), bytes);
    assert_eq!(sam.download_media(&uri, 999_999).await, Err(ApiError::TooLarge));
    let absent = sam.download_media("mxc://hs1.test/absent", 10).await;
    assert!(matches!(absent, Err(ApiError::Refused { status: 404, .. })), "{absent:?}");
}
