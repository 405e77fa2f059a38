//! The node that holds most of the link's tokens loses its daemon.

use std::time::Duration;

use anyhow::{Context, ensure};
use lifeboat_tests::{Sketch, run};

#[test]
fn its_tokens_go_to_the_others_and_it_comes_back() {
    let sketch = Sketch { capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        world.tokens_can_be_granted().await?;
        let traffic = world.watch_traffic();
        let id = world.evacuate("b1").await?;
        world.flowing(4 << 20).await?;
        let status = world.status("b1").await?;
        let link = status.links.iter().find(|link| link.name == "a>b").context("no link a>b")?;
        let holder = link.senders.iter().max_by_key(|sender| sender.tokens).context("no sender")?;
        let holder = holder.host.clone();
        world.cluster_mut().kill_node(&holder)?;
        world.told("b1", "member", &[&holder, "dead"]).await?;
        world.cluster_mut().start_node(&holder)?;
        world.all_arrive_intact(Duration::from_secs(90)).await?;
        world.done("b1", &id, Duration::from_secs(10)).await?;
        let gap = traffic.longest_gap();
        println!("holder {holder} killed: {gap}");
        ensure!(gap.lasted < 15.0, "{gap}");
        Ok(())
    });
}
