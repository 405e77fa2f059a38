//! The link between the sites is gone for a while.

use std::time::Duration;

use anyhow::{Context, ensure};
use lifeboat_tests::{Flow, Sketch, run, until};

const CUT: Duration = Duration::from_secs(10);

#[test]
fn moves_continue_where_they_were() {
    let sketch = Sketch { vms: vec![48, 48, 24], capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        world.tokens_can_be_granted().await?;
        let traffic = world.watch_traffic();
        let id = world.evacuate("a1").await?;
        world.flowing(8 << 20).await?;
        world.cut().await?;
        // The cut's length is what is tested.
        tokio::time::sleep(CUT).await;
        let before: Vec<Flow> =
            world.flows().await?.into_iter().filter(|flow| flow.open && flow.arrived > 0).collect();
        ensure!(!before.is_empty(), "no move was under way");
        world.all_intact().await?;
        world.heal().await?;
        for flow in &before {
            let end = until("the move goes on to its end", Duration::from_secs(60), async || {
                let flows = world.flows_of(&flow.from).await?;
                let same = flows.into_iter().find(|one| one.id == flow.id);
                same.context("the carrier has forgotten the move")
                    .map(|one| (!one.open).then_some(one))
            })
            .await?;
            println!(
                "WAN cut: {} had {} KiB at the far end before, {} KiB in the end; {} KiB sent",
                flow.id,
                flow.arrived >> 10,
                end.arrived >> 10,
                end.wire >> 10,
            );
            // Half of the memory is random and a quarter compressible: what arrived stays arrived.
            let rest = end.given - flow.arrived;
            ensure!(end.wire < flow.wire + rest + rest / 10 + (2 << 20), "{flow:?} {end:?}");
        }
        world.all_arrive_intact(Duration::from_secs(90)).await?;
        let report = world.done("a1", &id, Duration::from_secs(10)).await?;
        for flow in &before {
            let moved = report.arrived.iter().find(|one| one.id == flow.vm);
            ensure!(moved.is_some_and(|one| one.attempts == 1), "{:?}", report.arrived);
        }
        println!("WAN cut for {} s: {}", CUT.as_secs(), traffic.longest_gap());
        Ok(())
    });
}
