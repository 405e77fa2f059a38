//! The guests: booting them, and what they say of themselves.

use std::{thread, time::Duration};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::{PATIENCE, cluster::Cluster, wait::until};

/// What a guest printed, on all hosts: see `lab check`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Story {
    pub(crate) boots: u32,
    pub(crate) last: String,
    pub(crate) passes: u64,
    pub(crate) corrupt: u64,
    pub(crate) panics: u64,
    pub(crate) both: u64,
}

/// Of every guest, in its policy: how long it may be paused.
pub(crate) const MAX_DOWNTIME_MS: &str = "300";

/// A guest that rewrites memory and checks all of it every three seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) memory_mib: u64,
    pub(crate) dirty_mb_per_sec: u64,
}

/// Boots guests, spread over the hosts of the first site.
pub(crate) fn boot(cluster: &Cluster, guests: &[Guest]) -> anyhow::Result<()> {
    let hosts = cluster.lab.hosts_of(&cluster.home);
    thread::scope(|scope| {
        let boots: Vec<_> = guests
            .iter()
            .zip(hosts.iter().cycle())
            .map(|(guest, host)| {
                let memory = guest.memory_mib.to_string();
                let dirty = format!("{}MB/s", guest.dirty_mb_per_sec);
                scope.spawn(move || {
                    let mut words = vec!["vm", "boot", host.as_str(), guest.name];
                    words.extend(["--memory", &memory, "--dirty", &dirty]);
                    words.extend(["--max-downtime-ms", MAX_DOWNTIME_MS]);
                    words.extend(["--beat", "50", "--pass", "3000"]);
                    cluster.lab.run(&words)
                })
            })
            .collect();
        boots.into_iter().try_for_each(|boot| {
            boot.join().map_err(|_| anyhow::anyhow!("booting panicked"))?.map(drop)
        })
    })
}

pub(crate) fn story(cluster: &Cluster, name: &str) -> anyhow::Result<Story> {
    let printed = cluster.lab.run(&["check", name])?;
    serde_json::from_str(&printed).with_context(|| printed)
}

/// Every guest never ran twice, never rebooted, lost nothing, and goes on checking its memory on
/// the host that it is expected on.
pub(crate) fn are_well(cluster: &Cluster, runs_on: &[(String, String)]) -> anyhow::Result<()> {
    let before: Vec<Story> =
        runs_on.iter().map(|(name, _)| story(cluster, name)).collect::<anyhow::Result<_>>()?;
    for ((name, host), before) in runs_on.iter().zip(before) {
        // The second pass from now on began, and ended, after the arrival.
        let within = PATIENCE + Duration::from_secs(6);
        let now = until(&format!("{name} checks all its memory on {host}"), within, || {
            let now = story(cluster, name)?;
            Ok((now.passes >= before.passes + 2 || now.corrupt > 0).then_some(now))
        })?;
        ensure!(
            now.boots == 1 && now.corrupt == 0 && now.panics == 0 && now.both == 0,
            "{name}: {now:?}"
        );
        ensure!(now.last == *host, "{name} runs on {host} and speaks on {}", now.last);
    }
    Ok(())
}
