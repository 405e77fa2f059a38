use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::backends::FileBackend;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn journal_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("state/journal.redb")
}

fn put(key: &str, value: &str) -> Change {
    Change::Put { key: key.into(), value: value.into() }
}

fn record(key: &str, value: &str) -> Record {
    (key.into(), value.into())
}

/// A journal with a hundred records, closed.
fn filled(dir: &tempfile::TempDir) -> PathBuf {
    let path = journal_in(dir);
    let mut journal = Journal::open(&path).unwrap();
    for batch in 0..10u8 {
        let changes: Vec<Change> =
            (0..10u8).map(|n| Change::Put { key: vec![batch, n], value: vec![n; 200] }).collect();
        journal.commit(&changes).unwrap();
    }
    path
}

async fn reach(
    state: &mut watch::Receiver<JournalState>,
    wanted: impl FnMut(&JournalState) -> bool,
) {
    timeout(DEADLINE, state.wait_for(wanted)).await.expect("in time").expect("still running");
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    let mut journal = Journal::open(&path).unwrap();
    assert_eq!(journal.load().unwrap(), []);
    journal.commit(&[put("b", "1"), put("a", "2"), put("b", "3")]).unwrap();
    journal.put(b"c", b"4").unwrap();
    journal.remove(b"a").unwrap();
    journal.remove(b"nothing").unwrap();
    drop(journal);
    let mut journal = Journal::open(&path).unwrap();
    assert_eq!(journal.load().unwrap(), [record("b", "3"), record("c", "4")]);
}

#[test]
fn what_was_committed_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    let mut journal = Journal::open(&path).unwrap();
    journal.put(b"a", b"1").unwrap();
    // The file as it is on the disk while the journal is open, which is what a kill leaves.
    let copy = dir.path().join("killed.redb");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(Journal::open(&copy).unwrap().load().unwrap(), [record("a", "1")]);
}

#[test]
fn a_second_daemon_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    let first = Journal::open(&path).unwrap();
    let message = Journal::open(&path).unwrap_err().to_string();
    assert!(message.contains("in use") && message.contains("state_dir"), "{message}");
    drop(first);
    Journal::open(&path).unwrap();
}

#[test]
fn an_interrupted_beginning_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.with_extension("new"), b"half").unwrap();
    Journal::open(&path).unwrap();
}

#[test]
fn a_truncated_journal_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(&dir);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{length}: {error}");
        assert!(error.to_string().contains("mv "), "{error}");
        assert_eq!(fs::read(&path).unwrap(), &whole[..length], "changed at length {length}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(Journal::open(&path).unwrap().load().unwrap().len(), 100);
}

#[test]
fn a_file_that_is_no_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "name = \"a1\"\n".repeat(1000)).unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_directory_in_its_place_is_refused_with_a_way_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    fs::create_dir_all(&path).unwrap();
    let said = Journal::open(&path).map(drop).unwrap_err().to_string();
    assert!(said.contains("it is a directory") && said.contains("move it aside"), "{said}");
}

#[test]
fn overwritten_bytes_never_cost_a_record_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(&dir);
    let whole = fs::read(&path).unwrap();
    let expect = Journal::open(&path).unwrap().load().unwrap();
    let mut refused = 0;
    for offset in (0..whole.len()).step_by(whole.len() / 200) {
        let mut torn = whole.clone();
        let end = (offset + 64).min(torn.len());
        torn[offset..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
        fs::write(&path, &torn).unwrap();
        match Journal::open(&path).and_then(|mut journal| journal.load()) {
            Ok(records) => assert_eq!(records, expect, "records changed by damage at {offset}"),
            Err(JournalError::Damaged { .. }) => {
                refused += 1;
                assert_eq!(fs::read(&path).unwrap(), torn, "changed by damage at {offset}");
            }
            Err(error) => panic!("damage at {offset}: {error}"),
        }
    }
    assert!(refused > 0, "some damage must hit what is in use");
}

/// Found by fuzzing: the store began to repair such a file before it saw that it could not.
#[test]
fn a_journal_whose_repair_fails_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(&dir);
    let whole = fs::read(&path).unwrap();
    let expect = Journal::open(&path).unwrap().load().unwrap();
    let mut refused = 0;
    for flags in 0..=255 {
        let mut torn = whole.clone();
        torn[9..13].copy_from_slice(&[flags, 0x03, 0x7f, 0x00]);
        fs::write(&path, &torn).unwrap();
        match Journal::open(&path).and_then(|mut journal| journal.load()) {
            Ok(records) => assert_eq!(records, expect, "repaired to others with flags {flags}"),
            Err(JournalError::Damaged { .. }) => {
                refused += 1;
                assert!(fs::read(&path).unwrap() == torn, "changed with flags {flags}");
            }
            Err(error) => panic!("flags {flags}: {error}"),
        }
    }
    assert!(refused > 0, "some of them cannot be repaired");
}

#[tokio::test]
async fn the_writer_says_when_changes_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    let writer = JournalWriter::start(Journal::open(&path).unwrap()).unwrap();
    let mut state = writer.state();
    for number in 1..=100 {
        writer.submit(number, vec![put("last", &number.to_string())]);
    }
    reach(&mut state, |state| state.durable == 100).await;
    writer.submit(101, vec![]);
    reach(&mut state, |state| state.durable == 101).await;
    drop(writer);
    assert_eq!(Journal::open(&path).unwrap().load().unwrap(), [record("last", "100")]);
}

#[test]
fn dropping_the_writer_writes_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    let writer = JournalWriter::start(Journal::open(&path).unwrap()).unwrap();
    writer.submit(1, vec![put("a", "1"), put("b", "2")]);
    writer.submit(2, vec![Change::Remove { key: b"a".to_vec() }]);
    drop(writer);
    assert_eq!(Journal::open(&path).unwrap().load().unwrap(), [record("b", "2")]);
}

/// A disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room().and_then(|()| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room().and_then(|()| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room().and_then(|()| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_in(&dir);
    drop(Journal::open(&path).unwrap());
    let full = Arc::new(AtomicBool::new(false));
    let open_store = {
        let full = Arc::clone(&full);
        move |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let disk = Disk { file: FileBackend::new(file)?, full: Arc::clone(&full) };
            Database::builder().create_with_backend(disk)
        }
    };
    let journal = Journal::open_with(&path, Box::new(open_store)).unwrap();
    let writer = JournalWriter::start(journal).unwrap();
    let mut state = writer.state();
    writer.submit(1, vec![put("a", "1"), put("b", "1")]);
    reach(&mut state, |state| state.durable == 1).await;

    full.store(true, Ordering::SeqCst);
    writer.submit(2, vec![put("a", "2"), put("c", "2")]);
    reach(&mut state, |state| state.failed.is_some()).await;
    writer.submit(3, vec![put("a", "3"), Change::Remove { key: b"b".to_vec() }]);
    assert_eq!(state.borrow().durable, 1);

    full.store(false, Ordering::SeqCst);
    reach(&mut state, |state| state.durable == 3 && state.failed.is_none()).await;
    drop(writer);
    let records = Journal::open(&path).unwrap().load().unwrap();
    assert_eq!(records, [record("a", "3"), record("c", "2")]);
}
