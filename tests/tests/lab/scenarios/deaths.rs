//! Processes die in the middle, and are started again as systemd would.

use std::{thread, time::Duration};

use anyhow::ensure;

use crate::{PATIENCE, cluster::Cluster, wait::until};

const WITHIN: Duration = Duration::from_secs(150);
/// systemd's pause before it starts a service again, with `RestartSec=` of the packages' units.
const RESTART: Duration = Duration::from_secs(1);
const DAEMON_RESTART: Duration = Duration::from_secs(3);

/// The daemon at which the evacuation was started is killed after the first arrival.
pub(super) fn initiator_killed(cluster: &mut Cluster) -> anyhow::Result<()> {
    super::evacuate(cluster, WITHIN, true, |cluster, id| {
        let initiator = cluster.lab.hosts_of(&cluster.home)[0].clone();
        let witness = cluster.lab.hosts_of(&cluster.away())[1].clone();
        let arrived = || -> anyhow::Result<usize> {
            Ok(cluster.report(&witness, id)?["arrived"].as_array().map_or(0, Vec::len))
        };
        until("the first guest arrives", PATIENCE, || Ok((arrived()? > 0).then_some(())))?;
        cluster.kill_daemon(&initiator)?;
        let then = arrived()?;
        thread::sleep(DAEMON_RESTART);
        println!(
            "   {initiator}'s daemon was killed after {then} arrivals; {} when it is started again",
            arrived()?
        );
        cluster.start_daemon(&initiator)
    })
    .map(drop)
}

/// The libvirtd of a destination is killed while a guest is half way to it.
pub(super) fn destination_libvirtd_killed(cluster: &mut Cluster) -> anyhow::Result<()> {
    super::evacuate(cluster, WITHIN, true, |cluster, _| {
        let (guest, _, destination) = cluster.mid_move()?;
        restart_libvirtd(cluster, &destination)?;
        println!("   {destination}'s libvirtd was killed while {guest} was half way");
        Ok(())
    })
    .map(drop)
}

/// The libvirtd of a source is killed while a guest is half way from it.
pub(super) fn source_libvirtd_killed(cluster: &mut Cluster) -> anyhow::Result<()> {
    super::evacuate(cluster, WITHIN, true, |cluster, _| {
        let (guest, source, _) = cluster.mid_move()?;
        restart_libvirtd(cluster, &source)?;
        println!("   {source}'s libvirtd was killed while {guest} was half way");
        Ok(())
    })
    .map(drop)
}

fn restart_libvirtd(cluster: &Cluster, host: &str) -> anyhow::Result<()> {
    cluster.lab.run(&["libvirtd", host, "kill"])?;
    thread::sleep(RESTART);
    cluster.lab.run(&["libvirtd", host, "start"]).map(drop)
}

/// The carrier of a source is killed while it carries a guest; its daemon starts the next one.
pub(super) fn source_carrier_killed(cluster: &mut Cluster) -> anyhow::Result<()> {
    carrier_killed(cluster, |source, _| source)
}

/// The same at a destination.
pub(super) fn destination_carrier_killed(cluster: &mut Cluster) -> anyhow::Result<()> {
    carrier_killed(cluster, |_, destination| destination)
}

fn carrier_killed(
    cluster: &mut Cluster,
    whose: fn(String, String) -> String,
) -> anyhow::Result<()> {
    let report = super::evacuate(cluster, WITHIN, false, |cluster, _| {
        let (guest, source, destination) = cluster.mid_move()?;
        let host = whose(source, destination);
        cluster.kill_carrier(&host)?;
        println!("   {host}'s carrier was killed while {guest} was half way");
        Ok(())
    })?;
    let again = report["arrived"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|one| one["attempts"].as_u64().is_some_and(|attempts| attempts > 1));
    ensure!(again, "no guest needed a second attempt: the carrier was killed too late");
    Ok(())
}
