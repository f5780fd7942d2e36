//! An instance that a test owns.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::error::Error;
use super::names::{InstanceName, ServerCount, ServerNumber, UserId};
use super::paths::{self, Layout};
use super::random::Secret;
use super::record::{Lifetime, Options, Record};
use super::status::{LinkState, Status};
use super::supervisor::{Files, Supervisor, lock};
use super::{control, venv, watchdog};

/// An instance of homeservers that ends with this value, or at the latest with this process, however that ends.
///
/// All functions block until what they promise is so; they may be called in an asynchronous context, whose thread
/// they then block. The switch runs on a thread of its own. While the process lives, `cargo xtask homeserver
/// --instance NAME` works on the instance too.
pub struct Homeservers {
    worker: Worker,
    supervisor: Arc<Supervisor>,
    ended: bool,
}

impl Homeservers {
    /// Starts `count` fresh servers as `instance`, and waits until they serve clients and federate with one another.
    ///
    /// What an earlier process left behind under this name is removed. The first call in a checkout installs Synapse,
    /// which takes about a minute; starting two servers takes about ten seconds.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process runs this instance; [`Error::Python`] and [`Error::Install`] if Synapse
    /// cannot be had; [`Error::Exited`] and [`Error::Timeout`] if a server does not come up.
    pub fn up(instance: InstanceName, count: ServerCount, options: Options) -> Result<Self, Error> {
        let layout = Layout::new(instance);
        let python = venv::python()?;
        let held = lock(&layout)?;
        paths::remove_dir(&layout.dir())?;
        let record = Record::new(count, options.rate_limits)?;
        let worker = Worker::new()?;
        let supervisor = worker.run(Supervisor::open(layout, held, record, python))?;
        let homeservers = Self { worker, supervisor: Arc::new(supervisor), ended: false };
        homeservers.run(|supervisor| async move { supervisor.ensure().await })?;
        homeservers.run(move |supervisor| guard(supervisor, options.lifetime))?;
        Ok(homeservers)
    }

    /// Gives the base URL of a server's client API, such as `http://127.0.0.1:40001`; it outlives a stop and start.
    ///
    /// # Errors
    /// [`Error::UnknownServer`].
    pub fn url(&self, server: ServerNumber) -> Result<&str, Error> {
        self.supervisor.url(server)
    }

    /// Gives the directory that holds the instance's configuration and logs.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.supervisor.layout.dir()
    }

    /// Registers a user; one who exists with the same password is as good.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::UserExists`]; [`Error::Refused`] if the name is not allowed.
    pub fn user(&self, server: ServerNumber, name: &str, password: &str) -> Result<UserId, Error> {
        let (name, password) = (name.to_owned(), Secret::new(password));
        self.run(move |supervisor| async move { supervisor.user(server, &name, &password).await })
    }

    /// Cuts a link, in both directions: existing connections are ended, new ones refused.
    ///
    /// # Errors
    /// [`Error::UnknownServer`] and [`Error::SameServer`].
    pub fn cut(&self, a: ServerNumber, b: ServerNumber) -> Result<(), Error> {
        self.supervisor.sever(a, b, LinkState::Cut)
    }

    /// Drops a link, in both directions: existing connections stand still, new ones hang.
    ///
    /// # Errors
    /// [`Error::UnknownServer`] and [`Error::SameServer`].
    pub fn drop_link(&self, a: ServerNumber, b: ServerNumber) -> Result<(), Error> {
        self.supervisor.sever(a, b, LinkState::Dropped)
    }

    /// Heals a link, and waits until both servers, if they run, reach each other and send what they owe.
    ///
    /// Their queued events arrive soon after, not before this returns.
    ///
    /// # Errors
    /// [`Error::UnknownServer`] and [`Error::SameServer`]; [`Error::Timeout`] if they do not reach each other.
    pub fn heal(&self, a: ServerNumber, b: ServerNumber) -> Result<(), Error> {
        self.run(move |supervisor| async move { supervisor.heal(a, b).await })
    }

    /// Stops a server if it runs; others, and clients, find its ports closed.
    ///
    /// # Errors
    /// [`Error::UnknownServer`]; [`Error::System`] if it cannot be ended.
    pub fn stop(&self, server: ServerNumber) -> Result<(), Error> {
        self.run(move |supervisor| async move { supervisor.stop(server).await })
    }

    /// Starts a server if it is stopped, on the same ports, and waits until it serves clients and, over every link
    /// that is up, reaches the other servers that run.
    ///
    /// # Errors
    /// [`Error::UnknownServer`]; [`Error::Exited`] and [`Error::Timeout`] if it does not come up.
    pub fn start(&self, server: ServerNumber) -> Result<(), Error> {
        self.run(move |supervisor| async move { supervisor.start(server).await })
    }

    /// Shows all servers and links.
    ///
    /// # Errors
    /// [`Error::SwitchLost`] if the switch's thread has ended.
    pub fn status(&self) -> Result<Status, Error> {
        self.run(|supervisor| async move { Ok(supervisor.status().await) })
    }

    /// Ends all servers, waits until they are gone and removes the instance's files.
    ///
    /// # Errors
    /// [`Error::System`] and [`Error::File`]. Dropping the value does the same, silently.
    pub fn down(mut self) -> Result<(), Error> {
        self.end(Files::Remove)
    }

    fn end(&mut self, files: Files) -> Result<(), Error> {
        self.ended = true;
        self.run(move |supervisor| async move { supervisor.shut_down(files).await })
    }

    /// Does work on the switch's thread and waits for its result.
    fn run<T, F>(&self, work: impl FnOnce(Arc<Supervisor>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.worker.run(work(Arc::clone(&self.supervisor)))
    }
}

impl Drop for Homeservers {
    /// Ends all servers; removes the files too unless a test has failed, whose cause they may show.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let failed = std::thread::panicking();
        let ended = self.end(if failed { Files::Keep } else { Files::Remove });
        if failed {
            let dir = self.dir();
            let _unseen = writeln!(std::io::stderr(), "the homeservers' logs: {}", dir.display());
        }
        if let Err(error) = ended {
            let _unseen = writeln!(std::io::stderr(), "ending the homeservers: {error}");
        }
    }
}

impl fmt::Debug for Homeservers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Homeservers").field(&self.supervisor.layout.instance).finish()
    }
}

/// Opens the instance to commands and sees to it that it ends some day.
async fn guard(supervisor: Arc<Supervisor>, lifetime: Lifetime) -> Result<(), Error> {
    let (sender, notices) = mpsc::unbounded_channel();
    control::serve(&supervisor, sender).await?;
    tokio::spawn(watchdog::watch(supervisor, lifetime, notices));
    Ok(())
}

/// The thread on which the switch runs.
struct Worker {
    /// Taken when the value is dropped.
    runtime: Option<Runtime>,
}

impl Worker {
    fn new() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::system("making the switch's thread"))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Does work there and blocks until it is done; unlike `block_on`, also in an asynchronous context.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let lost = || Error::SwitchLost("its thread has ended".to_owned());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().ok_or_else(lost)?;
        runtime.spawn(async move { sender.send(work.await) });
        receiver.recv().unwrap_or_else(|_| Err(lost()))
    }
}

impl Drop for Worker {
    /// Lets the thread end by itself: an ordinary drop would panic in an asynchronous context.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
