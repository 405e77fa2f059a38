//! The host where the evacuation was started loses its daemon.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_tests::{Sketch, run, until};

#[test]
fn the_rest_goes_on_and_its_own_vms_leave_once_it_is_back() {
    let sketch = Sketch { sources: 3, capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        world.tokens_can_be_granted().await?;
        let traffic = world.watch_traffic();
        let id = world.evacuate("a1").await?;
        world.flowing(4 << 20).await?;
        world.cluster_mut().kill_node("a1")?;
        until("all VMs of the others have arrived", Duration::from_secs(60), async || {
            let settled = world.settled_at("b").await?;
            let others = ["vm-2", "vm-3", "vm-5", "vm-6"];
            Ok(others.iter().all(|vm| settled.iter().any(|name| name == vm)).then_some(()))
        })
        .await?;
        let gap = traffic.longest_gap();
        println!("initiator killed: {gap}");
        ensure!(gap.lasted < 15.0, "{gap}");
        let seen = world.evacuation("a2", &id).await?;
        ensure!(seen.silent == ["a1"], "{seen:?}");
        world.cluster_mut().start_node("a1")?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        world.done("a1", &id, Duration::from_secs(10)).await?;
        Ok(())
    });
}
