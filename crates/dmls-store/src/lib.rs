//! Encrypted storage for dmls: what [`dmls::journal`] asks for, in SQLite or in memory.
//!
//! [`SqliteStore`] keeps the records of one profile directory, every name and value sealed, one transaction per
//! commit. [`MemoryStore`] keeps them in memory, for tests and simulations. [`contract`] is what both must satisfy.
//! The file format, and what is and is not protected, is described in `docs/STORAGE.md`.

pub mod contract;
mod error;
mod file;
mod header;
mod index;
mod key;
mod lock;
mod memory;
mod recent;
mod seal;
mod slots;
mod sqlite;

pub use error::StoreError;
pub use header::{FORMAT_VERSION, KeyKind};
pub use index::Generation;
pub use key::{Key, Passphrase};
pub use lock::ProfileLock;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
