//! The command line itself.

use crate::Home;

#[test]
fn without_a_command_there_is_help() {
    let ended = Home::new().run(&[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("dmls login https://"), "{}", ended.stderr);
}

#[test]
fn help_names_what_scripts_need() {
    let ended = Home::new().run(&["--help"]);
    assert_eq!(ended.code, 0);
    for word in ["Exit codes", "DMLS_HOME", "NO_COLOR", "--profile", "--json", "approve DEVICE --fingerprint"] {
        assert!(ended.stdout.contains(word), "{word}");
    }
}

#[test]
fn every_command_has_help() {
    let home = Home::new();
    let commands = "login logout rooms send messages listen sync members log update devices doctor demo completions";
    let nested = ["room create", "room join", "room leave", "room invite", "room kick", "devices approve"];
    for command in commands.split(' ').chain(nested) {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ended = home.run(&words);
        assert_eq!(ended.code, 0, "{command}");
        assert!(ended.stdout.contains("--json") && ended.stdout.contains("--profile"), "{command}");
    }
}

#[test]
fn nonsense_is_code_2() {
    let home = Home::new();
    for words in [
        &["nonsense"][..],
        &["send", "room"],
        &["room", "create"],
        &["room", "invite", "room", "bob"],
        &["sync", "--timeout", "soon"],
        &["devices", "approve", "DEVICE"],
        &["rooms", "-v", "-q"],
        &["login", "https://example.org"],
    ] {
        assert_eq!(home.run(words).code, 2, "{words:?}");
        home.run(&[words, &["--json"]].concat()).fails(2, "usage");
    }
    home.run(&["--json", "--profile", "../other", "rooms"]).fails(2, "bad_profile_name");
    assert!(!home.path().join("dmls").exists());
}

#[test]
fn a_secret_is_no_option() {
    let home = Home::new();
    for option in ["--password", "--passphrase"] {
        let ended = home.run(&["login", "https://example.org", "alice", option, "hunter2"]);
        assert_eq!(ended.code, 2);
    }
}

#[test]
fn the_demo_needs_nothing_and_its_claims_hold() {
    let home = Home::new();
    let ended = home.run(&["demo"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.matches("holds").count() >= 6 && ended.stdout.contains("├─"), "{}", ended.stdout);
    assert!(!home.path().join("dmls").exists());
    let (one, again) = (home.run(&["demo", "--json", "--seed", "3"]), home.run(&["demo", "--json", "--seed", "3"]));
    assert_eq!(one.stdout, again.stdout);
    let rows: Vec<serde_json::Value> = one.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.iter().filter(|row| row["holds"] == true).count() >= 6);
    assert!(rows.iter().all(|row| row["schema"] == 1));
}

#[test]
fn completions_name_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = home.run(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("approve"), "{shell}");
    }
}
