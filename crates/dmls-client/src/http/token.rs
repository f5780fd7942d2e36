//! The access token: a secret.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::{Zeroize, Zeroizing};

/// A session's access token; erased when dropped, never shown.
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// Takes the token as the homeserver gave it.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// The token itself, to store it sealed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `Authorization` header, marked as sensitive; `None` for a token that no header can carry.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut text = format!("Bearer {}", self.0.as_str());
        let header = HeaderValue::from_str(&text).ok();
        text.zeroize();
        header.map(|mut header| {
            header.set_sensitive(true);
            header
        })
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}
