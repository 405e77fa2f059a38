//! How the destination lets a source in.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_rustls::TlsStream;
use tracing::{debug, info};

use super::{lane::Agreed, moving::Move};
use crate::{
    carrier::Carrier,
    control::{CloseReason, Event},
    socket::Tuning,
    wire::{
        Answer, Hello, LaneKey, MAX_STREAMS, Refusal, VERSION, read_confirmation, read_message,
        write_message,
    },
};

/// How long a peer may take to say who it is and what it wants.
const GREET_WITHIN: Duration = Duration::from_secs(10);
/// How long a refused peer may take to close its end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Finds out who has connected and for which move, and takes the connection into use or refuses it. `slot` is
/// given back as soon as the peer belongs to a move.
pub(crate) async fn welcome(
    carrier: &Arc<Carrier>,
    stream: TcpStream,
    address: SocketAddr,
    slot: OwnedSemaphorePermit,
) {
    match timeout(GREET_WITHIN, greet(carrier, stream, address)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => info!(%address, %error, "a stream is closed: its greeting failed"),
        Err(_) => info!(%address, "a stream is closed: its greeting took too long"),
    }
    drop(slot);
}

async fn greet(carrier: &Carrier, stream: TcpStream, address: SocketAddr) -> io::Result<()> {
    let tuning = Tuning::of(&stream)?;
    let (mut stream, peer) = carrier.identity().accept(stream).await?;
    let stranger = !carrier.expects(&peer);
    if stranger {
        info!(%peer, %address, "a stranger is refused");
        carrier.tell(Event::Stranger { peer_id: peer.to_string(), address });
    }
    let hello: Hello = read_message(&mut stream).await?;
    let checked = if stranger { Err(Refusal::Stranger) } else { check(carrier, &peer, &hello) };
    let mv = match checked {
        Ok(mv) => mv,
        Err(refusal) => {
            info!(%peer, %address, move_id = hello.move_id, ?refusal, "a stream is refused");
            return refuse(stream, refusal).await;
        }
    };
    let next = mv.core().inbound.next();
    write_message(&mut stream, &Answer::Welcome { session: mv.session, next }).await?;
    if let Err(error) = read_confirmation(&mut stream).await {
        debug!(%peer, move_id = mv.id, %error, "the source chose another connection");
        return Ok(());
    }
    let generation = hello.generation;
    mv.install(hello.lane, Agreed { stream, tuning, next: hello.next, generation });
    Ok(())
}

fn check(carrier: &Carrier, peer: &PeerId, hello: &Hello) -> Result<Arc<Move>, Refusal> {
    if hello.version != VERSION {
        return Err(Refusal::Version);
    }
    let found = carrier.find(&hello.move_id).filter(|mv| mv.comes_from(peer));
    let mv = found.ok_or(Refusal::UnknownMove)?;
    if let Some((reason, _)) = mv.ended() {
        return Err(Refusal::Closed(reason));
    }
    if *mv.peer_session.get_or_init(|| hello.session) != hello.session {
        mv.end(CloseReason::PeerLostState, false);
        return Err(Refusal::OtherSession);
    }
    let known_lane = match hello.lane {
        LaneKey::Control => true,
        LaneKey::Data(index) => index < MAX_STREAMS,
    };
    let last = mv.core().generations.get(&hello.lane).copied().unwrap_or(0);
    if known_lane && hello.generation > last { Ok(mv) } else { Err(Refusal::Stale) }
}

/// Says no, and waits for the peer to hang up: closing first could take the answer back.
async fn refuse(mut stream: TlsStream<TcpStream>, refusal: Refusal) -> io::Result<()> {
    write_message(&mut stream, &Answer::Refused(refusal)).await?;
    stream.shutdown().await?;
    let drained = timeout(CLOSE_WITHIN, stream.read(&mut [0; 64])).await;
    // Whatever the peer did, the connection is over.
    drop(drained);
    Ok(())
}
