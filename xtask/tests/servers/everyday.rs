//! What people do every day (each command is a process of its own, so that every client restarts all the time).

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use xtask::story::{Device, Error, Member, Person};

use crate::company::{HS1, HS2, people, room, tell};
use crate::{Outcome, Stage, Test};

pub const TESTS: &[Test] = &[
    ("everyday::people_come_speak_and_go", people_come_speak_and_go),
    ("everyday::a_second_device_is_approved", a_second_device_is_approved),
    ("everyday::a_plain_device_is_never_added", a_plain_device_is_never_added),
    ("everyday::one_joins_while_all_are_offline", one_joins_while_all_are_offline),
    ("everyday::kills_lose_nothing", kills_lose_nothing),
];

/// Create, invite across servers, join, messages both ways, rekey, kick, leave.
fn people_come_speak_and_go(stage: &Stage) -> Outcome {
    let [alice, bob, carol] = people(stage, [("alice-day", HS1), ("bob-day", HS1), ("carol-day", HS2)])?;
    let room = room(&alice, HS1, &[&bob, &carol])?;
    tell(&room, &alice, "hello", &[&bob, &carol])?;
    tell(&room, &carol, "hello from afar", &[&alice, &bob])?;
    tell(&room, &bob, "héllo — 你好 😀", &[&alice, &carol])?;

    let before = carol.canonical(&room)?;
    carol.run(&["update", &room])?;
    assert_ne!(carol.canonical(&room)?, before, "an update makes an epoch");
    let rekeyed = carol.send(&room, "rekeyed")?;
    assert_eq!(Some(&rekeyed.epoch_id), carol.canonical(&room)?.as_ref());
    alice.sync_until_reads(&room, &rekeyed.event_id)?;
    bob.sync_until_reads(&room, &rekeyed.event_id)?;
    tell(&room, &alice, "in the new epoch", &[&bob, &carol])?;

    alice.run(&["room", "kick", &room, carol.user()])?;
    let kicked = tell(&room, &alice, "without carol", &[&bob])?;
    assert_eq!(readers(&alice, &room, &kicked)?, devices(&[&alice, &bob]));
    carol.sync()?;
    assert!(!carol.reads(&room, &kicked)?);
    let refused = carol.attempt(&["send", &room, "let me back in"])?;
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(!refused.stderr.is_empty(), "{refused}");
    assert!(carol.messages(&room)?.iter().any(|message| message.body.as_deref() == Some("rekeyed")));

    bob.run(&["room", "leave", &room])?;
    let left = alice.send(&room, "alone")?;
    assert_eq!(readers(&alice, &room, &left.event_id)?, devices(&[&alice]));
    bob.sync()?;
    assert!(!bob.reads(&room, &left.event_id)?);
    Ok(())
}

/// A second device is listed, reads nothing until it is approved, reads from then on, and is gone when it logs out.
fn a_second_device_is_approved(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-two", HS1), ("bob-two", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    let phone = bob.another_device("bob-two-phone")?;
    let listed = wait_for_member(&alice, &room, phone.device())?;
    assert!(listed.in_room && !listed.in_head && !listed.endorsed, "{listed:?}");
    assert!(!listed.reason.unwrap_or_default().is_empty(), "its reason is told");

    let early = tell(&room, &alice, "before the approval", &[&bob])?;
    assert_eq!(readers(&alice, &room, &early)?, devices(&[&alice, &bob]));
    phone.sync()?;
    assert!(!phone.reads(&room, &early)?);

    let fingerprint = own_fingerprint(&phone)?;
    let approve =
        |fingerprint: &str| bob.attempt(&["devices", "approve", &phone.device().device, "--fingerprint", fingerprint]);
    let wrong: String = own_fingerprint(&bob)?;
    approve(&wrong)?.with_code(6)?;
    approve(&fingerprint)?.with_code(0)?;
    alice.sync_until_in_head(&room, phone.device())?;
    phone.sync_until_in_head(&room, phone.device())?;
    let late = tell(&room, &alice, "after the approval", &[&bob, &phone])?;
    assert_eq!(readers(&alice, &room, &late)?, devices(&[&alice, &bob, &phone]));
    tell(&room, &phone, "from the phone", &[&alice, &bob])?;
    assert!(!phone.reads(&room, &early)?, "approval does not reach back");

    phone.run(&["logout"])?;
    alice.sync_until("the phone's removal", |alice| Ok(!alice.has_in_head(&room, phone.device())?))?;
    let last = tell(&room, &alice, "after the log-out", &[&bob])?;
    assert_eq!(readers(&alice, &room, &last)?, devices(&[&alice, &bob]));
    assert_eq!(phone.attempt(&["sync"])?.code, Some(3));
    Ok(())
}

/// A device without keys, as an old client or an intruder with the password would have.
fn a_plain_device_is_never_added(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-plain", HS1), ("bob-plain", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    let plain = bob.plain_device()?;
    let device = Device { user: plain.user.clone(), device: plain.device.clone() };
    // Without any keys it is in nobody's device list.
    plain.publish_keys()?;
    for person in [&alice, &bob] {
        let listed = wait_for_member(person, &room, &device)?;
        assert!(!listed.in_head && !listed.endorsed, "{listed:?}");
        assert!(!listed.reason.unwrap_or_default().is_empty(), "its reason is told");
    }
    let event = tell(&room, &alice, "not for it", &[&bob])?;
    bob.run(&["update", &room])?;
    let later = tell(&room, &bob, "nor this", &[&alice])?;
    for event in [&event, &later] {
        assert_eq!(readers(&alice, &room, event)?, devices(&[&alice, &bob]));
    }
    let got: Value = plain.call(Method::GET, "sync?timeout=0", None)?;
    let to_device = got["to_device"]["events"].as_array().map_or(0, Vec::len);
    assert_eq!(to_device, 0, "nothing was sent to it: {got}");
    Ok(())
}

/// An invitation does not wait for anybody to come back: the newcomer lets herself in by an external commit.
fn one_joins_while_all_are_offline(stage: &Stage) -> Outcome {
    let [alice, bob, carol] = people(stage, [("alice-off", HS1), ("bob-off", HS2), ("carol-off", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    tell(&room, &alice, "early", &[&bob])?;
    alice.invite(&room, &carol)?;
    // From here on nobody but Carol runs anything.
    carol.accept(&room, HS1)?;
    carol.sync_until_in_head(&room, carol.device())?;
    let own = carol.log(&room)?.into_iter().find(|epoch| epoch.canonical).map(|epoch| epoch.kind);
    assert_eq!(own.as_deref(), Some("external"));
    tell(&room, &carol, "anybody here?", &[&alice, &bob])?;
    tell(&room, &alice, "welcome", &[&bob, &carol])?;
    tell(&room, &bob, "welcome too", &[&alice, &carol])?;
    Ok(())
}

/// Commands are killed at all moments; what they had promised is kept, and nothing is there twice.
fn kills_lose_nothing(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-kill", HS1), ("bob-kill", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    let whole = alice.run(&["send", &room, "first"])?.took;
    let mut promised = vec!["first".to_owned()];
    for step in 1..=8_u32 {
        let after = whole.mul_f64(f64::from(step) / 8.0);
        let text = format!("killed at {step}/8");
        if alice.kill_after(after, &["send", &room, &text])?.code == Some(0) {
            promised.push(text);
        }
        bob.kill_after(after, &["sync"])?;
        alice.kill_after(after.min(Duration::from_secs(2)), &["update", &room])?;
        alice.kill_after(after, &["sync"])?;
    }
    alice.sync()?;
    let last = tell(&room, &alice, "last", &[&bob])?;
    tell(&room, &bob, "bob is well", &[&alice])?;
    let (sent, read) = (counts(&alice, &room)?, counts(&bob, &room)?);
    for text in &promised {
        assert!(sent.contains_key(text), "{text} was promised and is gone");
    }
    assert_eq!(sent, read, "what Alice has sent is what Bob reads");
    assert!(sent.values().all(|times| *times == 1), "nothing is there twice: {sent:?}");
    assert_eq!(readers(&alice, &room, &last)?, devices(&[&alice, &bob]));
    Ok(())
}

/// Counts the readable messages of a room by text; each must have reached the server.
fn counts(person: &Person, room: &str) -> Result<BTreeMap<String, usize>, Error> {
    let mut counts = BTreeMap::new();
    for message in person.messages(room)? {
        assert!(message.event_id.is_some() && message.utd.is_none(), "{}: {message:?}", person.name());
        *counts.entry(message.body.unwrap_or_default()).or_default() += 1;
    }
    Ok(counts)
}

fn devices(people: &[&Person]) -> Vec<Device> {
    let mut devices: Vec<Device> = people.iter().map(|person| person.device().clone()).collect();
    devices.sort();
    devices
}

fn readers(person: &Person, room: &str, event: &str) -> Result<Vec<Device>, Error> {
    let message = person.message(room, event)?;
    let mut readers = message.and_then(|message| message.readers).unwrap_or_default();
    readers.sort();
    Ok(readers)
}

fn wait_for_member(person: &Person, room: &str, device: &Device) -> Result<Member, Error> {
    person.sync_until(&format!("{device} being listed"), |person| Ok(person.member(room, device)?.is_some()))?;
    person.member(room, device)?.ok_or_else(|| Error::Missing(device.to_string()))
}

/// Gives the fingerprint of the own device, as it shows it to its owner.
fn own_fingerprint(person: &Person) -> Result<String, Error> {
    let devices = person.rows::<Value>(&["devices"])?;
    let own = devices.iter().find(|row| row.to_string().contains(&person.device().device));
    let fingerprint = own.and_then(|row| row["fingerprint"].as_str()).map(str::to_owned);
    fingerprint.ok_or_else(|| Error::Missing(format!("fingerprint in {devices:?}")))
}
