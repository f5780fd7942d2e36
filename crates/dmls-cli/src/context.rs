//! What all commands need: profile, key, output.

use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use dmls_client::driver::{Client, ClientError, Local, Profile};
use dmls_store::{Key, KeyKind};
use zeroize::Zeroizing;

use crate::args::Options;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::secrets;

/// What all commands need.
pub struct Context {
    /// How to print.
    pub output: Output,
    /// The chosen profile.
    pub profile: Profile,
    passphrase: Option<Passphrase>,
}

struct Passphrase {
    text: Zeroizing<String>,
    /// Given for this very run, not by the environment.
    explicit: bool,
}

impl Context {
    /// Reads options and environment.
    pub fn new(options: &Options, output: Output) -> Result<Self, Failure> {
        let profile = Profile::new(&home()?, &options.profile, Duration::from_secs(options.lock_wait))?;
        let from_environment =
            || env::var_os("DMLS_PASSPHRASE_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let file = options.passphrase_file.clone().map(|path| (path, true));
        let file = file.or_else(|| from_environment().map(|path| (path, false)));
        let read = |(path, explicit): (PathBuf, bool)| {
            Ok::<_, Failure>(Passphrase { text: secrets::from_file(&path, "passphrase")?, explicit })
        };
        Ok(Self { output, profile, passphrase: file.map(read).transpose()? })
    }

    /// A passphrase that was asked for.
    pub fn use_passphrase(&mut self, text: Zeroizing<String>) {
        self.passphrase = Some(Passphrase { text, explicit: true });
    }

    /// The key for a store of this kind; for a new store the passphrase, if one was given.
    pub fn key(&self, kind: Option<KeyKind>) -> Result<Key, ClientError> {
        match (kind, &self.passphrase) {
            (Some(KeyKind::File), Some(given)) if !given.explicit => Ok(Key::File),
            (_, Some(given)) => Ok(Key::passphrase(given.text.as_str())),
            (Some(KeyKind::Passphrase), None) => {
                let asked = secrets::ask("Passphrase of this profile: ").map_err(|error| {
                    ClientError::NoKey(format!("the profile needs its passphrase ({error}): give --passphrase-file"))
                })?;
                Ok(Key::passphrase(asked.as_str()))
            }
            (_, None) => Ok(Key::File),
        }
    }

    /// Opens the profile to read from it.
    pub fn local(&self) -> Result<Local, Failure> {
        Ok(Local::open(&self.profile, &mut |kind| self.key(kind))?)
    }

    /// Opens the profile and its identity, to go online.
    pub async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::open(self.local()?, self.output.observer()).await?)
    }
}

/// Runs `work` to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, "system", error))?;
    let done = runtime.block_on(work);
    // Requests that a dead homeserver holds up are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

fn home() -> Result<PathBuf, Failure> {
    let directory = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = directory("DMLS_HOME")
        .or_else(|| directory("XDG_DATA_HOME").filter(|path| path.is_absolute()).map(|data| data.join("dmls")))
        .or_else(|| directory("HOME").map(|home| home.join(".local/share/dmls")));
    home.ok_or_else(|| Failure::usage("there is no home directory: set DMLS_HOME"))
}
