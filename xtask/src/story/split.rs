//! The story of the split: both sides of a room go on, and merge by themselves when the link heals.
//!
//! Alice and Bob are on hs1, Carol and Dan on hs2. While the link is cut, Alice invites Erin on hs1 and then leaves;
//! on hs2 Carol invites Frank, Dan rekeys, and Frank invites Grace. Everybody speaks after each step.

mod check;
mod script;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::error::Error;
use super::forks::Forks;
use super::person::Person;
use super::plain::Plain;
use super::program::Program;
use super::servers::Servers;
use crate::homeserver::ServerNumber;

/// How long the servers may take to tell each other what happened while the link was cut.
const ARRIVAL: Duration = Duration::from_secs(120);
/// How many times everybody may sync until all agree.
const ROUNDS: usize = 6;

/// Whose head misses fewer devices of the room when the link heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Hs1's: Heidi and Ivan come there too, so that it misses two devices and hs2's three.
    Hs1,
    /// Hs2's, which misses only Erin.
    Hs2,
}

/// Who speaks first after the heal, all of them at the same time; the others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First(pub &'static [&'static str]);

/// When something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Before the link was cut.
    Before,
    /// On hs1, after Erin came.
    ErinCame,
    /// On hs1, after Alice left.
    AliceLeft,
    /// On hs1, after Heidi and Ivan came.
    HeidiAndIvanCame,
    /// On hs2, after Frank came.
    FrankCame,
    /// On hs2, after Dan's rekey.
    DanRekeyed,
    /// On hs2, after Grace came.
    GraceCame,
    /// First after the heal.
    Healed,
    /// After all had synced.
    After,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before the cut",
            Self::ErinCame => "Erin came",
            Self::AliceLeft => "Alice left",
            Self::HeidiAndIvanCame => "Heidi and Ivan came",
            Self::FrankCame => "Frank came",
            Self::DanRekeyed => "Dan rekeyed",
            Self::GraceCame => "Grace came",
            Self::Healed => "link healed",
            Self::After => "all merged",
        })
    }
}

/// A message and what its sender was told when it was sent.
#[derive(Clone, Debug)]
pub struct Said {
    /// When.
    pub step: Step,
    /// By whom.
    pub by: &'static str,
    /// The room event.
    pub event: String,
    /// The epoch.
    pub epoch: String,
}

/// What everybody knew when the link healed.
#[derive(Debug)]
struct Baseline {
    forks: Forks,
    /// The canonical heads of hs1 and hs2.
    heads: [String; 2],
}

/// The people of the story, their room, and what they said.
#[derive(Debug)]
pub struct Split {
    room: String,
    base: Base,
    people: BTreeMap<&'static str, Person>,
    said: Vec<Said>,
    /// A copy of Dan's home from before his rekey.
    thief: Option<Person>,
    baseline: Option<Baseline>,
    first: First,
    /// What showed that a single two-sided device was not enough.
    helper_failed: Vec<String>,
}

impl Split {
    /// Gives the room.
    #[must_use]
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Gives somebody by name.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn person(&self, name: &str) -> Result<&Person, Error> {
        self.people.get(name).ok_or_else(|| Error::Missing(name.to_owned()))
    }

    /// Gives everybody, by name.
    pub fn people(&self) -> impl Iterator<Item = (&'static str, &Person)> {
        self.people.iter().map(|(name, person)| (*name, person))
    }

    /// Gives all that was said, in the order of the steps.
    #[must_use]
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// Gives the names of those who are in the room at the end.
    fn staying(&self) -> Vec<&'static str> {
        self.people.keys().copied().filter(|name| *name != "alice").collect()
    }
}
