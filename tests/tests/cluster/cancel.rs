//! An evacuation is cancelled and started again.

use std::time::Duration;

use anyhow::ensure;
use lifeboat::api::{Cancelled, Request};
use lifeboat_tests::{Sketch, run, until};

#[test]
fn running_moves_finish_and_nothing_new_starts() {
    let sketch = Sketch { capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        let first = world.evacuate("a1").await?;
        world.flowing(4 << 20).await?;
        // Cancelled elsewhere than where it was started.
        let request = Request::Cancel { id: None, abort: false };
        let cancelled: Vec<Cancelled> = world.cluster().ask("b1", &request).await?;
        let expect = Cancelled {
            was_done: false,
            goes_on: Vec::new(),
            id: first.clone(),
            state: "cancelled".to_owned(),
            was_so: false,
        };
        ensure!(cancelled == [expect], "{cancelled:?}");
        until("all hosts know that it is cancelled", Duration::from_secs(10), async || {
            for host in world.cluster().hosts() {
                if world.evacuation(&host.name, &first).await?.state != "cancelled" {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        let running: Vec<String> = world
            .flows()
            .await?
            .into_iter()
            .filter(|flow| flow.open && flow.given > 0)
            .map(|flow| flow.id)
            .collect();
        ensure!(!running.is_empty(), "nothing was under way");
        until("the running moves have ended", Duration::from_secs(60), async || {
            let flows = world.flows().await?;
            Ok(flows.iter().all(|flow| !flow.open).then_some(()))
        })
        .await?;
        until("those that ended have arrived", Duration::from_secs(10), async || {
            let arrived = world.report("b1", &first).await?.arrived;
            Ok((arrived.len() == world.settled_at("b").await?.len()).then_some(()))
        })
        .await?;
        let arrived = world.settled_at("b").await?;
        ensure!(arrived.len() < 6, "all have arrived before the cancellation was known");
        for flow in world.flows().await? {
            ensure!(flow.given == 0 || running.contains(&flow.id) || !flow.open, "{flow:?}");
        }
        world.all_intact().await?;
        // Nothing is left that a bare command could mean, aborting included.
        for abort in [false, true] {
            let request = Request::Cancel { id: None, abort };
            let refused = world.cluster().ask::<Vec<Cancelled>>("a1", &request).await;
            let refused = format!("{:#}", refused.expect_err("nothing is active"));
            ensure!(refused.contains("no evacuation is active"), "{refused}");
        }
        let second = world.evacuate("a2").await?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        let report = world.done("a1", &second, Duration::from_secs(10)).await?;
        ensure!(report.arrived.len() == 6 - arrived.len(), "{:?}", report.arrived);
        Ok(())
    });
}
