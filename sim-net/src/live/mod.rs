//! Processes that stand in for the world and move real bytes on one machine.
//!
//! - [`hypervisor`]: keeps VMs with real memory and migrates them by real pre-copy.
//! - [`wan`]: relays TCP connections at the capacity and round-trip time of a chosen link.
//! - [`control`] and [`client`]: how both are asked for something, one JSON object per line.

pub mod client;
mod clock;
pub mod control;
pub mod hypervisor;
mod lines;
pub mod wan;

use std::sync::{Mutex, MutexGuard};

/// Locks a mutex whose holders never leave it half-changed.
///
/// # Panics
/// If a holder panicked: what the mutex guards can no longer be believed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a thread panicked while it held this lock")
}
