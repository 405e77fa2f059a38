//! Nothing goes wrong.

use std::time::Duration;

use anyhow::{Context, ensure};
use lifeboat_tests::{Sketch, run};

#[test]
fn all_arrive_once_and_intact() {
    run(Sketch::default(), async |world| {
        world.tokens_can_be_granted().await?;
        let traffic = world.watch_traffic();
        let id = world.evacuate("a1").await?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        let report = world.done("b1", &id, Duration::from_secs(10)).await?;
        ensure!(report.arrived.len() == 6, "{:?}", report.arrived);
        ensure!(report.arrived.iter().all(|one| one.attempts == 1), "{:?}", report.arrived);
        let measures = report.measures.context("there are arrivals")?;
        let ratio = |value: u64, bound: u64| {
            Duration::from_millis(value).as_secs_f64() / Duration::from_millis(bound).as_secs_f64()
        };
        let link = world.capacity();
        println!(
            "undisturbed: {} MiB crossed the link at {:.0} % of its capacity; it is taken to carry \
             {} Mbit/s and carries {} Mbit/s",
            traffic.bytes() >> 20,
            100.0 * traffic.share_used(Duration::from_millis(measures.total_ms)),
            measures.capacity_bytes_per_sec / 125_000,
            link,
        );
        println!(
            "undisturbed: total {} ms, {:.2} x bound; individual {:.2} x bound; score {:.2}; \
             {} MiB needed, {:?} MiB sent; longest pause {:?} ms, {:.0} ms as the hypervisors say; {}",
            measures.total_ms,
            ratio(measures.total_ms, measures.bound_total_ms),
            ratio(measures.mean_individual_ms, measures.bound_individual_ms),
            measures.score,
            measures.bytes_needed >> 20,
            measures.bytes_sent.map(|bytes| bytes >> 20),
            measures.max_downtime_ms,
            world.longest_pause().await?,
            traffic.longest_gap(),
        );
        Ok(())
    });
}
