//! Real homeservers: events cross a link, do not cross it while it is severed, and do after it is healed.
//!
//! `cargo test -p xtask --test homeserver -- --ignored --nocapture measure` prints how long heals take.
#![expect(clippy::print_stdout, reason = "measurements, and a message to the test that started this one")]

use std::error::Error;
use std::fmt::{Display, Formatter};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use xtask::homeserver::{Homeservers, InstanceName, Lifetime, LinkState, Options, ServerCount, ServerNumber, Status};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HS1: ServerNumber = ServerNumber::HS1;
const HS2: ServerNumber = ServerNumber::HS2;

/// How long a condition that should come true is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an event that should not arrive is watched for.
const WATCH: Duration = Duration::from_secs(3);

/// A logged-in user.
struct User {
    http: Client,
    url: String,
    id: String,
    token: String,
}

impl User {
    async fn log_in(servers: &Homeservers, server: ServerNumber, name: &str) -> Outcome<Self> {
        let id = servers.user(server, name, "password")?;
        // A connection that is kept for later would not outlive a stop of the server.
        let http = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build()?;
        let mut user = Self { http, url: servers.url(server)?.to_owned(), id: id.to_string(), token: String::new() };
        let identifier = json!({ "type": "m.id.user", "user": name });
        let body = json!({ "type": "m.login.password", "identifier": identifier, "password": "password" });
        user.token = text(&user.call(Method::POST, "login", body).await?, "access_token")?;
        Ok(user)
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Outcome<Value> {
        let request = self.http.request(method.clone(), format!("{}/_matrix/client/v3/{path}", self.url));
        let request = request.bearer_auth(&self.token);
        let request = if method == Method::GET { request } else { request.body(body.to_string()) };
        let response = request.send().await?;
        let status = response.status();
        let answer = response.text().await?;
        if status.is_success() {
            Ok(serde_json::from_str(&answer)?)
        } else {
            Err(format!("{path}: {status} {answer}").into())
        }
    }

    async fn send(&self, room: &str, words: &str) -> Outcome<String> {
        let transaction = words.replace(' ', "-");
        let path = format!("rooms/{room}/send/m.room.message/{transaction}");
        text(&self.call(Method::PUT, &path, json!({ "msgtype": "m.text", "body": words })).await?, "event_id")
    }

    async fn sees(&self, room: &str, event: &str) -> bool {
        self.call(Method::GET, &format!("rooms/{room}/event/{event}"), Value::Null).await.is_ok()
    }

    /// Waits until the user's server has the event; gives how long that took.
    async fn wait_for(&self, room: &str, event: &str) -> Outcome<Duration> {
        let start = Instant::now();
        while !self.sees(room, event).await {
            if start.elapsed() > PATIENCE {
                return Err(format!("{event} never reached {}", self.id).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(start.elapsed())
    }

    /// Watches that the user's server does not get the event.
    async fn keeps_missing(&self, room: &str, event: &str) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < WATCH {
            if self.sees(room, event).await {
                return Err(format!("{event} reached {} over a severed link", self.id).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

fn text(answer: &Value, field: &str) -> Outcome<String> {
    Ok(answer[field].as_str().ok_or_else(|| format!("no {field} in {answer}"))?.to_owned())
}

/// Two users on two servers in one room.
struct Pair {
    alice: User,
    bob: User,
    room: String,
}

impl Pair {
    async fn meet(servers: &Homeservers) -> Outcome<Self> {
        let alice = User::log_in(servers, HS1, "alice").await?;
        let bob = User::log_in(servers, HS2, "bob").await?;
        let content = json!({ "preset": "private_chat", "invite": [bob.id] });
        let room = text(&alice.call(Method::POST, "createRoom", content).await?, "room_id")?;
        bob.call(Method::POST, &format!("join/{room}?via={HS1}"), json!({})).await?;
        Ok(Self { alice, bob, room })
    }

    async fn exchange(&self, words: &str) -> Outcome {
        let from_alice = self.alice.send(&self.room, &format!("{words} from alice")).await?;
        self.bob.wait_for(&self.room, &from_alice).await?;
        let from_bob = self.bob.send(&self.room, &format!("{words} from bob")).await?;
        self.alice.wait_for(&self.room, &from_bob).await?;
        Ok(())
    }

    /// Uploads on one server and downloads from the other (Client-Server API, authenticated media).
    async fn hand_over_media(&self) -> Outcome {
        let content = vec![7; 5_000_000];
        let url = format!("{}/_matrix/media/v3/upload", self.alice.url);
        let upload = self.alice.http.post(url).bearer_auth(&self.alice.token).body(content.clone());
        let uploaded: Value = serde_json::from_str(&upload.send().await?.text().await?)?;
        let uri = text(&uploaded, "content_uri")?;
        let path = uri.trim_start_matches("mxc://");
        let url = format!("{}/_matrix/client/v1/media/download/{path}", self.bob.url);
        let download = self.bob.http.get(url).bearer_auth(&self.bob.token).send().await?;
        assert_eq!(download.bytes().await?, content);
        Ok(())
    }

    /// Sends in both directions while the link is severed, then heals it; gives how long the events then took.
    async fn sever(&self, servers: &Homeservers, state: LinkState, split: Duration, each: usize) -> Outcome<Healed> {
        match state {
            LinkState::Cut => servers.cut(HS1, HS2)?,
            _ => servers.drop_link(HS2, HS1)?,
        }
        assert_eq!(servers.status()?.links[0].state, state);
        let stamp = format!("{state:?} {split:?} {each}");
        let mut sent = Vec::new();
        for number in 0..each {
            let words = format!("{stamp} {number}");
            let from_alice = self.alice.send(&self.room, &format!("{words} from alice")).await?;
            let from_bob = self.bob.send(&self.room, &format!("{words} from bob")).await?;
            sent.push((from_alice, from_bob));
        }
        let last = sent.last().ok_or("nothing was sent")?;
        assert!(self.alice.sees(&self.room, &last.0).await);
        assert!(self.bob.sees(&self.room, &last.1).await);
        self.bob.keeps_missing(&self.room, &last.0).await?;
        self.alice.keeps_missing(&self.room, &last.1).await?;
        tokio::time::sleep(split).await;
        let start = Instant::now();
        servers.heal(HS1, HS2)?;
        let reachable = start.elapsed();
        self.bob.wait_for(&self.room, &last.0).await?;
        self.alice.wait_for(&self.room, &last.1).await?;
        let arrived = start.elapsed();
        let mut missing = 0;
        for (from_alice, from_bob) in &sent {
            missing += usize::from(!self.bob.sees(&self.room, from_alice).await);
            missing += usize::from(!self.alice.sees(&self.room, from_bob).await);
        }
        Ok(Healed { reachable, arrived, missing })
    }
}

/// How long after the beginning of a heal the servers reached each other and had each other's last events.
struct Healed {
    reachable: Duration,
    arrived: Duration,
    /// Earlier events that were not there yet then.
    missing: usize,
}

impl Display for Healed {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "reachable after {:.2?}, last events after {:.2?}, {} earlier ones missing then",
            self.reachable, self.arrived, self.missing
        )
    }
}

#[tokio::test]
async fn events_cross_a_link_unless_it_is_severed() -> Outcome {
    let servers = Homeservers::up(InstanceName::unique("links")?, ServerCount::TWO, Options::default())?;
    let pair = Pair::meet(&servers).await?;
    pair.exchange("first").await?;

    for state in [LinkState::Cut, LinkState::Dropped] {
        let healed = pair.sever(&servers, state, Duration::ZERO, 2).await?;
        println!("{state:?}: {healed}");
        pair.exchange(&format!("after {state:?}")).await?;
    }

    pair.hand_over_media().await?;

    let url = servers.url(HS2)?.to_owned();
    servers.stop(HS2)?;
    assert_eq!(running(&servers.status()?), [true, false]);
    let missed = pair.alice.send(&pair.room, "while hs2 is stopped").await?;
    servers.start(HS2)?;
    assert_eq!(servers.url(HS2)?, url);
    pair.bob.wait_for(&pair.room, &missed).await?;
    pair.exchange("after the stop").await?;

    let dir = servers.dir();
    servers.down()?;
    assert!(!dir.exists());
    assert_eq!(processes_naming(&dir)?, Vec::<String>::new());
    Ok(())
}

/// A server that was started inside a split still finds the others by name when the split ends.
#[tokio::test]
async fn a_server_restarted_in_a_split_federates_after_it() -> Outcome {
    let servers = Homeservers::up(InstanceName::unique("restart")?, ServerCount::TWO, Options::default())?;
    let pair = Pair::meet(&servers).await?;
    servers.cut(HS1, HS2)?;
    servers.stop(HS1)?;
    servers.start(HS1)?;
    let event = pair.alice.send(&pair.room, "in the split").await?;
    pair.bob.keeps_missing(&pair.room, &event).await?;
    servers.heal(HS1, HS2)?;
    pair.bob.wait_for(&pair.room, &event).await?;
    Ok(())
}

#[test]
fn users_and_instances_are_checked() -> Outcome {
    let name = InstanceName::unique("checks")?;
    let servers = Homeservers::up(name.clone(), ServerCount::ONE, Options::default())?;
    let id = servers.user(HS1, "carol", "one")?;
    assert_eq!(id.as_str(), "@carol:hs1.test");
    assert_eq!(servers.user(HS1, "carol", "one")?, id);
    let codes = [
        code(servers.user(HS1, "carol", "two")),
        code(servers.user(HS2, "carol", "one")),
        code(servers.cut(HS1, HS1)),
        code(servers.cut(HS1, HS2)),
        code(Homeservers::up(name, ServerCount::ONE, Options::default())),
    ];
    assert_eq!(codes, ["user_exists", "unknown_server", "same_server", "unknown_server", "busy"]);
    Ok(())
}

fn code<T>(result: Result<T, xtask::homeserver::Error>) -> String {
    result.err().map(|error| error.code().to_owned()).unwrap_or_default()
}

fn running(status: &Status) -> Vec<bool> {
    status.servers.iter().map(|server| server.running).collect()
}

/// Gives the command lines of all processes that name a path under `dir`.
fn processes_naming(dir: &Path) -> Outcome<Vec<String>> {
    let dir = format!("{}/", dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let cmdline = std::fs::read_to_string(entry?.path().join("cmdline")).unwrap_or_default();
        if cmdline.contains(&dir) {
            found.push(cmdline.replace('\0', " "));
        }
    }
    Ok(found)
}

fn wait_until_no_process_names(dir: &Path) -> Outcome {
    let start = Instant::now();
    loop {
        let left = processes_naming(dir)?;
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("still there: {left:?}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whoever forgets to end an instance does not keep its servers for ever.
#[test]
fn an_instance_ends_by_itself() -> Outcome {
    let lifetime = Lifetime(Duration::from_secs(1));
    let options = Options { lifetime, ..Options::default() };
    let servers = Homeservers::up(InstanceName::unique("lifetime")?, ServerCount::ONE, options)?;
    wait_until_no_process_names(&servers.dir())?;
    assert_eq!(running(&servers.status()?), [false]);
    let dir = servers.dir();
    drop(servers);
    assert!(!dir.exists() && !dir.with_extension("lock").exists());
    Ok(())
}

/// Not a test: what [`no_server_outlives_a_killed_test`] kills.
#[test]
#[ignore = "run by no_server_outlives_a_killed_test"]
fn killed_test() -> Outcome {
    let name: InstanceName = std::env::var("KILLED_TEST_INSTANCE")?.parse()?;
    let servers = Homeservers::up(name, ServerCount::ONE, Options::default())?;
    println!("\nup {}", servers.dir().display());
    std::thread::sleep(PATIENCE);
    Ok(())
}

#[test]
fn no_server_outlives_a_killed_test() -> Outcome {
    let name = InstanceName::unique("killed")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "killed_test", "--ignored", "--nocapture"])
        .env("KILLED_TEST_INSTANCE", name.as_str())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let line = output.lines().map_while(Result::ok).find(|line| line.starts_with("up "));
    let line = line.ok_or("the other test did not come up")?;
    let dir = Path::new(line.trim_start_matches("up "));
    assert_eq!(processes_naming(dir)?.len(), 1);
    child.kill()?;
    child.wait()?;
    wait_until_no_process_names(dir)?;
    // The next instance of this name starts afresh.
    Homeservers::up(name, ServerCount::ONE, Options::default())?.down()?;
    assert!(!dir.exists());
    Ok(())
}

/// The command, on one instance.
struct Shell(InstanceName);

impl Shell {
    fn run(&self, arguments: &str) -> Outcome<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["homeserver", "--instance", self.0.as_str()]).args(arguments.split(' '));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(said) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }

    fn status(&self) -> Outcome<Status> {
        Ok(serde_json::from_str(&self.run("status --json")?)?)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _best_effort = self.run("down");
    }
}

#[test]
fn commands_work_on_instances_side_by_side() -> Outcome {
    let one = Shell(InstanceName::unique("shell-one")?);
    let two = Shell(InstanceName::unique("shell-two")?);
    assert!(one.run("up 2")?.starts_with("started hs1.test, hs2.test\n"));
    assert!(two.run("up 1 --default-rate-limits")?.starts_with("started hs1.test\n"));
    assert!(one.run("up 2")?.starts_with("already up\n"));
    assert!(one.run("up 3").is_err());
    assert_eq!(one.run("user hs2 dave secret")?, "@dave:hs2.test\n");
    for (command, state) in [("cut", LinkState::Cut), ("drop", LinkState::Dropped), ("heal", LinkState::Up)] {
        one.run(&format!("{command} hs2.test hs1"))?;
        assert_eq!(one.status()?.links[0].state, state);
    }
    one.run("stop hs1")?;
    assert_eq!(running(&one.status()?), [false, true]);
    one.run("start hs1")?;
    assert_eq!(running(&one.status()?), [true, true]);
    let url = one.status()?.servers[0].url.clone();
    let kept = url_kept_over_a_crash(&one)?;
    assert_eq!(kept, url);
    two.run("down")?;
    assert_eq!(two.status()?, Status::default());
    assert_eq!(running(&one.status()?), [true, true]);
    one.run("down")?;
    assert_eq!(one.run("status")?, "not up\n");
    Ok(())
}

/// Kills the switch, with which the servers end; brings all up again; gives the first server's URL.
fn url_kept_over_a_crash(shell: &Shell) -> Outcome<String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?;
    let dir = root.join("homeservers").join(shell.0.as_str());
    let number = std::fs::read_to_string(dir.join("switch.pid"))?;
    Command::new("kill").args(["-KILL", number.trim()]).status()?;
    wait_until_no_process_names(&dir)?;
    assert!(shell.run("up 2")?.starts_with("started hs1.test, hs2.test\n"));
    // Accounts are still there: another password is refused.
    assert!(shell.run("user hs2 dave other").is_err());
    Ok(shell.status()?.servers[0].url.clone())
}

/// Prints how long heals take after short and long splits with few and many events.
#[tokio::test]
#[ignore = "a measurement of several minutes"]
async fn measure_heals() -> Outcome {
    let servers = Homeservers::up(InstanceName::unique("measure")?, ServerCount::TWO, Options::default())?;
    let pair = Pair::meet(&servers).await?;
    pair.exchange("first").await?;
    for state in [LinkState::Cut, LinkState::Dropped] {
        for (seconds, each) in [(0, 1), (0, 20), (30, 1), (75, 1), (0, 100)] {
            let healed = pair.sever(&servers, state, Duration::from_secs(seconds), each).await?;
            println!("{state:?} for {seconds} s and more, {each} events a side: {healed}");
        }
    }
    servers.stop(HS2)?;
    let missed = pair.alice.send(&pair.room, "while hs2 is stopped").await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let start = Instant::now();
    servers.start(HS2)?;
    let serving = start.elapsed();
    pair.bob.wait_for(&pair.room, &missed).await?;
    println!("stopped for 30 s: serving after {serving:.2?}, event after {:.2?}", start.elapsed());
    Ok(())
}
