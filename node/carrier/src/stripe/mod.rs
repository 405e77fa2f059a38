//! One order of bytes over many streams, without any I/O.
//!
//! Invariants:
//! - *in order, once*: [`Inbound`] hands out every sequence number exactly once, in order, whatever arrives;
//! - *nothing is lost*: [`Outbound`] keeps each frame until it is acknowledged, and offers it again when the
//!   stream that had it breaks;
//! - *bounded*: the receiver holds at most [`MAX_WINDOW`] and some of frames ahead of a gap, and its
//!   substreams at most the credit of [`credit::Pool`];
//! - *no head-of-line deadlock*: a frame is acknowledged when it is in order, not when the local socket took
//!   it; what a local socket does not drain is bounded by its own substream's credit.

mod credit;
mod inbound;
mod outbound;

pub(crate) use credit::{Credit, INITIAL_CREDIT, Pool};
pub(crate) use inbound::{Inbound, Overflow};
pub(crate) use outbound::{Outbound, ReadyFrame};

/// The most bytes that a sender keeps unacknowledged, and a receiver ahead of a gap.
pub(crate) const MAX_WINDOW: usize = 16 * 1024 * 1024;
/// The most frames that a sender keeps unacknowledged.
pub(crate) const MAX_FRAMES: usize = 16 * 1024;
