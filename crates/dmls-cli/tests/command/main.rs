//! The `dmls` command without any homeserver: usage, exit codes, what it says when something is wrong.
#![allow(clippy::unwrap_used, clippy::panic)]
