//! Somebody at a terminal, with one device.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::command::{Ended, Limit, run};
use super::error::Error;
use super::plain::Plain;
use super::program::{Program, homes};
use super::rows::{Device, Epoch, Member, Message, Room, Sent};
use super::servers::Servers;
use crate::homeserver::ServerNumber;

/// The password of everybody.
const PASSWORD: &str = "correct horse";
/// How long a condition is waited for that one's own syncing should make true.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somebody who runs the `dmls` command with a home directory of their own.
///
/// Every call is a new process, so that nothing lives on but what is stored. The home goes with this value, unless a
/// test is failing, whose cause it may show.
#[derive(Debug)]
pub struct Person {
    name: String,
    program: Program,
    url: String,
    home: PathBuf,
    device: Device,
}

#[derive(Deserialize)]
struct RoomId {
    room_id: String,
}

impl Person {
    /// Registers `name` on a server and logs a first device in.
    ///
    /// # Errors
    /// [`Error::Homeserver`]; as [`Person::run`] otherwise.
    pub fn new(program: &Program, servers: &Servers, server: ServerNumber, name: &str) -> Result<Self, Error> {
        Self::registered(program, servers, server, name)?.log_in_with(&[])
    }

    /// Logs a further device of the same user in.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn another_device(&self, name: &str) -> Result<Self, Error> {
        Self::logged_out(&self.program, &self.url, &self.device.user, name)?.log_in_with(&[])
    }

    /// Registers `name` on a server; nobody logs in yet.
    ///
    /// # Errors
    /// [`Error::Homeserver`], [`Error::File`].
    pub fn registered(program: &Program, servers: &Servers, server: ServerNumber, name: &str) -> Result<Self, Error> {
        let user = servers.user(server, name, PASSWORD)?;
        Self::logged_out(program, &servers.url(server)?, user.as_str(), name)
    }

    fn logged_out(program: &Program, url: &str, user: &str, name: &str) -> Result<Self, Error> {
        let home = homes(&format!("{name}-{}", std::process::id()))?;
        let file = home.join("password");
        std::fs::write(&file, PASSWORD).map_err(Error::file(&file))?;
        let device = Device { user: user.to_owned(), device: String::new() };
        Ok(Self { name: name.to_owned(), program: program.clone(), url: url.to_owned(), home, device })
    }

    /// Logs in with this home and further options of `login`.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn log_in_with(mut self, options: &[&str]) -> Result<Self, Error> {
        let file = self.home.join("password");
        let file = file.to_str().ok_or_else(|| Error::Missing("home in UTF-8".to_owned()))?;
        let login = ["login", &self.url, &self.device.user, "--password-file", file];
        self.device = self.run(&[&login, options].concat())?.row()?;
        Ok(self)
    }

    /// Copies the home, as a thief of the disk would.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn copied(&self, name: &str) -> Result<Self, Error> {
        let home = homes(&format!("{name}-{}", std::process::id()))?;
        copy_dir(&self.home, &home)?;
        let (program, url, device) = (self.program.clone(), self.url.clone(), self.device.clone());
        Ok(Self { name: name.to_owned(), program, url, home, device })
    }

    /// Gives the name in the story.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Gives the full user id.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.device.user
    }

    /// Gives the home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Gives a plain client that shares this device's session on the server.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn plain(&self) -> Result<Plain, Error> {
        Plain::log_in(&self.url, self.user(), PASSWORD, Some(&self.device.device))
    }

    /// Gives a plain client with a new device, which has no keys at all.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn plain_device(&self) -> Result<Plain, Error> {
        Plain::log_in(&self.url, self.user(), PASSWORD, None)
    }

    /// Runs a command, which must end with 0.
    ///
    /// # Errors
    /// [`Error::Exit`], [`Error::Late`], [`Error::System`].
    pub fn run(&self, arguments: &[&str]) -> Result<Ended, Error> {
        self.attempt(arguments)?.with_code(0)
    }

    /// Runs a command, which may end with any code.
    ///
    /// # Errors
    /// [`Error::Late`], [`Error::System`].
    pub fn attempt(&self, arguments: &[&str]) -> Result<Ended, Error> {
        let mut command = self.command(self.program.path());
        command.arg("--json").args(arguments);
        self.within(Limit::default(), command, arguments)
    }

    /// Runs a command without `--json`: what a person would see.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn show(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = self.command(self.program.path());
        command.args(arguments);
        Ok(self.within(Limit::default(), command, arguments)?.with_code(0)?.stdout)
    }

    /// Runs a command and kills it (SIGKILL) after this long, if it has not ended by then.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn kill_after(&self, after: Duration, arguments: &[&str]) -> Result<Ended, Error> {
        let mut command = self.command(self.program.path());
        command.arg("--json").args(arguments);
        run(self.line(arguments), command, Limit(after))
    }

    /// Runs a command under a shell's `ulimit`, such as `-f 100`; a write past it fails rather than kills.
    ///
    /// # Errors
    /// As [`Person::attempt`].
    pub fn limited(&self, limits: &str, arguments: &[&str]) -> Result<Ended, Error> {
        let mut command = self.command(Path::new("sh"));
        command.arg("-c").arg(format!("trap '' XFSZ; ulimit {limits} && exec \"$@\"")).arg("sh");
        command.arg(self.program.path()).arg("--json").args(arguments);
        self.within(Limit::default(), command, arguments)
    }

    fn within(&self, limit: Limit, command: Command, arguments: &[&str]) -> Result<Ended, Error> {
        let ended = run(self.line(arguments), command, limit)?;
        if ended.killed {
            return Err(Error::Late { limit: limit.0, ended: Box::new(ended) });
        }
        Ok(ended)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("DMLS_HOME", &self.home).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        command
    }

    fn line(&self, arguments: &[&str]) -> String {
        format!("{}: dmls {}", self.name, arguments.join(" "))
    }

    /// Creates a room and gives its id.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn create(&self, name: &str, invited: &[&Self]) -> Result<String, Error> {
        let mut arguments = vec!["room", "create", "--name", name];
        for person in invited {
            arguments.extend(["--invite", person.user()]);
        }
        Ok(self.run(&arguments)?.row::<RoomId>()?.room_id)
    }

    /// Joins a room, through a server that knows it.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn join(&self, room: &str, via: ServerNumber) -> Result<(), Error> {
        self.run(&["room", "join", room, "--via", &via.to_string()]).map(drop)
    }

    /// Waits for the invitation to a room, and joins through the inviter's server.
    ///
    /// # Errors
    /// As [`Person::run`]; [`Error::InVain`] if no invitation comes.
    pub fn accept(&self, room: &str, via: ServerNumber) -> Result<(), Error> {
        let invited = |row: &Room| row.room_id == room && row.membership == "invited";
        self.sync_until("an invitation", |person| Ok(person.rows::<Room>(&["rooms"])?.iter().any(invited)))?;
        self.join(room, via)
    }

    /// Invites somebody.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn invite(&self, room: &str, whom: &Self) -> Result<(), Error> {
        self.run(&["room", "invite", room, whom.user()]).map(drop)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn send(&self, room: &str, text: &str) -> Result<Sent, Error> {
        self.run(&["send", room, text])?.row()
    }

    /// Takes in what is pending and does what is due.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn sync(&self) -> Result<(), Error> {
        self.run(&["sync"]).map(drop)
    }

    /// Gives the messages of a room with their readers, as this person's store has them.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn messages(&self, room: &str) -> Result<Vec<Message>, Error> {
        self.rows(&["messages", room, "--readers"])
    }

    /// Gives one message of a room.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn message(&self, room: &str, event: &str) -> Result<Option<Message>, Error> {
        let messages = self.messages(room)?;
        Ok(messages.into_iter().find(|message| message.event_id.as_deref() == Some(event)))
    }

    /// Tells whether this person can read an event.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn reads(&self, room: &str, event: &str) -> Result<bool, Error> {
        Ok(self.message(room, event)?.is_some_and(|message| message.utd.is_none()))
    }

    /// Gives the devices of a room.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn members(&self, room: &str) -> Result<Vec<Member>, Error> {
        self.rows(&["members", room])
    }

    /// Gives one device's line of `members`.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn member(&self, room: &str, device: &Device) -> Result<Option<Member>, Error> {
        Ok(self.members(room)?.into_iter().find(|member| member.device == *device))
    }

    /// Tells whether a device is in the head that this person would send in.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn has_in_head(&self, room: &str, device: &Device) -> Result<bool, Error> {
        Ok(self.member(room, device)?.is_some_and(|member| member.in_head))
    }

    /// Gives the epochs of a room; none if this device is not in it yet.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn log(&self, room: &str) -> Result<Vec<Epoch>, Error> {
        self.rows(&["log", room])
    }

    /// Gives the canonical head, if this person has one.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn canonical(&self, room: &str) -> Result<Option<String>, Error> {
        Ok(self.log(room)?.into_iter().find(|epoch| epoch.canonical).map(|epoch| epoch.epoch_id))
    }

    /// Runs a command and parses its output, one JSON object a line.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn rows<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<Vec<T>, Error> {
        self.run(arguments)?.rows()
    }

    /// Syncs until a condition is true of this person.
    ///
    /// # Errors
    /// As [`Person::run`]; [`Error::InVain`].
    pub fn sync_until(&self, what: &str, done: impl Fn(&Self) -> Result<bool, Error>) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            self.sync()?;
            if done(self)? {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::InVain { what: format!("{what} at {}", self.name), waited: PATIENCE });
            }
        }
    }

    /// Syncs until this person can read an event.
    ///
    /// # Errors
    /// As [`Person::sync_until`].
    pub fn sync_until_reads(&self, room: &str, event: &str) -> Result<(), Error> {
        self.sync_until(&format!("reading {event}"), |person| person.reads(room, event))
    }

    /// Syncs until a device is in the head that this person would send in.
    ///
    /// # Errors
    /// As [`Person::sync_until`].
    pub fn sync_until_in_head(&self, room: &str, device: &Device) -> Result<(), Error> {
        self.sync_until(&format!("{device} in the head"), |person| person.has_in_head(room, device))
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What is left is in cargo's target directory.
            let _best_effort = std::fs::remove_dir_all(&self.home);
        }
    }
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in std::fs::read_dir(from).map_err(Error::file(from))? {
        let path = entry.map_err(Error::file(from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_dir(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map(drop).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}
