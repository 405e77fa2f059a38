//! Everything that lifeboat decodes, fed with bytes that nobody meant.
//!
//! A target is a function from bytes to nothing that must not panic, hang or grow without bound,
//! whatever the bytes are; where a decoder has a promise beyond that (what was read is written and
//! read the same), the target asserts it. [`TARGETS`] lists them all.
//!
//! Three things run them: the tests of this crate (seeds, committed corpus, former crashes, and
//! some thousand mutations of each), the program `lifeboat-fuzz` (one input at a time), and the
//! guided fuzzer `lifeboat-libfuzzer`, which `tests/fuzz/run` builds and starts.
//!
//! Architecture invariant: a target is a pure function of its bytes, but for `journal_file`, which
//! needs a file. So every crash is reproduced by its bytes alone.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod shorthand;
pub mod size;
mod targets;
pub mod world;

pub use targets::{TARGETS, Target, target};
