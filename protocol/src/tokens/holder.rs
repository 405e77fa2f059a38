//! A sender's tokens on one link.
//!
//! Invariants:
//! - *by its own clock*: a grant ends one lease after this sender sent the heartbeat that it
//!   answers, whenever it arrived;
//! - *never back*: once a version is gone by, no older one is;
//! - *handed is gone*: tokens handed on are not used again by the giver while they run, and of one
//!   issuer's tokens nobody hands on and receives at the same time: the issuer could not tell how
//!   much is out;
//! - *the elder grant wins*: where two issuers claim one slice, only the elder's counts.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::{Acceptance, HandOn, Table, slices};
use crate::{
    config::Config,
    ids::{Incarnation, LinkId, NodeId},
    membership::Membership,
    planted::{Bug, Planted},
    time::{Instant, nanoseconds},
};

#[derive(Debug, Clone, Hash)]
struct Grant {
    incarnation: Incarnation,
    version: u64,
    tokens: u16,
    expires: Instant,
    contested: u16,
    slices: u64,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Given {
    to: NodeId,
    tokens: u16,
    expires: Instant,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Received {
    from: NodeId,
    tokens: u16,
    expires: Instant,
}

/// What one sender holds of one link.
#[derive(Debug, Clone, Hash)]
pub struct Holder {
    link: LinkId,
    lease: Duration,
    drift_permille: u32,
    /// Former lives of this node may have left a grant with the carrier: nothing is confirmed or
    /// handed on before it must have run out.
    confirms_from: Instant,
    grants: BTreeMap<NodeId, Grant>,
    elders: BTreeMap<u16, (NodeId, Instant)>,
    given: BTreeMap<NodeId, Vec<Given>>,
    received: BTreeMap<NodeId, Vec<Received>>,
    planted: Planted,
}

/// Why a table was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldTable;

impl Holder {
    /// Of a node that starts now and holds nothing.
    pub fn new(now: Instant, link: LinkId, config: &Config) -> Self {
        Self {
            link,
            lease: config.lease,
            drift_permille: config.drift_permille,
            confirms_from: now + config.lease_with_drift(),
            grants: BTreeMap::new(),
            elders: BTreeMap::new(),
            given: BTreeMap::new(),
            received: BTreeMap::new(),
            planted: config.all_planted(),
        }
    }

    /// Goes by an issuer's table from now on. Returns how many of its slices another issuer also
    /// claims.
    ///
    /// # Errors
    /// [`OldTable`], with nothing changed, if a newer one is gone by already.
    pub fn take(
        &mut self,
        now: Instant,
        issuer: (NodeId, Incarnation),
        table: &Table,
        me: (NodeId, Incarnation),
        membership: &Membership,
    ) -> Result<u16, OldTable> {
        let (issuer, incarnation) = issuer;
        if let Some(grant) = self.grants.get(&issuer)
            && (incarnation, table.version) <= (grant.incarnation, grant.version)
            && !self.planted.is(Bug::TableGoesBack)
        {
            return Err(OldTable);
        }
        let contested = self.settle_slices(now, issuer, table.slices);
        let entry = table
            .entries
            .iter()
            .find(|entry| (entry.sender, entry.incarnation) == me)
            .map(|entry| (entry.tokens.min(slices::tokens_in(table.slices)), entry.answering))
            .and_then(|(tokens, answering)| Some((tokens, membership.sent_at(answering)?)))
            .map(|(tokens, sent_at)| match self.planted.is(Bug::GrantFromReceipt) {
                true => (tokens, now),
                false => (tokens, sent_at),
            });
        let (tokens, expires) =
            entry.map_or((0, now), |(tokens, sent_at)| (tokens, sent_at + self.lease));
        self.grants.insert(
            issuer,
            Grant {
                incarnation,
                version: table.version,
                tokens,
                expires,
                contested,
                slices: table.slices,
            },
        );
        Ok(contested)
    }

    fn settle_slices(&mut self, now: Instant, issuer: NodeId, mask: u64) -> u16 {
        let mut contested = 0;
        for slice in 0..slices::SLICES {
            let claimed = mask & (1 << slice) != 0;
            let elder = self.elders.get(&slice).copied();
            let held_by_other =
                elder.is_some_and(|(node, seen)| node != issuer && now.since(seen) <= self.lease);
            match (claimed, held_by_other) {
                (true, true) => contested += 1,
                (true, false) => {
                    self.elders.insert(slice, (issuer, now));
                }
                (false, _) => {
                    if elder.is_some_and(|(node, _)| node == issuer) {
                        self.elders.remove(&slice);
                    }
                }
            }
        }
        contested
    }

    /// Tokens that may be used now.
    pub fn usable(&self, now: Instant) -> u16 {
        self.grants
            .keys()
            .chain(self.received.keys().filter(|issuer| !self.grants.contains_key(issuer)))
            .map(|issuer| self.usable_of(now, *issuer))
            .fold(0, u16::saturating_add)
    }

    /// Whether there is anything of which some may be usable, now or later, without another message.
    pub fn holds(&self, now: Instant) -> bool {
        self.grants.values().any(|grant| grant.tokens > 0 && grant.expires > now)
            || self.received.values().flatten().any(|received| received.expires > now)
    }

    /// When what is usable may next become another without another message.
    pub fn next_end(&self, now: Instant) -> Option<Instant> {
        let grants = self.grants.values().map(|grant| grant.expires);
        let given = self.given.values().flatten().map(|given| given.expires);
        let received = self.received.values().flatten().map(|received| received.expires);
        grants.chain(given).chain(received).filter(|expires| *expires > now).min()
    }

    fn usable_of(&self, now: Instant, issuer: NodeId) -> u16 {
        let granted =
            self.grants.get(&issuer).filter(|grant| grant.expires > now).map_or(0, |grant| {
                let all = slices::tokens_in(grant.slices).max(1);
                let contested = grant.contested * slices::SLICE_TOKENS;
                let clean = match self.planted.is(Bug::ContestedAdded) {
                    true => all + contested,
                    false => all.saturating_sub(contested),
                };
                let uncontested = u32::from(grant.tokens) * u32::from(clean) / u32::from(all);
                u16::try_from(uncontested).unwrap_or(0)
            });
        let given = live(now, self.given.get(&issuer), |given| (given.tokens, given.expires));
        let received =
            live(now, self.received.get(&issuer), |received| (received.tokens, received.expires));
        granted.saturating_sub(given).max(received)
    }

    /// Until when all that [`Self::usable`] counts now may be used.
    pub fn usable_until(&self, now: Instant) -> Option<Instant> {
        let grants =
            self.grants.values().filter(|grant| grant.tokens > 0).map(|grant| grant.expires);
        let received = self.received.values().flatten().map(|received| received.expires);
        grants.chain(received).filter(|expires| *expires > now).min()
    }

    /// Tokens held now, by issuer.
    pub fn by_issuer(&self, now: Instant) -> Vec<(NodeId, u16)> {
        self.grants
            .keys()
            .map(|issuer| (*issuer, self.usable_of(now, *issuer)))
            .filter(|(_, tokens)| *tokens > 0)
            .collect()
    }

    /// Slices of this link that two issuers claim at present, as far as this node sees.
    pub fn contested(&self, now: Instant) -> u16 {
        self.grants
            .values()
            .filter(|grant| grant.expires > now)
            .map(|grant| grant.contested)
            .fold(0, u16::saturating_add)
    }

    /// What to confirm in the next heartbeat.
    pub fn acceptances(&mut self, now: Instant) -> Vec<Acceptance> {
        for given in self.given.values_mut() {
            given.retain(|given| given.expires > now);
        }
        for received in self.received.values_mut() {
            received.retain(|received| received.expires > now);
        }
        if now < self.confirms_from {
            return Vec::new();
        }
        self.grants
            .iter()
            .map(|(issuer, grant)| Acceptance {
                link: self.link,
                issuer: *issuer,
                incarnation: grant.incarnation,
                version: grant.version,
                handed: self.handed(*issuer),
            })
            .collect()
    }

    fn handed(&self, issuer: NodeId) -> Vec<(NodeId, u16)> {
        let mut sums: BTreeMap<NodeId, u16> = BTreeMap::new();
        for given in self.given.get(&issuer).into_iter().flatten() {
            let sum = sums.entry(given.to).or_default();
            *sum = sum.saturating_add(given.tokens);
        }
        sums.into_iter().collect()
    }

    /// Hands all that is usable to `to`, whose newest heartbeat was `answering`, heard at
    /// `heard_at`. The giver uses none of it any more.
    pub fn hand_on(
        &mut self,
        now: Instant,
        to: NodeId,
        life: Incarnation,
        answering: u64,
        heard_at: Instant,
    ) -> Vec<HandOn> {
        let mut hand_ons = Vec::new();
        if now < self.confirms_from {
            return hand_ons;
        }
        for (issuer, grant) in &self.grants {
            let tokens = self.usable_of(now, *issuer);
            if tokens == 0
                || grant.expires <= now
                || self.received.get(issuer).is_some_and(|all| !all.is_empty())
            {
                continue;
            }
            let rest = nanoseconds(grant.expires.since(heard_at)) / 1000;
            let remaining_us = rest * 1000 / (1000 + u64::from(self.drift_permille));
            let given = Given { to, tokens, expires: grant.expires };
            self.given.entry(*issuer).or_default().push(given);
            hand_ons.push(HandOn {
                link: self.link,
                issuer: *issuer,
                issuer_incarnation: grant.incarnation,
                tokens,
                incarnation: life,
                answering,
                remaining_us,
            });
        }
        hand_ons
    }

    /// Takes what another sender handed on. Returns whether it was good for anything.
    pub fn receive(
        &mut self,
        now: Instant,
        from: NodeId,
        hand_on: &HandOn,
        my_life: Incarnation,
        membership: &Membership,
    ) -> bool {
        if hand_on.link != self.link || hand_on.incarnation != my_life {
            return false;
        }
        let Some(sent_at) = membership.sent_at(hand_on.answering) else { return false };
        let rest = Duration::from_micros(hand_on.remaining_us).min(self.lease);
        let expires = if self.planted.is(Bug::GiversClock) { now + rest } else { sent_at + rest };
        let tokens = hand_on.tokens.min(crate::units::LINK_TOKENS);
        if expires <= now || tokens == 0 {
            return false;
        }
        if live(now, self.given.get(&hand_on.issuer), |given| (given.tokens, given.expires)) > 0 {
            return false;
        }
        let received = self.received.entry(hand_on.issuer).or_default();
        received.retain(|received| received.expires > now);
        // The same message may come twice.
        if received.iter().any(|known| known.from == from && known.expires == expires) {
            return false;
        }
        received.push(Received { from, tokens, expires });
        true
    }

    /// When the next grant runs out.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        self.usable_until(now)
    }
}

fn live<T>(now: Instant, all: Option<&Vec<T>>, part: impl Fn(&T) -> (u16, Instant)) -> u16 {
    all.into_iter()
        .flatten()
        .map(part)
        .filter(|(_, expires)| *expires > now)
        .fold(0, |sum, (tokens, _)| sum.saturating_add(tokens))
}
