//! The media repository (Client-Server API §10.9): content up, authenticated downloads.

use reqwest::Method;
use serde_json::Value;

use super::Api;
use super::exchange::Prepared;
use crate::error::ApiError;

impl Api {
    /// Uploads bytes; returns their `mxc://` URI. Uploading twice leaves an unused copy, nothing worse.
    pub async fn upload_media(&self, bytes: Vec<u8>, content_type: &str) -> Result<String, ApiError> {
        let url = self.url(&["_matrix", "media", "v3", "upload"], &[])?;
        let mut prepared = Prepared::new(Method::POST, url, true);
        prepared.content_type = content_type.to_owned();
        prepared.body = Some(bytes.into());
        let answer = self.exchange(&prepared).await?;
        let json: Value = serde_json::from_slice(&answer.body).map_err(|_| ApiError::BadAnswer("not JSON"))?;
        let uri = json["content_uri"].as_str().filter(|uri| parse_mxc(uri).is_some());
        uri.map(str::to_owned).ok_or(ApiError::BadAnswer("no content URI"))
    }

    /// Downloads what a `mxc://` URI names, at most `max_bytes` of it: [`ApiError::TooLarge`] beyond.
    pub async fn download_media(&self, uri: &str, max_bytes: usize) -> Result<Vec<u8>, ApiError> {
        let (server, media) = parse_mxc(uri).ok_or(ApiError::BadRequest("not an mxc URI"))?;
        let url = self.url(&["_matrix", "client", "v1", "media", "download", server, media], &[])?;
        let mut prepared = Prepared::new(Method::GET, url, true);
        prepared.max_answer = max_bytes;
        prepared.large = true;
        self.exchange(&prepared).await.map(|answer| answer.body)
    }
}

/// Server and media id of a content URI (Client-Server API §10.9.1).
fn parse_mxc(uri: &str) -> Option<(&str, &str)> {
    let (server, media) = uri.strip_prefix("mxc://")?.split_once('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let valid =
        !server.is_empty() && !server.contains(['?', '#', '@']) && !media.is_empty() && media.bytes().all(plain);
    valid.then_some((server, media))
}

#[cfg(test)]
mod tests {
    use super::parse_mxc;

    #[test]
    fn content_uris() {
        assert_eq!(parse_mxc("mxc://hs1.test:8448/aB_c-1"), Some(("hs1.test:8448", "aB_c-1")));
        for bad in ["mxc://hs1.test", "mxc:///a", "mxc://hs1.test/", "mxc://hs1.test/../x", "https://hs1.test/a"] {
            assert_eq!(parse_mxc(bad), None, "{bad}");
        }
    }
}
