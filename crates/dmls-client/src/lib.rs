//! Drives the Matrix binding of dmls: HTTP, device identity, the loop of syncs, requests and timers.

pub mod driver;
pub mod error;
pub mod http;
pub mod identity;
