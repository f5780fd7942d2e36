//! What the driver tells while it works.

use dmls_matrix::view::Remark;

/// Something that happened, for those who want to watch. Carries no secret and no content.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Note {
    /// A step of the device's set-up is done.
    SetUp(&'static str),
    /// A sync answer was taken in.
    Synced {
        /// Rooms with something new.
        rooms: usize,
        /// To-device messages.
        to_device: usize,
    },
    /// A to-device message of this protocol could not be decrypted or its sender not verified.
    Undecrypted {
        /// Who sent it, by the server's word.
        sender: String,
    },
    /// A request of the machine is on its way.
    Started(&'static str),
    /// A request was answered.
    Done(&'static str),
    /// A request brought nothing, and comes again or is given up.
    Failed {
        /// Which.
        what: &'static str,
        /// Code of the refusal, or why there was none.
        why: String,
        /// Whether it is given up.
        for_good: bool,
    },
    /// The homeserver does not answer; the next attempt comes by itself.
    Waiting {
        /// In how many milliseconds.
        millis: u128,
    },
    /// The machine's remark on an input.
    Remark(Remark),
}

/// Who is told.
pub type Observer = Box<dyn Fn(&Note)>;
