//! What the command line and the daemon say to each other over the control socket.
//!
//! One request, one answer, except [`Request::Events`] with `follow`, which goes on. Every field
//! that is a quantity names its unit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What can be asked of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Hosts, links, evacuations. Answer: [`Status`].
    Status,
    /// All VMs of all hosts. Answer: a list of [`VmInfo`].
    Vms,
    /// What an evacuation would do. Answer: [`PlanInfo`].
    Plan(Terms),
    /// Start an evacuation. Answer: [`Started`].
    Evacuate(Terms),
    /// End an evacuation; if `id` is not given, all that are active and not done, and with `abort`
    /// also those that were merely cancelled and have moves under way. Answer: a list of [`Cancelled`].
    Cancel {
        /// Which, as shown in the status.
        id: Option<String>,
        /// Whether moves under way are given up, too.
        abort: bool,
    },
    /// The operator's word that a host is dead and that its VMs cannot run. Answer: [`Declared`], once
    /// what follows from it is in the journal.
    DeclareDead {
        /// Its name.
        host: String,
        /// Whether he knows that of a host of whose site nobody is heard, which looks like a cut link.
        #[serde(default)]
        whole_site: bool,
    },
    /// Events so far, and with `follow` those to come. Answer: [`EventInfo`] each.
    Events {
        /// Whether to go on.
        follow: bool,
    },
    /// How an evacuation went so far; if `id` is not given, the latest one that is active or has moved
    /// something. Answer: [`Report`].
    Report {
        /// Which, as shown in the status.
        id: Option<String>,
    },
}

/// Answer to [`Request::DeclareDead`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// VMs that had left the host that answers for the dead one, and are not given to it any more: they
    /// can be started cold elsewhere.
    pub not_given: Vec<String>,
    /// VMs that stood still because the dead host had said that it runs them, too.
    pub freed: Vec<String>,
}

/// The longest deadline; whoever has more time needs none.
pub const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The terms of an evacuation, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Sites and hosts to be emptied.
    pub from: Vec<String>,
    /// Sites that the VMs go to.
    pub to: Vec<String>,
    /// Deadline in milliseconds from now.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// Answer to [`Request::Evacuate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The evacuation's id.
    pub id: String,
    /// The earlier one with the same terms that moves the VMs, if one is known here.
    pub merged_into: Option<String>,
}

/// Answer to [`Request::Cancel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The evacuation's id.
    pub id: String,
    /// What it is now: `cancelled` or `aborted`.
    pub state: String,
    /// Whether it was that before.
    pub was_so: bool,
    /// Whether everything had left before.
    pub was_done: bool,
    /// Active evacuations that go on to move VMs from hosts which it empties, too.
    pub goes_on: Vec<String>,
}

/// Answer to [`Request::Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node that answers.
    pub node: String,
    /// Its site.
    pub site: String,
    /// Why its hypervisor does not answer, if it does not.
    pub hypervisor_down: Option<String>,
    /// Why its journal cannot be written, if it cannot.
    pub journal_failed: Option<String>,
    /// Whether its carrier answers.
    pub carrier_up: bool,
    /// Why its carrier could not be started, if it does not answer and that is known.
    pub carrier_failed: Option<String>,
    /// In what its carrier was started with another configuration than that of the daemon, if it was.
    #[serde(default)]
    pub carrier_differs: Option<String>,
    /// VMs of which it is not certain where they run, with what is known of each and what to do.
    pub uncertain: Vec<VmInfo>,
    /// VMs that two hosts say to run.
    pub doubles: Vec<DoubleInfo>,
    /// All listed hosts.
    pub hosts: Vec<HostInfo>,
    /// All links.
    pub links: Vec<LinkInfo>,
    /// Known evacuations, oldest first.
    pub evacuations: Vec<EvacuationInfo>,
}

/// A VM that several hosts say to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubleInfo {
    /// Its name.
    pub name: String,
    /// These hosts.
    pub hosts: Vec<String>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// `alive`, `suspected`, `dead`, `left`, `unseen`, or `distant`: in a large cluster, it has no
    /// reason to speak to the host that answers, so that its silence says nothing.
    pub state: String,
    /// Whether it is a steward of its site in a large cluster: it hears all hosts there.
    pub steward: bool,
    /// Whether the host that answers knows which VMs it has.
    pub vms_told: bool,
    /// Memory for VMs.
    pub memory_total_bytes: u64,
    /// Of that, free and not reserved.
    pub memory_free_bytes: u64,
    /// Idle share of its processors, thousandths.
    pub cpu_free_permille: u16,
    /// How long it can still run, if known.
    pub runtime_left_ms: Option<u64>,
    /// Bytes per second sent on its network card.
    pub nic_sent_bytes_per_sec: u64,
    /// Bytes per second received on it.
    pub nic_received_bytes_per_sec: u64,
    /// Whether its hypervisor answers.
    pub hypervisor_up: bool,
    /// Whether it takes arrivals.
    pub takes_arrivals: bool,
    /// Whether its journal cannot be written, so that nothing begins there.
    pub journal_fails: bool,
    /// VMs that still have to leave it.
    pub vms_left: u32,
    /// VMs that have to leave it and cannot.
    pub vms_stuck: u32,
    /// Round-trip time to it.
    pub round_trip_us: Option<u64>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkInfo {
    /// Its name, such as `a>b`.
    pub name: String,
    /// What it is taken to carry.
    pub capacity_bytes_per_sec: u64,
    /// Of that, what may be divided among the senders.
    pub usable_bytes_per_sec: u64,
    /// What arrives at its far end.
    pub arrived_bytes_per_sec: u64,
    /// Who may send how much.
    pub senders: Vec<SenderInfo>,
    /// Who issues how many of its tokens.
    pub issuers: Vec<IssuerInfo>,
    /// Slices that two issuers claim; more than none only while the receiving site is split.
    pub contested_slices: u16,
    /// Round-trip time.
    pub round_trip_us: u64,
}

/// A sender on a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderInfo {
    /// Its host.
    pub host: String,
    /// Thousandths of the link that it may use.
    pub tokens: u16,
    /// What it sends.
    pub sent_bytes_per_sec: u64,
    /// What holds it back: `idle`, `tokens`, `link` or `source`.
    pub held_back: String,
}

/// An issuer of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerInfo {
    /// Its host.
    pub host: String,
    /// Tokens that it issues.
    pub tokens: u16,
}

/// An evacuation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvacuationInfo {
    /// Its id.
    pub id: String,
    /// Where it was started.
    pub initiator: String,
    /// Sites and hosts to be emptied.
    pub from: Vec<String>,
    /// Sites that the VMs go to.
    pub to: Vec<String>,
    /// `active`, `done`, `cancelled` or `aborted`.
    pub state: String,
    /// The evacuation that it is merged into.
    pub merged_into: Option<String>,
    /// How long ago it started.
    pub age_ms: u64,
    /// Its deadline, after its start.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// What is left until its deadline; none once it was ended.
    pub deadline_left_ms: Option<u64>,
    /// Hosts to be emptied.
    pub sources: Vec<String>,
    /// VMs still to leave the hosts that are heard; what is left, stuck, unknown and not heard says
    /// nothing of one that was ended, whose hosts may be emptied by another.
    pub vms_left: u32,
    /// VMs that cannot leave for now.
    pub vms_stuck: u32,
    /// VMs whose whereabouts are not certain, at sources and destinations.
    pub vms_unknown: u32,
    /// VMs that had still to leave the silent hosts when these were last heard.
    pub vms_not_heard: u32,
    /// VMs that have arrived.
    pub vms_arrived: usize,
    /// Those of them that ran when their move began, ended meanwhile, arrived shut off, and are not known to
    /// run on any host since.
    #[serde(default)]
    pub ended: Vec<EndedInfo>,
    /// Bytes still to leave.
    pub bytes_left: u64,
    /// Source hosts that are not heard, ought to be, and were not heard to be empty before.
    pub silent: Vec<String>,
    /// Source hosts that have no reason to speak to the host that answers: it does not know what is
    /// left there.
    pub distant: Vec<String>,
    /// Source hosts that are heard and whose hypervisor does not answer.
    pub hypervisor_down: Vec<String>,
    /// When it ends at the present rate, from now.
    pub remaining_ms: Option<u64>,
}

/// A VM that has to be started, since it ended on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedInfo {
    /// Its UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The host on which it ended.
    pub from: String,
    /// The host to which its definition has moved.
    pub to: String,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmInfo {
    /// Its UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// `running`, `paused`, `shut_off`, `incoming` while it is not all there, or `unknown`.
    pub run_state: String,
    /// `resting`, `queued`, `reserved`, `moving`, `switching`, `committing`, `failed`, `unknown`
    /// or `arriving`.
    pub state: String,
    /// Priority class, 100 first.
    pub priority: u8,
    /// The group with which it leaves, if it belongs to one.
    #[serde(default)]
    pub group: Option<String>,
    /// Memory.
    pub memory_bytes: u64,
    /// Bytes still to be sent.
    pub remaining_bytes: u64,
    /// Why it does not move, all reasons.
    pub reasons: Vec<String>,
}

/// Answer to [`Request::Plan`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanInfo {
    /// VMs that can go, in order, then those that cannot.
    pub vms: Vec<PlannedVmInfo>,
    /// Hosts to be emptied that are not heard and ought to be.
    pub silent: Vec<String>,
    /// Hosts to be emptied whose hypervisor does not answer: what they run is not known, or old.
    pub hypervisor_down: Vec<String>,
    /// Hosts to be emptied that have not told the host that answers of their VMs.
    pub untold: Vec<String>,
    /// Hosts to be emptied that have not told the host that answers of their VMs yet, and will within
    /// seconds.
    pub not_told_yet: Vec<String>,
    /// Links over which they would leave and of which nobody has measured or configured what they carry.
    #[serde(default)]
    pub guessed: Vec<GuessInfo>,
    /// Until the last one has left.
    pub total_ms: u64,
    /// Bytes that must cross.
    pub bytes: u64,
}

/// What a link is assumed to carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuessInfo {
    /// The link.
    pub link: String,
    /// Bytes per second.
    pub bytes_per_sec: u64,
}

/// One VM of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVmInfo {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub id: String,
    /// Priority class.
    pub priority: u8,
    /// The group with which it leaves, if it belongs to one.
    #[serde(default)]
    pub group: Option<String>,
    /// Memory.
    pub memory_bytes: u64,
    /// The host that it leaves.
    pub from: String,
    /// The host that it would go to.
    pub to: Option<String>,
    /// Predicted start after the start of the evacuation.
    pub start_ms: u64,
    /// Predicted finish.
    pub finish_ms: u64,
    /// Predicted pause of the guest.
    pub downtime_ms: u64,
    /// Whether that is past the deadline, or the end of its host's power.
    pub late: bool,
    /// Which of the two is first, if there is either: `deadline` or `power`.
    #[serde(default)]
    pub limit: Option<String>,
    /// Why it cannot go, all reasons; empty if it can.
    pub reasons: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventInfo {
    /// Seconds since 1970, for people only.
    pub unix_seconds: u64,
    /// Thousandths of the second.
    pub milliseconds: u32,
    /// `rejected`, `member`, `evacuation`, `vm`, `failed`, `unknown`, `link` or `alarm`.
    pub kind: String,
    /// The VM concerned.
    pub vm: Option<String>,
    /// The evacuation concerned.
    pub evacuation: Option<String>,
    /// What happened, to what, and what to do.
    pub text: String,
}

/// Answer to [`Request::Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The evacuation.
    pub evacuation: EvacuationInfo,
    /// The links that it uses, as they are now.
    pub links: Vec<LinkInfo>,
    /// VMs that have arrived, by the time of their arrival.
    pub arrived: Vec<Arrived>,
    /// VMs that are still to leave, and those on their way.
    pub waiting: Vec<VmInfo>,
    /// VMs of which it is not certain where they run, at the hosts that it empties and at those that may
    /// take them, with what is known of each and what to do. Those that it does not move may be among
    /// them.
    pub uncertain: Vec<VmInfo>,
    /// VMs that two hosts say to run, one of them a host that it empties or that may take its VMs.
    pub doubles: Vec<DoubleInfo>,
    /// VMs still to leave that are not expected to do so in time, as far as the host that answers knows, in
    /// the order in which they would leave.
    #[serde(default)]
    pub late: Vec<LateInfo>,
    /// If it was ended: active evacuations that go on to move VMs from hosts which it empties, too.
    pub goes_on: Vec<String>,
    /// Other evacuations that have moved VMs from its hosts since it was started.
    pub moved_by: Vec<MovedBy>,
    /// Measures over those that have arrived.
    pub measures: Option<Measures>,
}

/// A VM that is not expected to leave in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateInfo {
    /// Its UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The host that it leaves.
    pub host: String,
    /// By how much it would be late.
    pub by_ms: u64,
    /// What it would miss: the `deadline`, or the end of its host's `power`.
    pub limit: String,
}

/// What another evacuation moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedBy {
    /// Its id.
    pub id: String,
    /// How many VMs have left because of it.
    pub vms: usize,
}

/// A completed move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The VM's UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The host that it left.
    pub from: String,
    /// The host that it runs on.
    pub to: String,
    /// Start of the move after the start of the evacuation.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// Whether it ran, and runs on; a VM that was paused or shut off is so still, also one that had ended
    /// on its way ([`EvacuationInfo::ended`]).
    pub ran: bool,
    /// How long the guest stood still; absent if it did not run, and unknown if a daemon died meanwhile.
    pub downtime_ms: Option<u64>,
    /// Bytes that had to be sent once.
    pub bytes_needed: u64,
    /// Bytes put on the wire; unknown if the daemon that sent it died meanwhile.
    pub bytes_sent: Option<u64>,
    /// Attempts that it took.
    pub attempts: u32,
    /// Dirty rate last measured.
    pub dirty_bytes_per_sec: u64,
}

/// How good it was, against physics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Start of the evacuation to the last arrival.
    pub total_ms: u64,
    /// Mean time from start to end of each VM's move.
    pub mean_individual_ms: u64,
    /// Mean time from the start of the evacuation to each VM's arrival.
    pub mean_completion_ms: u64,
    /// Longest pause of a guest, of those that are known; `None` if none is.
    pub max_downtime_ms: Option<u64>,
    /// Mean pause of a guest, of those that are known; `None` if none is.
    pub mean_downtime_ms: Option<u64>,
    /// Bytes that had to be sent once, of the VMs of which it is known what was sent.
    pub bytes_needed: u64,
    /// Bytes put on the wire for these; `None` if it is known of none.
    pub bytes_sent: Option<u64>,
    /// VMs of which that is not known.
    pub vms_not_counted: u64,
    /// Capacity that the bounds rest on.
    pub capacity_bytes_per_sec: u64,
    /// Where that figure is from: `estimate` or `configured`.
    pub capacity_from: String,
    /// Bytes sent against what the link could have carried in the total time, thousandths; `None`
    /// unless it is known of all VMs what was sent.
    pub link_use_permille: Option<u64>,
    /// Lower limit of the total time.
    pub bound_total_ms: u64,
    /// Lower limit of the mean individual time.
    pub bound_individual_ms: u64,
    /// sqrt(total / bound x mean individual / bound); 1.0 is physics.
    pub score: f64,
}
