//! Where results and talk go: data on stdout, everything else on stderr.

use std::io::{self, IsTerminal as _, Write as _};

use dmls_client::driver::{Note, Observer};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Version of the JSON objects.
pub const SCHEMA: u64 = 1;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of words.
    pub json: bool,
    /// Tell what goes on.
    pub verbose: bool,
    /// Say nothing that was not asked for.
    pub quiet: bool,
    /// Colours on stdout.
    pub paint: Paint,
}

impl Output {
    /// As the options say; colours only on a terminal.
    pub fn new(json: bool, verbose: bool, quiet: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = !json && !no_color && !dumb && io::stdout().is_terminal();
        Self { json, verbose, quiet, paint: Paint { colours } }
    }

    /// One result: the object as JSON, or the words.
    pub fn put(&self, object: Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.line(&with_schema(object).to_string()) } else { self.line(&words()) }
    }

    /// A line for people; nothing in JSON.
    pub fn words(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.line(text) }
    }

    fn line(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Talk, on stderr: a hint about what comes next, unless `--quiet` or `--json`.
    pub fn hint(&self, text: &str) {
        if !self.json && !self.quiet {
            say(text);
        }
    }

    /// Something is not as it should be, but the command goes on.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            say(&format!("warning: {text}"));
        }
    }

    /// The one line about a failure.
    pub fn failure(&self, failure: &Failure) {
        if failure.silent {
            return;
        }
        if self.json {
            let error = json!({ "error": { "code": failure.code, "message": failure.message } });
            say(&with_schema(error).to_string());
        } else {
            say(&format!("error: {}", failure.message));
        }
    }

    /// What the driver tells, with `--verbose`.
    pub fn observer(&self) -> Observer {
        let verbose = self.verbose;
        Box::new(move |note| {
            if verbose {
                say(&tell(note));
            }
        })
    }
}

/// Errors of stderr are nobody's to hear.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn with_schema(object: Value) -> Value {
    let mut object = object;
    if let Some(fields) = object.as_object_mut() {
        fields.insert("schema".to_owned(), SCHEMA.into());
    }
    object
}

fn tell(note: &Note) -> String {
    match note {
        Note::SetUp(step) => format!("set-up: {step}"),
        Note::Synced { rooms: 0, to_device: 0 } => "sync: nothing new".to_owned(),
        Note::Synced { rooms, to_device } => format!("sync: {rooms} rooms, {to_device} to-device messages"),
        Note::Undecrypted { sender } => format!("a to-device message of {sender} cannot be decrypted or verified"),
        Note::Started(what) => format!("-> {what}"),
        Note::Done(what) => format!("<- {what}"),
        Note::Failed { what, why, for_good: true } => format!("<- {what}: refused, {why}"),
        Note::Failed { what, why, for_good: false } => format!("<- {what}: {why}; again later"),
        Note::Waiting { millis } => format!("the homeserver does not answer; trying again in {millis} ms"),
        Note::Remark(remark) => {
            let place = remark.room.as_ref().map_or("", |room| room.as_str());
            let event = remark.event_id.as_deref().unwrap_or_default();
            let sender = remark.sender.as_deref().unwrap_or_default();
            format!("remark: {place} {event} {sender} {}: {}", remark.code, remark.text)
        }
        other => format!("{other:?}"),
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    /// Whether there are any.
    pub colours: bool,
}

/// Colours of lanes, in turn.
const LANES: [&str; 6] = ["36", "35", "33", "32", "34", "31"];

impl Paint {
    /// None at all.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colours: false };

    fn code(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Stands out.
    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// Stands back.
    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    /// Good.
    pub fn green(self, text: &str) -> String {
        self.code("32", text)
    }

    /// Look here.
    pub fn yellow(self, text: &str) -> String {
        self.code("33", text)
    }

    /// Bad.
    pub fn red(self, text: &str) -> String {
        self.code("31", text)
    }

    /// A lane of the graph.
    pub fn lane(self, lane: usize, text: &str) -> String {
        self.code(LANES[lane % LANES.len()], text)
    }
}
