//! The command line: what can be said, and the help about it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

/// Encrypted Matrix rooms that survive a net split.
#[derive(Parser, Debug)]
#[command(name = "dmls", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten, next_help_heading = "Options of every command")]
    pub options: Options,
}

const ABOUT: &str = "Encrypted Matrix rooms that survive a net split.";

const LONG_ABOUT: &str = "\
Encrypted Matrix rooms that survive a net split.

Rooms are encrypted with MLS on unmodified homeservers. When homeservers lose sight of each other,
the people on each side go on talking, adding and removing; when they meet again, both sides merge
by themselves.";

const AFTER_HELP: &str = "\
First steps:
  dmls login https://example.org alice       log in (asks for the password)
  dmls room create --name tea --invite @bob:example.net
  dmls send tea \"Good morning\"
  dmls listen tea                            show new messages until Ctrl-C

See `dmls --help` for profiles, exit codes and JSON, `dmls COMMAND --help` for one command.";

const AFTER_LONG_HELP: &str = "\
First steps:
  dmls login https://example.org alice       log in (asks for the password)
  dmls room create --name tea --invite @bob:example.net
  dmls send tea \"Good morning\"
  dmls listen tea                            show new messages until Ctrl-C

Invited?
  dmls sync                                  hear of invitations and everything else
  dmls rooms                                 list rooms; invited ones too
  dmls room join tea

ROOM is a room's id (!...), or its name if no other known room has that name.

A second device of the same account must be approved on the first before anybody lets it read:
  dmls devices                               on the new device: shows its fingerprint
  dmls devices approve DEVICE --fingerprint F      on the approved one

Profiles:
  Everything a device keeps is in one sealed directory, DMLS_HOME/PROFILE (default
  $XDG_DATA_HOME/dmls/default). Its key is a file in it, or a passphrase if the profile was made
  with --passphrase-file or `login --ask-passphrase`.

Environment:
  DMLS_HOME              directory of the profiles
  DMLS_PASSPHRASE_FILE   file with the passphrase, as --passphrase-file
  NO_COLOR               no colours

Exit codes:
  0 ok   1 failure   2 usage   3 not logged in   4 network   5 undecryptable (messages --event)
  6 trust refused   7 profile in use by another process

JSON (--json): one object a line on stdout, each with `schema`: 1. Errors: one object on stderr,
{\"schema\":1,\"error\":{\"code\":...,\"message\":...}}. Codes do not change; messages may.";

/// What every command takes.
#[derive(Args, Debug)]
pub struct Options {
    /// Which profile (one device of one account) to use
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    pub profile: String,
    /// Print JSON: one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// File with the passphrase of the profile's store ("-" for standard input)
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
    /// How many seconds to wait for another process that has the profile open
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5)]
    pub lock_wait: u64,
    /// Tell on stderr what is going on
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Log in as a new device
    Login(Login),
    /// End this device: on the homeserver, in all rooms, and here
    Logout(Logout),
    /// List rooms (from the store)
    Rooms,
    /// Create, join, leave a room; invite and remove people
    #[command(subcommand)]
    Room(RoomCommand),
    /// Send a message
    Send(Send),
    /// Show messages (from the store)
    Messages(Messages),
    /// Show new messages as they come, until Ctrl-C
    Listen(Listen),
    /// Take in what is new, send what waits, do what is due
    Sync(Sync),
    /// Show who can read a room, and who cannot and why (from the store)
    Members(OneRoom),
    /// Show the newest epochs of a room (512, if it has so many): how its keys came about (from the store)
    Log(Log),
    /// Change this device's keys in a room now, so that stolen older ones are worth nothing
    Update(Update),
    /// List the account's devices; approve one
    Devices(Devices),
    /// Look whether all is well, and print a report without secrets
    Doctor,
    /// Play a net split and its healing among seven simulated people, and check what is promised
    Demo(Demo),
    /// Print a completion script for a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// `login`
#[derive(Args, Debug)]
#[command(after_help = "\
A log-in that was interrupted is continued by repeating it.
The first device of an account sets up cross-signing; every further one must be approved on an approved device.")]
pub struct Login {
    /// Address of the homeserver, such as `https://example.org`
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub homeserver: String,
    /// User name, such as alice or @alice:example.org
    pub user: String,
    /// File with the password ("-" for standard input); asked for without it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Ask for a passphrase that will be needed to open the new profile
    #[arg(long, conflicts_with = "passphrase_file")]
    pub ask_passphrase: bool,
    /// Name of the device, as your other devices and your homeserver show it
    #[arg(long, value_name = "NAME", default_value = "dmls")]
    pub device_name: String,
    #[command(flatten)]
    pub time: Time,
}

/// `logout`
#[derive(Args, Debug)]
#[command(after_help = "Messages kept in the profile are erased with it.")]
pub struct Logout {
    /// Erase the profile even if the homeserver cannot be told; the device then stays on the account's list
    #[arg(long)]
    pub force: bool,
}

/// `room ...`
#[derive(Subcommand, Debug)]
pub enum RoomCommand {
    /// Create an encrypted room
    Create {
        /// Its name
        #[arg(long)]
        name: String,
        /// Whom to invite; may be given several times
        #[arg(long, value_name = "USER", value_parser = user_id)]
        invite: Vec<String>,
        #[command(flatten)]
        time: Time,
    },
    /// Join a room that you are invited to, or that is open
    Join {
        /// Id, alias, or name of an invitation
        room: String,
        /// A homeserver that is in the room; may be given several times
        #[arg(long, value_name = "SERVER")]
        via: Vec<String>,
        #[command(flatten)]
        time: Time,
    },
    /// Leave a room, or decline its invitation
    Leave(OnlineRoom),
    /// Invite a user
    Invite(Person),
    /// Remove a user from a room
    Kick(Person),
}

/// A room, by a command that syncs.
#[derive(Args, Debug)]
pub struct OnlineRoom {
    /// Id or unique name
    pub room: String,
    #[command(flatten)]
    pub time: Time,
}

/// A user and a room.
#[derive(Args, Debug)]
pub struct Person {
    /// Id or unique name
    pub room: String,
    /// Full user id, such as @bob:example.net
    #[arg(value_parser = user_id)]
    pub user: String,
    #[command(flatten)]
    pub time: Time,
}

/// A room, read from the store.
#[derive(Args, Debug)]
pub struct OneRoom {
    /// Id or unique name
    pub room: String,
}

/// `send`
#[derive(Args, Debug)]
#[command(after_help = "\
With the homeserver away the message is kept and sent by the next sync; the exit code is then 4.
Write `--` before a text that begins with a dash.")]
pub struct Send {
    /// Id or unique name
    pub room: String,
    /// The text ("-" for standard input)
    pub text: String,
    #[command(flatten)]
    pub time: Time,
}

/// `messages`
#[derive(Args, Debug)]
#[command(after_help = "Shown is what the last sync brought; run `dmls sync` for what is new.")]
pub struct Messages {
    /// Id or unique name
    pub room: String,
    /// Show for each message the devices that can read it
    #[arg(long)]
    pub readers: bool,
    /// Only the newest so many
    #[arg(short = 'n', long = "newest", value_name = "N", conflicts_with = "event")]
    pub newest: Option<usize>,
    /// Only this event; exit code 5 if it cannot be read
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
}

/// `listen`
#[derive(Args, Debug)]
pub struct Listen {
    /// Id or unique name; all rooms without it
    pub room: Option<String>,
}

/// `sync`
#[derive(Args, Debug)]
#[command(after_help = "\
Ends when the homeserver had nothing new twice in a row and nothing is due within the next 5 seconds.")]
pub struct Sync {
    #[command(flatten)]
    pub time: Time,
}

/// `log`
#[derive(Args, Debug)]
#[command(after_help = "\
Marks in the graph: @ the epoch that is sent in, o other heads, * all others. A line down leads to the epoch that a
commit was made on; further lines of a merge lead to the heads that it brought together.")]
pub struct Log {
    /// Id or unique name
    pub room: String,
    /// Draw the epochs as a graph, newest first
    #[arg(long)]
    pub graph: bool,
}

/// `update`
#[derive(Args, Debug)]
pub struct Update {
    /// Id or unique name
    pub room: String,
    #[command(flatten)]
    pub time: Time,
}

/// `demo`
#[derive(Args, Debug)]
#[command(after_help = "\
Needs nothing but this program: homeservers, network and time are simulated, devices and cryptography are real.
The same seed gives the same bytes. Exit code 1 if a claim does not hold.")]
pub struct Demo {
    /// What all randomness follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// `devices`
#[derive(Args, Debug)]
pub struct Devices {
    #[command(subcommand)]
    pub action: Option<DevicesCommand>,
}

/// `devices ...`
#[derive(Subcommand, Debug)]
pub enum DevicesCommand {
    /// Vouch for another device of your account, so that others let it read
    #[command(after_help = "\
Read the fingerprint on the new device itself (`dmls devices` there), not from this one: the
homeserver could show another key here. Exit code 6 if it does not match.")]
    Approve {
        /// Id of the device
        device: String,
        /// Its fingerprint, as the device itself shows it
        #[arg(long, value_name = "FINGERPRINT")]
        fingerprint: String,
        #[command(flatten)]
        time: Time,
    },
}

/// How long a command may take.
#[derive(Args, Debug, Clone, Copy)]
pub struct Time {
    /// How many seconds the command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

fn user_id(text: &str) -> Result<String, String> {
    let is_user = text.strip_prefix('@').and_then(|rest| rest.split_once(':'));
    match is_user {
        Some((local, server)) if !local.is_empty() && !server.is_empty() => Ok(text.to_owned()),
        _ => Err("write the full user id, such as @bob:example.net".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn user_ids_are_full() {
        assert!(user_id("@a:b").is_ok());
        for bad in ["a", "@a", "@:b", "@a:", "!a:b"] {
            assert!(user_id(bad).is_err(), "{bad}");
        }
    }
}
