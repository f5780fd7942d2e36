//! Welcomes, sent to devices (SPEC §6.7).

use dmls::id::EpochId;
use dmls::input::BaseProof;
use serde_json::{Value, json};

use super::room::Media;
use super::{Malformed, bytes, epoch_id, id, text};
use crate::id::RoomId;
use crate::names::{base64, base64url, welcome_algorithm};

/// Above this many bytes a Welcome goes through media.
pub(crate) const INLINE_LIMIT: usize = 40_000;

/// A Welcome as it came; nothing of it is verified.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct WelcomeContent {
    pub(crate) room: RoomId,
    pub(crate) commit_event: String,
    pub(crate) epoch: EpochId,
    pub(crate) base: BaseProof,
    #[serde(with = "serde_bytes")]
    pub(crate) grant: Vec<u8>,
    pub(crate) body: Body,
}

/// The MLSMessage, or where it is.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) enum Body {
    Inline(serde_bytes::ByteBuf),
    Media(Media),
}

pub(crate) fn is_welcome(content: &Value) -> bool {
    text(content, "algorithm") == Some(&welcome_algorithm())
}

pub(crate) fn parse(content: &Value) -> Result<WelcomeContent, Malformed> {
    let body = match content.get("file") {
        Some(file) => Body::Media(Media::parse(file).ok_or(Malformed("malformed"))?),
        None => Body::Inline(bytes(content, "ciphertext").ok_or(Malformed("malformed_base64"))?.into()),
    };
    parse_fields(content, body).ok_or(Malformed("malformed"))
}

fn parse_fields(content: &Value, body: Body) -> Option<WelcomeContent> {
    let base = content.get("base")?;
    Some(WelcomeContent {
        room: RoomId::from(id(content, "room_id")?),
        commit_event: id(content, "commit_event")?.to_owned(),
        epoch: epoch_id(content.get("epoch_id")?)?,
        base: BaseProof {
            confirmed_transcript_hash: bytes(base, "confirmed_transcript_hash")?,
            confirmation_tag: bytes(base, "confirmation_tag")?,
        },
        grant: bytes(content, "grant")?,
        body,
    })
}

/// How an MLSMessage is handed over.
#[derive(Clone, Copy)]
pub(crate) enum Carrier<'a> {
    /// In the to-device message.
    Inline(&'a [u8]),
    /// In the media repository.
    Media(&'a Media),
}

/// Content of a Welcome whose commit is the event `commit_event`.
pub(crate) fn content(
    room: &RoomId,
    commit_event: &str,
    epoch: &EpochId,
    base: &BaseProof,
    grant: &[u8],
    body: Carrier<'_>,
) -> Value {
    let mut content = json!({
        "algorithm": welcome_algorithm(),
        "room_id": room.0,
        "commit_event": commit_event,
        "epoch_id": base64url(&epoch.0),
        "base": {
            "confirmed_transcript_hash": base64(&base.confirmed_transcript_hash),
            "confirmation_tag": base64(&base.confirmation_tag),
        },
        "grant": base64(grant),
    });
    let (field, value) = match body {
        Carrier::Inline(bytes) => ("ciphertext", Value::String(base64(bytes))),
        Carrier::Media(media) => ("file", media.json()),
    };
    if let Some(map) = content.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
    content
}
