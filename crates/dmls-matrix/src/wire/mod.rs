//! Event contents of SPEC §6.5 and §6.7, parsed at the edge: what comes out has the right types and sizes, no more.

pub(crate) mod request;
pub(crate) mod room;
pub(crate) mod welcome;

use dmls::effect::EpochRef;
use dmls::id::{EpochId, Locator};
use serde_json::{Value, json};

use crate::names::{base64url, unbase64, unbase64url};

/// Why a content is not what it should be. Its code is the remark's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Longest id (user, device, event, room) that is taken in; Matrix allows 255 bytes.
const MAX_ID: usize = 255;

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// A text field that is an id by its length.
pub(crate) fn id<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    text(value, field).filter(|id| !id.is_empty() && id.len() <= MAX_ID)
}

pub(crate) fn bytes(value: &Value, field: &str) -> Option<Vec<u8>> {
    unbase64(text(value, field)?)
}

pub(crate) fn epoch_id(value: &Value) -> Option<EpochId> {
    EpochId::parse(&unbase64url(value.as_str()?)?)
}

/// `{id}`; the locator stands in a field of its own.
pub(crate) fn epoch_json(epoch: &EpochRef) -> Value {
    json!({ "id": base64url(&epoch.id.0) })
}

pub(crate) fn epoch(value: &Value, locator: &str) -> Option<EpochRef> {
    Some(EpochRef { id: epoch_id(value.get("id")?)?, locator: Locator(locator.to_owned()) })
}
