//! What can stop a world: never a refusal by a server, always something that should not be.

use dmls::id::Timestamp;

use crate::trace::Name;

/// Why a world cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A machine gave an error for which nothing that was done to it is the reason.
    #[error("{name}: {code}: {text}")]
    Machine {
        /// Whose.
        name: Name,
        /// The error's code.
        code: &'static str,
        /// The error.
        text: String,
    },
    /// Devices commit and commit.
    #[error("nothing settles within {millis} ms; {commits} commits so far")]
    NeverSettles {
        /// How long it was waited for.
        millis: u64,
        /// Commits so far.
        commits: usize,
    },
    /// Devices make requests without end while no time passes.
    #[error("{turns} turns until {now:?}")]
    Busy {
        /// How many.
        turns: usize,
        /// When.
        now: Timestamp,
    },
    /// Somebody asks for a device that there is not.
    #[error("there is no device {0}")]
    NoSuchDevice(Name),
}
