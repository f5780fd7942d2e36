//! MLS messages made by hand from real ones, as an attacker would who knows the format and no key (RFC 9420 §6).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::Outcome;

/// The content type of a proposal.
const PROPOSAL: u8 = 2;
/// The content type of a commit.
const COMMIT: u8 = 3;
/// A Remove of leaf 1, as a proposal by value: `proposal_type`, then the leaf.
const REMOVE: [u8; 6] = [0, 3, 0, 0, 0, 1];
/// Signature, confirmation tag and membership tag, all empty.
const NO_PROOF: [u8; 3] = [0, 0, 0];

/// Makes a proposal by itself for the group and epoch of a real commit.
pub fn proposal(commit: &Value) -> Outcome<Value> {
    framed(commit, PROPOSAL, &REMOVE)
}

/// Makes a commit that takes a proposal by reference, for the group and epoch of a real commit.
pub fn commit_by_reference(commit: &Value) -> Outcome<Value> {
    // A vector of one reference, which is a hash of 32 bytes, and no path.
    framed(commit, COMMIT, &[&[34, 2, 32][..], &[7; 32], &[0]].concat())
}

/// Gives a real event's copy that belongs to an epoch nobody made, in the hints and in the signed part.
pub fn in_another_epoch(content: &Value, number: usize) -> Outcome<Value> {
    let id = content["epoch"]["id"].as_str().ok_or("there is no epoch")?;
    let (old, new) = (URL_SAFE_NO_PAD.decode(id)?, [&[9; 24][..], &(number as u64).to_be_bytes()].concat());
    let mut bytes = ciphertext(content)?;
    let at = bytes.windows(old.len()).position(|window| window == old).ok_or("the signed part names no epoch")?;
    bytes[at..at + new.len()].copy_from_slice(&new);
    let mut made = with_ciphertext(content, &bytes);
    made["epoch"]["id"] = URL_SAFE_NO_PAD.encode(new).into();
    Ok(made)
}

/// Keeps the outside of a commit, so that its hints still agree, and puts other content inside.
fn framed(commit: &Value, kind: u8, inside: &[u8]) -> Outcome<Value> {
    let bytes = ciphertext(commit)?;
    let outside = outside(&bytes).ok_or("it is no PublicMessage")?;
    Ok(with_ciphertext(commit, &[outside, &[kind], inside, &NO_PROOF].concat()))
}

/// Gives a PublicMessage of a member up to its content type.
fn outside(bytes: &[u8]) -> Option<&[u8]> {
    // Version and wire format, group id, epoch number, sender (its type and leaf), authenticated data.
    let group = vector(bytes, 4)?;
    let data = vector(bytes, group + 8 + 5)?;
    bytes.get(..data).filter(|_| bytes.get(data) == Some(&COMMIT))
}

/// Gives where the vector that begins at `at` ends; its length comes first, in one, two or four bytes.
fn vector(bytes: &[u8], at: usize) -> Option<usize> {
    let first = usize::from(*bytes.get(at)?);
    let size = 1 << (first >> 6);
    let more = bytes.get(at + 1..at + size)?;
    let length = more.iter().fold(first & 0x3f, |length, byte| length << 8 | usize::from(*byte));
    Some(at + size + length)
}

fn ciphertext(content: &Value) -> Outcome<Vec<u8>> {
    Ok(STANDARD_NO_PAD.decode(content["ciphertext"].as_str().ok_or("there is no ciphertext")?)?)
}

fn with_ciphertext(content: &Value, bytes: &[u8]) -> Value {
    let mut made = content.clone();
    made["ciphertext"] = STANDARD_NO_PAD.encode(bytes).into();
    made
}
