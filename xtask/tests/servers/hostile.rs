//! A member who writes nonsense: each piece gets its own code, and nobody else is disturbed.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use xtask::homeserver::ServerNumber;
use xtask::story::{Error, Forks, Message, Person, Plain};

use crate::company::{HS1, HS2, people, room, tell};
use crate::frames;
use crate::{Outcome, Stage, Test};

pub const TESTS: &[Test] = &[
    ("hostile::each_piece_has_its_code", each_piece_has_its_code),
    ("hostile::to_device_nonsense_changes_nothing", to_device_nonsense_changes_nothing),
    ("hostile::a_thousand_of_each_kind", a_thousand_of_each_kind),
];

const ENCRYPTED: &str = "m.room.encrypted";
const ALGORITHM: &str = "org.dmls.v1.dhkemx25519-aes128gcm-sha256-ed25519";
const WELCOME: &str = "org.dmls.v1.welcome.dhkemx25519-aes128gcm-sha256-ed25519";
/// These sever the link.
pub const ALONE: &[Test] =
    &[("hostile::what_a_removed_device_commits_steers_nothing", what_a_removed_device_commits_steers_nothing)];

/// How many of each kind are thrown at a client.
const MANY: usize = 1_000;
/// How many inputs of one sender wait for what they need, and what such a message shows.
const WAITING: usize = 500;
const WAITING_COMMIT: &str = "waiting_commit (none)";
/// The most memory that a command may hold with all that.
const MOST_MEMORY: u64 = 400 << 20;

/// Alice and Bob with Mallory, who is a real member, and without.
struct Rooms {
    alice: Person,
    bob: Person,
    mallory: Person,
    /// Her session, without the encryption.
    plain: Plain,
    shared: String,
    /// A second one in which she is.
    also: String,
    /// One that she is not in.
    private: String,
}

impl Rooms {
    fn new(stage: &Stage, tag: &str, server: ServerNumber) -> Outcome<Self> {
        let names = ["alice", "bob", "mallory"].map(|name| format!("{name}-{tag}"));
        let [alice, bob, mallory] =
            people(stage, [(names[0].as_str(), HS1), (names[1].as_str(), HS1), (names[2].as_str(), server)])?;
        let shared = room(&alice, HS1, &[&bob, &mallory])?;
        let also = room(&alice, HS1, &[&mallory])?;
        let private = room(&alice, HS1, &[&bob])?;
        let plain = mallory.plain()?;
        Ok(Self { alice, bob, mallory, plain, shared, also, private })
    }

    /// Finds out that nothing stands in anybody's way, in any room.
    fn go_on(&self) -> Outcome {
        let (alice, bob, mallory) = (&self.alice, &self.bob, &self.mallory);
        tell(&self.private, alice, "still private", &[bob])?;
        tell(&self.private, bob, "still here", &[alice])?;
        tell(&self.shared, alice, "still shared", &[bob, mallory])?;
        tell(&self.shared, mallory, "still in", &[alice, bob])?;
        tell(&self.also, alice, "still two", &[mallory])?;
        Ok(())
    }

    /// Gives the content of an event as the server has it.
    fn content(&self, room: &str, event: &str) -> Outcome<Value> {
        self.plain.wait_for(room, event)?;
        Ok(self.plain.event(room, event)?["content"].clone())
    }

    /// Gives the contents of the room's commits, newest first.
    fn commits(&self, room: &str) -> Outcome<Vec<Value>> {
        let events = self.plain.newest(room, 100)?;
        let contents =
            events.into_iter().filter(|event| event["type"] == ENCRYPTED).map(|event| event["content"].clone());
        Ok(contents
            .filter(|content| content.get("group_info").is_some() || content.get("resolves").is_some())
            .collect())
    }
}

/// Gives a copy with one field changed; null takes it away.
fn with(content: &Value, field: &str, value: Value) -> Value {
    let mut changed = content.clone();
    if let Some(fields) = changed.as_object_mut() {
        if value.is_null() {
            fields.remove(field);
        } else {
            fields.insert(field.to_owned(), value);
        }
    }
    changed
}

/// Gives a copy whose ciphertext has another character, so many per cent from its beginning.
fn flipped(content: &Value, per_cent: usize) -> Value {
    let text = content["ciphertext"].as_str().unwrap_or_default();
    let (head, tail) = text.split_at(text.len() * per_cent / 100);
    let other = if tail.starts_with('A') { 'B' } else { 'A' };
    with(content, "ciphertext", format!("{head}{other}{}", tail.get(1..).unwrap_or_default()).into())
}

/// Gives a copy whose ciphertext ends early, at a whole byte.
fn truncated(content: &Value) -> Value {
    let text = content["ciphertext"].as_str().unwrap_or_default();
    with(content, "ciphertext", text.get(..text.len() / 8 * 4).unwrap_or_default().into())
}

/// Gives the code and the precise reason of a message.
fn codes(message: &Message) -> String {
    let reason = message.utd.as_ref().and_then(|utd| utd.reason.as_deref()).unwrap_or("none");
    format!("{} ({reason})", message.code().unwrap_or("read"))
}

fn each_piece_has_its_code(stage: &Stage) -> Outcome {
    let rooms = Rooms::new(stage, "piece", HS2)?;
    let from_alice = tell(&rooms.shared, &rooms.alice, "by alice", &[&rooms.mallory])?;
    let from_mallory = tell(&rooms.shared, &rooms.mallory, "by mallory", &[&rooms.alice, &rooms.bob])?;
    let elsewhere = tell(&rooms.also, &rooms.mallory, "elsewhere", &[&rooms.alice])?;
    let alices = rooms.content(&rooms.shared, &from_alice)?;
    let own = rooms.content(&rooms.shared, &from_mallory)?;
    let other = rooms.content(&rooms.also, &elsewhere)?;
    let mut commits = rooms.commits(&rooms.shared)?;
    commits.truncate(1);
    let commit = commits.pop().ok_or("there is no commit")?;
    let no_epoch = json!({ "height": 7, "creator": own["epoch"]["creator"], "id": "A".repeat(43) });
    // What is wrong, the event, and its code with the precise reason (SPEC §6.11).
    let pieces = [
        ("no base64", with(&own, "ciphertext", "!!!".into()), "malformed", "malformed_base64"),
        ("a number as ciphertext", with(&own, "ciphertext", 7.into()), "malformed", "malformed_base64"),
        ("no ciphertext", with(&own, "ciphertext", Value::Null), "malformed", "malformed_base64"),
        ("a list as epoch", with(&own, "epoch", json!([1, 2])), "malformed", "malformed_hints"),
        (
            "nonsense as epoch id",
            with(&own, "epoch", with(&own["epoch"], "id", "?".into())),
            "malformed",
            "malformed_hints",
        ),
        // The commit event is only where to look; what is left is a replay.
        ("a number as commit event", with(&own, "commit_event", 1.into()), "replay", "replay"),
        ("nothing but an algorithm", json!({ "algorithm": ALGORITHM }), "malformed", "malformed_base64"),
        ("noise as TLS", with(&own, "ciphertext", "AAEC".into()), "malformed", "malformed"),
        ("truncated TLS", truncated(&own), "malformed", "malformed"),
        ("another group", flipped(&own, 5), "forged", "other_group"),
        ("another ciphertext for a used key", flipped(&own, 90), "beyond_window", "beyond_window"),
        ("an unknown epoch", with(&own, "epoch", no_epoch), "forged", "mismatch"),
        ("a replay", own.clone(), "replay", "replay"),
        ("a replay of another's", alices.clone(), "rejected_sender", "rejected_sender"),
        ("a replay from another room", other.clone(), "forged", "other_group"),
        ("a proposal", frames::proposal(&commit)?, "malformed", "wrong_kind"),
        ("a commit by reference", frames::commit_by_reference(&commit)?, "malformed", "proposal_by_reference"),
        ("forged resolves", with(&commit, "resolves", json!(["A".repeat(43)])), "malformed", "malformed_hints"),
        ("a number as resolves", with(&commit, "resolves", 7.into()), "malformed", "malformed_hints"),
        ("resolves that are not signed", with(&commit, "resolves", json!([own["epoch"]])), "forged", "mismatch"),
        ("a commit on another base", with(&commit, "epoch", own["epoch"].clone()), "forged", "mismatch"),
        ("a truncated commit", truncated(&commit), "malformed", "malformed"),
    ];
    let contents: Vec<Value> = pieces.iter().map(|(_, content, ..)| content.clone()).collect();
    let events = rooms.plain.put_all(&rooms.shared, ENCRYPTED, &contents)?;
    let junk_commits = [flipped(&commit, 50), flipped(&commit, 95), commit.clone()];
    let heads = |person: &Person| -> Result<_, Error> {
        Ok((person.canonical(&rooms.shared)?, person.canonical(&rooms.private)?))
    };
    rooms.alice.sync()?;
    let before = heads(&rooms.alice)?;
    let mut last = rooms.plain.put_all(&rooms.shared, ENCRYPTED, &junk_commits)?;
    last.extend(rooms.plain.put_all(&rooms.also, ENCRYPTED, &[commit, alices, own])?);

    for person in [&rooms.alice, &rooms.bob] {
        let shown = |event: &str| Ok::<_, Error>(person.message(&rooms.shared, event)?.is_some());
        let last = events.last().ok_or("nothing was sent")?;
        person.sync_until("the last piece", |_| shown(last))?;
        let mut wrong = Vec::new();
        let messages = person.messages(&rooms.shared)?;
        for ((what, _, code, reason), event) in pieces.iter().zip(&events) {
            let message = messages.iter().find(|message| message.event_id.as_ref() == Some(event));
            let found = message.map(codes).unwrap_or_default();
            println!("  {} sees {what}: {found}", person.name());
            if found != format!("{code} ({reason})") {
                wrong.push(format!("{}: {what} has {found}, not {code} ({reason})", person.name()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    assert_eq!(heads(&rooms.alice)?, before, "no junk became a head");
    rooms.go_on()
}

fn to_device_nonsense_changes_nothing(stage: &Stage) -> Outcome {
    let rooms = Rooms::new(stage, "device", HS2)?;
    // A second device of Mallory gets a real Welcome, which her plain client sees before her command does.
    let alice = rooms.alice.device().clone();
    let welcome = real_welcome(&rooms)?;
    let before = rooms.alice.canonical(&rooms.private)?;
    let mut nonsense = vec![
        welcome.clone(),
        with(&welcome, "room", rooms.private.clone().into()),
        with(&welcome, "room_id", rooms.private.clone().into()),
        with(&welcome, "ciphertext", "!!!".into()),
        with(&welcome, "ciphertext", 7.into()),
        with(&welcome, "epoch_id", "A".repeat(43).into()),
        with(&welcome, "commit_event", "$nothing".into()),
        truncated(&welcome),
        flipped(&welcome, 50),
    ];
    nonsense.extend(junk(0));
    rooms.plain.to_device_all(ENCRYPTED, &alice, &nonsense)?;
    for kind in REQUESTS {
        rooms.plain.to_device_all(kind, &alice, &junk(0))?;
    }
    rooms.alice.sync()?;
    assert_eq!(rooms.alice.canonical(&rooms.private)?, before);
    rooms.go_on()
}

/// Gives the content of a Welcome that the server has for Mallory.
fn real_welcome(rooms: &Rooms) -> Outcome<Value> {
    let invited = rooms.bob.create("for a welcome", &[&rooms.mallory])?;
    let path = format!("join/{invited}?via={HS1}");
    let start = std::time::Instant::now();
    while rooms.plain.call(Method::POST, &path, Some(json!({}))).is_err() {
        if start.elapsed().as_secs() > 60 {
            return Err("no invitation came".into());
        }
    }
    rooms.bob.sync_until_in_head(&invited, rooms.mallory.device())?;
    while start.elapsed().as_secs() < 120 {
        // Without a position nothing is taken from the queue.
        let got = rooms.plain.call(Method::GET, "sync?timeout=0", None)?;
        let events = got["to_device"]["events"].as_array().cloned().unwrap_or_default();
        if let Some(welcome) = events.into_iter().find(|event| event["content"]["algorithm"] == WELCOME) {
            return Ok(welcome["content"].clone());
        }
    }
    Err("no Welcome came".into())
}

const REQUESTS: [&str; 4] =
    ["org.dmls.v1.commit_request", "org.dmls.v1.commit_reply", "org.dmls.v1.merge_request", "org.dmls.v1.merge_reply"];

/// Gives a few contents of no sense, different for each number.
fn junk(number: usize) -> Vec<Value> {
    let id = format!("{number:0>43}");
    vec![
        json!({ "algorithm": WELCOME, "number": number }),
        json!({ "algorithm": WELCOME, "room_id": "!none", "room": "!none", "ciphertext": id, "welcome": id }),
        json!({ "room": format!("!{number}"), "room_id": format!("!{number}"), "epoch_ids": [id], "epochs": [id] }),
        json!({ "room": number, "room_id": [number], "commits": { "a": number }, "epoch_ids": "all" }),
    ]
}

fn a_thousand_of_each_kind(stage: &Stage) -> Outcome {
    let rooms = Rooms::new(stage, "many", HS1)?;
    let event = tell(&rooms.shared, &rooms.mallory, "a real one", &[&rooms.alice, &rooms.bob])?;
    let own = rooms.content(&rooms.shared, &event)?;
    let commit = rooms.commits(&rooms.shared)?.into_iter().next().ok_or("there is no commit")?;
    let id = |number: usize| format!("{number:0>42}A");
    let epoch = |number: usize| json!({ "height": number, "creator": own["epoch"]["creator"], "id": id(number) });
    type Make<'a> = Box<dyn Fn(usize) -> Outcome<Value> + 'a>;
    let kinds: [(&str, &[&str], Make<'_>); 6] = [
        (
            "malformed",
            &["malformed (malformed_base64)"],
            Box::new(|number| Ok(with(&own, "ciphertext", format!("!{number}").into()))),
        ),
        ("replays", &["replay (replay)"], Box::new(|_| Ok(own.clone()))),
        ("hints that lie", &["forged (mismatch)"], Box::new(|number| Ok(with(&own, "epoch", epoch(number))))),
        (
            "forged resolves",
            &["malformed (malformed_hints)"],
            Box::new(|number| Ok(with(&commit, "resolves", json!([id(number)])))),
        ),
        // What might come true waits, as far as its sender's share goes.
        (
            "unknown epochs",
            &[WAITING_COMMIT, "beyond_window (too_many_pending)"],
            Box::new(|number| frames::in_another_epoch(&own, number)),
        ),
        ("commits on nothing", &[], Box::new(|number| frames::in_another_epoch(&commit, number))),
    ];
    let mut thrown = Vec::new();
    for (what, wanted, make) in &kinds {
        let contents = (0..MANY).map(make).collect::<Outcome<Vec<Value>>>()?;
        thrown.push((*what, *wanted, rooms.plain.put_all(&rooms.shared, ENCRYPTED, &contents)?));
        bounded(&rooms.alice, what)?;
    }
    let alice = rooms.alice.device().clone();
    for kind in [ENCRYPTED].iter().chain(&REQUESTS) {
        let contents: Vec<Value> = (0..MANY / 4).flat_map(junk).collect();
        rooms.plain.to_device_all(kind, &alice, &contents)?;
        bounded(&rooms.alice, kind)?;
    }
    bounded(&rooms.bob, "everything")?;
    for person in [&rooms.alice, &rooms.bob] {
        let messages = person.messages(&rooms.shared)?;
        let listed: BTreeMap<_, _> =
            messages.iter().map(|message| (message.event_id.as_deref().unwrap_or_default(), codes(message))).collect();
        for (what, wanted, events) in thrown.iter().filter(|(_, wanted, _)| !wanted.is_empty()) {
            let mut counts = BTreeMap::<&str, usize>::new();
            for event in events {
                *counts.entry(listed.get(event.as_str()).map_or("not listed", String::as_str)).or_default() += 1;
            }
            println!("  {} lists {what} as {counts:?}", person.name());
            let waiting = counts.get(WAITING_COMMIT).copied().unwrap_or_default();
            let wrong = counts.keys().any(|code| !wanted.contains(code));
            assert!(!wrong && waiting <= WAITING, "{} lists {what} as {counts:?}", person.name());
        }
    }
    rooms.go_on()
}

/// Has somebody take in what there is, with bounded memory.
fn bounded(person: &Person, what: &str) -> Outcome {
    let ended = person.run(&["sync"])?;
    println!("  {} after {what}: {:.1?}, {} MiB", person.name(), ended.took, ended.peak >> 20);
    assert!(ended.peak < MOST_MEMORY, "after {what}: {} bytes", ended.peak);
    Ok(())
}

/// Mallory is kicked on one side of a cut; on the other she rekeys and talks on, and when the link has healed a member
/// hands her commit to everybody once more.
fn what_a_removed_device_commits_steers_nothing(stage: &Stage) -> Outcome {
    let [alice, bob, eve, mallory] =
        people(stage, [("alice-out", HS1), ("bob-out", HS1), ("eve-out", HS2), ("mallory-out", HS2)])?;
    let room = room(&alice, HS1, &[&bob, &eve, &mallory])?;
    tell(&room, &alice, "all four", &[&bob, &eve, &mallory])?;
    let plain = eve.plain()?;
    stage.servers.cut()?;
    let apart = while_cut(&room, &alice, &bob, &mallory, &plain);
    stage.servers.heal()?;
    let (kicked, commit) = apart?;
    plain.wait_for(&room, &kicked)?;
    let made = commit["content"]["makes"]["id"].as_str().ok_or("no epoch is named")?;
    let handed = plain.put(&room, ENCRYPTED, &commit["content"])?;
    let hs1 = alice.plain()?;
    hs1.wait_for(&room, &handed)?;
    let original = hs1.event(&room, commit["event_id"].as_str().unwrap_or_default());
    println!("  hs1 shows her own event: {}", if original.is_ok() { "yes" } else { "no, it is soft-failed" });

    let staying = [&alice, &bob, &eve];
    for person in staying {
        let listed = |person: &Person| Ok(person.log(&room)?.iter().any(|epoch| epoch.epoch_id == made));
        person.sync_until("Mallory's commit in the log", listed)?;
    }
    let followed = |moment: &str| -> Outcome {
        let forks = Forks::of(staying, &room)?;
        for person in staying {
            let row = person.log(&room)?.into_iter().find(|epoch| epoch.epoch_id == made).ok_or("it is not listed")?;
            assert_eq!(row.creator, *mallory.device(), "{moment}: {} knows whose it is", person.name());
            let head = person.canonical(&room)?.ok_or("there is no head")?;
            assert!(!forks.contains(&head, made), "{moment}: {} follows it", person.name());
            assert!(!person.has_in_head(&room, mallory.device())?, "{moment}: {} has her back", person.name());
        }
        Ok(())
    };
    followed("after the heal")?;
    let mut after = vec![tell(&room, &alice, "the three of us", &[&bob, &eve])?];
    bob.run(&["update", &room])?;
    after.push(tell(&room, &bob, "with new keys", &[&alice, &eve])?);
    after.push(tell(&room, &eve, "over here too", &[&alice, &bob])?);
    followed("after all have spoken")?;
    mallory.sync()?;
    for event in &after {
        let readers = alice.message(&room, event)?.and_then(|message| message.readers).unwrap_or_default();
        assert!(readers.len() == 3 && !readers.contains(mallory.device()), "{event} is for {readers:?}");
        assert!(!mallory.reads(&room, event)?, "Mallory reads {event}");
    }
    Ok(())
}

/// Gives a message that was sent without Mallory, and the event of the commit that she made meanwhile.
fn while_cut(room: &str, alice: &Person, bob: &Person, mallory: &Person, plain: &Plain) -> Outcome<(String, Value)> {
    alice.run(&["room", "kick", room, mallory.user()])?;
    let kicked = tell(room, alice, "without Mallory", &[bob])?;
    mallory.run(&["update", room])?;
    mallory.send(room, "as if nothing had happened")?;
    let hers = |event: &Value| event["sender"] == mallory.user() && event["content"].get("group_info").is_some();
    let commit = plain.newest(room, 20)?.into_iter().find(hers).ok_or("Mallory has not committed")?;
    Ok((kicked, commit))
}
