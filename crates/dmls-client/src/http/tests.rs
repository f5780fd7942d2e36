//! A homeserver of canned answers.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::{AccessToken, Api, Method, Patience};
use crate::error::{ApiError, Silence};

const TOKEN: &str = "planted-token";

/// Answers one connection after the other with these, and gives back what it was asked.
async fn canned(answers: Vec<String>) -> (Api, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 65536];
            let length = stream.read(&mut request).await.unwrap();
            log.lock().await.push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let quick = Patience { offline: Duration::from_secs(2), limited: Duration::from_secs(1), ..Patience::default() };
    (Api::new(&base).unwrap().with_token(AccessToken::new(TOKEN)).with_patience(quick), asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

async fn get(api: &Api) -> Result<serde_json::Value, ApiError> {
    api.call(Method::GET, &["_matrix", "a b/c%?"], &[("since", "s&1")], None).await
}

#[tokio::test]
async fn obeys_the_limit_and_encodes_the_path() {
    let limited = answer("429 Too Many", "", r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":20}"#);
    let (api, asked) = canned(vec![limited, answer("200 OK", "", r#"{"a":1}"#)]).await;
    assert_eq!(get(&api).await, Ok(json!({ "a": 1 })));
    let asked = asked.lock().await;
    assert_eq!(asked.len(), 2);
    assert!(asked[1].starts_with("GET /_matrix/a%20b%2Fc%25%3F?since=s%261 "), "{}", asked[1]);
    assert!(asked[1].contains(TOKEN));
}

#[tokio::test]
async fn patience_with_limits_ends() {
    let limited = answer("429 Too Many", "retry-after: 5\r\n", r#"{"errcode":"M_LIMIT_EXCEEDED"}"#);
    let (api, _) = canned(vec![limited]).await;
    assert_eq!(get(&api).await, Err(ApiError::LimitExceeded { retry_after: Duration::from_secs(5) }));
}

#[tokio::test]
async fn a_gateway_is_no_refusal_and_is_waited_out() {
    let gateway = answer("502 Bad Gateway", "", "<html>");
    let (api, asked) = canned(vec![gateway.clone(), answer("200 OK", "", "{}")]).await;
    assert_eq!(get(&api).await, Ok(json!({})));
    assert_eq!(asked.lock().await.len(), 2);
    let (api, asked) = canned(vec![gateway]).await;
    let post = api.call(Method::POST, &["x"], &[], Some(&json!({}))).await;
    assert_eq!(post, Err(ApiError::Unreachable(Silence::Gateway(502))));
    assert_eq!(asked.lock().await.len(), 1);
    let refused = answer("502 Bad Gateway", "", r#"{"errcode":"M_UNKNOWN","error":"remote"}"#);
    let (api, _) = canned(vec![refused]).await;
    let error = get(&api).await.unwrap_err();
    assert!(matches!(&error, ApiError::Refused { status: 502, errcode, .. } if errcode == "M_UNKNOWN"), "{error}");
}

#[tokio::test]
async fn broken_connections_are_repeated_only_where_it_is_harmless() {
    let (api, asked) = canned(vec![String::new(), answer("200 OK", "", "{}")]).await;
    assert_eq!(get(&api).await, Ok(json!({})));
    assert_eq!(asked.lock().await.len(), 2);
    let (api, asked) = canned(vec![String::new(), answer("200 OK", "", "{}")]).await;
    let post = api.call(Method::POST, &["x"], &[], Some(&json!({}))).await;
    assert_eq!(post, Err(ApiError::Unreachable(Silence::Broken)));
    assert_eq!(api.call_repeatable(Method::POST, &["x"], &[], Some(&json!({}))).await, Ok(json!({})));
    assert_eq!(asked.lock().await.len(), 2);
}

#[tokio::test]
async fn causes() {
    let expired = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"x","soft_logout":true}"#;
    let uia = r#"{"session":"s","flows":[{"stages":["m.login.password"]}]}"#;
    let (api, _) = canned(vec![
        answer("401 Unauthorized", "", expired),
        answer("401 Unauthorized", "", uia),
        answer("413 Too Large", "", "{}"),
        answer("302 Found", "location: https://elsewhere.invalid/\r\n", ""),
        answer("200 OK", "", "no JSON"),
        answer("200 OK", "", "0123456789"),
    ])
    .await;
    assert_eq!(get(&api).await, Err(ApiError::TokenExpired { soft_logout: true }));
    assert!(matches!(get(&api).await, Err(ApiError::NeedsAuth(uia)) if uia.password_suffices && uia.session == "s"));
    assert_eq!(get(&api).await, Err(ApiError::TooLarge));
    assert!(matches!(get(&api).await, Err(ApiError::Refused { status: 302, .. })));
    assert_eq!(get(&api).await, Err(ApiError::BadAnswer("not JSON")));
    assert_eq!(api.download_media("mxc://a.b/c", 9).await, Err(ApiError::TooLarge));
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = Api::new(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let api = api.with_patience(Patience { offline: Duration::ZERO, ..Patience::default() });
    assert_eq!(get(&api).await, Err(ApiError::Unreachable(Silence::Connect)));
}

#[test]
fn plain_http_only_at_home_and_no_token_in_debug() {
    for good in ["http://127.0.0.1:8001", "http://localhost", "http://[::1]:1", "https://example.org/base/"] {
        let api = Api::new(good).unwrap().with_token(AccessToken::new(TOKEN));
        assert!(!format!("{api:?}").contains(TOKEN));
    }
    for bad in ["http://example.org", "ftp://127.0.0.1", "example.org", "http://127.0.0.1.example.org"] {
        assert!(matches!(Api::new(bad), Err(ApiError::BadRequest(_))), "{bad}");
    }
    let api = Api::new("https://example.org/base/").unwrap();
    assert_eq!(api.url(&["_matrix", "x", ""], &[]).unwrap().as_str(), "https://example.org/base/_matrix/x/");
    assert!(api.url(&[".."], &[]).is_err());
}
