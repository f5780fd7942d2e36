//! A deterministic world for dmls: devices, federating servers, net splits, adversaries and an oracle.

pub mod client;
pub mod entropy;
pub mod fuzz;
pub mod generate;
pub mod net;
pub mod oracle;
pub mod run;
pub mod script;
pub mod shrink;
pub mod story;
pub mod suites;
pub mod trace;
pub mod world;
