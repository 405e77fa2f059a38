//! One host: the shipped node, its journal, and a hypervisor reduced to what it has of the VM.

use lifeboat_protocol::{
    Directory, Incarnation, Input, Instant, MoveId, Node, NodeId, SiteId,
    directory::LinkSpec,
    input::HostSample,
    journal::{self, Change},
    output::Output,
    units::BytesPerSec,
    vm::{Copy, Policy, RunState, Vm},
    {Config, VmId},
};
use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

/// Longer than every timer by which something is asked or told again.
pub(super) const PAUSE: Duration = Duration::from_millis(800);
/// Longer than every timer by which something is given up.
pub(super) const LONG_PAUSE: Duration = Duration::from_secs(20);

/// What a host has of the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// It runs.
    Running,
    /// Source: paused for the switchover.
    Switching,
    /// Source: what is left of a completed migration.
    MovedAway,
    /// Destination: bytes are arriving.
    Incoming,
    /// Destination: complete and paused.
    Arrived,
}

impl Place {
    /// Whether the VM can go on from this copy.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Place::Running | Place::Switching | Place::Arrived)
    }
}

/// Something that this host's daemon has yet to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum News {
    /// The hypervisor was asked what it has, and answers when this is told.
    Look,
    /// Told as it is.
    Input(Input),
}

/// A host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) id: NodeId,
    pub(super) powered: bool,
    pub(super) life: u64,
    daemon: Option<Arc<Node>>,
    /// Hash of the daemon, kept up to date.
    mark: u64,
    journal: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Hash of the journal, kept up to date.
    journal_mark: u64,
    /// Written and not yet known to be durable.
    pub(super) unsynced: Vec<(u64, Vec<Change>)>,
    pub(super) place: Option<Place>,
    pub(super) prepared: Option<MoveId>,
    /// Oldest first; each with words for people.
    pub(super) news: Vec<(News, Arc<str>)>,
}

impl Host {
    pub(super) fn new(name: &str, place: Option<Place>) -> Self {
        Self {
            id: NodeId::of(name),
            powered: true,
            life: 0,
            daemon: None,
            mark: 0,
            journal: Arc::default(),
            journal_mark: 0,
            unsynced: Vec::new(),
            place,
            prepared: None,
            news: Vec::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    pub(super) fn daemon(&self) -> Option<&Node> {
        self.daemon.as_deref()
    }

    /// The daemon starts with what is durable.
    pub(super) fn start(&mut self, now: Instant) -> Vec<Output> {
        self.life += 1;
        let journal: Vec<(Vec<u8>, Vec<u8>)> =
            self.journal.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let node = Node::new(
            now,
            self.id,
            Incarnation(self.life),
            Config::default(),
            directory(),
            &journal,
        )
        .expect("the journal is readable");
        self.daemon = Some(Arc::new(node));
        let mut outputs = self.handle(now, Input::Wake);
        outputs.extend(self.tell_figures(now));
        outputs
    }

    /// The daemon dies; what was not yet durable may be lost with it.
    pub(super) fn crash(&mut self) {
        self.daemon = None;
        self.mark = 0;
        self.unsynced.clear();
        self.news.clear();
    }

    /// The host loses power.
    pub(super) fn die(&mut self) {
        self.crash();
        self.powered = false;
        self.place = None;
        self.prepared = None;
    }

    /// Whether it is durable that a person has declared the destination dead.
    pub(super) fn keeps_commit_back(&self) -> bool {
        let is_stranded = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            matches!(journal::read(key, value), Ok((journal::Key::Stranded(_), _)))
        };
        self.journal.iter().any(is_stranded)
    }

    /// Tells the daemon one thing; what it wants done.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let Some(daemon) = &mut self.daemon else { return Vec::new() };
        let node = Arc::make_mut(daemon);
        node.handle(now, input);
        let outputs = std::iter::from_fn(|| node.poll_output()).collect();
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        node.hash(&mut hasher);
        self.mark = hasher.finish();
        outputs
    }

    /// The hypervisor's list and the host's figures.
    pub(super) fn tell_figures(&mut self, now: Instant) -> Vec<Output> {
        let vm = |state| Vm { state, ..the_vm() };
        let vms = match self.place {
            Some(Place::Running | Place::Switching) => vec![vm(RunState::Running)],
            Some(Place::Incoming | Place::Arrived) => vec![vm(RunState::Paused)],
            Some(Place::MovedAway) | None => Vec::new(),
        };
        let used = if vms.is_empty() { 0 } else { 2 << 30 };
        let sample = HostSample {
            memory_total: 8 << 30,
            memory_free: (8 << 30) - used,
            processors: 4,
            cpu_free_permille: 900,
            ..HostSample::default()
        };
        let mut outputs = self.handle(now, Input::Vms(vms));
        outputs.extend(self.handle(now, Input::Host(sample)));
        outputs
    }

    /// What the hypervisor answers when it is asked.
    pub(super) fn look(&self) -> Copy {
        match self.place {
            None => Copy::Absent,
            Some(Place::Running) => Copy::Running,
            Some(Place::Switching) => Copy::Switching,
            Some(Place::MovedAway) => Copy::MovedAway,
            Some(Place::Incoming) => Copy::Incoming,
            Some(Place::Arrived) => Copy::Paused,
        }
    }

    /// The daemon will be told, once.
    pub(super) fn will_be_told(&mut self, news: News) {
        if self.is_up() && !self.news.iter().any(|(known, _)| *known == news) {
            let words = match &news {
                News::Look => "what the hypervisor has".to_string(),
                News::Input(Input::Departure(_, event)) => format!("{event:?}"),
                News::Input(Input::Arrival(_, event)) => format!("{event:?}"),
                News::Input(input) => format!("{input:?}"),
            };
            self.news.push((news, words.into()));
        }
    }

    /// What is written becomes durable.
    pub(super) fn sync(&mut self) -> Option<u64> {
        let mut newest = None;
        for (sequence, changes) in std::mem::take(&mut self.unsynced) {
            let journal = Arc::make_mut(&mut self.journal);
            for change in changes {
                match change.value {
                    Some(value) => journal.insert(change.key, value),
                    None => journal.remove(&change.key),
                };
            }
            newest = Some(sequence);
        }
        self.journal_mark = mark(&self.journal);
        newest
    }

    /// Turns one state of the VM into another; whether it was in the first.
    pub(super) fn turn(&mut self, from: Place, to: Option<Place>) -> bool {
        let turns = self.place == Some(from);
        if turns {
            self.place = to;
        }
        turns
    }
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.powered, self.life, self.is_up(), self.mark).hash(state);
        (self.journal_mark, self.unsynced.len(), self.place, self.prepared).hash(state);
        for (sequence, changes) in &self.unsynced {
            sequence.hash(state);
            for change in changes {
                (&change.key, &change.value).hash(state);
            }
        }
        for (news, _) in self.news.iter().filter(|(news, _)| *news != News::Look) {
            news.hash(state);
        }
        self.news.iter().any(|(news, _)| *news == News::Look).hash(state);
    }
}

/// A hash of anything.
pub(super) fn mark<T: Hash>(value: &T) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The VM that is handed over.
pub(super) fn the_vm() -> Vm {
    Vm {
        id: VmId([7; 16]),
        name: "vm".into(),
        state: RunState::Running,
        memory: 1 << 30,
        processors: 1,
        disk: 0,
        dirty_rate: 0,
        working_set: 0,
        policy: Policy::default(),
        obstacles: Vec::new(),
    }
}

/// Site `here` holds the source, site `there` the destination.
fn directory() -> Directory {
    let nodes = [("source", "here"), ("destination", "there")];
    let nodes: Vec<(String, String)> =
        nodes.iter().map(|(name, site)| (name.to_string(), site.to_string())).collect();
    let link = LinkSpec {
        from: "here".into(),
        to: vec!["there".into()],
        ceiling: None,
        initial: BytesPerSec(100_000_000),
        reserve_permille: 50,
        window: 0,
    };
    Directory::new(&nodes, &[link]).expect("a good directory")
}

/// The site that the VM goes to, and the one that it leaves.
pub(super) fn sites() -> (SiteId, SiteId) {
    (SiteId::of("here"), SiteId::of("there"))
}
