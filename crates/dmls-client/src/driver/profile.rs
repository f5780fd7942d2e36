//! A profile: one directory with everything that one device keeps.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dmls_store::{Key, KeyKind, ProfileLock, SqliteStore};

use super::error::ClientError;

const LOCK_FILE: &str = "store.lock";
const STORE_FILE: &str = "store.db";
const KEY_FILE: &str = "store.key";

/// A profile directory: the sealed store and beside it the identity's database, under one lock.
#[derive(Debug, Clone)]
pub struct Profile {
    dir: PathBuf,
    lock_wait: Duration,
}

/// Opens a store: either says which key to use for a store of this kind (`None`: a new store), or fails.
pub type KeySource<'a> = dyn FnMut(Option<KeyKind>) -> Result<Key, ClientError> + 'a;

impl Profile {
    /// The profile `name` under `home`; waits up to `lock_wait` for another process that has it open.
    pub fn new(home: &Path, name: &str, lock_wait: Duration) -> Result<Self, ClientError> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '@');
        if name.is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(plain) {
            return Err(ClientError::BadProfileName(name.to_owned()));
        }
        Ok(Self { dir: home.join(name), lock_wait })
    }

    /// Its directory, which need not exist yet.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the identity keeps its database.
    pub(super) fn identity_dir(&self) -> PathBuf {
        self.dir.join("olm")
    }

    /// Whether there is a store.
    pub fn exists(&self) -> bool {
        self.dir.join(STORE_FILE).exists()
    }

    /// Which kind of key opens the store; `None` without a store.
    pub fn key_kind(&self) -> Result<Option<KeyKind>, ClientError> {
        if !self.exists() {
            return Ok(None);
        }
        Ok(SqliteStore::key_kind(&ProfileLock::acquire(&self.dir, self.lock_wait)?)?)
    }

    /// Opens the store of an existing profile.
    pub(super) fn open(&self, key: &mut KeySource<'_>) -> Result<SqliteStore, ClientError> {
        if self.exists() { self.open_or_create(key) } else { Err(ClientError::NotLoggedIn) }
    }

    /// Opens the store, or makes one.
    pub(super) fn open_or_create(&self, key: &mut KeySource<'_>) -> Result<SqliteStore, ClientError> {
        let lock = ProfileLock::acquire(&self.dir, self.lock_wait)?;
        let kind = SqliteStore::key_kind(&lock)?;
        Ok(SqliteStore::open_locked(lock, &key(kind)?)?)
    }

    /// Removes everything of the profile; the key first, without which the rest says nothing.
    pub(super) fn wipe(&self) -> Result<(), ClientError> {
        let _lock = ProfileLock::acquire(&self.dir, self.lock_wait)?;
        self.wipe_locked().map_err(ClientError::Profile)
    }

    fn wipe_locked(&self) -> io::Result<()> {
        let key = self.dir.join(KEY_FILE);
        if key.exists() {
            overwrite(&key)?;
            fs::remove_file(&key)?;
        }
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false if entry.file_name() == LOCK_FILE => {}
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }
}

fn overwrite(path: &Path) -> io::Result<()> {
    let length = usize::try_from(fs::metadata(path)?.len()).unwrap_or(0);
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn profile(home: &Path) -> Profile {
        Profile::new(home, "default", Duration::ZERO).unwrap()
    }

    #[test]
    fn names_stay_inside_home() {
        for bad in ["", ".", "..", "a/b", "/etc", ".hidden", "a b"] {
            assert!(Profile::new(Path::new("/h"), bad, Duration::ZERO).is_err(), "{bad}");
        }
        assert!(Profile::new(Path::new("/h"), "alice@hs1.test", Duration::ZERO).is_ok());
    }

    #[test]
    fn nothing_is_made_by_looking() {
        let home = tempfile::tempdir().unwrap();
        let profile = profile(home.path());
        assert!(matches!(profile.open(&mut |_| Ok(Key::File)), Err(ClientError::NotLoggedIn)));
        assert_eq!(profile.key_kind().unwrap(), None);
        assert!(!profile.dir().exists());
    }

    #[test]
    fn wiping_leaves_the_lock_alone() {
        let home = tempfile::tempdir().unwrap();
        let profile = profile(home.path());
        drop(profile.open_or_create(&mut |kind| Ok(kind.map_or(Key::File, |_| Key::File))).unwrap());
        fs::create_dir(profile.identity_dir()).unwrap();
        profile.wipe().unwrap();
        let left: Vec<_> = fs::read_dir(profile.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK_FILE]);
        assert!(!profile.exists());
    }
}
