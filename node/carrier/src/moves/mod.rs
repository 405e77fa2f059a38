//! Moves: the byte streams of one VM's migration, from the sockets of one hypervisor to those of another.
//!
//! ```text
//! local socket -> block -> (compress) -> order -> [budget] -> lanes ===> lanes -> order -> local socket
//!    local.rs              squeeze        stripe     pace     lane.rs              stripe    local.rs
//! ```
//!
//! Both ends run the same machine; only the source dials ([`dial`]), pings and is held to a share.
//!
//! Invariants:
//! - *only what was agreed*: a peer reaches a local socket only through a move that the daemon accepted from
//!   this peer, and only the paths named then;
//! - *held or ended, never stuck*: while the guest runs an outage costs its own length; once it is paused
//!   silence ends the move within [`crate::Patience::paused`] ([`watch`]);
//! - *ended is ended*: an ended move closes its local sockets at once and never opens one again.

mod core;
mod deliver;
mod dial;
mod greet;
mod lane;
mod life;
mod local;
mod moving;
mod status;
mod watch;

pub(crate) use greet::welcome;
pub(crate) use moving::{Move, Plan, Side, Surroundings};
