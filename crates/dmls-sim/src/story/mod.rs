//! The story of the split, played in the world: both sides of a room go on, and merge by themselves.
//!
//! Alice and Bob are on hs1, Carol and Dan on hs2. While the link is cut, Alice invites Erin on hs1 and then leaves; on
//! hs2 Carol invites Frank, Dan rekeys, and Frank invites Grace. Everybody speaks after each step. The same story is
//! played on real homeservers by `cargo xtask demo`.

mod claims;

use dmls::effect::EpochInfo;
use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;

use crate::trace::{Name, ServerName};
use crate::world::{Crypto, Fault, Options, World};

pub use claims::{Claim, Ending, Seen};

/// Everybody, in the order in which they come.
pub const PEOPLE: [&str; 7] = ["alice", "bob", "carol", "dan", "erin", "frank", "grace"];
/// Those of them who live on hs1.
const ON_HS1: [&str; 3] = ["alice", "bob", "erin"];
/// Nothing is posted for so long: what had to happen has happened.
const QUIET: u64 = 5_000;
/// No step of the story takes longer.
const LIMIT: u64 = 600_000;

/// When something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Before the cut.
    Before,
    /// On hs1, after Erin came.
    ErinCame,
    /// On hs1, after Alice left.
    AliceLeft,
    /// On hs2, after Frank came.
    FrankCame,
    /// On hs2, after Dan's rekey.
    DanRekeyed,
    /// On hs2, after Grace came.
    GraceCame,
    /// First after the heal.
    Healed,
    /// After the merge.
    Merged,
}

impl When {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Before => "before the cut",
            Self::ErinCame => "Erin came",
            Self::AliceLeft => "Alice left",
            Self::FrankCame => "Frank came",
            Self::DanRekeyed => "Dan rekeyed",
            Self::GraceCame => "Grace came",
            Self::Healed => "link healed",
            Self::Merged => "all merged",
        }
    }
}

/// One message of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub when: When,
    /// By whom.
    pub by: &'static str,
    /// Its text.
    pub body: String,
}

/// One thing to be told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Scene {
    /// A new part of the story begins, so many virtual milliseconds after the beginning.
    Chapter {
        /// Its title.
        title: &'static str,
        /// When.
        millis: u64,
    },
    /// Something happened.
    Step {
        /// In words.
        words: &'static str,
    },
    /// The epochs as one device knows them.
    Log {
        /// Whose.
        name: &'static str,
        /// When, in words.
        when: &'static str,
        /// The epochs, parents before children.
        epochs: Vec<EpochInfo>,
    },
}

/// Plays the split; `on_scene` is told each scene as it happens.
///
/// # Errors
/// What `on_scene` gives, and every [`Fault`].
pub fn split<E: From<Fault>>(seed: u64, on_scene: &mut dyn FnMut(Scene) -> Result<(), E>) -> Result<Ending, E> {
    let mut story = Story::begin(seed)?;
    for act in [Story::meet, Story::first_side, Story::second_side, Story::heal] {
        for scene in act(&mut story)? {
            on_scene(scene)?;
        }
    }
    Ok(story.end()?)
}

struct Story {
    world: World,
    room: RoomId,
    said: Vec<Said>,
    commits_before_heal: usize,
    heads: Vec<dmls::id::EpochId>,
}

fn user(name: &str) -> String {
    let server = if ON_HS1.contains(&name) { "hs1" } else { "hs2" };
    format!("@{name}:{server}")
}

impl Story {
    fn begin(seed: u64) -> Result<Self, Fault> {
        let servers = vec![ServerName::from("hs1"), ServerName::from("hs2")];
        let mut world = World::new(Options { seed, servers, crypto: Crypto::Real, soft_failed_by_id: false });
        for name in PEOPLE {
            world.add(&Name::from(name), &user(name), Endorsement::Endorsed)?;
        }
        let mut story =
            Self { world, room: RoomId::from("!tea"), said: Vec::new(), commits_before_heal: 0, heads: Vec::new() };
        story.rest()?;
        Ok(story)
    }

    fn rest(&mut self) -> Result<(), Fault> {
        self.world.settle(QUIET, LIMIT)
    }

    fn meet(&mut self) -> Result<Vec<Scene>, Fault> {
        let chapter = self.chapter("A room on two homeservers");
        // What a homeserver refuses here shows in the claims at the end.
        let _ = self.world.create(&Name::from("alice"), &self.room)?;
        for name in ["bob", "carol", "dan"] {
            self.bring("alice", name)?;
        }
        self.speak(When::Before, &["alice", "bob", "carol", "dan"])?;
        Ok(vec![
            chapter,
            Scene::Step {
                words: "Alice and Bob are on hs1, Carol and Dan on hs2. Alice makes a room and invites the others;",
            },
            Scene::Step { words: "each joins, and a device adds theirs to the group. Then all four speak." },
            self.log("alice", "before the cut")?,
        ])
    }

    fn first_side(&mut self) -> Result<Vec<Scene>, Fault> {
        let chapter = self.chapter("The link between hs1 and hs2 is cut");
        self.world.net.cut(&ServerName::from("hs1"), &ServerName::from("hs2"));
        self.bring("alice", "erin")?;
        self.speak(When::ErinCame, &["alice", "bob", "erin"])?;
        let _ = self.world.leave(&Name::from("alice"), &self.room)?;
        self.rest()?;
        self.speak(When::AliceLeft, &["bob", "erin"])?;
        Ok(vec![
            chapter,
            Scene::Step { words: "hs1: Alice invites Erin. All speak." },
            Scene::Step { words: "hs1: Alice leaves. Bob and Erin go on: her device is removed before anybody sends." },
            self.log("bob", "on hs1 during the split")?,
        ])
    }

    fn second_side(&mut self) -> Result<Vec<Scene>, Fault> {
        self.bring("carol", "frank")?;
        self.speak(When::FrankCame, &["carol", "dan", "frank"])?;
        self.world.rekey(&Name::from("dan"), &self.room)?;
        self.rest()?;
        self.speak(When::DanRekeyed, &["carol", "dan", "frank"])?;
        self.bring("frank", "grace")?;
        self.speak(When::GraceCame, &["carol", "dan", "frank", "grace"])?;
        for name in ["bob", "carol"] {
            let head = self.canonical(name)?;
            self.heads.extend(head);
        }
        Ok(vec![
            Scene::Step { words: "hs2: Carol invites Frank; nobody there can know that Alice has left." },
            Scene::Step { words: "hs2: Dan rekeys." },
            Scene::Step { words: "hs2: Frank, who came during the split, invites Grace." },
            self.log("carol", "on hs2 during the split")?,
        ])
    }

    fn heal(&mut self) -> Result<Vec<Scene>, Fault> {
        let chapter = self.chapter("The link heals");
        self.commits_before_heal = self.world.counts().commits;
        self.world.net.heal(&ServerName::from("hs1"), &ServerName::from("hs2"));
        self.world.run_for(500)?;
        self.speak(When::Healed, &["bob"])?;
        self.speak(When::Merged, &PEOPLE[1..])?;
        Ok(vec![
            chapter,
            Scene::Step { words: "The servers tell each other everything. Bob speaks first, then everybody." },
            self.log("bob", "after the heal")?,
        ])
    }

    /// `by` invites `name`, who joins.
    fn bring(&mut self, by: &str, name: &str) -> Result<(), Fault> {
        let _ = self.world.invite(&Name::from(by), &self.room, &user(name))?;
        self.world.run_for(500)?;
        let _ = self.world.join(&Name::from(name), &self.room)?;
        self.rest()
    }

    fn speak(&mut self, when: When, names: &[&'static str]) -> Result<(), Fault> {
        for by in names {
            let body = format!("{}, says {by}", when.words());
            self.world.say(&Name::from(*by), &self.room, &body)?;
            self.said.push(Said { when, by, body });
            self.rest()?;
        }
        Ok(())
    }

    fn chapter(&self, title: &'static str) -> Scene {
        Scene::Chapter { title, millis: self.world.counts().millis }
    }

    fn log(&mut self, name: &'static str, when: &'static str) -> Result<Scene, Fault> {
        let epochs = self.world.view(&Name::from(name), &self.room)?.log;
        Ok(Scene::Log { name, when, epochs })
    }

    fn canonical(&mut self, name: &str) -> Result<Option<dmls::id::EpochId>, Fault> {
        let rooms = self.world.rooms(&Name::from(name))?;
        Ok(rooms.into_iter().find(|row| row.room == self.room).and_then(|row| row.canonical))
    }
}
