//! What must survive a restart: a small set of records, keyed, durable once it says so.
//!
//! - *durable means on the disk*: every commit is synced, and in two phases, so that a power cut at
//!   any moment leaves either all of it or none;
//! - *one writer*: a second daemon on the same directory is refused;
//! - *lose nothing*: a file that cannot be read in full is refused and left as it is. It is never
//!   truncated, repaired at the cost of records, or deleted. An empty file is refused too: a new
//!   journal gets its name only when it is complete.
//!
//! It does not know what the records mean.

mod writer;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};
use thiserror::Error;

pub use writer::{JournalState, JournalWriter};

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// The journal is some hundred kilobytes at most.
const CACHE_BYTES: usize = 4 << 20;

/// One step of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Set a record.
    Put {
        /// Its key.
        key: Vec<u8>,
        /// What it holds from now on.
        value: Vec<u8>,
    },
    /// Take a record away; nothing happens if there is none.
    Remove {
        /// Its key.
        key: Vec<u8>,
    },
}

/// Why a journal cannot be used, or a commit was not made.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process holds it.
    #[error(
        "the journal {0} is in use by another lifeboat daemon; stop that one, or give this one \
         its own state_dir"
    )]
    InUse(PathBuf),
    /// The file is damaged or is no journal.
    #[error(
        "the journal {path} cannot be read in full: {reason}. Nothing was changed in it. \
         To go on, move it aside, for example `mv {path} {path}.damaged`, and start again: the node \
         then looks at what its hypervisor really runs"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused; the disk may be full.
    #[error(
        "cannot {doing} the journal {path}: {reason}. Nothing was changed in it; see that its disk has \
         space left and that the daemon may write there"
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl JournalError {
    /// The same for readers who know already that the journal could not be written.
    fn why(&self) -> String {
        match self {
            Self::Io { path, reason, .. } => format!("{}: {reason}", path.display()),
            other => other.to_string(),
        }
    }
}

type OpenStore = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send>;

/// The records on the disk. Calls block for as long as the disk takes.
pub struct Journal {
    path: PathBuf,
    open_store: OpenStore,
    /// Closed after a failure, since its state is then unknown; opened anew by the next call.
    store: Option<Database>,
    /// Held as long as the journal is.
    _lock: File,
}

/// A record: its key and what it holds.
pub type Record = (Vec<u8>, Vec<u8>);

impl Journal {
    /// Opens the journal, or begins one if there is none. Reads the whole file once, to be sure
    /// of it. The directory is made if needed.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_with(path, Box::new(open_file))
    }

    fn open_with(path: &Path, open_store: OpenStore) -> Result<Self, JournalError> {
        let failed = |doing| {
            move |error: io::Error| JournalError::Io {
                doing,
                path: path.to_owned(),
                reason: error.to_string(),
            }
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.with_extension("lock"))
            .map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            begin(path)?;
        }
        let mut journal = Self { path: path.to_owned(), open_store, store: None, _lock: lock };
        journal.rehearse()?;
        journal.load()?;
        Ok(journal)
    }

    /// Opens and reads a copy in memory. The store repairs what it opens, and may find only then that
    /// it cannot: what is refused must stay as it was found.
    fn rehearse(&self) -> Result<(), JournalError> {
        if self.path.is_dir() {
            let reason = "it is a directory".to_owned();
            return Err(JournalError::Damaged { path: self.path.clone(), reason });
        }
        let bytes =
            fs::read(&self.path).map_err(|error| describe("read", &self.path, error.into()))?;
        if bytes.is_empty() {
            // A store would begin anew in it; opened as a file, it is refused.
            return Ok(());
        }
        let rehearsal = catch_unwind(AssertUnwindSafe(|| -> Result<(), redb::Error> {
            let copy = InMemoryBackend::new();
            copy.set_len(bytes.len() as u64)?;
            copy.write(0, &bytes)?;
            let store = Database::builder()
                .set_check_integrity_on_open(true)
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(copy)?;
            for record in store.begin_read()?.open_table(RECORDS)?.iter()? {
                record?;
            }
            Ok(())
        }));
        // Memory does not fail as a disk may: whatever the copy meets is in the bytes.
        let rehearsal = rehearsal.map(|ran| {
            ran.map_err(|error| match error {
                redb::Error::Io(error) => redb::Error::Corrupted(error.to_string()),
                other => other,
            })
        });
        self.judge("read", rehearsal)
    }

    /// What a step of the store came to. A damaged file may drive the store into a panic; it is then
    /// damaged, not our program.
    fn judge<T>(
        &self,
        doing: &'static str,
        ran: thread::Result<Result<T, redb::Error>>,
    ) -> Result<T, JournalError> {
        match ran {
            Ok(done) => done.map_err(|error| describe(doing, &self.path, error)),
            Err(_) => Err(JournalError::Damaged {
                path: self.path.clone(),
                reason: "the store met a contradiction in it".to_owned(),
            }),
        }
    }

    /// All records, by key.
    pub fn load(&mut self) -> Result<Vec<Record>, JournalError> {
        self.with_store("read", |store| {
            let records = store.begin_read()?.open_table(RECORDS)?;
            let mut all = Vec::new();
            for record in records.iter()? {
                let (key, value) = record?;
                all.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(all)
        })
    }

    /// Makes all changes durable together, in order, or none of them.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        self.with_store("write", |store| write(store, changes))
    }

    /// Sets one record.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), JournalError> {
        self.commit(&[Change::Put { key: key.to_vec(), value: value.to_vec() }])
    }

    /// Takes one record away.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), JournalError> {
        self.commit(&[Change::Remove { key: key.to_vec() }])
    }

    /// Runs a step on the open store, and closes it if the step fails.
    fn with_store<T>(
        &mut self,
        doing: &'static str,
        step: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, JournalError> {
        let store = self.store.take();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let store = match store {
                Some(store) => store,
                None => (self.open_store)(&self.path)?,
            };
            let result = step(&store)?;
            Ok((store, result))
        }));
        let (store, result) = self.judge(doing, ran)?;
        self.store = Some(store);
        Ok(result)
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Journal({})", self.path.display())
    }
}

fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_check_integrity_on_open(true).set_cache_size(CACHE_BYTES).open(path)
}

/// Makes an empty journal beside the path and gives it its name when it is whole.
fn begin(path: &Path) -> Result<(), JournalError> {
    let unfinished = path.with_extension("new");
    let made = (|| -> Result<(), redb::Error> {
        // What an interrupted beginning has left; it never held a record.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let store = Database::builder().set_cache_size(CACHE_BYTES).create(&unfinished)?;
        write(&store, &[])?;
        drop(store);
        fs::rename(&unfinished, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    })();
    made.map_err(|error| describe("begin", path, error))
}

fn write(store: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let mut transaction = store.begin_write()?;
    // One phase would fall back to the commit before, should the last one be damaged later: a
    // loss that nobody notices. With two, that is an error.
    transaction.set_two_phase_commit(true);
    {
        let mut records = transaction.open_table(RECORDS)?;
        for change in changes {
            match change {
                Change::Put { key, value } => {
                    records.insert(key.as_slice(), value.as_slice())?;
                }
                Change::Remove { key } => {
                    records.remove(key.as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn describe(doing: &'static str, path: &Path, error: redb::Error) -> JournalError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => JournalError::InUse(path),
        redb::Error::Io(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ) =>
        {
            JournalError::Io { doing, path, reason: error.to_string() }
        }
        redb::Error::PreviousIo => {
            let reason = "an earlier error of the disk".to_owned();
            JournalError::Io { doing, path, reason }
        }
        error => JournalError::Damaged { path, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
