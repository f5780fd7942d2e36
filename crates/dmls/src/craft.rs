//! What a malicious insider can make of the keys it holds, for the attack suite. Only in the test build.
//!
//! A [`State`] is a copy of one epoch as a device holds it: of now, or of an epoch long past, or kept by a device that
//! was removed since. What is made from it leaves the [`Group`] it was copied from as it was, and everything that an
//! honest member would do is the default: whoever bends nothing makes a commit that is accepted.

mod commit;
mod info;
mod join;
mod message;
mod state;

pub use crate::wire::{Change, CommitData, Grant, Justification, Left, MessageData, PskId};
pub use commit::{Commit, Made};
pub use info::GroupInfoParts;
pub use join::{group_info, join_externally, welcome_grant};
pub use message::Message;
pub use state::State;

#[cfg(doc)]
use crate::group::Group;
