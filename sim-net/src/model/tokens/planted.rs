//! Bugs that are put back around the shipped code, to see that the checker sees them.

use super::{
    canonical::{LINK, index_of, node_id},
    player::{Player, Said},
};
use lifeboat_protocol::{
    Config, Instant,
    membership::{Liveness, Membership},
    time::nanoseconds,
    tokens::{Acceptance, HandOn},
};
use std::time::Duration;

/// A bug. All but the first must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The shipped code as it is.
    Nothing,
    /// A sender counts its lease from its newest heartbeat instead of from the one answered.
    LeaseFromReceipt,
    /// An issuer counts a lowered grant as lowered before the sender has confirmed it.
    LoweredBeforeConfirmed,
    /// An issuer grants a dead one's slices without waiting for its leases.
    TakenOverAtOnce,
    /// An issuer that restarts grants at once.
    RestartedGrantsAtOnce,
    /// A sender takes what was granted to its former life for its own.
    FormerLifeAnswered,
    /// A sender hands a lease on and goes on using it.
    HandedOnAndKept,
    /// What was handed on is counted from its arrival.
    HandedOnFromReceipt,
}

impl Planted {
    /// All bugs.
    pub const ALL: [Planted; 7] = [
        Planted::LeaseFromReceipt,
        Planted::LoweredBeforeConfirmed,
        Planted::TakenOverAtOnce,
        Planted::RestartedGrantsAtOnce,
        Planted::FormerLifeAnswered,
        Planted::HandedOnAndKept,
        Planted::HandedOnFromReceipt,
    ];

    /// What a buggy sender makes of what it hears.
    pub(super) fn heard(self, player: &Player, mut said: Said) -> Said {
        let entries = said.tables.iter_mut().flat_map(|table| &mut table.entries);
        for entry in entries.filter(|entry| entry.sender == player.id()) {
            match self {
                Planted::LeaseFromReceipt => entry.answering = player.number,
                Planted::FormerLifeAnswered => entry.incarnation = player.incarnation(),
                _ => {}
            }
        }
        said
    }

    /// What a buggy sender makes of a lease that is handed to it.
    pub(super) fn taken(self, player: &Player, mut hand_on: HandOn) -> HandOn {
        if self == Planted::HandedOnFromReceipt {
            hand_on.answering = player.number;
        }
        hand_on
    }

    /// Done to an issuer that has just started.
    pub(super) fn after_starting(self, player: &mut Player, config: &Config) {
        if self == Planted::RestartedGrantsAtOnce {
            claim_all_since(player, config.lease_with_drift());
        }
    }

    /// Done to an issuer before it looks at its claims.
    pub(super) fn before_following(self, player: &mut Player, config: &Config) {
        if self == Planted::TakenOverAtOnce && player.issuer.is_some() {
            let mut receivers =
                player.membership.peers().filter(|(node, _)| index_of(*node) >= player.senders());
            let dead = receivers
                .any(|(node, _)| player.membership.liveness(player.now, node) == Liveness::Dead);
            drop(receivers);
            if dead {
                claim_all_since(player, config.lease_with_drift());
            }
        }
    }

    /// Done to an issuer after it has made its table.
    pub(super) fn after_following(self, player: &mut Player) {
        if self != Planted::LoweredBeforeConfirmed {
            return;
        }
        let (me, senders) = ((player.id(), player.incarnation()), player.senders());
        let Some(issuer) = &mut player.issuer else { return };
        let version = issuer.table().version;
        for sender in 0..senders {
            let (issuer_id, incarnation) = me;
            let handed = Vec::new();
            let accepted =
                Acceptance { link: LINK, issuer: issuer_id, incarnation, version, handed };
            issuer.accepted(node_id(sender), me, &accepted);
        }
    }
}

/// Has an issuer believe that all slices have been its own for `ago`.
fn claim_all_since(player: &mut Player, ago: Duration) {
    let then = Instant(player.now.0 - nanoseconds(ago));
    let me = player.id();
    // To an empty membership it is the only receiver.
    let alone = Membership::new(me, player.incarnation(), &Config::default());
    if let Some(issuer) = &mut player.issuer {
        issuer.update_claims(then, me, &[me], &alone);
    }
}
