//! The daemons before and after an evacuation by `lifeboat`.

use anyhow::Context;
use serde_json::json;

use super::watch::WITHIN;
use crate::{GUESTS, PATIENCE, cluster::Cluster, wait::until};

/// Starts daemons that know nothing of earlier evacuations, and waits until they are as they are
/// long after their start: all guests are listed, and the whole link can be granted.
pub(super) fn make_ready(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.start_daemons()?;
    for host in cluster.lab.hosts() {
        until(&format!("{host} lists all guests"), PATIENCE, || {
            let vms = cluster.ask(host, &json!({"op": "vms"}))?;
            Ok(vms.as_array().is_some_and(|vms| vms.len() == GUESTS.len()).then_some(()))
        })?;
    }
    let link = format!("{}>{}", cluster.home, cluster.away());
    let issuer = &cluster.lab.hosts_of(&cluster.away())[0];
    until(&format!("all tokens of {link} have an issuer"), PATIENCE, || {
        let status = cluster.ask(issuer, &json!({"op": "status"}))?;
        let links = status["links"].as_array().context("links")?;
        let link = links.iter().find(|one| one["name"] == link.as_str()).context("the link")?;
        let issuers = link["issuers"].as_array().context("issuers")?;
        let issued: u64 = issuers.iter().filter_map(|one| one["tokens"].as_u64()).sum();
        Ok((issued == 1000).then_some(()))
    })
}

/// Waits until the receiving site says that the evacuation is done.
pub(super) fn wait_until_done(cluster: &Cluster, evacuation: &str) -> anyhow::Result<()> {
    let witness = &cluster.lab.hosts_of(&cluster.away())[1];
    cluster.done(witness, evacuation, WITHIN).map(drop)
}

/// Ends the evacuation, the daemons and the carriers.
pub(super) fn clear_away(cluster: &mut Cluster, evacuation: &str) -> anyhow::Result<()> {
    cluster.close(evacuation)?;
    cluster.stop_daemons()
}
