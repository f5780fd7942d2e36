//! Tests of the group: the RFC 9420 vectors, mixed groups with other libraries, damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::type_complexity, reason = "tables of what is bent and how it is refused")]

mod bytes;
mod client;
mod forge;
pub(crate) mod given;
mod invite;
mod mixed;
mod mixed_mls_rs;
mod mixed_openmls;
mod musts;
mod passive;
mod protection;
mod schedules;
pub(crate) mod suites;
mod trees;
mod world;
mod wycheproof;
