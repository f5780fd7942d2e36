//! What a device does when it crashes.

use dmls_sim::script::{Step, parse};
use dmls_sim::trace::Name;

/// A device's operation, as parts of a script.
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// The device that crashes.
    pub device: &'static str,
    /// How it comes to it.
    pub before: &'static [&'static str],
    /// The operation.
    pub during: &'static str,
    /// What the others and the device do once it runs again.
    pub after: &'static str,
}

impl Operation {
    /// The device that crashes.
    pub fn device(&self) -> Name {
        Name::from(self.device)
    }

    /// The steps of a part.
    pub fn steps(text: &str) -> Vec<Step> {
        parse(text).unwrap().steps
    }
}

/// Four people on two homeservers.
const PEOPLE: &str = "device alice @alice:hs1
device bob @bob:hs1
device carol @carol:hs2
device dave @dave:hs2
settle
";
/// Alice's room, with Bob and Carol in it.
const ROOM: &str = "create alice
settle
invite alice @bob:hs1
settle
join bob
settle
invite alice @carol:hs2
settle
join carol
settle
say alice good morning
say carol good evening
settle
";
/// Dave is invited; nobody is there to add him.
const LEFT_ALONE: &str = "invite alice @dave:hs2
settle
offline alice
offline bob
offline carol
";
/// Two forks, each with a message of its own.
const SPLIT: &str = "cut hs1 hs2
rekey alice
settle
say bob on this side
rekey carol
settle
say carol on that side
settle
";
/// Bob misses more than one sync shows.
const MISSED: &str = "offline bob
invite alice @dave:hs2
settle
join dave
settle
say dave hello
settle
rekey carol
settle
say carol one
say carol two
say carol three
say carol four
say carol five
say carol six
say carol seven
settle
say alice one and a half
say alice two and a half
say alice three and a half
say alice four and a half
say alice five and a half
say alice six and a half
say alice seven and a half
settle
say dave and eight
say dave and nine
settle
kick alice @dave:hs2
settle
rekey alice
say alice without dave
settle
";
/// Alice crashed with a rekey, an add and two messages in her hands.
const BUSY: &str = "offline alice
say alice on paper
rekey alice
invite bob @dave:hs2
settle
join dave
settle
online alice
crash-at alice answer 4
wait 2000
crash alice
restart alice
";

const FIRST_KEYS: Operation = Operation {
    name: "first key packages",
    device: "alice",
    before: &["device alice @alice:hs1\n"],
    during: "device bob @bob:hs1",
    after: "create alice
settle
invite alice @bob:hs1
settle
join bob",
};
const CREATE: Operation = Operation {
    name: "create",
    device: "alice",
    before: &[PEOPLE],
    during: "create alice",
    after: "invite alice @bob:hs1
settle
join bob
settle
say bob here",
};
const INVITE: Operation = Operation {
    name: "invite",
    device: "alice",
    before: &[PEOPLE, ROOM],
    during: "invite alice @dave:hs2
wait 200
join dave",
    after: "say alice hello dave",
};
const ADD: Operation = Operation { name: "commit that adds", device: "carol", ..INVITE };
const JOIN: Operation = Operation { name: "join by Welcome", device: "dave", ..INVITE };
const ENTER: Operation = Operation {
    name: "external join",
    device: "dave",
    before: &[PEOPLE, ROOM, LEFT_ALONE],
    during: "join dave
wait 60000",
    after: "online alice
online bob
online carol",
};
const SEND: Operation = Operation {
    name: "send",
    device: "bob",
    before: &[PEOPLE, ROOM],
    during: "say bob first
say bob second",
    after: "",
};
const RECEIVE: Operation = Operation {
    name: "receive",
    device: "bob",
    before: &[PEOPLE, ROOM],
    during: "say alice first
wait 300
say carol second
wait 300
say alice third",
    after: "say bob heard",
};
const COMMITS: Operation = Operation {
    name: "commits of others",
    device: "bob",
    before: &[PEOPLE, ROOM],
    during: "rekey alice
rekey carol
wait 500
say bob in between",
    after: "",
};
const REKEY: Operation = Operation {
    name: "rekey",
    device: "carol",
    before: &[PEOPLE, ROOM],
    during: "rekey carol
say carol with new keys",
    after: "",
};
const MERGE: Operation = Operation {
    name: "merge, made",
    device: "carol",
    before: &[PEOPLE, ROOM, SPLIT],
    during: "heal hs1 hs2
wait 1000
say carol together",
    after: "",
};
const MERGED: Operation = Operation { name: "merge, taken in", device: "alice", ..MERGE };
const MERGED_TOO: Operation = Operation { name: "merge, taken in by who made no fork", device: "bob", ..MERGE };
const LEAVE: Operation = Operation {
    name: "leave",
    device: "bob",
    before: &[PEOPLE, ROOM],
    during: "leave bob
wait 500
say carol without bob",
    after: "",
};
const REMOVE: Operation = Operation { name: "commit that removes", device: "carol", ..LEAVE };
const KICK: Operation = Operation {
    name: "kick",
    device: "alice",
    before: &[PEOPLE, ROOM],
    during: "kick alice @bob:hs1
wait 500
say alice without bob",
    after: "",
};
const KICKED: Operation = Operation { name: "kick of oneself", device: "bob", ..KICK };
const REFILL: Operation = Operation {
    name: "key package refill",
    device: "carol",
    before: &[PEOPLE, ROOM],
    during: "exhaust carol
say alice hello
wait 3000
exhaust carol
say bob hello again",
    after: "",
};
const CATCH_UP: Operation = Operation {
    name: "catch-up",
    device: "bob",
    before: &[PEOPLE, ROOM, MISSED],
    during: "online bob
say bob back again",
    after: "",
};
const RESTART: Operation =
    Operation { name: "restart", device: "alice", before: &[PEOPLE, ROOM, BUSY], during: "wait 1", after: "" };

/// All of them.
pub const ALL: [Operation; 20] = [
    FIRST_KEYS, CREATE, INVITE, ADD, JOIN, ENTER, SEND, RECEIVE, COMMITS, REKEY, MERGE, MERGED, MERGED_TOO, LEAVE,
    REMOVE, KICK, KICKED, REFILL, CATCH_UP, RESTART,
];
