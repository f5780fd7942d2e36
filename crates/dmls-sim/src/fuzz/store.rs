//! Target `store`: the files of a profile, altered.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use dmls::journal::{Journal, Records, Table, Write};
use dmls_store::{Key, SqliteStore};

use super::alter;
use super::joins::ExpectFact;
use super::source::Source;

const TABLE: Table = Table("fuzz");

/// A file's name and content.
type Files = Vec<(String, Vec<u8>)>;

/// An altered profile is refused or says what it said.
pub fn target(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let files = altered(&mut source);
    let directory = Directory::new();
    for (name, content) in files {
        std::fs::write(directory.0.join(name), content).expect_fact();
    }
    let Ok(store) = SqliteStore::open(&directory.0, &key(), Duration::ZERO) else { return };
    if store.verify().is_err() {
        return;
    }
    let read = [0, 1, 2].map(|number| store.get(TABLE, &[number]).expect_fact().map(|value| value.to_vec()));
    // A database without a byte is a new one, as one that was removed.
    let emptied = read.iter().all(Option::is_none);
    assert!(emptied || read == [0, 1, 2].map(value).map(Some), "an altered profile says something else");
}

fn key() -> Key {
    Key::raw([7; 32])
}

fn value(number: u8) -> Vec<u8> {
    vec![number; 40 * usize::from(number + 1)]
}

fn altered(source: &mut Source<'_>) -> Files {
    let mut files = profile().clone();
    for _ in 0..=source.byte() % 3 {
        let at = source.index(files.len());
        let others: Vec<_> = files.iter().map(|(_, content)| content.clone()).collect();
        if let Some((_, content)) = files.get_mut(at) {
            alter::edit(source, content, &others);
        }
    }
    files
}

/// A profile with three records, as it lies on disk.
fn profile() -> &'static Files {
    static PROFILE: OnceLock<Files> = OnceLock::new();
    PROFILE.get_or_init(|| {
        let directory = Directory::new();
        let mut store = SqliteStore::open(&directory.0, &key(), Duration::ZERO).expect_fact();
        let writes = [0, 1, 2].map(|number| Write::put(TABLE, [number], value(number)));
        store.commit(&writes).expect_fact();
        drop(store);
        files(&directory.0)
    })
}

fn files(directory: &Path) -> Files {
    let listed = std::fs::read_dir(directory).expect_fact().filter_map(Result::ok);
    let named = listed.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let mut files: Files = named.filter_map(|(name, path)| Some((name, std::fs::read(path).ok()?))).collect();
    files.sort();
    files
}

/// A directory of one run, in memory where the system has that.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
        let path = base.join(format!("dmls-fuzz-{}-{thread}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect_fact();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
