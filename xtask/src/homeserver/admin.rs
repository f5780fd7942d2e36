//! Requests to the servers: health, registration, federation.

use std::fmt::Write;
use std::time::Duration;

use reqwest::{Client, Method};
use ring::hmac;
use serde_json::{Value, json};

use super::error::Error;
use super::names::{ServerNumber, UserId};
use super::random::Secret;

/// The account that administers a server for this tool.
pub(super) const ADMIN: &str = "switch";

/// How long one request may take.
const LONGEST_REQUEST: Duration = Duration::from_secs(20);

/// A server's client API.
#[derive(Clone, Debug)]
pub(super) struct ClientApi {
    http: Client,
    server: ServerNumber,
    url: String,
}

/// Which right a new account gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    User,
    Admin,
}

/// Makes the HTTP client for [`ClientApi::new`].
pub(super) fn http_client() -> Result<Client, Error> {
    // A connection that is kept for later would not outlive a stop of the server.
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(LONGEST_REQUEST);
    let made = builder.build().map_err(std::io::Error::other);
    made.map_err(Error::system("making an HTTP client"))
}

impl ClientApi {
    pub(super) fn new(http: Client, server: ServerNumber, port: u16) -> Self {
        Self { http, server, url: format!("http://127.0.0.1:{port}") }
    }

    /// Gives the base URL, without a slash at the end.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Finds out that the server serves clients.
    pub(super) async fn versions(&self) -> Result<(), Error> {
        self.call(Method::GET, "/_matrix/client/versions", None, None).await.map(drop)
    }

    /// Registers a user.
    ///
    /// # Errors
    /// [`Error::Refused`], with `M_USER_IN_USE` in its body if the account exists.
    pub(super) async fn register(&self, secret: &Secret, name: &str, password: &Secret) -> Result<UserId, Error> {
        let account = self.register_as(Role::User, secret, name, password).await?;
        Ok(UserId::from_server(&self.text(&account, "user_id")?))
    }

    /// Registers the administrator, and gives an access token.
    ///
    /// # Errors
    /// As [`ClientApi::register`].
    pub(super) async fn register_admin(&self, secret: &Secret, password: &Secret) -> Result<Secret, Error> {
        let account = self.register_as(Role::Admin, secret, ADMIN, password).await?;
        Ok(Secret::new(&self.text(&account, "access_token")?))
    }

    /// Registers an account with the shared secret (Synapse's Admin API, `/_synapse/admin/v1/register`).
    async fn register_as(&self, role: Role, secret: &Secret, name: &str, password: &Secret) -> Result<Value, Error> {
        let path = "/_synapse/admin/v1/register";
        let nonce = self.call(Method::GET, path, None, None).await?;
        let nonce = self.text(&nonce, "nonce")?;
        let role_word = if role == Role::Admin { "admin" } else { "notadmin" };
        let signed = [nonce.as_str(), name, password.expose(), role_word].join("\0");
        let body = json!({
            "nonce": nonce, "username": name, "password": password.expose(), "admin": role == Role::Admin,
            "mac": hmac_sha1(secret, &signed), "inhibit_login": role == Role::User,
        });
        self.call(Method::POST, path, None, Some(body)).await
    }

    /// Logs in and gives the user's id and an access token.
    pub(super) async fn log_in(&self, name: &str, password: &Secret) -> Result<(UserId, Secret), Error> {
        let body = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name },
            "password": password.expose(), "device_id": "HOMESERVER", "initial_device_display_name": "cargo xtask homeserver",
        });
        let answer = self.call(Method::POST, "/_matrix/client/v3/login", None, Some(body)).await?;
        let token = Secret::new(&self.text(&answer, "access_token")?);
        Ok((UserId::from_server(&self.text(&answer, "user_id")?), token))
    }

    /// Ends the session of an access token.
    pub(super) async fn log_out(&self, token: &Secret) -> Result<(), Error> {
        let path = "/_matrix/client/v3/logout";
        self.call(Method::POST, path, Some(token), Some(json!({}))).await.map(drop)
    }

    /// Makes this server try `remote` again now, and `remote`'s queue be sent.
    ///
    /// A server that knows nothing of `remote`, or has no trouble with it, refuses; that is as good.
    pub(super) async fn reset_connection(&self, token: &Secret, remote: ServerNumber) -> Result<(), Error> {
        let path = format!("/_synapse/admin/v1/federation/destinations/{remote}/reset_connection");
        match self.call(Method::POST, &path, Some(token), Some(json!({}))).await {
            Err(Error::Refused { status: 400 | 404, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Finds out that this server reaches `remote` and does not hold off from it.
    pub(super) async fn federates_with(&self, token: &Secret, remote: ServerNumber) -> Result<(), Error> {
        let profile = format!("/_matrix/client/v3/profile/@{ADMIN}:{remote}");
        self.call(Method::GET, &profile, None, None).await?;
        let path = format!("/_synapse/admin/v1/federation/destinations/{remote}");
        let destination = match self.call(Method::GET, &path, Some(token), None).await {
            Err(Error::Refused { status: 404, .. }) => return Ok(()),
            other => other?,
        };
        if destination["retry_last_ts"] == json!(0) {
            return Ok(());
        }
        Err(self.refused(503, format!("holds off from {remote}")))
    }

    fn text(&self, answer: &Value, field: &str) -> Result<String, Error> {
        let text = answer[field].as_str().map(str::to_owned);
        text.ok_or_else(|| self.refused(200, format!("no {field} in the answer")))
    }

    fn refused(&self, status: u16, body: String) -> Error {
        Error::Refused { server: self.server, status, body }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<Value>,
    ) -> Result<Value, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let unreachable = |error: reqwest::Error| Error::Unreachable { server: self.server, detail: error.to_string() };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(self.refused(status.as_u16(), text));
        }
        serde_json::from_str(&text).map_err(|_| self.refused(status.as_u16(), text))
    }
}

fn hmac_sha1(secret: &Secret, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    let mut hex = String::new();
    for byte in hmac::sign(&key, text.as_bytes()).as_ref() {
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_sha1_is_rfc_2202s() {
        let tag = hmac_sha1(&Secret::new("Jefe"), "what do ya want for nothing?");
        assert_eq!(tag, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
