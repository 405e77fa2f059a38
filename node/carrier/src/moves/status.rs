//! What a move tells about itself.

use std::sync::atomic::Ordering::Relaxed;

use super::moving::{Move, Side};
use crate::{clock::now_ns, control::MoveStatus};

impl Move {
    /// The state of the move and its counters.
    pub(crate) fn status(&self) -> MoveStatus {
        let (acked_bytes, streams_up, substreams) = {
            let core = self.core();
            (core.outbound.acked_raw(), core.data_lanes(), core.substreams.len())
        };
        let link = match &self.side {
            Side::Source { link_name, .. } => Some(link_name.clone()),
            Side::Destination { .. } => None,
        };
        let heard_ns = self.heard.any_ns.load(Relaxed);
        MoveStatus {
            move_id: self.id.clone(),
            peer_id: self.peer.to_string(),
            link,
            state: self.state(),
            drained: self.drained.load(Relaxed),
            guest: self.guest_state(),
            local_in_bytes: self.counters.local_in.load(Relaxed),
            local_out_bytes: self.counters.local_out.load(Relaxed),
            wire_sent_bytes: self.counters.wire_sent.load(Relaxed),
            wire_received_bytes: self.counters.wire_received.load(Relaxed),
            acked_bytes,
            compress_in_bytes: self.counters.compress_in.load(Relaxed),
            compress_out_bytes: self.counters.compress_out.load(Relaxed),
            streams_up: streams_up as u16,
            substreams: substreams as u32,
            rtt_us: self.rtt().map(|rtt| rtt.as_micros() as u64),
            silent_ms: (heard_ns > 0).then(|| now_ns().saturating_sub(heard_ns) / 1_000_000),
        }
    }
}
