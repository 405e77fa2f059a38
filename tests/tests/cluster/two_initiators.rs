//! Two operators start an evacuation at two hosts at the same time.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_tests::{Sketch, run, until};

#[test]
fn the_same_terms_become_one() {
    run(Sketch::default(), async |world| {
        let (one, other) = tokio::try_join!(world.evacuate("a1"), world.evacuate("b2"))?;
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        until("all know that one is merged into the other", Duration::from_secs(10), async || {
            for host in world.cluster().hosts() {
                let known = world.status(&host.name).await?.evacuations;
                let merged = known
                    .iter()
                    .any(|info| info.id == second && info.merged_into.as_ref() == Some(&first));
                if known.len() != 2 || !merged {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        let report = world.done("a2", &first, Duration::from_secs(10)).await?;
        ensure!(report.arrived.len() == 6, "{:?}", report.arrived);
        world.done("a2", &second, Duration::from_secs(10)).await?;
        Ok(())
    });
}

#[test]
fn a_host_and_its_site_do_not_hinder_each_other() {
    run(Sketch::default(), async |world| {
        let (_, site) =
            tokio::try_join!(world.evacuate_from("b1", "a1"), world.evacuate_from("a2", "a"))?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        world.done("b2", &site, Duration::from_secs(10)).await?;
        Ok(())
    });
}
