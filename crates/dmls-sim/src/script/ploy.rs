//! What adversaries do, by name.

/// What a malicious member device does at one moment. Without the test build it does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ploy {
    /// Two commits on one base.
    Fork,
    /// The best of many commits.
    Grind,
    /// A tree of commits, three on each base.
    Bomb,
    /// Events that can never count.
    Flood,
    /// Message after message, for a while.
    Chatter,
    /// A branch that nobody sees yet.
    Withhold,
    /// All that was withheld.
    Reveal,
    /// A commit on an epoch long past.
    BackDate,
    /// A commit whose path some cannot open.
    Poison,
    /// A commit with the point of somebody else.
    Point,
    /// A merge whose grants are wrong or missing.
    Grants,
    /// A commit that resolves what does not exist.
    Resolves,
    /// A merge without what the merged heads changed.
    Bury,
    /// A removal without a cause.
    CutOff,
    /// A removal with a cause that is none.
    FalseCause,
    /// Commits on all epochs that it ever knew, adding a device that the room does not know.
    Sybil,
    /// A commit with two tags, one for some and one for the others.
    Tags,
    /// A Welcome to another epoch than its commit makes.
    Welcome,
    /// A commit that may not be, served to some as if it had been asked for.
    Serve,
    /// Answers with a wrong merge value.
    Answer,
    /// Another member's message, sealed again under its sender's next generation.
    Overhear,
    /// A message under another member's name, sealed in an old epoch too.
    Impersonate,
    /// Events that were posted before, once more.
    Replay,
    /// The bytes of others' commits with other hints around them.
    Reframe,
    /// An external commit, welcome or not.
    Intrude,
}

/// All of them with their words.
const WORDS: [(Ploy, &str); 25] = [
    (Ploy::Fork, "fork"),
    (Ploy::Grind, "grind"),
    (Ploy::Bomb, "bomb"),
    (Ploy::Flood, "flood"),
    (Ploy::Chatter, "chatter"),
    (Ploy::Withhold, "withhold"),
    (Ploy::Reveal, "reveal"),
    (Ploy::BackDate, "back-date"),
    (Ploy::Poison, "poison"),
    (Ploy::Point, "point"),
    (Ploy::Grants, "grants"),
    (Ploy::Resolves, "resolves"),
    (Ploy::Bury, "bury"),
    (Ploy::CutOff, "cut-off"),
    (Ploy::FalseCause, "false-cause"),
    (Ploy::Sybil, "sybil"),
    (Ploy::Tags, "tags"),
    (Ploy::Welcome, "welcome"),
    (Ploy::Serve, "serve"),
    (Ploy::Answer, "answer"),
    (Ploy::Overhear, "overhear"),
    (Ploy::Impersonate, "impersonate"),
    (Ploy::Replay, "replay"),
    (Ploy::Reframe, "reframe"),
    (Ploy::Intrude, "intrude"),
];

impl Ploy {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        WORDS.iter().map(|(ploy, _)| *ploy)
    }

    /// Its word in scripts.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(ploy, _)| *ploy == self).map_or("", |(_, word)| word)
    }

    /// The ploy of a word.
    pub fn parse(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, known)| *known == word).map(|(ploy, _)| *ploy)
    }
}

/// How a malicious server lies to its own clients, or to the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// What this user sends is not shown to its clients; later it comes in the reverse order.
    Hide(String),
    /// What this user of its own sends does not leave it.
    Mute(String),
    /// Its clients hear of no change of device lists.
    Lists,
    /// Its clients are told of one more device of this user, for which nobody vouches.
    Ghost(String),
    /// Its state of this user's membership is again as it was when the user was last joined.
    Reset(String),
}

impl Lie {
    /// Its words in scripts.
    pub fn words(&self) -> String {
        match self {
            Self::Hide(user) => format!("hide {user}"),
            Self::Mute(user) => format!("mute {user}"),
            Self::Lists => "lists".to_owned(),
            Self::Ghost(user) => format!("ghost {user}"),
            Self::Reset(user) => format!("reset {user}"),
        }
    }

    /// The lie of these words.
    pub fn parse(words: &str) -> Option<Self> {
        let (word, user) = words.split_once(' ').unwrap_or((words, ""));
        let user = user.to_owned();
        Some(match word {
            "hide" => Self::Hide(user),
            "mute" => Self::Mute(user),
            "lists" => Self::Lists,
            "ghost" => Self::Ghost(user),
            "reset" => Self::Reset(user),
            _ => return None,
        })
    }
}
