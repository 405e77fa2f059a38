//! The receiving end of the order.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{MAX_FRAMES, MAX_WINDOW};
use crate::wire::Frame;

/// Room beyond the sender's window: what it may have queued unsent, and frames without bytes.
const SLACK_BYTES: usize = 4 * 1024 * 1024;
const SLACK_FRAMES: usize = 4 * 1024;

/// The peer sent more ahead of a gap than its window allows.
#[derive(Debug, Error)]
#[error("more frames ahead of a gap than the window allows")]
pub(crate) struct Overflow;

/// Puts sequenced frames back in order and drops duplicates.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    next: u64,
    ahead: BTreeMap<u64, Frame>,
    ahead_bytes: usize,
}

impl Inbound {
    /// All sequence numbers below this one have arrived.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes a frame; state is unchanged on error.
    pub(crate) fn accept(&mut self, frame: Frame) -> Result<(), Overflow> {
        let number = frame.header.number;
        if number < self.next || self.ahead.contains_key(&number) {
            return Ok(());
        }
        let too_far = number - self.next >= (MAX_FRAMES + SLACK_FRAMES) as u64;
        if too_far || self.ahead_bytes + frame.payload.len() > MAX_WINDOW + SLACK_BYTES {
            return Err(Overflow);
        }
        self.ahead_bytes += frame.payload.len();
        self.ahead.insert(number, frame);
        Ok(())
    }

    /// The next frame in order, if it is here.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.ahead.remove(&self.next)?;
        self.ahead_bytes -= frame.payload.len();
        self.next += 1;
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, Kind};

    fn frame(number: u64, length: u32) -> Frame {
        let header = Header {
            kind: Kind::Data,
            compressed: false,
            substream: 0,
            number,
            wire_len: length,
            raw_len: length,
        };
        Frame { header, payload: vec![0; length as usize] }
    }

    #[test]
    fn any_order_and_duplicates_come_out_once_in_order() {
        let mut inbound = Inbound::default();
        let mut out = Vec::new();
        for number in [2, 0, 2, 1, 0, 4, 3, 4] {
            inbound.accept(frame(number, 1)).expect("within the window");
            out.extend(std::iter::from_fn(|| inbound.pop()).map(|frame| frame.header.number));
        }
        assert_eq!(out, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_lies_ahead_of_a_gap_is_bounded() {
        let mut inbound = Inbound::default();
        assert!(inbound.accept(frame(u64::MAX, 1)).is_err());
        let taken = (1..).take_while(|&number| inbound.accept(frame(number, 65_536)).is_ok());
        assert_eq!(taken.count(), (MAX_WINDOW + SLACK_BYTES) / 65_536);
    }
}
