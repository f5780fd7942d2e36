//! A deterministic world for dmls: devices, federating servers, net splits, adversaries and an oracle.

pub mod client;
pub mod entropy;
pub mod net;
pub mod oracle;
pub mod story;
pub mod trace;
pub mod world;
