//! The oracle finds nothing wrong in honest runs, and finds each fault that is planted in a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls::journal::{Journal as _, Records as _, Table, Write};
use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;
use dmls_sim::oracle::{Fault, scrutinise};
use dmls_sim::trace::{Entry, Fact, Kind, Name, Seal, ServerName, Trace};
use dmls_sim::world::{Crypto, Options, World};
use sha2::{Digest as _, Sha256};

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
    assert_eq!(scrutinise(&trace), []);
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
        scrutinise(&trace).into_iter().map(|finding| finding.fault).collect::<Vec<_>>()
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

/// The sealed content of a posted message, by its hash.
fn ciphertext_of(content: &serde_json::Value) -> [u8; 32] {
    let bytes = STANDARD_NO_PAD.decode(content["ciphertext"].as_str().unwrap()).unwrap();
    // It comes last, with its length in two bytes before it.
    let start = (0..bytes.len() - 1).find(|at| {
        let length = usize::from(bytes[*at] & 0x3f) << 8 | usize::from(bytes[at + 1]);
        bytes[*at] >> 6 == 1 && at + 2 + length == bytes.len()
    });
    Sha256::digest(&bytes[start.unwrap() + 2..]).into()
}

fn plant(honest: &Trace, bend: &dyn Fn(&mut Trace)) -> Vec<Fault> {
    let mut trace = honest.clone();
    bend(&mut trace);
    scrutinise(&trace).into_iter().map(|finding| finding.fault).collect()
}

fn add(trace: &mut Trace, fact: Fact) {
    let last = trace.entries.last().unwrap().clone();
    trace.entries.push(Entry { fact, ..last });
}

#[test]
fn a_key_that_is_used_again_is_found() {
    let honest = Played::begin().split();
    let said: Vec<_> = honest
        .facts()
        .filter_map(|(_, fact)| match fact {
            Fact::Posted { name, kind: Kind::Message, content, .. } => Some((name.clone(), content.clone())),
            _ => None,
        })
        .collect();
    let seal = |key: u8, pair: u8, ciphertext| Seal { key: [key; 32], pair: [pair; 32], ciphertext };
    let sealed = |trace: &mut Trace, seals: [Seal; 2]| {
        for seal in seals {
            add(trace, Fact::Sealed { name: Name::from("bob"), seals: vec![seal] });
        }
    };
    let once = plant(&honest, &|trace| sealed(trace, [seal(1, 1, [1; 32]), seal(1, 2, [2; 32])]));
    assert_eq!(once, [], "a key may seal with two nonces what does not leave");

    let pair = plant(&honest, &|trace| sealed(trace, [seal(1, 1, [1; 32]), seal(1, 1, [2; 32])]));
    assert_eq!(pair, [Fault::Reused]);

    let left = [ciphertext_of(&said[0].1), ciphertext_of(&said[1].1)];
    let message_key = plant(&honest, &|trace| sealed(trace, [seal(1, 1, left[0]), seal(1, 2, left[1])]));
    assert_eq!(message_key, [Fault::Reused]);

    let count = plant(&honest, &|trace| {
        let posted = |entry: &&Entry| matches!(&entry.fact, Fact::Posted { kind: Kind::Message, .. });
        let mut copy = trace.entries.iter().find(posted).unwrap().fact.clone();
        if let Fact::Posted { event_id, content, .. } = &mut copy {
            let mut bytes = STANDARD_NO_PAD.decode(content["ciphertext"].as_str().unwrap()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            (*event_id, content["ciphertext"]) = ("$again".to_owned(), STANDARD_NO_PAD.encode(bytes).into());
        }
        add(trace, copy);
    });
    assert!(count.contains(&Fault::Reused), "{count:?}");
}

#[test]
fn what_a_store_does_not_give_back_is_found() {
    let mut played = Played::begin();
    played.say("alice", "before");
    let carol = Name::from("carol");
    let machine = played.world.client(&carol).unwrap().machine.as_mut().unwrap();
    let (key, _) = machine.journal().scan(Table("dmls.epoch"), b"").unwrap().remove(0);
    machine.journal_mut().commit(&[Write::delete(Table("dmls.epoch"), key)]).unwrap();
    let found: Vec<_> = scrutinise(&played.world.finish().unwrap()).into_iter().collect();
    assert!(found.iter().all(|finding| finding.name == carol && finding.fault == Fault::Unstored), "{found:?}");
    assert_eq!(found.len(), 1);
}

#[test]
fn an_epoch_that_exports_two_values_is_found() {
    let honest = Played::begin().split();
    let diverged = plant(&honest, &|trace| {
        for (name, end) in &mut trace.ends {
            let Some(head) = end.rooms.first().and_then(|row| row.canonical) else { continue };
            let export = [u8::from(*name == Name::from("carol")); 32];
            for view in end.views.values_mut() {
                view.exports.insert(head, export);
            }
        }
    });
    assert!(diverged.contains(&Fault::Diverged), "{diverged:?}");
}
