//! Target `sync`: sync bodies, room events and to-device events, altered.

use dmls::id::Timestamp;
use dmls_matrix::sync::SyncInput;
use dmls_matrix::{Machine, Source as Route};
use dmls_store::MemoryStore;
use serde_json::Value;

use super::alter;
use super::joins::ExpectFact;
use super::matrix::{away, letters, missed, room, scene};
use super::source::Source;
use crate::entropy::Stream;

/// So many steps are one run.
const STEPS: usize = 6;

/// A device never asks for more than this at once.
const MAX_REQUESTS: usize = 500;

/// Nothing fails a call; requests stay few; a restart finds the same rooms; the real sync is still taken in.
pub fn target(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    let (mut machine, mut entropy) = away();
    let mut now = scene.now;
    for _ in 0..STEPS {
        if source.is_empty() {
            break;
        }
        step(&mut source, &mut machine, now, &mut entropy);
        now = now.plus(u64::from(source.number()) * 100);
        let requests = machine.outgoing_requests(now, &mut entropy).expect_fact();
        assert!(requests.len() <= MAX_REQUESTS, "{} requests", requests.len());
    }
    if let Some(sync) = missed() {
        machine.receive_sync(sync, now, &mut entropy).expect_fact();
    }
    let shown = machine.messages(&room()).expect_fact().len();
    let mut again = Machine::open(machine.into_journal(), scene.device.clone()).expect_fact();
    assert_eq!(again.messages(&room()).expect_fact().len(), shown, "a restart finds other messages");
}

fn step(source: &mut Source<'_>, machine: &mut Machine<MemoryStore>, now: Timestamp, entropy: &mut Stream) {
    let scene = scene();
    let events = |source: &mut Source<'_>, real: &[Value]| {
        let count = 1 + source.byte() % 3;
        (0..count).map(|_| alter::json(source, real)).collect::<Vec<_>>()
    };
    let sync = |body: &Value, letters| {
        SyncInput::parse(body, letters)
            .unwrap_or_else(|| SyncInput { next_batch: "s1_1".to_owned(), ..SyncInput::default() })
    };
    let done = match source.byte() % 5 {
        0 => {
            let body = alter::json(source, std::slice::from_ref(&scene.body));
            machine.receive_sync(sync(&body, Vec::new()), now, entropy)
        }
        1 => {
            let letters = letters(&events(source, &scene.letters));
            machine.receive_sync(sync(&Value::Null, letters), now, entropy)
        }
        2 => machine.receive_room_events(&room(), &events(source, &scene.events), Route::Timeline, now, entropy),
        3 => machine.receive_room_events(&room(), &events(source, &scene.events), Route::Backwards, now, entropy),
        _ => machine.receive_room_state(&room(), &events(source, &scene.events), now, entropy),
    };
    done.expect_fact();
}
