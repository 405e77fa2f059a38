//! The `lifeboat` program as a library: the daemon, its drivers, and the command line.

pub mod api;
mod carrier_process;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod demo;
#[cfg(test)]
mod documents;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod host_figures;
pub mod identity;
pub mod journal;
mod legible;
pub mod lifeline;
pub mod logging;
pub mod transport;
pub use lifeboat_units as units;
