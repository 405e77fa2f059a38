//! The directory in which a demo lives.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

/// Longest path of the directory, in bytes. A UNIX socket's path has at most 107, and the longest
/// here goes on with `/b20/run/moves/`, a UUID and `.out`.
const LONGEST: usize = 107 - 15 - 36 - 4;

/// A directory that goes away with this value, unless it is kept.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    keeps: bool,
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
                Ok(Self { path, keeps: true })
            }
            None => Self::temporary(),
        }
    }

    fn temporary() -> anyhow::Result<Self> {
        let name = format!("lifeboat-demo-{}", std::process::id());
        let usual = std::env::temp_dir().join(&name);
        let fits = usual.as_os_str().len() <= LONGEST;
        let path = if fits { usual } else { Path::new("/tmp").join(name) };
        make_empty(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, keeps: false })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it, whatever was said before.
    pub(super) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Whether it stays.
    pub(super) fn is_kept(&self) -> bool {
        self.keeps
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keeps {
            // What cannot be removed is a few files in a directory for such.
            let _ = fs::remove_dir_all(&self.path);
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
