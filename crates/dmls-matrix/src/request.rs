//! What the host is to ask of its homeserver, and how it answers.

use dmls::id::Device;
use serde_json::Value;

use crate::id::{RequestId, RoomId};

/// One request to the homeserver, repeated by `outgoing_requests` until it is marked as sent or failed.
pub struct OutgoingRequest {
    /// Hand this back with the answer.
    pub id: RequestId,
    /// What to do.
    pub request: Request,
}

/// What to do. Every variant names the endpoint and the [`Response`] that answers it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Request {
    /// `POST /keys/upload`, only these one-time and fallback keys; answer with [`Response::Json`], the body.
    KeyPackagesUpload {
        /// `one_time_keys`: full key id (`algorithm:ref`) and value.
        one_time: Vec<(String, Value)>,
        /// `fallback_keys`: full key id and value.
        fallback: Option<(String, Value)>,
    },
    /// `POST /keys/query`; answer each user that was answered with `receive_device_facts`, then [`Response::Done`].
    ///
    /// Users without new facts by then are asked again later, after 5 s doubling to 5 min.
    KeysQuery {
        /// Whose devices.
        users: Vec<String>,
    },
    /// `POST /keys/claim`, one key of `algorithm` for each device; answer with [`Response::Json`], the body.
    ///
    /// All devices of one request belong to one server, so that a dead server delays only its own users.
    KeysClaim {
        /// For which room.
        room: RoomId,
        /// The one-time key algorithm.
        algorithm: String,
        /// For whom.
        devices: Vec<Device>,
    },
    /// `PUT /sendToDevice/{event_type}/{txn_id}`; answer with [`Response::Done`].
    ToDevice {
        /// Transaction id, stable over restarts.
        txn_id: String,
        /// Event type (before Olm encryption).
        event_type: String,
        /// Content for each device.
        messages: Vec<(Device, Value)>,
        /// Whether it must go through Olm to the cross-signed device, and not at all otherwise.
        encrypt: bool,
    },
    /// `PUT /rooms/{room}/send/{event_type}/{txn_id}`; answer with [`Response::Json`], the body with `event_id`.
    RoomEvent {
        /// Into which room.
        room: RoomId,
        /// Event type.
        event_type: String,
        /// Transaction id, stable over restarts.
        txn_id: String,
        /// Content.
        content: Value,
    },
    /// `PUT /rooms/{room}/state/{event_type}/{state_key}`; answer with [`Response::Json`], the body.
    StateEvent {
        /// Into which room.
        room: RoomId,
        /// Event type.
        event_type: String,
        /// State key.
        state_key: String,
        /// Content.
        content: Value,
    },
    /// `GET /rooms/{room}/event/{event_id}`; answer with [`Response::Json`], the event.
    FetchEvent {
        /// In which room.
        room: RoomId,
        /// Which event.
        event_id: String,
    },
    /// `GET /rooms/{room}/messages?dir=b`; answer with [`Response::Json`], the body (`chunk`, `end`, `state`).
    Messages {
        /// In which room.
        room: RoomId,
        /// Pagination token; `None` pages from the newest event.
        from: Option<String>,
        /// How many events at most.
        limit: u16,
    },
    /// `GET /rooms/{room}/members`; answer with [`Response::Json`], the body (`chunk` of member events).
    Members {
        /// In which room.
        room: RoomId,
    },
    /// `GET /rooms/{room}/state`; answer with [`Response::Json`], the array of state events.
    RoomState {
        /// In which room.
        room: RoomId,
    },
    /// `POST /_matrix/media/v3/upload`; answer with [`Response::Json`], the body with `content_uri`.
    Upload {
        /// The bytes.
        bytes: Vec<u8>,
        /// MIME type.
        content_type: String,
    },
    /// `GET /_matrix/client/v1/media/download/...`; answer with [`Response::Media`]. The binding checks the hash.
    Download {
        /// `mxc://` address.
        mxc: String,
        /// SHA-256 of the content.
        sha256: [u8; 32],
        /// Stop reading after this many bytes.
        max: usize,
    },
}

/// What the homeserver answered.
#[derive(Clone)]
pub enum Response {
    /// Nothing that the binding needs to see.
    Done,
    /// The JSON body, unparsed.
    Json(Value),
    /// Media content.
    Media(Vec<u8>),
}

/// Why a request got no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// `retry_after_ms` of the server, when it gave one.
    pub retry_after_ms: Option<u64>,
    /// The `errcode` (or HTTP status as text) when the server refused for good: 403, 404, 413, 400.
    pub permanent: Option<String>,
}
