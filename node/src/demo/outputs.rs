//! The files that a demo is to write, opened before anything is started: that one cannot be written
//! is said at once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::options::DemoOptions;

/// A file that is written at the end. Until then it holds what it held; one that is new goes away
/// with this value if it came to nothing.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    is_new: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Outputs {
    json: Option<Output>,
    svg: Option<Output>,
}

impl Outputs {
    /// Opens what the options name.
    ///
    /// # Errors
    /// If one cannot be written, or both are the same; nothing has changed then.
    pub(super) fn open(options: &DemoOptions) -> anyhow::Result<Self> {
        let (json, svg) = (options.json.as_deref(), options.svg.as_deref());
        anyhow::ensure!(
            json.is_none() || json != svg,
            "--json and --svg name the same file; give each its own"
        );
        let open = |file: Option<&Path>, option: &str| {
            let opened = file.map(|path| {
                Output::open(path)
                    .with_context(|| format!("{option} {}: cannot write this file", path.display()))
            });
            opened.transpose()
        };
        Ok(Self { json: open(json, "--json")?, svg: open(svg, "--svg")? })
    }

    /// Writes what is wanted.
    ///
    /// # Errors
    /// If a file cannot be written after all.
    pub(super) fn write(
        self,
        json: impl FnOnce() -> anyhow::Result<String>,
        svg: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if let Some(file) = self.json {
            file.write(&json()?)?;
        }
        if let Some(file) = self.svg {
            file.write(&svg())?;
        }
        Ok(())
    }
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true);
        let (file, is_new) = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.open(path)?, false)
            }
            made => (made?, true),
        };
        Ok(Self { path: path.to_owned(), file, is_new })
    }

    fn write(mut self, text: &str) -> anyhow::Result<()> {
        let written = self.replace(text);
        self.is_new &= written.is_err();
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        // A pipe or a device has nothing that could be cut off.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_new {
            // Somebody else may have removed it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::samples::options;

    fn named(json: Option<PathBuf>, svg: Option<PathBuf>) -> anyhow::Result<Outputs> {
        Outputs::open(&DemoOptions { json, svg, ..options() })
    }

    #[test]
    fn what_cannot_be_written_is_said_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("demo.json");
        let check = |svg: PathBuf, expect: &str| {
            let refused = format!("{:#}", named(Some(json.clone()), Some(svg)).unwrap_err());
            assert!(refused.contains(expect), "{refused}");
            assert!(!json.exists(), "an empty file was left");
        };
        check(dir.path().join("missing/demo.svg"), "cannot write this file");
        check(dir.path().to_owned(), "cannot write this file");
        check(json.clone(), "the same file");
    }

    #[test]
    fn a_file_is_replaced_only_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (json, svg) = (dir.path().join("demo.json"), dir.path().join("demo.svg"));
        fs::write(&json, "something longer than what comes").unwrap();
        let open = || named(Some(json.clone()), Some(svg.clone())).unwrap();
        drop(open());
        assert!(fs::read_to_string(&json).unwrap().starts_with("something"));
        assert!(!svg.exists());
        open().write(|| Ok("new".to_owned()), || "drawing".to_owned()).unwrap();
        assert_eq!(fs::read_to_string(&json).unwrap(), "new");
        assert_eq!(fs::read_to_string(&svg).unwrap(), "drawing");
    }
}
