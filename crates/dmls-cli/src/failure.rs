//! Failures of a command: code for scripts, words for people, exit code.

use std::fmt::Display;
use std::io;

use dmls_client::driver::{ClientError, MachineError};
use dmls_client::error::{ApiError, IdentityError};
use dmls_store::StoreError;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something else went wrong.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Nobody is logged in, or no longer.
    NotLoggedIn = 3,
    /// The homeserver cannot be reached, or not now.
    Network = 4,
    /// The message asked for cannot be read.
    Undecryptable = 5,
    /// A key is not the one that was confirmed.
    TrustRefused = 6,
    /// Another process has the profile open.
    Locked = 7,
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// Stable word.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The reader of our output went away: nobody is there to be told.
    pub silent: bool,
}

impl Failure {
    /// A failure in words.
    pub fn new(exit: Exit, code: &'static str, message: impl Display) -> Self {
        Self { exit, code, message: message.to_string(), silent: false }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }
}

/// Writing results failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        Self { silent, ..Self::new(Exit::Failure, "output", format!("the output cannot be written: {error}")) }
    }
}

/// The simulated world broke off.
impl From<dmls_sim::world::Fault> for Failure {
    fn from(fault: dmls_sim::world::Fault) -> Self {
        Self::new(Exit::Failure, "simulation", fault)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(exit_of(&error), error.code(), words(&error))
    }
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        ClientError::from(error).into()
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::NotLoggedIn | ClientError::SessionEnded { .. } => Exit::NotLoggedIn,
        ClientError::BadProfileName(_) => Exit::Usage,
        ClientError::Store(StoreError::Locked { .. }) => Exit::Locked,
        ClientError::Identity(IdentityError::TrustRefused { .. }) => Exit::TrustRefused,
        error if error.is_network() => Exit::Network,
        error => match error.api() {
            Some(ApiError::BadRequest(_)) => Exit::Usage,
            _ => Exit::Failure,
        },
    }
}

/// The error's words and what helps.
fn words(error: &ClientError) -> String {
    let hint = match error {
        ClientError::NotLoggedIn => "run `dmls login URL USER`, or choose another --profile",
        ClientError::LoggedInAlready { .. } => "use another --profile for another account, or `dmls logout` first",
        ClientError::SessionEnded { can_continue: true } => "run `dmls login` again to go on with it",
        ClientError::SessionEnded { can_continue: false } => {
            "what it had read stays readable here (`dmls messages`); log in as a new device with another --profile, or \
             erase this one with `dmls logout`"
        }
        ClientError::UnknownRoom(_) => "`dmls rooms` lists the known ones, `dmls sync` asks for new ones",
        ClientError::Store(StoreError::Locked { .. }) => "wait for it, or use another --profile",
        ClientError::Store(StoreError::WrongKeyKind { .. }) => "look at --passphrase-file and DMLS_PASSPHRASE_FILE",
        ClientError::Identity(IdentityError::NotEndorsed) => "run this on an approved device of the account",
        ClientError::Identity(IdentityError::TrustRefused { .. }) => {
            "compare it with `dmls devices` on that very device; if it differs there too, somebody is in between"
        }
        error if error.wants_password() => "run `dmls login` again, with the same user",
        error => match error.api() {
            Some(ApiError::Refused { status: 403, .. }) => return refused(error),
            Some(ApiError::BadRequest(why)) => return (*why).to_owned(),
            Some(ApiError::Unreachable(_)) => "nothing is lost: try again later",
            _ => return error.to_string(),
        },
    };
    format!("{error}; {hint}")
}

fn refused(error: &ClientError) -> String {
    match error.api() {
        Some(ApiError::Refused { message, .. }) if !message.is_empty() => {
            format!("the homeserver refuses: {}", message.trim_end_matches('.'))
        }
        _ => error.to_string(),
    }
}
