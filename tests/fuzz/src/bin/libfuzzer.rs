//! The guided fuzzer: libFuzzer around the target that `LIFEBOAT_FUZZ_TARGET` names.
//!
//! One program for all targets, since most of its size is the daemon. Only useful when built by
//! `tests/fuzz/run`, which has the compiler count what code an input reaches.
#![no_main]

use std::sync::LazyLock;

use lifeboat_fuzz::{TARGETS, Target, target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("LIFEBOAT_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("set LIFEBOAT_FUZZ_TARGET to one of: {}", names.join(", "));
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (CHOSEN.run)(bytes));
