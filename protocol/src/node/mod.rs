//! One node: everything it knows, and what it decides from it.
//!
//! Each call to [`Node::handle`] takes in one thing that happened and then brings everything that
//! follows from it up to date: who is alive, which slices are ours, the common order, shares,
//! tables, grants, starts. What must be done comes out of [`Node::poll_output`] in order; outputs
//! that rest on something durable wait inside until it is.

pub(crate) mod absorb;
mod addressed;
mod advice;
pub(crate) mod barred;
mod begun_groups;
mod claims;
mod commit;
mod confirms;
pub(crate) mod elsewhere;
pub(crate) mod ended;
pub mod foresight;
mod heartbeat;
mod news;
pub(crate) mod queue;
pub(crate) mod samples;
pub(crate) mod schedule;
pub(crate) mod shown;
mod standing;
mod stranded;
mod unwritable;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use self::{
    advice::{Advised, Turns},
    begun_groups::BegunGroups,
    claims::Claims,
    elsewhere::Double,
    foresight::Foresight,
    samples::Samples,
    stranded::AllStranded,
};
use crate::{
    arrivals::Arrivals,
    audience::Audience,
    capacity::Capacity,
    config::Config,
    departures::{Departures, step},
    directory::Directory,
    effects::Effects,
    evacuation::Evacuations,
    ids::{EvacuationId, Incarnation, LinkId, MoveId, NodeId, SiteId, VmId},
    input::{HostSample, Input},
    journal::{self, Decided, Key, Value},
    membership::{Liveness, Membership},
    message::InventoryVm,
    output::Output,
    planted::Bug,
    time::Instant,
    tokens::{holder::Holder, issuer::Issuer},
    units::BytesPerSec,
    vm::{Outcome, Vm},
};

/// Longest time between two wake-ups.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);
/// The same of a node of a large cluster that issues nothing and moves nothing.
const LONGEST_IDLE_SLEEP: Duration = Duration::from_secs(1);
/// Why the hypervisor counts as down from the start until it has answered once.
const NOT_ANSWERED_YET: &str = "it has not answered yet";

/// What another node last said of its VMs.
#[derive(Debug, Clone, Default, Hash)]
pub struct KnownInventory {
    pub(crate) incarnation: Incarnation,
    pub(crate) version: u64,
    pub(crate) parts: BTreeMap<u16, Vec<InventoryVm>>,
    pub(crate) complete: Vec<InventoryVm>,
    /// When the newest of it was complete here.
    pub(crate) told_at: Instant,
    /// Those of them that run there for certain, by name.
    pub(crate) running: BTreeMap<VmId, String>,
    /// Those of which it has more than a definition.
    pub(crate) live: BTreeSet<VmId>,
}

impl KnownInventory {
    /// Whether none has been complete here yet.
    pub(crate) fn is_untold(&self) -> bool {
        self.told_at == Instant::default()
    }
}

/// How often a VM's move has failed, and when to try again.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Setback {
    pub(crate) failures: u32,
    pub(crate) not_before: Instant,
    pub(crate) reason: String,
    /// Bytes that its attempts put on the wire in vain.
    pub(crate) sent: u64,
    /// Destinations that refused it, until when they are passed over, and why.
    pub(crate) refused: BTreeMap<NodeId, (Instant, String)>,
}

/// One node's state machine.
#[derive(Debug, Clone, Hash)]
pub struct Node {
    pub(crate) me: NodeId,
    pub(crate) site: SiteId,
    pub(crate) incarnation: Incarnation,
    pub(crate) config: Config,
    pub(crate) directory: Directory,
    pub(crate) membership: Membership,
    pub(crate) evacuations: Evacuations,
    pub(crate) holders: BTreeMap<LinkId, Holder>,
    pub(crate) issuers: BTreeMap<LinkId, Issuer>,
    pub(crate) capacities: BTreeMap<LinkId, Capacity>,
    pub(crate) samples: Samples,
    pub(crate) granted: BTreeMap<LinkId, (BytesPerSec, Instant)>,
    pub(crate) host: HostSample,
    pub(crate) hypervisor_down: Option<String>,
    /// Why the journal takes no writes, while it does not.
    journal_failed: Option<String>,
    /// Whether that is only what this node concludes from its silence.
    journal_hangs: bool,
    /// Since when what was written, while that is not durable, has been waiting without any progress.
    writes_since: Instant,
    pub(crate) vms: BTreeMap<VmId, Vm>,
    pub(crate) setbacks: BTreeMap<VmId, Setback>,
    /// VMs that ended here while they moved, and whether the hypervisor has been told in this life that
    /// they stay.
    ended: BTreeMap<VmId, bool>,
    begun_groups: BegunGroups,
    foresight: Foresight,
    /// VMs that settled elsewhere: a definition of them found here is only what was left behind.
    /// By which move each VM left of which something may still be here.
    pub(crate) given_away: BTreeMap<VmId, MoveId>,
    given_away_told_at: Instant,
    pub(crate) departures: Departures,
    /// From the order to start a move here until its first bytes flow, a running mean.
    setup: Option<Duration>,
    pub(crate) arrivals: Arrivals,
    pub(crate) outcomes: BTreeMap<(EvacuationId, VmId), Outcome>,
    pub(crate) inventories: BTreeMap<NodeId, KnownInventory>,
    /// Whether anyone has said anything new of what it runs, or has fallen silent or come back.
    inventories_changed: bool,
    doubles: BTreeMap<VmId, Double>,
    claims: BTreeMap<VmId, Claims>,
    pub(crate) stranded: AllStranded,
    pub(crate) liveness: BTreeMap<NodeId, Liveness>,
    /// The nodes that may issue each link's tokens, by id; in a large cluster only of links that
    /// touch this site.
    pub(crate) candidates: BTreeMap<LinkId, Vec<NodeId>>,
    /// In a large cluster: whom this node speaks to.
    audience: Audience,
    /// In a large cluster: when this node last saw to whom it wants to speak, and whether something
    /// may have changed that since.
    wished_at: Instant,
    wishes_stale: bool,
    /// In a large cluster: the other ends of this node's moves, and since when they are that.
    partners: BTreeMap<NodeId, Instant>,
    /// In a large cluster: until when an evacuation that was asked for here is told to all stewards.
    tells_all_until: Instant,
    /// In a large cluster: what the lead of each link advised this node.
    advised: BTreeMap<LinkId, Advised>,
    /// In a large cluster: what this node as a lead has to say to each sender of a link.
    turns: BTreeMap<LinkId, BTreeMap<NodeId, Turns>>,
    /// When this node last divided its links, and whether something has happened since.
    divided: (Instant, bool),
    /// Whether something has happened that the division of the links must not wait for.
    news: bool,
    /// Who was heard in this step.
    members_heard: Option<NodeId>,
    /// When the next silence becomes too long, or earlier.
    members_due: Instant,
    /// Until when this node confirms the tables that it goes by.
    confirms_until: Instant,
    /// Evacuations that each peer has been heard to know in its present life.
    pub(crate) heard_of: BTreeMap<NodeId, BTreeSet<EvacuationId>>,
    /// Commits heard of moves that the journal here does not know, with whether the VM is to run.
    pub(crate) given_here: BTreeMap<VmId, (MoveId, bool)>,
    pub(crate) leaving: bool,
    pub(crate) started_at: Instant,
    attempt: u64,
    pub(crate) heartbeat_number: u64,
    heartbeat_at: Instant,
    heartbeat_urgent: bool,
    inventory_version: u64,
    inventory_at: Instant,
    inventory_sent: Vec<InventoryVm>,
    ticked_at: Instant,
    evacuations_kept_at: Instant,
    all_kept_at: Instant,
    pub(crate) persists: u64,
    durable: u64,
    outputs: VecDeque<Output>,
    held: VecDeque<(u64, Output)>,
}

impl Node {
    /// A node that starts now. `incarnation` is higher than in every former life of this daemon.
    /// `journal` is all that former lives made durable.
    ///
    /// # Errors
    /// A sentence, if `me` is not listed or the journal holds something unreadable.
    pub fn new(
        now: Instant,
        me: NodeId,
        incarnation: Incarnation,
        config: Config,
        directory: Directory,
        journal: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Self, String> {
        config.check()?;
        let site = directory
            .site_of(me)
            .ok_or_else(|| String::from("this node is not listed in the cluster file"))?;
        let mut node = Self {
            me,
            site,
            incarnation,
            membership: Membership::new(me, incarnation, &config),
            evacuations: Evacuations::default(),
            holders: BTreeMap::new(),
            issuers: BTreeMap::new(),
            capacities: BTreeMap::new(),
            samples: Samples::new(config.tuning()),
            granted: BTreeMap::new(),
            host: HostSample::default(),
            hypervisor_down: Some(NOT_ANSWERED_YET.into()),
            journal_failed: None,
            journal_hangs: false,
            writes_since: now,
            vms: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            ended: BTreeMap::new(),
            given_away: BTreeMap::new(),
            given_away_told_at: Instant::default(),
            departures: Departures::default(),
            setup: None,
            arrivals: Arrivals::default(),
            outcomes: BTreeMap::new(),
            inventories: BTreeMap::new(),
            inventories_changed: false,
            doubles: BTreeMap::new(),
            claims: BTreeMap::new(),
            stranded: AllStranded::default(),
            liveness: BTreeMap::new(),
            candidates: BTreeMap::new(),
            audience: Audience::new(config.urgent_spacing),
            partners: BTreeMap::new(),
            wished_at: Instant::default(),
            wishes_stale: true,
            tells_all_until: Instant::default(),
            advised: BTreeMap::new(),
            turns: BTreeMap::new(),
            divided: (Instant::default(), false),
            news: true,
            members_heard: None,
            members_due: Instant(u64::MAX),
            confirms_until: Instant::default(),
            heard_of: BTreeMap::new(),
            given_here: BTreeMap::new(),
            leaving: false,
            begun_groups: BegunGroups::new(),
            foresight: Foresight::default(),
            started_at: now,
            attempt: 0,
            heartbeat_number: 0,
            heartbeat_at: Instant::default(),
            heartbeat_urgent: true,
            inventory_version: 0,
            inventory_at: Instant::default(),
            inventory_sent: Vec::new(),
            ticked_at: now,
            evacuations_kept_at: now,
            all_kept_at: now,
            persists: 0,
            durable: 0,
            outputs: VecDeque::new(),
            held: VecDeque::new(),
            config,
            directory,
        };
        let directory = node.directory.clone();
        for (link, entry) in directory.links() {
            let touches = entry.from == site || entry.to.contains(&site);
            if touches || !node.is_large() {
                node.candidates.insert(link, node.candidates(link));
            }
            let tuning = node.config.tuning();
            let capacity =
                Capacity::new(entry.initial, entry.ceiling, entry.reserve_permille, tuning);
            node.capacities.insert(link, capacity);
            if entry.from == site {
                node.holders.insert(link, Holder::new(now, link, &node.config));
            }
            if node.candidates.get(&link).is_some_and(|nodes| nodes.contains(&me)) {
                let issuer = Issuer::new(link, node.config.lease_with_drift());
                node.issuers.insert(link, issuer.with(node.config.all_planted()));
            }
        }
        node.restore(now, journal)?;
        Ok(node)
    }

    fn restore(&mut self, now: Instant, journal: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
        let mut fx = Effects::default();
        for (key, value) in journal {
            let entry = journal::read(key, value).map_err(|error| {
                alloc::format!("the journal holds something unreadable: {error}")
            })?;
            match entry {
                (Key::Evacuation(_), Value::Evacuation(record)) => {
                    self.evacuations.merge(now, &record);
                }
                (Key::Departure(id), Value::Departure(_))
                    if self.config.planted(Bug::QueueEntryDropped) =>
                {
                    self.setbacks.entry(id.vm).or_default().not_before = Instant(u64::MAX);
                }
                (Key::Arrival(_), Value::Arrival(_))
                    if self.config.planted(Bug::JournalOrderMatters)
                        && self.arrivals.all().next().is_some() => {}
                (Key::Departure(id), Value::Departure(record)) => {
                    if !record.claimed_by.is_empty() {
                        let claims = record.claimed_by.iter().map(|node| (*node, None));
                        self.claims.insert(id.vm, claims.collect());
                    }
                    if record.decided == Decided::Kept && record.vm.state.resumes() {
                        // Its host may have lost power since; if it runs, the hypervisor's list says so.
                        self.note_ended(id.vm, &mut fx);
                    }
                    self.departures.insert(step::restored(now, id, record, &mut fx));
                }
                (Key::Arrival(id), Value::Arrival(record)) => {
                    self.arrivals.restore(now, id, record, &mut fx);
                }
                (Key::Outcome(evacuation, vm), Value::Outcome(outcome)) => {
                    self.outcomes.insert((evacuation, vm), outcome);
                }
                (Key::Remains(id), Value::Remains) => {
                    self.given_away.insert(id.vm, id);
                }
                (Key::Stranded(id), Value::Stranded(record)) => self.stranded.restore(id, record),
                (Key::Ended(vm), Value::Ended) => {
                    self.ended.insert(vm, false);
                }
                _ => return Err("the journal holds a value under a key of another kind".into()),
            }
        }
        self.flush(now, fx);
        Ok(())
    }

    /// Takes in one thing that happened. Total: hostile or stale input becomes a notice.
    pub fn handle(&mut self, now: Instant, input: Input) {
        let mut fx = Effects::default();
        self.wishes_stale = true;
        self.note_news(&input);
        self.absorb(now, input, &mut fx);
        self.follow(now, &mut fx);
        self.flush(now, fx);
    }

    /// Everything that follows from what is known now.
    fn follow(&mut self, now: Instant, fx: &mut Effects) {
        self.watch_journal(now, fx);
        self.watch_members(now, fx);
        self.compare_inventories(now, fx);
        self.resume_ready(now, fx);
        for id in self.arrivals.put_away(now, fx) {
            self.left_its_source(id);
        }
        self.tick_moves(now, fx);
        self.tick_stranded(now, fx);
        self.clear_remains(now, fx);
        self.keep_evacuations(now, fx);
        self.update_claims(now, fx);
        let divides = self.divides(now, fx.urgent);
        if self.is_large() {
            if divides {
                self.estimate(now, fx);
            }
            self.follow_advice(now, fx);
            if divides {
                self.issue(now, fx);
            }
        } else if divides {
            self.estimate(now, fx);
            self.start_moves(now, fx);
            self.tell_late(now, fx);
            self.issue(now, fx);
            self.hand_on(now, fx);
        }
        self.grant(now, fx);
        self.ticked_at = now;
        self.heartbeat_urgent |= core::mem::take(&mut fx.urgent);
        self.speak(now, fx);
    }

    fn flush(&mut self, now: Instant, mut fx: Effects) {
        self.say_commits(now, &mut fx);
        for dropped in &fx.dropped {
            self.held.retain(
                |(_, output)| !matches!(output, Output::PrepareArrival { id, .. } if id == dropped),
            );
        }
        self.outputs.extend(fx.now);
        if !fx.changes.is_empty() {
            if self.durable >= self.persists {
                self.writes_since = now;
            }
            self.persists += 1;
            self.outputs
                .push_back(Output::Persist { sequence: self.persists, changes: fx.changes });
        }
        if self.durable >= self.persists {
            self.outputs.extend(fx.after_durable);
        } else {
            let sequence = self.persists;
            self.held.extend(fx.after_durable.into_iter().map(|output| (sequence, output)));
        }
        self.heartbeat_urgent |= fx.urgent;
    }

    fn durable(&mut self, now: Instant, sequence: u64, fx: &mut Effects) {
        if sequence > self.durable {
            self.journal_progresses(now, fx);
        }
        self.durable = self.durable.max(sequence);
        while self.held.front().is_some_and(|(wanted, _)| *wanted <= self.durable) {
            let (_, output) = self.held.pop_front().expect("just seen");
            self.outputs.push_back(output);
        }
    }

    /// Takes back the order to start a move that still waits for the journal. Whether there was one.
    pub(crate) fn withdraw(&mut self, move_id: MoveId) -> bool {
        let before = self.held.len();
        self.held.retain(|(_, output)| {
            !matches!(output, Output::BeginMove { id, .. } | Output::Forget { id } if *id == move_id)
        });
        self.held.len() < before
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Wake`] at the latest.
    pub fn next_deadline(&self) -> Instant {
        let idle = self.is_large() && self.issuers.is_empty() && self.partners.is_empty();
        let mut next = self.ticked_at + if idle { LONGEST_IDLE_SLEEP } else { LONGEST_SLEEP };
        next = next.min(self.next_heartbeat());
        if self.is_large() && self.divided.1 && !self.issuers.is_empty() {
            next = next.min(self.divided.0 + self.config.division_spacing);
        }
        let issuers = self.issuers.values().filter_map(Issuer::next_change);
        let holders = self.holders.values().filter_map(|holder| holder.next_change(self.ticked_at));
        for at in issuers.chain(holders).chain(self.membership.next_change(self.ticked_at)) {
            // What is past has been dealt with, or waits for something else than time.
            if at > self.ticked_at {
                next = next.min(at);
            }
        }
        next
    }
}
