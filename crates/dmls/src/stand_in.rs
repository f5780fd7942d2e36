//! A fast stand-in for signatures and HPKE, for simulations of many devices. **It protects nothing.**
//!
//! Only in the test build, and there only in threads that ask for it. Whoever knows a public key can sign and open with
//! it; but what was changed, or is meant for another key, is refused as with real cryptography, so that every verdict
//! is the same. Hashes, HKDF, AES-GCM and the signatures of devices' own Matrix keys stay real: they are fast enough.

use std::cell::Cell;

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// From now on keys and operations made in this thread are the stand-in's, or real again.
///
/// Keys of one kind are worth nothing to the other: switch before the first device is made.
pub fn use_in_this_thread(on: bool) {
    HERE.set(on);
}

/// Whether this thread uses the stand-in; every report of a simulation says so.
pub fn in_use() -> bool {
    HERE.get()
}
