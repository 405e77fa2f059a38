//! Clusters of real processes on loopback, and how to look at them.
//!
//! Every host is a daemon, a carrier and an embedded hypervisor, each a process of its own; sites
//! are joined by a WAN emulator ([`lifeboat::demo::cluster`]). A test says what stands where
//! ([`Sketch`]), disturbs it, and asks the hypervisors what became of the VMs ([`World`]).
//!
//! Invariants of every test that goes through [`run`]:
//! - *never twice*: at no time do two hypervisors run the same VM;
//! - *no panic, no alarm*: none stands in any log at the end;
//! - *one at a time*: clusters of one test program do not compete for the machine;
//! - *no wait without a deadline*, and no sleep that stands for an event.

mod flows;
mod logs;
mod program;
mod run;
mod sketch;
mod vms;
mod wait;
mod witness;
mod world;

pub use flows::Flow;
pub use program::{Ended, program, run_program};
pub use run::run;
pub use sketch::Sketch;
pub use vms::{Found, Home};
pub use wait::until;
pub use witness::{Gap, Traffic};
pub use world::World;
