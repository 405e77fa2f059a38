//! A carrier dies while it carries.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_tests::{Sketch, World, run};

fn sketch() -> Sketch {
    Sketch { vms: vec![48, 24, 24], capacity: 100, ..Sketch::default() }
}

#[test]
fn the_one_at_the_source() {
    run(sketch(), async |world| {
        let id = world.evacuate("b1").await?;
        let flow = world.flowing(4 << 20).await?;
        world.cluster_mut().kill_carrier(&flow.from)?;
        world.told(&flow.from, "failed", &["the carrier here died"]).await?;
        arrives_at_another_attempt(world, &id, &flow.vm).await
    });
}

#[test]
fn the_one_at_the_destination() {
    run(sketch(), async |world| {
        let id = world.evacuate("b1").await?;
        let flow = world.flowing(4 << 20).await?;
        world.cluster_mut().kill_carrier(&flow.to)?;
        world.told(&flow.to, "failed", &["the carrier here died"]).await?;
        arrives_at_another_attempt(world, &id, &flow.vm).await
    });
}

async fn arrives_at_another_attempt(world: &World, id: &str, vm: &str) -> anyhow::Result<()> {
    world.all_arrive_intact(Duration::from_secs(90)).await?;
    let report = world.done("b1", id, Duration::from_secs(10)).await?;
    let moved = report.arrived.iter().find(|one| one.id == vm);
    ensure!(moved.is_some_and(|one| one.attempts > 1), "{:?}", report.arrived);
    Ok(())
}
