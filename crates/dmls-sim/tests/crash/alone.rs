//! One device with its room on the store of the disk, and a homeserver that answers it and nobody else.
//!
//! It tells what it does, line by line, for who outlives it.

use std::collections::BTreeMap;

use dmls::id::{Device, Timestamp};
use dmls::journal::Journal;
use dmls_matrix::error::Error;
use dmls_matrix::facts::{DeviceFacts, Endorsement, UserDevices};
use dmls_matrix::request::{Failure, OutgoingRequest, Request, Response};
use dmls_matrix::sync::SyncInput;
use dmls_matrix::{Machine, RoomId};
use dmls_sim::entropy::Stream;
use dmls_store::StoreError;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

/// What the device can meet.
pub type Failed = Error<StoreError>;

const USER: &str = "@alice:hs1";
/// What comes due within this time is waited for.
const SOON: u64 = 60_000;

/// Texts by the transaction under which the homeserver took them.
pub type Posted = BTreeMap<String, String>;

/// The device.
pub struct Alone<J: Journal<Error = StoreError>> {
    machine: Machine<J>,
    entropy: Stream,
    now: Timestamp,
    room: RoomId,
    /// What the homeserver has: ciphertexts by transaction.
    pub posted: Posted,
}

impl<J: Journal<Error = StoreError>> Alone<J> {
    /// Opens the device on its store; `life` keeps the randomness of one process apart from another's.
    pub fn open(store: J, life: u64, posted: Posted) -> Result<Self, Failed> {
        let machine = Machine::open(store, Device::new(USER, "ALICE"))?;
        let now = Timestamp(1_700_000_000_000 + life * 1_000_000);
        let entropy = Stream::new(life, "alone");
        Ok(Self { machine, entropy, now, room: RoomId::from("!alone"), posted })
    }

    /// Gets a credential and makes the room; what is there already stays.
    pub fn begin(&mut self) -> Result<(), Failed> {
        let request = self.machine.credential_request(&mut self.entropy)?;
        if !self.machine.has_credential() {
            let key = SigningKey::from_bytes(&[9; 32]);
            let signature = key.sign(&request.payload).to_bytes();
            self.machine.install_credential(key.verifying_key().to_bytes(), signature)?;
        }
        self.machine.room_created(&self.room, self.now, &mut self.entropy)?;
        let rooms = json!({ "join": { self.room.as_str(): { "timeline": { "events": [own_join()] } } } });
        let sync = SyncInput::parse(&json!({ "next_batch": "s1", "rooms": rooms }), Vec::new()).unwrap();
        self.machine.receive_sync(sync, self.now, &mut self.entropy).map(drop)
    }

    /// Takes a message to be sent.
    pub fn send(&mut self, body: &str) -> Result<(), Failed> {
        let content = json!({ "msgtype": "m.text", "body": body });
        self.machine.send(&self.room, "m.room.message", content, self.now, &mut self.entropy)?;
        println!("\nsaid kept {body}");
        Ok(())
    }

    /// Own messages: their texts, and whether they have left.
    pub fn messages(&mut self) -> Result<Vec<(String, bool)>, Failed> {
        let rows = self.machine.messages(&self.room)?;
        Ok(rows.iter().map(|row| (row.body().unwrap().to_owned(), row.event_id.is_some())).collect())
    }

    /// Carries requests out until there are none and none comes soon, or until the first error.
    pub fn work(&mut self) -> Result<(), Failed> {
        loop {
            let requests = self.machine.outgoing_requests(self.now, &mut self.entropy)?;
            if self.machine.idle(self.now, SOON) {
                return Ok(());
            }
            if requests.is_empty() {
                self.now = self.machine.next_wake(self.now).unwrap().max(self.now.plus(1));
            }
            for request in requests {
                self.carry_out(request)?;
            }
        }
    }

    fn carry_out(&mut self, OutgoingRequest { id, request }: OutgoingRequest) -> Result<(), Failed> {
        let answer = match request {
            Request::KeyPackagesUpload { .. } => Ok(json!({})),
            Request::KeysQuery { .. } => {
                let facts = UserDevices { user: USER.to_owned(), devices: vec![self.facts()] };
                self.machine.receive_device_facts(facts, self.now, &mut self.entropy)?;
                Ok(json!({}))
            }
            Request::Upload { .. } => Ok(json!({ "content_uri": "mxc://hs1/info" })),
            Request::RoomEvent { txn_id, content, .. } => {
                let ciphertext = content["ciphertext"].as_str().unwrap().to_owned();
                let event_id = format!("${txn_id}");
                println!("\nsaid posted {txn_id} {ciphertext}");
                let first = self.posted.entry(txn_id).or_insert(ciphertext.clone());
                assert_eq!(*first, ciphertext, "what is sent again under a transaction is the same");
                Ok(json!({ "event_id": event_id }))
            }
            Request::Members { .. } => Ok(json!({ "chunk": [own_join()] })),
            _ => Err(Failure { permanent: Some("M_NOT_FOUND".to_owned()), retry_after_ms: None }),
        };
        let machine = &mut self.machine;
        let done = match answer {
            Ok(body) => machine.mark_request_as_sent(&id, Response::Json(body), self.now, &mut self.entropy),
            Err(failure) => machine.mark_request_as_failed(&id, failure, self.now, &mut self.entropy),
        };
        done.map(drop)
    }

    fn facts(&self) -> DeviceFacts {
        let ed25519 = SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes();
        let mls_key = self.machine.mls_key().map(|key| key.0);
        DeviceFacts { device: self.machine.device().clone(), ed25519, mls_key, endorsement: Endorsement::Endorsed }
    }

    /// Its store, closed.
    pub fn into_store(self) -> J {
        self.machine.into_journal()
    }
}

/// The event with which the user came in.
fn own_join() -> Value {
    json!({
        "type": "m.room.member", "event_id": "$join", "sender": USER, "state_key": USER,
        "origin_server_ts": 0, "content": { "membership": "join" },
    })
}
