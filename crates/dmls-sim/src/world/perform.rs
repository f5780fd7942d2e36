//! A device's requests, as its homeserver answers them.

use dmls::id::Device;
use dmls_matrix::RoomId;
use dmls_matrix::facts::UserDevices;
use dmls_matrix::request::{Failure, Request, Response};
use serde_json::{Value, json};

use super::turn::events_of;
use super::{Fault, World};
use crate::net::event::kind;
use crate::net::{Draft, Refusal, algorithm};
use crate::trace::{Fact, Kind, Name, ServerName};

type Answer = Result<Response, Failure>;

impl World {
    pub(super) fn perform(&mut self, name: &Name, request: &Request) -> Result<Answer, Fault> {
        let client = self.client(name)?;
        let (device, home) = (client.device.clone(), client.home.clone());
        if client.logged_out {
            return Ok(Err(refused(Refusal("M_UNKNOWN_TOKEN"))));
        }
        Ok(match request {
            Request::KeyPackagesUpload { one_time, fallback } => {
                for (id, value) in one_time.iter().chain(fallback) {
                    self.publish(&[b"key", id.as_bytes(), value.to_string().as_bytes()]);
                }
                let packages = one_time.iter().chain(fallback).map(|(_, value)| value.clone()).collect();
                self.note(Fact::Uploaded { name: name.clone(), packages });
                let count = self.net.upload_keys(&device, one_time, fallback.as_ref());
                Ok(Response::Json(json!({ "one_time_key_counts": { algorithm(): count } })))
            }
            // What it tells is for who gets the answer.
            Request::KeysQuery { .. } => Ok(Response::Done),
            Request::KeysClaim { devices, .. } => {
                let mut keys = json!({});
                for target in devices {
                    if let Some((id, value)) = self.net.claim(&home, target) {
                        keys[&target.user][&target.device][&id] = value;
                    }
                }
                Ok(Response::Json(json!({ "one_time_keys": keys, "failures": {} })))
            }
            Request::ToDevice { event_type, messages, encrypt, .. } => {
                self.write(&device, &home, event_type, messages, *encrypt)
            }
            Request::RoomEvent { room, event_type, txn_id, content } => self
                .post(name, room, event_type, None, content.clone(), Some(txn_id))?
                .map_err(refused)
                .map(|id| Response::Json(json!({ "event_id": id }))),
            Request::StateEvent { room, event_type, state_key, content } => self
                .post(name, room, event_type, Some(state_key), content.clone(), None)?
                .map_err(refused)
                .map(|id| Response::Json(json!({ "event_id": id }))),
            Request::FetchEvent { room, event_id } => found(self.net.event(&home, &device.user, room, event_id)),
            Request::Messages { room, from, limit } => {
                found(self.net.page(&home, &device.user, room, from.as_deref(), usize::from(*limit)))
            }
            Request::Members { room } => {
                let members = self.net.memberships(&home, room);
                self.client(name)?.members.insert(room.clone(), members);
                Ok(Response::Json(self.net.members(&home, room)))
            }
            Request::RoomState { room } => Ok(Response::Json(self.net.state(&home, room))),
            Request::Upload { bytes, .. } => {
                self.publish(&[b"media", bytes]);
                Ok(Response::Json(json!({ "content_uri": self.net.upload(&home, bytes) })))
            }
            Request::Download { mxc, .. } => self.net.download(&home, mxc).map(Response::Media).map_err(refused),
            _ => Err(refused(Refusal("M_UNRECOGNIZED"))),
        })
    }

    /// A device is told its server's newest word on the devices of users.
    pub(super) fn tell_devices(&mut self, name: &Name, users: &[String]) -> Result<(), Fault> {
        let home = self.client(name)?.home.clone();
        for user in users {
            let Some(devices) = self.net.query(&home, user) else { continue };
            let facts = UserDevices { user: user.to_owned(), devices: devices.clone() };
            let told = self.call(name, |machine, now, entropy| machine.receive_device_facts(facts, now, entropy))?;
            let known = self.client(name)?.told.entry(user.to_owned()).or_default();
            if told.is_some() {
                known.clear();
            }
            // Where the store failed it knows these, or those from before.
            known.extend(devices);
        }
        Ok(())
    }

    fn write(
        &mut self,
        device: &Device,
        home: &ServerName,
        event_type: &str,
        messages: &[(Device, Value)],
        encrypt: bool,
    ) -> Answer {
        for (to, content) in messages {
            let endorsed = self.clients.values().any(|client| client.device == *to && client.endorsed());
            // Olm only goes to devices that their owners vouch for.
            if encrypt && !endorsed {
                continue;
            }
            self.publish(&[b"to-device", to.to_string().as_bytes(), content.to_string().as_bytes()]);
            let event = json!({
                "sender": device.user, "device": device.device, "type": event_type,
                "content": content, "encrypted": encrypt,
            });
            self.net.write_to(home, to, event, self.now).map_err(refused)?;
        }
        Ok(Response::Done)
    }

    /// Posts an event at the device's own server; a transaction id makes it happen once.
    pub(super) fn post(
        &mut self,
        name: &Name,
        room: &RoomId,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
        txn: Option<&str>,
    ) -> Result<Result<String, Refusal>, Fault> {
        let client = self.client(name)?;
        let (device, home) = (client.device.clone(), client.home.clone());
        if let Some(event_id) = txn.and_then(|txn| self.net.transaction(&device, txn)) {
            return Ok(Ok(event_id));
        }
        let draft = Draft { room, sender: &device.user, event_type, state_key, content: content.clone() };
        let posted = self.net.post(&home, draft, self.now);
        if let Ok(event_id) = &posted {
            if let Some(txn) = txn {
                self.net.keep_transaction(&device, txn, event_id);
            }
            self.posted(name, room, event_type, state_key, content, event_id)?;
        }
        Ok(posted)
    }

    /// An event is in a room.
    pub(super) fn posted(
        &mut self,
        name: &Name,
        room: &RoomId,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
        event_id: &str,
    ) -> Result<(), Fault> {
        let client = self.client(name)?;
        let (sender, server) = (client.device.clone(), client.home.clone());
        let kind = kind(event_type, state_key, &content);
        self.publish(&[b"event", name.0.as_bytes(), event_type.as_bytes(), content.to_string().as_bytes()]);
        match kind {
            Kind::Commit => self.counts.commits += 1,
            Kind::Message => self.counts.messages += 1,
            _ => {}
        }
        self.last_post = self.now;
        self.note(Fact::Posted {
            server,
            room: room.clone(),
            event_id: event_id.to_owned(),
            sender,
            name: name.clone(),
            kind,
            event_type: event_type.to_owned(),
            state_key: state_key.map(str::to_owned),
            content,
        });
        self.note_net();
        Ok(())
    }
}

/// The events that an answer shows.
pub(super) fn shown(request: &Request, answer: &Response) -> Vec<String> {
    match (request, answer) {
        (Request::FetchEvent { event_id, .. }, Response::Json(_)) => vec![event_id.clone()],
        (Request::Messages { .. } | Request::Members { .. }, Response::Json(body)) => events_of(&body["chunk"]),
        (Request::RoomState { .. }, Response::Json(body)) => events_of(body),
        _ => Vec::new(),
    }
}

fn found(value: Option<Value>) -> Answer {
    value.map(Response::Json).ok_or_else(|| refused(Refusal("M_NOT_FOUND")))
}

/// What cannot be reached comes again; everything else was refused for good.
fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal("M_UNREACHABLE") => Failure::default(),
        Refusal(code) => Failure { retry_after_ms: None, permanent: Some(code.to_owned()) },
    }
}
