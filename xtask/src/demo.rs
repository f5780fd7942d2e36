//! `cargo xtask demo`: the story of the split on real homeservers, told as it happens.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Instant;

use crate::homeserver::RateLimits;
use crate::story::{Base, Error, First, Program, Servers, Split};

/// The instance that `--keep` leaves running.
const KEPT: &str = "demo";
/// The columns of the table, in order.
const PEOPLE: [&str; 7] = ["alice", "bob", "carol", "dan", "erin", "frank", "grace"];

/// Whether the homeservers go on when the demo has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// They end, and everything is removed.
    End,
    /// They go on, as instance `demo`.
    Keep,
}

/// Whether all that was claimed held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Held,
    /// Not all of it.
    Failed,
}

/// Plays the split on two fresh homeservers and tells about it on standard output.
///
/// # Errors
/// [`Error`] if the story breaks off; claims that do not hold are an [`Outcome`].
pub fn demo(afterwards: Afterwards) -> Result<Outcome, Error> {
    let teller = Teller::new();
    teller.progress("building dmls (the very first time: some 10 minutes)")?;
    let program = Program::build()?;
    teller.progress("starting two Synapse homeservers (the very first time installs them: about a minute)")?;
    let servers = match afterwards {
        Afterwards::End => Servers::up("demo", RateLimits::Raised)?,
        Afterwards::Keep => {
            let own = std::env::current_exe().map_err(Error::system("finding this program"))?;
            Servers::keep(KEPT, &own)?
        }
    };
    let outcome = teller.tell(&program, &servers)?;
    if afterwards == Afterwards::Keep {
        teller.say(&format!("\nThe homeservers go on: cargo xtask homeserver --instance {KEPT} status"))?;
    }
    servers.end()?;
    Ok(outcome)
}

struct Teller {
    start: Instant,
    colour: bool,
}

impl Teller {
    fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { start: Instant::now(), colour: wanted && std::io::stdout().is_terminal() }
    }

    fn tell(&self, program: &Program, servers: &Servers) -> Result<Outcome, Error> {
        // A kept instance may have people of earlier demos.
        let tag = match servers {
            Servers::Owned(_) => String::new(),
            Servers::Kept(_) => format!("-{}", std::process::id()),
        };
        self.chapter("A room on two homeservers")?;
        self.say(
            "Alice and Bob are on hs1.test, Carol and Dan on hs2.test. Alice makes a room and invites the others;",
        )?;
        self.say("each joins, and her device adds theirs to the group. Then all four speak.")?;
        let mut split = Split::meet(program, servers, Base::Hs2, &tag)?;
        split.before()?;
        self.graph(&split, "alice", "before the cut")?;

        self.chapter("The link between hs1 and hs2 is cut")?;
        servers.cut()?;
        self.say("hs1: Alice invites Erin. All speak.")?;
        split.erin_comes()?;
        self.say("hs1: Alice leaves. Bob and Erin go on: Bob's device removes hers before it sends.")?;
        split.alice_leaves()?;
        self.say("hs2: Carol invites Frank; nobody there can know that Alice has left.")?;
        split.frank_comes()?;
        self.say("hs2: Dan rekeys. (A thief has just copied what his device held before.)")?;
        split.dan_rekeys()?;
        self.say("hs2: Frank, who came during the split, invites Grace.")?;
        split.grace_comes()?;
        self.graph(&split, "bob", "on hs1 during the split")?;
        self.graph(&split, "carol", "on hs2 during the split")?;

        self.chapter("The link heals")?;
        servers.heal()?;
        split.note_heads()?;
        split.wait_for_servers()?;
        self.say("The servers have told each other everything. Bob speaks first, then everybody syncs and speaks.")?;
        split.merge(First(&["bob"]))?;
        split.after()?;
        self.graph(&split, "bob", "after the heal")?;
        self.chapter("Who read what")?;
        self.table(&split)?;
        self.chapter("What was promised")?;
        self.judge(&split)
    }

    fn judge(&self, split: &Split) -> Result<Outcome, Error> {
        let mut outcome = Outcome::Held;
        for verdict in split.verdicts()? {
            let (word, colour) = if verdict.holds() { ("holds", "32") } else { ("FAILS", "31") };
            self.say(&format!("{}  {} ({})", self.paint(word, colour), verdict.claim, verdict.seen))?;
            for line in &verdict.against {
                self.say(&format!("         {line}"))?;
            }
            if !verdict.holds() {
                outcome = Outcome::Failed;
            }
        }
        Ok(outcome)
    }

    /// Draws the epoch DAG as somebody knows it.
    fn graph(&self, split: &Split, name: &str, when: &str) -> Result<(), Error> {
        let room = split.room();
        self.say(&format!("\n{}", self.paint(&format!("{name}$ dmls log ROOM --graph    # {when}"), "2")))?;
        let drawn = split.person(name)?.show(&["log", room, "--graph"])?;
        self.say(&format!("{}\n", drawn.trim_end()))
    }

    /// Shows for each message and person what the person's device shows of it.
    fn table(&self, split: &Split) -> Result<(), Error> {
        let mut columns = Vec::new();
        for name in PEOPLE {
            columns.push(split.seen_by(name)?);
        }
        self.say(&self.paint(&format!("{:<28}{}", "message", PEOPLE.map(|name| format!("{name:>7}")).concat()), "1"))?;
        for (number, said) in split.said().iter().enumerate() {
            let mut line = format!("{:<28}", format!("{}, says {}", said.step, said.by));
            for column in &columns {
                let (sign, colour) = match column[number].as_ref().map(|message| message.code()) {
                    None => (" ", "0"),
                    Some(None) => ("reads", "32"),
                    Some(Some(code)) => (sign(code), "33"),
                };
                line += &self.paint(&format!("{sign:>7}"), colour);
            }
            self.say(line.trim_end())?;
        }
        self.say("\nreads: decrypted · early: before_join, sent before this device was added · fork: not_in_epoch, sent on a")?;
        self.say("fork that this device was not in · gone: removed · else the code itself · blank: the server does not show it")
    }

    fn chapter(&self, title: &str) -> Result<(), Error> {
        let clock = format!("{:>4} s", self.start.elapsed().as_secs());
        self.say(&format!("\n{}  {}", self.paint(&clock, "2"), self.paint(title, "1;36")))
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn say(&self, line: &str) -> Result<(), Error> {
        match writeln!(std::io::stdout(), "{line}") {
            // Whoever reads this has read enough; the exit code still tells.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Error::system("writing to standard output")),
        }
    }

    /// Tells what takes long, on standard error.
    fn progress(&self, line: &str) -> Result<(), Error> {
        writeln!(std::io::stderr(), "{line} ...").map_err(Error::system("writing to standard error"))
    }
}

/// Gives a code in at most seven letters.
fn sign(code: &str) -> &str {
    match code {
        "before_join" => "early",
        "not_in_epoch" => "fork",
        "removed" => "gone",
        other => other,
    }
}
