//! A scripted world in virtual time: nodes, their hosts, and the network between them.
//!
//! One thread, one heap ordered by (time, sequence), one seed. Messages travel as encoded bytes.
//! Every invariant is checked after every event.

pub(crate) mod check;
pub(crate) mod hypervisor;
pub(crate) mod moves;
pub(crate) mod random;

use hypervisor::{ModelHypervisor, Place};
use lifeboat_protocol::{
    Config, Directory, EvacuationId, Incarnation, Input, Instant, LinkId, MoveId, Node, NodeId,
    Output, SiteId, VmId,
    command::Command,
    directory::LinkSpec,
    input::{ArrivalEvent, DepartureEvent, HostSample},
    journal::Change,
    output::{Notice, NoticeKind},
    units::BytesPerSec,
    vm::{Policy, RunState, Vm},
};
use random::Random;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MILLISECOND;
pub(crate) const MIB: u64 = 1 << 20;
const IN_SITE: u64 = 200_000;
const BETWEEN_SITES: u64 = 20 * MILLISECOND;
pub(crate) const DISK_FULL: &str = "no space left on device";
const SAMPLE: u64 = 250 * MILLISECOND;

/// How a world is made.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) sources: usize,
    pub(crate) safe: usize,
    /// What the link really carries, bytes per second.
    pub(crate) capacity: u64,
    /// What the nodes first believe.
    pub(crate) believed: u64,
    /// Memory of each host.
    pub(crate) memory: u64,
    pub(crate) loss_permille: u64,
    pub(crate) duplicate_permille: u64,
    /// Longest extra delay of a message.
    pub(crate) jitter: u64,
    /// Clocks drift by up to so many millionths.
    pub(crate) drift_ppm: u64,
}

impl Setup {
    pub(crate) fn new(sources: usize, safe: usize) -> Self {
        Self {
            seed: 1,
            sources,
            safe,
            capacity: 125_000_000,
            believed: 125_000_000,
            memory: 64 << 30,
            loss_permille: 0,
            duplicate_permille: 0,
            jitter: 0,
            drift_ppm: 0,
        }
    }

    pub(crate) fn lossy(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.loss_permille = 100;
        self.duplicate_permille = 50;
        self.jitter = 60 * MILLISECOND;
        self.drift_ppm = 10_000;
        self
    }
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    /// False once the whole host is dead.
    pub(crate) powered: bool,
    pub(crate) daemon: Option<Node>,
    pub(crate) hypervisor: ModelHypervisor,
    pub(crate) journal: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) heartbeats: u64,
    pub(crate) notices: Vec<Notice>,
    life: u64,
    drift_ppm: i64,
    clock_offset: u64,
    wake_at: u64,
    wakes_here: u32,
    handled_at: u64,
    grant: (BytesPerSec, Instant),
    carrier_tokens: u16,
    prepared: BTreeMap<VmId, MoveId>,
    /// While its disk is full or hangs: the number of the last write that waits, and all that wait.
    unwritten: Option<(u64, Vec<Change>)>,
    /// Whether its disk hangs: nobody says that a write failed.
    hangs: bool,
    /// Until when its daemon stands still.
    frozen_until: u64,
    change_told: bool,
    meter: moves::Meter,
    /// When its battery is said to be empty.
    pub(crate) power_until: Option<u64>,
}

impl Host {
    fn local(&self, now: u64) -> Instant {
        let drift = i128::from(now) * i128::from(self.drift_ppm) / 1_000_000;
        let local = i128::from(self.clock_offset) + i128::from(now) + drift;
        Instant(u64::try_from(local).expect("clocks start late enough"))
    }

    /// The world's time at which this host's clock shows `at`, or a little later.
    fn when(&self, at: Instant) -> u64 {
        let since = i128::from(at.0.saturating_sub(self.clock_offset));
        let when = since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        u64::try_from(when).expect("time is positive") + 2
    }
}

enum Event {
    Deliver { from: usize, to: usize, bytes: Vec<u8> },
    Wake { host: usize },
    Durable { host: usize, life: u64, sequence: u64, changes: Vec<Change> },
    Tell { host: usize, input: Input },
    Answer { host: usize, life: u64, input: Input },
    Lists { host: usize },
    Figures { host: usize },
    Flow,
    Sample,
    Second,
}

struct Queued {
    at: u64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) sources: usize,
    pub(crate) link: LinkId,
    pub(crate) capacity: u64,
    pub(crate) vms: Vec<VmId>,
    pub(crate) died_with_host: BTreeSet<VmId>,
    /// VMs that hypervisors were told to leave as they were before their moves.
    pub(crate) restored: Vec<VmId>,
    /// Planted bug: the model runs an arrival as soon as it is complete.
    pub(crate) runs_without_commit: bool,
    /// Whether a broken invariant ends the test at once.
    pub(crate) strict: bool,
    pub(crate) found: Vec<String>,
    pub(crate) flow_steps: u64,
    pub(crate) busy_permille_sum: u64,
    receivers_whole_from: u64,
    setup: Setup,
    directory: Directory,
    config: Config,
    random: Random,
    cuts: BTreeSet<(usize, usize)>,
    /// Messages find their way around a cut through a third host that hears both ends.
    pub(crate) relay: bool,
    moves: Vec<moves::Move>,
    queue: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
}

impl World {
    /// A world in which all daemons start at about the same time.
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut world = Self::unstarted(setup);
        for host in 0..world.hosts.len() {
            world.start(host);
        }
        world
    }

    /// A world in which no daemon runs yet.
    pub(crate) fn unstarted(setup: &Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let names: Vec<(String, String)> = (1..=setup.sources)
            .map(|number| (format!("a{number}"), "here".to_string()))
            .chain((1..=setup.safe).map(|number| (format!("b{number}"), "there".to_string())))
            .collect();
        let links = [LinkSpec {
            from: "here".into(),
            to: vec!["there".into()],
            ceiling: None,
            initial: BytesPerSec(setup.believed),
            reserve_permille: 50,
            window: 0,
        }];
        let directory = Directory::new(&names, &links).expect("a good directory");
        let link = directory
            .link_between(SiteId::of("here"), SiteId::of("there"))
            .expect("the link is configured");
        let hosts = names
            .iter()
            .map(|(name, _)| Host {
                name: name.clone(),
                id: NodeId::of(name),
                powered: true,
                daemon: None,
                hypervisor: ModelHypervisor { memory: setup.memory, ..Default::default() },
                journal: BTreeMap::new(),
                heartbeats: 0,
                notices: Vec::new(),
                life: 0,
                drift_ppm: random.below(2 * setup.drift_ppm + 1) as i64 - setup.drift_ppm as i64,
                clock_offset: 1000 * SECOND + random.below(1000 * SECOND),
                wake_at: 0,
                wakes_here: 0,
                handled_at: 0,
                grant: (BytesPerSec(0), Instant(0)),
                carrier_tokens: 0,
                prepared: BTreeMap::new(),
                unwritten: None,
                hangs: false,
                frozen_until: 0,
                change_told: true,
                meter: Default::default(),
                power_until: None,
            })
            .collect();
        let mut world = Self {
            now: 0,
            hosts,
            sources: setup.sources,
            link,
            capacity: setup.capacity,
            vms: Vec::new(),
            died_with_host: BTreeSet::new(),
            restored: Vec::new(),
            runs_without_commit: false,
            strict: true,
            found: Vec::new(),
            flow_steps: 0,
            busy_permille_sum: 0,
            receivers_whole_from: 0,
            setup: setup.clone(),
            directory,
            config: Config::default(),
            random,
            cuts: BTreeSet::new(),
            relay: false,
            moves: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
        };
        world.push(moves::STEP, Event::Flow);
        world.push(SAMPLE, Event::Sample);
        world.push(SECOND, Event::Second);
        world
    }

    // ---- what a test scripts

    /// Puts a VM on a host before its daemon hears of it.
    pub(crate) fn add_vm(&mut self, host: usize, memory: u64, dirty_rate: u64) -> VmId {
        self.add_vm_as(host, memory, dirty_rate, RunState::Running)
    }

    /// Puts a VM on a host in a state of the owner's choice.
    pub(crate) fn add_vm_as(
        &mut self,
        host: usize,
        memory: u64,
        dirty_rate: u64,
        state: RunState,
    ) -> VmId {
        let number = self.vms.len() as u64 + 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let vm = Vm {
            id: VmId(id),
            name: format!("vm{number}"),
            state,
            memory,
            processors: 2,
            disk: 0,
            dirty_rate,
            working_set: 0,
            policy: Policy::default(),
            obstacles: Vec::new(),
        };
        let place = match state {
            RunState::Running => Place::Running,
            RunState::Paused => Place::Paused,
            RunState::ShutOff => Place::ShutOff,
        };
        self.hosts[host].hypervisor.put(&vm, place);
        self.changed(host);
        self.vms.push(vm.id);
        vm.id
    }

    /// Starts, or restarts, a host's daemon.
    pub(crate) fn start(&mut self, host: usize) {
        let now = self.now;
        let one = &mut self.hosts[host];
        assert!(one.powered && one.daemon.is_none(), "{} cannot start now", one.name);
        one.life += 1;
        let journal: Vec<(Vec<u8>, Vec<u8>)> =
            one.journal.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let node = Node::new(
            one.local(now),
            one.id,
            Incarnation(one.life),
            self.config.clone(),
            self.directory.clone(),
            &journal,
        )
        .expect("the journal is readable");
        one.daemon = Some(node);
        let life = one.life;
        let at = now + self.random.below(20 * MILLISECOND);
        self.push(at, Event::Figures { host });
        self.push(at, Event::Answer { host, life, input: Input::Wake });
    }

    /// The daemon dies; hypervisor, carrier and journal live on.
    pub(crate) fn crash(&mut self, host: usize) {
        assert!(self.hosts[host].daemon.take().is_some(), "no daemon to kill");
    }

    /// The disk under a host's journal is full from now on.
    pub(crate) fn fill_disk(&mut self, host: usize) {
        self.hosts[host].unwritten = Some((0, Vec::new()));
    }

    /// The disk under a host's journal takes what is written and never says that it has.
    pub(crate) fn hang_disk(&mut self, host: usize) {
        self.fill_disk(host);
        self.hosts[host].hangs = true;
    }

    /// It takes writes again: all that waited is written.
    pub(crate) fn empty_disk(&mut self, host: usize) {
        let Some((sequence, changes)) = self.hosts[host].unwritten.take() else { return };
        if !std::mem::take(&mut self.hosts[host].hangs) {
            self.answer(host, MILLISECOND, Input::Journal(Ok(())));
        }
        let life = self.hosts[host].life;
        let at = self.now + MILLISECOND;
        self.push(at, Event::Durable { host, life, sequence, changes });
    }

    /// A host's daemon stands still for so long; what happens meanwhile it hears when it wakes.
    pub(crate) fn freeze(&mut self, host: usize, duration: Duration) {
        self.hosts[host].frozen_until = self.now + duration.as_nanos() as u64;
    }

    /// The whole host dies with everything on it.
    pub(crate) fn kill_host(&mut self, host: usize) {
        let one = &mut self.hosts[host];
        one.daemon = None;
        one.powered = false;
        let on_it: Vec<VmId> = one.hypervisor.guests.keys().copied().collect();
        for vm in on_it {
            let elsewhere = self.hosts.iter().filter(|host| host.powered).any(|host| {
                host.hypervisor.guests.get(&vm).is_some_and(hypervisor::Guest::is_whole)
            });
            if !elsewhere {
                self.died_with_host.insert(vm);
            }
        }
    }

    /// Nothing passes from any of `from` to any of `to`.
    pub(crate) fn cut_one_way(&mut self, from: &[usize], to: &[usize]) {
        for from in from {
            for to in to {
                self.cuts.insert((*from, *to));
                if *from >= self.sources && *to >= self.sources {
                    self.receivers_whole_from = u64::MAX;
                }
            }
        }
    }

    /// Nothing passes between `left` and `right`.
    pub(crate) fn cut(&mut self, left: &[usize], right: &[usize]) {
        self.cut_one_way(left, right);
        self.cut_one_way(right, left);
    }

    /// Everything passes again.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        if self.receivers_whole_from == u64::MAX {
            self.receivers_whole_from = self.now + 10 * SECOND;
        }
    }

    /// Conservation is to be checked although a cut runs between receivers: in one direction they
    /// still hear each other.
    pub(crate) fn check_receivers_although_cut(&mut self) {
        self.receivers_whole_from = 0;
    }

    /// Both sites.
    pub(crate) fn sites(&self) -> (Vec<usize>, Vec<usize>) {
        ((0..self.sources).collect(), (self.sources..self.hosts.len()).collect())
    }

    /// Starts an evacuation of the first site at a host.
    pub(crate) fn evacuate(&mut self, host: usize) -> EvacuationId {
        let id = EvacuationId(self.random.next());
        self.command(host, self.evacuation(id));
        id
    }

    pub(crate) fn evacuation(&self, id: EvacuationId) -> Command {
        Command::Evacuate {
            id,
            from_sites: vec![SiteId::of("here")],
            from_hosts: Vec::new(),
            to: vec![SiteId::of("there")],
            deadline_ms: None,
        }
    }

    pub(crate) fn command(&mut self, host: usize, command: Command) {
        self.input(host, Input::Command(command));
        self.check();
    }

    /// A running daemon.
    pub(crate) fn node(&self, host: usize) -> &Node {
        self.hosts[host].daemon.as_ref().expect("the daemon runs")
    }

    /// What this host's clock shows.
    pub(crate) fn local(&self, host: usize) -> Instant {
        self.hosts[host].local(self.now)
    }

    /// Lets `duration` pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration.as_nanos() as u64;
        while self.step_before(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`; panics when that takes longer than `limit`.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&World) -> bool,
    ) -> Duration {
        let from = self.now;
        let end = from + limit.as_nanos() as u64;
        while !done(self) {
            if !self.step_before(end) {
                panic!("{what}: not within {limit:?}\n{}", self.describe());
            }
        }
        Duration::from_nanos(self.now - from)
    }

    /// Everything worth knowing when a test fails.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("seed {} at {} ms\n", self.setup.seed, self.now / MILLISECOND);
        for (index, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.daemon else {
                text += &format!("{}: powered {}, no daemon\n", host.name, host.powered);
                continue;
            };
            let now = host.local(self.now);
            text += &format!(
                "{}: tokens {}, issues {}, rate {:?}\n",
                host.name,
                self.tokens_of(index),
                node.issued(self.link),
                self.granted_rate(index) as u64,
            );
            for departure in node.departures().all() {
                text += &format!(
                    "  out {} {:?} left {}\n",
                    departure.vm.name,
                    departure.phase,
                    departure.remaining()
                );
            }
            for arrival in node.arrivals().all() {
                text += &format!(
                    "  in {} {:?} committed {}\n",
                    arrival.vm.name, arrival.phase, arrival.committed
                );
            }
            for one in node.vms_view(now).iter().filter(|one| one.host == host.name) {
                text += &format!(
                    "  vm {} {:?} {:?} {:?}\n",
                    one.vm.vm.name, one.vm.vm.state, one.vm.state, one.vm.reasons
                );
            }
            for notice in host.notices.iter().rev().take(6).rev() {
                text += &format!("  {:?} {}\n", notice.kind, notice.text);
            }
        }
        for one in &self.moves {
            text += &format!("{one:?}\n");
        }
        text
    }

    /// All notices of a kind, from all hosts.
    pub(crate) fn notices(&self, kind: NoticeKind) -> Vec<&Notice> {
        let all = self.hosts.iter().flat_map(|host| &host.notices);
        all.filter(|notice| notice.kind == kind).collect()
    }

    /// Feeds one input to a daemon now.
    pub(crate) fn input(&mut self, host: usize, input: Input) {
        let now = self.now;
        let one = &mut self.hosts[host];
        if now < one.frozen_until {
            let at = one.frozen_until;
            return self.push(at, Event::Tell { host, input });
        }
        let local = one.local(now);
        let Some(node) = one.daemon.as_mut() else { return };
        node.handle(local, input);
        let mut outputs = Vec::new();
        while let Some(output) = node.poll_output() {
            outputs.push(output);
        }
        let deadline = node.next_deadline();
        assert!(
            deadline > local,
            "{}: the next deadline {deadline:?} is not after {local:?}",
            one.name
        );
        one.wakes_here = if one.handled_at == now { one.wakes_here + 1 } else { 0 };
        one.handled_at = now;
        assert!(one.wakes_here < 10_000, "{} spins", one.name);
        let at = one.when(deadline);
        one.wake_at = at;
        self.push(at, Event::Wake { host });
        for output in outputs {
            self.execute(host, output);
        }
    }

    // ---- the machinery

    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Queued { at, sequence: self.sequence, event }));
    }

    /// A daemon hears of something on its own host after a millisecond.
    fn soon(&mut self, host: usize, input: Input) {
        self.push(self.now + MILLISECOND, Event::Tell { host, input });
    }

    fn answer(&mut self, host: usize, after: u64, input: Input) {
        let life = self.hosts[host].life;
        self.push(self.now + after, Event::Answer { host, life, input });
    }

    /// The hypervisor's list has changed.
    pub(crate) fn changed(&mut self, host: usize) {
        if std::mem::replace(&mut self.hosts[host].change_told, false) {
            self.push(self.now + 5 * MILLISECOND, Event::Lists { host });
        }
    }

    /// The hypervisor says what it has of a VM.
    fn look(&mut self, host: usize, vm: VmId) {
        let copy = self.hosts[host].hypervisor.look(vm);
        let outgoing = self.is_outgoing(host, vm);
        self.answer(host, 2 * MILLISECOND, Input::Looked { vm, copy, outgoing });
    }

    fn step_before(&mut self, end: u64) -> bool {
        let next = self.queue.peek().is_some_and(|Reverse(next)| next.at <= end);
        if !next {
            return false;
        }
        let Reverse(next) = self.queue.pop().expect("just seen");
        self.now = self.now.max(next.at);
        self.happen(next.event);
        self.check();
        true
    }

    fn check(&mut self) {
        let found = self.violations();
        if self.strict && !found.is_empty() {
            panic!("{found:#?}\n{}", self.describe());
        }
        self.found.extend(found);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, bytes } => {
                if self.message_way(from, to).is_some() {
                    let from = self.hosts[from].id;
                    self.input(to, Input::Received { from, bytes });
                }
            }
            Event::Wake { host } => {
                if self.hosts[host].wake_at == self.now {
                    self.input(host, Input::Wake);
                }
            }
            Event::Durable { host, life, sequence, changes } => {
                let one = &mut self.hosts[host];
                if one.life != life || one.daemon.is_none() {
                    return;
                }
                for change in changes {
                    match change.value {
                        Some(value) => one.journal.insert(change.key, value),
                        None => one.journal.remove(&change.key),
                    };
                }
                self.input(host, Input::Durable(sequence));
            }
            Event::Tell { host, input } => self.input(host, input),
            Event::Answer { host, life, input } => {
                if self.hosts[host].life == life {
                    self.input(host, input);
                }
            }
            Event::Lists { host } => {
                self.hosts[host].change_told = true;
                let vms = self.hosts[host].hypervisor.list();
                self.input(host, Input::Vms(vms));
            }
            Event::Figures { host } => self.tell_figures(host),
            Event::Flow => {
                self.flow();
                self.push(self.now + moves::STEP, Event::Flow);
            }
            Event::Sample => {
                self.sample();
                self.push(self.now + SAMPLE, Event::Sample);
            }
            Event::Second => {
                for host in 0..self.hosts.len() {
                    self.tell_figures(host);
                }
                self.push(self.now + SECOND, Event::Second);
            }
        }
    }

    /// The hypervisor's list, and the figures that hold it.
    fn tell_figures(&mut self, host: usize) {
        let Host { hypervisor, power_until, .. } = &self.hosts[host];
        let sample = HostSample {
            runtime_left_ms: power_until.map(|until| until.saturating_sub(self.now) / MILLISECOND),
            memory_total: hypervisor.memory,
            memory_free: hypervisor.memory - hypervisor.memory_used(),
            processors: 16,
            cpu_free_permille: 800,
            nic_speed: BytesPerSec(1_250_000_000),
            ..HostSample::default()
        };
        let vms = hypervisor.list();
        self.input(host, Input::Vms(vms));
        self.input(host, Input::Host(sample));
    }

    fn index(&self, id: NodeId) -> usize {
        self.hosts.iter().position(|host| host.id == id).expect("only listed nodes are spoken to")
    }

    fn one_way(&self, from: usize, to: usize) -> u64 {
        if (from < self.sources) == (to < self.sources) { IN_SITE } else { BETWEEN_SITES }
    }

    fn round_trip(&self, from: usize, to: usize) -> u64 {
        2 * self.one_way(from, to)
    }

    /// Whether two carriers can talk.
    fn path(&self, from: usize, to: usize) -> bool {
        self.hosts[from].powered
            && self.hosts[to].powered
            && !self.cuts.contains(&(from, to))
            && !self.cuts.contains(&(to, from))
    }

    /// What a host's carrier may send now, bytes per second.
    fn granted_rate(&self, host: usize) -> f64 {
        let (rate, until) = self.hosts[host].grant;
        if self.local(host) < until { rate.0 as f64 } else { 0.0 }
    }

    /// Tokens that a host may be using: its daemon's, or those that a dead daemon left with the
    /// carrier.
    fn tokens_of(&self, host: usize) -> u16 {
        let one = &self.hosts[host];
        if !one.powered {
            return 0;
        }
        let local = self.local(host);
        let left = if local < one.grant.1 { one.carrier_tokens } else { 0 };
        match &one.daemon {
            Some(node) => node.usable_tokens(local, self.link).max(left),
            None => left,
        }
    }

    fn message_way(&self, from: usize, to: usize) -> Option<u64> {
        if !self.cuts.contains(&(from, to)) {
            return Some(self.one_way(from, to));
        }
        let third = (0..self.hosts.len()).filter(|third| {
            let open = |from, to| from != to && !self.cuts.contains(&(from, to));
            self.hosts[*third].daemon.is_some() && open(from, *third) && open(*third, to)
        });
        let third = third.filter(|_| self.relay);
        third.map(|third| self.one_way(from, third) + self.one_way(third, to)).min()
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let Some(way) = self.message_way(from, to) else { return };
        if self.random.chance(self.setup.loss_permille) {
            return;
        }
        let copies = if self.random.chance(self.setup.duplicate_permille) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = way + self.random.below(self.setup.jitter + 1);
            self.push(self.now + delay, Event::Deliver { from, to, bytes: bytes.to_vec() });
        }
    }

    fn execute(&mut self, host: usize, output: Output) {
        match output {
            Output::Broadcast(bytes) => {
                // A heartbeat is the first kind of message.
                self.hosts[host].heartbeats += u64::from(bytes.get(1) == Some(&0));
                for to in (0..self.hosts.len()).filter(|to| *to != host) {
                    self.send(host, to, &bytes);
                }
            }
            Output::Send { to, bytes } => self.send(host, self.index(to), &bytes),
            Output::Persist { sequence, changes } => {
                if let Some((last, waiting)) = &mut self.hosts[host].unwritten {
                    *last = sequence;
                    waiting.extend(changes);
                    if self.hosts[host].hangs {
                        return;
                    }
                    let full = Input::Journal(Err(DISK_FULL.into()));
                    return self.answer(host, MILLISECOND, full);
                }
                let life = self.hosts[host].life;
                let at = self.now + MILLISECOND;
                self.push(at, Event::Durable { host, life, sequence, changes });
            }
            Output::Grant { rate, until, .. } => {
                let tokens = self.node(host).usable_tokens(self.local(host), self.link);
                let one = &mut self.hosts[host];
                one.grant = (rate, until);
                one.carrier_tokens = tokens;
            }
            Output::Look { vm } => {
                self.look(host, vm);
            }
            Output::ReadDefinition { id } => {
                let event = DepartureEvent::Definition(Ok("<domain/>".into()));
                self.answer(host, 3 * MILLISECOND, Input::Departure(id, event));
            }
            Output::OpenMove { .. } | Output::SetGuest { .. } => {}
            Output::BeginMove { id, vm, to, .. } => {
                let to = self.index(to);
                self.begin(host, id, vm, to);
            }
            Output::SetWeight { id, weight } => self.set_weight(id, weight),
            Output::Escalate { id, step } => self.escalate(id, step),
            Output::AbortMove { id } => self.abort(id),
            Output::DestroySource { id } => {
                let hypervisor = &mut self.hosts[host].hypervisor;
                if hypervisor.place(id.vm).is_some() {
                    hypervisor.turn(id.vm, Place::Switching, Place::MovedAway);
                    hypervisor.turn(id.vm, Place::Running, Place::MovedAway);
                    self.changed(host);
                }
            }
            Output::ResumeSource { id } => {
                let hypervisor = &mut self.hosts[host].hypervisor;
                if hypervisor.turn(id.vm, Place::Switching, Place::Running) {
                    self.soon(host, Input::Departure(id, DepartureEvent::GuestResumed));
                }
            }
            Output::Forget { id } => {
                let hypervisor = &mut self.hosts[host].hypervisor;
                let place = hypervisor.place(id.vm);
                if matches!(place, Some(Place::MovedAway | Place::ShutOff)) {
                    hypervisor.guests.remove(&id.vm);
                    self.changed(host);
                }
            }
            Output::Restore { vm } => {
                assert_eq!(self.hosts[host].hypervisor.place(vm), Some(Place::ShutOff));
                self.restored.push(vm);
            }
            Output::PrepareArrival { id, vm, definition } => {
                self.hosts[host].prepared.insert(vm.id, id);
                if definition.is_some() {
                    self.hosts[host].hypervisor.put(&vm, Place::ShutOff);
                    self.changed(host);
                }
                let event = ArrivalEvent::Prepared(Ok(()));
                self.answer(host, 20 * MILLISECOND, Input::Arrival(id, event));
            }
            Output::Resume { id } => {
                let hypervisor = &mut self.hosts[host].hypervisor;
                let done = if hypervisor.turn(id.vm, Place::Arrived, Place::Running) {
                    self.changed(host);
                    Ok(())
                } else {
                    Err("there is nothing to resume".to_string())
                };
                let event = ArrivalEvent::Resumed(done);
                self.answer(host, 5 * MILLISECOND, Input::Arrival(id, event));
            }
            Output::Discard { id } => {
                self.hosts[host].hypervisor.guests.remove(&id.vm);
                self.changed(host);
            }
            Output::CloseMove { id } => {
                self.close_carried(host, id);
                let prepared = &mut self.hosts[host].prepared;
                if prepared.get(&id.vm) == Some(&id) {
                    prepared.remove(&id.vm);
                }
            }
            Output::Notice(notice) => self.hosts[host].notices.push(notice),
        }
    }
}
