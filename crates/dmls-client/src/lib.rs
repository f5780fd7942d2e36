//! Drives the Matrix binding of dmls: HTTP, device identity.

pub mod error;
pub mod http;
pub mod identity;
