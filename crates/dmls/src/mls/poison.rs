//! For unit tests only: commits whose UpdatePath opens for some members and not for others (attack F14).
//!
//! No honest group can make one, so for a while it is made a dishonest one that otherwise goes on as before.

use std::cell::RefCell;

use openmls::prelude::MlsGroup;

use crate::id::Device;

thread_local! {
    static VICTIMS: RefCell<Vec<Device>> = const { RefCell::new(Vec::new()) };
}

/// Paths are spoiled as long as this lives.
#[must_use = "paths are whole again when this is dropped"]
pub(crate) struct Poison(Vec<Device>);

/// From now on, in this thread, what a commit seals to the leaf keys of `victims` does not open.
///
/// A victim that shares a key with others (a parent node that is not blank) is spared.
pub(crate) fn poison(victims: &[Device]) -> Poison {
    Poison(VICTIMS.replace(victims.to_vec()))
}

impl Drop for Poison {
    fn drop(&mut self) {
        VICTIMS.replace(std::mem::take(&mut self.0));
    }
}

/// The victims' leaf keys in `mls`.
pub(super) fn keys(mls: &MlsGroup) -> Vec<Vec<u8>> {
    let is_victim = |device: &Device| VICTIMS.with_borrow(|victims| victims.contains(device));
    let of = |member: openmls::prelude::Member| {
        let leaf = super::facts::leaf(member.index.u32(), &member.credential, &member.signature_key).ok()?;
        is_victim(&leaf.device).then_some(member.encryption_key)
    };
    mls.members().filter_map(of).collect()
}
