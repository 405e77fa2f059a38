//! A WAN emulator: one process that relays TCP connections between sites of one machine.
//!
//! A *route* listens on an address and relays every connection to a target; what the dialer sends
//! travels on the *link* from the route's first site to its second, what the target sends on the
//! link back. All connections of a link share its capacity.
//!
//! The model:
//! - *Capacity*: payload bytes leave a link at exactly its rate, connections taking turns of equal
//!   size. What a late timer or an idle time has lost is made up for, up to 20 ms of it.
//! - *Round-trip time*: each direction takes half of its link's. A connection carries its first
//!   bytes one round trip after it was accepted, as TCP's handshake would have it.
//! - *Window*: of each connection and direction at most so many bytes have left and are not yet
//!   acknowledged, and the acknowledgement travels on the link back: a stream reaches
//!   window / round-trip time.
//! - *Loss*: each 1448 bytes are lost with the given probability. A loss stalls its stream for a
//!   round trip and halves its window, which then grows by 1448 bytes per window acknowledged:
//!   about 1448 x 1.22 / (round-trip time x sqrt(loss)) bytes per second, as of Mathis et al.
//! - *Cut*: a link's time stands still. Nothing leaves, arrives or is acknowledged, connections
//!   stay open and new ones hang; all goes on from there when it is healed.
//!
//! Invariants:
//! - *No hidden queue*: beyond a stream's window, bytes wait only in the sockets' own buffers of
//!   about capacity x 20 ms, so that back-pressure is felt at the sender.
//! - *Nothing is invented*: bytes arrive complete, in order, and once.
//!
//! Not modelled: packet headers, queues that overflow, reordering.

mod flow;
mod link;
pub mod protocol;
mod route;
mod service;
#[cfg(test)]
mod tests;
mod window;

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::control;
use protocol::{LinkConfig, RouteConfig};

/// How a WAN emulator is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where its control socket is bound, with mode 0600.
    pub control: PathBuf,
    /// One for each ordered pair of sites that a route connects.
    pub links: Vec<LinkConfig>,
    /// What is relayed from the start; more can be added while it runs.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// Decides which bytes are lost.
    #[serde(default)]
    pub seed: u64,
}

/// Runs a WAN emulator for ever.
///
/// # Errors
/// If a socket cannot be bound, a link makes no sense, or a route has no link in one direction.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let listener = control::bind(&config.control)?;
    let wan = service::Wan::new(config.links, config.seed)?;
    for route in config.routes {
        wan.add_route(route)?;
    }
    control::serve(listener, Arc::new(wan)).await;
    Ok(())
}
