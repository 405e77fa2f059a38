//! What happens while the guests leave.

mod cuts;
mod deaths;
mod undisturbed;
mod windows;

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::{cluster::Cluster, shares::Meter, verdict};

pub(crate) type Scenario = fn(&mut Cluster) -> anyhow::Result<()>;

/// In the order in which they run.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    ("undisturbed", undisturbed::undisturbed),
    ("initiator-killed", deaths::initiator_killed),
    ("destination-libvirtd-killed", deaths::destination_libvirtd_killed),
    ("source-libvirtd-killed", deaths::source_libvirtd_killed),
    ("link-cut", cuts::link_cut),
    ("cut-while-paused", windows::cut_while_paused),
    ("cut-at-the-handover", windows::cut_at_the_handover),
    ("libvirtd-killed-at-the-handover", windows::libvirtd_killed_at_the_handover),
    ("source-carrier-killed", deaths::source_carrier_killed),
    ("destination-carrier-killed", deaths::destination_carrier_killed),
];

/// Evacuates the guests' site while `disturb` does its worst, asks everything, and leaves the lab
/// as it was but for the guests, which are at the other site.
fn evacuate(
    cluster: &mut Cluster,
    within: Duration,
    lossless: bool,
    disturb: impl FnOnce(&Cluster, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Value> {
    cluster.all_heard()?;
    let meter = Meter::start(cluster)?;
    let id = cluster.evacuate()?;
    disturb(cluster, &id).context("while it was disturbed")?;
    let witness = cluster.lab.hosts_of(&cluster.away())[1].clone();
    let report = cluster.done(&witness, &id, within)?;
    let counted = meter.stop(cluster)?;
    verdict::measures(&report);
    verdict::all_arrived(cluster)?;
    counted.judge(lossless)?;
    cluster.close(&id)?;
    Ok(report)
}
