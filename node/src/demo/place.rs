//! The directory in which a demo lives.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use crate::config::LONGEST_RUN_DIR;

/// Longest path of the directory, in bytes: the longest `run_dir` in it goes on with `/b20/run`.
const LONGEST: usize = LONGEST_RUN_DIR - 8;

/// How temporary directories begin.
const PREFIX: &str = "lifeboat-demo-";
/// A file in a temporary directory that is to go away, locked for as long as its demo lives.
const TEMPORARY: &str = "temporary";

/// A directory that goes away with this value, unless it is kept. One whose demo was killed goes away
/// with the next demo.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Of a directory that goes away.
    temporary: Option<File>,
}

impl Place {
    /// Makes the directory that the operator named, to be kept, or a temporary one.
    ///
    /// # Errors
    /// If it cannot be made, holds something already, or is too deep for UNIX sockets.
    pub(super) fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        match keep {
            Some(named) => {
                let path = std::path::absolute(named)?;
                ensure!(
                    path.as_os_str().len() <= LONGEST,
                    "--keep {}: the path is too long for UNIX sockets in it; it may have {LONGEST} \
                     bytes, so choose a directory that is less deep",
                    path.display()
                );
                make_empty(&path).with_context(|| format!("--keep {}", path.display()))?;
                Ok(Self { path, temporary: None })
            }
            None => Self::temporary(),
        }
    }

    fn temporary() -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}", std::process::id());
        let usual = std::env::temp_dir();
        let fits = usual.join(&name).as_os_str().len() <= LONGEST;
        let around = if fits { usual } else { PathBuf::from("/tmp") };
        remove_leftovers(&around);
        let path = around.join(name);
        let made = make_empty(&path).and_then(|()| {
            let file = File::create_new(path.join(TEMPORARY))?;
            file.try_lock()?;
            Ok(file)
        });
        let temporary = made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, temporary: Some(temporary) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it, whatever was said before.
    pub(super) fn keep(&mut self) {
        if self.temporary.take().is_some() {
            // If it cannot be removed, the next demo removes the directory.
            let _ = fs::remove_file(self.path.join(TEMPORARY));
        }
    }

    /// Whether it stays.
    pub(super) fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept() {
            // What cannot be removed is a few files in a directory for such.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes the directories of demos that were killed before they could do that themselves.
fn remove_leftovers(around: &Path) {
    for entry in fs::read_dir(around).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Somebody else's cannot be opened, one that is kept has no such file, and that of a demo that
        // lives is locked.
        let Ok(file) = File::options().write(true).open(entry.path().join(TEMPORARY)) else {
            continue;
        };
        if file.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes a directory that only its owner can enter, or takes one that is empty.
fn make_empty(path: &Path) -> anyhow::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_empty = fs::read_dir(path)?.next().is_none();
            if is_empty { Ok(()) } else { bail!("it must be new or empty, and it is not") }
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_place_goes_away_unless_kept() {
        let mut place = Place::make(None).unwrap();
        let path = place.path().to_owned();
        fs::write(path.join("log"), "words").unwrap();
        drop(place);
        assert!(!path.exists());
        place = Place::make(None).unwrap();
        place.keep();
        assert!(place.is_kept());
        drop(place);
        assert!(path.exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_a_killed_demo_left_behind_goes_away_and_nothing_else() {
        let around = tempfile::tempdir_in("/tmp").unwrap();
        let make = |name: &str, has_mark: bool| {
            let path = around.path().join(name);
            fs::create_dir(&path).unwrap();
            (path.clone(), has_mark.then(|| File::create_new(path.join(TEMPORARY)).unwrap()))
        };
        let (killed, _) = make("lifeboat-demo-1", true);
        let (kept, _) = make("lifeboat-demo-2", false);
        let (lives, lock) = make("lifeboat-demo-3", true);
        let (other, _) = make("demo-4", true);
        lock.as_ref().unwrap().try_lock().unwrap();
        remove_leftovers(around.path());
        let there = [killed, kept, lives, other].map(|path| path.exists());
        assert_eq!(there, [false, true, true, true]);
    }

    #[test]
    fn a_named_place_must_be_new_or_empty_and_short() {
        let around = tempfile::tempdir_in("/tmp").unwrap();
        let check = |name: &str| Place::make(Some(&around.path().join(name)));
        let place = check("new").unwrap();
        fs::write(place.path().join("log"), "words").unwrap();
        drop(place);
        let refused = format!("{:#}", check("new").unwrap_err());
        assert!(refused.contains("new or empty"), "{refused}");
        let refused = format!("{:#}", check(&"deep".repeat(20)).unwrap_err());
        assert!(refused.contains("too long"), "{refused}");
        fs::create_dir(around.path().join("empty")).unwrap();
        assert!(check("empty").unwrap().is_kept());
    }
}
