//! The oracle: judges a run by its own bookkeeping of membership, readability and secrecy.
//!
//! It is independent of the code under test: it reads the public bytes of commits with a parser of its own, follows the
//! leaves of every epoch itself, and asks the devices only for what they show in the end. What it demands is stated
//! with each [`Finding`].

mod book;
mod bytes;
mod commit;
mod delivery;
mod epochs;
mod evidence;
mod gate;
mod healing;
mod keys;
mod left_out;
mod order;
mod removal;
mod secrecy;
mod stored;
mod theft;
mod together;

use std::fmt;

use dmls_matrix::RoomId;

use crate::trace::{Name, Trace};
use book::Book;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What is wrong.
    pub fault: Fault,
    /// In which room.
    pub room: RoomId,
    /// Whose device shows it.
    pub name: Name,
    /// In words, with ids.
    pub text: String,
}

/// The ways in which a run can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// After everything was delivered, two honest devices are in different epochs.
    Diverged,
    /// The canonical epoch does not have exactly the devices that may read.
    WrongRoster,
    /// A device's word on who is in an epoch is not what the commits say.
    FalseRoster,
    /// A message was taken to be sent and never left.
    NeverSent,
    /// A device of the message's epoch and the room did not get the message.
    Lost,
    /// A device shows a message more than once.
    Twice,
    /// A device that is not in the message's epoch reads it.
    Outsider,
    /// A message left for an epoch with a device that, as far as its sender had seen, may not read.
    Gate,
    /// A message still waits for something although everything was delivered.
    Unjudged,
    /// A thief reads an epoch that healing should have closed, or that its loot does not lead to.
    Leaked,
    /// A key and nonce, or the key of a message that left, were used again.
    Reused,
    /// A device is not what its store gives back.
    Unstored,
    /// Two commits of one device on one base are known and not told.
    Unseen,
    /// A commit that may not be was taken in.
    Forbidden,
    /// A malicious device decides what is built on.
    Steered,
    /// A merge is due and not made.
    PutOff,
    /// A device that changed its keys ended with older ones.
    Unhealed,
    /// Everybody makes the same merge at the same time.
    Storm,
    /// Who left and did not come back was added again.
    Revived,
    /// A message left without a device that may read and that nobody had cause to remove.
    CutOff,
    /// A device cannot go on.
    Broken,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, room, name, text } = self;
        write!(f, "{fault:?} {} {name}: {text}", room.0)
    }
}

/// Judges a finished run; nothing found means that every promise held: ATTACKS section 5, all six points.
pub fn judge(trace: &Trace) -> Vec<Finding> {
    sorted(promises(trace, &book(trace)))
}

/// Looks closer: everything that a run without the defences shows, too. Some of it is a suspicion only, which an honest
/// room can raise by chance where two of its servers see different devices.
pub fn scrutinise(trace: &Trace) -> Vec<Finding> {
    let book = book(trace);
    let mut findings = promises(trace, &book);
    findings.extend(evidence::check(trace, &book));
    findings.extend(order::check(trace, &book));
    findings.extend(healing::check(trace, &book));
    findings.extend(removal::check(trace, &book));
    findings.extend(left_out::check(trace, &book));
    sorted(findings)
}

fn book(trace: &Trace) -> Book {
    let mut book = Book::read(trace);
    book.forget_logged_out(trace);
    book
}

fn promises(trace: &Trace, book: &Book) -> Vec<Finding> {
    let mut findings = together::check(trace, book);
    findings.extend(delivery::check(trace, book));
    findings.extend(gate::check(trace, book));
    findings.extend(theft::check(trace, book));
    findings.extend(keys::check(trace));
    findings.extend(stored::check(trace));
    findings
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings.dedup();
    findings
}
