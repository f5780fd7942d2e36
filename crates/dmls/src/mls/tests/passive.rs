//! passive-client-*: join by Welcome with given keys, then follow every proposal and commit.

use super::client::Client;
use super::given::{hex, list, secret, unhex, vectors};

fn run(file: &str) {
    for vector in vectors(file) {
        let mut client = Client::join(&vector);
        assert_eq!(client.authenticator(), secret(&vector, "initial_epoch_authenticator"));
        for epoch in list(&vector, "epochs") {
            for proposal in list(epoch, "proposals") {
                client.hear(&unhex(proposal.as_str().unwrap()));
            }
            client = client.follow(&hex(epoch, "commit"));
            assert_eq!(client.authenticator(), secret(epoch, "epoch_authenticator"));
        }
    }
}

#[test]
fn welcome() {
    run("passive-client-welcome");
}

#[test]
fn handling_commit() {
    run("passive-client-handling-commit");
}

#[test]
fn random() {
    run("passive-client-random");
}
