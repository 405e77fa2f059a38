//! What a WAN emulator can be asked, and what it answers.
//!
//! Every type is its own JSON; see [`control`](crate::live::control) for the framing.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The properties of a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Payload bits per second in all; at least 1000.
    pub capacity_bits: u64,
    /// Round-trip time in milliseconds, half of which is spent on this link.
    pub rtt_ms: f64,
    /// Bytes in flight per connection; 4 MiB unless said, at least 1448.
    #[serde(default = "default_window")]
    pub window_bytes: u64,
    /// Probability that 1448 bytes are lost, 0 to 1; none unless said.
    #[serde(default)]
    pub loss: f64,
}

fn default_window() -> u64 {
    4 << 20
}

/// A link: the directed path from one site to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkConfig {
    /// Name of the sending site.
    pub from: String,
    /// Name of the receiving site.
    pub to: String,
    /// Its properties.
    #[serde(flatten)]
    pub shape: Shape,
}

/// A relayed address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Its name, unique.
    pub name: String,
    /// Where the dialers are.
    pub from_site: String,
    /// Where the target is.
    pub to_site: String,
    /// Where the dialers connect to; port 0 picks a free one, see [`RouteStats::listen`].
    pub listen: SocketAddr,
    /// Where their connections are relayed to.
    pub target: SocketAddr,
}

/// A request. In JSON, `do` names the variant: `{"do": "cut", "from": "a", "to": "b"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Changes what is given of the links that `from` and `to` select.
    Set {
        /// Sending site; any if absent.
        #[serde(default)]
        from: Option<String>,
        /// Receiving site; any if absent.
        #[serde(default)]
        to: Option<String>,
        /// As of [`Shape::capacity_bits`].
        #[serde(default)]
        capacity_bits: Option<u64>,
        /// As of [`Shape::rtt_ms`].
        #[serde(default)]
        rtt_ms: Option<f64>,
        /// As of [`Shape::window_bytes`].
        #[serde(default)]
        window_bytes: Option<u64>,
        /// As of [`Shape::loss`].
        #[serde(default)]
        loss: Option<f64>,
    },
    /// Stops the links between two sites, in both directions unless `one_way`.
    Cut {
        /// One site, with `one_way` the sending one; any if absent.
        #[serde(default)]
        from: Option<String>,
        /// The other site; any if absent.
        #[serde(default)]
        to: Option<String>,
        /// Only the link from `from` to `to`.
        #[serde(default)]
        one_way: bool,
    },
    /// Undoes a cut; links that are not cut are left alone.
    Heal {
        /// As of [`Request::Cut`].
        #[serde(default)]
        from: Option<String>,
        /// As of [`Request::Cut`].
        #[serde(default)]
        to: Option<String>,
        /// As of [`Request::Cut`].
        #[serde(default)]
        one_way: bool,
    },
    /// Relays one more address; answers the address it listens on.
    AddRoute {
        /// What to relay.
        route: RouteConfig,
    },
    /// Counters; answers [`Stats`].
    Stats,
}

/// Answer to [`Request::Stats`]: all counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// When, on the machine's monotonic clock.
    pub monotonic_ns: u64,
    /// Each link.
    pub links: Vec<LinkStats>,
    /// Each route.
    pub routes: Vec<RouteStats>,
}

/// One link in [`Stats`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Its ends and present properties.
    #[serde(flatten)]
    pub link: LinkConfig,
    /// Nothing flows.
    pub cut: bool,
    /// Payload bytes that have left on it.
    pub forwarded_bytes: u64,
}

/// One route in [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStats {
    /// Its name.
    pub name: String,
    /// Where it really listens.
    pub listen: SocketAddr,
    /// Connections that are open now.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Payload bytes that have left towards the target.
    pub to_target_bytes: u64,
    /// Payload bytes that have left towards the dialers.
    pub to_dialer_bytes: u64,
}
