//! An MLS group (RFC 9420) as values: an epoch is immutable, and a commit on it gives its child.
//!
//! One suite a group, proposals by value, commits as PublicMessage with a path and a PSK, messages as PrivateMessage
//! (SPEC §3.1). What RFC 9420 has beyond that is refused by name ([`refusal::Feature`]). docs/MLS.md says where each of
//! its requirements is checked.
//!
//! An [`Epoch`] is cheap to clone: trees share their nodes. [`Ratchets`] is the one part that changes, and there is
//! exactly one of it to an epoch (SPEC §7.4).

mod commit;
mod crypto;
mod grant;
mod join;
mod make;
mod members;
mod message;
mod package;
mod path;
mod ratchets;
mod record;
mod refusal;
mod schedule;
mod tree;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

/// The attack kit, which lies outside: it needs the parts that are private here.
#[cfg(dmls_mutants)]
#[path = "../craft/bend.rs"]
pub(crate) mod bend;

use std::sync::Arc;

use crate::id::EpochNumber;

#[cfg(feature = "hazmat")]
pub(crate) use commit::Public;
pub(crate) use commit::{Draft, Entered};
pub(crate) use grant::Recipient;
pub(crate) use join::{Door, Invitation, package_references};
#[cfg(feature = "hazmat")]
pub(crate) use make::OwnDraft;
pub(crate) use make::{Made, Plan, Showing};
pub(crate) use package::{OwnPackage, Package};
pub(crate) use path::MakeError;
pub(crate) use ratchets::{MAX_AHEAD, MAX_LEAP, Ratchets, Turn};
pub(crate) use record::RatchetRecord;
pub(crate) use refusal::Refusal;
pub(crate) use tree::{Forest, Leaf, Maker, Source, Tree};

#[cfg(not(feature = "hazmat"))]
use commit::Public;
use path::PathKeys;
use schedule::Secrets;

/// An epoch of a group as one member holds it. Immutable.
///
/// **Invariant**: `own` is a leaf of the tree, and `keys` go with it there.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    public: Public,
    secrets: Arc<Secrets>,
    keys: Arc<PathKeys>,
    own: u32,
}

impl Epoch {
    /// What is public of it.
    #[cfg(any(test, feature = "hazmat"))]
    pub(crate) fn public(&self) -> &Public {
        &self.public
    }

    /// Its number; forks share it.
    pub(crate) fn number(&self) -> EpochNumber {
        EpochNumber(self.public.context.epoch)
    }

    /// The ratchet tree: its leaves are the members.
    pub(crate) fn tree(&self) -> &Tree {
        &self.public.tree
    }
}
