//! Names of the protocol on Matrix, and the text forms of bytes (SPEC §6.5).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::{NAMESPACE, SUITE};

/// Event type of encrypted room and to-device events.
pub(crate) const ENCRYPTED: &str = "m.room.encrypted";
/// State event that switches encryption on.
pub(crate) const ENCRYPTION: &str = "m.room.encryption";
/// State event that begins a room.
pub(crate) const CREATE: &str = "m.room.create";
/// State event of a membership.
pub(crate) const MEMBER: &str = "m.room.member";
/// State event that says who may join.
pub(crate) const JOIN_RULES: &str = "m.room.join_rules";
/// State event that says who may send what.
pub(crate) const POWER_LEVELS: &str = "m.room.power_levels";
/// State event that closes a room.
pub(crate) const TOMBSTONE: &str = "m.room.tombstone";

/// Both forms are written unpadded and read either way.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Algorithm of rooms, messages and commits.
pub(crate) fn room_algorithm() -> String {
    format!("{NAMESPACE}.{SUITE}")
}

/// Field of the create event with the device that makes the genesis epoch (SPEC §7.8).
pub(crate) fn creator_device() -> String {
    format!("{NAMESPACE}.creator_device")
}

/// Algorithm of Welcomes.
pub(crate) fn welcome_algorithm() -> String {
    format!("{NAMESPACE}.welcome.{SUITE}")
}

/// One-time key algorithm of key packages.
pub(crate) fn key_package_algorithm() -> String {
    format!("{NAMESPACE}.key_package.{SUITE}")
}

/// To-device event types of requests and their answers.
pub(crate) fn commit_request() -> String {
    format!("{NAMESPACE}.commit_request")
}

/// See [`commit_request`].
pub(crate) fn commit_reply() -> String {
    format!("{NAMESPACE}.commit_reply")
}

/// See [`commit_request`].
pub(crate) fn merge_request() -> String {
    format!("{NAMESPACE}.merge_request")
}

/// See [`commit_request`].
pub(crate) fn merge_reply() -> String {
    format!("{NAMESPACE}.merge_reply")
}

/// Unpadded base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64, padded or not.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Unpadded base64url: for ids.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE.encode(bytes)
}

/// Reads base64url.
pub(crate) fn unbase64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE.decode(text).ok()
}

/// The server part of a user id; empty when there is none.
pub(crate) fn server_of(user: &str) -> &str {
    user.split_once(':').map_or("", |(_, server)| server)
}
