//! What opens a store: a key file, a passphrase or a key handed in.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::header::KeyKind;
use crate::lock::{open_private, sync_dir};
use crate::seal::Secret;

const KEY_FILE: &str = "store.key";
const MAGIC: &[u8; 8] = b"dmlskey1";

/// What opens a store.
pub enum Key {
    /// A random key in the file `store.key` of the profile directory, made at the first open.
    File,
    /// A passphrase, stretched with Argon2id.
    Passphrase(Passphrase),
    /// 32 uniformly random bytes that the caller keeps, for example in the keyring of the system.
    Raw(Zeroizing<[u8; 32]>),
}

impl Key {
    /// A passphrase.
    pub fn passphrase(text: impl Into<String>) -> Self {
        Self::Passphrase(Passphrase::new(text))
    }

    /// 32 uniformly random bytes.
    pub fn raw(bytes: [u8; 32]) -> Self {
        Self::Raw(Zeroizing::new(bytes))
    }

    /// Which kind of key this is.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::File => KeyKind::File,
            Self::Passphrase(_) => KeyKind::Passphrase,
            Self::Raw(_) => KeyKind::Raw,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("File"),
            Self::Passphrase(passphrase) => f.debug_tuple("Passphrase").field(passphrase).finish(),
            Self::Raw(_) => f.write_str("Raw([redacted])"),
        }
    }
}

/// A passphrase as the user typed it; erased when dropped.
///
/// Its UTF-8 bytes count: a caller whose input methods may compose letters differently normalizes first.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The key file of a profile directory.
pub(crate) struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { path: dir.join(KEY_FILE) }
    }

    /// Reads the key; refuses a file that others may read.
    pub(crate) fn read(&self) -> Result<Secret, StoreError> {
        let mut file = File::open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::KeyFileMissing { path: self.path.clone() },
            _ => error.into(),
        })?;
        self.check_permissions(&file)?;
        let mut content = Zeroizing::new([0; 8 + 32]);
        let malformed = |_| StoreError::KeyFileMalformed { path: self.path.clone() };
        file.read_exact(content.as_mut()).map_err(malformed)?;
        let (magic, key) = content.split_at(8);
        if magic != MAGIC || file.read(&mut [0])? != 0 {
            return Err(StoreError::KeyFileMalformed { path: self.path.clone() });
        }
        Secret::from_slice(key)
    }

    /// Reads the key, or makes one: written whole under another name and then renamed, so that no crash leaves half.
    pub(crate) fn read_or_create(&self) -> Result<Secret, StoreError> {
        match self.read() {
            Err(StoreError::KeyFileMissing { .. }) => self.create(),
            other => other,
        }
    }

    fn create(&self) -> Result<Secret, StoreError> {
        let key = Secret::random()?;
        let new = self.path.with_extension("key.new");
        let mut file = open_private(&new)?;
        file.set_len(0)?;
        file.write_all(MAGIC)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(key)
    }

    /// Overwrites and removes the file, if it is there.
    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut file = open_private(&self.path)?;
        file.write_all(&[0; 8 + 32])?;
        file.sync_all()?;
        Ok(fs::remove_file(&self.path)?)
    }

    #[cfg(unix)]
    fn check_permissions(&self, file: &File) -> Result<(), StoreError> {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        match mode & 0o077 {
            0 => Ok(()),
            _ => Err(StoreError::KeyFilePermissions { path: self.path.clone(), mode }),
        }
    }

    /// Elsewhere the access list of the profile directory protects the file.
    #[cfg(not(unix))]
    fn check_permissions(&self, _: &File) -> Result<(), StoreError> {
        Ok(())
    }
}
