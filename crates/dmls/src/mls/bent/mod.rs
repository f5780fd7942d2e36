//! What a member makes of the MLS library who holds all its keys and keeps to no rule. Only in the test build.
//!
//! OpenMLS builds what is asked for; cryptography and signer stand between it and the wire, and bend what they see:
//! an HPKE ciphertext for chosen receivers, the proposals of a commit wherever they are signed, hashed or tagged.

mod commit;
mod crypto;
mod info;
mod message;
mod tree;

pub(crate) use commit::{BentPlan, commit};
pub(crate) use crypto::EditInfo;
pub use info::GroupInfoParts;
pub(crate) use message::{BentMessage, overhear, seal, secrets_of};
