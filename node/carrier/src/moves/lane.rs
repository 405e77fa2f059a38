//! One connection to the peer: installed when both ends have agreed on it, read and written until it breaks or
//! is replaced.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsStream;
use tracing::{debug, warn};

use super::{
    core::{Lane, Task},
    moving::Move,
};
use crate::{
    clock::now_ns,
    pace::Share,
    socket::Tuning,
    stripe::ReadyFrame,
    wire::{Frame, Header, Kind, LaneKey, control_frame, wire_length},
};

/// The least time between two writes on the control lane, so that acknowledgements come in batches.
const CONTROL_PAUSE: Duration = Duration::from_millis(1);
/// The most frames without bytes in one write.
const SIGNALS_AT_ONCE: usize = 64;
/// How long the end of a move may take to be told.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection on which both ends have agreed.
pub(super) struct Agreed {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) tuning: Tuning,
    /// All sequence numbers below this one have arrived at the peer.
    pub(super) next: u64,
    pub(super) generation: u64,
}

impl Move {
    /// Takes a connection into use in place of the lane's last one, whose frames are sent again. A connection
    /// that is older than the lane's is dropped.
    pub(super) fn install(self: &Arc<Self>, key: LaneKey, agreed: Agreed) {
        let Agreed { stream, tuning, next, generation } = agreed;
        let (reader, writer) = tokio::io::split(stream);
        {
            let mut core = self.core();
            let newest = core.generations.get(&key).is_none_or(|&last| generation > last);
            if self.ended().is_some() || !newest {
                return;
            }
            if !core.outbound.acknowledge(next) {
                warn!(move_id = %self.id, "a peer claims to have what was never sent");
                return;
            }
            core.generations.insert(key, generation);
            core.suspects.remove(&key);
            core.lanes_made += 1;
            let id = core.lanes_made;
            let wake = Arc::new(Notify::new());
            let read = self.spawn(read_lane(self.clone(), key, id, reader));
            let write = match key {
                // It outlives the move by a moment, to say why it ended.
                LaneKey::Control => {
                    tokio::spawn(write_control(self.clone(), id, writer)).abort_handle()
                }
                LaneKey::Data(_) => {
                    self.spawn(write_data(self.clone(), (key, id), wake.clone(), tuning, writer))
                }
            };
            let _tasks = [Task(read), Task(write)];
            let lane = Lane { id, queue: VecDeque::new(), writing: false, wake, _tasks };
            if let Some(old) = core.lanes.insert(key, lane) {
                core.outbound.lane_lost(old.id);
            }
            if key == LaneKey::Control {
                core.repeat_on_control();
            }
            core.wake_readers();
        }
        debug!(move_id = %self.id, ?key, generation, "a stream is up");
        self.note_life(key, 0);
        self.control.notify_one();
        self.link.wake();
        self.lanes_may_be_wanted();
    }

    /// Closes a lane, if it still is connection `id` (or whichever it is); its frames are sent again.
    pub(super) fn drop_lane(&self, key: LaneKey, id: Option<u64>) {
        {
            let mut core = self.core();
            let found = core.lanes.get(&key).map(|lane| lane.id);
            let Some(found) = found.filter(|found| id.is_none_or(|id| id == *found)) else {
                return;
            };
            core.lanes.remove(&key);
            core.outbound.lane_lost(found);
        }
        self.control.notify_one();
        self.link.wake();
        self.lanes_may_be_wanted();
    }

    fn lane_failed(&self, key: LaneKey, id: u64, error: &io::Error) {
        debug!(move_id = %self.id, ?key, %error, "a stream is down");
        self.drop_lane(key, Some(id));
    }
}

async fn read_lane(
    mv: Arc<Move>,
    key: LaneKey,
    id: u64,
    mut reader: ReadHalf<TlsStream<TcpStream>>,
) {
    let error = loop {
        let frame = match read_frame(&mv, key, &mut reader).await {
            Ok(frame) => frame,
            Err(error) => break error,
        };
        if let Err(violation) = mv.deliver(frame) {
            warn!(move_id = %mv.id, peer = %mv.peer, %violation, "a stream is closed");
            break io::Error::new(io::ErrorKind::InvalidData, violation);
        }
    };
    if error.kind() == io::ErrorKind::InvalidData {
        warn!(move_id = %mv.id, peer = %mv.peer, %error, "a stream is closed");
    }
    mv.lane_failed(key, id, &error);
}

/// Reads one frame; every piece of it is a sign of life.
async fn read_frame<R>(mv: &Move, key: LaneKey, reader: &mut R) -> io::Result<Frame>
where
    R: AsyncRead + Unpin,
{
    let mut bytes = [0; Header::LENGTH];
    reader.read_exact(&mut bytes).await?;
    let header = Header::decode(&bytes)
        .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?;
    let mut payload = vec![0; header.wire_len as usize];
    let mut filled = 0;
    while filled < payload.len() {
        let read = reader.read(&mut payload[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        mv.note_life(key, 0);
    }
    mv.note_life(key, wire_length(bytes.len() + payload.len()));
    Ok(Frame { header, payload })
}

async fn write_data(
    mv: Arc<Move>,
    (key, id): (LaneKey, u64),
    wake: Arc<Notify>,
    mut tuning: Tuning,
    mut writer: WriteHalf<TlsStream<TcpStream>>,
) {
    let mut share = mv.link.watch_share();
    loop {
        let (frame, streams) = next_frame(&mv, key, id, &wake).await;
        let now = *share.borrow_and_update();
        tuning.fit(now, streams);
        if let Err(error) = write_within(&mut writer, &frame, &mut share).await {
            return mv.lane_failed(key, id, &error);
        }
        mv.counters.wire_sent.fetch_add(wire_length(frame.len()) as u64, Relaxed);
    }
}

/// Waits for the lane's next frame; returns it with the number of data lanes.
async fn next_frame(mv: &Move, key: LaneKey, id: u64, wake: &Notify) -> (ReadyFrame, usize) {
    loop {
        {
            let mut core = mv.core();
            let streams = core.data_lanes();
            if let Some(lane) = core.lanes.get_mut(&key).filter(|lane| lane.id == id) {
                let frame = lane.queue.pop_front();
                let room_made = lane.writing || frame.is_some();
                lane.writing = frame.is_some();
                drop(core);
                if room_made {
                    mv.link.wake();
                }
                if let Some(frame) = frame {
                    return (frame, streams);
                }
            }
        }
        wake.notified().await;
    }
}

/// Writes a frame, and stops in its middle for as long as the share allows nothing.
async fn write_within<W>(
    writer: &mut W,
    frame: &[u8],
    share: &mut watch::Receiver<Share>,
) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut rest = frame;
    loop {
        let left = share.borrow_and_update().lapses_in(now_ns());
        let Some(left) = left else {
            share.changed().await.map_err(io::Error::other)?;
            continue;
        };
        let write = async {
            if rest.is_empty() {
                writer.flush().await.map(|()| None)
            } else {
                writer.write(rest).await.map(Some)
            }
        };
        tokio::select! {
            biased;
            () = sleep(left) => {}
            _ = share.changed() => {}
            written = write => match written? {
                None => return Ok(()),
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(written) => rest = &rest[written..],
            },
        }
    }
}

async fn write_control(mv: Arc<Move>, id: u64, mut writer: WriteHalf<TlsStream<TcpStream>>) {
    let mut ended = mv.ended.subscribe();
    while mv.ended().is_none() {
        let batch = mv.control_batch(id);
        if batch.is_empty() {
            tokio::select! {
                () = mv.control.notified() => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
            continue;
        }
        // The end of the move does not cut a frame in two: what follows it could not be read.
        let written = async {
            let mut write = std::pin::pin!(write_all(&mut writer, &batch));
            tokio::select! {
                written = &mut write => return written,
                _ = ended.wait_for(Option::is_some) => {}
            }
            timeout(FAREWELL, write).await?
        };
        if let Err(error) = written.await {
            return mv.lane_failed(LaneKey::Control, id, &error);
        }
        mv.counters.wire_sent.fetch_add(wire_length(batch.len()) as u64, Relaxed);
        sleep(CONTROL_PAUSE).await;
    }
    say_goodbye(&mv, &mut writer).await;
    mv.core().lanes.clear();
}

async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

async fn say_goodbye<W: AsyncWrite + Unpin>(mv: &Move, writer: &mut W) {
    let ended = *mv.ended.borrow();
    let Some(ended) = ended else { return };
    let farewell = async {
        if ended.tell_peer {
            let reason = serde_json::to_vec(&ended.reason)?;
            write_all(writer, &control_frame(Kind::Close, 0, 0, &reason)).await?;
        }
        writer.shutdown().await
    };
    match timeout(FAREWELL, farewell).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(move_id = %mv.id, %error, "the peer was not told of the end"),
        Err(_) => debug!(move_id = %mv.id, "the peer could not be told of the end in time"),
    }
}

impl Move {
    /// Encodes what waits for the control lane.
    fn control_batch(&self, id: u64) -> Vec<u8> {
        let mut core = self.core();
        if core.lanes.get(&LaneKey::Control).is_none_or(|lane| lane.id != id) {
            return Vec::new();
        }
        let mut batch = Vec::new();
        if let Some(guest) = core.due.ping.take() {
            batch.extend(control_frame(Kind::Ping, guest as u32, now_ns(), &[]));
        }
        if let Some(number) = core.due.pong.take() {
            batch.extend(control_frame(Kind::Pong, 0, number, &[]));
        }
        if std::mem::take(&mut core.due.ack) {
            batch.extend(control_frame(Kind::Ack, 0, core.inbound.next(), &[]));
        }
        for (number, limit) in std::mem::take(&mut core.due.credits) {
            batch.extend(control_frame(Kind::Credit, number, limit, &[]));
        }
        for _ in 0..SIGNALS_AT_ONCE {
            let Some(frame) = core.outbound.take_urgent(id) else { break };
            batch.extend_from_slice(&frame);
        }
        batch
    }
}
