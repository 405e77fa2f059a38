//! A **model** of a host's carrier: what it may send, and what it measures.

use std::collections::BTreeMap;

use lifeboat_protocol::{Instant, LinkId};

/// A right to send on one link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Right {
    /// Bytes per second.
    pub(crate) rate: f64,
    /// When it ends, by the host's clock.
    pub(crate) until: Instant,
    /// The tokens that it stands for.
    pub(crate) tokens: u16,
    /// The life of the daemon that granted it.
    pub(crate) life: u64,
}

/// What flowed since the last sample, over one link.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    pub(crate) sent: f64,
    pub(crate) arrived: f64,
    /// What could have been sent with the tokens, bytes.
    pub(crate) allowed: f64,
    /// What the sources had too little of to use what was allowed, bytes.
    pub(crate) starved: f64,
    /// Whether there was something to send.
    pub(crate) wanted: bool,
}

/// One host's carrier. It outlives the daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carrier {
    pub(crate) rights: BTreeMap<LinkId, Right>,
    pub(crate) meters: BTreeMap<LinkId, Meter>,
    /// Links of which the last sample was not zero.
    pub(crate) told: BTreeMap<LinkId, bool>,
}

impl Carrier {
    /// The right that holds when the host's clock shows `local`.
    pub(crate) fn right(&self, link: LinkId, local: Instant) -> Option<Right> {
        self.rights.get(&link).copied().filter(|right| local < right.until)
    }
}
