//! Tests of the group: the RFC 9420 vectors, mixed groups with other libraries, damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod client;
pub(crate) mod given;
mod passive;
mod protection;
mod schedules;
pub(crate) mod spoiling;
mod trees;
