//! What all rivals have in common: the list of VMs, the choice of a destination, starting, resuming
//! and trying again. Invariant: it begins only what its rule allows, and nothing from a seat that is
//! dead.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_protocol::{Incarnation, MoveId, NodeId, VmId, arrivals::memory_needed, vm::RunState};

use super::{
    Kind, Order, Rival,
    at_once::AtOnce,
    capped::Capped,
    central::Central,
    per_host::PerHost,
    rule::{Rule, Seat, UnderWay},
    sharing::{self, Flow},
};
use crate::{
    random::SplitMix,
    r#virtual::{
        Place, SECOND, World,
        moves::{Demand, STEP, Stage},
        scenario::Scenario,
    },
};

/// Time between two measurements of a central controller.
const MEASURED_EVERY: u64 = 10 * SECOND;
/// How far a measurement is off, at most, in thousandths: the interfaces' counters carry other
/// traffic, and are read one after the other. Fitted once to the published AC and IC figures.
const NOISE_PERMILLE: u64 = 100;
/// Pause before a VM that did not get away is tried again.
const AGAIN: u64 = SECOND;

/// A move that the engine began and has not seen end.
#[derive(Debug, Clone, Copy)]
struct Begun {
    vm: VmId,
    from: usize,
    to: usize,
}

/// A rival at work.
#[derive(Debug)]
pub(crate) struct Engine {
    rule: Box<dyn Rule>,
    streams: u32,
    order: Order,
    /// Host of a central program.
    seat: usize,
    /// Hosts on which no program of the rival works.
    dead: BTreeSet<usize>,
    begun: Vec<Begun>,
    attempts: u64,
    again_at: BTreeMap<VmId, u64>,
    /// When it last measured, and what had been carried by then.
    measured: Option<(u64, f64)>,
    noise: SplitMix,
    /// Whether something has changed since it last looked for what may begin.
    stale: bool,
}

fn rule(kind: Kind) -> Box<dyn Rule> {
    match kind {
        Kind::AtOnce => Box::new(AtOnce),
        Kind::PerHost => Box::new(PerHost),
        Kind::AtATime(number) => Box::new(Capped::at_a_time(number as usize)),
        Kind::Kubevirt => Box::new(Capped::KUBEVIRT),
        Kind::Central(feedback) => Box::new(Central::new(feedback)),
    }
}

impl Engine {
    pub(crate) fn new(rival: Rival, scenario: &Scenario) -> Self {
        let initiator = scenario.evacuations.first().map(|one| &one.initiator);
        let seat = scenario.hosts.iter().position(|host| Some(&host.name) == initiator);
        Self {
            rule: rule(rival.kind),
            streams: rival.streams,
            order: rival.order,
            seat: seat.unwrap_or(0),
            dead: BTreeSet::new(),
            begun: Vec::new(),
            attempts: 0,
            again_at: BTreeMap::new(),
            measured: None,
            noise: SplitMix::named(scenario.seed, "rival"),
            stale: true,
        }
    }

    /// Whether somebody is there to begin what leaves this host.
    fn works_for(&self, host: usize) -> bool {
        match self.rule.seat() {
            Seat::Central => !self.dead.contains(&self.seat),
            Seat::EachHost => !self.dead.contains(&host),
        }
    }

    fn under_way(&self) -> Vec<UnderWay> {
        self.begun.iter().map(|one| UnderWay { from: one.from }).collect()
    }

    /// A measurement of what really was.
    fn noisy(&mut self, goodput: f64) -> f64 {
        let off = self.noise.between(0, 2 * NOISE_PERMILLE) as f64 - NOISE_PERMILLE as f64;
        goodput * (1.0 + off / 1000.0)
    }
}

impl World {
    /// A program of the rival dies with its host or daemon.
    pub(crate) fn rival_dies(&mut self, host: usize) {
        if let Some(engine) = &mut self.rival {
            engine.dead.insert(host);
        }
    }

    /// A host's program starts again. A central one does not come back: nobody is left who knows
    /// what it was doing.
    pub(crate) fn rival_starts(&mut self, host: usize) {
        if let Some(engine) = &mut self.rival
            && engine.rule.seat() == Seat::EachHost
            && self.hosts[host].powered
        {
            engine.dead.remove(&host);
            engine.stale = true;
        }
    }

    /// Whether the rival will still begin something.
    pub(crate) fn rival_has_work(&self) -> bool {
        let Some(engine) = &self.rival else { return false };
        self.left_behind()
            .any(|(vm, from)| engine.works_for(from) && self.landing_place(vm, from).is_some())
    }

    /// The rival looks around and does what its rule wants.
    pub(crate) fn let_rival_decide(&mut self) {
        let Some(mut engine) = self.rival.take() else { return };
        self.resume_arrived(&mut engine);
        self.note_ended(&mut engine);
        if self.evacuations.iter().any(Option::is_some) {
            self.measure(&mut engine);
            let waits = engine.again_at.values().any(|at| self.now >= *at);
            if engine.stale || waits {
                engine.stale = false;
                engine.again_at.retain(|_, at| self.now < *at);
                self.begin_what_may(&mut engine);
            }
        }
        self.rival = Some(engine);
    }

    fn resume_arrived(&mut self, engine: &mut Engine) {
        for one in &engine.begun {
            let Some(guest) = self.hosts[one.to].hypervisor.guests.get(&one.vm) else { continue };
            if guest.place == Place::Arrived && guest.vm.state == RunState::Running {
                let paused_at = self.paused.remove(&one.vm);
                self.stood_still(one.vm, paused_at);
                self.turn(one.to, one.vm, Place::Running);
            }
        }
    }

    fn note_ended(&mut self, engine: &mut Engine) {
        let (open, ended): (Vec<Begun>, Vec<Begun>) =
            engine.begun.iter().partition(|one| self.is_outgoing(one.from, one.vm));
        engine.stale |= !ended.is_empty();
        engine.begun = open;
        for one in ended {
            if self.hosts[one.from].hypervisor.place(one.vm) == Some(Place::MovedAway) {
                self.remove(one.from, one.vm);
            } else {
                self.hosts[one.to].hypervisor.prepared.remove(&one.vm);
                engine.again_at.insert(one.vm, self.now + AGAIN);
            }
        }
    }

    fn measure(&mut self, engine: &mut Engine) {
        let carried: f64 = self.links.iter().map(|link| link.carried).sum();
        let (at, before) = *engine.measured.get_or_insert((self.now, carried));
        if self.now < at + MEASURED_EVERY || !engine.works_for(engine.seat) {
            return;
        }
        let seconds = (self.now - at) as f64 / SECOND as f64;
        let goodput = engine.noisy((carried - before) / seconds);
        engine.measured = Some((self.now, carried));
        engine.rule.measured(goodput, engine.begun.len());
        engine.stale = true;
    }

    /// VMs that rest on a host with power that is being emptied, and that host.
    fn left_behind(&self) -> impl Iterator<Item = (VmId, usize)> {
        let emptied = (0..self.hosts.len())
            .filter(|host| self.hosts[*host].powered && self.is_emptied(*host));
        emptied.flat_map(move |host| {
            let guests = &self.hosts[host].hypervisor.guests;
            let here = guests.iter().filter(move |(vm, guest)| {
                matches!(guest.place, Place::Running | Place::Paused)
                    && !self.is_outgoing(host, **vm)
            });
            here.map(move |(vm, _)| (*vm, host))
        })
    }

    fn begin_what_may(&mut self, engine: &mut Engine) {
        let mut waiting: Vec<(VmId, usize)> =
            self.left_behind().filter(|(vm, _)| !engine.again_at.contains_key(vm)).collect();
        let size = |vm: &VmId| self.vms[vm].spec.memory.0;
        match engine.order {
            Order::AsListed => waiting.sort_by_key(|(vm, _)| *vm),
            Order::SmallestFirst => waiting.sort_by_key(|(vm, _)| (size(vm), *vm)),
            Order::LargestFirst => waiting.sort_by_key(|(vm, _)| (u64::MAX - size(vm), *vm)),
            Order::Random => {
                let seed = self.scenario.seed;
                let lot = |vm: &VmId| SplitMix::new(seed, u128::from_be_bytes(vm.0) as u64).next();
                waiting.sort_by_cached_key(|(vm, _)| lot(vm));
            }
        }
        for (vm, from) in waiting {
            if engine.works_for(from) && engine.rule.may_begin(from, &engine.under_way()) {
                self.begin_one(engine, vm, from);
            }
        }
    }

    fn begin_one(&mut self, engine: &mut Engine, vm: VmId, from: usize) {
        let Some(to) = self.landing_place(vm, from) else { return };
        engine.attempts += 1;
        let source: NodeId = self.hosts[from].id;
        let id = MoveId { vm, source, incarnation: Incarnation(1), attempt: engine.attempts };
        let guest = self.hosts[from].hypervisor.guests[&vm].vm.clone();
        self.hosts[to].hypervisor.prepared.insert(vm, id);
        let pause_ms = guest.policy.max_downtime_ms;
        self.begin(from, id, guest, to, pause_ms);
        engine.begun.push(Begun { vm, from, to });
    }

    /// The living host with the most free memory to which a VM may be taken.
    fn landing_place(&self, vm: VmId, from: usize) -> Option<usize> {
        let needed = memory_needed(&self.hosts[from].hypervisor.guests.get(&vm)?.vm);
        let host = &self.hosts[from];
        let named = |name: &String| *name == host.name || *name == self.sites[host.site];
        let spec = self.scenario.evacuations.iter().find(|spec| spec.from.iter().any(named))?;
        let free = |to: usize| {
            let hypervisor = &self.hosts[to].hypervisor;
            let promised = hypervisor.prepared.keys().filter(|vm| hypervisor.place(**vm).is_none());
            let promised: u64 = promised.map(|vm| self.vms[vm].spec.memory.0).sum();
            hypervisor.memory.checked_sub(hypervisor.memory_used() + promised)
        };
        (0..self.hosts.len())
            .filter(|to| spec.to.contains(&self.sites[self.hosts[*to].site]))
            .filter(|to| !self.is_emptied(*to) && self.path(from, *to))
            .filter(|to| self.link_of(from, *to).is_some() && !self.hosts[*to].hypervisor.down)
            .filter_map(|to| Some((free(to).filter(|free| *free >= needed)?, to)))
            .max_by_key(|(free, to)| (*free, usize::MAX - to))
            .map(|(_, to)| to)
    }

    /// What each move of a link asks for when TCP alone shares it out.
    pub(crate) fn rival_demands(&self, link: usize) -> Vec<Demand> {
        let Some(engine) = &self.rival else { return Vec::new() };
        let may_send = engine.rule.may_send();
        let seconds = STEP as f64 / SECOND as f64;
        let line = &self.links[link];
        let mut flows = Vec::new();
        let mut demands = Vec::new();
        for (number, one) in self.moves.iter().enumerate() {
            let stands = number >= may_send && one.stage != Stage::Flushing;
            if one.link != link || !one.flows() || stands || !self.path(one.from, one.to) {
                continue;
            }
            let streams = f64::from(engine.streams.min(line.streams_for(f64::INFINITY)));
            let reach = streams * line.ramped(one.ramp);
            let wants = reach.min(one.remaining / seconds);
            flows.push(Flow { streams, wants, ends: (one.from, one.to) });
            demands.push(Demand { index: number, rate: 0.0, reach });
        }
        let reach = line.reach(demands.iter().map(|demand| demand.reach).sum());
        let capacity = line.left_by_production(reach);
        let rates = sharing::shares(&flows, capacity, |host| self.hosts[host].nic);
        for (demand, rate) in demands.iter_mut().zip(rates) {
            demand.rate = rate;
        }
        demands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r#virtual::{
        rivals::{Feedback, Policy},
        scenario,
    };

    const WORLD: &str = r#"
limit = "10m"

[[host]]
name = "a1"
site = "here"

[[host]]
name = "a2"
site = "here"

[[host]]
name = "b1"
site = "there"

[[link]]
from = "here"
to = ["there"]
capacity = "100MB/s"

[[vm]]
name = "small"
host = "a1"
memory = "500MB"
dirty_rate = "5MB/s"

[[vm]]
name = "large"
host = "a1"
memory = "1GB"

[[vm]]
name = "other"
host = "a2"
memory = "800MB"
state = "paused"

[[evacuation]]
from = ["here"]
to = ["there"]
initiator = "a1"
"#;

    const KINDS: [Kind; 7] = [
        Kind::AtOnce,
        Kind::PerHost,
        Kind::AtATime(1),
        Kind::AtATime(2),
        Kind::Kubevirt,
        Kind::Central(Feedback::Aggregate),
        Kind::Central(Feedback::Individual),
    ];

    fn run(text: &str, rival: Rival) -> crate::r#virtual::report::Report {
        let scenario = scenario::parse(text).unwrap();
        let mut world = World::under(&scenario, Policy::Rival(rival)).unwrap();
        let ended = world.run();
        world.report(&ended)
    }

    #[test]
    fn each_moves_everything_and_is_the_same_twice() {
        for kind in KINDS {
            let report = run(WORLD, Rival::plain(kind));
            assert_eq!((report.arrived, report.ended.as_str()), (3, "done"), "{kind}: {report:?}");
            assert!(report.total_s >= report.bound_total_s, "{kind}: {report:?}");
            assert_eq!(report.hash, run(WORLD, Rival::plain(kind)).hash, "{kind}");
        }
    }

    #[test]
    fn the_order_is_kept() {
        let order_of = |order| {
            let report = run(WORLD, Rival { order, ..Rival::plain(Kind::AtATime(1)) });
            let mut vms = report.vms;
            vms.sort_by(|left, right| left.start_s.partial_cmp(&right.start_s).unwrap());
            vms.into_iter().map(|vm| vm.name).collect::<Vec<_>>()
        };
        assert_eq!(order_of(Order::AsListed), ["small", "large", "other"]);
        assert_eq!(order_of(Order::SmallestFirst), ["small", "other", "large"]);
        assert_eq!(order_of(Order::LargestFirst), ["large", "other", "small"]);
    }

    #[test]
    fn a_central_program_is_dead_with_its_host_and_others_are_not() {
        let dead = format!("{WORLD}\n[[fault]]\nat = \"7s\"\nkind = \"crash\"\nhost = \"a1\"\n");
        let sequential = run(&dead, Rival::plain(Kind::AtATime(1)));
        assert_eq!(sequential.arrived, 1, "{sequential:?}");
        let again = format!("{dead}\n[[fault]]\nat = \"8s\"\nkind = \"start\"\nhost = \"a1\"\n");
        assert_eq!(run(&again, Rival::plain(Kind::AtATime(1))).arrived, 1);
        let by_itself = run(&again, Rival::plain(Kind::PerHost));
        assert_eq!(by_itself.arrived, 3, "{by_itself:?}");
    }

    #[test]
    fn more_streams_reach_more() {
        let far = WORLD.replace("\"100MB/s\"", "\"100MB/s\"\nrtt = \"200ms\"");
        let one = run(&far, Rival::plain(Kind::AtATime(1)));
        let eight = run(&far, Rival { streams: 8, ..Rival::plain(Kind::AtATime(1)) });
        assert!(eight.total_s < one.total_s / 2.0, "{} {}", eight.total_s, one.total_s);
    }
}
