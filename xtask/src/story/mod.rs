//! Stories on real homeservers: people who use the `dmls` command, each with a home of their own.
//!
//! A [`Person`] runs the command as a process, as somebody at a terminal would, and reads its JSON. A [`Split`] is
//! the story of the whole project: a room on two homeservers whose link is cut and heals again. The tests of
//! `xtask/tests/servers` and `cargo xtask demo` play the same ones.

mod command;
mod error;
mod forks;
mod person;
mod plain;
mod program;
mod rows;
mod servers;
mod split;
mod verdict;

pub use command::{Ended, Limit};
pub use error::Error;
pub use forks::Forks;
pub use person::Person;
pub use plain::Plain;
pub use program::Program;
pub use rows::{Device, Epoch, EpochName, Member, Message, Room, Sent, Utd};
pub use servers::Servers;
pub use split::{Base, First, Said, Split, Step};
pub use verdict::Verdict;
