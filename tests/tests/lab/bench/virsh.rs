//! What a script of plain virsh does: `virsh migrate` for guest after guest, smallest first, so many
//! at a time.
//!
//! The options are the best that were found on this link: four connections, zstd and the driver's
//! own throttling of guests that rewrite too much; no cap on bandwidth.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Context;

use super::watch::WITHIN;
use crate::{
    cluster::Cluster,
    guests::{Guest, MAX_DOWNTIME_MS},
    verdict,
};

const OPTIONS: &str = "--live --p2p --persistent --undefinesource --auto-converge \
                       --parallel --parallel-connections 4 --compressed --comp-methods zstd";

/// One command: which guest goes from where to where.
pub(super) struct Order {
    guest: &'static str,
    from: String,
    to: String,
}

/// Deals the guests out over the hosts of the other site, and tells their hypervisors the pause that
/// `lifeboat` finds in their policy.
pub(super) fn make_ready(cluster: &Cluster, guests: &[Guest]) -> anyhow::Result<Vec<Order>> {
    let everywhere = verdict::everywhere(cluster)?;
    let destinations = cluster.lab.hosts_of(&cluster.away());
    guests
        .iter()
        .zip(destinations.iter().cycle())
        .map(|(guest, destination)| {
            let copies = everywhere.get(guest.name).context(guest.name)?;
            let (from, _) = copies.first().context(guest.name)?;
            cluster.virsh(from, &["migrate-setmaxdowntime", guest.name, MAX_DOWNTIME_MS])?;
            let to = format!("qemu+tcp://{}/system", cluster.lab.address(destination)?);
            Ok(Order { guest: guest.name, from: from.clone(), to })
        })
        .collect()
}

/// Gives the commands, and waits until the last one has ended.
pub(super) fn move_all(
    cluster: &Cluster,
    orders: &[Order],
    at_a_time: usize,
) -> anyhow::Result<()> {
    let left = Mutex::new(orders.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            while let Some(order) = next() {
                migrate(cluster, order)?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow::anyhow!("giving the commands panicked"))?
        })
    })
}

fn migrate(cluster: &Cluster, order: &Order) -> anyhow::Result<()> {
    // A guest that does not converge within that time is paused until all of it is sent.
    let patience = WITHIN.as_secs().to_string();
    let mut words = vec!["migrate"];
    words.extend(OPTIONS.split_whitespace());
    words.extend(["--timeout", &patience, "--timeout-suspend", order.guest, &order.to]);
    cluster.virsh(&order.from, &words).map(drop)
}
