//! Commands that read the store and nothing else.

use dmls::effect::EpochInfo;

use crate::args::{Log, Messages};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::graph::{Row, draw};
use crate::output::Paint;
use crate::show;

/// `rooms`
pub fn rooms(context: &Context) -> Result<(), Failure> {
    let rows = context.local()?.machine().rooms()?;
    if rows.is_empty() {
        context.output.hint("No rooms yet: `dmls room create --name NAME`, or `dmls sync` for invitations.");
    }
    for row in &rows {
        context.output.put(show::room(row), || show::room_words(row, context.output.paint))?;
    }
    Ok(())
}

/// `messages`
pub fn messages(context: &Context, wanted: &Messages) -> Result<(), Failure> {
    let mut local = context.local()?;
    let room = local.room(&wanted.room)?;
    let mut rows = match wanted.newest {
        Some(most) => local.machine().newest_messages(&room, most)?,
        None => local.machine().messages(&room)?,
    };
    if let Some(event) = &wanted.event {
        rows.retain(|row| row.event_id.as_ref() == Some(event));
        if rows.is_empty() {
            let text = format!("no such message: {event}; `dmls sync` asks for new ones");
            return Err(Failure::new(Exit::Failure, "unknown_event", text));
        }
    }
    for row in &rows {
        let object = show::message(&room, row, wanted.readers);
        context.output.put(object, || show::message_words(row, wanted.readers, context.output.paint))?;
    }
    match rows.first().and_then(|row| row.utd.as_ref()).filter(|_| wanted.event.is_some()) {
        Some(utd) => Err(Failure::new(Exit::Undecryptable, utd.code.code(), &utd.text)),
        None => Ok(()),
    }
}

/// `members`
pub fn members(context: &Context, room: &str) -> Result<(), Failure> {
    let mut local = context.local()?;
    let room = local.room(room)?;
    for row in &local.machine().members(&room)? {
        context.output.put(show::member(row), || show::member_words(row, context.output.paint))?;
    }
    Ok(())
}

/// `log`
pub fn log(context: &Context, wanted: &Log) -> Result<(), Failure> {
    let mut local = context.local()?;
    let room = local.room(&wanted.room)?;
    let rows = local.machine().log(&room)?;
    let (output, paint) = (context.output, context.output.paint);
    if output.json {
        return rows.iter().try_for_each(|row| output.put(show::epoch(row), String::new));
    }
    if wanted.graph {
        return graph_lines(&rows, paint).iter().try_for_each(|line| output.words(line));
    }
    rows.iter().rev().try_for_each(|row| output.words(&show::epoch_words(row, paint)))
}

/// The lines of the graph of these epochs, parents before children.
pub fn graph_lines(epochs: &[EpochInfo], paint: Paint) -> Vec<String> {
    let rows: Vec<_> = epochs.iter().rev().map(|row| graph_row(row, show::epoch_words(row, paint))).collect();
    draw(&rows, paint)
}

fn graph_row(info: &EpochInfo, text: String) -> Row<dmls::id::EpochId> {
    let mark = match (info.canonical, info.head) {
        (true, _) => '@',
        (false, true) => 'o',
        (false, false) => '*',
    };
    Row { id: info.epoch.id, base: info.base, resolves: info.resolves.clone(), mark, text }
}
