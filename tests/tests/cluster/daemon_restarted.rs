//! A daemon is restarted while its host moves or receives a VM.

use std::time::Duration;

use anyhow::{Context, ensure};
use lifeboat_tests::{Flow, Sketch, World, run};

fn sketch() -> Sketch {
    Sketch { vms: vec![48, 24, 24], capacity: 100, ..Sketch::default() }
}

#[test]
fn the_source_adopts_the_move() {
    run(sketch(), async |world| {
        let id = world.evacuate("b1").await?;
        let flow = world.flowing(4 << 20).await?;
        restart(world, &flow.from)?;
        the_same_attempt_arrives(world, &id, &flow).await
    });
}

#[test]
fn the_destination_adopts_the_move() {
    run(sketch(), async |world| {
        let id = world.evacuate("a1").await?;
        let flow = world.flowing(4 << 20).await?;
        restart(world, &flow.to)?;
        the_same_attempt_arrives(world, &id, &flow).await
    });
}

fn restart(world: &mut World, host: &str) -> anyhow::Result<()> {
    world.cluster_mut().kill_node(host)?;
    world.cluster_mut().start_node(host)
}

async fn the_same_attempt_arrives(world: &World, id: &str, flow: &Flow) -> anyhow::Result<()> {
    world.all_arrive_intact(Duration::from_secs(90)).await?;
    let report = world.done(&flow.from, id, Duration::from_secs(10)).await?;
    let moved = report.arrived.iter().find(|one| one.id == flow.vm).context("it is not listed")?;
    ensure!(moved.attempts == 1, "{moved:?}");
    let flows = world.flows_of(&flow.from).await?;
    let attempts: Vec<&Flow> = flows.iter().filter(|one| one.vm == flow.vm).collect();
    ensure!(attempts.len() == 1 && attempts[0].id == flow.id, "{attempts:?}");
    Ok(())
}
