//! The command line.

pub mod processes;
