//! The right to send, enforced: one budget per link for all moves of this host.
//!
//! Invariants:
//! - *within the share*: over any interval the bytes dispatched on a link are at most rate x interval, plus
//!   one burst (10 ms of the rate) and one frame;
//! - *a grant that ran out stops the bytes*: after `valid_until_ns` nothing is dispatched, and the streams'
//!   writers stop in the middle of a frame ([`Share::lapses_in`]); what the kernel has taken in time may still
//!   leave, and is kept to about 20 ms of the share ([`crate::socket::Tuning`]);
//! - *work conserving*: tokens never wait while any move of the link could send.
//!
//! Control frames (acknowledgements, pings, closes) never come here.

mod bucket;
mod link;
mod meter;
mod share;
mod turns;

pub(crate) use link::{Head, Link, Queue};
pub(crate) use share::Share;
