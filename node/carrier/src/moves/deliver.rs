//! What a frame does when it arrives.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use thiserror::Error;
use tracing::warn;

use super::{
    core::{Core, End, MAX_SUBSTREAMS},
    local,
    moving::{Move, Side},
};
use crate::{
    clock::now_ns,
    control::CloseReason,
    stripe::Overflow,
    wire::{Frame, Kind, LaneKey},
};

/// A ping that waited out an outage says nothing about the link: 1 s is the most that is believed.
const LONGEST_SAMPLE_NS: u64 = 1_000_000_000;

/// A well-formed frame that the peer must not send now; the lane it came on is closed.
#[derive(Debug, Error)]
pub(super) enum Violation {
    /// Beyond the window.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// Acknowledges what was never sent.
    #[error("an acknowledgement of what was never sent")]
    Acknowledgement,
}

impl Move {
    /// Takes a frame from a lane.
    pub(super) fn deliver(self: &Arc<Self>, frame: Frame) -> Result<(), Violation> {
        let header = frame.header;
        match header.kind {
            Kind::Open | Kind::Data | Kind::Fin | Kind::Reset => {
                let mut core = self.core();
                core.inbound.accept(frame)?;
                let mut allowed = true;
                while let Some(frame) = core.inbound.pop() {
                    allowed &= self.deliver_in_order(&mut core, frame);
                }
                core.due.ack = true;
                drop(core);
                self.control.notify_one();
                if !allowed {
                    self.end(CloseReason::Protocol, true);
                }
            }
            Kind::Ack => {
                let mut core = self.core();
                if !core.outbound.acknowledge(header.number) {
                    return Err(Violation::Acknowledgement);
                }
                core.wake_readers();
                drop(core);
                self.link.wake();
            }
            Kind::Credit => {
                if let Some(substream) = self.core().substreams.get_mut(&header.substream) {
                    substream.send_limit = substream.send_limit.max(header.number);
                    substream.reader.notify_one();
                }
            }
            Kind::Ping => {
                self.heard.guest.store(header.substream, Relaxed);
                self.core().due.pong = Some(header.number);
                self.control.notify_one();
            }
            Kind::Pong => self.note_rtt(header.number),
            Kind::Close => {
                let said = serde_json::from_slice(&frame.payload);
                self.end_as_peer_did(said.unwrap_or(CloseReason::Protocol));
            }
        }
        Ok(())
    }

    /// Ends the move for the reason that the peer gave.
    pub(super) fn end_as_peer_did(self: &Arc<Self>, reason: CloseReason) {
        let reason = match reason {
            CloseReason::Requested => CloseReason::RequestedByPeer,
            other => other,
        };
        self.end(reason, false);
    }

    /// Notes a sign of life of `bytes` bytes.
    pub(super) fn note_life(&self, key: LaneKey, bytes: usize) {
        let now_ns = now_ns();
        self.heard.any_ns.store(now_ns, Relaxed);
        if key == LaneKey::Control {
            self.heard.control_ns.store(now_ns, Relaxed);
        }
        self.counters.wire_received.fetch_add(bytes as u64, Relaxed);
        if let Side::Destination { received, .. } = &self.side {
            received.fetch_add(bytes as u64, Relaxed);
        }
    }

    fn note_rtt(&self, sent_at_ns: u64) {
        // A pong that this end never asked for cannot be told from a late one: it only has to be in the past.
        let Some(rtt_ns) = now_ns().checked_sub(sent_at_ns) else { return };
        let rtt_ns = rtt_ns.min(LONGEST_SAMPLE_NS);
        let old_ns = self.heard.rtt_ns.load(Relaxed);
        let new_ns = if old_ns == 0 { rtt_ns } else { old_ns - old_ns / 8 + rtt_ns / 8 };
        self.heard.rtt_ns.store(new_ns, Relaxed);
    }

    /// Says whether the peer was allowed to send this.
    fn deliver_in_order(self: &Arc<Self>, core: &mut Core, frame: Frame) -> bool {
        let number = frame.header.substream;
        match frame.header.kind {
            Kind::Open => return self.open_substream(core, number, &frame.payload),
            Kind::Data => {
                if let Some(substream) = core.substreams.get_mut(&number) {
                    if !substream.credit.receive(u64::from(frame.header.raw_len)) {
                        return false;
                    }
                    substream.inbox.push_back(frame);
                    substream.writer.notify_one();
                }
            }
            Kind::Fin => end_substream(core, number, End::Fin),
            Kind::Reset => end_substream(core, number, End::Reset),
            Kind::Ack | Kind::Credit | Kind::Ping | Kind::Pong | Kind::Close => {
                unreachable!("only sequenced frames are put in order")
            }
        }
        true
    }

    fn open_substream(self: &Arc<Self>, core: &mut Core, number: u32, channel: &[u8]) -> bool {
        let Side::Destination { channels, .. } = &self.side else { return false };
        if core.substreams.contains_key(&number) {
            return false;
        }
        let path = std::str::from_utf8(channel).ok().and_then(|name| channels.get(name));
        match path {
            Some(path) if core.substreams.len() < MAX_SUBSTREAMS => {
                core.add_substream(Some(number));
                self.spawn(local::connect(self.clone(), number, path.clone()));
            }
            Some(_) => {
                warn!(move_id = %self.id, "refused: too many connections at a time");
                core.push_signal(Kind::Reset, number, "");
            }
            None => {
                let channel = String::from_utf8_lossy(channel);
                warn!(move_id = %self.id, ?channel, "refused: the move has no such channel");
                core.push_signal(Kind::Reset, number, "");
            }
        }
        true
    }
}

fn end_substream(core: &mut Core, number: u32, end: End) {
    if let Some(substream) = core.substreams.get_mut(&number) {
        substream.end = Some(end);
        substream.writer.notify_one();
    }
}
