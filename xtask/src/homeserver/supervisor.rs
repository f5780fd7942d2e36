//! The one owner of an instance: it holds the switch and the servers' processes.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::admin::{ADMIN, ClientApi, http_client};
use super::config;
use super::error::Error;
use super::links::{Links, Pair};
use super::names::{ServerNumber, UserId};
use super::paths::{self, Layout};
use super::pki;
use super::ports::{Reserved, listen, port_of};
use super::process::{POLL, write_pid};
use super::random::Secret;
use super::record::{Record, ServerPorts};
use super::status::{LinkState, ServerStatus, Status};
use super::switch::Switch;
use super::synapse::Synapse;

/// How long a server may take to start: seconds, or a minute on a busy machine.
const LONGEST_START: Duration = Duration::from_secs(180);
/// How long two servers may take to find each other.
const LONGEST_GREETING: Duration = Duration::from_secs(90);

/// The one owner of an instance: it holds the switch and the servers' processes.
pub(super) struct Supervisor {
    pub(super) layout: Layout,
    python: PathBuf,
    record: Record,
    links: Arc<Links>,
    servers: Vec<Server>,
    /// Held for as long as the instance is run.
    lock: Mutex<Option<File>>,
}

/// A server, running or not.
struct Server {
    number: ServerNumber,
    api: ClientApi,
    slot: Mutex<Slot>,
    /// The ports stay the server's while it is stopped.
    _reserved: [Reserved; 2],
}

#[derive(Default)]
struct Slot {
    synapse: Option<Synapse>,
    /// The administrator's access token; kept over a stop, as the server keeps it.
    token: Option<Secret>,
}

/// Takes the instance's lock, or says that it is taken.
pub(super) fn lock(layout: &Layout) -> Result<File, Error> {
    let path = layout.lock();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    loop {
        let file = File::options().create(true).append(true).open(&path).map_err(Error::file(&path))?;
        match file.try_lock() {
            // Its last holder may have removed it after it was opened here: then it locks nothing.
            Ok(()) if is_at(&file, &path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(layout.instance.clone())),
            Err(TryLockError::Error(source)) => return Err(Error::file(&path)(source)),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

/// Removes all files of an instance, whose lock is held.
pub(super) fn remove_files(layout: &Layout, lock: File) -> Result<(), Error> {
    paths::remove_dir(&layout.dir())?;
    std::fs::remove_file(layout.lock()).map_err(Error::file(&layout.lock()))?;
    drop(lock);
    Ok(())
}

/// Reserves a server's client and federation ports, the former ones if they are free.
fn reserve(old: Option<&ServerPorts>) -> Result<[Reserved; 2], Error> {
    Ok([Reserved::new(old.map(|old| old.client))?, Reserved::new(old.map(|old| old.federation))?])
}

/// Makes the certificates and runs the servers' proxies in the background; gives the links that these obey.
fn start_switch(
    layout: &Layout,
    record: &Record,
    listeners: Vec<(ServerNumber, TcpListener)>,
) -> Result<Arc<Links>, Error> {
    let links = Arc::new(Links::new(record.count));
    let acceptor = pki::create(layout, record.count)?;
    let federation_ports = record.ports.iter().map(|ports| ports.federation).collect();
    let switch = Arc::new(Switch { links: Arc::clone(&links), acceptor, federation_ports });
    for (number, listener) in listeners {
        tokio::spawn(Arc::clone(&switch).serve(number, listener));
    }
    Ok(links)
}

impl Supervisor {
    /// Puts all files in place and starts the switch; the servers are started by [`Supervisor::ensure`].
    ///
    /// Must be called in a Tokio runtime, in which the switch then runs. `lock` is the instance's.
    pub(super) async fn open(layout: Layout, lock: File, mut record: Record, python: PathBuf) -> Result<Self, Error> {
        layout.create()?;
        let http = http_client()?;
        let old_ports = std::mem::take(&mut record.ports);
        let mut servers = Vec::new();
        let mut listeners = Vec::new();
        for number in record.count.servers() {
            let listener = listen(old_ports.get(number.index()).map(|old| old.proxy)).await?;
            let reserved = reserve(old_ports.get(number.index()))?;
            let [client, federation] = [reserved[0].port, reserved[1].port];
            let ports = ServerPorts { client, federation, proxy: port_of(&listener)? };
            layout.server(number).create()?;
            config::write(&layout, &record, number, ports)?;
            record.ports.push(ports);
            listeners.push((number, listener));
            let api = ClientApi::new(http.clone(), number, client);
            servers.push(Server { number, api, slot: Mutex::default(), _reserved: reserved });
        }
        record.save(&layout)?;
        write_pid(&layout.switch_pid(), std::process::id())?;
        let links = start_switch(&layout, &record, listeners)?;
        Ok(Self { layout, python, record, links, servers, lock: Mutex::new(Some(lock)) })
    }

    fn server(&self, number: ServerNumber) -> Result<&Server, Error> {
        let index = self.record.count.check(number)?;
        self.servers.get(index).ok_or(Error::UnknownServer { server: number, count: self.record.count })
    }

    /// Gives the base URL of a server's client API.
    pub(super) fn url(&self, number: ServerNumber) -> Result<&str, Error> {
        Ok(self.server(number)?.api.url())
    }

    /// Starts every server that does not run, waits until all serve and every link that is up works.
    ///
    /// Gives the servers that were started.
    pub(super) async fn ensure(self: &Arc<Self>) -> Result<Vec<ServerNumber>, Error> {
        let mut starts = JoinSet::new();
        for number in self.record.count.servers() {
            let supervisor = Arc::clone(self);
            starts.spawn(async move { Ok((number, supervisor.boot(number).await?)) });
        }
        let mut started: Vec<ServerNumber> = join_all(starts)
            .await?
            .into_iter()
            .filter(|(_, new)| *new == Started::Now)
            .map(|(number, _)| number)
            .collect();
        started.sort();
        self.greet_all(|_| true).await?;
        Ok(started)
    }

    /// Starts a server if it does not run; waits until it serves, and reaches those it has a link with.
    pub(super) async fn start(self: &Arc<Self>, number: ServerNumber) -> Result<(), Error> {
        self.boot(number).await?;
        self.greet_all(|pair| pair.0 == number || pair.1 == number).await
    }

    /// Starts a server if it does not run, and waits until it serves.
    async fn boot(&self, number: ServerNumber) -> Result<Started, Error> {
        let server = self.server(number)?;
        let mut slot = server.slot.lock().await;
        let started = self.run(server, &mut slot).await?;
        if slot.token.is_none() {
            slot.token = Some(self.administer(server).await?);
        }
        Ok(started)
    }

    async fn run(&self, server: &Server, slot: &mut Slot) -> Result<Started, Error> {
        if let Some(synapse) = &mut slot.synapse {
            match wait_healthy(synapse, server).await {
                Err(Error::Exited { .. }) => {}
                other => return other.map(|()| Started::Earlier),
            }
        }
        let synapse = Synapse::spawn(&self.python, server.number, self.layout.server(server.number))?;
        wait_healthy(slot.synapse.insert(synapse), server).await?;
        Ok(Started::Now)
    }

    /// Makes the administrator's account, or logs in if there is one.
    ///
    /// The log-in that comes with the registration does not count against Synapse's few log-ins per address.
    async fn administer(&self, server: &Server) -> Result<Secret, Error> {
        let password = &self.record.admin_password;
        match server.api.register_admin(&self.record.registration_secret, password).await {
            Err(error) if in_use(&error) => Ok(server.api.log_in(ADMIN, password).await?.1),
            other => other,
        }
    }

    /// Stops a server, if it runs, and waits until it is gone.
    pub(super) async fn stop(&self, number: ServerNumber) -> Result<(), Error> {
        let synapse = self.server(number)?.slot.lock().await.synapse.take();
        match synapse {
            Some(synapse) => synapse.end().await,
            None => Ok(()),
        }
    }

    /// Changes a link to cut or dropped.
    pub(super) fn sever(&self, a: ServerNumber, b: ServerNumber, state: LinkState) -> Result<(), Error> {
        self.links.set(a, b, state)
    }

    /// Lets a link pass again, and waits until both servers, if they run, reach each other.
    pub(super) async fn heal(self: &Arc<Self>, a: ServerNumber, b: ServerNumber) -> Result<(), Error> {
        self.links.set(a, b, LinkState::Up)?;
        self.greet(Pair::new(a, b)?).await
    }

    /// Waits until the servers of every chosen link that is up reach each other.
    async fn greet_all(self: &Arc<Self>, chosen: impl Fn(Pair) -> bool) -> Result<(), Error> {
        let mut greetings = JoinSet::new();
        for link in self.links.status() {
            let pair = Pair(link.a, link.b);
            if link.state == LinkState::Up && chosen(pair) {
                let supervisor = Arc::clone(self);
                greetings.spawn(async move { supervisor.greet(pair).await });
            }
        }
        join_all(greetings).await.map(drop)
    }

    /// Waits until two servers reach each other, in both directions; does nothing if one of them does not run.
    async fn greet(self: &Arc<Self>, pair: Pair) -> Result<(), Error> {
        let (Some(token_a), Some(token_b)) = (self.token(pair.0).await?, self.token(pair.1).await?) else {
            return Ok(());
        };
        let mut directions = JoinSet::new();
        for (from, to, token) in [(pair.0, pair.1, token_a), (pair.1, pair.0, token_b)] {
            let api = self.server(from)?.api.clone();
            directions.spawn(async move { reach(&api, from, to, &token).await });
        }
        join_all(directions).await.map(drop)
    }

    /// Gives the administrator's access token if the server runs.
    async fn token(&self, number: ServerNumber) -> Result<Option<Secret>, Error> {
        let mut slot = self.server(number)?.slot.lock().await;
        Ok(if slot.is_alive() { slot.token.clone() } else { None })
    }

    /// Registers a user; one who exists with the same password is as good.
    pub(super) async fn user(&self, number: ServerNumber, name: &str, password: &Secret) -> Result<UserId, Error> {
        let server = self.server(number)?;
        if !server.slot.lock().await.is_alive() {
            return Err(Error::Stopped(number));
        }
        let made = server.api.register(&self.record.registration_secret, name, password).await;
        match made {
            Err(error) if in_use(&error) => existing(&server.api, name, password).await,
            other => other,
        }
    }

    /// Shows all servers and links.
    pub(super) async fn status(&self) -> Status {
        let mut servers = Vec::new();
        for server in &self.servers {
            let running = server.slot.lock().await.is_alive();
            servers.push(ServerStatus { name: server.number, url: server.api.url().to_owned(), running });
        }
        Status { servers, links: self.links.status() }
    }

    /// Stops all servers, then does `then` to the files, then lets go of the instance.
    pub(super) async fn shut_down(self: &Arc<Self>, then: Files) -> Result<(), Error> {
        let mut ends = JoinSet::new();
        for number in self.record.count.servers() {
            let supervisor = Arc::clone(self);
            ends.spawn(async move { supervisor.stop(number).await });
        }
        // All of them, also if the end of one fails.
        let ended: Vec<Result<(), Error>> = ends.join_all().await;
        let held = self.lock.lock().await.take();
        if then == Files::Remove {
            // It may have ended by itself earlier, and then another process may have its name now.
            match held.map_or_else(|| lock(&self.layout), Ok) {
                Err(Error::Busy(_)) => {}
                held => remove_files(&self.layout, held?)?,
            }
        }
        ended.into_iter().collect()
    }
}

impl Slot {
    fn is_alive(&mut self) -> bool {
        self.synapse.as_mut().is_some_and(|synapse| synapse.check_alive().is_ok())
    }
}

/// Whether a server was started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    Now,
    Earlier,
}

/// What becomes of an instance's files at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    Remove,
    Keep,
}

fn in_use(error: &Error) -> bool {
    matches!(error, Error::Refused { body, .. } if body.contains("M_USER_IN_USE"))
}

/// Finds out that a user has this password.
async fn existing(api: &ClientApi, name: &str, password: &Secret) -> Result<UserId, Error> {
    let (id, token) = api.log_in(name, password).await.map_err(|error| match error {
        Error::Refused { status: 403, .. } => Error::UserExists(name.to_owned()),
        other => other,
    })?;
    api.log_out(&token).await?;
    Ok(id)
}

async fn wait_healthy(synapse: &mut Synapse, server: &Server) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        synapse.check_alive()?;
        let Err(error) = server.api.versions().await else {
            return Ok(());
        };
        if start.elapsed() > LONGEST_START {
            let what = format!("{} to serve clients ({error})", server.number);
            return Err(Error::Timeout { what, waited: LONGEST_START });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `from` reaches `to`.
async fn reach(api: &ClientApi, from: ServerNumber, to: ServerNumber, token: &Secret) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        api.reset_connection(token, to).await?;
        let Err(error) = api.federates_with(token, to).await else {
            return Ok(());
        };
        if start.elapsed() > LONGEST_GREETING {
            let what = format!("{from} to reach {to} ({error})");
            return Err(Error::Timeout { what, waited: LONGEST_GREETING });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits for all tasks, or until one fails: then the others are given up.
async fn join_all<T: 'static>(mut tasks: JoinSet<Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut results = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        results.push(joined.unwrap_or_else(|error| Err(Error::SwitchLost(error.to_string())))?);
    }
    Ok(results)
}
