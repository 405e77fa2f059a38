//! The world in virtual time: the real protocol, driven through simulated disasters.
//!
//! One thread, one heap of events ordered by (time, sequence), one seed split into named streams.
//! Nodes are [`lifeboat_protocol::Node`], the very code that the daemon runs, and talk through
//! encoded bytes. Everything else is a **model** and says so: links are fluids, guests are numbers,
//! pre-copy goes by rounds.
//!
//! Invariants:
//! - The same scenario gives the same events, in the same order, on every run: [`World::hash`].
//! - Every check of [`checks`] is made after every event.
//! - Nothing here reads a clock, a file or a socket; [`scenario::read`] alone opens files.

mod bounds;
pub mod calibration;
mod carrier;
pub mod checks;
mod clock;
mod event;
mod execute;
pub mod experiments;
mod faults;
pub mod generated;
mod host;
mod hypervisor;
mod journal;
mod link;
mod moves;
mod network;
pub mod report;
pub mod rivals;
pub mod scenario;
pub mod sweep;
mod world;

pub use hypervisor::Place;
pub use world::{Ended, Load, Stats, World};

/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1000 * MILLISECOND;

/// A length of time in nanoseconds.
pub(crate) fn nanoseconds(span: lifeboat_units::Span) -> u64 {
    lifeboat_protocol::time::nanoseconds(span.0)
}
