//! The profile's store: its lock, its passphrase, its damage.

use std::time::Duration;

use dmls_store::{Key, ProfileLock, SqliteStore};

use crate::{Ended, Home};

fn store(home: &Home, key: &Key) {
    drop(SqliteStore::open(&home.profile("default"), key, Duration::ZERO).unwrap());
}

#[test]
fn another_process_has_the_profile() {
    let home = Home::new();
    store(&home, &Key::File);
    let lock = ProfileLock::acquire(&home.profile("default"), Duration::ZERO).unwrap();
    for words in [&["rooms"][..], &["sync"], &["send", "tea", "hello"], &["doctor"]] {
        home.run(&[words, &["--json", "--lock-wait", "0"]].concat()).fails(7, "store_locked");
    }
    let told = home.run(&["rooms", "--lock-wait", "0"]);
    assert!(told.stderr.contains(&format!("process {}", std::process::id())), "{}", told.stderr);
    // It waits before it gives up.
    let waiting = home.command(&["rooms", "--json"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(lock);
    Ended::of(waiting.wait_with_output().unwrap()).fails(3, "not_logged_in");
}

#[test]
fn a_passphrase_opens_only_its_own_store() {
    let home = Home::new();
    store(&home, &Key::passphrase("open sesame"));
    let file = |name: &str, words: &str| home.file(name, words).to_str().unwrap().to_owned();
    let (right, wrong) = (file("right", "open sesame\n"), file("wrong", "open barley"));
    home.run(&["rooms", "--json", "--passphrase-file", &wrong]).fails(1, "wrong_passphrase");
    home.run(&["rooms", "--json"]).fails(1, "no_key");
    // The right one opens it, and there is no session inside.
    home.run(&["rooms", "--json", "--passphrase-file", &right]).fails(3, "not_logged_in");
    let by_environment = home.command(&["rooms", "--json"]).env("DMLS_PASSPHRASE_FILE", &right).output().unwrap();
    Ended::of(by_environment).fails(3, "not_logged_in");
    let told = home.run(&["rooms", "-v", "--passphrase-file", &wrong]);
    assert!(told.stderr.contains("passphrase does not open") && !told.stderr.contains("barley"), "{}", told.stderr);
}

#[test]
fn a_passphrase_for_a_store_with_a_key_file() {
    let home = Home::new();
    store(&home, &Key::File);
    let file = home.file("passphrase", "open sesame");
    let file = file.to_str().unwrap();
    home.run(&["rooms", "--json", "--passphrase-file", file]).fails(1, "wrong_key_kind");
    // The environment is for all profiles, also those with a key file.
    let by_environment = home.command(&["rooms", "--json"]).env("DMLS_PASSPHRASE_FILE", file).output().unwrap();
    Ended::of(by_environment).fails(3, "not_logged_in");
}

#[test]
fn a_store_without_its_key_or_with_damage() {
    let home = Home::new();
    store(&home, &Key::File);
    let dir = home.profile("default");
    std::fs::rename(dir.join("store.key"), dir.join("elsewhere")).unwrap();
    home.run(&["rooms", "--json"]).fails(1, "key_file_missing");
    std::fs::rename(dir.join("elsewhere"), dir.join("store.key")).unwrap();
    std::fs::write(dir.join("store.db"), vec![7; 8192]).unwrap();
    home.run(&["rooms", "--json"]).fails(1, "store_corrupt");
}
