//! Nobody is logged in, or cannot be.

use std::net::TcpListener;

use crate::Home;

#[test]
fn nobody_is_logged_in() {
    let home = Home::new();
    for words in [
        &["rooms"][..],
        &["messages", "tea"],
        &["members", "tea"],
        &["log", "tea"],
        &["sync"],
        &["send", "tea", "hello"],
        &["update", "tea"],
        &["listen"],
        &["room", "create", "--name", "tea"],
        &["devices"],
        &["devices", "approve", "DEVICE", "--fingerprint", "abc"],
        &["logout"],
    ] {
        home.run(&[words, &["--json"]].concat()).fails(3, "not_logged_in");
        let told = home.run(words);
        assert_eq!(told.code, 3);
        assert!(told.stderr.contains("dmls login"), "{}", told.stderr);
    }
    assert!(!home.path().join("dmls").exists(), "looking makes nothing");
}

#[test]
fn the_doctor_sees_that_nobody_is_logged_in() {
    let ended = Home::new().run(&["doctor", "--json"]);
    assert_eq!(ended.code, 3);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["logged_in"], false);
}

#[test]
fn a_dead_homeserver() {
    let home = Home::new();
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = home.file("password", "hunter2 hunter2");
    let words = ["login", &format!("http://{address}"), "alice", "--password-file", file.to_str().unwrap()];
    home.run(&[&words[..], &["--json"]].concat()).fails(4, "unreachable");
    let told = home.run(&[&words[..], &["-v"]].concat());
    assert_eq!(told.code, 4);
    assert!(!told.stderr.contains("hunter2") && told.stderr.contains("unreachable"), "{}", told.stderr);
    // Nothing stays behind that would look like a profile.
    home.run(&["rooms", "--json"]).fails(3, "not_logged_in");
    assert!(!home.profile("default").join("store.db").exists());
}

#[test]
fn addresses_that_cannot_be() {
    let home = Home::new();
    let file = home.file("password", "hunter2");
    for address in ["nonsense", "http://example.org", "ftp://example.org", "https://"] {
        let words = ["login", address, "alice", "--password-file", file.to_str().unwrap(), "--json"];
        home.run(&words).fails(2, "bad_request");
    }
    assert!(!home.path().join("dmls").exists());
}

#[test]
fn passwords_that_cannot_be_read() {
    let home = Home::new();
    let login = ["login", "https://localhost:1", "alice", "--json"];
    home.run(&login).fails(2, "usage");
    home.run(&[&login[..], &["--password-file", "/no/such/file"]].concat()).fails(1, "secret_file");
    let empty = home.file("empty", "\n");
    home.run(&[&login[..], &["--password-file", empty.to_str().unwrap()]].concat()).fails(1, "secret_file");
    assert!(!home.path().join("dmls").exists());
}
