//! The world without the world.
//!
//! [`live`] holds an embedded hypervisor and a WAN emulator: real processes that move real bytes
//! on one machine, so that everything above them can be exercised without virtualisation
//! hardware and without a second site.
//!
//! Architecture invariant: nothing here knows the daemon, its protocol or its drivers; they reach
//! these processes only through sockets.
#![forbid(unsafe_code)]

pub mod live;
