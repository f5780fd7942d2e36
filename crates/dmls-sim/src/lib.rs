//! A deterministic world for dmls: devices, federating servers, net splits, adversaries and an oracle.

pub mod oracle;
pub mod trace;

pub mod trace;
