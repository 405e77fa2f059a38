//! The questions at the end of every scenario.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::Value;

use crate::{GUESTS, PATIENCE, cluster::Cluster, guests, wait::until};

/// Every guest runs once, where it was to go, and is well; nothing else of it is anywhere.
pub(crate) fn all_arrived(cluster: &Cluster) -> anyhow::Result<()> {
    let destinations = cluster.lab.hosts_of(&cluster.away());
    let runs_on = until("every guest runs once, and nothing else is left", PATIENCE, || {
        let mut runs_on = Vec::new();
        for (guest, copies) in everywhere(cluster)? {
            let [(host, state)] = copies.as_slice() else {
                anyhow::bail!("{guest} is here: {copies:?}");
            };
            ensure!(
                state == "running" && destinations.contains(host),
                "{guest}: {state} at {host}"
            );
            runs_on.push((guest, host.clone()));
        }
        ensure!(runs_on.len() == GUESTS.len(), "found only {runs_on:?}");
        Ok(Some(runs_on))
    })?;
    guests::are_well(cluster, &runs_on)?;
    println!("   {} guests run once each, memory intact, never rebooted, both 0", runs_on.len());
    Ok(())
}

/// What every hypervisor has of every guest: host and state.
pub(crate) fn everywhere(
    cluster: &Cluster,
) -> anyhow::Result<BTreeMap<String, Vec<(String, String)>>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for host in cluster.lab.hosts() {
        for line in cluster.virsh(host, &["list", "--all"])?.lines() {
            let mut words = line.split_whitespace().skip(1);
            let Some(name) = words.next() else { continue };
            let state = words.collect::<Vec<_>>().join(" ");
            found.entry(name.to_owned()).or_default().push((host.to_owned(), state));
        }
    }
    Ok(found)
}

/// Says how long it took, against physics.
pub(crate) fn measures(report: &Value) {
    let measures = &report["measures"];
    let number = |name: &str| measures[name].as_u64().unwrap_or(0);
    println!(
        "   total {:.1} s, bound {:.1} s, score {:.2}; longest pause {} ms; attempts {:?}",
        number("total_ms") as f64 / 1000.0,
        number("bound_total_ms") as f64 / 1000.0,
        measures["score"].as_f64().unwrap_or(0.0),
        number("max_downtime_ms"),
        attempts(report),
    );
}

/// How often each guest had to be moved until it had arrived.
pub(crate) fn attempts(report: &Value) -> BTreeMap<String, u64> {
    let arrived = report["arrived"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |one: &Value| {
        let name = one["name"].as_str().unwrap_or_default().to_owned();
        (name, one["attempts"].as_u64().unwrap_or(0))
    };
    arrived.iter().map(of).collect()
}
