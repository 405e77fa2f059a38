//! What the simulator and the live processes decode, for the fuzzer: bytes in, no panic.
//!
//! Compiled only with the cargo feature `fuzz`.

use serde_json::Value;

use crate::{
    live::{control, hypervisor, wan},
    r#virtual::scenario::{Vm, read_inventory},
};

pub use hypervisor::fuzz::{migration_seed, migration_stream};

/// Reads a CSV inventory.
///
/// # Errors
/// The line that is wrong, and what is wrong with it.
pub fn inventory(text: &str) -> Result<Vec<Vm>, (usize, String)> {
    read_inventory(text)
}

/// Reads a line of a control socket, as the embedded hypervisor, as the WAN emulator, and as their
/// clients.
pub fn control_line(line: &[u8]) {
    let understood = [
        control::fuzz_line::<hypervisor::protocol::Request>(line),
        control::fuzz_line::<wan::protocol::Request>(line),
    ];
    for written in understood.into_iter().flatten() {
        assert!(written.is_object(), "a request is written as an object");
    }
    if serde_json::from_slice::<Value>(line).is_ok() {
        drop(serde_json::from_slice::<hypervisor::protocol::Event>(line));
        drop(serde_json::from_slice::<hypervisor::protocol::Description>(line));
        drop(serde_json::from_slice::<hypervisor::protocol::Look>(line));
        drop(serde_json::from_slice::<hypervisor::protocol::Progress>(line));
        drop(serde_json::from_slice::<control::Refusal>(line));
    }
}
