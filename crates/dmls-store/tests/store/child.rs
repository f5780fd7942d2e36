//! A second process: this test binary again, with a task in its environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dmls::journal::{Journal, Records};
use dmls_store::{SqliteStore, StoreError};

use crate::crash::{step, steps_done};
use crate::world::{T, raw};

const TASK: &str = "DMLS_STORE_TEST_TASK";
const DIR: &str = "DMLS_STORE_TEST_DIR";

/// Starts a child on `task`; what it says goes to its standard output.
pub fn spawn(task: &str, dir: &Path) -> Child {
    command(Command::new(std::env::current_exe().unwrap()), task, dir).spawn().unwrap()
}

/// Starts a child whose files may not grow over `blocks` (of 512 or 1024 bytes, as the shell has it).
#[cfg(unix)]
pub fn spawn_limited(task: &str, dir: &Path, blocks: u32) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &blocks.to_string()]);
    shell.arg(std::env::current_exe().unwrap());
    command(shell, task, dir).spawn().unwrap()
}

fn command(mut command: Command, task: &str, dir: &Path) -> Command {
    command.args(["--exact", "child::entry", "--nocapture", "--test-threads", "1"]);
    command.env(TASK, task).env(DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Where children begin; does nothing in an ordinary run of the tests.
#[test]
fn entry() {
    let (Ok(task), Ok(dir)) = (std::env::var(TASK), std::env::var(DIR)) else { return };
    let store = SqliteStore::open(Path::new(&dir), &raw(), Duration::ZERO);
    match (task.as_str(), store) {
        (_, Err(error)) => println!("\nsaid {}", error.code()),
        ("hold", Ok(store)) => hold(&store),
        ("commit", Ok(store)) => commit_for_ever(store),
        ("fill", Ok(store)) => fill(store),
        (task, _) => panic!("{task}"),
    }
}

/// Holds the store until standard input ends.
fn hold(store: &SqliteStore) {
    println!("\nsaid held");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    assert_eq!(store.scan(T, b"").unwrap().len(), 0);
}

fn commit_for_ever(mut store: SqliteStore) {
    let from = steps_done(&store);
    for number in from.. {
        store.commit(&step(number)).unwrap();
        println!("\nsaid {}", number + 1);
    }
}

/// Commits until the log has no room, checks that nothing changed by it, and goes on when there is room again.
fn fill(mut store: SqliteStore) {
    let mut error = None;
    while error.is_none() {
        let before = steps_done(&store);
        error = store.commit(&step(before)).err();
        assert_eq!(steps_done(&store), before + u64::from(error.is_none()));
    }
    let error = error.unwrap();
    assert!(matches!(error, StoreError::Full | StoreError::Io(_)), "{error:?}");
    let before = steps_done(&store);
    store.purge().unwrap();
    store.commit(&step(before)).unwrap();
    println!("\nsaid {}", steps_done(&store));
}
