//! The homeserver over HTTP: requests with patience, typed errors, media, log-in.

mod auth;
mod exchange;
mod media;
mod patience;
mod token;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;
use ruma::api::auth_scheme::{AuthScheme, SendAccessToken};
use ruma::api::path_builder::PathBuilder;
use ruma::api::{IncomingResponse, MatrixVersion, OutgoingRequest, SupportedVersions};
use ruma::exports::bytes::Bytes;
use serde_json::Value;

use crate::error::ApiError;
use exchange::Prepared;

pub use auth::{LoggedIn, Whoami};
pub use exchange::Uia;
pub use patience::Patience;
pub use reqwest::Method;
pub use token::AccessToken;

/// Largest JSON answer that is read.
const MAX_ANSWER: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One homeserver's Client-Server API, with or without a session. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: Url,
    token: Option<Arc<AccessToken>>,
    patience: Patience,
}

impl Api {
    /// The homeserver at this base URL: HTTPS, or plain HTTP on the loopback interface.
    pub fn new(homeserver: &str) -> Result<Self, ApiError> {
        let base = Url::parse(homeserver)
            .map_err(|_| ApiError::BadRequest("the homeserver's address is no URL: write it as https://example.org"))?;
        let local = is_loopback(&base);
        match base.scheme() {
            "https" => {}
            "http" if local => {}
            _ => return Err(ApiError::BadRequest("a homeserver is reached by https only, except on this machine")),
        }
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .user_agent(concat!("dmls/", env!("CARGO_PKG_VERSION")));
        if local {
            client = client.no_proxy();
        }
        let http = client.build().map_err(|_| ApiError::BadRequest("no TLS client"))?;
        Ok(Self { http, base, token: None, patience: Patience::default() })
    }

    /// The same homeserver with this session's access token.
    pub fn with_token(&self, token: AccessToken) -> Self {
        Self { token: Some(Arc::new(token)), ..self.clone() }
    }

    /// The same homeserver and session with other patience.
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self { patience, ..self.clone() }
    }

    /// How long requests wait.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Base URL of the homeserver.
    pub fn homeserver(&self) -> &str {
        self.base.as_str()
    }

    /// Sends one request and returns the JSON answer.
    ///
    /// `path` are the segments after the host, not yet percent-encoded. GET, PUT and DELETE are repeated over
    /// connection errors, POST is not ([`Api::call_repeatable`]).
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let repeatable = method != Method::POST;
        self.call_json(method, path, query, body, repeatable).await
    }

    /// As [`Api::call`], for a POST that does no harm when the homeserver receives it twice.
    pub async fn call_repeatable(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        self.call_json(method, path, query, body, true).await
    }

    async fn call_json(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        repeatable: bool,
    ) -> Result<Value, ApiError> {
        let mut prepared = Prepared::new(method, self.url(path, query)?, repeatable);
        prepared.body = body.map(|body| body.to_string().into());
        let answer = self.exchange(&prepared).await?;
        serde_json::from_slice(&answer.body).map_err(|_| ApiError::BadAnswer("not JSON"))
    }

    /// Sends a typed ruma request; repeated over connection errors if `repeatable` or not a POST.
    pub async fn send_ruma<R>(&self, request: R, repeatable: bool) -> Result<R::IncomingResponse, ApiError>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        // ruma wants a token to check that there is one; the true one is added where it is marked as secret.
        let versions =
            SupportedVersions { versions: BTreeSet::from([MatrixVersion::V1_11]), features: BTreeSet::new() };
        let request = request
            .try_into_http_request::<Vec<u8>>("http://ruma.invalid", SendAccessToken::Always("-"), Cow::Owned(versions))
            .map_err(|_| ApiError::BadRequest("ruma could not build it"))?;
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let base = self.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{target}")).map_err(|_| ApiError::BadRequest("no URL"))?;
        let repeatable = repeatable || parts.method != Method::POST;
        let mut prepared = Prepared::new(parts.method, url, repeatable);
        prepared.body = Some(body.into()).filter(|body: &Bytes| !body.is_empty());
        let answer = self.exchange(&prepared).await?;
        R::IncomingResponse::try_from_http_response(answer.into_http())
            .map_err(|_| ApiError::BadAnswer("not of the promised form"))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, ApiError> {
        if path.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(ApiError::BadRequest("a path segment that URLs cannot carry"));
        }
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| ApiError::BadRequest("no base URL"))?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
