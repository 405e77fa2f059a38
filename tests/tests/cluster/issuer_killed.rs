//! The node that issues most of the link's tokens loses its daemon.

use std::time::Duration;

use anyhow::{Context, ensure};
use lifeboat_tests::{Sketch, run};

#[test]
fn its_slices_go_to_the_others_and_it_comes_back() {
    let sketch = Sketch { capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        world.tokens_can_be_granted().await?;
        let traffic = world.watch_traffic();
        let id = world.evacuate("a1").await?;
        world.flowing(4 << 20).await?;
        let status = world.status("b1").await?;
        let link = status.links.iter().find(|link| link.name == "a>b").context("no link a>b")?;
        let issuer = link.issuers.iter().max_by_key(|issuer| issuer.tokens).context("no issuer")?;
        let issuer = issuer.host.clone();
        world.cluster_mut().kill_node(&issuer)?;
        world.told("a1", "member", &[&issuer, "dead"]).await?;
        world.cluster_mut().start_node(&issuer)?;
        world.all_arrive_intact(Duration::from_secs(90)).await?;
        world.done("a1", &id, Duration::from_secs(10)).await?;
        let gap = traffic.longest_gap();
        println!("issuer {issuer} killed: {gap}");
        ensure!(gap.lasted < 15.0, "{gap}");
        Ok(())
    });
}
