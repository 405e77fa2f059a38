//! Moves of which nothing flows: what this host does about them, and says.

use alloc::{format, vec::Vec};

use super::Node;
use crate::{
    departures::{Departure, Phase},
    effects::Effects,
    ids::{LinkId, NodeId, VmId},
    output::NoticeKind,
    time::Instant,
    units::BytesPerSec,
};

impl Node {
    /// Whether nothing of this host's moves flows over a link, although it may.
    pub(super) fn stands_still(&self, now: Instant, link: LinkId) -> bool {
        let mut moving = self.departures.all().filter(|one| one.link == link && one.is_copying());
        let mut any = false;
        moving.all(|one| {
            any = true;
            one.stands_still(now)
        }) && any
    }

    /// Whether a host other than that where a VM is on its way takes it, too; `by_another_link`: and does
    /// not stand behind the same link.
    pub(super) fn another_takes(
        &self,
        now: Instant,
        departure: &Departure,
        by_another_link: bool,
    ) -> bool {
        let targets = self.own_targets(now).unwrap_or_default();
        targets.iter().any(|target| {
            let other = target.node != departure.to;
            let way = !by_another_link
                || target.link != departure.link && !self.stands_still(now, target.link);
            other && way && self.takes(now, target, &departure.vm)
        })
    }

    /// The hosts behind the same link as `to` that could take VMs, where nothing of this host flows over
    /// it and another link leads to others: it may be the link that does not carry anything.
    pub(super) fn behind_the_same_link(&self, now: Instant, to: NodeId) -> Vec<NodeId> {
        let site = self.directory.site_of(to);
        let link = site.and_then(|site| self.directory.link_between(self.site, site));
        let targets = self.own_targets(now).unwrap_or_default();
        let flows =
            |one: &Departure| Some(one.link) == link && one.is_moving() && !one.stands_still(now);
        let (behind, others): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|target| Some(target.link) == link);
        if others.is_empty() || self.departures.all().any(flows) {
            return Vec::new();
        }
        behind.into_iter().map(|target| target.node).collect()
    }

    /// Sees whether a move flows, and what follows if it does not.
    pub(super) fn watch_flow(&mut self, now: Instant, vm: VmId, fx: &mut Effects) {
        let Some(departure) = self.departures.get(vm) else { return };
        let (link, waits) = (departure.link, departure.phase == Phase::Reserved);
        if waits && self.stands_still(now, link) && self.another_takes(now, departure, true) {
            if let Some(departure) = self.departures.get_mut(vm) {
                departure.keep(now, fx);
            }
            return;
        }
        let stands_long = departure.stands_still_long(now);
        let elsewhere = stands_long && self.another_takes(now, departure, false);
        let granted = self.granted.get(&link).filter(|(_, until)| *until > now);
        let granted = granted.map_or(BytesPerSec(0), |(rate, _)| *rate);
        let spares_since = self.samples.spares_since(link);
        let Some(departure) = self.departures.get_mut(vm) else { return };
        let before = departure.limit;
        departure.watch_flow(now, granted, spares_since);
        if departure.limit.is_some() != before.is_some() {
            fx.urgent();
        }
        departure.give_up_standing(now, elsewhere, fx);
        if stands_long && !core::mem::replace(&mut departure.told_still, true) {
            let evacuation = departure.evacuation;
            let departure = departure.clone();
            let why = self.doubts_of_departure(now, &departure).join("; ");
            let text = format!("{} stands still: {why}", departure.vm.name);
            fx.vm_notice(NoticeKind::Failed, vm, evacuation, text);
        }
    }
}
