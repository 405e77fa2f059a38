//! The sending end of the order.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use crate::wire::stamp;

/// An encoded frame, kept until it is acknowledged.
pub(crate) type ReadyFrame = Arc<Vec<u8>>;

#[derive(Debug)]
struct Entry {
    frame: ReadyFrame,
    raw_len: usize,
    urgent: bool,
    /// The connection that has it.
    lane: Option<u64>,
}

/// Frames on their way: numbered when queued, handed to connections, kept until acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// The lowest number that is not acknowledged.
    base: u64,
    entries: VecDeque<Entry>,
    /// Numbers that no connection has: bytes, and frames without bytes, which go ahead on the control lane.
    ready: BTreeSet<u64>,
    urgent: BTreeSet<u64>,
    held_bytes: usize,
    ready_bytes: usize,
    acked_raw: u64,
}

impl Outbound {
    /// Queues an encoded frame; `urgent` ones go on the control lane.
    pub(crate) fn push(&mut self, mut frame: Vec<u8>, raw_len: usize, urgent: bool) {
        let number = self.base + self.entries.len() as u64;
        stamp(&mut frame, number);
        self.held_bytes += frame.len();
        if urgent {
            self.urgent.insert(number);
        } else {
            self.ready_bytes += frame.len();
            self.ready.insert(number);
        }
        self.entries.push_back(Entry { frame: Arc::new(frame), raw_len, urgent, lane: None });
    }

    /// Bytes that no connection has taken.
    pub(crate) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Bytes that are not acknowledged, the ready ones included.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Frames that are not acknowledged.
    pub(crate) fn held_frames(&self) -> usize {
        self.entries.len()
    }

    /// Raw bytes that the far side has in order.
    pub(crate) fn acked_raw(&self) -> u64 {
        self.acked_raw
    }

    /// The lowest number that is not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Encoded length of the next data frame.
    pub(crate) fn head_len(&self) -> Option<usize> {
        self.ready.first().map(|&number| self.entry(number).frame.len())
    }

    /// Hands the next data frame to connection `lane`.
    pub(crate) fn take(&mut self, lane: u64) -> Option<ReadyFrame> {
        let number = self.ready.pop_first()?;
        let frame = self.assign(number, lane);
        self.ready_bytes -= frame.len();
        Some(frame)
    }

    /// Hands the next frame without bytes to connection `lane`.
    pub(crate) fn take_urgent(&mut self, lane: u64) -> Option<ReadyFrame> {
        let number = self.urgent.pop_first()?;
        Some(self.assign(number, lane))
    }

    /// All numbers below `next` have arrived; says whether that can be (state is unchanged if not).
    pub(crate) fn acknowledge(&mut self, next: u64) -> bool {
        if next > self.base + self.entries.len() as u64 {
            return false;
        }
        while self.base < next {
            let entry = self.entries.pop_front().expect("there are entries up to next");
            self.held_bytes -= entry.frame.len();
            self.acked_raw += entry.raw_len as u64;
            if self.ready.remove(&self.base) {
                self.ready_bytes -= entry.frame.len();
            }
            self.urgent.remove(&self.base);
            self.base += 1;
        }
        true
    }

    /// Connection `lane` is gone: what it had is offered again, the lowest number first.
    pub(crate) fn lane_lost(&mut self, lane: u64) {
        for (number, entry) in (self.base..).zip(&mut self.entries) {
            if entry.lane == Some(lane) {
                entry.lane = None;
                if entry.urgent {
                    self.urgent.insert(number);
                } else {
                    self.ready.insert(number);
                    self.ready_bytes += entry.frame.len();
                }
            }
        }
    }

    /// The connection that has the lowest number that is not acknowledged.
    pub(crate) fn base_lane(&self) -> Option<u64> {
        self.entries.front().and_then(|entry| entry.lane)
    }

    fn assign(&mut self, number: u64, lane: u64) -> ReadyFrame {
        let entry = &mut self.entries[(number - self.base) as usize];
        entry.lane = Some(lane);
        entry.frame.clone()
    }

    fn entry(&self, number: u64) -> &Entry {
        &self.entries[(number - self.base) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;

    fn empty_frame() -> Vec<u8> {
        vec![0; Header::LENGTH]
    }

    fn number(frame: &ReadyFrame) -> u8 {
        frame[15]
    }

    #[test]
    fn what_a_lost_connection_had_is_offered_again_first() {
        let mut outbound = Outbound::default();
        for _ in 0..4 {
            outbound.push(empty_frame(), 10, false);
        }
        for lane in [1, 2, 1] {
            outbound.take(lane);
        }
        assert!(outbound.acknowledge(1));
        assert_eq!(outbound.base_lane(), Some(2));
        outbound.lane_lost(1);
        let again: Vec<u8> = std::iter::from_fn(|| outbound.take(3)).map(|f| number(&f)).collect();
        assert_eq!(again, [2, 3]);
        assert!(outbound.acknowledge(4));
        assert_eq!((outbound.held_bytes(), outbound.ready_bytes()), (0, 0));
        assert_eq!(outbound.acked_raw(), 40);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_changes_nothing() {
        let mut outbound = Outbound::default();
        outbound.push(empty_frame(), 0, true);
        assert!(!outbound.acknowledge(2));
        assert_eq!(outbound.base(), 0);
        assert!(outbound.take_urgent(1).is_some() && outbound.take(1).is_none());
    }
}
