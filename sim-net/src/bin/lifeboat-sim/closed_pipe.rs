//! Output that nobody reads any more.

/// From now on a program whose output nobody reads ends as other tools do, by SIGPIPE. Rust's start-up
/// code ignores that signal, and what is printed then would be a panic. Call it first in `main`.
pub(crate) fn end_quietly() {
    // SAFETY: no handler is installed that could run anywhere: the default action ends the process. No
    // other thread exists yet that could rely on the signal being ignored.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
