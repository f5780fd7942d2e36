//! `listen`: new messages as they come.

use std::collections::{BTreeMap, BTreeSet};

use dmls_client::driver::{Client, Until};
use dmls_matrix::RoomId;
use dmls_matrix::view::MessageRow;

use crate::context::Context;
use crate::failure::Failure;
use crate::show;

/// `listen`
pub async fn listen(context: &Context, room: Option<&str>) -> Result<(), Failure> {
    let mut client = context.client().await?;
    let only = room.map(|text| client.local().room(text)).transpose()?;
    let mut seen = Seen::default();
    for room in rooms(&mut client)? {
        seen.new_rows(&room, client.local().machine().messages(&room)?);
    }
    client.take_changed();
    context.output.hint("Listening. Ctrl-C ends it; nothing is lost.");
    loop {
        tokio::select! {
            ended = client.run(Until::Changed, None) => ended?,
            _ = tokio::signal::ctrl_c() => break,
        };
        for room in client.take_changed() {
            if only.as_ref().is_none_or(|only| *only == room) {
                print_new(context, &mut client, &mut seen, &room)?;
            }
        }
    }
    Ok(client.local().purge()?)
}

fn rooms(client: &mut Client) -> Result<Vec<RoomId>, Failure> {
    Ok(client.local().machine().rooms()?.into_iter().map(|row| row.room).collect())
}

fn print_new(context: &Context, client: &mut Client, seen: &mut Seen, room: &RoomId) -> Result<(), Failure> {
    let rows = client.local().machine().messages(room)?;
    let new = seen.new_rows(room, rows);
    if new.is_empty() {
        return Ok(());
    }
    let name = client.local().room_row(room)?.and_then(|row| row.name).unwrap_or_else(|| room.to_string());
    let paint = context.output.paint;
    for row in &new {
        let object = show::message(room, row, false);
        context.output.put(object, || format!("{} {}", paint.green(&name), show::message_words(row, false, paint)))?;
    }
    Ok(())
}

/// Which messages were shown, and whether they could be read then.
#[derive(Default)]
struct Seen(BTreeMap<RoomId, BTreeSet<(String, bool)>>);

impl Seen {
    /// Messages that were not shown before, or could not be read then.
    fn new_rows(&mut self, room: &RoomId, rows: Vec<MessageRow>) -> Vec<MessageRow> {
        let seen = self.0.entry(room.clone()).or_default();
        let mut new = |row: &MessageRow| {
            // Own messages have an event once they are sent; until then they are not shown.
            row.event_id.as_ref().is_some_and(|event| seen.insert((event.clone(), row.utd.is_none())))
        };
        rows.into_iter().filter(|row| new(row)).collect()
    }
}
