//! No key and nonce seal twice, and no message key seals two messages that left.
//!
//! What cannot be seen from outside (keys, nonces) the test build records by its hash; what can (the count that a sender
//! signs into each message) is read from the room.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dmls_matrix::RoomId;
use sha2::{Digest, Sha256};

use super::commit;
use super::epochs::Id;
use super::{Fault, Finding};
use crate::trace::{Fact, Kind, Name, Trace};

type Hash = [u8; 32];

/// A message that left an honest device.
struct Left {
    room: RoomId,
    name: Name,
    event_id: String,
    epoch: Id,
    sequence: u64,
    ciphertext: Hash,
}

pub(super) fn check(trace: &Trace) -> Vec<Finding> {
    let left = left(trace);
    let mut findings = pairs(trace);
    findings.extend(message_keys(trace, &left));
    findings.extend(counts(&left));
    findings
}

fn finding(room: RoomId, name: &Name, text: String) -> Finding {
    Finding { fault: Fault::Reused, room, name: name.clone(), text }
}

/// A store that was copied or put back seals again with the keys that it holds: that is no device's own fault.
fn is_honest(trace: &Trace, name: &Name) -> bool {
    trace.ends.get(name).is_some_and(|end| end.honest)
}

fn left(trace: &Trace) -> Vec<Left> {
    let message = |fact: &Fact| {
        let Fact::Posted { room, event_id, name, kind: Kind::Message, content, .. } = fact else { return None };
        let bytes = STANDARD_NO_PAD.decode(content["ciphertext"].as_str()?).ok()?;
        let (epoch, sequence) = commit::read_message(&bytes)?;
        let ciphertext = Sha256::digest(commit::read_ciphertext(&bytes)?).into();
        Some(Left { room: room.clone(), name: name.clone(), event_id: event_id.clone(), epoch, sequence, ciphertext })
    };
    trace.facts().filter_map(|(_, fact)| message(fact)).filter(|left| is_honest(trace, &left.name)).collect()
}

/// Every use of a key and nonce, whether or not anything of it left.
fn pairs(trace: &Trace) -> Vec<Finding> {
    let (mut used, mut findings) = (BTreeMap::new(), Vec::new());
    for (_, fact) in trace.facts() {
        let Fact::Sealed { name, seals } = fact else { continue };
        if !is_honest(trace, name) {
            continue;
        }
        for seal in seals {
            if let Some(first) = used.insert(seal.pair, name) {
                // Which room it was for the record does not say.
                let text = format!("a key and nonce that {first} had used seal again");
                findings.push(finding(RoomId::from(""), name, text));
            }
        }
    }
    findings
}

/// Random bytes in each nonce hide that a message key was used again; what left under one shows it.
fn message_keys(trace: &Trace, left: &[Left]) -> Vec<Finding> {
    let seals = trace.facts().filter_map(|(_, fact)| match fact {
        Fact::Sealed { seals, .. } => Some(seals),
        _ => None,
    });
    let keys: BTreeMap<Hash, Hash> = seals.flatten().map(|seal| (seal.ciphertext, seal.key)).collect();
    let keyed = left.iter().filter_map(|message| Some((*keys.get(&message.ciphertext)?, message)));
    again(keyed, "the message key")
}

/// The count in a message goes up with its key: a count that comes twice under two ciphertexts is a key used twice.
fn counts(left: &[Left]) -> Vec<Finding> {
    again(left.iter().map(|message| ((message.epoch, message.name.clone(), message.sequence), message)), "the count")
}

/// Messages that are not the same bytes and share what no two may share.
fn again<'a, K: Ord>(messages: impl Iterator<Item = (K, &'a Left)>, what: &str) -> Vec<Finding> {
    let mut seen: BTreeMap<K, BTreeSet<Hash>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (key, message) in messages {
        let known = seen.entry(key).or_default();
        if known.insert(message.ciphertext) && known.len() > 1 {
            let text = format!("{} has {what} of another message", message.event_id);
            findings.push(finding(message.room.clone(), &message.name, text));
        }
    }
    findings
}
