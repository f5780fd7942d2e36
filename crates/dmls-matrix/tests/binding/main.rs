//! Several machines on homeservers in memory: everyday life, crashes, splits, bad input.

mod everyday;
mod server;
mod world;
