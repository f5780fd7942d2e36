//! Tasks of this repository, as a library for the command, the end-to-end tests and the demo.

pub mod assure;
pub mod attacks;
pub mod bench;
pub mod demo;
pub mod gate;
pub mod homeserver;
pub mod mutants;
pub mod story;
