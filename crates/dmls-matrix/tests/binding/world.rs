//! Devices on homeservers in memory, driven as a host drives them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::device::{Credential, OwnDevice, SigningKey as MlsKey};
use dmls::entropy::{Entropy, EntropyError};
use dmls::id::{Device, Timestamp};
use dmls::package::KeyPackages;
use dmls_matrix::facts::{DeviceFacts, Endorsement, UserDevices};
use dmls_matrix::request::{Failure, Request, Response};
use dmls_matrix::sync::{SyncInput, ToDeviceEvent};
use dmls_matrix::view::{MessageRow, Remark, Report};
use dmls_matrix::{Machine, MessageId, RoomId};
use dmls_store::MemoryStore;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Federation, server_of};
use crate::watched::Watched;

/// Randomness that is the same in every run; it fails, once, after so many draws.
pub struct Seeded(u64, Vec<u8>, Option<u64>);

impl Seeded {
    pub fn new(name: &str) -> Self {
        Self(0, name.as_bytes().to_vec(), None)
    }

    pub fn fail_after(&mut self, draws: u64) {
        self.2 = Some(draws);
    }

    /// Whether it has failed; it does so no more.
    pub fn has_failed(&mut self) -> bool {
        self.2.take().is_none()
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        match &mut self.2 {
            Some(0) => {
                self.2 = None;
                return Err(EntropyError);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let block = Sha256::new().chain_update(&self.1).chain_update(self.0.to_be_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

pub struct Client {
    pub device: Device,
    pub machine: Option<Machine<Watched>>,
    pub entropy: Seeded,
    pub online: bool,
    pub remarks: Vec<Remark>,
    pub endorsement: Endorsement,
    pub mls_key: [u8; 32],
    ed25519: [u8; 32],
    /// To-device messages handed to the machine since the last whole sync.
    taken: usize,
    /// Counts down to a crash.
    pub crash_in: Option<usize>,
    pub crashed: bool,
}

pub struct World {
    pub now: u64,
    pub net: Federation,
    pub clients: BTreeMap<String, Client>,
    pub requests: Vec<String>,
    /// Device lists as servers know them.
    lists: BTreeMap<(String, String), Vec<String>>,
    /// Devices that nobody runs.
    dummies: Vec<DeviceFacts>,
}

pub fn user(name: &str, server: &str) -> String {
    format!("@{name}:{server}")
}

pub fn algorithm() -> String {
    format!("{}.key_package.{}", dmls_matrix::NAMESPACE, dmls_matrix::SUITE)
}

pub fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

impl World {
    pub fn new(servers: &[&str]) -> Self {
        Self {
            now: 1_700_000_000_000,
            net: Federation::new(servers),
            clients: BTreeMap::new(),
            requests: Vec::new(),
            lists: BTreeMap::new(),
            dummies: Vec::new(),
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// A new device; `name` is what the story calls it.
    pub fn add(&mut self, name: &str, user: &str, endorsement: Endorsement) {
        let device = Device::new(user, name.to_uppercase());
        let mut entropy = Seeded::new(name);
        let mut seed = [0; 32];
        entropy.fill(&mut seed).unwrap();
        let signer = SigningKey::from_bytes(&seed);
        let mut machine = Machine::open(Watched::new(), device.clone()).unwrap();
        let request = machine.credential_request(&mut entropy).unwrap();
        assert_eq!(request, machine.credential_request(&mut entropy).unwrap());
        let ed25519 = signer.verifying_key().to_bytes();
        machine.install_credential(ed25519, signer.sign(&request.payload).to_bytes()).unwrap();
        let client = Client {
            device,
            machine: Some(machine),
            entropy,
            online: true,
            remarks: Vec::new(),
            endorsement,
            mls_key: request.mls_key.0,
            ed25519,
            taken: 0,
            crash_in: None,
            crashed: false,
        };
        self.clients.insert(name.to_owned(), client);
        self.announce(user);
    }

    /// A device with a key package that nobody runs: all that a member of a large room has of most others.
    pub fn add_dummy(&mut self, name: &str, user: &str) {
        let device = Device::new(user, name.to_uppercase());
        let mut entropy = Seeded::new(name);
        let mut seed = [0; 32];
        entropy.fill(&mut seed).unwrap();
        let (signer, mls) = (SigningKey::from_bytes(&seed), MlsKey::generate(&mut entropy).unwrap());
        let (ed25519, mls_key) = (signer.verifying_key().to_bytes(), mls.public());
        let signature = signer.sign(&Credential::payload(&device, &mls_key, 0)).to_bytes();
        let own = OwnDevice::new(mls, device.clone(), ed25519, 0, signature).unwrap();
        let made = KeyPackages::default().generate(&own, 1, false, &mut entropy).unwrap();
        let package = made.persist(&mut MemoryStore::new()).unwrap().remove(0);
        let server = self.net.servers.get_mut(&server_of(user)).unwrap();
        let keys = server.one_time.entry(device.clone()).or_default();
        keys.insert(format!("{}:{name}", algorithm()), STANDARD_NO_PAD.encode(package.bytes));
        let endorsement = Endorsement::Endorsed;
        self.dummies.push(DeviceFacts { device, ed25519, mls_key: Some(mls_key.0), endorsement });
    }

    /// Everybody hears that a user's devices changed; servers that are linked keep a copy of the list.
    pub fn announce(&mut self, user: &str) {
        let devices = self.clients.values().filter(|client| client.device.user == user);
        let names: Vec<_> = devices.map(|client| client.device.device.to_lowercase()).collect();
        let servers: Vec<_> = self.net.servers.keys().cloned().collect();
        for server in servers.into_iter().filter(|server| self.net.linked(&server_of(user), server)) {
            self.lists.insert((server, user.to_owned()), names.clone());
        }
        for client in self.clients.values() {
            let server = self.net.servers.get_mut(&server_of(&client.device.user)).unwrap();
            server.changed.entry(client.device.clone()).or_default().insert(user.to_owned());
        }
    }

    pub fn remove_device(&mut self, name: &str) {
        let client = self.clients.remove(name).unwrap();
        self.announce(&client.device.user);
    }

    /// From now on nobody runs this device.
    pub fn retire(&mut self, name: &str) {
        let Client { device, ed25519, mls_key, endorsement, .. } = self.clients.remove(name).unwrap();
        self.dummies.push(DeviceFacts { device, ed25519, mls_key: Some(mls_key), endorsement });
    }

    pub fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap()
    }

    pub fn device(&self, name: &str) -> Device {
        self.clients[name].device.clone()
    }

    pub fn create(&mut self, name: &str, room: &str) -> RoomId {
        let room = self.create_unheard(name, room);
        let now = self.now();
        let client = self.client(name);
        let machine = client.machine.as_mut().unwrap();
        machine.room_created(&room, now, &mut client.entropy).unwrap();
        room
    }

    /// Makes a room, of which the device does not hear.
    pub fn create_unheard(&mut self, name: &str, room: &str) -> RoomId {
        let device = self.device(name);
        let content = self.client(name).machine.as_ref().unwrap().creation_content();
        self.net.post(&device, room, "m.room.create", Some(""), content, None);
        for event in Machine::<Watched>::initial_state() {
            let (kind, content) = (event["type"].as_str().unwrap().to_owned(), event["content"].clone());
            self.net.post(&device, room, &kind, Some(""), content, None);
        }
        self.member(name, room, &device.user, "join");
        RoomId::from(room)
    }

    pub fn member(&mut self, by: &str, room: &str, user: &str, membership: &str) -> String {
        let device = self.device(by);
        self.net.post(&device, room, "m.room.member", Some(user), json!({ "membership": membership }), None)
    }

    pub fn invite(&mut self, by: &str, room: &RoomId, user: &str) {
        self.member(by, &room.0, user, "invite");
    }

    pub fn join(&mut self, name: &str, room: &RoomId) {
        let user = self.device(name).user;
        self.member(name, &room.0, &user, "join");
    }

    pub fn send(&mut self, name: &str, room: &RoomId, body: &str) -> MessageId {
        let now = self.now();
        let client = self.client(name);
        let machine = client.machine.as_mut().unwrap();
        machine.send(room, "m.room.message", text(body), now, &mut client.entropy).unwrap()
    }

    pub fn update(&mut self, name: &str, room: &RoomId) {
        let now = self.now();
        self.client(name).machine.as_mut().unwrap().update_now(room, now).unwrap();
    }

    /// Drops the machine and reads it back from its journal.
    pub fn reopen(&mut self, name: &str) {
        let client = self.client(name);
        let journal = client.machine.take().unwrap().into_journal();
        client.machine = Some(Machine::open(journal, client.device.clone()).unwrap());
        client.taken = 0;
    }

    fn step(&mut self, name: &str) {
        let client = self.client(name);
        match client.crash_in {
            Some(0) => {
                client.crash_in = None;
                client.crashed = true;
                self.reopen(name);
            }
            Some(left) => client.crash_in = Some(left - 1),
            None => {}
        }
    }

    /// The body of this device's next sync, with its to-device messages.
    pub fn next_sync(&mut self, name: &str) -> SyncInput {
        let client = &self.clients[name];
        let since = client.machine.as_ref().unwrap().sync_position().map_or(0, |since| since[1..].parse().unwrap());
        let (device, home) = (client.device.clone(), server_of(&client.device.user));
        let hidden = self.net.hidden.clone();
        let server = self.net.servers.get_mut(&home).unwrap();
        let hides = |event: &str| hidden.contains(&(home.clone(), event.to_owned()));
        let body = server.sync(&device, since, &algorithm(), &hides);
        let waiting = server.to_device.get(&device).cloned().unwrap_or_default();
        let to_device = waiting.iter().map(|event| self.to_device(event)).collect();
        SyncInput::parse(&body, to_device).unwrap()
    }

    fn to_device(&self, event: &Value) -> ToDeviceEvent {
        let encrypted = event["encrypted"].as_bool().unwrap();
        let sender = event["sender"].as_str().unwrap().to_owned();
        let device = encrypted.then(|| Device::new(sender.clone(), event["device"].as_str().unwrap()));
        ToDeviceEvent {
            sender,
            sender_device: device,
            encrypted,
            event_type: event["type"].as_str().unwrap().to_owned(),
            content: event["content"].clone(),
        }
    }

    pub fn sync(&mut self, name: &str) -> Report {
        let input = self.next_sync(name);
        let count = input.to_device.len();
        let now = self.now();
        let client = self.client(name);
        let machine = client.machine.as_mut().unwrap();
        let report = machine.receive_sync(input, now, &mut client.entropy).unwrap();
        client.remarks.extend(report.remarks.clone());
        let (device, home) = (client.device.clone(), server_of(&client.device.user));
        // The next sync with the new position confirms them.
        if let Some(queue) = self.net.servers.get_mut(&home).unwrap().to_device.get_mut(&device) {
            queue.drain(..count);
        }
        self.step(name);
        report
    }

    /// Carries out requests until there are none; gives how many there were.
    pub fn run(&mut self, name: &str) -> usize {
        let mut count = 0;
        for _ in 0..300 {
            let now = self.now();
            let client = self.client(name);
            let requests = client.machine.as_mut().unwrap().outgoing_requests(now, &mut client.entropy).unwrap();
            self.step(name);
            if requests.is_empty() {
                return count;
            }
            for outgoing in requests {
                count += 1;
                let answer = self.perform(name, &outgoing.request);
                self.step(name);
                let now = self.now();
                let client = self.client(name);
                let machine = client.machine.as_mut().unwrap();
                let report = match answer {
                    Ok(response) => machine.mark_request_as_sent(&outgoing.id, response, now, &mut client.entropy),
                    Err(failure) => machine.mark_request_as_failed(&outgoing.id, failure, now, &mut client.entropy),
                };
                client.remarks.extend(report.unwrap().remarks);
                self.step(name);
            }
        }
        panic!("{name} never comes to rest: {:?}", &self.requests[self.requests.len().saturating_sub(30)..]);
    }

    pub fn perform(&mut self, name: &str, request: &Request) -> Result<Response, Failure> {
        let device = self.device(name);
        let home = server_of(&device.user);
        let away = || Failure::default();
        let refused = |code: &str| Failure { retry_after_ms: None, permanent: Some(code.to_owned()) };
        self.requests.push(format!("{name} {}", describe(request)));
        match request {
            Request::KeyPackagesUpload { one_time, fallback } => {
                let server = self.net.servers.get_mut(&home).unwrap();
                let keys = server.one_time.entry(device.clone()).or_default();
                for (id, value) in one_time {
                    keys.insert(id.clone(), value.as_str().unwrap().to_owned());
                }
                let count = keys.len();
                if let Some((id, value)) = fallback {
                    server.fallback.insert(device, (id.clone(), value.as_str().unwrap().to_owned(), false));
                }
                Ok(Response::Json(json!({ "one_time_key_counts": { algorithm(): count } })))
            }
            Request::KeysQuery { users } => {
                for user in users {
                    self.tell_facts(name, user, &home);
                }
                Ok(Response::Done)
            }
            Request::KeysClaim { algorithm: wanted, devices, .. } => {
                assert_eq!(*wanted, algorithm());
                let mut keys = json!({});
                for target in devices {
                    if let Some((id, value)) = self.net.claim(&device, target) {
                        keys[&target.user][&target.device][&id] = json!(value);
                    }
                }
                Ok(Response::Json(json!({ "one_time_keys": keys, "failures": {} })))
            }
            Request::ToDevice { event_type, messages, encrypt, .. } => {
                for (to, content) in messages {
                    assert!(content.to_string().len() < 65_536);
                    let event = json!({
                        "sender": device.user, "device": device.device, "type": event_type,
                        "content": content, "encrypted": encrypt,
                    });
                    self.net.send_to_device(&device, to, event);
                }
                Ok(Response::Done)
            }
            Request::RoomEvent { room, event_type, txn_id, content } => {
                assert!(content.to_string().len() < 65_000);
                if !self.net.is_joined(&home, &room.0, &device.user) || self.net.muted.contains(&device.user) {
                    return Err(refused("M_FORBIDDEN"));
                }
                let event_id = self.net.post(&device, &room.0, event_type, None, content.clone(), Some(txn_id));
                Ok(Response::Json(json!({ "event_id": event_id })))
            }
            Request::FetchEvent { room, event_id } => {
                let event = self.net.servers[&home].event(&room.0, event_id);
                event.map(Response::Json).ok_or_else(|| refused("M_NOT_FOUND"))
            }
            Request::Messages { room, from, limit } => {
                Ok(Response::Json(self.net.servers[&home].page(&room.0, from.as_deref(), usize::from(*limit))))
            }
            Request::Members { room } => {
                Ok(Response::Json(json!({ "chunk": self.net.servers[&home].members(&room.0) })))
            }
            Request::RoomState { room } => Ok(Response::Json(json!(self.net.servers[&home].room_state(&room.0)))),
            Request::Upload { bytes, .. } => {
                let mxc = format!("mxc://{home}/{}", self.net.media.len());
                self.net.media.insert(mxc.clone(), (home, bytes.clone()));
                Ok(Response::Json(json!({ "content_uri": mxc })))
            }
            Request::Download { mxc, .. } => match self.net.media.get(mxc) {
                Some((server, bytes)) if self.net.linked(&home, server) => Ok(Response::Media(bytes.clone())),
                Some(_) => Err(away()),
                None => Err(refused("M_NOT_FOUND")),
            },
            _ => panic!("no story asks for this"),
        }
    }

    /// As Synapse: remote lists are answered from a copy; without one the other server must be there.
    fn tell_facts(&mut self, name: &str, user: &str, server: &str) {
        let Some(listed) = self.lists.get(&(server.to_owned(), user.to_owned())) else { return };
        let devices = listed.iter().filter_map(|name| self.clients.get(name));
        let devices = devices.map(|client| DeviceFacts {
            device: client.device.clone(),
            ed25519: client.ed25519,
            mls_key: Some(client.mls_key),
            endorsement: client.endorsement,
        });
        let dummies = self.dummies.iter().filter(|facts| facts.device.user == user).cloned();
        let facts = UserDevices { user: user.to_owned(), devices: devices.chain(dummies).collect() };
        let now = self.now();
        let client = self.client(name);
        client.machine.as_mut().unwrap().receive_device_facts(facts, now, &mut client.entropy).unwrap();
    }

    /// One device comes online, takes in what is there and does what is due within five seconds.
    pub fn visit(&mut self, name: &str) {
        for _ in 0..400 {
            self.sync(name);
            self.run(name);
            let now = self.now();
            let machine = self.client(name).machine.as_mut().unwrap();
            if machine.idle(now, 5_000) {
                return;
            }
            let wake = machine.next_wake(now).unwrap();
            self.now = wake.0.max(self.now + 1);
        }
        panic!("{name} is never idle: {:?}", &self.requests[self.requests.len().saturating_sub(30)..]);
    }

    /// All devices that are online sync until nothing happens any more.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..200 {
            let names: Vec<_> = self.clients.iter().filter(|(_, c)| c.online).map(|(name, _)| name.clone()).collect();
            let mut busy = false;
            for name in &names {
                let before = self.net.servers.values().map(|server| server.stream.len()).sum::<usize>();
                self.sync(name);
                let sent = self.run(name);
                let after = self.net.servers.values().map(|server| server.stream.len()).sum::<usize>();
                busy |= sent > 0 || before != after;
            }
            self.now += 500;
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet >= 12 {
                return;
            }
        }
        panic!("the world never settles: {:?}", &self.requests[self.requests.len().saturating_sub(30)..]);
    }

    pub fn messages(&mut self, name: &str, room: &RoomId) -> Vec<MessageRow> {
        self.client(name).machine.as_mut().unwrap().messages(room).unwrap()
    }

    /// Bodies of readable messages, codes of the others.
    pub fn transcript(&mut self, name: &str, room: &RoomId) -> Vec<String> {
        let rows = self.messages(name, room);
        rows.iter()
            .map(|row| {
                row.utd.as_ref().map_or_else(|| row.body().unwrap().to_owned(), |utd| utd.code.code().to_owned())
            })
            .collect()
    }

    pub fn head(&mut self, name: &str, room: &RoomId) -> Option<dmls::id::EpochId> {
        let rows = self.client(name).machine.as_mut().unwrap().rooms().unwrap();
        rows.into_iter().find(|row| row.room == *room).and_then(|row| row.canonical)
    }

    /// The devices in the canonical head, by name.
    pub fn leaves(&mut self, name: &str, room: &RoomId) -> Vec<String> {
        let rows = self.client(name).machine.as_mut().unwrap().members(room).unwrap();
        rows.into_iter().filter(|row| row.in_head).map(|row| row.device.device.to_lowercase()).collect()
    }

    pub fn codes(&self, name: &str) -> Vec<String> {
        self.clients[name].remarks.iter().map(|remark| remark.code.clone()).collect()
    }

    /// All these devices share one canonical epoch with exactly these members.
    pub fn assert_together(&mut self, room: &RoomId, names: &[&str]) {
        let heads: Vec<_> = names.iter().map(|name| self.head(name, room)).collect();
        assert!(heads[0].is_some(), "{} is in no epoch", names[0]);
        for (name, head) in names.iter().zip(&heads) {
            assert_eq!(*head, heads[0], "{name} is elsewhere than {}", names[0]);
        }
        let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaves = self.leaves(names[0], room);
        expected.sort();
        leaves.sort();
        assert_eq!(leaves, expected);
    }
}

fn describe(request: &Request) -> String {
    match request {
        Request::KeyPackagesUpload { one_time, .. } => format!("upload {} keys", one_time.len()),
        Request::KeysQuery { users } => format!("query {users:?}"),
        Request::KeysClaim { devices, .. } => format!("claim {devices:?}"),
        Request::ToDevice { event_type, messages, .. } => format!("to-device {event_type} {}", messages.len()),
        Request::RoomEvent { txn_id, content, .. } => {
            format!("event {txn_id} {}", if content.get("group_info").is_some() { "commit" } else { "message" })
        }
        Request::FetchEvent { event_id, .. } => format!("fetch {event_id}"),
        Request::Messages { from, .. } => format!("messages {from:?}"),
        Request::Members { .. } => "members".to_owned(),
        Request::Upload { bytes, .. } => format!("upload {} bytes", bytes.len()),
        Request::Download { mxc, .. } => format!("download {mxc}"),
        _ => "other".to_owned(),
    }
}
