//! Processes that end with the one that started them, however that one ends.
//!
//! Whoever holds a [`Lifeline`] gives its children the reading end of a pipe as standard input and
//! keeps the writing end to itself. Nothing is ever written; when the holder is gone, SIGKILL
//! included, the kernel closes the pipe, and each child that watches it ends. Children pass it on
//! to their own, so that what outlives a child on purpose still ends with the holder.

use std::{
    ffi::OsStr,
    io::{self, PipeReader, PipeWriter, Read},
    process::{self, Stdio},
    thread,
};

/// Set for processes whose standard input is a lifeline.
const VARIABLE: &str = "LIFEBOAT_ENDS_WITH_STDIN";

/// What children hang on.
#[derive(Debug)]
pub struct Lifeline {
    theirs: PipeReader,
    _ours: PipeWriter,
}

impl Lifeline {
    /// A new one, which is cut when this value or this process is gone.
    ///
    /// # Errors
    /// If the system has no pipe left.
    pub fn new() -> io::Result<Self> {
        // Both ends are closed in every program that is started, but where they are handed on.
        let (theirs, ours) = io::pipe()?;
        Ok(Self { theirs, _ours: ours })
    }

    /// The standard input of a child.
    ///
    /// # Errors
    /// If the system has no file descriptor left.
    pub fn stdin(&self) -> io::Result<Stdio> {
        Ok(self.theirs.try_clone()?.into())
    }

    /// What a child's environment must hold beside.
    pub fn variable() -> (&'static OsStr, &'static OsStr) {
        (OsStr::new(VARIABLE), OsStr::new("1"))
    }
}

/// Ends this process as soon as its lifeline is cut, if it hangs on one.
pub fn hang_on() {
    if is_held() {
        thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            process::exit(1);
        });
    }
}

/// The standard input of a process that is to outlive this one: the lifeline, if there is one.
pub fn passed_on() -> Stdio {
    if is_held() { Stdio::inherit() } else { Stdio::null() }
}

fn is_held() -> bool {
    std::env::var_os(VARIABLE).is_some()
}
