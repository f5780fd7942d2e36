//! What servers do for clients: device lists, keys, to-device messages, media, syncs.

use std::collections::BTreeSet;

use dmls::id::{Device, Timestamp};
use dmls_matrix::RoomId;
use dmls_matrix::facts::DeviceFacts;
use serde_json::{Value, json};

use super::devices::Listed;
use super::link::Parcel;
use super::state;
use super::sync::{Since, Synced};
use super::{Net, Refusal, server_of};
use crate::trace::{Fact, ServerName};

/// Bytes of a to-device message.
const LETTER_LIMIT: usize = 65_536;
/// What every device list is sent to: servers that share a room, and the user's own.
const AWAY: Refusal = Refusal("M_UNREACHABLE");

impl Net {
    /// A user's own server lists these devices from now on, and tells the servers that share a room.
    pub(crate) fn list(&mut self, user: &str, devices: Vec<DeviceFacts>, now: Timestamp) {
        let home = server_of(user);
        let version = self
            .servers
            .get(&home)
            .and_then(|server| server.devices.lists.get(user))
            .map_or(0, |listed| listed.version);
        let listed = Listed { version: version + 1, devices };
        self.take_list(&home, user, listed.clone(), true);
        let others: Vec<_> = self.servers.keys().filter(|name| **name != home).cloned().collect();
        for other in others {
            self.send(&home, &other, Parcel::List(user.to_owned(), listed.clone()), now);
        }
    }

    /// A server hears of a device list; it keeps a copy only if it asked for one before.
    pub(super) fn take_list(&mut self, at: &ServerName, user: &str, listed: Listed, own: bool) {
        if !own && self.keeps_list(at, user, &listed) {
            return;
        }
        let Some(server) = self.servers.get_mut(at) else { return };
        let known = server.devices.lists.get(user);
        if known.is_some_and(|known| known.version >= listed.version) {
            return;
        }
        if own || known.is_some() {
            server.devices.lists.insert(user.to_owned(), listed);
        }
        server.stream += 1;
        server.devices.changes.push((server.stream, user.to_owned()));
    }

    /// The devices of a user, as Synapse answers a query: from a copy, or from the user's server, or not at all.
    pub(crate) fn query(&mut self, home: &ServerName, user: &str) -> Option<Vec<DeviceFacts>> {
        let ghost = self.ghost(home, user);
        self.listed(home, user).map(|devices| devices.into_iter().chain(ghost).collect())
    }

    fn listed(&mut self, home: &ServerName, user: &str) -> Option<Vec<DeviceFacts>> {
        let theirs = server_of(user);
        let listed = |net: &Self, server: &ServerName| net.servers.get(server)?.devices.lists.get(user).cloned();
        if let Some(listed) = listed(self, home) {
            return Some(listed.devices);
        }
        let remote = listed(self, &theirs).filter(|_| self.linked(home, &theirs))?;
        let server = self.servers.get_mut(home)?;
        server.devices.lists.insert(user.to_owned(), remote.clone());
        Some(remote.devices)
    }

    /// Takes in an upload of keys; gives how many one-time keys there are.
    pub(crate) fn upload_keys(
        &mut self,
        device: &Device,
        one_time: &[(String, Value)],
        fallback: Option<&(String, Value)>,
    ) -> usize {
        let Some(server) = self.servers.get_mut(&server_of(&device.user)) else { return 0 };
        server.devices.keys.entry(device.clone()).or_default().upload(one_time, fallback)
    }

    /// Claims one key of a device; `None` when its server is away or has nothing.
    pub(crate) fn claim(&mut self, home: &ServerName, device: &Device) -> Option<(String, Value)> {
        let theirs = server_of(&device.user);
        if !self.linked(home, &theirs) {
            return None;
        }
        let server = self.servers.get_mut(&theirs)?;
        // The next sync tells the device how many are left.
        server.stream += 1;
        server.devices.keys.get_mut(device)?.claim()
    }

    /// Somebody claimed all one-time keys of a device.
    pub(crate) fn exhaust(&mut self, device: &Device) {
        let Some(server) = self.servers.get_mut(&server_of(&device.user)) else { return };
        server.stream += 1;
        if let Some(keys) = server.devices.keys.get_mut(device) {
            keys.exhaust();
        }
    }

    /// Sends a to-device event.
    pub(crate) fn write_to(
        &mut self,
        from: &ServerName,
        to: &Device,
        event: Value,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if event.get("content").is_some_and(|content| content.to_string().len() > LETTER_LIMIT) {
            return Err(Refusal("M_TOO_LARGE"));
        }
        let commit_event = event["content"]["commit_event"].as_str().unwrap_or_default().to_owned();
        let sent = self.send(from, &server_of(&to.user), Parcel::ToDevice(to.clone(), event), now);
        if !commit_event.is_empty() {
            let to = to.clone();
            let welcome =
                if sent { Fact::WelcomeSent { to, commit_event } } else { Fact::WelcomeLost { to, commit_event } };
            self.facts.push(welcome);
        }
        Ok(())
    }

    pub(super) fn put_letter(&mut self, at: &ServerName, device: &Device, event: Value) {
        if let Some(server) = self.servers.get_mut(at) {
            server.devices.letters.entry(device.clone()).or_default().put(event);
        }
    }

    /// What lies at an address, whoever asks.
    pub fn medium(&self, mxc: &str) -> Option<&[u8]> {
        self.media.get(mxc).map(|(_, bytes)| bytes.as_slice())
    }

    /// Takes in media; gives its address.
    pub(crate) fn upload(&mut self, home: &ServerName, bytes: &[u8]) -> String {
        let mxc = format!("mxc://{home}/m{}", self.media.len());
        self.media.insert(mxc.clone(), (home.clone(), bytes.to_vec()));
        mxc
    }

    /// Media, from the server itself, its copy, or the server that has it.
    pub(crate) fn download(&mut self, home: &ServerName, mxc: &str) -> Result<Vec<u8>, Refusal> {
        let (origin, bytes) = self.media.get(mxc).ok_or(Refusal("M_NOT_FOUND"))?;
        let copy = (home.clone(), mxc.to_owned());
        if !self.linked(home, origin) && !self.media_copies.contains(&copy) {
            return Err(AWAY);
        }
        self.media_copies.insert(copy);
        Ok(bytes.clone())
    }

    /// The event that a device's transaction has made already.
    pub(crate) fn transaction(&self, device: &Device, txn: &str) -> Option<String> {
        self.transactions.get(&(device.clone(), txn.to_owned())).cloned()
    }

    pub(crate) fn keep_transaction(&mut self, device: &Device, txn: &str, event_id: &str) {
        self.transactions.insert((device.clone(), txn.to_owned()), event_id.to_owned());
    }

    pub(crate) fn has_news(&self, device: &Device, since: Since) -> bool {
        self.servers.get(&server_of(&device.user)).is_some_and(|server| server.has_news(device, since))
    }

    pub(crate) fn sync(&mut self, device: &Device, since: Since) -> Option<Synced> {
        let server = self.servers.get_mut(&server_of(&device.user))?;
        Some(server.sync(&self.arena, device, since))
    }

    pub(crate) fn event(&self, home: &ServerName, user: &str, room: &RoomId, id: &str) -> Option<Value> {
        self.servers.get(home)?.event(&self.arena, user, room, id, self.soft_failed_by_id)
    }

    /// A page backwards; the server first gets what it lacks.
    pub(crate) fn page(
        &mut self,
        home: &ServerName,
        user: &str,
        room: &RoomId,
        from: Option<&str>,
        limit: usize,
    ) -> Option<Value> {
        self.backfill(home, room);
        self.servers.get(home)?.page(&self.arena, user, room, from, limit)
    }

    pub(crate) fn members(&self, home: &ServerName, room: &RoomId) -> Value {
        let members = self.servers.get(home).map(|server| server.members(&self.arena, room));
        json!({ "chunk": members.unwrap_or_default() })
    }

    pub(crate) fn state(&self, home: &ServerName, room: &RoomId) -> Value {
        json!(self.servers.get(home).map(|server| server.state(&self.arena, room)).unwrap_or_default())
    }

    /// A user's membership as a server has it now.
    pub fn membership(&self, server: &ServerName, room: &RoomId, user: &str) -> &str {
        let at = self.servers.get(server).and_then(|server| server.rooms.get(room));
        at.map_or("leave", |at| state::membership(&self.arena, &at.current, user))
    }

    /// The joined users, and those whose membership ended, as a server has it now.
    pub fn memberships(&self, server: &ServerName, room: &RoomId) -> (BTreeSet<String>, BTreeSet<String>) {
        let Some(at) = self.servers.get(server).and_then(|server| server.rooms.get(room)) else {
            return Default::default();
        };
        let joined: BTreeSet<String> = state::joined(&self.arena, &at.current).map(str::to_owned).collect();
        let ever = at.deltas.iter().filter(|delta| delta.key.0 == super::MEMBER).map(|delta| delta.key.1.clone());
        let left =
            ever.filter(|user| matches!(state::membership(&self.arena, &at.current, user), "leave" | "ban")).collect();
        (joined, left)
    }

    /// A user's power as a server has it now.
    pub fn power(&self, server: &ServerName, room: &RoomId, user: &str) -> i64 {
        let at = self.servers.get(server).and_then(|server| server.rooms.get(room));
        at.map_or(0, |at| state::power(&self.arena, &at.current, user))
    }

    /// Content of the current state event of a type.
    pub(crate) fn current(&self, server: &ServerName, room: &RoomId, event_type: &str) -> Option<Value> {
        let at = self.servers.get(server)?.rooms.get(room)?;
        let number = at.current.get(&(event_type.to_owned(), String::new()))?;
        Some(self.arena[number.0].content.clone())
    }
}
