//! What a node knows, for people, metrics and checkers. Read-only.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use crate::{
    evacuation::State,
    ids::{EvacuationId, LinkId, NodeId, VmId},
    membership::Liveness,
    message::{Echo, HeldBack, HostReport, InventoryVm, QueueReport, Stage, VmState},
    node::{Node, shown::is_overtaken},
    time::Instant,
    units::BytesPerSec,
    vm::Outcome,
};

pub use crate::node::{elsewhere::runs_twice, ended::ended_on_its_way};

/// Part of a link below which what arrives is the carriers' own talk and no VM, thousandths.
const FLOWS_PERMILLE: u64 = 10;

/// A node as seen from here.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its site's name.
    pub site: String,
    /// How it stands.
    pub liveness: Liveness,
    /// Whether it has no reason to speak to this node, so that its silence says nothing.
    pub distant: bool,
    /// Whether it is a steward of its site in a large cluster: one that hears all hosts there.
    pub steward: bool,
    /// Whether this node knows which VMs it has: in a large cluster it does of itself alone.
    pub vms_told: bool,
    /// Its host, once heard.
    pub host: Option<HostReport>,
    /// Its queue, once heard.
    pub queue: QueueReport,
    /// Round-trip time to it.
    pub round_trip: Option<Duration>,
}

/// A link as seen from here.
#[derive(Debug, Clone)]
pub struct LinkView {
    /// Its id.
    pub id: LinkId,
    /// Its name.
    pub name: String,
    /// What it is taken to carry.
    pub capacity: BytesPerSec,
    /// What may be divided among the senders.
    pub usable: BytesPerSec,
    /// What arrives at its far end now.
    pub arrived: BytesPerSec,
    /// Senders, with their tokens, rate and what holds them back.
    pub senders: Vec<(String, u16, BytesPerSec, HeldBack)>,
    /// Issuers, with the tokens that they may issue.
    pub issuers: Vec<(String, u16)>,
    /// Slices that two issuers claim.
    pub contested: u16,
    /// Round-trip time.
    pub round_trip: Duration,
}

/// An evacuation as seen from here.
#[derive(Debug, Clone)]
pub struct EvacuationView {
    /// Its id.
    pub id: EvacuationId,
    /// Where it was started.
    pub initiator: String,
    /// Sites and hosts to be emptied.
    pub from: Vec<String>,
    /// Sites that the VMs go to.
    pub to: Vec<String>,
    /// How far it is.
    pub state: State,
    /// The one that moves its VMs, if it is merged into another.
    pub merged_into: Option<EvacuationId>,
    /// How long ago it started.
    pub age: Duration,
    /// The deadline, after the start.
    pub deadline: Option<Duration>,
    /// What is left until the deadline.
    pub time_left: Option<Duration>,
    /// VMs still to leave.
    pub vms_left: u32,
    /// VMs that cannot leave for now.
    pub stuck: u32,
    /// VMs whose whereabouts are not certain, at sources and destinations.
    pub unknown: u32,
    /// Bytes still to leave.
    pub bytes_left: u64,
    /// VMs that have arrived.
    pub arrived: usize,
    /// Those of them that arrived shut off since they had ended on their way, and that no host is known to
    /// run since.
    pub ended: Vec<Outcome>,
    /// Source hosts that are not heard, ought to be, and were not heard to be empty before.
    pub silent: Vec<String>,
    /// VMs that had still to leave these when they were last heard.
    pub not_heard: u32,
    /// Source hosts that have no reason to speak to this node: what is left there is not known here.
    pub distant: Vec<String>,
    /// Source hosts whose hypervisor does not answer, so that their VMs are not known.
    pub hypervisor_down: Vec<String>,
    /// Whether every host that is to be emptied is, and every VM is known to be somewhere. A host that
    /// was heard to be empty may go dark after that.
    pub done: bool,
    /// When it ends at the present rate, from now.
    pub remaining: Option<Duration>,
}

/// A VM as seen from here.
#[derive(Debug, Clone)]
pub struct VmView {
    /// Where it is.
    pub host: String,
    /// Whether that host is heard, so that what it said is not old.
    pub heard: bool,
    /// The VM.
    pub vm: InventoryVm,
}

impl Node {
    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.me
    }

    /// Who is who.
    pub fn directory(&self) -> &crate::Directory {
        &self.directory
    }

    /// Why the hypervisor here does not answer, if it does not.
    pub fn hypervisor_down(&self) -> Option<&str> {
        self.hypervisor_down.as_deref()
    }

    /// Moves out of here.
    pub fn departures(&self) -> &crate::departures::Departures {
        &self.departures
    }

    /// Moves into here.
    pub fn arrivals(&self) -> &crate::arrivals::Arrivals {
        &self.arrivals
    }

    /// What an issuer of this node's says to be out to a sender; zero if it issues nothing there.
    pub fn issued(&self, link: LinkId) -> u16 {
        self.issuers.get(&link).map_or(0, |issuer| issuer.tokens())
    }

    /// Whether this node has tokens of a link, or may have without hearing anything more.
    pub fn may_hold(&self, now: Instant, link: LinkId) -> bool {
        self.holders.get(&link).is_some_and(|holder| holder.holds(now))
    }

    /// When its tokens of a link may next become others without an input.
    pub fn tokens_change_at(&self, now: Instant, link: LinkId) -> Option<Instant> {
        self.holders.get(&link)?.next_end(now)
    }

    /// The records of all evacuations that this node knows.
    pub fn evacuation_records(&self) -> impl Iterator<Item = &crate::evacuation::Record> {
        self.evacuations.all().map(|known| &known.record)
    }

    /// How many times this node has asked for something to be made durable: the number of the last.
    pub fn written(&self) -> u64 {
        self.persists
    }

    /// VMs that left here for a node and are not given to it any more, by name.
    pub fn not_given_to(&self, node: NodeId) -> Vec<String> {
        self.stranded.names_of(node).collect()
    }

    /// The newest heartbeat of this node, as one that hears it names it.
    pub fn newest_heartbeat(&self) -> Echo {
        let (node, incarnation, number) = (self.me, self.incarnation, self.heartbeat_number);
        Echo { node, incarnation, number, held_us: 0 }
    }

    /// Whether this node knows an evacuation.
    pub fn knows_of(&self, evacuation: EvacuationId) -> bool {
        self.evacuations.get(evacuation).is_some()
    }

    /// A VM of this host that is the first in the common order of a link of those that do not move
    /// yet, and that link.
    pub fn first_waiting(&self, now: Instant) -> Option<(LinkId, crate::VmId)> {
        self.holders.keys().find_map(|link| {
            if self.is_large() {
                return self.advised_first(now, *link).map(|vm| (*link, vm));
            }
            let order = self.order(now, *link);
            let waits = |stage| matches!(stage, Stage::Queued | Stage::Reserved);
            let first = order.iter().find(|contender| waits(contender.vm.stage))?;
            (first.source == self.me).then_some((*link, first.vm.vm))
        })
    }

    /// Whether a node is a steward of its site, which in a large cluster hears all hosts there.
    fn sees_its_site(&self, node: NodeId) -> bool {
        let site = self.directory.site_of(node);
        let stewards = site.map(|site| self.directory.stewards(site, self.config.stewards));
        self.is_large() && stewards.is_some_and(|stewards| stewards.contains(&node))
    }

    /// Whether this node knows which VMs a node has: it is that node, or was told.
    pub(crate) fn knows_vms_of(&self, node: NodeId) -> bool {
        node == self.me || self.inventories.contains_key(&node)
    }

    /// All listed nodes.
    pub fn nodes_view(&self, now: Instant) -> Vec<NodeView> {
        self.directory
            .nodes()
            .map(|(id, entry)| {
                let peer = self.membership.peer(id);
                let (host, queue) = if id == self.me {
                    (Some(self.host_report()), self.queue_report(now))
                } else {
                    peer.map(|peer| (Some(peer.heartbeat.host), peer.heartbeat.queue.clone()))
                        .unwrap_or_default()
                };
                let liveness = self.standing(now, id);
                NodeView {
                    id,
                    name: entry.name.clone(),
                    site: self.directory.site_name(entry.site),
                    liveness,
                    distant: liveness == Liveness::Unseen && !self.expects(id),
                    steward: self.sees_its_site(id),
                    vms_told: self.knows_vms_of(id),
                    host,
                    queue,
                    round_trip: peer.and_then(|peer| peer.round_trip),
                }
            })
            .collect()
    }

    /// All links.
    pub fn links_view(&self, now: Instant) -> Vec<LinkView> {
        self.directory
            .links()
            .map(|(id, entry)| {
                let capacity = &self.capacities[&id];
                let mut view = LinkView {
                    id,
                    name: entry.name.clone(),
                    capacity: capacity.value(),
                    usable: capacity.usable(),
                    arrived: BytesPerSec(0),
                    senders: Vec::new(),
                    issuers: Vec::new(),
                    contested: self.holders.get(&id).map_or(0, |holder| holder.contested(now)),
                    round_trip: self.link_round_trip(now, id),
                };
                let receivers = self.directory.receivers(id);
                let own = self.own_link_reports(now);
                let reports = self
                    .membership
                    .up(now)
                    .flat_map(|(node, peer)| {
                        peer.heartbeat.links.iter().map(move |report| (node, *report))
                    })
                    .chain(own.into_iter().map(|report| (self.me, report)))
                    .filter(|(_, report)| report.link == id);
                for (node, report) in reports {
                    if receivers.contains(&node) {
                        view.arrived.0 = view.arrived.0.saturating_add(report.arrived.0);
                    } else {
                        let name = self.directory.name(node);
                        view.senders.push((name, report.tokens, report.sent, report.held_back));
                    }
                }
                if let Some(issuer) = self.issuers.get(&id) {
                    view.issuers.push((self.directory.name(self.me), issuer.tokens()));
                }
                for (node, peer) in self.membership.up(now) {
                    for table in peer.heartbeat.tables.iter().filter(|table| table.link == id) {
                        let tokens = crate::tokens::slices::tokens_in(table.slices);
                        view.issuers.push((self.directory.name(node), tokens));
                    }
                }
                view
            })
            .collect()
    }

    /// All evacuations, newest last.
    pub fn evacuations_view(&self, now: Instant) -> Vec<EvacuationView> {
        let mut views: Vec<EvacuationView> =
            self.evacuations.all().map(|known| self.evacuation_view(now, known)).collect();
        views.sort_by_key(|view| core::cmp::Reverse(view.age));
        views
    }

    fn evacuation_view(&self, now: Instant, known: &crate::evacuation::Known) -> EvacuationView {
        let record = &known.record;
        let names = |sites: &[crate::SiteId]| -> Vec<String> {
            sites.iter().map(|site| self.directory.site_name(*site)).collect()
        };
        let mut from = names(&record.from_sites);
        from.extend(record.from_hosts.iter().map(|node| self.directory.name(*node)));
        let merged_into = self.evacuations.merged_into(record.id);
        let mover = merged_into.unwrap_or(record.id);
        let mut view = EvacuationView {
            id: record.id,
            initiator: self.directory.name(record.initiator),
            from,
            to: names(&record.to),
            state: record.state,
            merged_into,
            age: known.age(now),
            deadline: record.deadline_ms.map(Duration::from_millis),
            time_left: known.time_left(now),
            vms_left: 0,
            stuck: 0,
            unknown: 0,
            bytes_left: 0,
            arrived: self.outcomes.keys().filter(|(id, _)| *id == mover).count(),
            ended: self.to_be_started(mover),
            silent: Vec::new(),
            not_heard: 0,
            distant: Vec::new(),
            hypervisor_down: Vec::new(),
            done: false,
            remaining: None,
        };
        let mut heard = false;
        for node in self.nodes_view(now) {
            let site = self.directory.site_of(node.id).unwrap_or(self.site);
            if !record.covers(node.id, site) {
                continue;
            }
            let answers = node.host.is_some_and(|host| host.hypervisor_up);
            if matches!(node.liveness, Liveness::Alive | Liveness::Suspected) && !answers {
                // Nobody knows what it still runs, but what it had to move is known.
                let left = node.queue.vms.saturating_add(node.queue.stuck);
                view.not_heard = view.not_heard.saturating_add(left);
                view.hypervisor_down.push(node.name);
            } else if matches!(node.liveness, Liveness::Alive | Liveness::Suspected) {
                // A host that has not heard of the evacuation yet has nothing to say about it.
                heard |= node.id == self.me || self.knows(node.id, mover);
                if node.id != self.me && !self.knows(node.id, mover) {
                    view.vms_left = view.vms_left.saturating_add(1);
                }
                view.vms_left = view.vms_left.saturating_add(node.queue.vms);
                view.stuck = view.stuck.saturating_add(node.queue.stuck);
                view.bytes_left = view.bytes_left.saturating_add(node.queue.bytes);
            } else if node.distant {
                view.distant.push(node.name);
            } else if self.was_emptied(&node, mover) {
                heard = true;
            } else {
                let left = node.queue.vms.saturating_add(node.queue.stuck);
                view.not_heard = view.not_heard.saturating_add(left);
                view.silent.push(node.name);
            }
        }
        view.unknown = self.uncertain(now, record);
        view.unknown = view.unknown.saturating_add(self.doubles_of(now, record));
        view.done = heard
            && (view.vms_left, view.stuck, view.unknown) == (0, 0, 0)
            && [&view.silent, &view.distant, &view.hypervisor_down].iter().all(|it| it.is_empty());
        let links = self.links_view(now);
        let flows =
            links.iter().filter(|link| link.arrived >= link.usable.permille(FLOWS_PERMILLE));
        let rate = flows.fold(0_u64, |sum, link| sum.saturating_add(link.arrived.0));
        if rate > 0 && view.bytes_left > 0 {
            view.remaining = Some(BytesPerSec(rate).time_for(view.bytes_left));
        }
        view
    }

    /// Whether a host that is not heard any more had nothing left when it was. In a large cluster it
    /// tells that to some alone.
    fn was_emptied(&self, node: &NodeView, evacuation: EvacuationId) -> bool {
        !self.is_large()
            && self.knows(node.id, evacuation)
            && node.host.is_some_and(|host| host.hypervisor_up)
            && (node.queue.vms, node.queue.stuck, node.queue.unknown) == (0, 0, 0)
    }

    /// VMs of an evacuation of which it is not certain where they are: at the hosts that it empties,
    /// and on their way into those that take them.
    fn uncertain(&self, now: Instant, record: &crate::evacuation::Record) -> u32 {
        let mut uncertain: BTreeSet<VmId> = BTreeSet::new();
        let mut untold = 0_u32;
        for (node, entry) in self.directory.nodes() {
            let covered = record.covers(node, entry.site);
            if !self.is_heard(now, node) || !(covered || record.to.contains(&entry.site)) {
                continue;
            }
            if !self.knows_vms_of(node) {
                let queue = self.membership.peer(node).map(|peer| peer.heartbeat.queue.unknown);
                untold = untold.saturating_add(queue.unwrap_or(0));
                continue;
            }
            let unknown = self.inventory_of(now, node).into_iter();
            let unknown = unknown.filter(|one| one.state == VmState::Unknown).map(|one| one.vm.id);
            uncertain.extend(unknown.filter(|vm| covered || self.may_be_of(now, record, *vm)));
        }
        untold.saturating_add(uncertain.len().try_into().unwrap_or(u32::MAX))
    }

    /// VMs that run twice, on a host that an evacuation empties or that takes its VMs.
    fn doubles_of(&self, now: Instant, record: &crate::evacuation::Record) -> u32 {
        let concerns = |node: &NodeId| {
            let site = self.directory.site_of(*node);
            site.is_some_and(|site| record.covers(*node, site) || record.to.contains(&site))
        };
        let all = self.sure_doubles(now).filter(|(_, double)| double.hosts.iter().any(concerns));
        all.count().try_into().unwrap_or(u32::MAX)
    }

    /// Whether a VM that comes to a destination may be one that an evacuation moves: a host that it
    /// empties had it, or nobody here knows who did.
    fn may_be_of(&self, now: Instant, record: &crate::evacuation::Record, vm: VmId) -> bool {
        let mut known = false;
        for (node, entry) in self.directory.nodes() {
            let arrives = record.to.contains(&entry.site);
            if arrives || !self.inventory_of(now, node).iter().any(|one| one.vm.id == vm) {
                continue;
            }
            if record.covers(node, entry.site) {
                return true;
            }
            known = true;
        }
        !known
    }

    fn is_heard(&self, now: Instant, node: NodeId) -> bool {
        node == self.me || self.membership.is_up(now, node)
    }

    pub(crate) fn knows(&self, node: NodeId, evacuation: EvacuationId) -> bool {
        self.heard_of.get(&node).is_some_and(|heard_of| heard_of.contains(&evacuation))
    }

    /// VMs that run twice, by name, each with the hosts that say so.
    pub fn doubles_view(&self, now: Instant) -> Vec<(String, Vec<String>)> {
        let name = |node: &NodeId| self.directory.name(*node);
        self.sure_doubles(now)
            .map(|(_, double)| (double.name.clone(), double.hosts.iter().map(name).collect()))
            .collect()
    }

    /// All VMs of all hosts, as last heard, without what a host that is silent, or was until a moment
    /// ago, said of a VM that others have told more of since.
    pub fn vms_view(&self, now: Instant) -> Vec<VmView> {
        let mut all: Vec<(bool, VmView)> = Vec::new();
        for (node, entry) in self.directory.nodes() {
            let heard = self.is_heard(now, node);
            let is_new = heard && !self.tells_of_former_life(node);
            let listed = self.inventory_of(now, node).into_iter();
            let host = &entry.name;
            all.extend(listed.map(|vm| (is_new, VmView { host: host.clone(), heard, vm })));
        }
        let told = all.iter().filter(|(is_new, _)| *is_new);
        let told = told.map(|(_, one)| (one.vm.vm.id, one.vm.state));
        let told: BTreeMap<VmId, Vec<VmState>> =
            told.fold(BTreeMap::new(), |mut all, (vm, state)| {
                all.entry(vm).or_insert_with(Vec::new).push(state);
                all
            });
        all.retain(|(is_new, one)| {
            let told = told.get(&one.vm.vm.id).map_or(&[][..], Vec::as_slice);
            *is_new || !is_overtaken(one.vm.state, told)
        });
        all.into_iter().map(|(_, one)| one).collect()
    }

    /// Whether a node that was started anew has not told of its VMs since.
    fn tells_of_former_life(&self, node: NodeId) -> bool {
        let told = self.inventories.get(&node).map(|known| known.incarnation);
        let speaks = self.membership.peer(node).map(|peer| peer.heartbeat.incarnation);
        told < speaks
    }

    /// Completed moves of an evacuation (or of the one that it is merged into), by end.
    pub fn outcomes_view(&self, evacuation: EvacuationId) -> Vec<Outcome> {
        let mover = self.evacuations.merged_into(evacuation).unwrap_or(evacuation);
        let mut outcomes: Vec<Outcome> = self
            .outcomes
            .iter()
            .filter(|((id, _), _)| *id == mover)
            .map(|(_, outcome)| outcome.clone())
            .collect();
        outcomes.sort_by_key(|outcome| (outcome.end_ms, outcome.vm));
        outcomes
    }
}
