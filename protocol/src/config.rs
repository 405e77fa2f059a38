//! Knobs of the protocol, with the rules between them.

use core::time::Duration;

use crate::{
    planted::{Bug, Planted},
    time::stretched,
    tuning::Tuning,
};

/// Timers and limits. Make one with [`Config::default`] and check it with [`Config::check`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// Time between heartbeats when nothing happens. Default 500 ms. Shorter finds deaths sooner
    /// and costs gossip.
    pub heartbeat: Duration,
    /// Time between heartbeats while this node moves or receives VMs, or issues tokens in use.
    /// Default 250 ms.
    pub busy_heartbeat: Duration,
    /// Shortest time between two heartbeats when news is urgent. Default 15 ms.
    pub urgent_spacing: Duration,
    /// Silence after which a node is suspected. Default 1.5 s.
    pub suspect_after: Duration,
    /// Silence after which a node counts as dead. Default 3 s. Shorter takes over sooner and errs
    /// more often.
    pub dead_after: Duration,
    /// How long a grant is good for, counted by the sender from the heartbeat that it answers.
    /// Default 4 s. `dead_after + lease` stays below 10 s.
    pub lease: Duration,
    /// How far two clocks may drift apart, in thousandths. Default 25: 1 % fast against 1 % slow is
    /// a little more than 20.
    pub drift_permille: u32,
    /// How long a destination keeps a reservation that nobody renews. Default 15 s.
    pub reservation: Duration,
    /// Time between repeats of a message that waits for its answer. Default 400 ms.
    pub resend: Duration,
    /// First pause before a failed move is tried again; doubles up to 8 s. Default 1 s.
    pub retry: Duration,
    /// Most moves that one source has under way or room for at a time. Default 4: one that moves, the next
    /// one, and room ahead for as many again. With less a link waits for room; each one more holds memory at
    /// a destination that others could have.
    pub departures_at_once: usize,
    /// Most nodes of a cluster in which each tells all others everything. Default 32. In a larger
    /// one nodes speak only to those concerned, and the stewards of each site see the whole. Must be
    /// the same on all nodes: it says who may issue tokens.
    pub mesh: usize,
    /// Stewards of each site of a larger cluster: the nodes that issue the tokens of the links that
    /// lead there. Default 8. More survive the loss of more hosts, and cost gossip. Must be the same
    /// on all nodes.
    pub stewards: usize,
    /// In a larger cluster, time between heartbeats of a node that waits for its turn, to the
    /// stewards that give it. Default 2 s.
    pub waiting_heartbeat: Duration,
    /// In a larger cluster, time between heartbeats of a node that takes no part in anything, to the
    /// stewards of its own site. Default 5 s.
    pub distant_heartbeat: Duration,
    /// In a larger cluster, shortest time between two divisions of a link. Default 100 ms. Shorter
    /// reacts sooner and costs its stewards processor time.
    pub division_spacing: Duration,
    /// Which bug is planted, for the checkers to find.
    #[cfg(feature = "planted")]
    pub planted: Planted,
    /// Which constant is halved or doubled, for an experiment.
    #[cfg(feature = "tuning")]
    pub tuning: Tuning,
}

/// Most nodes that [`Config::mesh`] may name: a heartbeat for all grows by up to 150 bytes for each of
/// them (echo, entry of a table, confirmation), and has to fit a message.
pub const LARGEST_MESH: usize = 256;

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            busy_heartbeat: Duration::from_millis(250),
            urgent_spacing: Duration::from_millis(15),
            suspect_after: Duration::from_millis(1500),
            dead_after: Duration::from_secs(3),
            lease: Duration::from_secs(4),
            drift_permille: 25,
            reservation: Duration::from_secs(15),
            resend: Duration::from_millis(400),
            retry: Duration::from_secs(1),
            departures_at_once: 4,
            mesh: 32,
            stewards: 8,
            waiting_heartbeat: Duration::from_secs(2),
            distant_heartbeat: Duration::from_secs(5),
            division_spacing: Duration::from_millis(100),
            #[cfg(feature = "planted")]
            planted: Planted::default(),
            #[cfg(feature = "tuning")]
            tuning: Tuning::default(),
        }
    }
}

impl Config {
    /// Whether this bug is planted. `false` when compiled without the feature `planted`.
    pub fn planted(&self, bug: Bug) -> bool {
        self.all_planted().is(bug)
    }

    #[cfg(feature = "planted")]
    pub(crate) fn all_planted(&self) -> Planted {
        self.planted
    }

    #[cfg(not(feature = "planted"))]
    pub(crate) fn all_planted(&self) -> Planted {
        Planted::default()
    }

    #[cfg(feature = "tuning")]
    pub(crate) fn tuning(&self) -> Tuning {
        self.tuning
    }

    #[cfg(not(feature = "tuning"))]
    pub(crate) fn tuning(&self) -> Tuning {
        Tuning::default()
    }

    /// How long an issuer counts a grant as out after it received the heartbeat that it answers,
    /// and how long the next owner of a slice waits: the lease and the drift allowance.
    pub fn lease_with_drift(&self) -> Duration {
        stretched(self.lease, self.drift_permille)
    }

    /// Checks the rules between the knobs.
    ///
    /// # Errors
    /// A sentence that names the knobs and the rule.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.heartbeat.is_zero() || self.busy_heartbeat > self.heartbeat {
            return Err("heartbeat must be longer than zero and not shorter than busy_heartbeat");
        }
        if self.dead_after < self.heartbeat * 3 {
            return Err(
                "dead_after must be at least three heartbeats, or every lost message is a death",
            );
        }
        if self.mesh > LARGEST_MESH {
            return Err("mesh must be at most 256 nodes, or heartbeats would not fit a message");
        }
        if self.stewards == 0 || self.stewards > 64 {
            return Err("stewards must be 1 to 64: without one nobody issues tokens");
        }
        if self.waiting_heartbeat < self.heartbeat
            || self.distant_heartbeat < self.waiting_heartbeat
        {
            return Err(
                "waiting_heartbeat must not be shorter than heartbeat, nor longer than distant_heartbeat",
            );
        }
        if self.waiting_heartbeat > Duration::from_secs(3) {
            return Err(
                "waiting_heartbeat must be at most 3 s, or the dead are given tokens for too long",
            );
        }
        if self.suspect_after > self.dead_after {
            return Err("suspect_after must not be longer than dead_after");
        }
        if self.lease < self.heartbeat * 2 {
            return Err(
                "lease must be at least two heartbeats, or grants run out between renewals",
            );
        }
        if self.dead_after + self.lease_with_drift() > Duration::from_secs(10) {
            return Err(
                "dead_after and lease together must stay below 10 s, or a dead node's tokens lie idle too long",
            );
        }
        Ok(())
    }
}
