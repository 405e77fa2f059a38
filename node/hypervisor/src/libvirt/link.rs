//! The connection to the local libvirtd: kept up by a thread of its own, with back-off.
//!
//! Nobody else opens or closes it. Calls take a copy of the connection that is up and run on it;
//! if it dies under them, libvirt ends them with an error.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;
use virt::{connect::Connect, error::Error};

use super::raw::{self, EventRegistration, EventSink};

/// Silence of libvirtd after which the connection counts as dead: interval in seconds x count.
const KEEPALIVE: (i32, u32) = (5, 3);
/// How often the thread looks whether the connection still stands (a local check, no request).
const CHECK: Duration = Duration::from_millis(100);
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// What the connection is like.
#[derive(Clone)]
pub(super) enum LinkState {
    /// The first attempt is not over yet.
    Starting,
    Up(Connect),
    /// With the reason.
    Down(String),
}

/// A change of the connection, told on its own thread.
pub(super) enum LinkChange {
    Up,
    Down(String),
}

/// The kept connection.
pub(super) struct Link {
    uri: String,
    state: watch::Sender<LinkState>,
    stopping: AtomicBool,
}

impl Link {
    /// A link that [`run`](Self::run) will bring up.
    pub(super) fn new(uri: String) -> Arc<Self> {
        let state = watch::Sender::new(LinkState::Starting);
        Arc::new(Self { uri, state, stopping: AtomicBool::new(false) })
    }

    /// Where libvirt is reached.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// Starts the thread that keeps the connection up, until [`stop`](Self::stop).
    pub(super) fn run(
        self: &Arc<Self>,
        events: EventSink,
        changed: impl Fn(LinkChange) + Send + 'static,
    ) {
        let kept = Arc::clone(self);
        thread::Builder::new()
            .name("libvirt-link".into())
            .spawn(move || kept.keep(&events, &changed))
            .expect("a thread for the libvirt connection can be started");
    }

    /// The connection that is up, or why none is; waits for the first attempt only.
    pub(super) async fn connection(&self) -> Result<Connect, String> {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| !matches!(state, LinkState::Starting)).await;
        match state.map(|state| state.clone()) {
            Ok(LinkState::Up(connection)) => Ok(connection),
            Ok(LinkState::Down(reason)) => Err(reason),
            Ok(LinkState::Starting) | Err(_) => Err("not connected yet".into()),
        }
    }

    /// Ends the thread and closes the connection, soon.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn keep(&self, events: &EventSink, changed: &dyn Fn(LinkChange)) {
        let mut back_off = BACK_OFF_FIRST;
        while !self.stopping.load(Ordering::Relaxed) {
            match self.open(events) {
                Ok((connection, _registration)) => {
                    back_off = BACK_OFF_FIRST;
                    self.state.send_replace(LinkState::Up(connection.clone()));
                    changed(LinkChange::Up);
                    self.watch(&connection);
                    let reason = "libvirtd closed the connection or fell silent".to_owned();
                    self.state.send_replace(LinkState::Down(reason.clone()));
                    changed(LinkChange::Down(reason));
                }
                Err(error) => {
                    self.state.send_replace(LinkState::Down(error.message().to_owned()));
                    thread::sleep(back_off);
                    back_off = BACK_OFF_MAX.min(back_off * 2);
                }
            }
        }
    }

    fn open(&self, events: &EventSink) -> Result<(Connect, EventRegistration), Error> {
        let connection = open(&self.uri)?;
        let registration = EventRegistration::new(&connection, events)?;
        Ok((connection, registration))
    }

    fn watch(&self, connection: &Connect) {
        while !self.stopping.load(Ordering::Relaxed) && connection.is_alive().unwrap_or(false) {
            thread::sleep(CHECK);
        }
    }
}

/// A connection of its own, which notices when libvirtd falls silent.
pub(super) fn open(uri: &str) -> Result<Connect, Error> {
    raw::start_event_loop()?;
    let connection = Connect::open(Some(uri))?;
    connection.set_keep_alive(KEEPALIVE.0, KEEPALIVE.1)?;
    Ok(connection)
}
