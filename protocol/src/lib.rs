//! What a lifeboat node knows and decides.
//!
//! The hosts of a failing site agree among themselves who may use how much of the thin link to the
//! safe site, and move their VMs through it, the urgent ones first. This crate is that agreement,
//! and nothing else: a state machine that is told what happened and says what to do.
//!
//! ```text
//! handle(now, Input)            total: never fails, never blocks
//! poll_output() -> Option<Output>
//! next_deadline() -> Instant    one wake-up; late or spurious ones are harmless
//! view(now)                     read-only, for status and checkers
//! ```
//!
//! Architecture invariant: there is no clock, socket, thread, float or source of randomness here.
//! `no_std` keeps it so. The node daemon and the simulator run this very code.
//!
//! Where to read on: [`node`] composes everything; [`tokens`] is who may send how much;
//! [`departures`] and [`arrivals`] are the two ends of one VM's way and hold the rule that a VM
//! never runs twice; [`order`] and [`allocation`] are the schedule.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

extern crate alloc;

pub mod allocation;
pub mod arrivals;
pub(crate) mod audience;
pub mod capacity;
pub mod command;
pub mod config;
pub mod departures;
pub mod directory;
pub(crate) mod effects;
pub mod evacuation;
pub mod groups;
pub mod ids;
pub mod input;
pub mod journal;
pub mod membership;
pub mod message;
pub mod node;
pub mod order;
pub mod output;
pub(crate) mod pause;
pub mod plan;
pub mod planted;
pub mod settled;
pub mod time;
pub mod tokens;
mod told;
pub mod tuning;
pub mod units;
pub mod view;
pub mod vm;
pub(crate) mod width;
pub mod wire;

pub use config::Config;
pub use directory::Directory;
pub use ids::{EvacuationId, Incarnation, LinkId, MoveId, NodeId, SiteId, VmId};
pub use input::Input;
pub use node::Node;
pub use output::Output;
pub use time::Instant;
