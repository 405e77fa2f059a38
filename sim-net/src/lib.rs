//! The world without the world.
//!
//! [`virtual`](mod@virtual) is a deterministic simulator in virtual time that drives the real
//! protocol; all else in it is a model.
//!
//! [`live`] holds an embedded hypervisor and a WAN emulator: real processes that move real bytes
//! on one machine, so that everything above them can be exercised without virtualisation
//! hardware and without a second site.
//!
//! Architecture invariant: nothing here knows the daemon or its drivers; they reach the live
//! processes only through sockets. Only the simulator knows the protocol.
#![forbid(unsafe_code)]

#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod live;
pub mod model;
mod random;
pub mod r#virtual;
