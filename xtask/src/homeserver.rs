//! Real, federated Matrix homeservers on loopback, whose links can be cut.
//!
//! An *instance* is a few Synapse servers named `hs1.test`, `hs2.test`, ... and a *switch*: one CONNECT proxy a server,
//! through which all its federation runs, so that the link of any two servers can be cut (refused) or dropped
//! (black hole) while both keep serving their clients. No root, DNS or hosts file is needed.
//!
//! Tests hold a [`Homeservers`]; the command `cargo xtask homeserver` talks to a [`detached`] process that does the same.

mod admin;
mod config;
mod control;
pub mod detached;
mod error;
mod links;
mod names;
mod owned;
mod paths;
mod pki;
mod ports;
mod process;
mod random;
mod record;
mod status;
mod supervisor;
mod switch;
mod synapse;
mod venv;
mod watchdog;
mod well_known;

pub use error::Error;
pub use names::{InstanceName, ServerCount, ServerNumber, UserId};
pub use owned::Homeservers;
pub use record::{Lifetime, Options, RateLimits};
pub use status::{LinkState, LinkStatus, ServerStatus, Status};
