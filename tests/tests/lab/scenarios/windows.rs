//! Faults inside the switchover, where libvirt by itself leaves a guest frozen, or running twice.
//!
//! Each evacuation is disturbed at its first switchovers, at another moment each time; a guest that
//! had to stay is moved again.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

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
    let offsets_ms = [0, 20, 50, 100, 150];
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
                    && (event.what.starts_with(RAN_ON) || event.what.starts_with("Stopped Migrated"))
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
    let offsets_ms = [0, 10, 25, 45, 70];
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

/// The destination's libvirtd is killed at moments of the handover: libvirt by itself then leaves
/// the guest running on both hosts, without any fault of the network.
pub(super) fn libvirtd_killed_at_the_handover(cluster: &mut Cluster) -> anyhow::Result<()> {
    // Before and after the destination's libvirt makes the arrival its own.
    let moments = [(PAUSED, 0), (PAUSED, 60), (FINISHING, 0), (FINISHING, 3), (COMPLETE, 0)];
    super::evacuate(cluster, WITHIN, false, |cluster, _| {
        for (trigger, offset_ms) in moments {
            // The watchers of a libvirtd that was killed have ended.
            let all: Vec<String> = cluster.lab.hosts().map(str::to_owned).collect();
            let events = Events::of(cluster, &all)?;
            let mut hangmen = Vec::new();
            for host in cluster.lab.hosts_of(&cluster.away()) {
                hangmen.push((Hangman::of_libvirtd(&cluster.lab, &host)?, host));
            }
            let seen = next(&events, trigger)?;
            let host = destination(cluster, &seen)?;
            thread::sleep(Duration::from_millis(offset_ms));
            let Some(at) = hangmen.iter().position(|(_, its)| *its == host) else {
                anyhow::bail!("{host} is no destination");
            };
            hangmen.swap_remove(at).0.kill()?;
            thread::sleep(RESTART);
            let before = copies(cluster, &seen.guest);
            cluster.lab.run(&["libvirtd", &host, "start"])?;
            println!(
                "   {}: {host}'s libvirtd killed {offset_ms} ms after {trigger:?}: {before}; with \
                 libvirtd again: {}",
                seen.guest,
                copies(cluster, &seen.guest)
            );
        }
        Ok(())
    })
    .map(drop)
}

fn next(events: &Events, what: &str) -> anyhow::Result<Event> {
    // What happened before is not waited for.
    while events.stream.try_recv().is_ok() {}
    events.next(what, PATIENCE, |event| event.what.starts_with(what))
}

/// The host that a guest is arriving at.
fn destination(cluster: &Cluster, event: &Event) -> anyhow::Result<String> {
    let destinations = cluster.lab.hosts_of(&cluster.away());
    if destinations.contains(&event.host) {
        return Ok(event.host.clone());
    }
    let pid_file = format!("run/libvirt/qemu/{}.pid", event.guest);
    let here = destinations.into_iter().find(|host| cluster.lab.path(host, &pid_file).exists());
    here.ok_or_else(|| anyhow::anyhow!("{} arrives nowhere", event.guest))
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
