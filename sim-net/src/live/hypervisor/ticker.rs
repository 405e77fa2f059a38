//! The passing of time for all guests of a host: one thread.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use super::host::Host;

/// How often guests execute.
const PERIOD: Duration = Duration::from_millis(10);

/// Starts the ticking; it ends with the host.
///
/// # Errors
/// If no thread can be had.
pub(crate) fn start(host: &Arc<Host>) -> io::Result<()> {
    let host = Arc::downgrade(host);
    std::thread::Builder::new().name("guests".into()).spawn(move || tick(&host))?;
    Ok(())
}

fn tick(host: &Weak<Host>) {
    while let Some(host) = host.upgrade() {
        for guest in host.live_guests() {
            guest.tick();
        }
        drop(host);
        std::thread::sleep(PERIOD);
    }
}
