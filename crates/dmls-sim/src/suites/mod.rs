//! Cipher suites for runs: the real one or a fast stand-in, and what was sealed with which key.

mod recording;
mod stand_in;

use dmls::suite::{Suite, X25519_ED25519};

use crate::world::Crypto;
use recording::Recording;
pub(crate) use recording::{record_in_this_thread, take};
pub use stand_in::STAND_IN;

static REAL: Recording = Recording(&X25519_ED25519);
static FAST: Recording = Recording(&STAND_IN);

impl Crypto {
    /// The suite, which writes down what keys and nonces it seals with.
    pub fn suite(self) -> &'static dyn Suite {
        match self {
            Self::Real => &REAL,
            Self::StandIn => &FAST,
        }
    }
}
