//! Why a store refused, grouped by who can do something about it.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::header::KeyKind;

/// Why opening, reading or writing a store failed; after a failed commit the records are as they were before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The passphrase does not open this store.
    #[error("the passphrase does not open this store")]
    WrongPassphrase,
    /// The key, from the key file or handed in, does not open this store.
    #[error("the key does not open this store")]
    WrongKey,
    /// The store was made with another kind of key.
    #[error("the store is opened with a {stored}, not with a {given}")]
    WrongKeyKind {
        /// The kind that opens the store.
        stored: KeyKind,
        /// The kind handed in.
        given: KeyKind,
    },
    /// The store needs its key file, and the file is not there.
    #[error("the key file {} is missing; without it the store cannot be read", path.display())]
    KeyFileMissing {
        /// Where the key file should be.
        path: PathBuf,
    },
    /// Others may read or write the key file.
    #[error("the key file {} has mode {mode:04o}; it must be 0600", path.display())]
    KeyFilePermissions {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not one that dmls wrote.
    #[error("{} is not a dmls key file", path.display())]
    KeyFileMalformed {
        /// The key file.
        path: PathBuf,
    },
    /// Another process has the profile open.
    #[error("the profile is in use by {}", holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// Process id of the holder, where it is known.
        holder: Option<u32>,
    },
    /// No space is left on the disk.
    #[error("no space left on the disk")]
    Full,
    /// The operating system refused to read or write.
    #[error("reading or writing the store failed: {0}")]
    Io(#[source] io::Error),
    /// What is stored is not what dmls stored there: damaged, swapped, rolled back or removed.
    #[error("stored records are damaged or were changed by someone else: {table}")]
    Corrupt {
        /// The table of the damaged record, or in parentheses the part of the file: `(header)`, `(state)`, ...
        table: String,
    },
    /// The file was written by a newer dmls.
    #[error("the store has format version {found}; this program reads up to version {supported}")]
    NewerVersion {
        /// Version of the file.
        found: u32,
        /// Newest version that this program reads.
        supported: u32,
    },
    /// The file was written by a dmls that is too old.
    #[error("the store has format version {found}; this program reads from version {supported} on")]
    OlderVersion {
        /// Version of the file.
        found: u32,
        /// Oldest version that this program reads.
        supported: u32,
    },
    /// The file is an SQLite database of some other program.
    #[error("the database belongs to another program")]
    NotAStore,
    /// A table name, key or value is larger than the store can hold.
    #[error("a record is too large to store")]
    TooLarge,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoEntropy,
    /// SQLite or a key derivation refused a call that should have been valid: a defect of this crate.
    #[error("the database refused a valid call: {0}")]
    Defect(String),
}

impl StoreError {
    /// A stable name of this kind of failure, for JSON output and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongPassphrase => "wrong_passphrase",
            Self::WrongKey => "wrong_key",
            Self::WrongKeyKind { .. } => "wrong_key_kind",
            Self::KeyFileMissing { .. } => "key_file_missing",
            Self::KeyFilePermissions { .. } => "key_file_permissions",
            Self::KeyFileMalformed { .. } => "key_file_malformed",
            Self::Locked { .. } => "store_locked",
            Self::Full => "disk_full",
            Self::Io(_) => "store_io",
            Self::Corrupt { .. } => "store_corrupt",
            Self::NewerVersion { .. } => "store_newer_version",
            Self::OlderVersion { .. } => "store_older_version",
            Self::NotAStore => "not_a_store",
            Self::TooLarge => "record_too_large",
            Self::NoEntropy => "no_entropy",
            Self::Defect(_) => "store_defect",
        }
    }

    pub(crate) fn corrupt(table: impl Into<String>) -> Self {
        Self::Corrupt { table: table.into() }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>) as the failures that a caller can tell apart.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) | rusqlite::Error::SqlInputError { error: failure, .. } => {
                match failure.code {
                    ErrorCode::DiskFull => Self::Full,
                    ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::corrupt("(file)"),
                    ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked { holder: None },
                    ErrorCode::TooBig => Self::TooLarge,
                    ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::OutOfMemory => Self::Io(io::Error::other(error)),
                    // A missing table or column: the schema was changed under us.
                    ErrorCode::Unknown => Self::corrupt("(schema)"),
                    _ => Self::Defect(error.to_string()),
                }
            }
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::IntegralValueOutOfRange(..) => Self::corrupt("(file)"),
            _ => Self::Defect(error.to_string()),
        }
    }
}

impl From<getrandom::Error> for StoreError {
    fn from(_: getrandom::Error) -> Self {
        Self::NoEntropy
    }
}
