//! Three real nodes in a small obedient world, and a script that breaks everything around them.
//!
//! Two hosts of a failing site and one at the safe site; the nodes are the daemon's own. Mail,
//! journals and hypervisors are **models** that do as they are told. A script is bytes: each step
//! lets time pass, forges or changes messages, makes a hypervisor tell another story, kills a
//! daemon and starts it from its journal, or asks what an operator could ask.
//!
//! Invariants, asserted all the time:
//! - *total*: nothing panics, and what people and checkers are shown can be computed;
//! - *heard*: everything that a node says can be read by the others, in length and content;
//! - *bounded*: a node keeps no more than [`STATE_LIMIT`], and does not wake up without end.
//!
//! Whether VMs stay safe is not asked here: a listed node that lies is outside of what the protocol
//! promises. The simulator asks it of honest ones.

pub mod script;

use std::collections::{BTreeMap, VecDeque};

use lifeboat_protocol::{
    Config, Directory, EvacuationId, Incarnation, Input, Instant, LinkId, Node, NodeId, Output,
    SiteId, VmId,
    evacuation::State,
    ids::MoveId,
    input::{ArrivalEvent, DepartureEvent, HostSample, LinkSample},
    message::{HeldBack, Message},
    plan::Terms,
    units::BytesPerSec,
    vm::{Copy, Policy, Progress, RunState, Vm},
    wire,
};

use crate::{shorthand::Names, size::size};

/// Most bytes that one node may keep, whatever it was told by one script.
pub const STATE_LIMIT: u64 = 4 << 20;
/// Names and sites of the hosts.
pub const HOSTS: [(&str, &str); 3] = [("a1", "here"), ("a2", "here"), ("b1", "there")];
/// Most wake-ups of one node in a second.
const WAKE_UPS: u32 = 4000;
/// Most messages that lie around; more are lost.
const MAIL: usize = 400;
const MILLISECOND: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// A VM of the world, by number.
pub fn vm(number: u8) -> Vm {
    Vm {
        id: VmId([0xA0 + number; 16]),
        name: format!("vm{number}"),
        state: if number == 3 { RunState::ShutOff } else { RunState::Running },
        memory: 64 * MIB,
        processors: 1,
        disk: u64::from(number) * MIB,
        dirty_rate: u64::from(number) * MIB,
        working_set: 8 * MIB,
        policy: Policy::default(),
        obstacles: Vec::new(),
    }
}

/// Who is who in the world.
pub fn directory() -> Directory {
    let pairs = HOSTS.map(|(name, site)| (name.to_owned(), site.to_owned()));
    Directory::new(&pairs, &[]).expect("the world's own names are good")
}

/// The identifiers of the world, in the order in which the shorthand counts them.
pub fn names() -> Names {
    let directory = directory();
    let mut hashes: Vec<u64> = HOSTS.iter().map(|(name, _)| NodeId::of(name).0).collect();
    hashes.extend(["here", "there"].map(|site| SiteId::of(site).0));
    hashes.extend(directory.links().map(|(link, _)| link.0));
    Names { hashes, vms: (0..6).map(|number| vm(number).id.0).collect() }
}

/// A guest as the model hypervisor has it.
#[derive(Debug, Clone)]
struct Guest {
    vm: Vm,
    copy: Copy,
    /// The attempt that moves it away, and how many steps it has gone.
    leaves: Option<(MoveId, usize, u32)>,
}

#[derive(Clone)]
struct Host {
    id: NodeId,
    life: u64,
    node: Node,
    journal: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Answers of the hypervisor and the disk on their way to the daemon.
    answers: VecDeque<Input>,
    guests: BTreeMap<VmId, Guest>,
    disk_full: bool,
}

/// The world.
#[derive(Clone)]
pub struct World {
    now: u64,
    hosts: Vec<Host>,
    mail: VecDeque<(usize, usize, Vec<u8>)>,
    names: Names,
    link: LinkId,
}

impl World {
    /// A world whose first host finds this in its journal; nobody has said anything yet.
    ///
    /// # Errors
    /// What the first node says of its journal.
    pub fn new(journal: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, String> {
        let now = 1000 * MILLISECOND;
        let directory = directory();
        let mut journal = Some(journal);
        let mut hosts = Vec::new();
        for (index, (name, _)) in HOSTS.iter().enumerate() {
            let journal = journal.take().unwrap_or_default();
            let id = NodeId::of(name);
            let guests = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)];
            let guests = guests.iter().filter(|(_, host)| *host == index).map(|(number, _)| {
                let vm = vm(*number);
                let off = vm.state == RunState::ShutOff;
                let copy = if off { Copy::ShutOff } else { Copy::Running };
                (vm.id, Guest { vm, copy, leaves: None })
            });
            hosts.push(Host {
                id,
                life: 1,
                node: made(now, id, 1, &journal)?,
                journal,
                answers: VecDeque::new(),
                guests: guests.collect(),
                disk_full: false,
            });
        }
        let link = directory.link_between(SiteId::of("here"), SiteId::of("there"));
        let link = link.expect("all sites are linked");
        let mut world = Self { now, hosts, mail: VecDeque::new(), names: names(), link };
        for host in 0..world.hosts.len() {
            world.wake_hypervisor(host);
        }
        Ok(world)
    }

    /// Empties the failing site, asked for at its second host.
    pub fn evacuate(&mut self) {
        let command = lifeboat_protocol::command::Command::Evacuate {
            id: EvacuationId(1),
            from_sites: vec![SiteId::of("here")],
            from_hosts: Vec::new(),
            to: vec![SiteId::of("there")],
            deadline_ms: None,
        };
        self.tell(1, Input::Command(command));
    }

    /// Lets time pass: mail, answers, copying, wake-ups.
    pub fn pass(&mut self, milliseconds: u64) {
        const STEP: u64 = 50;
        let end = self.now.saturating_add(milliseconds.saturating_mul(MILLISECOND));
        while self.now < end {
            self.now = end.min(self.now + STEP * MILLISECOND);
            self.deliver();
            for (host, (name, _)) in HOSTS.iter().enumerate() {
                self.copy(host);
                let mut wake_ups = 0;
                while self.hosts[host].node.next_deadline().0 <= self.now {
                    self.tell(host, Input::Wake);
                    wake_ups += 1;
                    assert!(wake_ups < WAKE_UPS, "{name} wakes up without end");
                }
            }
        }
    }

    /// Whatever is shown to people is computed, and thrown away.
    pub fn look_at(&self, host: usize) {
        let node = &self.hosts[host].node;
        let now = Instant(self.now);
        drop((node.nodes_view(now), node.links_view(now), node.vms_view(now)));
        for view in node.evacuations_view(now) {
            drop(node.outcomes_view(view.id));
            assert!(view.state <= State::Aborted);
        }
        let _ = node.first_waiting(now);
        let terms = Terms {
            from_sites: vec![SiteId::of("here")],
            to: vec![SiteId::of("there")],
            ..Terms::default()
        };
        drop(node.plan(now, &terms));
    }

    /// What lies in the mail, for seeds.
    pub fn mail(&self) -> impl Iterator<Item = &[u8]> {
        self.mail.iter().map(|(_, _, bytes)| bytes.as_slice())
    }

    /// What a host has made durable, for seeds.
    pub fn journal(&self, host: usize) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.hosts[host].journal
    }

    fn tell(&mut self, host: usize, input: Input) {
        let now = Instant(self.now);
        self.hosts[host].node.handle(now, input);
        let mut outputs = 0;
        while let Some(output) = self.hosts[host].node.poll_output() {
            self.execute(host, output);
            outputs += 1;
            assert!(outputs < 5000, "{} wants more and more done", HOSTS[host].0);
        }
    }

    /// Asserts that no node keeps too much.
    fn weigh(&self) {
        for host in &self.hosts {
            let kept = size(&host.node);
            assert!(kept < STATE_LIMIT, "{:?} keeps {kept} bytes", host.id);
        }
    }

    fn deliver(&mut self) {
        for _ in 0..self.mail.len() {
            let Some((from, to, bytes)) = self.mail.pop_front() else { break };
            let from = self.hosts[from].id;
            self.tell(to, Input::Received { from, bytes });
        }
        for host in 0..self.hosts.len() {
            for _ in 0..self.hosts[host].answers.len() {
                let Some(input) = self.hosts[host].answers.pop_front() else { break };
                self.tell(host, input);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if self.mail.len() < MAIL {
            self.mail.push_back((from, to, bytes.to_vec()));
        }
    }

    fn execute(&mut self, host: usize, output: Output) {
        match output {
            Output::Broadcast(bytes) => {
                assert_can_be_heard(&bytes);
                for to in (0..self.hosts.len()).filter(|to| *to != host) {
                    self.send(host, to, &bytes);
                }
            }
            Output::Send { to, bytes } => {
                assert_can_be_heard(&bytes);
                if let Some(to) = self.hosts.iter().position(|one| one.id == to) {
                    self.send(host, to, &bytes);
                }
            }
            Output::Persist { sequence, changes } => {
                if self.hosts[host].disk_full {
                    let full = Input::Journal(Err("the disk is full".to_owned()));
                    self.hosts[host].answers.push_back(full);
                } else {
                    for change in changes {
                        match change.value {
                            Some(value) => self.hosts[host].journal.insert(change.key, value),
                            None => self.hosts[host].journal.remove(&change.key),
                        };
                    }
                    self.hosts[host].answers.push_back(Input::Durable(sequence));
                }
            }
            Output::Look { vm } => {
                let guest = self.hosts[host].guests.get(&vm);
                let copy = guest.map_or(Copy::Absent, |guest| guest.copy);
                let outgoing = guest.is_some_and(|guest| guest.leaves.is_some());
                self.hosts[host].answers.push_back(Input::Looked { vm, copy, outgoing });
            }
            Output::ReadDefinition { id } => {
                self.depart(host, id, DepartureEvent::Definition(Ok("<domain/>".to_owned())));
            }
            Output::BeginMove { id, vm, to, .. } => {
                let to = self.hosts.iter().position(|one| one.id == to);
                let begun = match (self.hosts[host].guests.get_mut(&id.vm), to) {
                    (Some(guest), Some(to)) => {
                        guest.leaves = Some((id, to, 0));
                        let incoming = Guest { vm, copy: Copy::Incoming, leaves: None };
                        self.hosts[to].guests.insert(id.vm, incoming);
                        Ok(())
                    }
                    _ => Err("there is nothing to move".to_owned()),
                };
                self.depart(host, id, DepartureEvent::Begun(begun));
            }
            Output::AbortMove { id } => {
                if let Some(guest) = self.hosts[host].guests.get_mut(&id.vm) {
                    guest.leaves = None;
                }
                self.depart(host, id, DepartureEvent::JobEnded(Err("aborted".to_owned())));
            }
            Output::DestroySource { id } => self.turn(host, id.vm, Copy::MovedAway),
            Output::ResumeSource { id } => {
                self.turn(host, id.vm, Copy::Running);
                self.depart(host, id, DepartureEvent::GuestResumed);
            }
            Output::Forget { id } | Output::Discard { id } => {
                self.hosts[host].guests.remove(&id.vm);
            }
            Output::PrepareArrival { id, vm, definition } => {
                if definition.is_some() {
                    let guest = Guest { vm, copy: Copy::ShutOff, leaves: None };
                    self.hosts[host].guests.insert(id.vm, guest);
                }
                let event = ArrivalEvent::Prepared(Ok(()));
                self.hosts[host].answers.push_back(Input::Arrival(id, event));
            }
            Output::Resume { id } => {
                self.turn(host, id.vm, Copy::Running);
                let event = ArrivalEvent::Resumed(Ok(()));
                self.hosts[host].answers.push_back(Input::Arrival(id, event));
            }
            Output::Grant { .. }
            | Output::OpenMove { .. }
            | Output::SetWeight { .. }
            | Output::SetGuest { .. }
            | Output::Escalate { .. }
            | Output::CloseMove { .. }
            | Output::Restore { .. }
            | Output::Notice(_) => {}
        }
    }

    fn depart(&mut self, host: usize, id: MoveId, event: DepartureEvent) {
        self.hosts[host].answers.push_back(Input::Departure(id, event));
    }

    fn turn(&mut self, host: usize, vm: VmId, copy: Copy) {
        if let Some(guest) = self.hosts[host].guests.get_mut(&vm) {
            guest.copy = copy;
        }
    }

    /// One step of everything that leaves a host: bytes, bytes, pause, gone.
    fn copy(&mut self, host: usize) {
        let leaving: Vec<(MoveId, usize, u32)> =
            self.hosts[host].guests.values().filter_map(|guest| guest.leaves).collect();
        for (id, to, step) in leaving {
            if let Some(guest) = self.hosts[host].guests.get_mut(&id.vm) {
                guest.leaves = (step < 4).then_some((id, to, step + 1));
            }
            match step {
                0 | 1 => {
                    let sent = u64::from(step) * 30 * MIB;
                    let progress = Progress {
                        remaining: 64 * MIB - sent,
                        sent,
                        wire: sent,
                        dirty_rate: MIB,
                        pass: step + 1,
                        rewritten_counted: true,
                    };
                    self.depart(host, id, DepartureEvent::Progress(progress));
                }
                2 => {
                    self.turn(host, id.vm, Copy::Switching);
                    self.depart(host, id, DepartureEvent::GuestPaused);
                }
                3 => {
                    self.turn(to, id.vm, Copy::Paused);
                    let event = ArrivalEvent::Complete;
                    self.hosts[to].answers.push_back(Input::Arrival(id, event));
                }
                _ => {
                    self.turn(host, id.vm, Copy::MovedAway);
                    self.depart(host, id, DepartureEvent::SourceGone);
                }
            }
        }
    }

    /// The figures and the list that a daemon asks for at its start and again and again.
    fn wake_hypervisor(&mut self, host: usize) {
        let sample = HostSample {
            memory_total: 4096 * MIB,
            memory_free: 2048 * MIB,
            processors: 8,
            cpu_free_permille: 900,
            runtime_left_ms: None,
            nic_sent: BytesPerSec(1000),
            nic_received: BytesPerSec(1000),
            nic_speed: BytesPerSec(1_250_000_000),
        };
        self.tell(host, Input::Host(sample));
        let shown = |guest: &&Guest| !matches!(guest.copy, Copy::Incoming | Copy::Absent);
        let list = self.hosts[host].guests.values().filter(shown).map(|guest| {
            let state = match guest.copy {
                Copy::ShutOff | Copy::MovedAway => RunState::ShutOff,
                Copy::Paused => RunState::Paused,
                _ => RunState::Running,
            };
            Vm { state, ..guest.vm.clone() }
        });
        let list = list.collect();
        self.tell(host, Input::Vms(list));
        let sample = LinkSample {
            link: self.link,
            sent: BytesPerSec(10_000_000),
            arrived: BytesPerSec(10_000_000),
            held_back: HeldBack::Tokens,
            round_trip: Some(std::time::Duration::from_millis(20)),
        };
        self.tell(host, Input::Link(sample));
    }

    /// Kills a daemon and starts it from its journal.
    fn restart(&mut self, host: usize) {
        let one = &mut self.hosts[host];
        one.life += 1;
        one.answers.clear();
        one.disk_full = false;
        one.node = made(self.now, one.id, one.life, &one.journal)
            .expect("a node reads what it wrote itself");
        self.wake_hypervisor(host);
    }
}

fn made(
    now: u64,
    id: NodeId,
    life: u64,
    journal: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<Node, String> {
    let journal: Vec<(Vec<u8>, Vec<u8>)> =
        journal.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Node::new(Instant(now), id, Incarnation(life), Config::default(), directory(), &journal)
}

fn assert_can_be_heard(bytes: &[u8]) {
    assert!(bytes.len() <= wire::LIMIT, "a message of {} bytes is said", bytes.len());
    let read = wire::decode::<Message>(bytes);
    assert!(read.is_ok(), "what is said cannot be read: {read:?}");
}
