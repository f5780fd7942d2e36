//! Rows of the machine as JSON objects, and in words.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use dmls::effect::EpochInfo;
use dmls::id::{Device, EpochId, EpochNumber};
use dmls_client::identity::Session;
use dmls_matrix::RoomId;
use dmls_matrix::view::{Encryption, EpochName, MemberRow, Membership, MessageRow, RoomRow};
use serde_json::{Value, json};

use crate::output::Paint;

/// Ids of epochs in JSON.
pub fn epoch_id(id: &EpochId) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn device(device: &Device) -> Value {
    json!({ "user": device.user, "device": device.device })
}

fn devices(devices: &[Device]) -> Value {
    devices.iter().map(device).collect()
}

/// Number, user and device in JSON.
pub fn epoch_name(number: EpochNumber, creator: &Device) -> Value {
    json!({ "number": number.0, "user": creator.user, "device": creator.device })
}

fn epoch_of(epoch: Option<&EpochName>) -> Value {
    epoch.map_or(Value::Null, |epoch| epoch_name(epoch.number, &epoch.creator))
}

/// `alice` of `@alice:example.org`.
pub fn short_user(user: &str) -> &str {
    user.strip_prefix('@').and_then(|rest| rest.split(':').next()).unwrap_or(user)
}

/// `alice/DEVICE`.
pub fn short_device(device: &Device) -> String {
    format!("{}/{}", short_user(&device.user), device.device)
}

/// An Ed25519 key as people compare it.
pub fn fingerprint(key: &[u8; 32]) -> String {
    STANDARD_NO_PAD.encode(key)
}

/// One word for a membership.
pub fn membership(membership: Membership) -> &'static str {
    match membership {
        Membership::Joined => "joined",
        Membership::Invited => "invited",
        Membership::Left => "left",
    }
}

/// A room.
pub fn room(row: &RoomRow) -> Value {
    let encryption = match row.encryption {
        Encryption::None => "none",
        Encryption::Dmls => "dmls",
        Encryption::Other => "other",
    };
    json!({
        "room_id": row.room.as_str(),
        "name": row.name,
        "membership": membership(row.membership),
        "encryption": encryption,
        "epoch_id": row.canonical.as_ref().map(epoch_id),
        "unsent": row.unsent,
        "update_pending": row.update_pending,
        "trouble": row.trouble,
    })
}

/// A room, in words.
pub fn room_words(row: &RoomRow, paint: Paint) -> String {
    let name = row.name.as_deref().map_or_else(|| "(no name)".to_owned(), one_line_safe);
    let mut words = vec![paint.bold(&name), paint.dim(row.room.as_str())];
    if row.membership != Membership::Joined {
        words.push(paint.yellow(membership(row.membership)));
    }
    match row.encryption {
        // Invitations say little about the room.
        _ if row.membership != Membership::Joined => {}
        Encryption::Dmls if row.canonical.is_none() => words.push(paint.yellow("waiting to be let in")),
        Encryption::Dmls => {}
        Encryption::None => words.push(paint.red("not encrypted")),
        Encryption::Other => words.push(paint.red("encrypted with something else")),
    }
    if row.unsent > 0 {
        words.push(paint.yellow(&format!("{} unsent", row.unsent)));
    }
    if row.update_pending {
        words.push(paint.yellow("rekey pending"));
    }
    words.extend(row.trouble.as_ref().map(|code| paint.red(code)));
    words.join("  ")
}

/// A message.
pub fn message(room: &RoomId, row: &MessageRow, readers: bool) -> Value {
    let utd = row
        .utd
        .as_ref()
        .map(|utd| json!({ "code": utd.code.code(), "text": utd.text, "doing": utd.doing, "reason": utd.reason }));
    let mut object = json!({
        "room_id": room.as_str(),
        "event_id": row.event_id,
        "message_id": row.message_id.as_ref().map(ToString::to_string),
        "sender": row.sender,
        "device": row.device.as_ref().map(|device| &device.device),
        "ts": row.ts,
        "type": row.event_type,
        "body": row.body(),
        "epoch": epoch_of(row.epoch.as_ref()),
        "epoch_id": row.epoch_id.as_ref().map(epoch_id),
        "utd": utd,
    });
    if readers {
        object["readers"] = row.readers.as_deref().map_or(Value::Null, devices);
    }
    object
}

/// A message, in words.
pub fn message_words(row: &MessageRow, readers: bool, paint: Paint) -> String {
    let epoch = row.epoch.as_ref().map(|epoch| format!("{}:{}", epoch.number.0, short_user(&epoch.creator.user)));
    let place = paint.dim(&format!("{} [{}]", date_time(row.ts), epoch.as_deref().unwrap_or("?")));
    let sender = paint.bold(short_user(&row.sender));
    let mut line = match (&row.utd, row.body()) {
        (Some(utd), _) => {
            let doing = if utd.doing.is_empty() { String::new() } else { format!("; {}", utd.doing) };
            let event = row.event_id.as_deref().unwrap_or_default();
            let text = format!("cannot be read ({}): {}{doing} {event}", utd.code.code(), utd.text);
            format!("{place} {sender}: {}", paint.red(text.trim_end()))
        }
        (None, Some(body)) => format!("{place} {sender}: {}", one_line_safe(body)),
        (None, None) => {
            format!("{place} {sender}: {}", paint.dim(&format!("({})", row.event_type.as_deref().unwrap_or("no text"))))
        }
    };
    if row.event_id.is_none() {
        line.push_str(&paint.yellow("  (not sent yet)"));
    }
    if readers {
        let who = row.readers.as_ref().map(|readers| readers.iter().map(short_device).collect::<Vec<_>>().join(" "));
        line.push_str(&format!("\n    {}", paint.dim(&format!("readers: {}", who.as_deref().unwrap_or("not known")))));
    }
    line
}

/// Text of others must not steer the terminal.
fn one_line_safe(text: &str) -> String {
    let harmless =
        |letter: char| if letter.is_control() && letter != '\n' && letter != '\t' { '\u{fffd}' } else { letter };
    text.chars().map(harmless).collect::<String>().replace('\n', "\n    ")
}

/// A member.
pub fn member(row: &MemberRow) -> Value {
    json!({
        "device": device(&row.device),
        "in_room": row.in_room,
        "in_head": row.in_head,
        "endorsed": row.endorsed,
        "reason": row.reason,
    })
}

/// A member, in words.
pub fn member_words(row: &MemberRow, paint: Paint) -> String {
    let state = match (row.in_head, row.in_room) {
        (true, true) => paint.green("reads"),
        (true, false) => paint.red("still reads, is to be removed"),
        (false, true) => paint.yellow("does not read"),
        (false, false) => paint.dim("is not in the room"),
    };
    let reason = if row.reason.is_empty() { String::new() } else { format!(" ({})", row.reason) };
    format!("{}/{}  {state}{reason}", row.device.user, row.device.device)
}

/// An epoch.
pub fn epoch(info: &EpochInfo) -> Value {
    json!({
        "epoch_id": epoch_id(&info.epoch.id),
        "number": info.number.0,
        "creator": device(&info.creator),
        "parent": info.base.as_ref().map(epoch_id),
        "resolves": info.resolves.iter().map(epoch_id).collect::<Vec<_>>(),
        "kind": info.kind.word(),
        "added": devices(&info.added),
        "removed": devices(&info.removed),
        "commit_event": Some(&info.epoch.locator.0).filter(|event| !event.is_empty()),
        "held": info.held,
        "head": info.head,
        "canonical": info.canonical,
        "equivocation": info.equivocation,
    })
}

/// An epoch, in words.
pub fn epoch_words(info: &EpochInfo, paint: Paint) -> String {
    let name = format!("{}:{}", info.number.0, short_device(&info.creator));
    let mut words = vec![paint.bold(&name), info.kind.word().to_owned()];
    words.extend(change('+', &info.added).map(|text| paint.green(&text)));
    words.extend(change('-', &info.removed).map(|text| paint.red(&text)));
    if info.canonical {
        words.push(paint.yellow("(canonical)"));
    } else if info.head {
        words.push(paint.yellow("(head)"));
    }
    if info.equivocation {
        words.push(paint.red("(equivocation)"));
    }
    if !info.held {
        words.push(paint.dim("(keys not here)"));
    }
    words.push(paint.dim(&info.epoch.id.to_string()));
    words.join(" ")
}

/// Up to three devices by name, the rest by number.
fn change(sign: char, devices: &[Device]) -> Option<String> {
    let mut words: Vec<_> = devices.iter().take(3).map(|device| format!("{sign}{}", short_device(device))).collect();
    if devices.len() > 3 {
        words.push(format!("{sign}{} more", devices.len() - 3));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// A device of one's own account.
pub fn own_device(user: &str, row: &Session, this: &str) -> Value {
    let facts = row.facts.as_ref();
    json!({
        "user": user,
        "device": row.device,
        "display_name": row.display_name,
        "this": row.device == this,
        "fingerprint": facts.map(|facts| fingerprint(&facts.ed25519)),
        "endorsed": reason_of(row).is_empty(),
        "reason": reason_of(row),
    })
}

/// A device of one's own account, in words.
pub fn own_device_words(row: &Session, this: &str, paint: Paint) -> String {
    let mut words = vec![paint.bold(&row.device)];
    words.push(row.facts.as_ref().map_or_else(|| "(no keys)".to_owned(), |facts| fingerprint(&facts.ed25519)));
    words.push(match reason_of(row) {
        "" => paint.green("endorsed"),
        reason => paint.yellow(reason),
    });
    words.extend(row.display_name.as_deref().map(|name| paint.dim(&one_line_safe(name))));
    if row.device == this {
        words.push(paint.bold("<- this device"));
    }
    words.join("  ")
}

fn reason_of(row: &Session) -> &'static str {
    row.facts.as_ref().map_or("no_keys", |facts| facts.endorsement.reason())
}

/// `2026-01-31 12:00` (UTC) of milliseconds since 1970.
fn date_time(millis: u64) -> String {
    let minutes = millis / 60_000;
    let (days, minute_of_day) = (minutes / 1440, minutes % 1440);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute_of_day / 60, minute_of_day % 60)
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date_time(0), "1970-01-01 00:00");
        assert_eq!(date_time(951_825_540_000), "2000-02-29 11:59");
        assert_eq!(date_time(1_767_225_599_000), "2025-12-31 23:59");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(one_line_safe("a\x1b[31mb\nc\td"), "a\u{fffd}[31mb\n    c\td");
    }

    #[test]
    fn names() {
        assert_eq!(short_user("@alice:hs1.test"), "alice");
        assert_eq!(short_user("odd"), "odd");
        let device = |name: &str| Device::new("@bob:x", name);
        let many: Vec<_> = ["A", "B", "C", "D", "E"].map(device).to_vec();
        assert_eq!(change('+', &many).as_deref(), Some("+bob/A +bob/B +bob/C +2 more"));
        assert_eq!(change('-', &[]), None);
    }
}
