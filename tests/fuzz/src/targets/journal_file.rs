//! The journal's file, damaged: a daemon's start after a bad disk.
//!
//! Invariant: a file that is refused is left as it was, so that a person can look at it.

use std::{fs, path::Path, sync::LazyLock};

use lifeboat::journal::{Change, Journal, JournalError};
use tempfile::TempDir;

use super::Target;

/// Damages to a good file: place, length, bytes; or a length at which it is cut off.
pub(super) const TARGET: Target =
    Target { name: "journal_file", run, seeds, longest: 256, share_permille: 1 };

/// A journal with some records, as it lies on the disk.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let directory = directory();
    let path = directory.path().join("good.redb");
    let mut journal = Journal::open(&path).expect("a new journal");
    for batch in 0..3_u8 {
        let changes: Vec<Change> = (0..20_u8)
            .map(|n| Change::Put { key: vec![batch, n], value: vec![n; 100 + usize::from(n)] })
            .collect();
        journal.commit(&changes).expect("it takes changes");
    }
    journal.remove(&[1, 3]).expect("it takes changes");
    drop(journal);
    fs::read(&path).expect("the file is there")
});

/// In memory where the system has such a place: a real disk would be written to without end.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a directory for the journal")
}

fn run(bytes: &[u8]) {
    let mut file = GOOD.clone();
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let place = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
        let length = usize::from(head[3]);
        if length == 255 {
            file.truncate(place);
            rest = after;
            continue;
        }
        let (piece, after) = after.split_at(length.min(after.len()));
        rest = after;
        for (byte, value) in file.iter_mut().skip(place).zip(piece) {
            *byte = *value;
        }
    }
    let directory = directory();
    let path = directory.path().join("journal.redb");
    fs::write(&path, &file).expect("there is room for the file");
    // The store may meet a contradiction and panic, which the journal takes for damage.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = Journal::open(&path);
    std::panic::set_hook(hook);
    match opened {
        Ok(mut journal) => drop(journal.load()),
        Err(JournalError::Damaged { .. }) => {
            let left = fs::read(&path).expect("a refused file stays");
            assert!(left == file, "a refused file is left as it was");
        }
        Err(JournalError::InUse(_) | JournalError::Io { .. }) => {}
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for place in [0_u32, 9, 64, 128, 192, 256, 320, 4096, 4100, 8192, 12_288, 20_480, 65_536] {
        let head = place.to_le_bytes();
        seeds.push([&head[..3], &[4, 1, 2, 3, 4]].concat());
        seeds.push([&head[..3], &[255]].concat());
    }
    seeds
}
