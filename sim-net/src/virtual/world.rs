//! The world itself: what stands in it, and how one event leads to the next.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::Hasher,
};

use lifeboat_protocol::{
    Config, Directory, EvacuationId, Incarnation, Input, LinkId, Node, NodeId, SiteId, VmId,
    command::Command,
    directory::LinkSpec,
    input::HostSample,
    message::Message,
    output::{Notice, NoticeKind},
    units::BytesPerSec,
    vm::{Policy, RunState, Vm},
    wire,
};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    MILLISECOND, SECOND,
    carrier::Carrier,
    checks::{Checks, Violation, conservation::Holders},
    clock::Clock,
    event::{Event, Events, Story},
    host::Host,
    hypervisor::{Guest, Hypervisor, Place},
    link::Link,
    moves::{self, Move},
    nanoseconds,
    network::Network,
    rivals::Engine,
    scenario::{self, Scenario, VmState},
};
use crate::random::SplitMix;

/// One way between sites that no link joins.
const ELSEWHERE: u64 = 10 * MILLISECOND;
/// Notices of each host that are kept.
const NOTICES_KEPT: usize = 20;
/// Inputs at one moment of one host after which it counts as spinning.
const SPINS: u32 = 10_000;
/// How long everything must be at rest before a run counts as over.
const REST: u64 = 3 * SECOND;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything that could be done is done.
    Done,
    /// The scenario's limit came first.
    Limit,
    /// A check failed.
    Violated(Violation),
}

/// What a run was made of.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Events that happened.
    pub events: u64,
    /// Messages sent, each receiver of a broadcast counted.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Broadcasts.
    pub broadcasts: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Situations that occurred, by name.
    pub marks: BTreeMap<&'static str, u64>,
}

/// What one host's daemon cost since the world began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Bytes of messages that it sent; each receiver of a broadcast counts.
    pub sent_bytes: u64,
    /// Bytes of messages that reached it.
    pub received_bytes: u64,
    /// Time that its state machine took, nanoseconds of the clock given to
    /// [`World::time_daemons`].
    pub spent_ns: u64,
}

/// What is known of a VM from outside.
#[derive(Debug, Clone)]
pub(crate) struct Tracked {
    pub(crate) id: VmId,
    pub(crate) spec: scenario::Vm,
    /// The content that its one true copy has.
    pub(crate) stamp: u64,
    /// When its last move began to flow.
    pub(crate) began: Option<u64>,
    /// When it was first at rest outside of what is evacuated.
    pub(crate) safe: Option<u64>,
    /// How long it stood still, nanoseconds.
    pub(crate) still: u64,
}

/// A simulated world.
pub struct World {
    pub(crate) now: u64,
    pub(crate) scenario: Scenario,
    pub(crate) timing: scenario::Hypervisor,
    pub(crate) sites: Vec<String>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) hosts_by_id: BTreeMap<NodeId, usize>,
    pub(crate) links: Vec<Link>,
    /// Index of the link from one site to another, by their numbers.
    ways: Vec<Vec<Option<usize>>>,
    /// Hosts that may have tokens of each link.
    pub(crate) holders: Vec<Holders>,
    /// Hosts that have anything of a VM, with or without power.
    copies: BTreeMap<VmId, BTreeSet<usize>>,
    /// Hosts that issue each link's tokens.
    pub(crate) receivers: Vec<Vec<usize>>,
    /// Since when each link's receivers have been connected for long enough.
    pub(crate) whole_since: Vec<Option<u64>>,
    pub(crate) network: Network,
    pub(crate) moves: Vec<Move>,
    /// Whether the next step of the fluids is on its way.
    pub(crate) flows: bool,
    pub(crate) vms: BTreeMap<VmId, Tracked>,
    pub(crate) paused: BTreeMap<VmId, u64>,
    pub(crate) touched: BTreeSet<VmId>,
    pub(crate) died_with_host: BTreeSet<VmId>,
    pub(crate) evacuations: Vec<Option<(EvacuationId, u64)>>,
    /// Evacuations that nobody knows any more: every host that knew lost its journal.
    pub(crate) forgotten: Vec<bool>,
    pub(crate) events: Events,
    pub(crate) checks: Checks,
    pub(crate) stats: Stats,
    pub(crate) bytes_moved: f64,
    pub(crate) bytes_wasted: f64,
    /// When something last went wrong, and until when it lasts.
    pub(crate) disturbed_at: u64,
    pub(crate) disturbed_until: u64,
    pub(crate) calm_since: Option<u64>,
    pub(crate) config: Config,
    /// Who decides in place of the daemons, if not they.
    pub(crate) rival: Option<Engine>,
    directory: Directory,
    hash: Xxh3Default,
    random: SplitMix,
    rest_since: Option<u64>,
    next_stamp: u64,
    /// A clock of the world outside, in nanoseconds, if daemons are timed.
    clock_outside: Option<Box<dyn Fn() -> u64>>,
    /// From when on everything that daemons say and want is told, and to whom.
    pub(crate) tracer: Option<Tracer>,
}

/// From when on something is told, and to whom.
pub(crate) type Tracer = (u64, Box<dyn FnMut(String)>);

impl World {
    /// The world of a scenario, before anything has happened.
    ///
    /// # Errors
    /// A sentence, if the cluster that the scenario describes is none.
    pub fn new(scenario: &Scenario) -> Result<Self, String> {
        let seed = scenario.seed;
        let pairs: Vec<(String, String)> =
            scenario.hosts.iter().map(|host| (host.name.clone(), host.site.clone())).collect();
        let directory = Directory::new(&pairs, &link_specs(scenario))?;
        let own = Config::default();
        let config = Config { mesh: scenario.mesh.unwrap_or(own.mesh), ..own };
        config.check()?;
        let mut sites: Vec<String> = pairs.iter().map(|(_, site)| site.clone()).collect();
        sites.sort_unstable();
        sites.dedup();
        let mut clocks = SplitMix::named(seed, "clocks");
        let hosts: Vec<Host> = scenario
            .hosts
            .iter()
            .map(|spec| host(spec, &sites, 1000 * SECOND + clocks.below(1000 * SECOND)))
            .collect();
        let hosts_by_id: BTreeMap<NodeId, usize> =
            hosts.iter().enumerate().map(|(index, host)| (host.id, index)).collect();
        let links: Vec<Link> = scenario
            .links
            .iter()
            .map(|spec| {
                let far = SiteId::of(&spec.to[0]);
                let id = directory.link_between(SiteId::of(&spec.from), far);
                Link::new(id.expect("the directory has every link"), spec)
            })
            .collect();
        let ways = sites.iter().map(|from| {
            let way = |to: &String| {
                let id = directory.link_between(SiteId::of(from), SiteId::of(to))?;
                links.iter().position(|link| link.id == id)
            };
            sites.iter().map(way).collect()
        });
        let ways = ways.collect();
        let receivers = links
            .iter()
            .map(|link| directory.receivers(link.id).iter().map(|id| hosts_by_id[id]).collect())
            .collect();
        let mut world = Self {
            now: 0,
            timing: scenario.hypervisor,
            sites,
            whole_since: vec![Some(0); links.len()],
            hosts_by_id,
            receivers,
            ways,
            holders: links.iter().map(|_| Holders::default()).collect(),
            copies: BTreeMap::new(),
            links,
            network: Network::new(scenario.network, SplitMix::named(seed, "network").next()),
            moves: Vec::new(),
            flows: false,
            vms: BTreeMap::new(),
            paused: BTreeMap::new(),
            touched: BTreeSet::new(),
            died_with_host: BTreeSet::new(),
            evacuations: vec![None; scenario.evacuations.len()],
            forgotten: vec![false; scenario.evacuations.len()],
            events: Events::default(),
            checks: Checks::default(),
            stats: Stats::default(),
            bytes_moved: 0.0,
            bytes_wasted: 0.0,
            disturbed_at: 0,
            disturbed_until: 0,
            calm_since: None,
            config,
            rival: None,
            directory,
            hash: Xxh3Default::new(),
            random: SplitMix::named(seed, "world"),
            rest_since: None,
            next_stamp: 1,
            clock_outside: None,
            tracer: None,
            scenario: scenario.clone(),
            hosts,
        };
        world.place_vms();
        world.tell_the_story();
        Ok(world)
    }

    /// The same with a bug in every node, or in the world itself.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "planted")]
    pub fn with_bug(
        scenario: &Scenario,
        bug: lifeboat_protocol::planted::Bug,
    ) -> Result<Self, String> {
        let mut world = Self::new(scenario)?;
        world.config.planted = lifeboat_protocol::planted::Planted::one(bug);
        Ok(world)
    }

    /// The same with a constant of every node halved or doubled.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "tuning")]
    pub fn tuned(
        scenario: &Scenario,
        tuning: lifeboat_protocol::tuning::Tuning,
    ) -> Result<Self, String> {
        let mut world = Self::new(scenario)?;
        world.config.tuning = tuning;
        Ok(world)
    }

    fn place_vms(&mut self) {
        for (number, spec) in (1_u64..).zip(self.scenario.vms.clone()) {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&number.to_be_bytes());
            let vm = described(VmId(id), &spec);
            let host = self.hosts_by_id[&NodeId::of(&spec.host)];
            let place = match vm.state {
                RunState::Running => Place::Running,
                RunState::Paused => Place::Paused,
                RunState::ShutOff => Place::ShutOff,
            };
            let stamp = self.stamp();
            self.copies.entry(vm.id).or_default().insert(host);
            self.hosts[host].hypervisor.guests.insert(vm.id, Guest { vm, place, stamp });
            let tracked = Tracked { id: VmId(id), spec, stamp, began: None, safe: None, still: 0 };
            self.vms.insert(VmId(id), tracked);
        }
    }

    fn tell_the_story(&mut self) {
        let mut story: Vec<(u64, Story)> = Vec::new();
        for (index, host) in self.scenario.hosts.iter().enumerate() {
            let early = self.random.below(20 * MILLISECOND);
            story.push((nanoseconds(host.start) + early, Story::Start(index)));
            if let Some(power) = host.power {
                story.push((nanoseconds(power), Story::PowerEnds(index)));
            }
        }
        for (index, link) in self.scenario.links.iter().enumerate() {
            for (number, change) in link.changes.iter().enumerate() {
                story.push((nanoseconds(change.at), Story::Change(index, number)));
            }
        }
        for (index, evacuation) in self.scenario.evacuations.iter().enumerate() {
            story.push((nanoseconds(evacuation.at), Story::Evacuate(index)));
            if let Some(cancel) = evacuation.cancel {
                story.push((nanoseconds(cancel), Story::Cancel(index)));
            }
        }
        let mut calm = 0;
        for (index, fault) in self.scenario.faults.iter().enumerate() {
            let lasting = fault.kind.lasting().map_or(0, nanoseconds);
            calm = calm.max(nanoseconds(fault.at) + lasting);
            story.push((nanoseconds(fault.at), Story::Fault(index)));
        }
        let calm = self.scenario.calm.map_or(calm + 1, nanoseconds);
        if !self.scenario.faults.is_empty() {
            story.push((calm, Story::Calm));
        }
        for (at, story) in story {
            self.events.push(at, Event::Story(story));
        }
        self.events.push(moves::SAMPLE, Event::Sample);
        self.events.push(SECOND, Event::Figures);
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Ended {
        let limit = nanoseconds(self.scenario.limit);
        self.run_until(limit)
    }

    /// Runs until everything is done, but not beyond `end` (nanoseconds of the world's time).
    pub fn run_until(&mut self, end: u64) -> Ended {
        while let Some((at, event)) = self.events.pop_until(end) {
            self.now = self.now.max(at);
            self.stats.events += 1;
            self.note(&event);
            self.happen(event);
            self.check();
            if let Some(violation) = self.checks.found() {
                return Ended::Violated(violation);
            }
            if self.rest_since.is_some_and(|since| self.now - since > REST) {
                return Ended::Done;
            }
        }
        self.now = end;
        if end >= nanoseconds(self.scenario.limit) && self.rival.is_none() {
            self.check_at_the_end();
        }
        match self.checks.found() {
            Some(violation) => Ended::Violated(violation),
            None => Ended::Limit,
        }
    }

    /// Tells `tracer` everything that daemons say, hear and want from `from_ms` milliseconds on.
    pub fn trace(&mut self, from_ms: u64, tracer: impl FnMut(String) + 'static) {
        self.tracer = Some((from_ms * MILLISECOND, Box::new(tracer)));
    }

    /// Tells what a daemon does, if anybody listens.
    pub(crate) fn tell_tracer(&mut self, host: usize, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some((_, tracer)) = self.tracer.as_mut().filter(|(from, _)| now >= *from) {
            let (whole, rest) = (now / MILLISECOND, now % MILLISECOND / 1000);
            tracer(format!("{whole}.{rest:03} {} {}", self.hosts[host].name, what()));
        }
    }

    /// A hash of everything that has happened.
    pub fn hash(&self) -> u64 {
        self.hash.digest()
    }

    /// Times what daemons do by a clock of the world outside, in nanoseconds. It changes nothing.
    pub fn time_daemons(&mut self, clock: impl Fn() -> u64 + 'static) {
        self.clock_outside = Some(Box::new(clock));
    }

    /// What each host's daemon cost so far.
    pub fn loads(&self) -> Vec<Load> {
        self.hosts.iter().map(|host| host.load).collect()
    }

    /// Bytes of VMs that links have carried so far.
    pub fn carried_bytes(&self) -> f64 {
        self.links.iter().map(|link| link.carried).sum()
    }

    /// The world's time, nanoseconds since its beginning.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What it was made of so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn note(&mut self, event: &Event) {
        self.hash.write_u64(self.now);
        match event {
            Event::Deliver { from, to, bytes } => {
                self.hash.write_usize(*from << 20 | *to);
                self.hash.write(bytes);
            }
            Event::Wake { host } | Event::Lists { host } | Event::Thaw { host } => {
                self.hash.write_usize(1 << 40 | *host);
            }
            Event::Durable { host, sequence, .. } => {
                self.hash.write_u64(*sequence << 20 | *host as u64);
            }
            Event::Report { host, .. } | Event::Answer { host, .. } => {
                self.hash.write_usize(2 << 40 | *host);
            }
            Event::Flow | Event::Sample | Event::Figures | Event::Story(_) => {}
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, bytes } => {
                if self.message_way(from, to).is_some() && self.hosts[to].powered {
                    *self.network.received.entry(to).or_default() += bytes.len() as u64;
                    self.hosts[to].load.received_bytes += bytes.len() as u64;
                    let from = self.hosts[from].id;
                    self.tell(to, Input::Received { from, bytes: bytes.to_vec() });
                }
            }
            Event::Wake { host } => {
                if self.hosts[host].wake_at == self.now {
                    self.tell(host, Input::Wake);
                }
            }
            Event::Durable { host, life, sequence, changes } => {
                let one = &mut self.hosts[host];
                if one.life == life && one.daemon.is_some() {
                    one.journal.write(changes);
                    if std::mem::take(&mut one.journal.told_full) {
                        self.tell(host, Input::Journal(Ok(())));
                    }
                    self.tell(host, Input::Durable(sequence));
                }
            }
            Event::Report { host, input } => self.tell(host, input),
            Event::Answer { host, life, input } => {
                if self.hosts[host].life == life {
                    self.tell(host, input);
                }
            }
            Event::Thaw { host } => {
                if self.now >= self.hosts[host].frozen_until {
                    let waiting = std::mem::take(&mut self.hosts[host].waiting);
                    for input in waiting {
                        self.input(host, input);
                    }
                    self.input(host, Input::Wake);
                }
            }
            Event::Lists { host } => {
                self.hosts[host].change_told = true;
                self.tell_list(host);
            }
            Event::Flow => {
                self.flow();
                self.let_rival_decide();
            }
            Event::Sample => {
                self.sample();
                self.events.push(self.now + moves::SAMPLE, Event::Sample);
            }
            Event::Figures => {
                for host in 0..self.hosts.len() {
                    self.tell_figures(host);
                }
                self.let_rival_decide();
                self.look_around();
                self.events.push(self.now + SECOND, Event::Figures);
            }
            Event::Story(story) => {
                self.go_on(story);
                // Daemons die, stand still and come back, carriers die.
                (0..self.hosts.len()).for_each(|host| self.note_holder(host));
            }
        }
    }

    fn go_on(&mut self, story: Story) {
        match story {
            Story::Start(host) => self.start(host),
            Story::PowerEnds(host) => self.power_off(host),
            Story::Change(link, number) => {
                self.links[link].change(number);
                self.disturbed_at = self.now;
            }
            Story::Evacuate(number) => self.evacuate(number),
            Story::Cancel(number) => self.cancel(number),
            Story::Fault(number) => self.fault(number),
            Story::HypervisorBack(host) => {
                if self.hosts[host].hypervisor.down {
                    self.hypervisor_back(host);
                }
            }
            Story::Calm => self.calm_down(),
        }
    }

    /// A living host near the one that was named, where an operator types a command.
    fn console(&self, name: &str) -> Option<usize> {
        let awake = |host: &usize| self.hosts[*host].awake(self.now).is_some();
        let named = self.hosts.iter().position(|host| host.name == name);
        named.filter(awake).or_else(|| (0..self.hosts.len()).find(awake))
    }

    fn evacuate(&mut self, number: usize) {
        let spec = self.scenario.evacuations[number].clone();
        if self.rival.is_some() {
            self.evacuations[number] = Some((EvacuationId(number as u64 + 1), self.now));
            return self.let_rival_decide();
        }
        let Some(host) = self.console(&spec.initiator) else { return };
        let id = EvacuationId(((number as u64 + 1) << 32) | (self.random.next() >> 32));
        let is_site = |name: &&String| self.sites.contains(name);
        let command = Command::Evacuate {
            id,
            from_sites: spec.from.iter().filter(is_site).map(|name| SiteId::of(name)).collect(),
            from_hosts: spec
                .from
                .iter()
                .filter(|name| !is_site(name))
                .map(|name| NodeId::of(name))
                .collect(),
            to: spec.to.iter().map(|name| SiteId::of(name)).collect(),
            deadline_ms: spec.deadline.map(|span| span.0.as_millis() as u64),
        };
        self.evacuations[number] = Some((id, self.now));
        self.tell(host, Input::Command(command));
    }

    fn cancel(&mut self, number: usize) {
        let spec = &self.scenario.evacuations[number];
        let (abort, initiator) = (spec.abort, spec.initiator.clone());
        let Some((id, _)) = self.evacuations[number] else { return };
        let Some(host) = self.console(&initiator) else { return };
        // A daemon that has not heard of it yet refuses to cancel it.
        let knows = |node: &Node| node.evacuation_records().any(|record| record.id == id);
        if self.hosts[host].daemon.as_ref().is_some_and(knows) {
            self.checks.cancelled(id, self.now);
        }
        self.tell(host, Input::Command(Command::Cancel { id, abort }));
    }

    /// Starts, or restarts, a host's daemon.
    pub(crate) fn start(&mut self, host: usize) {
        let now = self.now;
        if self.rival.is_some() {
            return self.rival_starts(host);
        }
        let one = &mut self.hosts[host];
        if !one.powered || one.daemon.is_some() {
            return;
        }
        one.life += 1;
        one.journal.told_full = false;
        let mut config = self.config.clone();
        if let Some(lease) = self.scenario.hosts[host].lease {
            config.lease = lease.0;
        }
        let journal = one.journal.entries();
        let make = |journal: &[(Vec<u8>, Vec<u8>)]| {
            let life = Incarnation(one.life);
            let (config, directory) = (config.clone(), self.directory.clone());
            Node::new(one.local(now), one.id, life, config, directory, journal)
                .expect("the journal is readable")
        };
        let node = make(&journal);
        self.checks.replayed(&one.name, &node, &journal, make);
        // What the carrier was told to expect and the journal does not know is not expected any more.
        one.hypervisor.prepared.retain(|vm, id| {
            node.arrivals().get(*vm).is_some_and(|arrival| arrival.id == *id)
                || one.hypervisor.guests.get(vm).is_some_and(|one| one.place == Place::Incoming)
        });
        one.daemon = Some(node);
        one.sound_since = now;
        one.change_told = true;
        let life = one.life;
        if !self.hosts[host].hypervisor.down {
            self.changed(host);
        }
        let at = now + self.random.below(20 * MILLISECOND);
        self.events.push(at, Event::Answer { host, life, input: Input::Wake });
    }

    // ---- what a daemon hears

    /// Something on the host reports after a millisecond, unless that is lost or hangs.
    pub(crate) fn tell_soon(&mut self, host: usize, input: Input) {
        let hypervisor = &self.hosts[host].hypervisor;
        let from_hypervisor = !matches!(input, Input::Link(_));
        if from_hypervisor && self.now < hypervisor.reports_lost_until {
            *self.stats.marks.entry("a report was lost").or_default() += 1;
            return;
        }
        let at = self.now + MILLISECOND;
        let at = if from_hypervisor { at.max(hypervisor.hangs_until) } else { at };
        self.events.push(at, Event::Report { host, input });
    }

    /// The hypervisor answers a question of this life of the daemon.
    pub(crate) fn answer(&mut self, host: usize, after: u64, input: Input) {
        let one = &self.hosts[host];
        let (life, at) = (one.life, (self.now + after).max(one.hypervisor.hangs_until));
        if self.now >= one.hypervisor.reports_lost_until {
            self.events.push(at, Event::Answer { host, life, input });
        }
    }

    /// The hypervisor's list has changed.
    pub(crate) fn changed(&mut self, host: usize) {
        if std::mem::replace(&mut self.hosts[host].change_told, false) {
            let at = (self.now + 5 * MILLISECOND).max(self.hosts[host].hypervisor.hangs_until);
            self.events.push(at, Event::Lists { host });
        }
    }

    fn tell_list(&mut self, host: usize) {
        let hypervisor = &self.hosts[host].hypervisor;
        if self.hosts[host].powered && !hypervisor.down {
            let list = hypervisor.list();
            self.tell(host, Input::Vms(list));
        }
    }

    fn tell_figures(&mut self, host: usize) {
        let one = &self.hosts[host];
        if one.daemon.is_none() || one.hypervisor.down || self.now < one.hypervisor.hangs_until {
            return;
        }
        let used = one.hypervisor.memory_used();
        let left = |(at, known): (u64, bool)| known.then(|| at.saturating_sub(self.now));
        let sample = HostSample {
            memory_total: one.hypervisor.memory,
            memory_free: one.hypervisor.memory.saturating_sub(used),
            processors: 16,
            cpu_free_permille: 800,
            nic_speed: BytesPerSec(one.nic as u64),
            runtime_left_ms: one.power_ends.and_then(left).map(|left| left / MILLISECOND),
            ..HostSample::default()
        };
        self.tell_list(host);
        self.tell(host, Input::Host(sample));
    }

    /// Tells a daemon, now or when it wakes up.
    pub(crate) fn tell(&mut self, host: usize, input: Input) {
        let now = self.now;
        let one = &mut self.hosts[host];
        if one.daemon.is_none() {
            return;
        }
        let (slow_until, by) = one.slow;
        if now < one.frozen_until {
            one.waiting.push_back(input);
        } else if now < slow_until && one.waiting.is_empty() {
            one.waiting.push_back(input);
            one.frozen_until = now + by;
            self.events.push(now + by, Event::Thaw { host });
        } else {
            self.input(host, input);
        }
    }

    fn input(&mut self, host: usize, input: Input) {
        let now = self.now;
        let one = &mut self.hosts[host];
        let local = one.local(now);
        let Some(node) = one.daemon.as_mut() else { return };
        let heard = self.tracer.is_some().then(|| heard(&input)).flatten();
        let began = self.clock_outside.as_ref().map(|clock| clock());
        node.handle(local, input);
        let outputs: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
        let deadline = node.next_deadline();
        if let Some((clock, began)) = self.clock_outside.as_ref().zip(began) {
            one.load.spent_ns += clock().saturating_sub(began);
        }
        assert!(deadline > local, "{}: the deadline {deadline:?} is not after {local:?}", one.name);
        one.handled_here = if one.handled_at == now { one.handled_here + 1 } else { 0 };
        one.handled_at = now;
        assert!(one.handled_here < SPINS, "{} spins", one.name);
        let at = one.clock.when(deadline);
        if one.wake_at != at {
            one.wake_at = at;
            self.events.push(at, Event::Wake { host });
        }
        if let Some(heard) = heard {
            let tokens: Vec<u16> =
                self.links.iter().map(|l| self.hosts[host].tokens(now, l.id)).collect();
            self.tell_tracer(host, || format!("hears {heard}; has {tokens:?}"));
        }
        for output in outputs {
            self.execute(host, output);
        }
        self.hosts[host].count_tokens(now);
        self.note_holder(host);
    }

    pub(crate) fn notice(&mut self, host: usize, notice: Notice) {
        let mark = match notice.kind {
            NoticeKind::Rejected => "a message or command was refused",
            NoticeKind::Failed => "a move failed",
            NoticeKind::Unknown => "whereabouts were unknown",
            NoticeKind::Alarm => "an alarm was raised",
            _ => "something was told",
        };
        *self.stats.marks.entry(mark).or_default() += 1;
        let notices = &mut self.hosts[host].notices;
        if notices.len() == NOTICES_KEPT {
            notices.pop_front();
        }
        notices.push_back((self.now, notice));
    }

    // ---- what happens to guests

    fn stamp(&mut self) -> u64 {
        self.next_stamp += 1;
        self.next_stamp
    }

    /// Puts a copy on a host.
    pub(crate) fn put(&mut self, host: usize, guest: Guest) {
        self.touched.insert(guest.vm.id);
        self.copies.entry(guest.vm.id).or_default().insert(host);
        self.hosts[host].hypervisor.guests.insert(guest.vm.id, guest);
        self.changed(host);
    }

    /// Removes whatever a host has of a VM.
    pub(crate) fn remove(&mut self, host: usize, vm: VmId) {
        if self.hosts[host].hypervisor.guests.remove(&vm).is_some() {
            self.copies.entry(vm).or_default().remove(&host);
            self.touched.insert(vm);
            self.changed(host);
        }
    }

    /// A copy goes over into another state; one that runs has another content from then on.
    pub(crate) fn turn(&mut self, host: usize, vm: VmId, place: Place) {
        let stamp = self.stamp();
        let Some(guest) = self.hosts[host].hypervisor.guests.get_mut(&vm) else { return };
        guest.place = place;
        if place == Place::Running {
            // Of two copies that run, one is always the older: that is not what is wrong then.
            self.check_runs_twice(vm);
            let guest = self.hosts[host].hypervisor.guests.get_mut(&vm).expect("just seen");
            let tracked = self.vms.get_mut(&vm).expect("every VM is tracked");
            self.checks.resumed(self.now, &tracked.spec.name, guest.stamp, tracked.stamp);
            guest.stamp = stamp;
            tracked.stamp = stamp;
        }
        self.touched.insert(vm);
        self.changed(host);
    }

    /// A VM stood still from `paused_at` until now.
    pub(crate) fn stood_still(&mut self, vm: VmId, paused_at: Option<u64>) {
        if let (Some(at), Some(tracked)) = (paused_at, self.vms.get_mut(&vm)) {
            tracked.still += self.now - at;
        }
    }

    // ---- the paths between hosts

    /// Index of the link from one host's site to another's.
    pub(crate) fn link_of(&self, from: usize, to: usize) -> Option<usize> {
        self.ways[self.hosts[from].site][self.hosts[to].site]
    }

    pub(crate) fn one_way(&self, from: usize, to: usize) -> u64 {
        if self.hosts[from].site == self.hosts[to].site {
            return self.network.within_site();
        }
        let link = self.link_of(from, to).or_else(|| self.link_of(to, from));
        link.map_or(ELSEWHERE, |link| self.links[link].rtt / 2)
    }

    /// How long a message is on its way from one host to another; `None` if nothing passes: across a cut,
    /// unless a third host hears both and hands on what they say.
    pub(crate) fn message_way(&self, from: usize, to: usize) -> Option<u64> {
        if !self.network.is_cut(from, to) {
            return Some(self.one_way(from, to));
        }
        if !self.network.relays() || self.hosts.len() > self.config.mesh {
            return None;
        }
        let third = (0..self.hosts.len()).filter(|third| {
            let legs = [(from, *third), (*third, to)];
            self.hosts[*third].powered
                && self.hosts[*third].awake(self.now).is_some()
                && legs.iter().all(|(a, b)| a != b && !self.network.is_cut(*a, *b))
        });
        third.map(|third| self.one_way(from, third) + self.one_way(third, to)).min()
    }

    /// Whether two carriers can talk.
    pub(crate) fn path(&self, from: usize, to: usize) -> bool {
        self.hosts[from].powered
            && self.hosts[to].powered
            && !self.network.is_cut(from, to)
            && !self.network.is_cut(to, from)
    }

    // ---- how it stands

    /// Where a VM is, on hosts that have power.
    pub fn places(&self, vm: VmId) -> Vec<(usize, Place)> {
        let powered = self.copies_of(vm).filter(|host| self.hosts[*host].powered);
        powered.filter_map(|host| Some((host, self.hosts[host].hypervisor.place(vm)?))).collect()
    }

    /// Hosts that have anything of a VM, with or without power.
    pub(crate) fn copies_of(&self, vm: VmId) -> impl Iterator<Item = usize> {
        self.copies.get(&vm).into_iter().flatten().copied()
    }

    /// The one host on which a VM rests in the state that its owner left it in.
    ///
    /// What is left where a journal was lost is nobody's concern any more: the hypervisor marks it
    /// as migrated, and nothing lists it.
    pub(crate) fn home(&self, vm: VmId) -> Option<usize> {
        let mut places = self.places(vm);
        places.retain(|(host, place)| {
            *place != Place::MovedAway || !self.hosts[*host].journal.was_lost
        });
        match places.as_slice() {
            [(host, place)] => {
                let guest = &self.hosts[*host].hypervisor.guests[&vm];
                let kept = *place == Place::Arrived && guest.vm.state == RunState::Paused;
                (place.rests() || kept).then_some(*host)
            }
            _ => None,
        }
    }

    /// Whether an evacuation that is not cancelled empties a host.
    pub(crate) fn is_emptied(&self, host: usize) -> bool {
        let one = &self.hosts[host];
        let site = &self.sites[one.site];
        let started = self.evacuations.iter().zip(&self.forgotten);
        self.scenario.evacuations.iter().zip(started).any(|(spec, (started, forgotten))| {
            let over = spec.cancel.is_some_and(|at| self.now >= nanoseconds(at));
            let named = spec.from.iter().any(|name| name == &one.name || name == site);
            started.is_some() && !over && !forgotten && named
        })
    }

    /// Notes when a VM that has moved rests at last where nothing is emptied.
    pub(crate) fn note_safe(&mut self, vm: VmId) {
        let safe = self.home(vm).is_some_and(|host| !self.is_emptied(host));
        let now = self.now;
        if let Some(tracked) = self.vms.get_mut(&vm).filter(|_| safe) {
            tracked.safe.get_or_insert(now);
        }
    }

    fn note_forgotten(&mut self) {
        for (evacuation, forgotten) in self.evacuations.iter().zip(&mut self.forgotten) {
            let Some((id, _)) = evacuation else { continue };
            let mut daemons = self.hosts.iter().filter_map(|host| host.daemon.as_ref());
            *forgotten |= !daemons.any(|node| node.knows_of(*id));
        }
    }

    /// Looks once a second at what is slow to change: who is safe, what waits, what is at rest.
    fn look_around(&mut self) {
        let open = self.hosts.iter().filter_map(|host| host.daemon.as_ref()).any(|node| {
            node.departures().all().next().is_some() || node.arrivals().all().next().is_some()
        });
        let open = open || self.rival_has_work();
        let story_over = (self.scenario.faults.is_empty() || self.calm_since.is_some())
            && self.scenario.evacuations.iter().zip(&self.evacuations).all(|(spec, started)| {
                started.is_some()
                    && spec.cancel.is_none_or(|at| self.now > nanoseconds(at) + 10 * SECOND)
            });
        let daemons = self.rival.is_none();
        if daemons && self.calm_since.is_some_and(|since| self.now > since + SECOND) {
            self.note_forgotten();
        }
        let rests = !open && story_over && self.moves.is_empty() && !self.somebody_waits();
        self.rest_since = if rests { self.rest_since.or(Some(self.now)) } else { None };
        self.watch_liveness();
    }

    /// Whether a VM has still to go, or to come to rest.
    fn somebody_waits(&self) -> bool {
        self.vms.keys().filter(|vm| !self.died_with_host.contains(vm)).any(|vm| {
            // Where no host has room for it, nothing more will happen.
            let rests = |host| !self.is_emptied(host) || self.room_for(*vm, host).is_none();
            !self.home(*vm).is_some_and(rests)
        })
    }

    /// Everything worth knowing when a check fails.
    pub fn describe(&self) -> String {
        let mut text = format!("seed {} at {} ms\n", self.scenario.seed, self.now / MILLISECOND);
        for (index, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.daemon else {
                text += &format!("{}: powered {}, no daemon\n", host.name, host.powered);
                continue;
            };
            let now = host.local(self.now);
            let tokens: Vec<u16> =
                self.links.iter().map(|link| host.tokens(self.now, link.id)).collect();
            let issued: Vec<u16> = self.links.iter().map(|link| node.issued(link.id)).collect();
            text += &format!("{}: tokens {tokens:?}, issues {issued:?}", host.name);
            if self.is_emptied(index) {
                text += ", emptied";
            }
            text += "\n";
            for departure in node.departures().all() {
                let (name, phase) = (&departure.vm.name, &departure.phase);
                text += &format!("  out {name} {phase:?} left {}\n", departure.remaining());
            }
            for arrival in node.arrivals().all() {
                let (name, phase) = (&arrival.vm.name, arrival.phase);
                text += &format!("  in {name} {phase:?} committed {}\n", arrival.committed);
            }
            for one in node.vms_view(now).iter().filter(|one| one.host == host.name) {
                let vm = &one.vm;
                let (name, state) = (&vm.vm.name, vm.vm.state);
                text += &format!("  vm {name} {state:?} {:?} {:?}\n", vm.state, vm.reasons);
            }
            for guest in host.hypervisor.guests.values() {
                text += &format!("  guest {} {:?}\n", guest.vm.name, guest.place);
            }
            for (at, notice) in host.notices.iter().rev().take(8).rev() {
                let at = at / MILLISECOND;
                text += &format!("  {at} ms {:?} {}\n", notice.kind, notice.text);
            }
        }
        for one in &self.moves {
            text += &format!("{one:?}\n");
        }
        text
    }
}

/// An input worth telling, in words.
fn heard(input: &Input) -> Option<String> {
    match input {
        Input::Wake | Input::Vms(_) | Input::Host(_) | Input::Durable(_) => None,
        Input::Received { bytes, .. } => Some(said(bytes)),
        other => Some(format!("{other:?}")),
    }
}

/// A message in words.
pub(crate) fn said(bytes: &[u8]) -> String {
    match wire::decode::<Message>(bytes) {
        Ok(Message::Heartbeat(one)) => {
            let heads: Vec<_> =
                one.queue.head.iter().map(|vm| (vm.vm.0[15], vm.stage, vm.bytes >> 20)).collect();
            let tables: Vec<_> =
                one.tables.iter().map(|t| (t.version, t.slices.count_ones(), &t.entries)).collect();
            let accepted: Vec<_> =
                one.accepted.iter().map(|a| (a.issuer, a.version, &a.handed)).collect();
            format!(
                "heartbeat {} tables {tables:?} accepted {accepted:?} links {:?} queue {heads:?}",
                one.number, one.links
            )
        }
        Ok(Message::Addressed(one)) => format!("{one:?}"),
        Ok(Message::Inventory(one)) => format!("inventory {}", one.version),
        Ok(Message::Direct(direct)) => format!("{direct:?}"),
        Err(error) => format!("nonsense: {error}"),
    }
}

fn link_specs(scenario: &Scenario) -> Vec<LinkSpec> {
    let links = scenario.links.iter();
    let rate = |rate: lifeboat_units::Rate| BytesPerSec(rate.bytes_per_sec());
    links
        .map(|link| LinkSpec {
            from: link.from.clone(),
            to: link.to.clone(),
            ceiling: link.ceiling.map(rate),
            initial: rate(link.initial),
            reserve_permille: link.reserve_permille,
            window: Link::new(LinkId(0), link).window_of_one_move(),
        })
        .collect()
}

fn host(spec: &scenario::Host, sites: &[String], clock_starts: u64) -> Host {
    let memory = spec.memory.0;
    Host {
        name: spec.name.clone(),
        id: NodeId::of(&spec.name),
        site: sites.iter().position(|site| *site == spec.site).expect("every site is listed"),
        powered: true,
        power_ends: spec.power.map(|at| (nanoseconds(at), spec.power_known)),
        nic: spec.nic.bytes_per_sec() as f64,
        daemon: None,
        life: 0,
        clock: Clock::new(clock_starts, spec.clock_ppm),
        hypervisor: Hypervisor { memory, ..Hypervisor::default() },
        carrier: Carrier::default(),
        journal: Default::default(),
        frozen_until: 0,
        waiting: VecDeque::new(),
        slow: (0, 0),
        wake_at: 0,
        change_told: true,
        notices: VecDeque::new(),
        sound_since: 0,
        handled_at: 0,
        handled_here: 0,
        load: Load::default(),
    }
}

fn described(id: VmId, spec: &scenario::Vm) -> Vm {
    let state = match spec.state {
        VmState::Running => RunState::Running,
        VmState::Paused => RunState::Paused,
        VmState::ShutOff => RunState::ShutOff,
    };
    Vm {
        id,
        name: spec.name.clone(),
        state,
        memory: spec.memory.0,
        processors: 2,
        disk: spec.disk.0,
        dirty_rate: spec.dirty_rate.bytes_per_sec(),
        working_set: spec.working_set.map_or(0, |set| set.0),
        policy: Policy {
            priority: spec.priority,
            group: spec.group.clone(),
            stop_and_copy: spec.stop_and_copy,
            ..Policy::default()
        },
        obstacles: Vec::new(),
    }
}
