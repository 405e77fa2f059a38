//! One node's right to issue tokens of one link, and what it does with it.
//!
//! Invariants:
//! - *own slices only*: a table never grants more than the tokens of the slices that this node may
//!   issue, counting everything that may still be out;
//! - *no slice has two issuers* while the receiving nodes hear each other: a slice is issued only
//!   after every lease that a former issuer can have given must have run out, and only while every
//!   receiving node that is up has lately echoed this life of ours, so that none of them can have
//!   declared us dead and taken over. Every slice waits anew when one may have: when a node that we
//!   hear has not echoed us for too long (it is deaf to us), when a node that we counted as dead is
//!   heard again in the same life (it may have counted us as dead), and when this daemon stood still
//!   for so long. Whoever took over gives a slice back only when it hears us, and its leases run on
//!   after that. A node that is silent and stays so is no reason to wait.
//!
//! Why the echo settles it: a peer that echoed our heartbeat sent at time t declares us dead no
//! earlier than t + `dead_after`, and waits one lease more before it issues. What we issue before
//! t + `dead_after` has run out by then.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use super::{Acceptance, Entry, Table, ledger::Ledger, slices};
use crate::{
    ids::{Incarnation, LinkId, NodeId},
    membership::{Liveness, Membership},
    planted::{Bug, Planted},
    time::Instant,
};

/// A pause between two looks after which this daemon counts as one that stood still: it looks four
/// times a second.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// How far this node is with a slice that falls to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Claim {
    /// It fell to us then; former leases may still run.
    Waiting(Instant),
    /// It is ours to issue.
    Issued,
}

/// How far this node is with each slice; `None` where it falls to another.
type Claims = [Option<Claim>; slices::SLICES as usize];

/// What a sender is to have of the whole link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The sender.
    pub sender: NodeId,
    /// Tokens of the whole link.
    pub tokens: u16,
}

/// The issuer's state for one link.
#[derive(Debug, Clone, Hash)]
pub struct Issuer {
    link: LinkId,
    wait: Duration,
    claims: Claims,
    /// The receiving nodes that were up when we last looked, and the slices that fall to us among them.
    fallen: (Vec<NodeId>, u64),
    /// When we last looked, and until when no receiving node that was up then can have taken over.
    looked: (Instant, Option<Instant>),
    ledger: Ledger,
    table: Table,
    planted: Planted,
}

impl Issuer {
    /// Of a node that has just started: it issues nothing until it has waited. `wait` is the lease
    /// with its drift allowance.
    pub fn new(link: LinkId, wait: Duration) -> Self {
        let table = Table { link, version: 0, slices: 0, entries: Vec::new() };
        let (claims, ledger) = ([None; slices::SLICES as usize], Ledger::default());
        let (fallen, planted) = ((Vec::new(), 0), Planted::default());
        let looked = (Instant::default(), None);
        Self { link, wait, claims, fallen, looked, ledger, table, planted }
    }

    /// The same with what is planted in its node.
    pub(crate) fn with(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// The table as last made; version 0 means that there is none yet.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Tokens that this node may issue now.
    pub fn tokens(&self) -> u16 {
        slices::tokens_in(self.mask())
    }

    /// The slices that this node may issue now, one bit each.
    pub fn mask(&self) -> u64 {
        let issued = |(_, claim): &(usize, &Option<Claim>)| **claim == Some(Claim::Issued);
        self.claims.iter().enumerate().filter(issued).fold(0, |mask, (slice, _)| mask | 1 << slice)
    }

    /// Takes note of what a sender goes by.
    pub fn accepted(&mut self, sender: NodeId, me: (NodeId, Incarnation), accepted: &Acceptance) {
        if (accepted.issuer, accepted.incarnation) == me && accepted.link == self.link {
            self.ledger.confirm(sender, accepted.version, &accepted.handed);
        }
    }

    /// Sees which slices fall to this node, given the receiving nodes, and which may be issued.
    pub fn update_claims(
        &mut self,
        now: Instant,
        me: NodeId,
        receivers: &[NodeId],
        membership: &Membership,
    ) {
        let (looked_at, before) = self.looked;
        let mut up: Vec<NodeId> = Vec::with_capacity(receivers.len());
        // When the last of those that are up first echoed us; `None` while one has not.
        let mut heard_by_all = Some(Instant::default());
        let mut vouched: Option<Instant> = None;
        let mut may_have_taken_over = false;
        for node in receivers.iter().copied() {
            if node == me {
                up.push(node);
                continue;
            }
            let Some(peer) = membership.peer(node) else { continue };
            let liveness = membership.liveness_of(now, peer);
            if !matches!(liveness, Liveness::Alive | Liveness::Suspected) {
                continue;
            }
            up.push(node);
            heard_by_all = heard_by_all.zip(peer.echoed_since).map(|(all, one)| all.max(one));
            let until = membership.vouched_by(peer);
            vouched = Some(vouched.map_or(until, |earliest| earliest.min(until)));
            let deaf = liveness == Liveness::Alive && now >= until;
            let back = peer.revived && peer.alive_since > looked_at;
            may_have_taken_over |= deaf || back;
        }
        self.looked = (now, vouched);
        let stood_still =
            now.since(looked_at) > STOOD_STILL && before.is_some_and(|until| now >= until);
        let lapsed = stood_still || may_have_taken_over;
        if lapsed && !self.planted.is(Bug::TakenOverAtOnce) {
            self.claims.iter_mut().flatten().for_each(|claim| *claim = Claim::Waiting(now));
        }
        let starts = self.fallen.0.is_empty();
        let at_once = self.planted.is(Bug::TakenOverAtOnce) && !starts
            || self.planted.is(Bug::RestartedGrantsAtOnce) && starts;
        let begin = if at_once { Claim::Issued } else { Claim::Waiting(now) };
        if self.fallen.0 != up {
            let ours = |slice| slices::issuer_of(self.link, slice, up.iter().copied()) == Some(me);
            let mask = (0..slices::SLICES).filter(|slice| ours(*slice));
            self.fallen = (up.clone(), mask.fold(0, |mask, slice| mask | 1 << slice));
        }
        for (slice, claim) in self.claims.iter_mut().enumerate() {
            if self.fallen.1 & (1 << slice) == 0 {
                *claim = None;
                continue;
            }
            let claim = claim.get_or_insert(begin);
            if let (Claim::Waiting(since), Some(heard)) = (*claim, heard_by_all)
                && now >= since.max(heard) + self.wait
            {
                *claim = Claim::Issued;
            }
        }
    }

    /// Makes the table anew for the wanted division of the link, if this node may issue now.
    /// Returns whether anything in it changed that a sender waits for.
    ///
    /// `answers` gives, for a sender that is up, its life, the newest heartbeat heard of it, and
    /// when that was heard.
    pub fn issue(
        &mut self,
        now: Instant,
        me: NodeId,
        receivers: &[NodeId],
        membership: &Membership,
        targets: &[Target],
    ) -> bool {
        self.ledger.expire(now);
        let heard = receivers
            .iter()
            .filter(|node| **node != me)
            .filter(|node| membership.is_up(now, **node) || self.planted.is(Bug::DeadIssuerAwaited))
            .all(|node| membership.fresh_echo(now, *node));
        if !heard {
            return false;
        }
        let own = self.tokens();
        if own == 0 && self.claims.iter().any(Option::is_some) {
            // All slices wait. What was granted before runs out by itself before anyone else may
            // issue them, and until then it is good: taking it back would only idle the link.
            return false;
        }
        let wanted: BTreeMap<NodeId, u16> =
            portions(own, targets).into_iter().filter(|(_, tokens)| *tokens > 0).collect();
        for target in targets {
            if let Some(peer) = membership.peer(target.sender) {
                self.ledger.lives(target.sender, peer.heartbeat.incarnation);
            }
        }
        if self.planted.is(Bug::FormerLifeForgotten) {
            let lives = membership.peers().map(|(node, peer)| (node, peer.heartbeat.incarnation));
            lives.for_each(|(sender, life)| self.ledger.lives(sender, life));
            self.ledger.forget_former();
        }
        // What was handed on comes back to its giver when it has run out: a grant must have room
        // both now and then.
        let mut room_now = own.saturating_sub(self.ledger.total());
        let mut room_then = own.saturating_sub(self.ledger.total_granted());
        let version = self.table.version + 1;
        let mut entries = Vec::new();
        for target in targets {
            let sender = target.sender;
            let Some(peer) = membership.peer(sender).filter(|_| membership.is_up(now, sender))
            else {
                continue;
            };
            let want = wanted.get(&sender).copied().unwrap_or(0);
            let (out, granted) = (self.ledger.out(sender), self.ledger.granted(sender));
            let most = out.saturating_add(room_now).min(granted.saturating_add(room_then));
            // Overcommitted (slices were lost): nobody is renewed beyond what is ours.
            let room = own.saturating_sub(entries.iter().map(|entry: &Entry| entry.tokens).sum());
            let tokens = want.min(most).min(room);
            if tokens == 0 {
                continue;
            }
            room_now = room_now.saturating_sub(tokens.saturating_sub(out));
            room_then = room_then.saturating_sub(tokens.saturating_sub(granted));
            entries.push(Entry {
                sender,
                incarnation: peer.heartbeat.incarnation,
                answering: peer.heartbeat.number,
                tokens,
            });
        }
        let mask = self.mask();
        if self.table.slices == mask && self.table.entries == entries {
            return false;
        }
        let moved = self.table.slices != mask || !same_rights(&self.table.entries, &entries);
        for entry in &entries {
            if let Some(peer) = membership.peer(entry.sender) {
                let expires = peer.heard_at + self.wait;
                self.ledger.grant(entry.sender, version, entry.tokens, expires);
            }
        }
        if self.planted.is(Bug::LoweredGivenOn) {
            targets.iter().for_each(|one| self.ledger.confirm(one.sender, version, &[]));
        }
        self.table = Table { link: self.link, version, slices: mask, entries };
        moved
    }

    /// What this issuer's book says that a sender may be using.
    pub fn out(&self, sender: NodeId) -> u16 {
        self.ledger.out(sender)
    }

    /// When a wait or a grant ends, if one does.
    pub fn next_change(&self) -> Option<Instant> {
        let waits = self.claims.iter().flatten().filter_map(|claim| match claim {
            Claim::Waiting(since) => Some(*since + self.wait),
            Claim::Issued => None,
        });
        waits.chain(self.ledger.next_expiry()).min()
    }
}

/// Whether two tables give everyone the same. Their order says nothing to a sender.
fn same_rights(left: &[Entry], right: &[Entry]) -> bool {
    let rights = |entries: &[Entry]| {
        let each = entries.iter().map(|one| (one.sender, one.incarnation, one.tokens));
        each.collect::<BTreeSet<_>>()
    };
    rights(left) == rights(right)
}

/// `own` tokens divided as `targets` divide the link, whole tokens only; what rounding leaves goes
/// to the first in order, up to the whole of what was asked.
fn portions(own: u16, targets: &[Target]) -> Vec<(NodeId, u16)> {
    let asked: u32 = targets.iter().map(|target| u32::from(target.tokens)).sum();
    let whole = asked.max(u32::from(crate::units::LINK_TOKENS));
    let portion = |tokens: u32| u16::try_from(tokens * u32::from(own) / whole).unwrap_or(0);
    let mut portions: Vec<(NodeId, u16)> =
        targets.iter().map(|target| (target.sender, portion(u32::from(target.tokens)))).collect();
    let given: u16 = portions.iter().map(|(_, tokens)| *tokens).sum();
    if let Some((_, first)) = portions.first_mut() {
        *first += portion(asked).saturating_sub(given);
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(sender: u64, tokens: u16) -> Target {
        Target { sender: NodeId(sender), tokens }
    }

    #[test]
    fn portions_never_exceed_what_is_owned_and_lose_nothing_to_rounding() {
        let targets = [target(1, 333), target(2, 333), target(3, 334)];
        let portions = portions(175, &targets);
        assert_eq!(portions.iter().map(|(_, tokens)| tokens).sum::<u16>(), 175);
    }

    #[test]
    fn portions_of_a_partly_asked_link_leave_the_rest() {
        assert_eq!(portions(500, &[target(1, 500)]), [(NodeId(1), 250)]);
    }
}
