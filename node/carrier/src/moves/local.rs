//! Between the hypervisor's sockets and the order: one pair of loops for each local connection.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tracing::{debug, warn};

use super::{
    core::{End, MAX_SUBSTREAMS},
    moving::Move,
};
use crate::{
    socket::ACCEPT_PAUSE,
    squeeze::{Squeezer, expand},
    wire::{Frame, Header, Kind, blank_frame, sequenced_frame},
};

/// How a direction of a local connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// With everything passed on.
    Complete,
    /// The connection has to go, in both directions.
    Broken,
}

/// At the source: carries every connection to a channel's socket.
pub(super) async fn take_connections(mv: Arc<Move>, channel: String, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let mut core = mv.core();
                if core.substreams.len() >= MAX_SUBSTREAMS {
                    warn!(move_id = %mv.id, channel, "closed: too many local connections");
                    continue;
                }
                let number = core.add_substream(None);
                core.push_signal(Kind::Open, number, &channel);
                drop(core);
                mv.control.notify_one();
                mv.spawn(carry(mv.clone(), number, stream));
            }
            Err(error) => {
                warn!(move_id = %mv.id, channel, %error, "cannot accept a local connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// At the destination: connects a new substream to the socket that the daemon named for its channel.
pub(super) async fn connect(mv: Arc<Move>, number: u32, path: impl AsRef<Path>) {
    match UnixStream::connect(path.as_ref()).await {
        Ok(stream) => carry(mv, number, stream).await,
        Err(error) => {
            warn!(move_id = %mv.id, path = %path.as_ref().display(), %error, "cannot connect");
            give_up(&mv, number);
        }
    }
}

/// Carries both directions of a local connection until both have ended or one has broken.
async fn carry(mv: Arc<Move>, number: u32, stream: UnixStream) {
    let (reader, writer) = stream.into_split();
    let mut reading = std::pin::pin!(read_blocks(&mv, number, reader));
    let mut writing = std::pin::pin!(write_blocks(&mv, number, writer));
    let outcome = tokio::select! {
        outcome = &mut reading => match outcome {
            Outcome::Complete => writing.await,
            Outcome::Broken => Outcome::Broken,
        },
        outcome = &mut writing => match outcome {
            Outcome::Complete => tokio::select! {
                outcome = reading => outcome,
                () = reset_by_peer(&mv, number) => Outcome::Broken,
            },
            Outcome::Broken => Outcome::Broken,
        },
    };
    match outcome {
        Outcome::Complete => mv.core().remove_substream(number),
        Outcome::Broken => give_up(&mv, number),
    }
}

/// Waits until the peer says that its end broke, which it may do after it has said everything.
async fn reset_by_peer(mv: &Move, number: u32) {
    loop {
        let wake = match mv.core().substreams.get(&number) {
            Some(substream) if substream.end != Some(End::Reset) => substream.writer.clone(),
            _ => return,
        };
        wake.notified().await;
    }
}

/// Forgets a substream and has the peer close its end.
fn give_up(mv: &Move, number: u32) {
    let mut core = mv.core();
    let known = core.substreams.get(&number);
    if known.is_some_and(|substream| substream.end != Some(End::Reset)) {
        core.push_signal(Kind::Reset, number, "");
    }
    core.remove_substream(number);
    drop(core);
    mv.control.notify_one();
}

async fn read_blocks(mv: &Arc<Move>, number: u32, mut reader: OwnedReadHalf) -> Outcome {
    let mut squeezer = match Squeezer::new(mv.compress()) {
        Ok(squeezer) => Some(squeezer),
        Err(error) => {
            warn!(%error, "no compression");
            None
        }
    };
    loop {
        let Some(room) = room_to_read(mv, number).await else { return Outcome::Broken };
        let mut block = blank_frame(room);
        let read = match reader.read(&mut block[Header::LENGTH..]).await {
            Ok(read) => read,
            Err(error) => {
                debug!(move_id = %mv.id, %error, "a local connection broke");
                return Outcome::Broken;
            }
        };
        if read == 0 {
            return finish_reading(mv, number);
        }
        mv.counters.local_in.fetch_add(read as u64, Relaxed);
        block.truncate(Header::LENGTH + read);
        let (block, compressed) = squeeze(mv, &mut squeezer, block).await;
        let mut core = mv.core();
        let Some(substream) = core.substreams.get_mut(&number) else { return Outcome::Broken };
        substream.sent += read as u64;
        let frame = sequenced_frame(Kind::Data, number, read, compressed, block);
        core.outbound.push(frame, read, false);
        drop(core);
        mv.link.wake();
    }
}

/// Waits until something may be read; `None` if the substream is gone.
async fn room_to_read(mv: &Move, number: u32) -> Option<usize> {
    let reader = mv.core().substreams.get(&number)?.reader.clone();
    loop {
        match mv.may_read(number)? {
            0 => reader.notified().await,
            room => return Some(room),
        }
    }
}

fn finish_reading(mv: &Move, number: u32) -> Outcome {
    let mut core = mv.core();
    core.push_signal(Kind::Fin, number, "");
    if let Some(substream) = core.substreams.get_mut(&number) {
        substream.read_done = true;
        substream.writer.notify_one();
    }
    drop(core);
    mv.control.notify_one();
    Outcome::Complete
}

/// Compresses a block where it pays, off the runtime's threads.
async fn squeeze(mv: &Move, squeezer: &mut Option<Squeezer>, block: Vec<u8>) -> (Vec<u8>, bool) {
    let rate = mv.share().rate_bytes_per_sec;
    let Some(mut worker) = squeezer.take_if(|squeezer| squeezer.worth_a_try(rate)) else {
        return (block, false);
    };
    let before = (block.len() - Header::LENGTH) as u64;
    let work = move || {
        let packed = worker.squeeze(&block);
        (worker, block, packed)
    };
    let (worker, block, packed) =
        tokio::task::spawn_blocking(work).await.expect("compression does not panic");
    *squeezer = Some(worker);
    let (block, compressed) = packed.map_or((block, false), |packed| (packed, true));
    mv.counters.compress_in.fetch_add(before, Relaxed);
    mv.counters.compress_out.fetch_add((block.len() - Header::LENGTH) as u64, Relaxed);
    (block, compressed)
}

/// What the writer of a local connection does next.
enum Next {
    Block(Frame),
    Finish,
    Break,
}

async fn write_blocks(mv: &Arc<Move>, number: u32, mut writer: OwnedWriteHalf) -> Outcome {
    // Set when the local socket takes no more: the peer's bytes are dropped then, but what the socket still
    // has to say is carried to its end.
    let mut deaf = false;
    loop {
        match next_block(mv, number, deaf).await {
            Next::Block(frame) => {
                let raw_len = u64::from(frame.header.raw_len);
                if !deaf {
                    match write_block(&mut writer, frame).await {
                        Ok(()) => _ = mv.counters.local_out.fetch_add(raw_len, Relaxed),
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                            warn!(move_id = %mv.id, %error, "a block cannot be expanded");
                            return Outcome::Broken;
                        }
                        Err(error) => {
                            debug!(move_id = %mv.id, %error, "a local connection takes no more");
                            deaf = true;
                        }
                    }
                }
                give_credit(mv, number, raw_len);
            }
            Next::Finish if deaf => return Outcome::Broken,
            Next::Finish => {
                // Who is gone needs no end.
                let _ = writer.shutdown().await;
                return Outcome::Complete;
            }
            Next::Break => return Outcome::Broken,
        }
    }
}

async fn next_block(mv: &Move, number: u32, deaf: bool) -> Next {
    loop {
        let wake = {
            let mut core = mv.core();
            let Some(substream) = core.substreams.get_mut(&number) else { return Next::Break };
            if deaf && substream.read_done {
                return Next::Break;
            }
            if let Some(frame) = substream.inbox.pop_front() {
                return Next::Block(frame);
            }
            match substream.end {
                Some(End::Fin) => return Next::Finish,
                Some(End::Reset) => return Next::Break,
                None => substream.writer.clone(),
            }
        };
        wake.notified().await;
    }
}

async fn write_block(writer: &mut OwnedWriteHalf, frame: Frame) -> io::Result<()> {
    if frame.header.compressed {
        let raw = expand(&frame.payload, frame.header.raw_len as usize)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        writer.write_all(&raw).await
    } else {
        writer.write_all(&frame.payload).await
    }
}

fn give_credit(mv: &Move, number: u32, bytes: u64) {
    let core = &mut *mv.core();
    if let Some(substream) = core.substreams.get_mut(&number)
        && let Some(limit) = substream.credit.consume(bytes, &mut core.pool)
    {
        core.due.credits.insert(number, limit);
        mv.control.notify_one();
    }
}
