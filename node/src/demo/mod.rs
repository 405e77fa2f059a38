//! The demo: two sites as processes on loopback, an evacuation, and a dead initiator.

pub mod cluster;
