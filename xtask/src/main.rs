//! `cargo xtask`: tasks of this repository.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use xtask::assure::{self, Dirty, Lane, assure};
use xtask::attacks::attacks;
use xtask::bench::{self, bench};
use xtask::demo::{Afterwards, Outcome, demo};
use xtask::gate::{self, Counts, Scope};
use xtask::homeserver::detached::{Detached, Up, run_switch};
use xtask::homeserver::{
    Error, InstanceName, Lifetime, LinkState, Options, RateLimits, ServerCount, ServerNumber, Status,
};
use xtask::mutants;

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that a change must pass: format, clippy, docs, all tests, and the checks below.
    Test {
        /// Leave out the tests that start homeservers.
        #[arg(long)]
        quick: bool,
    },
    /// Run the attack suite: each attack fails, and succeeds once its defence is switched off.
    Attacks {
        /// Only these: ids (F2), or the first letters of ids (F).
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Run the core's unit tests without each check that assurance/mutants names: a test must fail each time.
    Mutants {
        /// Only these: ids (M12), or the first letters of ids (M).
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// An integration test of the core to run too (several: again).
        #[arg(long = "test", value_name = "NAME")]
        tests: Vec<String>,
        /// Only write the tree with switches, and print where it is.
        #[arg(long)]
        write: bool,
    },
    /// Run the long lanes for a while, and append what they ran to assurance/ledger.csv.
    Assure {
        /// For how long, building not counted.
        #[arg(long, value_name = "N", default_value_t = 30)]
        minutes: u64,
        /// Only this lane (several: again): real, fast, model, kill, soak, fuzz-NAME.
        #[arg(long = "lane", value_name = "LANE")]
        lanes: Vec<Lane>,
        /// Run although files differ from the commit; the ledger says so.
        #[arg(long)]
        allow_dirty: bool,
    },
    /// Measure what dmls costs, beside its primitives' limit and its peers, and write bench/RESULTS.md.
    Bench {
        /// How many devices a room has (10, 100 and 1000).
        #[arg(value_name = "N")]
        sizes: Vec<u32>,
        /// One JSON object a line on standard output.
        #[arg(long)]
        json: bool,
        /// Only rows whose names begin so (several: again); then RESULTS.md stays as it is.
        #[arg(long = "only", value_name = "ROW")]
        only: Vec<String>,
        /// Only these contestants: module, core, openmls, mls-rs, beekem, megolm (several: again); likewise.
        #[arg(long = "by", value_name = "WHO")]
        by: Vec<String>,
        /// How many seconds it may take to make ready for rows about the past (300).
        #[arg(long, value_name = "SECONDS")]
        budget: Option<u64>,
    },
    /// Check that each paragraph of docs/SPEC.md is cited by code and by a test.
    Spec,
    /// Check that each row of docs/MLS.md that is built is cited by code and by its test.
    Mls,
    /// Check that each layer uses only the layers below it.
    Arrows,
    /// Check the licences of all dependencies.
    Licences,
    /// Real, federated Matrix homeservers on this machine, whose links can be cut.
    Homeserver(Homeserver),
    /// Play a net split on two real homeservers, and watch the room's forks merge.
    Demo {
        /// Leave the homeservers running afterwards, as instance `demo`.
        #[arg(long)]
        keep: bool,
    },
    /// The process that runs an instance of homeservers; started by `homeserver up`.
    #[command(hide = true)]
    Switch {
        dir: PathBuf,
        count: ServerCount,
        lifetime_seconds: u64,
        #[arg(long)]
        default_rate_limits: bool,
    },
}

#[derive(clap::Args)]
struct Homeserver {
    /// The instance: several can be up side by side.
    #[arg(long, default_value = "default", global = true)]
    instance: InstanceName,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make N servers be up: hs1.test, hs2.test, ... (the first time installs Synapse).
    Up {
        /// How many servers, 1 to 9.
        #[arg(value_name = "N")]
        count: ServerCount,
        /// Keep Synapse's own rate limits, which tests soon meet.
        #[arg(long)]
        default_rate_limits: bool,
        /// After how many minutes all ends by itself.
        #[arg(long, value_name = "MINUTES", default_value_t = 120)]
        lifetime: u64,
    },
    /// Register a user; one who exists with this password is as good.
    User { server: ServerNumber, name: String, password: String },
    /// Cut the link of two servers: connections are ended and refused.
    Cut { a: ServerNumber, b: ServerNumber },
    /// Drop what two servers send each other: connections hang.
    Drop { a: ServerNumber, b: ServerNumber },
    /// Let two servers reach each other again, and wait until they do.
    Heal { a: ServerNumber, b: ServerNumber },
    /// Stop a server.
    Stop { server: ServerNumber },
    /// Start a stopped server, on the same ports.
    Start { server: ServerNumber },
    /// Show all servers and links.
    Status {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// End all servers and remove their files.
    Down,
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Test { quick } => {
            let scope = if quick { Scope::Quick } else { Scope::All };
            counted(|counts| gate::test(scope, counts))
        }
        Task::Attacks { ids } => counted(|counts| attacks(&ids, counts).and_then(told)),
        Task::Mutants { ids, tests, write } => {
            let options = mutants::Options { ids, tests, write_only: write };
            counted(|counts| mutants::mutants(&options, counts).and_then(told))
        }
        Task::Assure { minutes, lanes, allow_dirty } => {
            let dirty = if allow_dirty { Dirty::Allow } else { Dirty::Refuse };
            end(assure(&assure::Options { minutes, lanes, dirty }))
        }
        Task::Bench { sizes, json, only, by, budget } => end(bench(&bench::Options { sizes, json, only, by, budget })),
        Task::Spec => end(gate::spec().and_then(told)),
        Task::Mls => end(gate::mls().and_then(told)),
        Task::Arrows => end(gate::arrows().and_then(told)),
        Task::Licences => end(gate::licences().and_then(told)),
        Task::Homeserver(homeserver) => end(run(homeserver)),
        Task::Demo { keep } => play(keep),
        Task::Switch { dir, count, lifetime_seconds, default_rate_limits } => {
            end(switch(&dir, count, options(default_rate_limits, Duration::from_secs(lifetime_seconds))))
        }
    }
}

fn end(done: Result<(), impl Display>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _unseen = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn told(line: String) -> Result<(), gate::Error> {
    writeln!(std::io::stdout(), "{line}").map_err(gate::Error::Output)
}

/// The last line says how many tests passed and failed, whatever else happened.
fn counted(tests: impl FnOnce(&mut Counts) -> Result<(), gate::Error>) -> ExitCode {
    let mut counts = Counts::default();
    let code = end(tests(&mut counts));
    let _unseen = writeln!(std::io::stdout(), "{counts}");
    code
}

fn play(keep: bool) -> ExitCode {
    match demo(if keep { Afterwards::Keep } else { Afterwards::End }) {
        Ok(Outcome::Held) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            let _unseen = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(default_rate_limits: bool, lifetime: Duration) -> Options {
    let rate_limits = if default_rate_limits { RateLimits::Default } else { RateLimits::Raised };
    Options { rate_limits, lifetime: Lifetime(lifetime) }
}

fn switch(dir: &std::path::Path, count: ServerCount, options: Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::System { what: "starting".to_owned(), source })?;
    runtime.block_on(run_switch(dir, count, options))
}

fn run(homeserver: Homeserver) -> Result<(), Error> {
    let servers = Detached::new(homeserver.instance);
    match homeserver.action {
        Action::Up { count, default_rate_limits, lifetime } => {
            up(&servers, count, options(default_rate_limits, Duration::from_secs(lifetime.saturating_mul(60))))
        }
        Action::User { server, name, password } => say(servers.user(server, &name, &password)?),
        Action::Cut { a, b } => servers.set_link(a, b, LinkState::Cut),
        Action::Drop { a, b } => servers.set_link(a, b, LinkState::Dropped),
        Action::Heal { a, b } => servers.set_link(a, b, LinkState::Up),
        Action::Stop { server } => servers.stop(server),
        Action::Start { server } => servers.start(server),
        Action::Status { json } => show(&servers.status()?, json),
        Action::Down => servers.down(),
    }
}

fn up(servers: &Detached, count: ServerCount, options: Options) -> Result<(), Error> {
    let program = std::env::current_exe();
    let program = program.map_err(|source| Error::System { what: "finding this program".to_owned(), source })?;
    match servers.up(&program, count, options)? {
        Up::Already => say("already up")?,
        Up::Started(started) => {
            let names: Vec<String> = started.iter().map(ToString::to_string).collect();
            say(format!("started {}", names.join(", ")))?;
        }
    }
    show(&servers.status()?, false)
}

fn show(status: &Status, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string(status);
        return say(text.map_err(|error| Error::SwitchLost(error.to_string()))?);
    }
    if status.servers.is_empty() {
        return say("not up");
    }
    for server in &status.servers {
        let running = if server.running { "running" } else { "stopped" };
        say(format!("{}  {running}  {}", server.name, server.url))?;
    }
    for link in &status.links {
        let state = match link.state {
            LinkState::Up => "up",
            LinkState::Cut => "cut",
            LinkState::Dropped => "dropped",
        };
        say(format!("{} - {}  {state}", link.a, link.b))?;
    }
    Ok(())
}

fn say(line: impl Display) -> Result<(), Error> {
    match writeln!(std::io::stdout(), "{line}") {
        // Whoever reads this has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(Error::System { what: "writing to standard output".to_owned(), source }),
        Ok(()) => Ok(()),
    }
}
