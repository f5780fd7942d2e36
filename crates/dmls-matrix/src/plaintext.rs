//! What is inside a sealed message, and the one function that says whose it is (SPEC §6.6).

use dmls::defence;
use dmls::effect::Opened;
use dmls::group::{SealContext, verify_content};
use serde_json::{Value, json};

use crate::canonical::canonical;
use crate::id::{MessageId, RoomId};
use crate::names::base64;
use crate::wire::{bytes, id, text};

/// A message whose sender, room and signature were checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plaintext {
    pub(crate) message_id: MessageId,
    pub(crate) event_type: String,
    pub(crate) content: Value,
}

/// Why an opened message is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Matrix sender, MLS sender or room do not agree.
    Sender,
    /// The sender's signature does not cover this content at this place.
    Signature,
    /// Not the JSON of SPEC §6.6.
    Malformed,
}

fn signed_part(room: &RoomId, message_id: &MessageId, event_type: &str, content: &Value) -> Value {
    json!({ "type": event_type, "content": content, "room_id": room.0, "message_id": message_id.0 })
}

/// The canonical JSON that the sender signs; `None` if the content has no canonical form.
pub(crate) fn signed_bytes(room: &RoomId, message_id: &MessageId, event_type: &str, content: &Value) -> Option<String> {
    canonical(&signed_part(room, message_id, event_type, content))
}

/// The plaintext to be sealed.
pub(crate) fn compose(
    context: &SealContext<'_>,
    room: &RoomId,
    message_id: &MessageId,
    event_type: &str,
    content: &Value,
) -> Vec<u8> {
    let mut part = signed_part(room, message_id, event_type, content);
    // `send` refused what has no canonical form.
    let signature = context.sign(canonical(&part).unwrap_or_default().as_bytes());
    if let Some(map) = part.as_object_mut() {
        map.insert("signature".to_owned(), Value::String(base64(&signature)));
    }
    canonical(&part).unwrap_or_default().into_bytes()
}

/// All that must agree before a message is shown: Matrix sender = MLS sender, room = room, signature by that leaf.
pub(crate) fn check(room: &RoomId, matrix_sender: &str, opened: &Opened) -> Result<Plaintext, Rejection> {
    if opened.device.user != matrix_sender && defence::on("I11") {
        return Err(Rejection::Sender);
    }
    let value: Value = serde_json::from_slice(&opened.plaintext).map_err(|_| Rejection::Malformed)?;
    let (plaintext, inner_room, signature) = parse(&value).ok_or(Rejection::Malformed)?;
    if inner_room != room.0 {
        return Err(Rejection::Sender);
    }
    let Plaintext { message_id, event_type, content } = &plaintext;
    let signed = signed_bytes(room, message_id, event_type, content).ok_or(Rejection::Malformed)?;
    let Opened { suite, key, epoch, leaf, sequence, .. } = opened;
    let valid = verify_content(*suite, key, epoch, *leaf, *sequence, signed.as_bytes(), &signature);
    if valid { Ok(plaintext) } else { Err(Rejection::Signature) }
}

fn parse(value: &Value) -> Option<(Plaintext, &str, [u8; 64])> {
    let plaintext = Plaintext {
        message_id: MessageId(id(value, "message_id")?.to_owned()),
        event_type: id(value, "type")?.to_owned(),
        content: value.get("content").filter(|content| content.is_object())?.clone(),
    };
    Some((plaintext, text(value, "room_id")?, bytes(value, "signature")?.try_into().ok()?))
}
