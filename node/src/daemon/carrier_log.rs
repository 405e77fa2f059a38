//! Where the carrier's own words go.
//!
//! The carrier outlives the daemon. If it held on to the daemon's standard error, whoever reads that
//! through a pipe would never see its end. So it writes into a file of its own, unless the daemon's
//! words go to the system journal, which ends for nobody.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

/// Set by systemd: device and inode of the journal's socket.
const JOURNAL: &str = "JOURNAL_STREAM";
/// Length, in bytes, from which on a new carrier begins the file anew.
const LARGEST: u64 = 1 << 20;
/// Most of a carrier's words that are repeated, in bytes.
const REPEATED: u64 = 2000;

/// What one carrier writes.
pub(super) enum CarrierLog {
    /// Into the system journal, beside the daemon's own words.
    Journal,
    /// Into this file, from this byte on.
    File { path: PathBuf, file: File, from: u64 },
}

impl CarrierLog {
    /// For a carrier that is about to be started.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        if goes_to_the_journal() {
            return Ok(Self::Journal);
        }
        let file = File::options().create(true).append(true).open(path)?;
        let mut from = file.metadata()?.len();
        if from >= LARGEST {
            file.set_len(0)?;
            from = 0;
        }
        Ok(Self::File { path: path.to_owned(), file, from })
    }

    /// The standard error of the carrier.
    ///
    /// # Errors
    /// If the system has no file descriptor left.
    pub(super) fn stderr(&self) -> io::Result<Stdio> {
        match self {
            Self::Journal => Ok(Stdio::inherit()),
            Self::File { file, .. } => Ok(file.try_clone()?.into()),
        }
    }

    /// What the carrier said before it ended, or where that stands.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Journal => "its own message stands in the log".to_owned(),
            Self::File { path, from, .. } => match words(path, *from) {
                Ok(words) if !words.is_empty() => words,
                _ => format!("its own message stands in {}", path.display()),
            },
        }
    }
}

fn goes_to_the_journal() -> bool {
    let journal = std::env::var(JOURNAL);
    let own = fs::metadata("/proc/self/fd/2");
    journal
        .is_ok_and(|journal| own.is_ok_and(|own| journal == format!("{}:{}", own.dev(), own.ino())))
}

fn words(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(REPEATED).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn say(log: &CarrierLog, what: &str) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("echo '{what}' >&2")).stderr(log.stderr().unwrap());
        assert!(shell.status().unwrap().success());
    }

    #[test]
    fn only_the_last_carrier_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("carrier.log");
        let first = CarrierLog::begin(&path).unwrap();
        assert!(first.said().contains("stands in") && first.said().contains("carrier.log"));
        say(&first, "former words");
        let second = CarrierLog::begin(&path).unwrap();
        say(&second, "the port\nis taken");
        assert_eq!(second.said(), "the port is taken");
        assert_eq!(fs::read_to_string(&path).unwrap(), "former words\nthe port\nis taken\n");
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("carrier.log");
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let log = CarrierLog::begin(&path).unwrap();
        say(&log, "new");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}
