//! Log-in and log-out (Client-Server API §5).

use reqwest::Method;
use serde_json::{Value, json};

use super::{AccessToken, Api};
use crate::error::ApiError;

/// A new session.
#[derive(Debug)]
pub struct LoggedIn {
    /// Full user id.
    pub user: String,
    /// The session's device id.
    pub device: String,
    /// The session's access token.
    pub token: AccessToken,
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whoami {
    /// Full user id.
    pub user: String,
    /// The device, if the session has one.
    pub device: Option<String>,
}

impl Api {
    /// Logs in with a password; `user` is a local part or a full id, `device` an own device to continue.
    pub async fn login(
        &self,
        user: &str,
        password: &str,
        device: Option<&str>,
        display_name: Option<&str>,
    ) -> Result<LoggedIn, ApiError> {
        let mut body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user },
            "password": password,
        });
        if let Some(device) = device {
            body["device_id"] = device.into();
        }
        if let Some(name) = display_name {
            body["initial_device_display_name"] = name.into();
        }
        let without_token = Self { token: None, ..self.clone() };
        let answer = without_token.call(Method::POST, &["_matrix", "client", "v3", "login"], &[], Some(&body)).await?;
        Ok(LoggedIn {
            user: text(&answer, "user_id")?,
            device: text(&answer, "device_id")?,
            token: AccessToken::new(text(&answer, "access_token")?),
        })
    }

    /// Ends the session and deletes its device with all its keys on the server.
    pub async fn logout(&self) -> Result<(), ApiError> {
        let path = ["_matrix", "client", "v3", "logout"];
        self.call(Method::POST, &path, &[], Some(&json!({}))).await.map(drop)
    }

    /// Whose session the access token belongs to.
    pub async fn whoami(&self) -> Result<Whoami, ApiError> {
        let path = ["_matrix", "client", "v3", "account", "whoami"];
        let answer = self.call(Method::GET, &path, &[], None).await?;
        Ok(Whoami { user: text(&answer, "user_id")?, device: text(&answer, "device_id").ok() })
    }

    /// The versions of the Client-Server API that the homeserver speaks.
    pub async fn versions(&self) -> Result<Vec<String>, ApiError> {
        let answer = self.call(Method::GET, &["_matrix", "client", "versions"], &[], None).await?;
        let versions = answer["versions"].as_array().ok_or(ApiError::BadAnswer("no versions"))?;
        Ok(versions.iter().filter_map(|version| version.as_str().map(str::to_owned)).collect())
    }
}

fn text(answer: &Value, field: &'static str) -> Result<String, ApiError> {
    answer[field].as_str().map(str::to_owned).ok_or(ApiError::BadAnswer(field))
}
