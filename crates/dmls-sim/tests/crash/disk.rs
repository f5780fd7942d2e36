//! A disk on which nothing more can be written, from ever later moments on, under a device that works on it.
//!
//! The limit on the size of files makes the file system itself refuse the write, in the middle of a transaction, of
//! emptying the log, of making the store. The process that meets it says what it was told; another goes on without a limit.

use std::path::Path;
use std::process::{Command, Stdio};

use dmls_matrix::error::Error;
use dmls_store::StoreError;
use tempfile::TempDir;

use crate::alone::{Alone, Failed, Posted};

const DIRECTORY: &str = "DMLS_CRASH_TEST_DIR";
/// Messages that the process under the limit is to send.
const MESSAGES: usize = 12;
/// Blocks of 512 bytes in a page of the database.
const PAGE: usize = 8;

/// Runs under a limit of so many blocks; what the process said.
fn limited(directory: &Path, blocks: usize) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &blocks.to_string()]);
    shell.arg(std::env::current_exe().unwrap());
    shell.args(["--exact", "disk::child", "--nocapture", "--test-threads", "1"]);
    let output = shell.env(DIRECTORY, directory).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} under {blocks} blocks", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Where the process under the limit begins; does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    match Alone::open(Path::new(&directory), 1, Posted::new()) {
        Ok(alone) => live(alone),
        Err(error) => refused(&error),
    }
}

/// An error of the store that says what is the matter, and nothing else.
fn refused(error: &Failed) {
    let Error::Store(store) = error else { panic!("{error:?}") };
    assert!(matches!(store, StoreError::Full | StoreError::Io(_)), "{store:?}");
    println!("\nsaid refused {}", store.code());
}

/// Makes a room and sends, whatever is refused.
fn live(mut alone: Alone) {
    for _ in 0..2 {
        alone.begin().unwrap_or_else(|error| refused_or_early(&error));
    }
    let mut kept = Vec::new();
    for number in 0..MESSAGES {
        let body = format!("message {number}");
        match alone.send(&body) {
            Ok(()) => {
                println!("\nsaid kept {body}");
                kept.push(body);
            }
            Err(error) => refused_or_early(&error),
        }
        alone.work().unwrap_or_else(|error| refused_or_early(&error));
        // What failed changed nothing, and what is there can be read.
        if let Ok(messages) = alone.messages() {
            let bodies: Vec<_> = messages.into_iter().map(|(body, _)| body).collect();
            assert_eq!(bodies, kept);
        }
    }
    for (txn, ciphertext) in &alone.posted {
        println!("\nsaid posted {txn} {ciphertext}");
    }
}

/// A room that could not be made takes no messages.
fn refused_or_early(error: &Failed) {
    match error {
        Error::UnknownRoom(_) | Error::NoCredential => println!("\nsaid early"),
        error => refused(error),
    }
}

/// Everything that was kept under the limit leaves once, whatever the limit was; how often something was refused.
fn try_limit(blocks: usize) -> usize {
    let profile = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let said = limited(profile.path(), blocks);
    let words = |word: &str| said.lines().filter_map(|line| line.strip_prefix("said ")?.strip_prefix(word)).collect();
    let mut kept: Vec<&str> = words("kept ");
    let posted: Vec<&str> = words("posted ");
    let posted: Posted =
        posted.iter().filter_map(|line| line.split_once(' ')).map(|(txn, text)| (txn.into(), text.into())).collect();

    let mut alone = Alone::open(profile.path(), 2, posted).unwrap();
    alone.verify().unwrap();
    alone.begin().unwrap();
    alone.send("with room again").unwrap();
    alone.work().unwrap();
    kept.push("with room again");
    let messages = alone.messages().unwrap();
    let bodies: Vec<_> = messages.iter().map(|(body, _)| body.as_str()).collect();
    assert_eq!(bodies, kept, "under {blocks} blocks");
    assert!(messages.iter().all(|(_, sent)| *sent), "under {blocks} blocks: {messages:?}");
    // The first commit of the room, and each message under one transaction.
    assert_eq!(alone.posted.len(), 1 + kept.len(), "under {blocks} blocks");
    alone.verify().unwrap();
    words("refused").len()
}

/// The limits from which on the device gets further, until one is never met.
fn limits() -> impl Iterator<Item = usize> {
    (0..).step_by(PAGE / 2)
}

/// SPEC §7.1: a write that is refused is an error and no loss.
#[test]
fn a_full_disk_is_an_error_and_no_loss() {
    let refused: Vec<_> = limits().step_by(23).take(6).map(try_limit).collect();
    assert!(refused.iter().any(|refused| *refused > 0), "{refused:?}");
}

#[test]
#[ignore = "every limit takes minutes; the lane `kill` runs it"]
fn a_disk_that_is_full_at_any_page() {
    let (mut tried, mut unmet) = (0, 0);
    for blocks in limits() {
        tried += 1;
        unmet = if try_limit(blocks) == 0 { unmet + 1 } else { 0 };
        // A transaction takes several pages: it may fit by chance.
        if unmet == 8 {
            break;
        }
    }
    println!("full disk: points={tried}");
}
