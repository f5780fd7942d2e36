//! What every contestant can do with a room of N devices.

use std::collections::BTreeSet;
use std::error::Error;

use crate::meter::timed;
use crate::roster::{Number, Roster};

/// Why something cannot be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A commit, or whatever a contestant has in its place.
pub struct Made {
    /// What every member receives.
    pub bytes: Vec<u8>,
    /// Bytes of what goes beside it: Welcomes, GroupInfo, trees.
    pub beside: usize,
}

/// What it took until all who committed at the same time agree, and every one of their updates counts.
pub struct Agreed {
    /// Bytes of all commits.
    pub bytes: usize,
    /// Milliseconds that the observer spent on them.
    pub receive: f64,
}

/// A room, kept in one of the ways that are compared. Devices are named by number; an actor has a state, others only
/// have the keys under which they are added. Bytes come in and go out: nothing is handed over as a value.
pub trait Contestant: Sized {
    /// Its name in the rows.
    const WHO: &'static str;

    /// Whether it seals messages.
    const MESSAGES: bool = true;

    /// How many devices its creator adds in one commit, in a room of `n`.
    fn batch(n: u32) -> u32 {
        n
    }

    /// Makes the keys of all devices, and what they publish.
    fn prepare(roster: Roster) -> Result<Self, Failure>;

    /// The first device adds these (with the first call it makes the room), checking what they published.
    fn add(&mut self, numbers: std::ops::Range<Number>) -> Result<Made, Failure>;

    /// An actor that was added with the last commit comes in.
    fn join(&mut self, number: Number) -> Result<(), Failure>;

    /// Brings in an actor whose joining is not measured.
    fn appear(&mut self, number: Number) -> Result<(), Failure> {
        self.join(number)
    }

    /// An actor commits with new keys, and goes on in the new epoch.
    fn rekey(&mut self, number: Number) -> Result<Made, Failure>;

    /// Everybody hears that a device is to go, before anybody commits.
    fn tell_of_removal(&mut self, _gone: Number) -> Result<(), Failure> {
        Ok(())
    }

    /// An actor removes a device.
    fn remove(&mut self, number: Number, gone: Number) -> Result<Made, Failure>;

    /// An actor takes in another's commit.
    fn take(&mut self, number: Number, made: &Made) -> Result<(), Failure>;

    /// `committers` commit at the same time; then all `actors` come to one state.
    fn concur(&mut self, committers: &[Number], actors: &BTreeSet<Number>, observer: Number)
    -> Result<Agreed, Failure>;

    /// An actor seals a message.
    fn seal(&mut self, _number: Number, _text: &[u8]) -> Result<Vec<u8>, Failure> {
        Err("seals no messages".into())
    }

    /// An actor opens a message that `_from` sealed.
    fn open(&mut self, _number: Number, _from: Number, _message: &[u8]) -> Result<Vec<u8>, Failure> {
        Err("opens no messages".into())
    }

    /// What the maker of the last commit puts into the room for those who join by themselves, made when it is wanted.
    fn show(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// What members have in common who are in one state.
    fn state(&mut self, number: Number) -> Result<Vec<u8>, Failure>;

    /// Bytes of all records that an actor has written so far, where that can be seen.
    fn written(&self, _number: Number) -> Option<usize> {
        None
    }
}

/// A contestant whose epochs form a line: of commits made at the same time one counts, the others are made again.
pub trait InLine: Contestant {
    /// An actor makes a commit that does not count yet.
    fn draft(&mut self, number: Number) -> Result<Made, Failure>;

    /// Its commit counts.
    fn adopt(&mut self, number: Number) -> Result<(), Failure>;

    /// Another's commit counts instead.
    fn discard(&mut self, number: Number) -> Result<(), Failure>;
}

/// All drafts are sent, and the server's order decides: each time the first one counts, the rest is made anew.
pub(crate) fn one_after_the_other(
    room: &mut impl InLine,
    committers: &[Number],
    actors: &BTreeSet<Number>,
    observer: Number,
) -> Result<Agreed, Failure> {
    let mut drafts = Vec::new();
    for number in committers {
        drafts.push(room.draft(*number)?);
    }
    let mut agreed = Agreed { bytes: drafts.iter().map(|made| made.bytes.len()).sum(), receive: 0.0 };
    for number in &committers[1..] {
        room.discard(*number)?;
    }
    for (at, number) in committers.iter().enumerate() {
        if at > 0 {
            drafts[at] = room.draft(*number)?;
            agreed.bytes += drafts[at].bytes.len();
        }
        room.adopt(*number)?;
        for other in actors.iter().filter(|other| *other != number) {
            let (taken, spent) = timed(|| room.take(*other, &drafts[at]));
            taken?;
            agreed.receive += if *other == observer { spent } else { 0.0 };
        }
    }
    Ok(agreed)
}
