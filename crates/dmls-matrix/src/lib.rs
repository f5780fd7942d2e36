//! The Matrix binding of dmls, without IO: sync in, requests out.
//!
//! [`Machine`] is the whole of it. It keeps the verbs of matrix-sdk-crypto's `OlmMachine` and stands beside it: the
//! host gives Olm, cross-signing and HTTP, and hands in what they show as plain facts.

mod canonical;
pub mod error;
pub mod facts;
mod id;
mod ledger;
mod machine;
mod names;
mod plaintext;
pub mod request;
mod room;
pub mod sync;
mod table;
pub mod view;
mod wire;

pub use id::{MessageId, RequestId, RoomId};
#[cfg(dmls_mutants)]
pub use machine::insider;
pub use machine::{CredentialRequest, Machine, Parameters, Source};

/// Namespace of all event types, algorithms and key algorithms of this protocol version (SPEC §6.5).
pub const NAMESPACE: &str = "org.dmls.v1";
/// The one ciphersuite, as it appears in Matrix names.
pub const SUITE: &str = "dhkemx25519-aes128gcm-sha256-ed25519";
