//! The oracle finds nothing wrong in honest runs, and finds each fault that is planted in a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;
use dmls_sim::oracle::{Fault, judge};
use dmls_sim::trace::{Fact, Name, ServerName, Trace};
use dmls_sim::world::{Crypto, Options, World};

/// A split in which both sides change the group, with Dan's store stolen before it and Dan's update within it.
struct Played {
    world: World,
    room: RoomId,
}

fn server(name: &str) -> ServerName {
    ServerName::from(name)
}

impl Played {
    fn begin() -> Self {
        let servers = vec![server("hs1"), server("hs2")];
        let options = Options { seed: 7, servers, crypto: Crypto::Real, soft_failed_by_id: false };
        let mut played = Self { world: World::new(options), room: RoomId::from("!tea") };
        for user in ["@alice:hs1", "@bob:hs1", "@carol:hs2", "@dan:hs2", "@erin:hs1"] {
            let name = name_of(user);
            played.world.add(&name, user, Endorsement::Endorsed).unwrap();
        }
        played.rest();
        let alice = Name::from("alice");
        let _ = played.world.create(&alice, &played.room).unwrap();
        for user in ["@bob:hs1", "@carol:hs2", "@dan:hs2"] {
            played.bring("alice", user);
        }
        played
    }

    fn rest(&mut self) {
        self.world.settle(10_000, 3_600_000).unwrap();
    }

    fn bring(&mut self, by: &str, user: &str) {
        let _ = self.world.invite(&Name::from(by), &self.room, user).unwrap();
        self.rest();
        let _ = self.world.join(&name_of(user), &self.room).unwrap();
        self.rest();
    }

    fn say(&mut self, name: &str, body: &str) {
        self.world.say(&Name::from(name), &self.room, body).unwrap();
        self.rest();
    }

    fn split(mut self) -> Trace {
        self.say("alice", "before");
        self.world.steal(&Name::from("dan")).unwrap();
        self.world.net.cut(&server("hs1"), &server("hs2"));
        self.bring("alice", "@erin:hs1");
        let _ = self.world.leave(&Name::from("alice"), &self.room).unwrap();
        self.rest();
        self.say("bob", "without alice");
        self.say("carol", "followed by the thief");
        self.world.rekey(&Name::from("dan"), &self.room).unwrap();
        self.rest();
        self.say("dan", "with a new key");
        self.world.net.heal(&server("hs1"), &server("hs2"));
        self.rest();
        self.say("carol", "together");
        self.say("erin", "again");
        self.world.finish().unwrap()
    }
}

fn name_of(user: &str) -> Name {
    Name(user[1..user.find(':').unwrap()].to_owned())
}

/// The event of the message with this text, by its sender's own rows.
fn event_of(trace: &Trace, body: &str) -> String {
    let views = trace.ends.values().flat_map(|end| end.views.values());
    views.flat_map(|view| &view.messages).find(|row| row.body() == Some(body)).unwrap().event_id.clone().unwrap()
}

#[test]
fn an_honest_split_passes_and_the_thief_is_healed_away() {
    let trace = Played::begin().split();
    assert_eq!(judge(&trace), []);
    // The thief does follow until Dan changes his key: a theft that opens nothing would show nothing.
    let opened = &trace.thefts[0].opened;
    assert!(opened.contains(&event_of(&trace, "followed by the thief")));
    assert!(!opened.contains(&event_of(&trace, "with a new key")));
    assert!(!opened.contains(&event_of(&trace, "together")));
}

#[test]
fn every_planted_fault_is_found() {
    let honest = Played::begin().split();
    let faults = |bend: &dyn Fn(&mut Trace)| {
        let mut trace = honest.clone();
        bend(&mut trace);
        judge(&trace).into_iter().map(|finding| finding.fault).collect::<Vec<_>>()
    };
    let carol = Name::from("carol");
    let room = RoomId::from("!tea");
    let last = event_of(&honest, "again");
    let rows = |trace: &mut Trace, bend: &dyn Fn(&mut Vec<dmls_matrix::view::MessageRow>)| {
        bend(&mut trace.ends.get_mut(&carol).unwrap().views.get_mut(&room).unwrap().messages);
    };

    let lost = faults(&|trace| rows(trace, &|rows| rows.retain(|row| row.event_id.as_ref() != Some(&last))));
    assert!(lost.contains(&Fault::Lost), "{lost:?}");

    let twice = faults(&|trace| {
        rows(trace, &|rows| {
            let mut copy = rows.iter().find(|row| row.event_id.as_ref() == Some(&last)).unwrap().clone();
            copy.event_id = Some("$copy".into());
            rows.push(copy);
        });
    });
    assert!(twice.contains(&Fault::Twice), "{twice:?}");

    let outsider = faults(&|trace| {
        let row = trace.ends[&carol].views[&room].messages.iter().find(|row| row.event_id.as_ref() == Some(&last));
        let row = row.unwrap().clone();
        trace.ends.get_mut(&Name::from("alice")).unwrap().views.get_mut(&room).unwrap().messages.push(row);
    });
    assert!(outsider.contains(&Fault::Outsider), "{outsider:?}");

    let diverged = faults(&|trace| {
        let rooms = &mut trace.ends.get_mut(&carol).unwrap().rooms;
        rooms.iter_mut().for_each(|row| row.canonical = None);
    });
    assert!(diverged.contains(&Fault::Diverged), "{diverged:?}");

    // Bob had been shown that Alice left; had Carol been shown that Dan left, her message to him would be a fault.
    let gate = faults(&|trace| {
        for entry in &mut trace.entries {
            if let Fact::Desired { name, devices, .. } = &mut entry.fact
                && *name == carol
            {
                devices.retain(|device, _| device.user != "@dan:hs2");
            }
        }
    });
    assert!(gate.contains(&Fault::Gate), "{gate:?}");

    let leaked = faults(&|trace| {
        trace.thefts[0].opened.insert(last.clone());
    });
    assert!(leaked.contains(&Fault::Leaked), "{leaked:?}");

    let roster = faults(&|trace| {
        let view = trace.ends.get_mut(&carol).unwrap().views.get_mut(&room).unwrap();
        view.readers.values_mut().for_each(|readers| drop(readers.pop()));
    });
    assert!(roster.contains(&Fault::FalseRoster), "{roster:?}");
}
