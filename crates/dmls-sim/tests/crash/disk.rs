//! A real process on the store of the disk, which dies at any write or finds the disk full at any page.
//!
//! The limit on the size of files makes the file system itself refuse the write: in the middle of a transaction, of
//! emptying the log, of making the store. What the process said before it ended is all that is known of it; another goes
//! on from its files.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use dmls::journal::{Entry, Journal, Records, Table, Write};
use dmls_matrix::error::Error;
use dmls_store::{Key, SqliteStore, StoreError};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::alone::{Alone, Failed, Posted};

const DIRECTORY: &str = "DMLS_CRASH_TEST_DIR";
const DEATH: &str = "DMLS_CRASH_TEST_DEATH";
/// Messages that a process is to send.
const MESSAGES: usize = 12;
/// Blocks of 512 bytes in half a page of the database.
const HALF_PAGE: usize = 1;

/// What becomes of a process.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// No file grows over so many blocks.
    Limited { blocks: usize },
    /// It dies at the transaction after so many, before it is `stored` or after.
    Killed { commits: usize, stored: bool },
}

/// A store with which the process dies.
struct Deadly {
    store: SqliteStore,
    left: Option<(usize, bool)>,
}

impl Records for Deadly {
    type Error = StoreError;

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.store.scan(table, prefix)
    }
}

impl Journal for Deadly {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        match &mut self.left {
            Some((0, stored)) => {
                if *stored {
                    self.store.commit(writes)?;
                }
                // Nothing is closed, flushed or unlocked.
                std::process::abort()
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.store.commit(writes)
    }
}

/// Runs a process to its end; what it said, and how it ended.
fn run(directory: &Path, fate: Fate) -> (String, ExitStatus) {
    let mut shell = Command::new("sh");
    let (blocks, death) = match fate {
        Fate::Limited { blocks } => (blocks.to_string(), String::new()),
        Fate::Killed { commits, stored } => ("unlimited".to_owned(), format!("{commits} {stored}")),
    };
    shell.args(["-c", "trap '' XFSZ; ulimit -c 0; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &blocks]);
    shell.arg(std::env::current_exe().unwrap());
    shell.args(["--exact", "disk::child", "--nocapture", "--test-threads", "1"]);
    let output = shell.env(DIRECTORY, directory).env(DEATH, death).stderr(Stdio::inherit()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status)
}

/// Where the process begins; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let (Ok(directory), Ok(death)) = (std::env::var(DIRECTORY), std::env::var(DEATH)) else { return };
    let left = death.split_once(' ').map(|(commits, stored)| (commits.parse().unwrap(), stored.parse().unwrap()));
    let alone = open(Path::new(&directory)).map_err(Error::Store);
    match alone.and_then(|store| Alone::open(Deadly { store, left }, 1, Posted::new())) {
        Ok(alone) => live(alone),
        Err(error) => refused(&error),
    }
}

fn open(directory: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(directory, &Key::raw([7; 32]), Duration::ZERO)
}

/// Makes a room and sends, whatever is refused.
fn live(mut alone: Alone<Deadly>) {
    for _ in 0..2 {
        alone.begin().unwrap_or_else(|error| refused(&error));
    }
    let mut kept = Vec::new();
    for number in 0..MESSAGES {
        let body = format!("message {number}");
        match alone.send(&body) {
            Ok(()) => kept.push(body),
            Err(error) => refused(&error),
        }
        alone.work().unwrap_or_else(|error| refused(&error));
        // What failed changed nothing, and what is there can be read.
        if let Ok(messages) = alone.messages() {
            let bodies: Vec<_> = messages.into_iter().map(|(body, _)| body).collect();
            assert_eq!(bodies, kept);
        }
    }
}

/// An error of the store that says what is the matter; a room that could not be made takes no messages.
fn refused(error: &Failed) {
    match error {
        Error::Store(store @ (StoreError::Full | StoreError::Io(_))) => println!("\nsaid refused {}", store.code()),
        Error::UnknownRoom(_) | Error::NoCredential => {}
        error => panic!("{error:?}"),
    }
}

/// Everything that was kept leaves once, whatever the fate of the first process; how often it was refused something.
fn go_on(fate: Fate, said: &str, directory: &Path) -> usize {
    let words = |word: &str| said.lines().filter_map(|line| line.strip_prefix("said ")?.strip_prefix(word)).collect();
    let mut kept: Vec<&str> = words("kept ");
    let posted: Vec<&str> = words("posted ");
    let posted = posted.iter().filter_map(|line| line.split_once(' '));
    let posted: Posted = posted.map(|(txn, text)| (txn.to_owned(), text.to_owned())).collect();

    let mut alone = Alone::open(open(directory).unwrap(), 2, posted).unwrap();
    alone.begin().unwrap();
    let before = alone.messages().unwrap().len();
    alone.send("with room again").unwrap();
    alone.work().unwrap();
    let messages = alone.messages().unwrap();
    let mut bodies: Vec<_> = messages.iter().map(|(body, _)| body.as_str()).collect();
    // The one message of which the process could not say any more that it was kept.
    if let (Fate::Killed { stored: true, .. }, true) = (fate, before > kept.len()) {
        bodies.remove(before - 1);
    }
    kept.push("with room again");
    assert_eq!(bodies, kept, "{fate:?}");
    assert!(messages.iter().all(|(_, sent)| *sent), "{fate:?}: {messages:?}");
    // The first commit of the room, and each message under one transaction.
    assert_eq!(alone.posted.len(), 1 + messages.len(), "{fate:?}");
    alone.into_store().verify().unwrap();
    words("refused").len()
}

/// How often a process was refused something under a limit.
fn try_limit(blocks: usize) -> usize {
    let (profile, fate) = (profile(), Fate::Limited { blocks });
    let (said, status) = run(profile.path(), fate);
    assert!(status.success(), "{fate:?}: {status}");
    go_on(fate, &said, profile.path())
}

/// Whether a process had so many transactions that it died.
fn try_death(commits: usize, stored: bool) -> bool {
    let (profile, fate) = (profile(), Fate::Killed { commits, stored });
    let (said, status) = run(profile.path(), fate);
    go_on(fate, &said, profile.path());
    !status.success()
}

/// Beside what is built: on a file system, not in memory.
fn profile() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// SPEC §7.1: a write that is refused is an error and no loss.
#[test]
fn a_full_disk_is_an_error_and_no_loss() {
    let refused: Vec<_> = (0..).step_by(23 * HALF_PAGE).take(6).map(try_limit).collect();
    assert!(refused.iter().any(|refused| *refused > 0), "{refused:?}");
}

/// SPEC §7.1, §7.3: what was said to be kept is sent, once.
#[test]
fn a_process_that_dies_at_a_write_loses_nothing() {
    for commits in (0..).step_by(11) {
        if !try_death(commits, commits % 2 == 0) {
            assert!(commits > 20, "{commits}");
            break;
        }
    }
}

#[test]
#[ignore = "every page takes minutes; the lane `kill` runs it"]
fn a_disk_that_is_full_at_any_page() {
    let (mut tried, mut unmet) = (0, 0);
    for blocks in (0..).step_by(HALF_PAGE) {
        tried += 1;
        unmet = if try_limit(blocks) == 0 { unmet + 1 } else { 0 };
        // A transaction takes several pages: it may fit by chance.
        if unmet == 32 {
            break;
        }
    }
    println!("full disk: points={tried}");
}

#[test]
#[ignore = "every write takes a minute; the lane `kill` runs it"]
fn a_process_that_dies_at_any_write() {
    let deaths = |stored| (0..).take_while(|commits| try_death(*commits, stored)).count();
    println!("dead process: points={}", deaths(false) + deaths(true));
}
