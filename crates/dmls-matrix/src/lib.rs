//! The Matrix binding of dmls, without IO: sync in, requests out.

pub mod facts;

/// Namespace of all event types, algorithms and key algorithms of this protocol version (PROTOCOL §6).
pub const NAMESPACE: &str = "org.dmls.v1";
/// The one ciphersuite, as it appears in Matrix names.
pub const SUITE: &str = "dhkemx25519-aes128gcm-sha256-ed25519";
