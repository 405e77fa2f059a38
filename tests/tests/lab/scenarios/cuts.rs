//! The link fails while guests run at their sources.

use std::{thread, time::Duration};

use anyhow::ensure;

use crate::{
    cluster::Cluster,
    triggers::{Events, STARTED, Scissors},
    verdict,
};

const OUTAGE: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(150);

/// The link is cut for ten seconds while a guest is half way: its move goes on where it was.
pub(super) fn link_cut(cluster: &mut Cluster) -> anyhow::Result<()> {
    let events = Events::of(cluster, &cluster.lab.hosts_of(&cluster.away()))?;
    let mut moving = String::new();
    let report = super::evacuate(cluster, WITHIN, false, |cluster, _| {
        let mut scissors = Scissors::new(&cluster.lab)?;
        let (guest, source, _) = cluster.mid_move()?;
        scissors.cut()?;
        let sent = |cluster: &Cluster| processed(cluster, &source, &guest);
        let before = sent(cluster)?;
        thread::sleep(OUTAGE);
        let after = sent(cluster)?;
        scissors.heal()?;
        println!(
            "   the link was cut for {} s while {guest} was half way: QEMU had sent {before} before \
             and {after} at its end",
            OUTAGE.as_secs()
        );
        moving = guest;
        Ok(())
    })?;
    let attempts = verdict::attempts(&report);
    let starts = events
        .stream
        .try_iter()
        .filter(|event| event.guest == moving && event.what.starts_with(STARTED));
    ensure!(attempts.get(&moving) == Some(&1), "{moving} needed attempts: {attempts:?}");
    ensure!(starts.count() == 1, "{moving}'s migration was started anew");
    println!("   {moving} went on in the same attempt, its migration was started once");
    Ok(())
}

/// What QEMU has sent so far, in libvirt's words.
fn processed(cluster: &Cluster, host: &str, guest: &str) -> anyhow::Result<String> {
    let job = cluster.virsh(host, &["domjobinfo", guest])?;
    let line = job.lines().find_map(|line| line.strip_prefix("Data processed:"));
    Ok(line.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default())
}
