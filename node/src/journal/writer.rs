//! The journal on its own thread, so that nobody waits for a disk who need not.
//!
//! What is submitted while the disk is busy goes into the next commit together; of several changes
//! to one record only the last is written. So what waits is bounded by the number of records, even
//! while the disk refuses everything.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::{Change, Journal};

/// How long after a failed commit the next is tried.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How far the journal is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalState {
    /// Everything submitted up to this number is on the disk.
    pub durable: u64,
    /// Why the last commit failed; `None` while all is well. It is tried again every second.
    pub failed: Option<String>,
}

/// Takes changes without blocking and writes them in order. Dropping it writes what is left.
#[derive(Debug)]
pub struct JournalWriter {
    shared: Arc<Shared>,
    state: watch::Receiver<JournalState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What each record shall become; `None` to remove it.
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    submitted: u64,
    written: u64,
    closing: bool,
}

impl JournalWriter {
    /// Takes the journal over. Fails only if no thread can be started.
    pub fn start(journal: Journal) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, state) = watch::channel(JournalState::default());
        let thread = {
            let shared = Arc::clone(&shared);
            let run = move || shared.run(journal, &sender);
            std::thread::Builder::new().name("journal".to_owned()).spawn(run)?
        };
        Ok(Self { shared, state, thread: Some(thread) })
    }

    /// Hands over changes under a number that grows with every call. Returns at once;
    /// [`JournalState::durable`] reaches the number when they are on the disk.
    pub fn submit(&self, number: u64, changes: Vec<Change>) {
        let mut waiting = self.shared.waiting();
        assert!(number > waiting.submitted, "numbers of the journal must grow");
        waiting.submitted = number;
        for change in changes {
            match change {
                Change::Put { key, value } => waiting.records.insert(key, Some(value)),
                Change::Remove { key } => waiting.records.insert(key, None),
            };
        }
        drop(waiting);
        self.shared.changed.notify_one();
    }

    /// Tells of every step of the state. Waiting on it fails only if the writer is gone.
    pub fn state(&self) -> watch::Receiver<JournalState> {
        self.state.clone()
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.shared.waiting().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the journal's thread had stopped");
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change of it is complete before the lock is given back.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut journal: Journal, state: &watch::Sender<JournalState>) {
        while let Some((batch, number)) = self.next_batch() {
            match journal.commit(&batch) {
                Ok(()) => {
                    self.waiting().written = number;
                    state.send_modify(|state| {
                        state.durable = number;
                        if state.failed.take().is_some() {
                            info!("the journal is written again");
                        }
                    });
                }
                Err(failure) => {
                    let reason = failure.why();
                    state.send_if_modified(|state| {
                        let news = state.failed.as_ref() != Some(&reason);
                        if news {
                            error!(reason, "the journal cannot be written; trying every second");
                            state.failed = Some(reason);
                        }
                        news
                    });
                    if !self.put_back(batch) {
                        return;
                    }
                }
            }
        }
    }

    /// What to write next, and the number it reaches. `None` when there is nothing left to do.
    fn next_batch(&self) -> Option<(Vec<Change>, u64)> {
        let mut waiting = self.waiting();
        loop {
            if waiting.submitted > waiting.written {
                let records = std::mem::take(&mut waiting.records);
                let changes = records.into_iter().map(|(key, value)| match value {
                    Some(value) => Change::Put { key, value },
                    None => Change::Remove { key },
                });
                return Some((changes.collect(), waiting.submitted));
            }
            if waiting.closing {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps what could not be written, below what came since, and lets the disk rest. `false` if
    /// there is no time to try again.
    fn put_back(&self, batch: Vec<Change>) -> bool {
        let mut waiting = self.waiting();
        for change in batch {
            let (key, value) = match change {
                Change::Put { key, value } => (key, Some(value)),
                Change::Remove { key } => (key, None),
            };
            waiting.records.entry(key).or_insert(value);
        }
        let rested =
            self.changed.wait_timeout_while(waiting, RETRY_EVERY, |waiting| !waiting.closing);
        let (waiting, _) = rested.unwrap_or_else(PoisonError::into_inner);
        !waiting.closing
    }
}
