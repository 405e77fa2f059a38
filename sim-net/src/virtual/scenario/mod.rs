//! A simulated world as a person writes it: hosts, links, VMs, what is asked and what goes wrong.
//!
//! The same text is what the sweep draws, what it saves of a failing run, and what `replay` and
//! `shrink` read: a decision script is a scenario in which everything is spelled out.

mod defaults;
mod fault;
mod inventory;
mod read;

pub use fault::{Fault, FaultKind};
#[cfg(feature = "fuzz")]
pub(crate) use inventory::read as read_inventory;
pub use read::{ScenarioError, parse, read};

use std::time::Duration;

use lifeboat_units::{ByteSize, Rate, Span};
use serde::{Deserialize, Serialize};

/// A whole world and its story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Seed of everything that is drawn while it runs. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Virtual time after which it is over, done or not. Default 2h.
    #[serde(default = "limit")]
    pub limit: Span,
    /// From when on every fault is over and liveness is demanded. Default: after the last fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calm: Option<Span>,
    /// Most hosts of a cluster in which each tells all others everything; 0 runs every world as large
    /// clusters are run. Default: the protocol's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<usize>,
    /// How messages travel.
    #[serde(default)]
    pub network: Network,
    /// How long hypervisors take.
    #[serde(default)]
    pub hypervisor: Hypervisor,
    /// Hosts, each in its site.
    #[serde(rename = "host", default)]
    pub hosts: Vec<Host>,
    /// Links between sites.
    #[serde(rename = "link", default)]
    pub links: Vec<Link>,
    /// A CSV file with more VMs, beside the scenario's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<String>,
    /// VMs.
    #[serde(rename = "vm", default)]
    pub vms: Vec<Vm>,
    /// Evacuations.
    #[serde(rename = "evacuation", default)]
    pub evacuations: Vec<Evacuation>,
    /// What goes wrong.
    #[serde(rename = "fault", default)]
    pub faults: Vec<Fault>,
}

/// How messages between nodes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Thousandths of all messages that are lost. Default 0.
    pub loss_permille: u64,
    /// Thousandths of all messages that come twice. Default 0.
    pub duplicate_permille: u64,
    /// Longest extra delay of a message; later ones overtake it. Default 0s.
    pub jitter: Span,
    /// One way within a site. Default 200us.
    pub within_site: Span,
    /// Whether messages find their way around a cut through a third host that hears both ends, as they do
    /// in clusters in which each tells all others everything. Default false.
    #[serde(skip_serializing_if = "is_false")]
    pub relay: bool,
}

/// How long a simulated hypervisor takes for what it does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hypervisor {
    /// Making an arrival ready. Default 20ms.
    pub prepare: Span,
    /// From the order to the first byte, besides three round trips. Default 100ms.
    pub setup: Span,
    /// At the switchover, besides two round trips. Default 20ms.
    pub switchover: Span,
}

/// A host with its daemon, carrier and hypervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The site that it stands in.
    pub site: String,
    /// Memory for VMs. Default 64GiB.
    #[serde(default = "memory")]
    pub memory: ByteSize,
    /// Speed of its network interface, each way. Default 10Gbit/s.
    #[serde(default = "nic")]
    pub nic: Rate,
    /// When its power ends. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Span>,
    /// Whether the host knows when its power ends. Default true.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub power_known: bool,
    /// How fast its clock runs, in millionths too fast (negative: too slow). Default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_ppm: i64,
    /// When its daemon is started. Default 0s.
    #[serde(default, skip_serializing_if = "is_now")]
    pub start: Span,
    /// Lease that this node is configured with, where it differs from all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
}

/// The directed path from one site to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The sending site.
    pub from: String,
    /// The receiving sites.
    pub to: Vec<String>,
    /// What it carries.
    pub capacity: Rate,
    /// Round-trip time. Default 20ms.
    #[serde(default = "rtt")]
    pub rtt: Span,
    /// Most bytes in flight in one stream: it reaches `window / rtt`. Default 4MiB.
    #[serde(default = "window")]
    pub window: ByteSize,
    /// Most that one stream reaches, however short the way. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_ceiling: Option<Rate>,
    /// Packets lost in a million. Default 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub loss_ppm: u64,
    /// Whether many streams saturate below the capacity as the round-trip time grows, as the
    /// published measurements show. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub saturates: bool,
    /// Most streams that one move may use. Default 16.
    #[serde(default = "streams")]
    pub streams: u32,
    /// Traffic of others on it. Default none.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub production: Rate,
    /// What the nodes are told never to exceed. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Rate>,
    /// What the nodes first believe. Default 100Mbit/s.
    #[serde(default = "initial")]
    pub initial: Rate,
    /// Thousandths that stay free. Default 50.
    #[serde(default = "reserve")]
    pub reserve_permille: u16,
    /// What changes while it runs.
    #[serde(rename = "change", default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A link becomes another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When.
    pub at: Span,
    /// What it carries from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Rate>,
    /// Its round-trip time from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Span>,
    /// Packets lost in a million from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_ppm: Option<u64>,
    /// Traffic of others from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<Rate>,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub host: String,
    /// Its memory.
    pub memory: ByteSize,
    /// What it rewrites. Default nothing.
    #[serde(default = "nothing")]
    pub dirty_rate: Rate,
    /// How much of its memory it rewrites. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_set: Option<ByteSize>,
    /// 0 (last) to 100 (first). Default 50.
    #[serde(default = "priority")]
    pub priority: u8,
    /// The group with which it leaves. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Disk that must travel, too. Default none.
    #[serde(default)]
    pub disk: ByteSize,
    /// Whether it runs. Default running.
    #[serde(default)]
    pub state: VmState,
    /// May be paused and copied if it does not converge. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stop_and_copy: bool,
}

/// Whether a VM executes at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmState {
    /// It runs.
    #[default]
    Running,
    /// Its operator paused it.
    Paused,
    /// Only its definition exists.
    ShutOff,
}

/// An evacuation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evacuation {
    /// Sites or hosts to be emptied.
    pub from: Vec<String>,
    /// Sites that the VMs go to.
    pub to: Vec<String>,
    /// When it is asked for. Default 5s.
    #[serde(default = "five_seconds")]
    pub at: Span,
    /// The host where it is asked for.
    pub initiator: String,
    /// When it shall be over, counted from its start. Default: no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// When it is cancelled. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Span>,
    /// Whether cancelling gives up what moves. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub abort: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            loss_permille: 0,
            duplicate_permille: 0,
            jitter: Span(Duration::ZERO),
            within_site: Span(Duration::from_micros(200)),
            relay: false,
        }
    }
}

impl Default for Hypervisor {
    fn default() -> Self {
        Self {
            prepare: Span(Duration::from_millis(20)),
            setup: Span(Duration::from_millis(100)),
            switchover: Span(Duration::from_millis(20)),
        }
    }
}

fn one() -> u64 {
    1
}
fn limit() -> Span {
    Span(Duration::from_secs(7200))
}
fn memory() -> ByteSize {
    ByteSize(64 << 30)
}
fn nic() -> Rate {
    Rate::from_bits_per_sec(10_000_000_000)
}
fn rtt() -> Span {
    Span(Duration::from_millis(20))
}
fn window() -> ByteSize {
    ByteSize(4 << 20)
}
fn streams() -> u32 {
    16
}
fn nothing() -> Rate {
    Rate::from_bits_per_sec(0)
}
fn initial() -> Rate {
    Rate::from_bytes_per_sec(lifeboat_protocol::directory::DEFAULT_INITIAL.0)
}
fn reserve() -> u16 {
    lifeboat_protocol::directory::DEFAULT_RESERVE_PERMILLE
}
fn priority() -> u8 {
    50
}
fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}
fn yes() -> bool {
    true
}
fn is_false(flag: &bool) -> bool {
    !flag
}
fn is_zero(number: &i64) -> bool {
    *number == 0
}
fn is_none(number: &u64) -> bool {
    *number == 0
}
fn is_nothing(rate: &Rate) -> bool {
    rate.bits_per_sec() == 0
}
fn is_now(span: &Span) -> bool {
    span.0.is_zero()
}
