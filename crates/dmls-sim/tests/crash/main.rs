//! Crash points: every write and every request of each operation, before it, after it, and torn.
//!
//! An [`Operation`](operations::Operation) is run once unhindered to count what its device stores and asks for. Then it is
//! run again from the beginning for each of these points, and the device crashes there. What is stored directly after
//! is what was stored before or after that write; in the end everybody is together, has read everything once, and shows
//! what the run without a crash shows, or the one without the operation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod alone;
mod disk;
mod operations;
mod play;
mod points;
mod torn;
mod verdict;
