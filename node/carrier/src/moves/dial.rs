//! How the source gets and keeps its lanes.
//!
//! A dead connection is not waited for: over a link that was cut TCP tries again only after many seconds. So a
//! lane that is missing or suspect is dialled again and again, several tries at once, and the first that both
//! ends agree on takes its place. The control lane goes ahead, and the data lanes follow once it is up, so that
//! a cut link sees only a few small packets per second.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::{
    lane::Agreed,
    moving::{Move, Side},
};
use crate::{
    control::CloseReason,
    socket::Tuning,
    tls,
    wire::{
        Answer, Hello, LaneKey, Refusal, VERSION, read_message, write_confirmation, write_message,
    },
};

/// The pause between two tries, which grows by half each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
enum Failed {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer refused: {0:?}")]
    Refused(Refusal),
    #[error("another carrier answered than the one that knew the move")]
    OtherSession,
}

/// Dials a lane whenever it is wanted.
pub(super) async fn keep_lane(mv: Arc<Move>, key: LaneKey) {
    let mut changed = mv.lanes_changed.subscribe();
    let generation = AtomicU64::new(1);
    loop {
        changed.mark_unchanged();
        if !mv.wants_lane(key) {
            if changed.changed().await.is_err() {
                return;
            }
            continue;
        }
        let until_not_wanted =
            async { while mv.wants_lane(key) && changed.changed().await.is_ok() {} };
        tokio::select! {
            dialled = dial(&mv, key, &generation) => match dialled {
                Ok(agreed) => mv.install(key, agreed),
                Err(reason) => return mv.end_as_peer_did(reason),
            },
            () = until_not_wanted => {}
        }
    }
}

impl Move {
    /// Whether a lane should be dialled now.
    fn wants_lane(&self, key: LaneKey) -> bool {
        let core = self.core();
        let missing = |key| !core.lanes.contains_key(&key) || core.suspects.contains(&key);
        match key {
            LaneKey::Control => missing(key),
            LaneKey::Data(index) => {
                let follows = !missing(LaneKey::Control) || self.peer_session.get().is_none();
                index < self.streams_wanted.load(Relaxed) && follows && missing(key)
            }
        }
    }
}

/// Tries until one connection is agreed on, or the peer says that the move is over.
async fn dial(mv: &Move, key: LaneKey, generation: &AtomicU64) -> Result<Agreed, CloseReason> {
    let Side::Source { addresses, connector, .. } = &mv.side else {
        unreachable!("only the source dials");
    };
    let mut tries = FuturesUnordered::new();
    let mut pause = FIRST_PAUSE;
    for &address in addresses.iter().cycle() {
        let generation = generation.fetch_add(1, Relaxed);
        tries.push(try_once(mv, key, address, connector, generation));
        let next_try = Instant::now() + pause;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        loop {
            let tried = tokio::select! {
                Some(tried) = tries.next() => tried,
                () = sleep_until(next_try) => break,
            };
            let failed = match tried {
                Ok(mut agreed) => match write_confirmation(&mut agreed.stream).await {
                    Ok(()) => return Ok(agreed),
                    Err(error) => Failed::Io(error),
                },
                Err(failed) => failed,
            };
            debug!(move_id = %mv.id, ?key, %address, %failed, "a try to connect failed");
            if let Some(reason) = failed.ends_the_move(mv) {
                return Err(reason);
            }
        }
    }
    unreachable!("there is at least one address, and they are tried in turn for ever")
}

async fn try_once(
    mv: &Move,
    key: LaneKey,
    address: SocketAddr,
    connector: &TlsConnector,
    generation: u64,
) -> Result<Agreed, Failed> {
    let greet = async {
        let stream = TcpStream::connect(address).await?;
        let tuning = Tuning::of(&stream)?;
        let mut stream = tls::connect(connector, stream).await?;
        let hello = Hello {
            version: VERSION,
            move_id: mv.id.clone(),
            session: mv.session,
            lane: key,
            generation,
            next: mv.core().inbound.next(),
        };
        write_message(&mut stream, &hello).await?;
        match read_message(&mut stream).await? {
            Answer::Welcome { session, next } => {
                if *mv.peer_session.get_or_init(|| session) == session {
                    Ok(Agreed { stream, tuning, next, generation })
                } else {
                    Err(Failed::OtherSession)
                }
            }
            Answer::Refused(refusal) => Err(Failed::Refused(refusal)),
        }
    };
    timeout(TRY_WITHIN, greet).await.map_err(io::Error::from)?
}

impl Failed {
    /// Why there is no use in trying again.
    fn ends_the_move(&self, mv: &Move) -> Option<CloseReason> {
        match self {
            Self::Io(_) | Self::Refused(Refusal::Stale) => None,
            Self::OtherSession => Some(CloseReason::PeerLostState),
            Self::Refused(Refusal::Closed(reason)) => Some(*reason),
            Self::Refused(_) if mv.peer_session.get().is_some() => Some(CloseReason::PeerLostState),
            Self::Refused(_) => Some(CloseReason::Refused),
        }
    }
}
