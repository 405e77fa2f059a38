//! The daemon's side of the carrier: finds the one that runs, starts one if none does, reads what it
//! measures, and ends one that hangs.
//!
//! The carrier is started apart from this process and outlives it; a restarted daemon adopts it
//! with all its moves.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, RwLock},
    time::Duration,
};

use lifeboat_carrier::{Client, ClientError, CloseReason, Event, MoveState, Status};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use super::{
    carrier_log::CarrierLog,
    hung::{GuestPaused, Unanswered, answered},
};
use crate::{carrier_process, lifeline};

/// How often the carrier's counters are read. The rates that the protocol learns from are means
/// over this.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Pause before a carrier that could not be reached is tried again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause before that.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a carrier that was started may take before its socket answers.
const START_WITHIN: Duration = Duration::from_secs(5);

/// What the carrier tells the daemon.
#[derive(Debug)]
pub(super) enum CarrierNews {
    /// It answers (again).
    Up,
    /// It does not answer any more.
    Down(Loss),
    /// It could not be started, and why; told once until it could.
    NotStarted(String),
    /// Its counters, about four times a second.
    Status(Box<Status>),
    /// A move ended at its own will.
    Closed {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// A node without an accepted move dialled in.
    Stranger {
        /// Its key.
        peer: String,
        /// Its address.
        address: String,
    },
}

/// How a carrier was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It has ended, and every move that it had with it.
    Died,
    /// It hung, and this daemon has ended it.
    Ended,
    /// It hangs, and cannot be ended. Its moves go on if it speaks again.
    Silent,
}

impl Loss {
    /// What happened, and what becomes of its moves.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Died => (
                "the carrier here died",
                "the carrier here died; its moves start over with a new one",
            ),
            Self::Ended => (
                "the carrier here hung and was ended",
                "the carrier here did not answer and was ended, so that no guest waits for it; its \
                 moves start over with a new one",
            ),
            Self::Silent => (
                "the carrier here does not answer",
                "the carrier here does not answer and could not be ended; its moves go on if it does \
                 so again, and start over if it ends",
            ),
        }
    }
}

/// A handle to whichever carrier runs now.
#[derive(Clone, Default)]
pub(super) struct CarrierLink {
    client: Arc<RwLock<Option<Arc<Client>>>>,
}

impl CarrierLink {
    /// The connection, if there is one.
    pub(super) fn client(&self) -> Result<Arc<Client>, ClientError> {
        let client = self.client.read().expect("nothing panics under this lock");
        client.clone().ok_or(ClientError::Disconnected)
    }

    fn set(&self, client: Option<Arc<Client>>) {
        *self.client.write().expect("nothing panics under this lock") = client;
    }
}

/// How to reach or start the carrier of this host.
pub(super) struct Supervisor {
    pub(super) config_file: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) log: PathBuf,
    pub(super) upstream: std::net::SocketAddr,
    pub(super) link: CarrierLink,
    pub(super) news: UnboundedSender<CarrierNews>,
    pub(super) guest_paused: GuestPaused,
}

impl Supervisor {
    /// Keeps a carrier running and connected, for ever. Who stops the daemon ends this first: a
    /// carrier that was told to end together with the daemon must not be started again.
    pub(super) async fn run(self) {
        let mut pause = RETRY_MIN;
        let mut told = false;
        loop {
            match Client::connect(&self.socket).await {
                Ok(client) => {
                    (pause, told) = (RETRY_MIN, false);
                    let client = Arc::new(client);
                    let loss = match self.attend(&client).await {
                        Unanswered::Hangs => end(&client).await,
                        Unanswered::Failed(reason) => {
                            warn!(%reason, "the carrier is lost; looking for it, or starting it again");
                            Loss::Died
                        }
                    };
                    self.link.set(None);
                    // The daemon may have stopped listening: then this task ends with it.
                    let _ = self.news.send(CarrierNews::Down(loss));
                }
                Err(_) => match self.start().await {
                    Ok(()) => continue,
                    Err(reason) if !told => {
                        told = true;
                        let _ = self.news.send(CarrierNews::NotStarted(reason));
                    }
                    Err(_) => {}
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn start(&self) -> Result<(), String> {
        let log = CarrierLog::begin(&self.log)
            .map_err(|error| format!("cannot write {}: {error}", self.log.display()))?;
        let started = std::env::current_exe().and_then(|program| {
            let mut command = tokio::process::Command::new(program);
            command.arg("carrier").arg("--config").arg(&self.config_file);
            // A group of its own: what stops the daemon does not stop the carrier.
            command.process_group(0).stdin(lifeline::passed_on()).stdout(Stdio::null());
            command.stderr(log.stderr()?);
            command.spawn()
        });
        let mut child = started.map_err(|error| error.to_string())?;
        info!(pid = child.id(), "the carrier is started");
        let deadline = tokio::time::Instant::now() + START_WITHIN;
        while tokio::time::Instant::now() < deadline && Client::connect(&self.socket).await.is_err()
        {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("{status}; {}", log.said()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                info!(%status, "the carrier has ended");
            }
        });
        Ok(())
    }

    async fn attend(&self, client: &Arc<Client>) -> Unanswered {
        let prepare = || async {
            client.set_upstream(Some(self.upstream)).await?;
            client.subscribe().await
        };
        let mut events = match answered(&self.guest_paused, prepare).await {
            Ok(events) => events,
            Err(reason) => return reason,
        };
        self.link.set(Some(client.clone()));
        let _ = self.news.send(CarrierNews::Up);
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.tell(event),
                    None => return Unanswered::Failed(ClientError::Disconnected),
                },
                _ = ticks.tick() => match answered(&self.guest_paused, || client.status()).await {
                    Ok(status) => { let _ = self.news.send(CarrierNews::Status(Box::new(status))); }
                    Err(reason) => return reason,
                },
            }
        }
    }

    fn tell(&self, event: Event) {
        let news = match event {
            Event::MoveClosed { reason: CloseReason::Requested, .. } => return,
            Event::MoveClosed { move_id, reason } => {
                CarrierNews::Closed { id: move_id, reason: explained(reason).to_owned() }
            }
            Event::Stranger { peer_id, address } => {
                CarrierNews::Stranger { peer: peer_id, address: address.to_string() }
            }
            Event::MoveState { .. } | Event::Drained { .. } | Event::Missed { .. } => return,
        };
        let _ = self.news.send(news);
    }
}

/// Ends a carrier that hangs, and waits until it has ended: the hypervisors' sockets close with it, and
/// their guests run on here.
async fn end(client: &Client) -> Loss {
    warn!(pid = client.process(), "the carrier does not answer; it is ended");
    if let Err(reason) = carrier_process::kill(client.process()) {
        warn!(reason, "the carrier could not be ended");
        return Loss::Silent;
    }
    match client.status().await {
        Err(ClientError::Late) => {
            warn!(pid = client.process(), "the carrier was killed and has not ended");
            Loss::Silent
        }
        // Its end of the connection went with it.
        _ => Loss::Ended,
    }
}

/// Whether the carrier still works for a move.
pub(super) fn is_open(state: MoveState) -> bool {
    !matches!(state, MoveState::Closed { .. })
}

fn explained(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Requested => "it was closed here",
        CloseReason::RequestedByPeer => "the other end closed it",
        CloseReason::SilentWhilePaused => "the other end fell silent while the guest was paused",
        CloseReason::SilentUnattended => "the other end fell silent while no daemon was here",
        CloseReason::NoShareWhilePaused => {
            "nothing of it might be sent while its guest was, or may have been, paused"
        }
        CloseReason::SilentTooLong => "the other end was silent for too long",
        CloseReason::PeerGone => "the other carrier went away",
        CloseReason::PeerLostState => "the other carrier restarted and lost the move",
        CloseReason::Refused => "the other carrier did not expect it",
        CloseReason::Idle => "nothing used it",
        CloseReason::Protocol => "the other carrier sent what cannot be",
    }
}

/// Turns counters that only grow into rates.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: HashMap<String, (u64, u64)>,
}

impl Rates {
    /// Bytes per second since the last call with this name; zero at the first.
    pub(super) fn per_second(&mut self, name: String, at_ns: u64, bytes: u64) -> u64 {
        let before = self.last.insert(name, (at_ns, bytes));
        before.map_or(0, |(then, earlier)| {
            let elapsed = u128::from(at_ns.saturating_sub(then).max(1));
            let moved = u128::from(bytes.saturating_sub(earlier));
            u64::try_from(moved * 1_000_000_000 / elapsed).unwrap_or(u64::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_carrier_that_may_speak_again_moves_are_said_to_go_on() {
        for loss in [Loss::Died, Loss::Ended, Loss::Silent] {
            let (_, text) = loss.words();
            assert_eq!(text.contains("go on"), loss == Loss::Silent, "{text}");
        }
    }
}
