//! An instance that outlives the command that starts it: run by a process of its own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::control::{self, Reply, Request};
use super::error::Error;
use super::names::{InstanceName, ServerCount, ServerNumber, UserId};
use super::paths::{self, Layout};
use super::process::{Identified, POLL, wait_until};
use super::random::Secret;
use super::record::{Options, RateLimits, Record};
use super::status::{LinkState, Status};
use super::supervisor::{Files, Supervisor, lock, remove_files};
use super::{venv, watchdog};

/// How long the switch may take to start; the servers come after.
const LONGEST_SWITCH_START: Duration = Duration::from_secs(60);
/// How long an instance's end may take after its servers have ended.
const LONGEST_END: Duration = Duration::from_secs(30);

/// The commands on one instance that is run by a process of its own.
#[derive(Debug)]
pub struct Detached {
    layout: Layout,
}

/// What [`Detached::up`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// All ran already, and is healthy.
    Already,
    /// These servers did not run and were started.
    Started(Vec<ServerNumber>),
}

impl Detached {
    /// Names an instance, which may or may not be up.
    #[must_use]
    pub fn new(instance: InstanceName) -> Self {
        Self { layout: Layout::new(instance) }
    }

    /// Makes the instance be up: starts what does not run and waits until all is healthy.
    ///
    /// `program` is this tool's executable, which becomes the switch.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it exists with other options; as [`super::Homeservers::up`] otherwise.
    pub fn up(&self, program: &Path, count: ServerCount, options: Options) -> Result<Up, Error> {
        venv::python()?;
        if let Some(record) = Record::load(&self.layout) {
            record.check(&self.layout, count, options.rate_limits)?;
        }
        if let Err(error) = control::request(&self.layout, Request::Status) {
            if !matches!(error, Error::NotUp(_)) {
                return Err(error);
            }
            self.start_switch(program, count, options)?;
        }
        match control::request(&self.layout, Request::Ensure)? {
            Reply::Started { servers } if servers.is_empty() => Ok(Up::Already),
            Reply::Started { servers } => Ok(Up::Started(servers)),
            _ => Err(unexpected()),
        }
    }

    /// Starts the process that runs the instance, and waits until it answers.
    fn start_switch(&self, program: &Path, count: ServerCount, options: Options) -> Result<(), Error> {
        self.layout.create()?;
        let path = self.layout.switch_log();
        let mut create = std::fs::File::options();
        let log = create.create(true).append(true).open(&path).map_err(Error::file(&path))?;
        let errors = log.try_clone().map_err(Error::file(&path))?;
        let mut command = Command::new(program);
        command.arg("switch").arg(self.layout.dir()).arg(count.to_string());
        command.arg(options.lifetime.0.as_secs().to_string());
        if options.rate_limits == RateLimits::Default {
            command.arg("--default-rate-limits");
        }
        // A group of its own: neither Ctrl-C nor the terminal's end concerns it.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn().map_err(Error::system("starting the switch"))?;
        self.wait_for_switch(child)
    }

    fn wait_for_switch(&self, mut child: Child) -> Result<(), Error> {
        let start = Instant::now();
        while control::request(&self.layout, Request::Status).is_err() {
            let ended = child.try_wait().map_err(Error::system("looking after the switch"))?;
            // It ends at once if another command has started one meanwhile, which then is to answer.
            if let Some(status) = ended
                && lock(&self.layout).is_ok()
            {
                let log = paths::last_lines(&self.layout.switch_log());
                return Err(Error::SwitchLost(format!("{status}\n{log}")));
            }
            if start.elapsed() > LONGEST_SWITCH_START {
                let what = format!("the switch of instance {}", self.layout.instance);
                return Err(Error::Timeout { what, waited: LONGEST_SWITCH_START });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Registers a user; one who exists with the same password is as good.
    ///
    /// # Errors
    /// [`Error::NotUp`]; as [`super::Homeservers::user`] otherwise.
    pub fn user(&self, server: ServerNumber, name: &str, password: &str) -> Result<UserId, Error> {
        let request = Request::User { server, name: name.to_owned(), password: Secret::new(password) };
        match control::request(&self.layout, request)? {
            Reply::User { id } => Ok(id),
            _ => Err(unexpected()),
        }
    }

    /// Changes a link; after a heal, waits until both servers, if they run, reach each other.
    ///
    /// # Errors
    /// [`Error::NotUp`]; as [`super::Homeservers::heal`] otherwise.
    pub fn set_link(&self, a: ServerNumber, b: ServerNumber, state: LinkState) -> Result<(), Error> {
        self.done(match state {
            LinkState::Up => Request::Heal { a, b },
            LinkState::Cut => Request::Cut { a, b },
            LinkState::Dropped => Request::Drop { a, b },
        })
    }

    /// Stops a server if it runs.
    ///
    /// # Errors
    /// [`Error::NotUp`]; as [`super::Homeservers::stop`] otherwise.
    pub fn stop(&self, server: ServerNumber) -> Result<(), Error> {
        self.done(Request::Stop { server })
    }

    /// Starts a server if it is stopped, and waits until it serves clients and reaches the others.
    ///
    /// # Errors
    /// [`Error::NotUp`]; as [`super::Homeservers::start`] otherwise.
    pub fn start(&self, server: ServerNumber) -> Result<(), Error> {
        self.done(Request::Start { server })
    }

    fn done(&self, request: Request) -> Result<(), Error> {
        match control::request(&self.layout, request)? {
            Reply::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Shows all servers and links; none if the instance is not up.
    ///
    /// # Errors
    /// [`Error::SwitchLost`].
    pub fn status(&self) -> Result<Status, Error> {
        match control::request(&self.layout, Request::Status) {
            Ok(Reply::Status { status }) => Ok(status),
            Ok(_) => Err(unexpected()),
            Err(Error::NotUp(_)) => Ok(Status::default()),
            Err(error) => Err(error),
        }
    }

    /// Ends the instance if it is up, waits until its processes are gone and removes its files.
    ///
    /// # Errors
    /// [`Error::Busy`] if a process that is not this tool's runs it and does not answer; [`Error::System`] and
    /// [`Error::File`].
    pub fn down(&self) -> Result<(), Error> {
        let dir = self.layout.dir();
        if !dir.exists() {
            return Ok(());
        }
        let switch = Identified::find(&self.layout.switch_pid(), &dir);
        match self.done(Request::Down) {
            Ok(()) => {
                if let Some(switch) = switch {
                    switch.wait_gone(LONGEST_END)?;
                }
                return Ok(());
            }
            Err(Error::NotUp(_) | Error::SwitchLost(_)) => {}
            Err(error) => return Err(error),
        }
        if let Some(switch) = switch {
            switch.end()?;
        }
        for server in ServerCount::MOST.servers() {
            if let Some(process) = Identified::find(&self.layout.server(server).pid(), &dir) {
                process.end()?;
            }
        }
        wait_until("the instance's lock", LONGEST_END, || lock(&self.layout).is_ok())
            .map_err(|_| Error::Busy(self.layout.instance.clone()))?;
        remove_files(&self.layout, lock(&self.layout)?)
    }
}

fn unexpected() -> Error {
    Error::SwitchLost("it gave an answer to another question".to_owned())
}

/// Runs the instance whose directory is `dir` until it ends; this is all that the process does.
///
/// # Errors
/// As [`super::Homeservers::up`].
pub async fn run_switch(dir: &Path, count: ServerCount, options: Options) -> Result<(), Error> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let layout = Layout::new(name.parse()?);
    let python: PathBuf = venv::python()?;
    let held = lock(&layout)?;
    let record = match Record::load(&layout) {
        Some(record) => record,
        None => Record::new(count, options.rate_limits)?,
    };
    record.check(&layout, count, options.rate_limits)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(Error::system("listening to signals"))?;
    tokio::spawn(async move { while hang_up.recv().await.is_some() {} });
    let supervisor = Arc::new(Supervisor::open(layout, held, record, python).await?);
    let (sender, notices) = mpsc::unbounded_channel();
    control::serve(&supervisor, sender).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::system("listening to signals"))?;
    tokio::select! {
        ended = watchdog::watch(Arc::clone(&supervisor), options.lifetime, notices) => ended,
        _ = terminate.recv() => supervisor.shut_down(Files::Keep).await,
    }
}
