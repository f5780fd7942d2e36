//! What Matrix does today: Megolm, whose keys are sent to every device over Olm.
//!
//! There is no group, so this is not a contestant. To rekey is to make another Megolm session and to encrypt its key
//! to each device; so is a removal. A room is created with Olm sessions to everybody, from one-time keys.

use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage, SessionConfig};
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig as OlmConfig};
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use crate::contest::TEXT;
use crate::contestant::Failure;
use crate::meter::{heap, median, timed};
use crate::roster::{Roster, names};
use crate::sheet::{Sheet, Unit, say};

const WHO: &str = "megolm";
const REKEYS: usize = 5;
const MESSAGES: usize = 41;

/// The sender, with an Olm session to each other device; and one that listens.
struct Room {
    account: Account,
    sessions: Vec<Session>,
    listener: Account,
    listening: Option<Session>,
}

/// Plays what can be played of the story.
///
/// # Errors
/// Whatever vodozemac fails with.
pub fn play(roster: Roster, sheet: &mut Sheet) -> Result<(), Failure> {
    say(&format!("{WHO}, {} devices", roster.n));
    let (mut room, published) = prepare(roster)?;
    let (made, create) = timed(|| room.create(&published));
    let (_, shares, bytes) = made?;
    let before = heap();
    let (joined, join) = timed(|| room.join(&shares));
    let _listening = joined?;
    let n = roster.n;
    sheet.put("create", n, WHO, Unit::Ms, create);
    sheet.put("create/bytes", n, WHO, Unit::B, bytes as f64);
    sheet.put("join", n, WHO, Unit::Ms, join);
    sheet.put("join/heap", n, WHO, Unit::B, heap() - before);
    rekey(&mut room, n, sheet)?;
    talk(n, sheet)
}

fn rekey(room: &mut Room, n: u32, sheet: &mut Sheet) -> Result<(), Failure> {
    let (mut send, mut receive, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REKEYS {
        let (made, spent) = timed(|| room.share());
        let (_, shares, bytes) = made?;
        let (taken, there) = timed(|| room.take(&shares));
        taken?;
        send.push(spent);
        receive.push(there);
        sizes.push(bytes as f64);
    }
    let (send, receive, bytes) = (median(send), median(receive), median(sizes));
    for op in ["rekey", "remove"] {
        sheet.put(format!("{op}/send"), n, WHO, Unit::Ms, send);
        sheet.put(format!("{op}/receive"), n, WHO, Unit::Ms, receive);
        sheet.put(format!("{op}/bytes"), n, WHO, Unit::B, bytes);
    }
    for k in [2, 8].into_iter().filter(|k| *k < n) {
        sheet.put(format!("fork-{k}/bytes"), n, WHO, Unit::B, bytes * f64::from(k));
        sheet.put(format!("fork-{k}/receive"), n, WHO, Unit::Ms, receive * f64::from(k));
    }
    Ok(())
}

fn talk(n: u32, sheet: &mut Sheet) -> Result<(), Failure> {
    let mut outbound = GroupSession::new(SessionConfig::version_1());
    let mut inbound = InboundGroupSession::new(&outbound.session_key(), SessionConfig::version_1());
    let (mut seals, mut opens, mut size) = (Vec::new(), Vec::new(), 0);
    for _ in 0..MESSAGES {
        let (sealed, seal) = timed(|| outbound.encrypt(TEXT).to_bytes());
        let (opened, open) = timed(|| Ok::<_, Failure>(inbound.decrypt(&MegolmMessage::from_bytes(&sealed)?)?));
        if opened?.plaintext != TEXT {
            return Err("another text is read than was written".into());
        }
        seals.push(seal * 1e3);
        opens.push(open * 1e3);
        size = sealed.len();
    }
    sheet.put("message/seal", n, WHO, Unit::Us, median(seals));
    sheet.put("message/open", n, WHO, Unit::Us, median(opens));
    sheet.put("message/bytes-added", n, WHO, Unit::B, size as f64 - TEXT.len() as f64);
    Ok(())
}

/// Identity key and one-time key of each device but the sender.
type Published = Vec<(Curve25519PublicKey, Curve25519PublicKey)>;

fn prepare(roster: Roster) -> Result<(Room, Published), Failure> {
    let (mut published, mut listener) = (Vec::new(), Account::new());
    for _ in 1..roster.n {
        listener = Account::new();
        listener.generate_one_time_keys(1);
        let one_time = listener.one_time_keys().into_values().next().ok_or("no one-time key")?;
        published.push((listener.curve25519_key(), one_time));
    }
    let room = Room { account: Account::new(), sessions: Vec::new(), listener, listening: None };
    Ok((room, published))
}

impl Room {
    fn create(&mut self, published: &Published) -> Result<Shared, Failure> {
        for (identity, one_time) in published {
            let session = self.account.create_outbound_session(OlmConfig::version_1(), *identity, *one_time)?;
            self.sessions.push(session);
        }
        self.share()
    }

    /// A new Megolm session, its key encrypted to the last device, and the bytes of all that is sent.
    fn share(&mut self) -> Result<Shared, Failure> {
        let outbound = GroupSession::new(SessionConfig::version_1());
        let room_key = room_key(&outbound, &self.account.ed25519_key());
        let (mut last, mut bytes) = (None, 0);
        for session in &mut self.sessions {
            let encrypted = session.encrypt(&room_key)?;
            bytes += event(&encrypted, self.account.curve25519_key()).len();
            last = Some(encrypted);
        }
        Ok((outbound, last.ok_or("nobody is there")?, bytes))
    }

    fn join(&mut self, share: &OlmMessage) -> Result<InboundGroupSession, Failure> {
        let OlmMessage::PreKey(first) = share else { return Err("not a first message".into()) };
        let from = self.account.curve25519_key();
        let made = self.listener.create_inbound_session(OlmConfig::version_1(), from, first)?;
        self.listening = Some(made.session);
        inbound(&made.plaintext)
    }

    fn take(&mut self, share: &OlmMessage) -> Result<InboundGroupSession, Failure> {
        inbound(&self.listening.as_mut().ok_or("no session")?.decrypt(share)?)
    }
}

type Shared = (GroupSession, OlmMessage, usize);

/// `m.room_key`, as it is before it is encrypted.
fn room_key(session: &GroupSession, sender: &Ed25519PublicKey) -> String {
    let (user, device) = names(0);
    let content = serde_json::json!({
        "type": "m.room_key",
        "sender": user,
        "sender_device": device,
        "keys": { "ed25519": sender.to_base64() },
        "recipient": names(1).0,
        "recipient_keys": { "ed25519": sender.to_base64() },
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "room_id": "!room:server.example.org",
            "session_id": session.session_id(),
            "session_key": session.session_key().to_base64(),
        },
    });
    content.to_string()
}

/// `m.room.encrypted`, as it is sent to one device.
fn event(encrypted: &OlmMessage, sender: Curve25519PublicKey) -> String {
    let (kind, body) = match encrypted {
        OlmMessage::PreKey(message) => (0, message.to_base64()),
        OlmMessage::Normal(message) => (1, message.to_base64()),
    };
    let content = serde_json::json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "ciphertext": { sender.to_base64(): { "type": kind, "body": body } },
        "sender_key": sender.to_base64(),
    });
    content.to_string()
}

fn inbound(room_key: &[u8]) -> Result<InboundGroupSession, Failure> {
    let read: serde_json::Value = serde_json::from_slice(room_key)?;
    let key = read.pointer("/content/session_key").and_then(serde_json::Value::as_str).ok_or("no key")?;
    let key = vodozemac::megolm::SessionKey::from_base64(key)?;
    Ok(InboundGroupSession::new(&key, SessionConfig::version_1()))
}
