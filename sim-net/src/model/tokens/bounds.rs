//! How large a world of the token protocol is searched.
//!
//! Time is discrete. In one tick a slow clock goes on by 100 ms and a fast one by 150 ms. With
//! [`Clocks::Drift`] that is just the drift that the configuration allows (500 thousandths), and a
//! lease is two ticks, so that every comparison of the shipped code is met from below, from above,
//! and in equality. With the others a lease outlasts the silence after which an issuer counts
//! as dead, as it does in the shipped configuration: a slice can be taken over too early.

use lifeboat_protocol::Config;
use std::time::Duration;

/// What a slow clock goes on by in one tick.
pub(super) const SLOW_STEP: Duration = Duration::from_millis(100);
/// What a fast clock goes on by in one tick.
pub(super) const FAST_STEP: Duration = Duration::from_millis(150);

/// Ticks of a lease under [`Clocks::SteadyPair`].
pub(super) const LEASE_TICKS: usize = 5;

/// The world's size and how much may go wrong in it.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Nodes of the sending site, 1 to 3.
    pub senders: usize,
    /// Nodes of the receiving site, 1 or 2.
    pub issuers: usize,
    /// Newest heartbeats of each node that may still arrive, at any time, any number of times; 1
    /// to 3. Each one more multiplies the states by about ten.
    pub kept: usize,
    /// Ticks that are searched after the settled start; `None` searches until nothing new comes.
    pub ticks: Option<u8>,
    /// Heartbeats that may miss one of their hearers, in all: not have arrived when the next one is
    /// sent. `None`: any.
    pub losses: Option<u8>,
    /// Sender daemons that die, in all.
    pub sender_crashes: u8,
    /// Issuer daemons that die, in all.
    pub issuer_crashes: u8,
    /// Changes of the wanted division, in all.
    pub wants: u8,
    /// Leases handed on, in all.
    pub hand_ons: u8,
    /// What clocks may do.
    pub clocks: Clocks,
    /// Sets of fast clocks to start from, one bit for each player.
    pub fast: Vec<u8>,
    /// Clocks that change from slow to fast or back, in all.
    pub clock_steps: u8,
    /// Heartbeats sent between ticks, in all.
    pub urgent: u8,
    /// Cuts and healings of one direction between two issuers, in all. What is not cut passes at
    /// once: what is lost on the way to or from a sender is the search's business, and what is lost
    /// between issuers would multiply the states by too much.
    pub cuts: u8,
    /// Whether a sender's heartbeat reaches all living issuers or none: its loss is one on the link,
    /// not one within the receiving site.
    pub together: bool,
    /// Ticks for which both directions between two living issuers may be silent at once before the
    /// receiving site counts as split, which ends the search of that branch: conservation is
    /// claimed only while it is connected.
    pub mutual_silence: u8,
}

impl Bounds {
    /// A world in which nothing goes wrong but the network.
    pub fn new(senders: usize, issuers: usize) -> Self {
        Self {
            senders,
            issuers,
            kept: 1,
            ticks: None,
            losses: None,
            sender_crashes: 0,
            issuer_crashes: 0,
            wants: 1,
            hand_ons: 0,
            clocks: if issuers > 1 { Clocks::SteadyPair } else { Clocks::Drift },
            fast: vec![0],
            clock_steps: 0,
            urgent: 0,
            cuts: 0,
            together: issuers > 1,
            mutual_silence: 1,
        }
    }
}

/// What the clocks may do, and the protocol's knobs to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    /// Each may be slow or fast. A lease is 200 ms, death 300 ms of silence.
    Drift,
    /// All go alike. A lease is 400 ms, death 100 ms of silence.
    Steady,
    /// All go alike, and issuers have time to echo each other. A lease is 500 ms, death 200 ms of
    /// silence.
    SteadyPair,
}

impl Clocks {
    /// The protocol's knobs in the model's time.
    pub(super) fn config(self) -> Config {
        let (lease_ms, dead_after_ms, drift_permille) = match self {
            Clocks::Drift => (200, 300, 500),
            Clocks::Steady => (400, 100, 0),
            Clocks::SteadyPair => (500, 200, 0),
        };
        Config {
            heartbeat: Duration::from_millis(100),
            busy_heartbeat: Duration::from_millis(100),
            suspect_after: Duration::from_millis(dead_after_ms),
            dead_after: Duration::from_millis(dead_after_ms),
            lease: Duration::from_millis(lease_ms),
            drift_permille,
            ..Config::default()
        }
    }
}
