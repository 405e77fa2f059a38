//! Faults inside the switchover, where libvirt by itself leaves a guest frozen, or running twice.
//!
//! Each evacuation is disturbed at its first switchovers, at another moment each time; a guest that
//! had to stay is moved again.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    PATIENCE,
    cluster::Cluster,
    triggers::{COMPLETE, Event, Events, FINISHING, Hangman, PAUSED, RAN_ON, Scissors},
};

const WITHIN: Duration = Duration::from_secs(240);
/// Longer than the carriers' patience with a silent peer while the guest is paused.
const OUTAGE: Duration = Duration::from_secs(3);
/// The carriers give up after 1.5 s; the rest is libvirt's and this busy machine's.
const THAW_WITHIN: Duration = Duration::from_secs(4);
const RESTART: Duration = Duration::from_secs(1);
/// Wide enough for the handover's window to be hit: half of it is one way of the source's word.
const LONG_RTT: &str = "100ms";
const RTT: &str = "20ms";

/// The link is cut when the guest is paused, with data in flight, and at moments after that: the
/// guest runs on at the source within seconds, or is complete at the destination already.
pub(super) fn cut_while_paused(cluster: &mut Cluster) -> anyhow::Result<()> {
    let offsets_ms = [0, 30, 80, 150];
    super::evacuate(cluster, WITHIN, false, |cluster, _| {
        let events = Events::of(cluster, &cluster.lab.hosts_of(&cluster.home))?;
        let mut scissors = Scissors::new(&cluster.lab)?;
        let mut thawed = 0;
        for offset_ms in offsets_ms {
            let paused = next(&events, PAUSED)?;
            thread::sleep(Duration::from_millis(offset_ms));
            scissors.cut()?;
            let cut = Instant::now();
            let ran_on = events.next("the guest runs on", OUTAGE + THAW_WITHIN, |event| {
                event.guest == paused.guest
                    && (event.what.starts_with(RAN_ON)
                        || event.what.starts_with("Stopped Migrated"))
            })?;
            let after = ran_on.at.saturating_duration_since(cut);
            println!(
                "   {} cut {offset_ms} ms after its pause: {} at {} {} ms later",
                paused.guest,
                ran_on.what,
                ran_on.host,
                after.as_millis()
            );
            thawed += u32::from(ran_on.what.starts_with(RAN_ON));
            ensure!(after < THAW_WITHIN, "{} stood still for too long", paused.guest);
            thread::sleep(OUTAGE.saturating_sub(cut.elapsed()));
            scissors.heal()?;
        }
        ensure!(thawed > 0, "no cut came early enough to catch data in flight");
        Ok(())
    })
    .map(drop)
}

/// The link is cut when the copy is complete and before its source knows: libvirt by itself then
/// leaves the guest running on both hosts.
pub(super) fn cut_at_the_handover(cluster: &mut Cluster) -> anyhow::Result<()> {
    let offsets_ms = [0, 15, 45, 70];
    cluster.lab.run(&["wan", "set", "--rtt", LONG_RTT])?;
    super::evacuate(cluster, WITHIN, false, |cluster, _| {
        let events = Events::of(cluster, &cluster.lab.hosts_of(&cluster.away()))?;
        let mut scissors = Scissors::new(&cluster.lab)?;
        let mut open = 0;
        for offset_ms in offsets_ms {
            let complete = next(&events, COMPLETE)?;
            thread::sleep(Duration::from_millis(offset_ms));
            scissors.cut()?;
            thread::sleep(OUTAGE);
            let seen = copies(cluster, &complete.guest);
            println!("   {} cut {offset_ms} ms after it was complete: {seen}", complete.guest);
            open += u32::from(seen.contains("running (") && seen.contains("paused ("));
            scissors.heal()?;
        }
        ensure!(open > 0, "no cut hit the window in which both hosts have the guest");
        Ok(())
    })?;
    cluster.lab.run(&["wan", "set", "--rtt", RTT]).map(drop)
}

/// A libvirtd is killed at moments of the handover. If it is the destination's, libvirt by itself
/// then leaves the guest running on both hosts without any fault of the network; if it is the
/// source's, the source's copy is left paused although the destination's is the true one.
pub(super) fn libvirtd_killed_at_the_handover(cluster: &mut Cluster) -> anyhow::Result<()> {
    let moments = [
        (End::Destination, PAUSED, 0),
        (End::Source, PAUSED, 60),
        // The destination's libvirt begins, and ends, the last phase of the migration.
        (End::Destination, FINISHING, 0),
        (End::Source, COMPLETE, 0),
        (End::Destination, COMPLETE, 0),
        (End::Source, COMPLETE, 15),
    ];
    super::evacuate(cluster, WITHIN, false, |cluster, _| {
        let all: Vec<String> = cluster.lab.hosts().map(str::to_owned).collect();
        for (end, trigger, offset_ms) in moments {
            // Those of the last round ended with the libvirtd that was killed.
            let events = Events::of(cluster, &all)?;
            let mut hangmen = BTreeMap::new();
            for host in &all {
                hangmen.insert(host.clone(), Hangman::of_libvirtd(&cluster.lab, host)?);
            }
            let seen = next(&events, trigger)?;
            let host = host_at(end, cluster, &seen)?;
            thread::sleep(Duration::from_millis(offset_ms));
            hangmen.remove(&host).context("a host of the lab")?.kill()?;
            thread::sleep(RESTART);
            let before = copies(cluster, &seen.guest);
            cluster.lab.run(&["libvirtd", &host, "start"])?;
            println!(
                "   {}: libvirtd of {host}, its {end:?}, killed {offset_ms} ms after {trigger:?}: \
                 {before}; with libvirtd again: {}",
                seen.guest,
                copies(cluster, &seen.guest)
            );
        }
        Ok(())
    })
    .map(drop)
}

/// One end of a guest's move.
#[derive(Debug, Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn next(events: &Events, what: &str) -> anyhow::Result<Event> {
    // What happened before is not waited for.
    while events.stream.try_recv().is_ok() {}
    events.next(what, PATIENCE, |event| event.what.starts_with(what))
}

/// The host at one end of the move that an event is of.
fn host_at(end: End, cluster: &Cluster, event: &Event) -> anyhow::Result<String> {
    let site = match end {
        End::Source => cluster.home.clone(),
        End::Destination => cluster.away(),
    };
    if cluster.lab.site_of(&event.host) == site {
        return Ok(event.host.clone());
    }
    let pid_file = format!("run/libvirt/qemu/{}.pid", event.guest);
    let hosts = cluster.lab.hosts_of(&site);
    let found = hosts.into_iter().find(|host| cluster.lab.path(host, &pid_file).exists());
    found.with_context(|| format!("{} is at no {end:?}", event.guest))
}

/// What every host has of a guest, in libvirt's words.
fn copies(cluster: &Cluster, guest: &str) -> String {
    let of = |host: &str| {
        let state = cluster.virsh(host, &["domstate", "--reason", guest]).ok()?;
        Some(format!("{} at {host}", state.trim()))
    };
    let all: Vec<String> = cluster.lab.hosts().filter_map(of).collect();
    all.join(", ")
}
