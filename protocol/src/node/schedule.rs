//! Dividing the links, and starting what has its share.

use alloc::{collections::BTreeMap, format, vec::Vec};
use core::time::Duration;

use super::{Node, stranded::Stranding};
use crate::{
    allocation::{Share, allocate, under_way},
    capacity::{Outlook, SenderReport},
    departures::{Departure, GivingUp, Phase, step::Ended},
    effects::Effects,
    evacuation::State,
    ids::{EvacuationId, LinkId, MoveId, NodeId, SiteId, VmId},
    input::LinkSample,
    membership::{Liveness, Peer},
    message::{Direct, HeadVm, HeldBack, Stage},
    order::{Contender, common_order},
    output::{NoticeKind, Output},
    pause::Pause,
    planted::Bug,
    time::{Instant, milliseconds},
    tokens::{HandOn, issuer::Target, slices},
    tuning::{Constant, Name, Tuning},
    units::{BytesPerSec, LINK_TOKENS},
    vm::RunState,
    width::trial,
};

/// VMs in the common order, besides those with shares, for which room is set aside early: the next one, and
/// one in case that fails. With less the link waits for room; more hold memory that others could have.
/// Measured (sensitivity): twice as many are 2 % sooner on a link that steps, and no worse elsewhere.
pub(crate) const RESERVED_AHEAD: Constant<usize> = Name::ReservedAhead.of(2);
/// How long a reservation is kept at least: with it a VM's prospects change, and a reservation that is
/// given up for that would be asked for again at once. With more the first of the order waits that long for
/// one that should give way.
pub(crate) const KEPT_FOR: Constant<Duration> = Name::KeptFor.of(Duration::from_secs(2));
/// Part of what all streams of a host can carry at most from which on they are the limit, thousandths:
/// round-trip times are measured a little too long. Less, and a full link goes unnoticed; more, and streams
/// that carry all they can are taken for a full link.
/// Measured (sensitivity): 860 takes 6 % less time where round trips are long, with pauses 8 % longer.
pub(crate) const EXHAUSTED_PERMILLE: Constant<u64> = Name::Exhausted.of(930).near(1000);
/// How large a link is imagined to be, thousandths, to see whether the next VM only waits for more of it. With
/// less the tokens that nobody can use keep the estimate down; with more every VM that waits counts as
/// one that could begin.
/// Measured (sensitivity): with half VMs complete 3.5 % later where round trips are long.
pub(crate) const IMAGINED_PERMILLE: Constant<u64> = Name::Imagined.of(2000);
/// Part of its floor that a VM must have to begin, thousandths: a share is rounded to tokens and may change
/// by a slice. Less begins guests that outrun their share; more lets them wait for the last token.
pub(crate) const ENOUGH_PERMILLE: Constant<u64> = Name::Enough.of(900).near(1000);
/// Time from the order to start until the first bytes flow, as long as nobody has measured it: sockets,
/// processes and the journal. Less leaves the link idle before the second VM, more begins that too early.
pub(crate) const FIRST_SETUP: Constant<Duration> = Name::FirstSetup.of(Duration::from_millis(500));
/// The same in round trips: three for the streams.
pub(crate) const FIRST_SETUP_ROUND_TRIPS: Constant<u32> = Name::FirstSetupRoundTrips.of(3);
/// Weight of a move that is held among the moves of its host: what it cannot do without.
const HELD: u16 = 1;
/// The least weight of one that goes on: with less it might not get enough to stay alive beside one that
/// switches over, which weighs a hundred times as much; with more it takes from that.
pub(crate) const LIGHTEST: Constant<u16> = Name::Lightest.of(10);
/// Tokens below which nothing is handed on: not worth the message, since the issuers give them to the next
/// one a round trip later. More leaves that many idle for that long.
pub(crate) const WORTH_HANDING_ON: Constant<u16> = Name::WorthHandingOn.of(50);
/// Time between two orders to forget what is left of VMs that run elsewhere.
const CLEAR_EVERY: Duration = Duration::from_secs(5);

/// Those for whom room is set aside: all that have a share, and those that come after them.
pub(super) fn to_reserve<'a>(
    tuning: Tuning,
    order: &'a [Contender],
    shares: &'a [Share],
) -> impl Iterator<Item = &'a Contender> {
    let has_share = |one: &&Contender| shares.iter().any(|share| share.vm == one.vm.vm);
    let ahead = order.iter().filter(move |one| !has_share(one)).take(tuning.of(RESERVED_AHEAD));
    order.iter().filter(has_share).chain(ahead)
}

/// A host that has not moved anything yet takes as long for a start as the slowest that has.
fn fill_in_setups(tuning: Tuning, round_trip: Duration, order: &mut [Contender]) {
    let known = order.iter().map(|one| one.vm.setup_ms).max().filter(|slowest| *slowest > 0);
    let guess = || tuning.of(FIRST_SETUP) + round_trip * tuning.of(FIRST_SETUP_ROUND_TRIPS);
    let known = known.unwrap_or_else(|| milliseconds(guess()) as u32);
    for one in order.iter_mut().filter(|one| one.vm.setup_ms == 0) {
        one.vm.setup_ms = known;
    }
}

impl Node {
    /// Everyone who wants a link, in the common order.
    pub(crate) fn order(&self, now: Instant, link: LinkId) -> Vec<Contender> {
        let capacity = self.capacities.get(&link).map_or(BytesPerSec(1), |one| one.usable());
        // Who has fallen silent gets nothing new: the next in order does not wait for its death.
        let alive = |peer| self.membership.liveness_of(now, peer) == Liveness::Alive;
        let heads = |peer: &Peer| !peer.heartbeat.queue.head.is_empty();
        let heard = self.membership.peers().filter(|(_, peer)| heads(peer) && alive(peer));
        let own = self.bytes_left(now);
        let mut remaining = own;
        let mut all: Vec<Contender> = Vec::new();
        let runtime = self.host.runtime_left_ms.map(Duration::from_millis);
        let wants = |vm: &HeadVm| vm.link == link;
        let heads = self.heads(now).into_iter().filter(wants);
        all.extend(heads.map(|vm| self.contender(now, self.me, vm, own, runtime)));
        for (source, peer) in heard {
            let bytes = peer.heartbeat.queue.bytes;
            remaining = remaining.saturating_add(bytes);
            let since = now.since(peer.heard_at);
            let runtime = peer.heartbeat.host.runtime_left_ms.map(Duration::from_millis);
            let runtime = runtime.map(|left| left.saturating_sub(since));
            let heads = peer.heartbeat.queue.head.iter().filter(|vm| wants(vm));
            let heads = heads.map(|vm| vm.later(since));
            all.extend(heads.map(|vm| self.contender(now, source, vm, bytes, runtime)));
        }
        let tuning = self.config.tuning();
        fill_in_setups(tuning, self.link_round_trip(now, link), &mut all);
        common_order(tuning, capacity, remaining, all)
    }

    pub(super) fn contender(
        &self,
        now: Instant,
        source: NodeId,
        vm: HeadVm,
        source_bytes: u64,
        runtime_left: Option<Duration>,
    ) -> Contender {
        let site = self.directory.site_of(source);
        let deadline = site.and_then(|site| self.evacuations.time_left(now, source, site));
        let time_left = [deadline, runtime_left].into_iter().flatten().min();
        let time_left = time_left.filter(|left| !left.is_zero());
        let nic = |node: NodeId| match self.membership.peer(node) {
            _ if node == self.me => self.host.nic_speed,
            Some(peer) => peer.heartbeat.host.nic_speed,
            None => BytesPerSec(0),
        };
        let source_nic = nic(source);
        let destination_nic = vm.to.map_or(BytesPerSec(0), nic);
        Contender { source, vm, source_bytes, source_nic, destination_nic, time_left }
    }

    pub(crate) fn shares(&self, now: Instant, link: LinkId, order: &[Contender]) -> Vec<Share> {
        if order.is_empty() {
            return Vec::new();
        }
        let estimate = self.capacities.get(&link);
        let capacity = estimate.map_or(BytesPerSec(1), |one| one.usable());
        let width = estimate.map_or(1, |one| one.width());
        let round_trip = self.link_round_trip(now, link);
        let tuning = self.config.tuning();
        if self.config.planted(Bug::HeadPassedOver) {
            let waits = |one: &Contender| matches!(one.vm.stage, Stage::Queued | Stage::Reserved);
            let mut waiting: Vec<usize> = Vec::new();
            waiting.extend((0..order.len()).filter(|index| waits(&order[*index])));
            if let [head, _, ..] = waiting[..] {
                return allocate(
                    tuning,
                    capacity,
                    width,
                    round_trip,
                    &[&order[..head], &order[head + 1..]].concat(),
                );
            }
        }
        allocate(tuning, capacity, width, round_trip, order)
    }

    /// Own moves: ends what is over, asks for room, starts what has its share.
    pub(super) fn start_moves(&mut self, now: Instant, fx: &mut Effects) {
        self.tell_stuck(now, fx);
        let links: Vec<LinkId> = self.holders.keys().copied().collect();
        for link in links {
            let order = self.order(now, link);
            let shares = self.shares(now, link, &order);
            let share_of: BTreeMap<VmId, (u16, u16)> =
                shares.iter().map(|share| (share.vm, (share.tokens, share.soon))).collect();
            let me = self.me;
            let needed =
                to_reserve(self.config.tuning(), &order, &shares).filter(|one| one.source == me);
            let needed: Vec<VmId> = needed.map(|one| one.vm.vm).collect();
            let first = order.iter().find(|one| one.waits()).map(|one| one.vm.vm);
            self.reserve_all(now, link, &order, &needed, first, fx);
            for contender in order.iter().filter(|one| one.source == me) {
                let (tokens, soon) = share_of.get(&contender.vm.vm).copied().unwrap_or_default();
                self.start(now, contender, tokens, soon, fx);
                self.weigh(contender, tokens, fx);
            }
        }
    }

    /// Has room set aside for all that need it now. For the `first` of all that wait any of them gives up
    /// its own: nobody overtakes it, so nothing could begin.
    pub(super) fn reserve_all(
        &mut self,
        now: Instant,
        link: LinkId,
        order: &[Contender],
        needed: &[VmId],
        first: Option<VmId>,
        fx: &mut Effects,
    ) {
        for vm in needed {
            if self.departures.get(*vm).is_none() {
                let kept = if first == Some(*vm) { &[][..] } else { needed };
                self.make_room(now, link, order, kept, fx);
                self.reserve(now, *vm, link, order, fx);
            }
        }
    }

    /// Departures that count against the most that may be under way at a time.
    fn departures_open(&self) -> usize {
        self.departures.all().filter(|one| one.stage().is_some()).count()
    }

    /// Gives up the reservation furthest down the order for a VM that needs one now: the order changes
    /// with the estimate of the link, and what was reserved first may not be next any more. `kept`: those
    /// that keep theirs. A link of which nothing is open here gets one from a link of which several are.
    fn make_room(
        &mut self,
        now: Instant,
        link: LinkId,
        order: &[Contender],
        kept: &[VmId],
        fx: &mut Effects,
    ) {
        if self.departures_open() < self.config.departures_at_once {
            return;
        }
        let kept_for = self.config.tuning().of(KEPT_FOR);
        let given_up =
            |departure: &Departure| !departure.begun() && now.since(departure.began_at) >= kept_for;
        let mut others = order.iter().rev().map(|contender| contender.vm.vm);
        let last =
            others.find(|vm| !kept.contains(vm) && self.departures.get(*vm).is_some_and(given_up));
        let open = |by: LinkId| {
            self.departures.all().filter(|one| one.link == by && one.stage().is_some()).count()
        };
        let spare = || {
            let spare = |one: &&Departure| one.link != link && given_up(one) && open(one.link) > 1;
            let youngest = self.departures.all().filter(spare).max_by_key(|one| one.began_at);
            youngest.filter(|_| open(link) == 0).map(|one| one.id.vm)
        };
        if let Some(vm) = last.or_else(spare) {
            self.give_room_back(now, vm, fx);
        }
    }

    /// Gives up an attempt that has not begun: it can be made again at once.
    pub(super) fn give_room_back(&mut self, now: Instant, vm: VmId, fx: &mut Effects) {
        let Some(departure) = self.departures.get_mut(vm) else { return };
        if departure.phase == Phase::Reserved {
            departure.keep(now, fx);
        } else {
            fx.send(departure.to, Direct::SourceKept { id: departure.id });
            self.departures.remove(vm);
        }
    }

    fn reserve(
        &mut self,
        now: Instant,
        vm: VmId,
        link: LinkId,
        order: &[Contender],
        fx: &mut Effects,
    ) {
        if self.departures_open() >= self.config.departures_at_once {
            return;
        }
        let mut choices = self.choices(now).into_iter();
        let chosen = choices.find(|(one, _, by)| one.id == vm && *by == link);
        let Some((vm, to)) = chosen.map(|(vm, to, _)| (vm.clone(), to)) else { return };
        let Some(evacuation) = self.mover_to(to) else { return };
        if self.leader_is_unheard(now, evacuation, &vm) {
            return;
        }
        let before = order.iter().take_while(|one| one.vm.vm != vm.id);
        let others = before.filter(|one| one.source != self.me && one.vm.stage == Stage::Queued);
        let mut others: Vec<u64> = others.map(|one| one.vm.bytes).collect();
        others.extend(self.urgent_at_unaware(now, evacuation, &vm));
        if !self.leaves_room(now, &vm, to, others) {
            return;
        }
        self.attempt += 1;
        let id = MoveId {
            vm: vm.id,
            source: self.me,
            incarnation: self.incarnation,
            attempt: self.attempt,
        };
        let offline = vm.state == RunState::ShutOff;
        let attempts = self.setbacks.get(&vm.id).map_or(0, |setback| setback.failures) + 1;
        let departure = Departure {
            id,
            to,
            link,
            evacuation,
            vm,
            phase: Phase::Reading,
            progress: Default::default(),
            start_ms: 0,
            attempts,
            definition: None,
            decided: crate::journal::Decided::Open,
            paused_at: None,
            guest: None,
            let_go_at: None,
            pause_seen: false,
            ran_on: false,
            giving_up: None,
            renewed_at: now,
            heard_at: now,
            weight: 0,
            escalated: 0,
            patience: Default::default(),
            began_at: now,
            pass_began: now,
            rewritten: 0,
            rate: BytesPerSec(0),
            progressed_at: now,
            flows_since: None,
            flowed_at: now,
            limit: None,
            told_still: false,
            told_foreign: false,
            orphaned: false,
            yields: false,
            held: false,
            may_flow: false,
            told_waits: false,
            exited: false,
            complete_there: false,
            lost_there: false,
            pause: Pause::default(),
            claimed_by: Vec::new(),
            listed_again: 0,
        };
        if offline {
            fx.out(Output::ReadDefinition { id });
        } else {
            // A former life may have begun to move it, and have forgotten.
            fx.out(Output::Look { vm: id.vm });
        }
        self.departures.insert(departure);
    }

    /// Begins a move that has its share: `tokens` now, and `soon` so many.
    pub(super) fn start(
        &mut self,
        now: Instant,
        contender: &Contender,
        tokens: u16,
        soon: u16,
        fx: &mut Effects,
    ) {
        let Some(departure) = self.departures.get(contender.vm.vm) else { return };
        if departure.phase != Phase::Reserved {
            return;
        }
        let (link, evacuation) = (departure.link, departure.evacuation);
        let tuning = self.config.tuning();
        let usable = self.usable_tokens(now, link);
        let expected = usable.saturating_add(soon.saturating_sub(tokens));
        let rate = self.capacities.get(&link).map_or(BytesPerSec(0), |one| one.usable());
        let enough = departure.offline()
            || (tokens > 0
                && usable > 0
                && rate.share(expected) >= contender.vm.floor.permille(tuning.of(ENOUGH_PERMILLE)));
        let Some(known) = self.evacuations.get(evacuation).filter(|_| enough) else { return };
        let start_ms = crate::time::milliseconds(known.age(now));
        let round_trip = self.link_round_trip(now, link);
        if let Some(departure) = self.departures.get_mut(contender.vm.vm) {
            let pause = Pause::of(tuning, &departure.vm, rate.share(expected), round_trip);
            departure.begin(now, start_ms, pause, fx);
            let (policy, to) = (&departure.vm.policy, departure.to);
            if let Some((group, class)) = policy.group().map(|group| (group, policy.priority)) {
                self.group_begins(group, class, Some(to));
            }
        }
    }

    /// How the carrier divides this host's share among its moves: what switches over first, then
    /// by the order.
    pub(super) fn weigh(&mut self, contender: &Contender, tokens: u16, fx: &mut Effects) {
        let lightest = self.config.tuning().of(LIGHTEST);
        let Some(departure) = self.departures.get_mut(contender.vm.vm) else { return };
        let weight = match departure.stage() {
            Some(Stage::Switching) => 1000,
            Some(Stage::Moving) => tokens.clamp(lightest, 900),
            _ => return,
        };
        if departure.weight != weight {
            departure.weight = weight;
            fx.out(Output::SetWeight { id: departure.id, weight });
        }
    }

    pub(super) fn tick_moves(&mut self, now: Instant, fx: &mut Effects) {
        for vm in self.departures.vms() {
            let Some(departure) = self.departures.get(vm) else { continue };
            let (to, evacuation) = (departure.to, departure.evacuation);
            let up = self.membership.is_up(now, to);
            let alive = self.membership.liveness(now, to) == Liveness::Alive;
            let lost = !up
                && (self.is_alone_silent(now, to)
                    || !departure.begun() && self.others_take_it(now, to, evacuation));
            let round_trip = self.membership.peer(to).and_then(|peer| peer.round_trip);
            let state = self.evacuations.get(evacuation).map(|known| known.record.state);
            // Room that was asked for serves whichever evacuation wants the VM there.
            let third = self.third_running(vm, to);
            // A daemon that has just started has heard nobody yet.
            let silent = !alive && now.since(self.silent_since(to)) > self.config.suspect_after;
            let wanted_by =
                self.mover_to(to).filter(|_| third.is_none() && !self.doubles.contains_key(&vm));
            let id = departure.id;
            let over = state.is_some_and(|state| state != State::Active);
            let unstarted = over && self.withdraw(id);
            self.tell_waits(now, vm, fx);
            self.watch_flow(now, vm, fx);
            if third.is_some() && self.went_on(now, vm) {
                let ended = self.departures.get_mut(vm).map(|one| one.settled(None, fx));
                self.departure_ended(now, vm, ended.unwrap_or(Ended::No), fx);
                continue;
            }
            let Some(departure) = self.departures.get_mut(vm) else { continue };
            if departure.lost_there && third.is_some() {
                self.strand(vm, Stranding::LostThere, fx);
                continue;
            }
            if departure.hold(now, alive) {
                let lightest = self.config.tuning().of(LIGHTEST);
                departure.weight = if departure.held { HELD } else { lightest };
                fx.out(Output::SetWeight { id, weight: departure.weight });
                fx.urgent();
            }
            if silent {
                departure.give_up_on_silent(fx);
            }
            match (&departure.phase, wanted_by) {
                // The order to start it still waits for the journal.
                (Phase::Beginning { .. }, _) if unstarted => departure.keep(now, fx),
                (Phase::Reading | Phase::Reserving { .. } | Phase::Reserved, Some(id)) => {
                    departure.evacuation = id;
                }
                (Phase::Reading | Phase::Reserving { .. }, None) => {
                    fx.send(to, Direct::SourceKept { id: departure.id });
                    self.departures.remove(vm);
                    continue;
                }
                (Phase::Reserved, None) => departure.keep(now, fx),
                (Phase::Beginning { .. } | Phase::Moving, _)
                    if state == Some(State::Aborted) && departure.giving_up.is_none() =>
                {
                    departure.abort(GivingUp::Asked, fx);
                }
                _ => {}
            }
            let ended =
                departure.tick(now, &self.config, up, lost, round_trip.unwrap_or_default(), fx);
            self.departure_ended(now, vm, ended, fx);
        }
        for vm in self.arrivals.vms() {
            if let Some(arrival) = self.arrivals.get_mut(vm) {
                arrival.tick(now, &self.config, &self.directory, fx);
            }
        }
        self.arrivals.settled.tick(now, fx);
        self.forget_groups();
    }

    /// Has what is left here of VMs that run elsewhere forgotten, again and again: a hypervisor may
    /// not have answered, and a definition that stays is one that somebody may start.
    pub(super) fn clear_remains(&mut self, now: Instant, fx: &mut Effects) {
        if now.since(self.given_away_told_at) < CLEAR_EVERY {
            return;
        }
        self.given_away_told_at = now;
        for (vm, id) in &self.given_away {
            fx.out(Output::Forget { id: *id });
            fx.out(Output::Look { vm: *vm });
        }
    }

    /// Whether a node is silent while others at its site are heard: then it is not merely cut off.
    /// After an outage of the link they do not all come back in the same moment.
    fn is_alone_silent(&self, now: Instant, node: NodeId) -> bool {
        let site = self.directory.site_of(node);
        // A node that was never heard in this life of ours is silent since our start.
        let heard_at = self.silent_since(node);
        self.membership.up(now).any(|(other, peer)| {
            let silent_alone = now.since(heard_at.max(peer.alive_since));
            self.directory.site_of(other) == site && silent_alone > self.config.dead_after * 2
        })
    }

    /// Whether another destination of the evacuation has been heard for long while `node` was not.
    fn others_take_it(&self, now: Instant, node: NodeId, evacuation: EvacuationId) -> bool {
        let silent_since = self.silent_since(node);
        let to = self.evacuations.get(evacuation).map(|known| &known.record.to);
        self.membership.up(now).any(|(other, peer)| {
            let allowed = |sites: &&Vec<SiteId>| {
                self.directory.site_of(other).is_some_and(|site| sites.contains(&site))
            };
            let silent = now.since(silent_since.max(peer.alive_since));
            to.filter(allowed).is_some() && silent > self.config.dead_after * 2
        })
    }

    pub(super) fn update_claims(&mut self, now: Instant, fx: &mut Effects) {
        for (link, issuer) in &mut self.issuers {
            let before = issuer.tokens();
            let Some(receivers) = self.candidates.get(link) else { continue };
            if !self.leaving {
                issuer.update_claims(now, self.me, receivers, &self.membership);
            }
            if issuer.tokens() != before {
                fx.urgent();
            }
        }
    }

    /// As the issuer of a link's first slice: learns its capacity from what everyone reports.
    pub(super) fn estimate(&mut self, now: Instant, fx: &mut Effects) {
        let links: Vec<LinkId> = self.issuers.keys().copied().collect();
        for link in links {
            let Some(receivers) = self.candidates.get(&link) else { continue };
            let up = receivers.iter().copied().filter(|node| self.membership.is_up(now, *node));
            if slices::issuer_of(link, 0, up) != Some(self.me) {
                continue;
            }
            let mut arrived = self.samples.get(now, link).map_or(0, |sample| sample.arrived.0);
            let times = if self.config.planted(Bug::ArrivalsCountedTwice) { 2 } else { 1 };
            let mut senders = Vec::new();
            let mut complete = true;
            for (node, peer) in self.membership.up(now) {
                let fresh = now.since(peer.heard_at) <= self.config.heartbeat * 3 / 2;
                for report in peer.heartbeat.links.iter().filter(|report| report.link == link) {
                    complete &= fresh || (report.sent.0 == 0 && report.arrived.0 == 0);
                    if self.directory.is_receiver(link, node) {
                        arrived = arrived.saturating_add(report.arrived.0 * times);
                    } else {
                        senders.push(SenderReport {
                            sent: report.sent,
                            held_back: report.held_back,
                            tokens: report.tokens,
                        });
                    }
                }
            }
            let round_trip = self.link_round_trip(now, link);
            let order = self.order(now, link);
            // What arrives at a host whose daemon is dead is not told.
            complete &= order.iter().all(|one| {
                let waits = matches!(one.vm.stage, Stage::Queued | Stage::Reserved);
                waits || one.vm.to.is_none_or(|to| to == self.me || self.membership.is_up(now, to))
            });
            let tuning = self.config.tuning();
            let under_way = |divided, width| under_way(tuning, divided, width, round_trip, &order);
            let divided = self.divided_tokens(now, link, &order, under_way);
            let usable = self.capacities.get(&link).map_or(BytesPerSec(1), |one| one.usable());
            let trial = trial(tuning, round_trip);
            let one_ends = order.iter().any(|one| one.ends_after_trial(tuning, usable, trial));
            let outlook = Outlook { divided, one_ends, under_way };
            let Some(capacity) = self.capacities.get_mut(&link) else { continue };
            let arrived = BytesPerSec(arrived);
            if !complete {
                // Somebody who used the link is silent, perhaps because it is cut: what the others
                // say is not the whole, and says nothing of what the link can carry.
                capacity.start_round(now, round_trip);
            } else if capacity.learn(now, round_trip, arrived, &senders, &outlook) {
                let name = self.directory.link(link).map_or("", |entry| entry.name.as_str());
                let estimate = capacity.value().0 / 125_000;
                fx.notice(
                    NoticeKind::Link,
                    format!("the link {name} is taken to carry {estimate}Mbit/s"),
                );
                fx.urgent();
            }
        }
    }

    /// Tokens of a link for which there is a use: all, unless those under way can use no more and the next
    /// one needs more than they leave, although it would have it if the link carried more.
    fn divided_tokens(
        &self,
        now: Instant,
        link: LinkId,
        order: &[Contender],
        under_way: impl Fn(BytesPerSec, u16) -> usize,
    ) -> u16 {
        let Some(capacity) = self.capacities.get(&link) else { return LINK_TOKENS };
        let (usable, width) = (capacity.usable(), capacity.width());
        let imagined = usable.permille(self.config.tuning().of(IMAGINED_PERMILLE));
        if under_way(imagined, width) <= under_way(usable, width) {
            return LINK_TOKENS;
        }
        let shares = self.shares(now, link, order);
        shares.iter().fold(0, |sum: u16, share| sum.saturating_add(share.tokens))
    }

    /// What held this host back on a link, for the estimate. Streams that still gain speed, or that
    /// carry all that they ever can, send less than they may, and that says nothing of the link.
    pub(super) fn held_back(&self, now: Instant, sample: &LinkSample) -> HeldBack {
        if sample.held_back != HeldBack::Link {
            return sample.held_back;
        }
        let link = sample.link;
        let round_trip = self.link_round_trip(now, link);
        let moving = || self.departures.all().filter(|one| one.link == link && one.is_moving());
        let tuning = self.config.tuning();
        let gains_speed = moving().any(|one| one.gains_speed(now, tuning, round_trip));
        let most = self.reach(now, link).0.saturating_mul(moving().count() as u64);
        let exhausted =
            most > 0 && sample.sent >= BytesPerSec(most).permille(tuning.of(EXHAUSTED_PERMILLE));
        if gains_speed || exhausted { HeldBack::Source } else { HeldBack::Link }
    }

    /// As an issuer: grants down the common order.
    pub(super) fn issue(&mut self, now: Instant, fx: &mut Effects) {
        if self.leaving {
            return;
        }
        let links: Vec<LinkId> = self.issuers.keys().copied().collect();
        for link in links {
            let order = self.order(now, link);
            let shares = self.shares(now, link, &order);
            let mut targets: Vec<Target> = Vec::new();
            for share in &shares {
                match targets.iter_mut().find(|target| target.sender == share.source) {
                    Some(target) => target.tokens += share.tokens,
                    None => targets.push(Target { sender: share.source, tokens: share.tokens }),
                }
            }
            let Some(receivers) = self.candidates.get(&link) else { continue };
            let Some(issuer) = self.issuers.get_mut(&link) else { continue };
            let before = issuer.table().entries.clone();
            let moved = issuer.issue(now, self.me, receivers, &self.membership, &targets);
            if self.is_large() {
                self.note_division(now, link, &order, &shares);
                self.hurry_granted(now, &before, link);
            } else if moved {
                fx.urgent();
            }
        }
    }

    /// A sender with no more need of its tokens hands them to the next in order on its own site, so
    /// that no round trip is lost. What is handed on cannot be had back before the lease ends, so only
    /// a VM that will use it for so long gets it.
    pub(super) fn hand_on(&mut self, now: Instant, fx: &mut Effects) {
        let links: Vec<LinkId> = self.holders.keys().copied().collect();
        for link in links {
            if self.usable_tokens(now, link) < self.config.tuning().of(WORTH_HANDING_ON) {
                continue;
            }
            let order = self.order(now, link);
            // Only one that is done.
            if order.iter().any(|contender| contender.source == self.me) {
                continue;
            }
            let shares = self.shares(now, link, &order);
            let usable = self.capacities.get(&link).map_or(BytesPerSec(1), |one| one.usable());
            let lasts = |share: &Share| {
                let vm = order.iter().find(|one| one.vm.vm == share.vm).map(|one| one.vm);
                let time = vm.map(|vm| vm.takes_at(usable.share(share.tokens)));
                time.is_some_and(|time| time >= self.config.lease)
            };
            // To the first that lacks something: who is about to finish has enough.
            let Some(next) = shares
                .iter()
                .find(|share| share.tokens > self.tokens_said(share.source, link))
                .filter(|share| lasts(share))
                .map(|share| share.source)
                .filter(|next| self.directory.site_of(*next) == Some(self.site))
            else {
                continue;
            };
            let Some(peer) = self.membership.peer(next) else { continue };
            let (life, number, heard_at) =
                (peer.heartbeat.incarnation, peer.heartbeat.number, peer.heard_at);
            let Some(holder) = self.holders.get_mut(&link) else { continue };
            for hand_on in holder.hand_on(now, next, life, number, heard_at) {
                fx.send(next, Direct::HandOn(hand_on));
                fx.urgent();
            }
        }
    }

    /// Tokens that another sender lately said to have.
    fn tokens_said(&self, sender: NodeId, link: LinkId) -> u16 {
        let reports = self.membership.peer(sender).map(|peer| &peer.heartbeat.links);
        let mut reports = reports.into_iter().flatten();
        reports.find(|report| report.link == link).map_or(0, |report| report.tokens)
    }

    pub(super) fn receive_hand_on(
        &mut self,
        now: Instant,
        from: NodeId,
        hand_on: &HandOn,
        fx: &mut Effects,
    ) {
        let same_site = self.directory.site_of(from) == Some(self.site);
        let Some(holder) = self.holders.get_mut(&hand_on.link).filter(|_| same_site) else {
            return;
        };
        if holder.receive(now, from, hand_on, self.incarnation, &self.membership) {
            fx.urgent();
        }
    }

    /// Tells the carrier what it may send, whenever that changes.
    pub(super) fn grant(&mut self, now: Instant, fx: &mut Effects) {
        for (link, holder) in &self.holders {
            let tokens = holder.usable(now);
            let until = holder.usable_until(now).unwrap_or(now);
            let capacity = self.capacities.get(link).map_or(BytesPerSec(0), |one| one.usable());
            let rate = if tokens == 0 { BytesPerSec(0) } else { capacity.share(tokens) };
            let before = self.granted.insert(*link, (rate, until));
            let silent = rate.0 == 0 && before.is_none_or(|(rate, _)| rate.0 == 0);
            if before != Some((rate, until)) && !silent {
                fx.out(Output::Grant { link: *link, rate, until });
            }
        }
    }
}
