//! H: history, its sharing, backups and attachments. None of it is built yet.

use crate::attack::Later;

pub const LATER: &[Later] = &[
    Later { id: "H1", reason: "no keys of messages are shared; an unasked M only tries a commit that waits for it" },
    Later { id: "H2", reason: "history is not shared: there is no request for it" },
    Later { id: "H3", reason: "there is no backup" },
    Later { id: "H4", reason: "there is no backup" },
    Later { id: "H5", reason: "there is no backup, and no secret storage is used" },
    Later { id: "H6", reason: "there is no backup, so keys never conflict" },
    Later { id: "H7", reason: "there are no history bundles" },
    Later { id: "H8", reason: "attachments are the application's; the library seals none" },
    Later {
        id: "H9",
        reason: "secrecy by time is not built: epochs go by their number, which F10 tests; \
                 that what is deleted leaves the disk, S9",
    },
];
