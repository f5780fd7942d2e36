//! One process per profile: an advisory lock that dies with its process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use dmls::defence;

use crate::error::StoreError;

const LOCK_FILE: &str = "store.lock";
const POLL: Duration = Duration::from_millis(25);

/// The right to use a profile directory, held by at most one process at a time.
///
/// The operating system releases it when the process ends, however it ends. The lock file itself stays.
#[derive(Debug)]
pub struct ProfileLock {
    dir: PathBuf,
    file: File,
}

impl ProfileLock {
    /// Takes the lock of the profile directory `dir`, waiting up to `wait` for another process to let go.
    ///
    /// Creates the directory (mode 0700) if it is missing. Fails with [`StoreError::Locked`] when `wait` is over.
    pub fn acquire(dir: &Path, wait: Duration) -> Result<Self, StoreError> {
        create_private_dir(dir)?;
        let mut file = open_private(&dir.join(LOCK_FILE))?;
        let deadline = Instant::now().checked_add(wait);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) if !defence::on("S5") => break,
                Err(TryLockError::WouldBlock) => {}
            }
            let left = deadline.map_or(POLL, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(StoreError::Locked { holder: holder(&mut file) });
            }
            thread::sleep(left.min(POLL));
        }
        // The name of the holder is a courtesy to the one who waits: a full disk must not keep anyone out.
        let _ = name_holder(&mut file);
        Ok(Self { dir: dir.to_owned(), file })
    }

    /// The profile directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for ProfileLock {
    fn drop(&mut self) {
        // Closing the file unlocks it too; what matters is that no stale process id stays behind.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn name_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Opens `path` for reading and writing, creating it for the owner only (mode 0600).
pub(crate) fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes new names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
