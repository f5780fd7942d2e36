//! What goes wrong around a client: a dead homeserver, an ended session, a wrong passphrase, a full disk.

use serde_json::Value;
use xtask::story::{Ended, Person};

use crate::company::{HS1, HS2, people, room, tell};
use crate::{Outcome, Stage, Test};

pub const TESTS: &[Test] = &[
    ("trouble::a_wrong_passphrase_opens_nothing", a_wrong_passphrase_opens_nothing),
    ("trouble::an_ended_session_keeps_what_was_read", an_ended_session_keeps_what_was_read),
    ("trouble::a_full_disk_loses_nothing", a_full_disk_loses_nothing),
];

/// These stop a server.
pub const ALONE: &[Test] = &[("trouble::a_dead_homeserver_delays_only", a_dead_homeserver_delays_only)];

/// Gives the code of a failure's one line of JSON, whose words must be fit for people.
fn failure(ended: &Ended) -> Outcome<String> {
    let line = ended.stderr.lines().last().ok_or_else(|| format!("nothing is said: {ended}"))?;
    let error: Value = serde_json::from_str(line).map_err(|_| format!("no JSON: {ended}"))?;
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    assert_eq!(error["schema"], 1, "{ended}");
    let message = error["error"]["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10, "{ended}");
    Ok(error["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn a_wrong_passphrase_opens_nothing(stage: &Stage) -> Outcome {
    let [bob] = people(stage, [("bob-pass", HS2)])?;
    let alice = Person::registered(&stage.program, &stage.servers, HS1, "alice-pass")?;
    let file = |name: &str, words: &str| -> Outcome<String> {
        let path = alice.home().join(name);
        std::fs::write(&path, words)?;
        Ok(path.to_str().ok_or("home in UTF-8")?.to_owned())
    };
    let (right, wrong) = (file("right", "open sesame")?, file("wrong", "open barley")?);
    let alice = alice.log_in_with(&["--passphrase-file", &right])?;
    let with =
        |passphrase: &str, arguments: &[&str]| alice.attempt(&[&["--passphrase-file", passphrase], arguments].concat());
    let created = with(&right, &["room", "create", "--name", "sealed", "--invite", bob.user()])?.with_code(0)?;
    let room = created.row::<Value>()?["room_id"].as_str().unwrap_or_default().to_owned();
    with(&right, &["send", &room, "sealed words"])?.with_code(0)?;
    for arguments in [&["rooms"][..], &["messages", &room], &["sync"], &["send", &room, "not this"]] {
        let refused = with(&wrong, arguments)?.with_code(1)?;
        assert_eq!(refused.stdout, "");
        failure(&refused)?;
        // There is no terminal to ask at.
        failure(&alice.attempt(arguments)?.with_code(1)?)?;
    }
    let messages = with(&right, &["messages", &room])?.with_code(0)?.rows::<Value>()?;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["body"], "sealed words");
    Ok(())
}

fn an_ended_session_keeps_what_was_read(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-end", HS1), ("bob-end", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    let event = tell(&room, &bob, "for later", &[&alice])?;
    alice.plain()?.call(reqwest::Method::POST, "logout", Some(serde_json::json!({})))?;
    for arguments in [&["send", &room, "too late"][..], &["sync"], &["update", &room]] {
        let refused = alice.attempt(arguments)?.with_code(3)?;
        assert_eq!(failure(&refused)?, "token_expired", "{refused}");
    }
    assert!(alice.reads(&room, &event)?, "what was read stays");
    // The others take the device out and go on.
    bob.sync_until("the device's removal", |bob| Ok(!bob.has_in_head(&room, alice.device())?))?;
    bob.send(&room, "on my own")?;
    Ok(())
}

/// The limit on the size of files makes writes fail as a full disk does, at ever later moments.
fn a_full_disk_loses_nothing(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-disk", HS1), ("bob-disk", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    tell(&room, &bob, "already there", &[&alice])?;
    let mut promised = vec!["already there".to_owned()];
    let mut refused = 0;
    for blocks in [0, 1, 8, 16, 32, 64, 128, 256, 512, 1024] {
        let text = format!("under {blocks} blocks");
        bob.send(&room, &format!("meanwhile {blocks}"))?;
        let ended = alice.limited(&format!("-f {blocks}"), &["send", &room, &text])?;
        if ended.code == Some(0) {
            promised.push(text);
            continue;
        }
        refused += 1;
        assert!(matches!(ended.code, Some(1 | 4)), "{ended}");
        failure(&ended)?;
    }
    assert!(refused > 0, "the limit was never met");
    alice.sync()?;
    tell(&room, &alice, "room again", &[&bob])?;
    tell(&room, &bob, "good", &[&alice])?;
    let messages = alice.messages(&room)?;
    assert!(messages.iter().all(|message| message.utd.is_none() && message.event_id.is_some()), "{messages:#?}");
    for text in &promised {
        let times = messages.iter().filter(|message| message.body.as_ref() == Some(text)).count();
        assert_eq!(times, 1, "{text}");
    }
    let mut read: Vec<_> = bob.messages(&room)?.into_iter().map(|message| message.body).collect();
    let mut sent: Vec<_> = messages.into_iter().map(|message| message.body).collect();
    read.sort();
    sent.sort();
    assert_eq!(sent, read);
    Ok(())
}

fn a_dead_homeserver_delays_only(stage: &Stage) -> Outcome {
    let [alice, bob] = people(stage, [("alice-dead", HS1), ("bob-dead", HS2)])?;
    let room = room(&alice, HS1, &[&bob])?;
    let early = tell(&room, &bob, "early", &[&alice])?;
    stage.servers.stop(HS1)?;
    let kept = alice.attempt(&["send", &room, "kept", "--timeout", "5"])?.with_code(4)?;
    failure(&kept)?;
    failure(&alice.attempt(&["sync", "--timeout", "5"])?.with_code(4)?)?;
    assert!(alice.reads(&room, &early)?);
    let waiting = alice.messages(&room)?.into_iter().find(|message| message.body.as_deref() == Some("kept"));
    assert!(waiting.is_some_and(|message| message.event_id.is_none()), "it is shown as not sent");
    // The other side goes on without that server.
    bob.send(&room, "meanwhile")?;
    stage.servers.start(HS1)?;
    alice.sync()?;
    let sent = alice.messages(&room)?.into_iter().find(|message| message.body.as_deref() == Some("kept"));
    let event = sent.and_then(|message| message.event_id).ok_or("the kept message was not sent by the next sync")?;
    bob.sync_until_reads(&room, &event)?;
    let times = bob.messages(&room)?.iter().filter(|message| message.body.as_deref() == Some("kept")).count();
    assert_eq!(times, 1);
    tell(&room, &alice, "back", &[&bob])?;
    Ok(())
}
