//! One request and its answer: attempts, limits, errors.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use ruma::exports::bytes::Bytes;
use ruma::exports::http;
use serde_json::Value;

use super::patience::Waiting;
use super::{Api, MAX_ANSWER};
use crate::error::{ApiError, Silence};

/// Slowest transfer that a large body is given time for, in bytes a second.
const SLOWEST: u64 = 50_000;
/// Longest error answer that is read.
const MAX_REFUSAL: usize = 64 << 10;

/// A request that can be sent more than once.
pub(super) struct Prepared {
    method: Method,
    url: Url,
    repeatable: bool,
    pub(super) content_type: String,
    pub(super) body: Option<Bytes>,
    /// Largest answer that is read.
    pub(super) max_answer: usize,
    /// Whether an answer of that size is to be expected, so that time is given for it.
    pub(super) large: bool,
}

impl Prepared {
    pub(super) fn new(method: Method, url: Url, repeatable: bool) -> Self {
        let content_type = "application/json".to_owned();
        Self { method, url, repeatable, content_type, body: None, max_answer: MAX_ANSWER, large: false }
    }

    fn transfer_time(&self) -> Duration {
        let down = if self.large { self.max_answer } else { 0 };
        let bytes = self.body.as_ref().map_or(0, Bytes::len) + down;
        Duration::from_secs(u64::try_from(bytes).unwrap_or(u64::MAX) / SLOWEST)
    }
}

/// A successful answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn into_http(self) -> http::Response<Vec<u8>> {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// What the homeserver asks for before it does something sensitive (Client-Server API, user-interactive authentication).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uia {
    /// Names the attempt; goes back with the proof.
    pub session: String,
    /// Whether a password alone is enough.
    pub password_suffices: bool,
}

impl Uia {
    fn parse(body: &Value) -> Option<Self> {
        let flows = body["flows"].as_array()?;
        let session = body["session"].as_str().unwrap_or_default().to_owned();
        let is_password = |flow: &Value| {
            flow["stages"].as_array().is_some_and(|stages| stages.len() == 1 && stages[0] == "m.login.password")
        };
        Some(Self { session, password_suffices: flows.iter().any(is_password) })
    }
}

impl Api {
    /// Sends until there is an answer or the patience is at an end.
    pub(super) async fn exchange(&self, prepared: &Prepared) -> Result<Answer, ApiError> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            match self.attempt(prepared).await {
                Err(ApiError::LimitExceeded { retry_after }) => {
                    let known = Some(retry_after).filter(|pause| !pause.is_zero());
                    let obeyed = waiting.obey(known).await;
                    obeyed.map_err(|retry_after| ApiError::LimitExceeded { retry_after })?;
                }
                Err(ApiError::Unreachable(silence)) if prepared.repeatable => {
                    if !waiting.back_off().await {
                        return Err(ApiError::Unreachable(silence));
                    }
                }
                done => return done,
            }
        }
    }

    async fn attempt(&self, prepared: &Prepared) -> Result<Answer, ApiError> {
        let mut request = self
            .http
            .request(prepared.method.clone(), prepared.url.clone())
            .timeout(self.patience.attempt + prepared.transfer_time());
        if let Some(token) = &self.token {
            let header = token.header().ok_or(ApiError::BadRequest("the access token is not one"))?;
            request = request.header(AUTHORIZATION, header);
        }
        if let Some(body) = &prepared.body {
            request = request.header(CONTENT_TYPE, &prepared.content_type).body(body.clone());
        }
        let response = request.send().await.map_err(|error| silence(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            let body = read(response, prepared.max_answer).await?;
            return Ok(Answer { status, headers, body });
        }
        // A refusal too long to be one is not read: the status says enough.
        let body = read(response, MAX_REFUSAL).await.unwrap_or_default();
        Err(refusal(status, &headers, &body))
    }
}

async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, ApiError> {
    let announced = response.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > max) {
        return Err(ApiError::TooLarge);
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|error| silence(&error))? {
        if body.len() + chunk.len() > max {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// reqwest's own words are not passed on: they quote URLs.
fn silence(error: &reqwest::Error) -> ApiError {
    if error.is_builder() {
        return ApiError::BadRequest("reqwest could not build it");
    }
    ApiError::Unreachable(match () {
        () if error.is_timeout() => Silence::Timeout,
        () if error.is_connect() => Silence::Connect,
        () => Silence::Broken,
    })
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let errcode = json["errcode"].as_str().unwrap_or_default();
    match status.as_u16() {
        429 => ApiError::LimitExceeded { retry_after: pause(headers, &json) },
        401 if errcode == "M_UNKNOWN_TOKEN" => {
            ApiError::TokenExpired { soft_logout: json["soft_logout"].as_bool().unwrap_or(false) }
        }
        413 => ApiError::TooLarge,
        gateway @ (502..=504 | 520..=529) if errcode.is_empty() => ApiError::Unreachable(Silence::Gateway(gateway)),
        _ if errcode == "M_TOO_LARGE" => ApiError::TooLarge,
        status => match Uia::parse(&json).filter(|_| status == 401) {
            Some(uia) => ApiError::NeedsAuth(uia),
            None => ApiError::Refused {
                status,
                errcode: errcode.to_owned(),
                message: json["error"].as_str().unwrap_or_default().to_owned(),
            },
        },
    }
}

/// The pause a rate limit asks for; zero if it does not say.
fn pause(headers: &HeaderMap, json: &Value) -> Duration {
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let header = header.map(Duration::from_secs);
    json["retry_after_ms"].as_u64().map(Duration::from_millis).or(header).unwrap_or_default()
}
