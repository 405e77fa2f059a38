//! What the estimator of a link advises its senders in a large cluster, and how they follow it.
//!
//! A sender of a large cluster does not hear the other senders, so it cannot know the common order.
//! The issuers do: all who wait tell them. The one that estimates the link's capacity, its *lead*,
//! tells each sender which of its VMs have a share, which come next, and where room is likely.
//! Advice is about what to begin; the right to send is in the tables of all issuers alone.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{cmp::Reverse, time::Duration};

use super::{Node, schedule::to_reserve};
use crate::{
    allocation::Share,
    effects::Effects,
    ids::{LinkId, NodeId, VmId, mixed},
    membership::Liveness,
    message::{Advice, Room, Stage},
    order::{Contender, common_order},
    time::Instant,
    tokens::{Entry, slices},
    units::BytesPerSec,
};

/// How long advice is followed. Longer than an issuer's death goes unnoticed, and than the interval
/// of those who wait.
const FOLLOWED_FOR: Duration = Duration::from_secs(6);
/// Rooms told to each sender.
const ROOMS: usize = 4;

/// Advice as it was heard.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Advised {
    heard_at: Instant,
    advice: Advice,
}

/// What a lead has to say to one sender, but for the rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Turns {
    shares: Vec<(VmId, u16, u16)>,
    ahead: Vec<VmId>,
    first_waiting: Option<VmId>,
}

impl Node {
    /// The node that estimates a link and advises its senders, as far as this one knows.
    pub(super) fn lead(&self, now: Instant, link: LinkId) -> Option<NodeId> {
        let candidates = self.candidates.get(&link)?.iter().copied();
        slices::issuer_of(link, 0, candidates.filter(|node| self.membership.is_up(now, *node)))
    }

    pub(super) fn take_advice(&mut self, now: Instant, advice: Advice) {
        self.advised.insert(advice.link, Advised { heard_at: now, advice });
    }

    fn advice(&self, now: Instant, link: LinkId) -> Option<&Advice> {
        let heard = self.advised.get(&link)?;
        (now.since(heard.heard_at) <= FOLLOWED_FOR).then_some(&heard.advice)
    }

    /// Whether a VM of this host has a share of a link, or comes next.
    pub(super) fn is_advised(&self, now: Instant, link: LinkId) -> bool {
        self.advice(now, link)
            .is_some_and(|advice| !advice.shares.is_empty() || !advice.ahead.is_empty())
    }

    /// The first VM of a link's order that does not move yet, if it is known to be one of this host.
    pub(crate) fn advised_first(&self, now: Instant, link: LinkId) -> Option<VmId> {
        self.advice(now, link)?.first_waiting
    }

    /// Hosts of a link that are likely to have room, with their free memory.
    pub(super) fn advised_rooms(&self, now: Instant, link: LinkId) -> &[Room] {
        self.advice(now, link).map_or(&[], |advice| &advice.rooms)
    }

    /// Own moves in a large cluster: asks for room and starts as advised.
    pub(super) fn follow_advice(&mut self, now: Instant, fx: &mut Effects) {
        self.tell_stuck(now, fx);
        let links: Vec<LinkId> = self.holders.keys().copied().collect();
        for link in links {
            let Some(advice) = self.advice(now, link).cloned() else { continue };
            let capacity = self.capacities.get(&link).map_or(BytesPerSec(1), |one| one.usable());
            let bytes = self.bytes_left(now);
            let heads = self.heads(now).into_iter().filter(|vm| vm.link == link);
            let own = heads.map(|vm| self.contender(now, self.me, vm, bytes, None));
            let order = common_order(self.config.tuning(), capacity, bytes, own.collect());
            let known = |vm: &VmId| order.iter().any(|one| one.vm.vm == *vm);
            let next = advice.shares.iter().map(|(vm, ..)| *vm).chain(advice.ahead);
            let needed: Vec<VmId> = next.filter(known).collect();
            self.reserve_all(now, link, &order, &needed, advice.first_waiting, fx);
            for contender in &order {
                let share = advice.shares.iter().find(|(vm, ..)| *vm == contender.vm.vm);
                let (tokens, soon) = share.map_or((0, 0), |(_, tokens, soon)| (*tokens, *soon));
                self.start(now, contender, tokens, soon, fx);
                self.weigh(contender, tokens, fx);
            }
        }
    }

    /// Notes what each sender is to be advised, now that the link has been divided so. Senders for
    /// whom that is another hear of it at once, if it is this node that advises them.
    pub(super) fn note_division(
        &mut self,
        now: Instant,
        link: LinkId,
        order: &[Contender],
        shares: &[Share],
    ) {
        if self.lead(now, link) != Some(self.me) {
            self.turns.remove(&link);
            return;
        }
        let mut turns: BTreeMap<NodeId, Turns> = BTreeMap::new();
        let waits = |vm: VmId| order.iter().any(|one| one.vm.vm == vm && one.waits());
        for share in shares {
            // Who is under way does not start: what it will have soon is no news to its host.
            let soon = if waits(share.vm) { share.soon } else { 0 };
            let turn = turns.entry(share.source).or_default();
            turn.shares.push((share.vm, share.tokens, soon));
        }
        let has_share = |one: &&Contender| shares.iter().any(|share| share.vm == one.vm.vm);
        for next in to_reserve(self.config.tuning(), order, shares).filter(|one| !has_share(one)) {
            turns.entry(next.source).or_default().ahead.push(next.vm.vm);
        }
        if let Some(first) = order.iter().find(|one| one.waits()) {
            turns.entry(first.source).or_default().first_waiting = Some(first.vm.vm);
        }
        let before = self.turns.insert(link, turns).unwrap_or_default();
        let now_said = &self.turns[&link];
        let other = |node: &&NodeId| before.get(*node) != now_said.get(*node);
        let concerned: Vec<NodeId> =
            before.keys().chain(now_said.keys()).filter(other).copied().collect();
        for node in concerned {
            self.audience.hurry(now, node);
        }
    }

    /// Senders whose entry in a table has become another hear of it at once.
    pub(super) fn hurry_granted(&mut self, now: Instant, before: &[Entry], link: LinkId) {
        let Some(issuer) = self.issuers.get(&link) else { return };
        let after = &issuer.table().entries;
        let same = |left: &Entry, right: &Entry| {
            (left.sender, left.tokens, left.incarnation)
                == (right.sender, right.tokens, right.incarnation)
        };
        let new = after.iter().filter(|one| !before.iter().any(|other| same(one, other)));
        let gone =
            before.iter().filter(|one| !after.iter().any(|other| other.sender == one.sender));
        for sender in new.chain(gone).map(|entry| entry.sender) {
            self.audience.hurry(now, sender);
        }
    }

    /// What this node advises one sender.
    pub(super) fn advice_for(&self, now: Instant, to: NodeId) -> Vec<Advice> {
        let mut all = Vec::new();
        let Some(site) = self.directory.site_of(to) else { return all };
        for (link, turns) in &self.turns {
            let leads_away = self.directory.link(*link).is_some_and(|entry| entry.from == site);
            let leaves = self.evacuations.empties(to, site);
            if !leads_away || !leaves && !turns.contains_key(&to) {
                continue;
            }
            let turns = turns.get(&to).cloned().unwrap_or_default();
            all.push(Advice {
                link: *link,
                shares: turns.shares,
                ahead: turns.ahead,
                first_waiting: turns.first_waiting,
                rooms: self.rooms_for(now, to, *link),
            });
        }
        all
    }

    /// Hosts at a link's end that have room for the first VM of a sender that waits: for each sender
    /// others, so that not all ask the same host.
    fn rooms_for(&self, now: Instant, to: NodeId, link: LinkId) -> Vec<Room> {
        let heads = self.membership.peer(to).map(|peer| &peer.heartbeat.queue.head);
        let mut waiting =
            heads.into_iter().flatten().filter(|vm| vm.stage == Stage::Queued).map(|vm| vm.bytes);
        let needed = waiting.next().unwrap_or(0);
        let peers = self
            .membership
            .peers()
            .filter(|(_, peer)| self.membership.liveness_of(now, peer) == Liveness::Alive);
        let hosts = peers.map(|(node, peer)| (node, peer.heartbeat.host));
        let mut rooms: Vec<(u64, Room)> = hosts
            .chain([(self.me, self.host_report())])
            .filter(|(node, host)| {
                host.takes_arrivals
                    && host.memory_free > needed + needed / 50
                    && self.directory.is_receiver(link, *node)
            })
            .map(|(node, host)| (mixed(to.0, node.0), Room { node, memory_free: host.memory_free }))
            .collect();
        if rooms.len() > ROOMS {
            rooms.select_nth_unstable_by_key(ROOMS, |(rank, _)| Reverse(*rank));
            rooms.truncate(ROOMS);
        }
        rooms.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        rooms.into_iter().map(|(_, room)| room).collect()
    }
}
