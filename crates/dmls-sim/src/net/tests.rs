//! What two servers make of the same events.
#![allow(clippy::unwrap_used)]

use super::*;

const ALICE: &str = "@alice:hs1";
const BOB: &str = "@bob:hs1";
const CAROL: &str = "@carol:hs2";
const DAN: &str = "@dan:hs2";
const ERIN: &str = "@erin:hs2";

struct Two {
    net: Net,
    room: RoomId,
    now: Timestamp,
}

fn hs(number: usize) -> ServerName {
    ServerName(format!("hs{number}"))
}

impl Two {
    /// Alice (creator) and Bob on hs1, Carol on hs2.
    fn new() -> Self {
        let net = Net::new(&[hs(1), hs(2)], Stream::new(1, "net"), false);
        let mut two = Self { net, room: RoomId::from("!r"), now: Timestamp(1_000) };
        two.net.create(&hs(1), &two.room, ALICE, json!({}), &[], two.now).unwrap();
        for user in [BOB, CAROL] {
            two.invite(ALICE, user);
            two.join(user);
        }
        two
    }

    fn pass(&mut self) {
        self.now = self.now.plus(100);
        self.net.deliver(self.now);
    }

    fn invite(&mut self, by: &str, user: &str) {
        self.net.invite(&server_of(by), &self.room, by, user, self.now).unwrap();
        self.pass();
    }

    fn join(&mut self, user: &str) {
        self.net.join(&server_of(user), &self.room, user, self.now).unwrap();
        self.pass();
    }

    fn member(&mut self, by: &str, user: &str, membership: &str) -> Result<String, Refusal> {
        let content = json!({ "membership": membership });
        let draft = Draft { room: &self.room, sender: by, event_type: MEMBER, state_key: Some(user), content };
        let posted = self.net.post(&server_of(by), draft, self.now);
        self.pass();
        posted
    }

    fn say(&mut self, by: &str) -> String {
        let draft = Draft { room: &self.room, sender: by, event_type: "m.test", state_key: None, content: json!({}) };
        let id = self.net.post(&server_of(by), draft, self.now).unwrap();
        self.pass();
        id
    }

    fn joined(&self, server: usize) -> Vec<String> {
        self.net.memberships(&hs(server), &self.room).0.into_iter().collect()
    }
}

/// Carol was removed on one side, and brings Dan in on the other; Erin is there to speak.
fn brought_in(was_in_before: bool) -> Two {
    let mut two = Two::new();
    two.invite(ALICE, ERIN);
    two.join(ERIN);
    if was_in_before {
        two.invite(CAROL, DAN);
        two.join(DAN);
        two.member(DAN, DAN, "leave").unwrap();
    }
    two.net.cut(&hs(1), &hs(2));
    two.member(ALICE, CAROL, "leave").unwrap();
    two.invite(CAROL, DAN);
    two.join(DAN);
    assert_eq!(two.joined(1), [ALICE, BOB, ERIN]);
    assert_eq!(two.joined(2), [ALICE, BOB, CAROL, DAN, ERIN]);
    two.net.heal(&hs(1), &hs(2));
    two.pass();
    two.say(ERIN);
    two
}

/// The kick is stronger than Carol's invitation; but there is no other word of Dan than his join, which names it.
#[test]
fn both_sides_agree_after_a_heal() {
    let two = brought_in(false);
    assert_eq!(two.joined(1), [ALICE, BOB, DAN, ERIN]);
    assert_eq!(two.joined(2), [ALICE, BOB, DAN, ERIN]);
}

#[test]
fn who_had_left_is_out_again_if_the_invitation_does_not_hold() {
    let two = brought_in(true);
    assert_eq!(two.joined(1), [ALICE, BOB, ERIN]);
    assert_eq!(two.joined(2), [ALICE, BOB, ERIN]);
}

#[test]
fn what_the_current_state_forbids_is_soft_failed_until_built_upon() {
    let mut two = Two::new();
    two.invite(CAROL, DAN);
    two.join(DAN);
    two.net.cut(&hs(1), &hs(2));
    two.member(ALICE, CAROL, "leave").unwrap();
    let hidden = two.say(CAROL);
    let built_on_it = two.say(DAN);
    two.net.heal(&hs(1), &hs(2));
    two.pass();
    let room = two.room.clone();
    assert!(two.net.event(&hs(1), BOB, &room, &hidden).is_none());
    assert!(two.net.event(&hs(1), BOB, &room, &built_on_it).is_some());
}

#[test]
fn members_have_no_power_over_the_creator() {
    let mut two = Two::new();
    assert_eq!(two.member(BOB, ALICE, "leave"), Err(Refusal("M_FORBIDDEN")));
    assert_eq!(two.member(BOB, CAROL, "ban"), Err(Refusal("M_FORBIDDEN")));
    assert!(two.member(ALICE, BOB, "ban").is_ok());
    assert_eq!(two.joined(2), [ALICE, CAROL]);
}

#[test]
fn a_restarted_server_leaves_a_gap_that_paging_fills() {
    let mut two = Two::new();
    two.net.cut(&hs(1), &hs(2));
    let said: Vec<_> = (0..40).map(|_| two.say(CAROL)).collect();
    two.net.restart_server(&hs(2));
    two.net.heal(&hs(1), &hs(2));
    two.pass();
    let room = two.room.clone();
    let seen = |net: &Net| said.iter().filter(|id| net.event(&hs(1), BOB, &room, id).is_some()).count();
    assert_eq!(seen(&two.net), 11);
    let device = Device::new(BOB, "B");
    let body = two.net.sync(&device, Since::default()).unwrap().body;
    let page = body.pointer("/rooms/join/!r/timeline/prev_batch").and_then(Value::as_str).unwrap();
    two.net.page(&hs(1), BOB, &room, Some(page), 100).unwrap();
    assert_eq!(seen(&two.net), 40);
}
