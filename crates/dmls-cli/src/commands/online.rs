//! Commands that sync: send, rekey, rooms.

use std::io::Read as _;
use std::time::{Duration, Instant};

use dmls_client::driver::{Client, ClientError, Ended, NewRoom, SystemEntropy, Until, now};
use dmls_matrix::view::RoomRow;
use dmls_matrix::{MessageId, RoomId};
use serde_json::{Value, json};

use crate::args::{OnlineRoom, Person, RoomCommand, Send, Time, Update};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::show;

/// A client and the moment when its command has to be done.
struct Online<'a> {
    context: &'a Context,
    client: Client,
    end: Instant,
}

impl<'a> Online<'a> {
    async fn open(context: &'a Context, time: Time) -> Result<Self, Failure> {
        let end = Instant::now() + Duration::from_secs(time.timeout.min(1 << 32));
        Ok(Self { context, client: context.client().await?, end })
    }

    async fn run(&mut self, until: Until) -> Result<Ended, ClientError> {
        let left = self.end.saturating_duration_since(Instant::now());
        self.client.run(until, Some(left)).await
    }

    fn room(&mut self, text: &str) -> Result<RoomId, Failure> {
        Ok(self.client.local().room(text)?)
    }

    fn row(&mut self, room: &RoomId) -> Result<Option<RoomRow>, Failure> {
        Ok(self.client.local().room_row(room)?)
    }

    /// Ends with one result.
    fn close(mut self, object: Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
        self.client.local().purge()?;
        self.context.output.put(object, words)
    }
}

/// `sync`
pub async fn sync(context: &Context, time: Time) -> Result<(), Failure> {
    let mut online = Online::open(context, time).await?;
    let ended = online.run(Until::Settled).await?;
    let changed = online.client.take_changed();
    let unsent: usize = online.client.local().machine().rooms()?.iter().map(|row| row.unsent).sum();
    let object = json!({
        "settled": ended == Ended::Reached,
        "changed": changed.iter().map(RoomId::as_str).collect::<Vec<_>>(),
        "unsent": unsent,
    });
    online.close(object, || {
        let waiting = if unsent > 0 { format!(", {unsent} still to be sent") } else { String::new() };
        let late = if ended == Ended::TimeUp { ", more to come (the time was up)" } else { "" };
        format!("{} rooms changed{waiting}{late}", changed.len())
    })
}

/// `send`
pub async fn send(context: &Context, wanted: Send) -> Result<(), Failure> {
    let text = text(wanted.text)?;
    let mut online = Online::open(context, wanted.time).await?;
    // With the homeserver away the message is kept all the same.
    let away = match online.run(Until::Settled).await {
        Err(error) if error.is_network() => Some(error),
        other => other.map(|_| None)?,
    };
    let room = online.room(&wanted.room)?;
    let content = json!({ "msgtype": "m.text", "body": text });
    let machine = online.client.local().machine();
    let id = machine.send(&room, "m.room.message", content, now(), &mut SystemEntropy)?;
    let away = match away {
        Some(error) => Some(error),
        None => match online.run(Until::Sent(room.clone(), id.clone())).await {
            Err(error) if error.is_network() => Some(error),
            other => other.map(|_| None)?,
        },
    };
    report_sent(online, &room, &id, away)
}

fn text(given: String) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    let unreadable = |error| Failure::new(Exit::Failure, "input", format!("standard input cannot be read: {error}"));
    std::io::stdin().lock().read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn report_sent(
    mut online: Online<'_>,
    room: &RoomId,
    id: &MessageId,
    away: Option<ClientError>,
) -> Result<(), Failure> {
    let row = online.client.local().machine().own_message(room, id)?;
    let trouble = online.row(room)?.and_then(|row| row.trouble.filter(|_| row.unsent == 0));
    let context = online.context;
    let Some(row) = row.filter(|row| row.event_id.is_some()) else {
        let kept = trouble.is_none();
        let object = json!({
            "room_id": room.as_str(), "event_id": null, "message_id": id.to_string(), "epoch": null, "epoch_id": null,
            "queued": kept,
        });
        online.close(object, || if kept { "kept, not sent yet".to_owned() } else { "not sent".to_owned() })?;
        let later = "the message is kept; the next `dmls sync` sends it";
        return Err(match (away, trouble) {
            (Some(error), _) => Failure::new(Exit::Network, error.code(), format!("{error}; {later}")),
            (None, Some(code)) => {
                Failure::new(Exit::Failure, "not_sent", format!("the message was refused for good: {code}"))
            }
            (None, None) => Failure::new(Exit::Network, "not_sent_yet", format!("the time was up; {later}")),
        });
    };
    let mut object = show::message(room, &row, false);
    object["queued"] = false.into();
    online.close(object, || {
        let epoch = row.epoch.map(|epoch| format!("{}:{}", epoch.number.0, show::short_device(&epoch.creator)));
        format!("sent in epoch {}", context.output.paint.dim(epoch.as_deref().unwrap_or("?")))
    })
}

/// `update`
pub async fn update(context: &Context, wanted: &Update) -> Result<(), Failure> {
    let mut online = Online::open(context, wanted.time).await?;
    let away = match online.run(Until::Settled).await {
        Err(error) if error.is_network() => Some(error),
        other => other.map(|_| None)?,
    };
    let room = online.room(&wanted.room)?;
    online.client.local().machine().update_now(&room, now())?;
    let away = match away {
        Some(error) => Some(error),
        None => match online.run(Until::Updated(room.clone())).await {
            Err(error) if error.is_network() => Some(error),
            other => other.map(|_| None)?,
        },
    };
    let row = online.row(&room)?;
    let pending = row.as_ref().is_none_or(|row| row.update_pending);
    let canonical = row.and_then(|row| row.canonical);
    let log = online.client.local().machine().log(&room)?;
    let epoch = log.iter().find(|info| Some(info.epoch.id) == canonical);
    let object = json!({
        "room_id": room.as_str(),
        "epoch": epoch.map(|info| show::epoch_name(info.number, &info.creator)),
        "epoch_id": canonical.as_ref().map(show::epoch_id),
        "queued": pending,
    });
    let words = epoch.map_or_else(String::new, |info| show::epoch_words(info, context.output.paint));
    online.close(object, || if pending { "kept, not done yet".to_owned() } else { format!("now in {words}") })?;
    match away {
        _ if !pending => Ok(()),
        Some(error) => Err(Failure::new(Exit::Network, error.code(), format!("{error}; the next `dmls sync` does it"))),
        None => {
            let text = "the time was up; the next `dmls sync` does it";
            Err(Failure::new(Exit::Network, "not_updated_yet", text))
        }
    }
}

/// `room ...`
pub async fn room(context: &Context, command: RoomCommand) -> Result<(), Failure> {
    match command {
        RoomCommand::Create { name, invite, time } => create(context, &name, &invite, time).await,
        RoomCommand::Join { room, via, time } => join(context, &room, &via, time).await,
        RoomCommand::Leave(wanted) => leave(context, &wanted).await,
        RoomCommand::Invite(wanted) => invite(context, &wanted).await,
        RoomCommand::Kick(wanted) => kick(context, &wanted).await,
    }
}

async fn create(context: &Context, name: &str, invite: &[String], time: Time) -> Result<(), Failure> {
    let mut online = Online::open(context, time).await?;
    online.run(Until::Settled).await?;
    let created = online.client.create_room(&NewRoom { name, invite }).await?;
    online.run(Until::Settled).await?;
    for (user, error) in &created.not_invited {
        context.output.warn(&format!("{user} could not be invited: {error}"));
    }
    let room = created.room;
    let not_invited: Vec<_> =
        created.not_invited.iter().map(|(user, error)| json!({ "user": user, "code": error.code() })).collect();
    let object = json!({ "room_id": room.as_str(), "name": name, "not_invited": not_invited });
    let network = created.not_invited.iter().any(|(_, error)| error.is_temporary());
    online.close(object, || format!("created {name}  {room}"))?;
    match not_invited.is_empty() {
        true => Ok(()),
        false => {
            let exit = if network { Exit::Network } else { Exit::Failure };
            Err(Failure::new(exit, "not_invited", "the room exists, but not everybody could be invited"))
        }
    }
}

async fn join(context: &Context, text: &str, via: &[String], time: Time) -> Result<(), Failure> {
    let mut online = Online::open(context, time).await?;
    online.run(Until::Settled).await?;
    let target = match online.client.local().room(text) {
        Ok(room) => room.0,
        Err(ClientError::UnknownRoom(_)) if text.starts_with(['!', '#']) => text.to_owned(),
        Err(error) => return Err(error.into()),
    };
    let room = online.client.join(&target, via).await?;
    online.run(Until::Settled).await?;
    done(online, &room, "joined")
}

async fn leave(context: &Context, wanted: &OnlineRoom) -> Result<(), Failure> {
    let mut online = Online::open(context, wanted.time).await?;
    online.run(Until::Settled).await?;
    let room = online.room(&wanted.room)?;
    online.client.leave(&room).await?;
    online.run(Until::Settled).await?;
    done(online, &room, "left")
}

async fn invite(context: &Context, wanted: &Person) -> Result<(), Failure> {
    let mut online = Online::open(context, wanted.time).await?;
    online.run(Until::Settled).await?;
    let room = online.room(&wanted.room)?;
    online.client.invite(&room, &wanted.user).await?;
    online.run(Until::Settled).await?;
    done(online, &room, &format!("invited {} to", wanted.user))
}

async fn kick(context: &Context, wanted: &Person) -> Result<(), Failure> {
    let mut online = Online::open(context, wanted.time).await?;
    online.run(Until::Settled).await?;
    let room = online.room(&wanted.room)?;
    online.client.kick(&room, &wanted.user, None).await?;
    online.run(Until::Settled).await?;
    done(online, &room, &format!("removed {} from", wanted.user))
}

fn done(mut online: Online<'_>, room: &RoomId, what: &str) -> Result<(), Failure> {
    let row = online.row(room)?;
    let name = row.as_ref().and_then(|row| row.name.clone()).unwrap_or_else(|| room.to_string());
    let object = json!({
        "room_id": room.as_str(),
        "name": row.as_ref().and_then(|row| row.name.clone()),
        "membership": row.as_ref().map(|row| show::membership(row.membership)),
        "epoch_id": row.as_ref().and_then(|row| row.canonical.as_ref().map(show::epoch_id)),
    });
    online.close(object, || format!("{what} {name}"))
}
