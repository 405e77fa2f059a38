//! `lifeboat man`: the manual pages, made from the same words as `--help`.

use std::path::Path;

use super::args;
use super::failure::Failure;

/// Writes one page per command into a directory.
pub(super) fn run(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(args::command(), directory).map_err(|error| {
        Failure::NotDone(format!("cannot write to {}: {error}", directory.display()))
    })
}
