//! Rooms on the homeserver: create, join, leave, invite, kick (Client-Server API §10).

use dmls_matrix::{Machine, RoomId};
use dmls_store::SqliteStore;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, ClientError, SystemEntropy, now};
use crate::error::ApiError;
use crate::http::Patience;

/// Rooms are created in this version (SPEC §6.5).
const ROOM_VERSION: &str = "12";
/// Joining waits for other homeservers.
const JOIN_TIME: std::time::Duration = std::time::Duration::from_secs(120);

/// A room to be created.
#[derive(Debug, Clone)]
pub struct NewRoom<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whom to invite.
    pub invite: &'a [String],
}

/// A created room.
#[derive(Debug)]
pub struct Created {
    /// The room.
    pub room: RoomId,
    /// Those who could not be invited, and why.
    pub not_invited: Vec<(String, ApiError)>,
}

impl Client {
    /// Creates an encrypted room for invited people, makes its genesis epoch, and invites.
    pub async fn create_room(&mut self, new: &NewRoom<'_>) -> Result<Created, ClientError> {
        let body = json!({
            "name": new.name,
            "preset": "private_chat",
            "room_version": ROOM_VERSION,
            "creation_content": self.local.machine.creation_content(),
            "initial_state": Machine::<SqliteStore>::initial_state(),
        });
        let answer = self.post(&["createRoom"], &[], &body).await?;
        let room = room_id(&answer)?;
        self.local.machine.room_created(&room, now(), &mut SystemEntropy)?;
        let mut not_invited = Vec::new();
        // Not part of the creation: an invitation that fails must not lose the room.
        for user in new.invite {
            match self.invite(&room, user).await {
                Ok(()) => {}
                Err(ClientError::Api(error)) => not_invited.push((user.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        Ok(Created { room, not_invited })
    }

    /// Joins a room by id or alias; `via` are homeservers that are in it.
    pub async fn join(&mut self, room: &str, via: &[String]) -> Result<RoomId, ClientError> {
        let mut query: Vec<(&str, &str)> = Vec::new();
        for server in via {
            // Homeservers before version 1.12 of the API know the old name.
            query.extend([("via", server.as_str()), ("server_name", server.as_str())]);
        }
        let patient = self.api.with_patience(Patience { attempt: JOIN_TIME, ..self.api.patience() });
        let path = ["_matrix", "client", "v3", "join", room];
        let answer = patient.call_repeatable(Method::POST, &path, &query, Some(&json!({}))).await?;
        room_id(&answer)
    }

    /// Leaves a room, or declines its invitation.
    pub async fn leave(&mut self, room: &RoomId) -> Result<(), ClientError> {
        self.post(&["rooms", room.as_str(), "leave"], &[], &json!({})).await.map(drop)
    }

    /// Invites a user.
    pub async fn invite(&mut self, room: &RoomId, user: &str) -> Result<(), ClientError> {
        self.post(&["rooms", room.as_str(), "invite"], &[], &json!({ "user_id": user })).await.map(drop)
    }

    /// Removes a user from a room.
    pub async fn kick(&mut self, room: &RoomId, user: &str, reason: Option<&str>) -> Result<(), ClientError> {
        let mut body = json!({ "user_id": user });
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        self.post(&["rooms", room.as_str(), "kick"], &[], &body).await.map(drop)
    }

    async fn post(&self, path: &[&str], query: &[(&str, &str)], body: &Value) -> Result<Value, ClientError> {
        let path = [&["_matrix", "client", "v3"], path].concat();
        Ok(self.api.call(Method::POST, &path, query, Some(body)).await?)
    }
}

fn room_id(answer: &Value) -> Result<RoomId, ClientError> {
    let id = answer["room_id"].as_str().ok_or(ClientError::Api(ApiError::BadAnswer("room_id")))?;
    Ok(RoomId::from(id))
}
