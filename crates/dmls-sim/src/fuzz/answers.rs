//! Target `answers`: what a homeserver answers to a device's requests, altered.

use dmls::id::{Device, Timestamp};
use dmls_matrix::Machine;
use dmls_matrix::error::Error;
use dmls_matrix::facts::Endorsement;
use dmls_matrix::request::{Failure, OutgoingRequest, Request, Response};
use dmls_store::MemoryStore;
use serde_json::json;

use super::alter;
use super::joins::ExpectFact;
use super::matrix::{answer, away, missed, room, scene};
use super::source::Source;
use crate::entropy::Stream;

/// So many steps are one run.
const STEPS: usize = 16;

/// Nothing fails a call but an answer of another form, also to what was answered before.
pub fn target(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    let (mut machine, mut entropy) = away();
    let mut now = scene.now;
    if let Some(sync) = missed() {
        machine.receive_sync(sync, now, &mut entropy).expect_fact();
    }
    // A device that is not in the room any more has nothing to say.
    let _refused = machine.send(&room(), "m.room.message", json!({ "body": "hello" }), now, &mut entropy);
    let mut listed = Vec::new();
    for _ in 0..STEPS {
        if source.is_empty() {
            return;
        }
        if source.byte() % 4 == 0 || listed.is_empty() {
            now = now.plus(u64::from(source.number()) * 10);
            listed = machine.outgoing_requests(now, &mut entropy).expect_fact();
        }
        match source.pick(&listed) {
            Some(outgoing) => give(&mut source, &mut machine, outgoing, now, &mut entropy),
            None => facts(&mut source, &mut machine, now, &mut entropy),
        }
    }
}

fn give(
    source: &mut Source<'_>,
    machine: &mut Machine<MemoryStore>,
    outgoing: &OutgoingRequest,
    now: Timestamp,
    entropy: &mut Stream,
) {
    if matches!(outgoing.request, Request::KeysQuery { .. }) {
        facts(source, machine, now, entropy);
    }
    let codes = ["M_FORBIDDEN", "M_NOT_FOUND", "M_TOO_LARGE", "M_UNKNOWN", ""];
    let done = match source.byte() % 8 {
        0 => {
            let permanent = source.pick(&codes).map(ToString::to_string);
            machine.mark_request_as_failed(&outgoing.id, Failure { retry_after_ms: None, permanent }, now, entropy)
        }
        1 => {
            let failure = Failure { retry_after_ms: Some(u64::from(source.number()) << 20), permanent: None };
            machine.mark_request_as_failed(&outgoing.id, failure, now, entropy)
        }
        2 => machine.mark_request_as_sent(&outgoing.id, Response::Done, now, entropy),
        3 => {
            let media = Response::Media(source.chunk().to_vec());
            machine.mark_request_as_sent(&outgoing.id, media, now, entropy)
        }
        _ => {
            let body = alter::json(source, &[answer(&outgoing.request)]);
            machine.mark_request_as_sent(&outgoing.id, Response::Json(body), now, entropy)
        }
    };
    // An answer of another form has a code of its own, and the request is listed again.
    if !matches!(done, Err(Error::Malformed(_))) {
        done.expect_fact();
    }
}

/// Facts about devices are verified by the host, but whose and which they are is the servers' word.
fn facts(source: &mut Source<'_>, machine: &mut Machine<MemoryStore>, now: Timestamp, entropy: &mut Stream) {
    let Some(mut facts) = source.pick(&scene().devices).cloned() else { return };
    match source.byte() % 6 {
        0 => facts.devices.clear(),
        1 => facts.devices.extend(facts.devices.clone()),
        2 => facts.user = String::from_utf8_lossy(source.chunk()).into_owned(),
        3 => {
            for device in &mut facts.devices {
                device.endorsement = Endorsement::NotCrossSigned;
                device.mls_key = None;
            }
        }
        4 => {
            for device in &mut facts.devices {
                device.mls_key = Some([source.byte(); 32]);
                device.device = Device::new(facts.user.clone(), String::from_utf8_lossy(source.chunk()));
            }
        }
        _ => {}
    }
    machine.receive_device_facts(facts, now, entropy).expect_fact();
}
