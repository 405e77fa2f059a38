//! The steps of a script.

use lifeboat_protocol::{
    EvacuationId, Input, LinkId, NodeId, SiteId,
    command::Command,
    ids::MoveId,
    input::{ArrivalEvent, DepartureEvent, HostSample, LinkSample},
    message::HeldBack,
    units::BytesPerSec,
    vm::{Copy, Progress},
    wire,
};

use super::{Guest, HOSTS, World, vm};

/// Most steps of one script.
const STEPS: usize = 200;

/// Step: a well-formed version byte, then the rest of a message. For seeds.
pub const SAY: u8 = 1;
/// Step: time passes. For seeds.
pub const PASS: u8 = 0;

/// A step in which a node is said to have sent a message, as [`World::play`] reads it.
///
/// # Panics
/// If the message is longer than what a step can hold.
pub fn say(from: u8, to: u8, message: &[u8]) -> Vec<u8> {
    let body = &message[1..];
    let length = u16::try_from(body.len()).expect("a message is short");
    [&[SAY, from, to][..], &length.to_le_bytes(), body].concat()
}

/// Takes choices from bytes; zeros once they have run out.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Small numbers and telling ones take one byte, all others nine.
    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => 1 << 63,
            252 => u64::from(u32::MAX),
            251 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small @ 0..=200 => small.into(),
            shift => 1 << (shift - 200),
        }
    }

    fn bytes(&mut self, length: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

impl World {
    /// Plays a script to its end, and lets things settle.
    pub fn play(&mut self, script: &[u8]) {
        let mut script = Script(script);
        for _ in 0..STEPS {
            if script.0.is_empty() {
                break;
            }
            self.step(&mut script);
            self.weigh();
        }
        self.pass(400);
        self.weigh();
        (0..HOSTS.len()).for_each(|host| self.look_at(host));
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            PASS => {
                let time = script.byte();
                self.pass(u64::from(time) * 4);
            }
            SAY => self.forge(script, true),
            2 => self.forge(script, false),
            3 => {
                let (at, value) = (usize::from(script.short()), script.byte());
                let which = script.below(self.mail.len());
                if let Some((_, _, bytes)) = self.mail.get_mut(which)
                    && let Some(byte) = bytes.get_mut(at)
                {
                    *byte = value;
                }
            }
            4 => {
                let which = script.below(self.mail.len());
                drop(self.mail.remove(which));
            }
            5 => {
                let which = script.below(self.mail.len());
                if let Some((from, to, bytes)) = self.mail.get(which).cloned() {
                    self.send(from, to, &bytes);
                }
            }
            6 => self.another_story(script),
            7 => self.departure_event(script),
            8 => self.arrival_event(script),
            9 => {
                let host = script.below(HOSTS.len());
                self.restart(host);
            }
            10 => {
                let host = script.below(HOSTS.len());
                let command = self.command(script);
                self.tell(host, Input::Command(command));
            }
            11 => self.figures(script),
            12 => self.flood(script),
            13 => {
                let host = script.below(HOSTS.len());
                match script.byte() % 4 {
                    0 => self.tell(host, Input::HypervisorDown("it hangs".to_owned())),
                    1 => self.tell(host, Input::Vms(Vec::new())),
                    2 => {
                        let one = &mut self.hosts[host];
                        one.disk_full ^= true;
                        if !one.disk_full {
                            one.answers.push_back(Input::Journal(Ok(())));
                        }
                    }
                    _ => self.wake_hypervisor(host),
                }
            }
            14 => {
                // A daemon that stood still for long.
                let jump = script.number() % (1 << 50);
                self.now = self.now.saturating_add(jump);
                self.pass(100);
            }
            _ => {
                let host = script.below(HOSTS.len());
                self.look_at(host);
                self.evacuate();
            }
        }
    }

    /// A message that nobody sent.
    fn forge(&mut self, script: &mut Script<'_>, versioned: bool) {
        let from = script.below(HOSTS.len() + 1);
        let to = script.below(HOSTS.len());
        let length = usize::from(script.short());
        let body = script.bytes(length).to_vec();
        let mut bytes = if versioned { vec![wire::VERSION] } else { Vec::new() };
        bytes.extend(self.names.spell_out(&body));
        let from = self.hosts.get(from).map_or(NodeId::of("a stranger"), |host| host.id);
        self.tell(to, Input::Received { from, bytes });
    }

    /// The same message many times, with other numbers in one place.
    fn flood(&mut self, script: &mut Script<'_>) {
        let (from, to) = (script.below(HOSTS.len()), script.below(HOSTS.len()));
        let at = usize::from(script.short());
        let length = usize::from(script.short());
        let body = self.names.spell_out(script.bytes(length));
        let from = self.hosts[from].id;
        for number in 0..128_u64 {
            let mut bytes = vec![wire::VERSION];
            bytes.extend(&body);
            for (place, value) in bytes.iter_mut().skip(1 + at).zip(number.to_le_bytes()).take(1) {
                *place = value;
            }
            self.tell(to, Input::Received { from, bytes });
        }
    }

    /// The hypervisor has something else than was thought.
    fn another_story(&mut self, script: &mut Script<'_>) {
        let host = script.below(HOSTS.len());
        let vm = vm(script.byte() % 6);
        let copy = match script.byte() % 8 {
            0 => Copy::Absent,
            1 => Copy::Running,
            2 => Copy::Paused,
            3 => Copy::Incoming,
            4 => Copy::Switching,
            5 => Copy::MovedAway,
            6 => Copy::ShutOff,
            _ => {
                self.hosts[host].guests.remove(&vm.id);
                return;
            }
        };
        let mut vm = vm;
        if script.byte() % 2 == 1 {
            vm.memory = script.number();
            vm.disk = script.number();
            vm.dirty_rate = script.number();
            vm.working_set = script.number();
            vm.policy.priority = script.byte();
            vm.policy.max_downtime_ms = script.number();
            vm.policy.max_downtime_escalated_ms = script.number();
            vm.policy.stop_and_copy = script.byte() % 2 == 1;
            vm.policy.post_copy = script.byte() % 2 == 1;
        }
        self.hosts[host].guests.insert(vm.id, Guest { vm, copy, leaves: None });
        self.wake_hypervisor(host);
    }

    fn an_attempt(&self, host: usize, script: &mut Script<'_>, departs: bool) -> MoveId {
        let node = &self.hosts[host].node;
        let ids: Vec<MoveId> = if departs {
            node.departures().all().map(|departure| departure.id).collect()
        } else {
            node.arrivals().all().map(|arrival| arrival.id).collect()
        };
        let which = script.byte();
        ids.get(usize::from(which) % (ids.len() + 1)).copied().unwrap_or(MoveId {
            vm: vm(which % 6).id,
            source: self.hosts[host].id,
            incarnation: lifeboat_protocol::Incarnation(1),
            attempt: 1,
        })
    }

    fn departure_event(&mut self, script: &mut Script<'_>) {
        let host = script.below(HOSTS.len());
        let id = self.an_attempt(host, script, true);
        let why = || "for no reason".to_owned();
        let event = match script.byte() % 11 {
            0 => DepartureEvent::Definition(Err(why())),
            1 => {
                let length = usize::from(script.short()) * 2;
                DepartureEvent::Definition(Ok("x".repeat(length)))
            }
            2 => DepartureEvent::OpenFailed(why()),
            3 => DepartureEvent::Begun(Err(why())),
            4 => DepartureEvent::Progress(Progress {
                remaining: script.number(),
                sent: script.number(),
                wire: script.number(),
                dirty_rate: script.number(),
                pass: script.number() as u32,
                rewritten_counted: script.number().is_multiple_of(2),
            }),
            5 => DepartureEvent::GuestPaused,
            6 => DepartureEvent::GuestResumed,
            7 => DepartureEvent::SourceGone,
            8 => DepartureEvent::JobEnded(Ok(())),
            9 => DepartureEvent::JobEnded(Err(why())),
            _ => DepartureEvent::CarrierClosed(why()),
        };
        self.tell(host, Input::Departure(id, event));
    }

    fn arrival_event(&mut self, script: &mut Script<'_>) {
        let host = script.below(HOSTS.len());
        let id = self.an_attempt(host, script, false);
        let event = match script.byte() % 5 {
            0 => ArrivalEvent::Prepared(Ok(())),
            1 => ArrivalEvent::Prepared(Err("it refuses".to_owned())),
            2 => ArrivalEvent::Complete,
            3 => ArrivalEvent::Resumed(Ok(())),
            _ => ArrivalEvent::Resumed(Err("it cannot".to_owned())),
        };
        self.tell(host, Input::Arrival(id, event));
    }

    fn command(&self, script: &mut Script<'_>) -> Command {
        let id = EvacuationId(script.number());
        match script.byte() % 6 {
            0 => Command::Cancel { id, abort: false },
            1 => Command::Cancel { id, abort: true },
            2 => Command::DeclareDead { node: NodeId(self.hash(script)), whole_site: true },
            3 => Command::Leave,
            _ => {
                let mut list = || -> Vec<u64> {
                    let length = script.below(4);
                    (0..length).map(|_| self.hash(script)).collect()
                };
                Command::Evacuate {
                    id,
                    from_sites: list().into_iter().map(SiteId).collect(),
                    from_hosts: list().into_iter().map(NodeId).collect(),
                    to: list().into_iter().map(SiteId).collect(),
                    deadline_ms: Some(script.number()).filter(|deadline| deadline % 2 == 0),
                }
            }
        }
    }

    fn hash(&self, script: &mut Script<'_>) -> u64 {
        let number = script.below(self.names.hashes.len() + 1);
        self.names.hashes.get(number).copied().unwrap_or(7)
    }

    fn figures(&mut self, script: &mut Script<'_>) {
        let host = script.below(HOSTS.len());
        if script.byte().is_multiple_of(2) {
            let sample = HostSample {
                memory_total: script.number(),
                memory_free: script.number(),
                processors: script.number() as u32,
                cpu_free_permille: script.short(),
                runtime_left_ms: Some(script.number()).filter(|left| *left != 0),
                nic_sent: BytesPerSec(script.number()),
                nic_received: BytesPerSec(script.number()),
                nic_speed: BytesPerSec(script.number()),
            };
            return self.tell(host, Input::Host(sample));
        }
        let held_back = match script.byte() % 4 {
            0 => HeldBack::Idle,
            1 => HeldBack::Tokens,
            2 => HeldBack::Link,
            _ => HeldBack::Source,
        };
        let sample = LinkSample {
            link: LinkId(self.hash(script)),
            sent: BytesPerSec(script.number()),
            arrived: BytesPerSec(script.number()),
            held_back,
            round_trip: Some(std::time::Duration::from_nanos(script.number())),
        };
        self.tell(host, Input::Link(sample));
    }
}
