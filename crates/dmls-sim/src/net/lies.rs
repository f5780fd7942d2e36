//! Servers that lie: to their own clients, or to the other servers.

use std::collections::BTreeSet;

use dmls::id::{Device, Timestamp};
use dmls_matrix::facts::{DeviceFacts, Endorsement};

use super::devices::Listed;
use super::event::MEMBER;
use super::link::Parcel;
use super::numbers::EventNo;
use super::{Net, server_of, state};
use crate::script::Lie;
use crate::trace::{Fact, ServerName};

/// What a server lies about, and what it keeps back meanwhile.
#[derive(Default)]
pub(crate) struct Lies {
    told: BTreeSet<Lie>,
    hidden: Vec<EventNo>,
    muted: Vec<(ServerName, EventNo)>,
    lists: Vec<(String, Listed)>,
}

impl Net {
    /// A server lies from now on.
    pub(crate) fn lie(&mut self, name: &ServerName, lie: &Lie) {
        match lie {
            Lie::Reset(user) => return self.reset_state(name, user),
            Lie::Ghost(user) => self.list_changed(name, user),
            Lie::Hide(_) | Lie::Mute(_) | Lie::Lists => {}
        }
        if let Some(server) = self.servers.get_mut(name) {
            server.lies.told.insert(lie.clone());
        }
    }

    /// A server tells all that it kept back, the newest first, and the truth from now on.
    pub(crate) fn truth(&mut self, name: &ServerName, now: Timestamp) {
        let Some(server) = self.servers.get_mut(name) else { return };
        let Lies { told, hidden, muted, lists } = std::mem::take(&mut server.lies);
        for number in hidden.into_iter().rev() {
            self.take(name, number);
        }
        for (to, number) in muted.into_iter().rev() {
            self.send(name, &to, Parcel::Event(number), now);
        }
        for (user, listed) in lists {
            self.take_list(name, &user, listed, false);
        }
        for lie in told {
            if let Lie::Ghost(user) = lie {
                self.list_changed(name, &user);
            }
        }
        self.restore_state(name);
    }

    /// Whether a server keeps an event from its clients; it does not forget it.
    pub(super) fn hides(&mut self, at: &ServerName, number: EventNo) -> bool {
        let sender = Lie::Hide(self.arena[number.0].sender.clone());
        let Some(server) = self.servers.get_mut(at).filter(|server| server.lies.told.contains(&sender)) else {
            return false;
        };
        if !server.lies.hidden.contains(&number) {
            server.lies.hidden.push(number);
        }
        true
    }

    /// Whether a server does not let an event of its own user out.
    pub(super) fn mutes(&mut self, from: &ServerName, to: &ServerName, number: EventNo) -> bool {
        let sender = Lie::Mute(self.arena[number.0].sender.clone());
        let Some(server) = self.servers.get_mut(from).filter(|server| server.lies.told.contains(&sender)) else {
            return false;
        };
        server.lies.muted.push((to.clone(), number));
        true
    }

    /// Events of which nobody but their own servers has heard.
    pub(super) fn muted(&self) -> BTreeSet<EventNo> {
        self.servers.values().flat_map(|server| server.lies.muted.iter().map(|(_, number)| *number)).collect()
    }

    /// Whether a server keeps a change of a device list from its clients.
    pub(super) fn keeps_list(&mut self, at: &ServerName, user: &str, listed: &Listed) -> bool {
        let Some(server) = self.servers.get_mut(at).filter(|server| server.lies.told.contains(&Lie::Lists)) else {
            return false;
        };
        server.lies.lists.push((user.to_owned(), listed.clone()));
        true
    }

    /// A device that a server invents for a user.
    pub(super) fn ghost(&self, home: &ServerName, user: &str) -> Option<DeviceFacts> {
        let told = &self.servers.get(home)?.lies.told;
        told.contains(&Lie::Ghost(user.to_owned())).then(|| DeviceFacts {
            device: Device::new(user, "GHOST"),
            ed25519: [7; 32],
            mls_key: Some([9; 32]),
            endorsement: Endorsement::NotCrossSigned,
        })
    }

    fn list_changed(&mut self, name: &ServerName, user: &str) {
        if let Some(server) = self.servers.get_mut(name) {
            server.stream += 1;
            server.devices.changes.push((server.stream, user.to_owned()));
        }
    }

    /// The membership of a user who is out is again the newest join that there was.
    fn reset_state(&mut self, name: &ServerName, user: &str) {
        self.change_state(name, |arena, room| {
            let key = (MEMBER.to_owned(), user.to_owned());
            let joins = room.deltas.iter().filter(|delta| delta.key == key).filter_map(|delta| delta.event);
            let joined = joins.rev().find(|event| arena[event.0].membership() == Some("join"));
            let mut state = room.current.clone();
            state.extend(joined.map(|event| (key, event)));
            state
        });
    }

    /// The state is what follows from the events.
    fn restore_state(&mut self, name: &ServerName) {
        self.change_state(name, |arena, room| state::resolve(arena, &room.known));
    }

    fn change_state(
        &mut self,
        name: &ServerName,
        change: impl Fn(&[super::Event], &super::room::RoomAt) -> state::State,
    ) {
        let Some(server) = self.servers.get_mut(name) else { return };
        for (id, room) in &mut server.rooms {
            let state = change(&self.arena, room);
            if state == room.current {
                continue;
            }
            for key in room.change_untold(state) {
                if key.0 == MEMBER {
                    self.facts.push(Fact::Membership {
                        server: name.clone(),
                        room: id.clone(),
                        membership: state::membership(&self.arena, &room.current, &key.1).to_owned(),
                        event_id: room.current.get(&key).map(|number| self.arena[number.0].id.clone()),
                        user: key.1,
                    });
                }
            }
        }
    }

    /// The device's key packages at its server are no longer its own.
    pub(crate) fn forget_keys(&mut self, device: &Device) {
        if let Some(server) = self.servers.get_mut(&server_of(&device.user)) {
            server.devices.keys.remove(device);
        }
    }
}
