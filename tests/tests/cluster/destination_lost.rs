//! A destination host loses power while a VM is on its way there.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_tests::{Sketch, run, until};

#[test]
fn the_vm_stays_at_its_source_and_arrives_elsewhere() {
    let sketch = Sketch { vms: vec![48, 32, 24, 24], capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        world.tokens_can_be_granted().await?;
        let traffic = world.watch_traffic();
        let id = world.evacuate("a1").await?;
        let flow = world.flowing(4 << 20).await?;
        ensure!(world.settled_at(&flow.to).await?.is_empty(), "something is there already");
        world.cluster_mut().kill_host(&flow.to)?;
        // With nothing at the destination, the VM is at its source and nowhere else.
        world.all_intact().await?;
        world.all_arrive_intact(Duration::from_secs(90)).await?;
        let report = world.done("a1", &id, Duration::from_secs(10)).await?;
        ensure!(report.arrived.iter().all(|one| one.to != flow.to), "{:?}", report.arrived);
        let moved = report.arrived.iter().find(|one| one.id == flow.vm);
        ensure!(moved.is_some_and(|one| one.attempts > 1), "{:?}", report.arrived);
        let gap = traffic.longest_gap();
        println!("destination {} lost: {gap}", flow.to);
        ensure!(gap.lasted < 20.0, "{gap}");
        until("the dead host is seen as dead", Duration::from_secs(10), async || {
            let status = world.status("a1").await?;
            let dead =
                |host: &lifeboat::api::HostInfo| host.name == flow.to && host.state == "dead";
            Ok(status.hosts.iter().any(dead).then_some(()))
        })
        .await
    });
}
