//! Both hosts, what is between them, and everything that can happen.

use super::{
    bounds::{Bounds, Budget},
    host::{Host, LONG_PAUSE, News, PAUSE, Place, mark, sites, the_vm},
    mail::{Letter, Mail},
    migration::{Migration, Stage},
    planted::Planted,
};
use lifeboat_protocol::{
    EvacuationId, Input, Instant, MoveId, NodeId,
    command::Command,
    input::{ArrivalEvent, DepartureEvent},
    message::{Direct, Echo, Message},
    output::Output,
    wire,
};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

/// The host that the VM leaves.
pub(super) const SOURCE: usize = 0;
/// The host that it goes to.
pub(super) const DESTINATION: usize = 1;

/// What a world goes by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) bounds: Bounds,
    pub(super) planted: Planted,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A message between the two arrives, perhaps again.
    Deliver {
        /// Which of those that were ever sent.
        which: usize,
        /// To whom, and what it says.
        what: Arc<str>,
    },
    /// A daemon hears of something on its own host.
    Tell {
        /// The host.
        host: usize,
        /// Which of those that wait.
        which: usize,
        /// What it is.
        what: Arc<str>,
    },
    /// What a daemon has written becomes durable, and the daemon hears so.
    Sync {
        /// The host.
        host: usize,
    },
    /// What a daemon has written becomes durable, and the daemon dies before it hears so.
    SyncAndCrash {
        /// The host.
        host: usize,
    },
    /// A daemon dies; what it has written and is not durable is lost.
    Crash {
        /// The host.
        host: usize,
    },
    /// A daemon starts.
    Start {
        /// The host.
        host: usize,
    },
    /// A host loses power for ever.
    Die {
        /// The host.
        host: usize,
    },
    /// The migration gets a stage further.
    Advance,
    /// The migration is given up.
    Break,
    /// The source's hypervisor daemon forgets the migration.
    LoseJob,
    /// The destination's hypervisor drops what is not whole and has no migration any more.
    DropIncoming,
    /// Heartbeats pass no more, or pass again.
    Cut,
    /// Time passes, every daemon wakes.
    Pause {
        /// Whether it is longer than every timer.
        long: bool,
    },
    /// The operator says at the destination that the source is dead, which it is.
    DeclareDead,
    /// The operator says at the source that the destination, whose daemon is silent, is dead.
    DeclareDestinationDead,
    /// The source has made that durable, and the operator starts the VM cold on a third host.
    ColdStart,
    /// He ends the copy that waits at the destination.
    EndCopy,
}

/// The world at one moment.
#[derive(Debug, Clone)]
pub struct World {
    now: Instant,
    pub(super) hosts: Vec<Host>,
    /// Every message between the two that was ever sent; each may arrive at any time, any number
    /// of times, or never.
    sent: Arc<Mail>,
    pub(super) migration: Option<Migration>,
    cut: bool,
    /// The only whole copy was on a host that lost power.
    pub(super) died_with_host: bool,
    pub(super) declared_dead: bool,
    /// Whether the VM was started cold on a third host.
    pub(super) started_cold: bool,
    budget: Budget,
    identity: u64,
}

impl World {
    /// The world in which the evacuation has begun, the source holds the link, and has asked for
    /// room.
    pub(super) fn settled(rules: &Rules) -> Self {
        let mut world = Self {
            now: Instant(1_000_000_000_000),
            hosts: vec![Host::new("source", Some(Place::Running)), Host::new("destination", None)],
            sent: Arc::default(),
            migration: None,
            cut: false,
            died_with_host: false,
            declared_dead: false,
            started_cold: false,
            budget: rules.bounds.into(),
            identity: 0,
        };
        for host in [SOURCE, DESTINATION] {
            world.start(host, rules);
        }
        for _ in 0..40 {
            world.pass(Duration::from_millis(250), rules);
        }
        let (here, there) = sites();
        let command = Command::Evacuate {
            id: EvacuationId(1),
            from_sites: vec![here],
            from_hosts: Vec::new(),
            to: vec![there],
            deadline_ms: None,
        };
        world.input(SOURCE, Input::Command(command), rules);
        world.sync(SOURCE, rules);
        for _ in 0..2 {
            world.pass(PAUSE, rules);
            while !world.hosts[SOURCE].news.is_empty() {
                world.tell(SOURCE, 0, rules);
            }
            world.sync(SOURCE, rules);
            world.sync(DESTINATION, rules);
        }
        world.identify();
        world
    }

    /// All that can happen now.
    pub(super) fn actions(&self, rules: &Rules, actions: &mut Vec<Action>) {
        for (which, letter) in self.sent.letters.iter().enumerate() {
            if self.hosts[letter.to].is_up() && letter.arrived < rules.bounds.arrivals {
                actions.push(Action::Deliver { which, what: letter.words.clone() });
            }
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let mut in_order = false;
            for (which, (news, what)) in host.news.iter().enumerate() {
                // Events come in the order in which they happened, answers at any time.
                let event = matches!(news, News::Input(Input::Departure(..) | Input::Arrival(..)));
                if !event || !std::mem::replace(&mut in_order, true) {
                    actions.push(Action::Tell { host: index, which, what: what.clone() });
                }
            }
            self.daemon_actions(index, actions);
        }
        if let Some(Migration { .. }) = self.migration {
            actions.push(Action::Advance);
            if self.budget.breaks > 0 {
                actions.push(Action::Break);
            }
            if self.budget.lost_jobs > 0 {
                actions.push(Action::LoseJob);
            }
        } else if self.hosts[DESTINATION].place == Some(Place::Incoming) {
            actions.push(Action::DropIncoming);
        }
        if self.budget.cuts > 0 {
            actions.push(Action::Cut);
        }
        if self.budget.pauses > 0 {
            actions.push(Action::Pause { long: false });
        }
        if self.budget.long_pauses > 0 {
            actions.push(Action::Pause { long: true });
        }
        if !self.hosts[SOURCE].powered && self.hosts[DESTINATION].is_up() {
            actions.push(Action::DeclareDead);
        }
        self.person_actions(actions);
    }

    /// What a person does who starts the VM cold: he has looked that it stands still at the destination.
    fn person_actions(&self, actions: &mut Vec<Action>) {
        let there = self.hosts[DESTINATION].place;
        if self.budget.cold_starts > 0 && there == Some(Place::Arrived) {
            if self.hosts[SOURCE].is_up() && !self.hosts[DESTINATION].is_up() {
                actions.push(Action::DeclareDestinationDead);
            }
            if self.hosts[SOURCE].keeps_commit_back() {
                actions.push(Action::ColdStart);
            }
        }
        if self.started_cold && there == Some(Place::Arrived) {
            actions.push(Action::EndCopy);
        }
    }

    fn daemon_actions(&self, host: usize, actions: &mut Vec<Action>) {
        let one = &self.hosts[host];
        if one.is_up() && !one.unsynced.is_empty() {
            actions.push(Action::Sync { host });
            if self.budget.crashes > 0 {
                actions.push(Action::SyncAndCrash { host });
            }
        }
        if one.is_up() && self.budget.crashes > 0 {
            actions.push(Action::Crash { host });
        }
        if one.powered && !one.is_up() {
            actions.push(Action::Start { host });
        }
        if one.powered && self.budget.deaths > 0 {
            actions.push(Action::Die { host });
        }
    }

    /// The world after something happened; `None` if that changes nothing.
    pub(super) fn after(&self, action: &Action, rules: &Rules) -> Option<Self> {
        let mut next = self.clone();
        match action {
            Action::Deliver { which, .. } => next.deliver(*which, rules),
            Action::Tell { host, which, .. } => next.tell(*host, *which, rules),
            Action::Sync { host } => next.sync(*host, rules),
            Action::SyncAndCrash { host } => {
                next.budget.crashes -= 1;
                next.hosts[*host].sync();
                next.hosts[*host].crash();
            }
            Action::Crash { host } => {
                next.budget.crashes -= 1;
                next.hosts[*host].crash();
            }
            Action::Start { host } => next.start(*host, rules),
            Action::Die { host } => next.die(*host),
            Action::Advance => next.advance(),
            Action::Break => {
                next.budget.breaks -= 1;
                next.give_up();
            }
            Action::LoseJob => {
                next.budget.lost_jobs -= 1;
                next.lose_job();
            }
            Action::DropIncoming => next.drop_incoming(),
            Action::Cut => {
                next.budget.cuts -= 1;
                next.cut = !next.cut;
            }
            Action::Pause { long: false } => {
                next.budget.pauses -= 1;
                next.pass(PAUSE, rules);
            }
            Action::Pause { long: true } => {
                next.budget.long_pauses -= 1;
                next.pass(LONG_PAUSE, rules);
            }
            Action::DeclareDead => next.declare_dead(SOURCE, DESTINATION, rules),
            Action::DeclareDestinationDead => next.declare_dead(DESTINATION, SOURCE, rules),
            Action::ColdStart => {
                next.budget.cold_starts -= 1;
                next.started_cold = true;
                // The source's daemon is heard from now on: it alone knows of the word.
                next.budget.crashes = 0;
                next.budget.deaths = 0;
                next.budget.cuts = 0;
            }
            Action::EndCopy => next.hosts[DESTINATION].place = None,
        }
        if next.budget.crashes == 0 {
            // When it becomes durable matters only to one that may die before it is.
            next.sync(SOURCE, rules);
            next.sync(DESTINATION, rules);
        }
        rules.planted.after_step(&mut next, rules);
        next.identify();
        if next.identity == self.identity {
            return None;
        }
        if let Action::Deliver { which, .. } = action {
            // It keeps its place unless others were sent before it.
            let letter = &self.sent.letters[*which];
            let which = next.sent.letters.iter().position(|one| one.is(letter))?;
            Mail::arrived(&mut next.sent, which);
            next.identify();
        }
        Some(next)
    }

    fn deliver(&mut self, which: usize, rules: &Rules) {
        let Letter { to, bytes, .. } = self.sent.letters[which].clone();
        let bytes = rules.planted.as_delivered(self, &bytes);
        let from = self.hosts[1 - to].id;
        self.input(to, Input::Received { from, bytes }, rules);
    }

    fn tell(&mut self, host: usize, which: usize, rules: &Rules) {
        let (news, _) = self.hosts[host].news.remove(which);
        let input = match news {
            News::Look => self.looked(host),
            News::Input(input) => input,
        };
        self.input(host, input, rules);
    }

    fn looked(&self, host: usize) -> Input {
        let outgoing = host == SOURCE && self.migration.is_some();
        Input::Looked { vm: the_vm().id, copy: self.hosts[host].look(), outgoing }
    }

    fn sync(&mut self, host: usize, rules: &Rules) {
        if let Some(sequence) = self.hosts[host].sync() {
            self.input(host, Input::Durable(sequence), rules);
        }
    }

    fn start(&mut self, host: usize, rules: &Rules) {
        let outputs = self.hosts[host].start(self.now);
        for output in outputs {
            self.execute(host, output, rules);
        }
    }

    fn die(&mut self, host: usize) {
        self.budget.deaths -= 1;
        let whole = |host: &Host| host.place.is_some_and(Place::is_whole);
        self.died_with_host |= whole(&self.hosts[host]) && !whole(&self.hosts[1 - host]);
        self.hosts[host].die();
        if host == SOURCE {
            self.migration = None;
            self.drop_incoming();
        } else {
            self.give_up();
        }
    }

    fn declare_dead(&mut self, dead: usize, at: usize, rules: &Rules) {
        self.declared_dead |= dead == SOURCE;
        let command = Command::DeclareDead { node: self.hosts[dead].id, whole_site: true };
        self.input(at, Input::Command(command), rules);
    }

    /// Time passes; everyone hears its host's figures, and heartbeats pass.
    fn pass(&mut self, duration: Duration, rules: &Rules) {
        self.now = self.now + duration;
        for host in [SOURCE, DESTINATION] {
            self.input(host, Input::Wake, rules);
            let outputs = self.hosts[host].tell_figures(self.now);
            for output in outputs {
                self.execute(host, output, rules);
            }
        }
    }

    pub(super) fn input(&mut self, host: usize, input: Input, rules: &Rules) {
        let outputs = self.hosts[host].handle(self.now, input);
        for output in outputs {
            self.execute(host, output, rules);
        }
    }

    fn execute(&mut self, host: usize, output: Output, rules: &Rules) {
        match output {
            Output::Broadcast(bytes) => {
                let from = self.hosts[host].id;
                if !self.cut {
                    self.input(1 - host, Input::Received { from, bytes }, rules);
                }
            }
            Output::Send { to, bytes } => self.send(to, &bytes),
            Output::Persist { sequence, changes } => {
                self.hosts[host].unsynced.push((sequence, changes));
            }
            Output::Look { .. } => {
                let news = if rules.bounds.stale_looks {
                    News::Input(self.looked(host))
                } else {
                    News::Look
                };
                self.hosts[host].will_be_told(news);
            }
            Output::BeginMove { id, .. } => self.begin(id),
            Output::AbortMove { .. } => {
                if self.migration.is_some_and(|one| one.stage != Stage::Landed) {
                    self.give_up();
                }
            }
            Output::DestroySource { .. } => {
                let source = &mut self.hosts[SOURCE];
                source.turn(Place::Switching, Some(Place::MovedAway));
                source.turn(Place::Running, Some(Place::MovedAway));
            }
            Output::ResumeSource { id } => {
                if self.hosts[SOURCE].turn(Place::Switching, Some(Place::Running)) {
                    self.departure(id, DepartureEvent::GuestResumed);
                }
            }
            Output::Forget { .. } => {
                self.hosts[host].turn(Place::MovedAway, None);
            }
            Output::PrepareArrival { id, .. } => {
                self.hosts[DESTINATION].prepared = Some(id);
                self.arrival(id, ArrivalEvent::Prepared(Ok(())));
            }
            Output::Resume { id } => {
                let resumed = self.hosts[DESTINATION].turn(Place::Arrived, Some(Place::Running));
                let answer = if resumed { Ok(()) } else { Err("nothing to resume".into()) };
                self.arrival(id, ArrivalEvent::Resumed(answer));
            }
            Output::Discard { .. } => self.hosts[DESTINATION].place = None,
            Output::CloseMove { id } => self.close(host, id),
            // What remains says how fast, or tells people: no copy depends on it.
            Output::ReadDefinition { .. }
            | Output::OpenMove { .. }
            | Output::SetWeight { .. }
            | Output::SetGuest { .. }
            | Output::Escalate { .. }
            | Output::Grant { .. }
            | Output::Restore { .. }
            | Output::Notice(_) => {}
        }
    }

    fn close(&mut self, host: usize, id: MoveId) {
        if self.hosts[host].prepared == Some(id) {
            self.hosts[host].prepared = None;
        }
    }

    /// A message between the two. How long a guest stood still is only told to people, and would
    /// make messages differ that mean the same.
    fn send(&mut self, to: NodeId, bytes: &[u8]) {
        let Ok(Message::Direct(direct)) = wire::decode::<Message>(bytes) else { return };
        let direct = match direct {
            Direct::SourceGone { id, resumes, heard, .. } => {
                let heard = Echo { held_us: 0, ..heard };
                Direct::SourceGone { id, paused_ms: None, resumes, heard }
            }
            Direct::Settled { id, .. } => Direct::Settled { id, downtime_ms: None },
            other => other,
        };
        let to = self.hosts.iter().position(|host| host.id == to);
        if let Some(to) = to {
            Mail::post(&mut self.sent, to, &direct);
        }
    }

    /// Whether the source ever gave its copy away.
    pub(super) fn commit_was_sent(&self) -> bool {
        self.sent.gone
    }

    /// Whether the source kept a VM of which the destination had a whole copy.
    pub(super) fn copy_was_refused(&self) -> bool {
        self.sent.kept && self.sent.whole
    }

    /// Whether the source's hypervisor has forgotten a migration.
    pub(super) fn job_was_lost(&self, rules: &Rules) -> bool {
        self.budget.lost_jobs < rules.bounds.lost_jobs
    }

    fn identify(&mut self) {
        let person = (self.declared_dead, self.started_cold);
        let rest = (self.sent.mark, self.migration, self.cut, self.died_with_host, person);
        self.identity = mark(&(self.now, &self.hosts, rest, self.budget));
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.identity);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}
