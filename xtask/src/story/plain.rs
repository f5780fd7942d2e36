//! A client that knows nothing of encryption: plain requests with a real access token.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reqwest::{Client, Method, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::error::Error;
use super::rows::Device;

/// How long one request may take.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);
/// How long an event on its way is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked for.
const POLL: Duration = Duration::from_millis(100);
/// How many requests of a bulk are on their way at once.
const AT_ONCE: usize = 16;

/// A logged-in user, over plain HTTP.
pub struct Plain {
    http: Client,
    runtime: Runtime,
    base: String,
    /// The full user id.
    pub user: String,
    /// The device id.
    pub device: String,
    token: String,
}

impl Plain {
    /// Logs in; with the id of an existing device it shares that one's session, and the other token stays valid.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn log_in(base: &str, user: &str, password: &str, device: Option<&str>) -> Result<Self, Error> {
        let http = Client::builder().no_proxy().timeout(LONGEST_REQUEST).build();
        let http = http.map_err(std::io::Error::other).map_err(Error::system("making an HTTP client"))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::system("making an HTTP client"))?;
        let (user, base, token) = (user.to_owned(), base.to_owned(), String::new());
        let mut plain = Self { http, runtime, base, user, device: String::new(), token };
        let identifier = json!({ "type": "m.id.user", "user": plain.user });
        let mut body = json!({ "type": "m.login.password", "identifier": identifier, "password": password });
        if let Some(device) = device {
            body["device_id"] = device.into();
        }
        let answer = plain.call(Method::POST, "login", Some(body))?;
        plain.token = text(&answer, "access_token")?;
        plain.device = text(&answer, "device_id")?;
        Ok(plain)
    }

    /// Makes one request under `/_matrix/client/v3/`.
    ///
    /// # Errors
    /// [`Error::Request`] unless the server answers with success.
    pub fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        self.runtime.block_on(self.request(method, path, body))
    }

    /// Puts events of one type into a room, as it finds them, several at once; gives their ids in order.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn put_all(&self, room: &str, kind: &str, contents: &[Value]) -> Result<Vec<String>, Error> {
        let mut events = Vec::new();
        for chunk in contents.chunks(AT_ONCE) {
            let answers = self.runtime.block_on(self.put_chunk(&format!("rooms/{room}/send/{kind}"), chunk))?;
            for answer in answers {
                events.push(text(&answer, "event_id")?);
            }
        }
        Ok(events)
    }

    /// Puts one event into a room; gives its id.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn put(&self, room: &str, kind: &str, content: &Value) -> Result<String, Error> {
        let mut events = self.put_all(room, kind, std::slice::from_ref(content))?;
        events.pop().ok_or_else(|| Error::Missing("event id".to_owned()))
    }

    /// Publishes device keys that are signed by the device itself and by nobody else.
    ///
    /// # Errors
    /// [`Error::Request`]; [`Error::System`] if there is no randomness.
    pub fn publish_keys(&self) -> Result<(), Error> {
        let none = |_| std::io::Error::other("no randomness");
        let made = ring::rand::generate::<[u8; 32]>(&SystemRandom::new());
        let seed = made.map_err(none).map_err(Error::system("making keys"))?.expose();
        let keys = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| std::io::Error::other(error.to_string()));
        let keys = keys.map_err(Error::system("making keys"))?;
        let (user, device) = (&self.user, &self.device);
        let (ed25519, curve25519) = (STANDARD_NO_PAD.encode(keys.public_key()), STANDARD_NO_PAD.encode(seed));
        // Canonical JSON (Matrix Specification, Appendices §3.1): what a device signs.
        let signed = format!(
            r#"{{"algorithms":["m.olm.v1.curve25519-aes-sha2"],"device_id":"{device}","keys":{{"curve25519:{device}":"{curve25519}","ed25519:{device}":"{ed25519}"}},"user_id":"{user}"}}"#
        );
        let signature = STANDARD_NO_PAD.encode(keys.sign(signed.as_bytes()));
        let mut published: Value =
            serde_json::from_str(&signed).map_err(|error| refused("POST", "keys/upload", error))?;
        published["signatures"] = json!({ user: { format!("ed25519:{device}"): signature } });
        self.call(Method::POST, "keys/upload", Some(json!({ "device_keys": published }))).map(drop)
    }

    /// Gives an event as the user's server has it.
    ///
    /// # Errors
    /// [`Error::Request`], also if it does not have it.
    pub fn event(&self, room: &str, event: &str) -> Result<Value, Error> {
        self.call(Method::GET, &format!("rooms/{room}/event/{event}"), None)
    }

    /// Gives the room's newest events, newest first.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn newest(&self, room: &str, limit: u16) -> Result<Vec<Value>, Error> {
        let answer = self.call(Method::GET, &format!("rooms/{room}/messages?dir=b&limit={limit}"), None)?;
        Ok(answer["chunk"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until the user's server has the event.
    ///
    /// # Errors
    /// [`Error::InVain`].
    pub fn wait_for(&self, room: &str, event: &str) -> Result<(), Error> {
        let start = Instant::now();
        while self.event(room, event).is_err() {
            if start.elapsed() > PATIENCE {
                return Err(Error::InVain { what: format!("{event} at {}", self.user), waited: PATIENCE });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends to-device messages of one type to one device, several at once.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn to_device_all(&self, kind: &str, to: &Device, contents: &[Value]) -> Result<(), Error> {
        let wrapped = |content: &Value| json!({ "messages": { &to.user: { &to.device: content } } });
        let bodies: Vec<Value> = contents.iter().map(wrapped).collect();
        for chunk in bodies.chunks(AT_ONCE) {
            self.runtime.block_on(self.put_chunk(&format!("sendToDevice/{kind}"), chunk))?;
        }
        Ok(())
    }

    /// Puts each body under a path and a new transaction id, all at once.
    async fn put_chunk(&self, under: &str, bodies: &[Value]) -> Result<Vec<Value>, Error> {
        let mut waiting = Vec::new();
        for body in bodies {
            let path = format!("{under}/{}", transaction());
            let request = self.prepare(Method::PUT, &path, Some(body));
            waiting.push((path, tokio::spawn(request.send())));
        }
        let mut answers = Vec::new();
        for (path, sent) in waiting {
            let sent = sent.await.map_err(|error| refused("PUT", &path, error))?;
            answers.push(answer("PUT", &path, sent).await?);
        }
        Ok(answers)
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let sent = self.prepare(method.clone(), path, body.as_ref()).send().await;
        answer(method.as_str(), path, sent).await
    }

    fn prepare(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/_matrix/client/v3/{path}", self.base));
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        }
    }
}

async fn answer(method: &str, path: &str, sent: reqwest::Result<reqwest::Response>) -> Result<Value, Error> {
    let response = sent.map_err(|error| refused(method, path, error))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| refused(method, path, error))?;
    if status != StatusCode::OK {
        return Err(refused(method, path, format!("{status} {body}")));
    }
    serde_json::from_str(&body).map_err(|error| refused(method, path, error))
}

fn refused(method: &str, path: &str, detail: impl ToString) -> Error {
    Error::Request { request: format!("{method} {path}"), detail: detail.to_string() }
}

fn text(answer: &Value, field: &str) -> Result<String, Error> {
    answer[field].as_str().map(str::to_owned).ok_or_else(|| Error::Missing(format!("{field} in {answer}")))
}

/// Gives a transaction id that this process has not used.
fn transaction() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let start = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis());
    format!("{start}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
