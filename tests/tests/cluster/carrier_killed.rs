//! A carrier dies, or hangs, while it carries.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lifeboat_sim_net::live::hypervisor::protocol::State;
use lifeboat_tests::{Sketch, World, run, until};

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

#[test]
fn one_that_hangs_is_ended_by_its_daemon() {
    run(sketch(), async |world| {
        let id = world.evacuate("b1").await?;
        let flow = world.flowing(4 << 20).await?;
        world.cluster_mut().hang_carrier(&flow.from)?;
        world
            .told(&flow.from, "failed", &["the carrier here did not answer and was ended"])
            .await?;
        arrives_at_another_attempt(world, &id, &flow.vm).await
    });
}

#[test]
fn one_that_hangs_in_a_switchover_does_not_keep_the_guest_paused() {
    let (sources, destinations, vms) = (1, 1, vec![16]);
    // Slow, so that the last pages take long enough to be seen.
    let (capacity, max_downtime) = (10, Some(4000));
    let sketch = Sketch { sources, destinations, vms, capacity, max_downtime, ..Sketch::default() };
    run(sketch, async |world| {
        let id = world.evacuate("b1").await?;
        until("the guest is paused", Duration::from_secs(60), async || {
            Ok(is_switching(world).await?.then_some(()))
        })
        .await?;
        world.cluster_mut().hang_carrier("a1")?;
        let since = Instant::now();
        ensure!(is_switching(world).await?, "it was over before the carrier hung");
        world.told("a1", "failed", &["the carrier here did not answer and was ended"]).await?;
        println!("a carrier that hung in a switchover was ended after {:?}", since.elapsed());
        let vm = world.report("a1", &id).await?.waiting.first().map(|one| one.id.clone());
        arrives_at_another_attempt(world, &id, &vm.context("it has not stayed")?).await
    });
}

async fn is_switching(world: &World) -> anyhow::Result<bool> {
    let found = world.find_vms().await?;
    Ok(found.values().flatten().any(|home| home.state == State::Switching))
}

async fn arrives_at_another_attempt(world: &World, id: &str, vm: &str) -> anyhow::Result<()> {
    world.all_arrive_intact(Duration::from_secs(90)).await?;
    let report = world.done("b1", id, Duration::from_secs(10)).await?;
    let moved = report.arrived.iter().find(|one| one.id == vm);
    ensure!(moved.is_some_and(|one| one.attempts > 1), "{:?}", report.arrived);
    Ok(())
}
