//! Daemons that come up after the evacuation has started.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_tests::{Sketch, run, until};

#[test]
fn a_source_and_a_destination_learn_of_it() {
    let sketch = Sketch { sources: 3, capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        for late in ["a3", "b2"] {
            world.cluster_mut().kill_node(late)?;
        }
        let id = world.evacuate("a1").await?;
        world.flowing(4 << 20).await?;
        let silent = world.evacuation("a1", &id).await?.silent;
        ensure!(silent.iter().all(|host| host == "a3"), "{silent:?}");
        for late in ["a3", "b2"] {
            world.cluster_mut().start_node(late)?;
        }
        until("the late ones know of it", Duration::from_secs(20), async || {
            for late in ["a3", "b2"] {
                let Ok(status) = world.status(late).await else { return Ok(None) };
                if status.evacuations.iter().all(|known| known.id != id) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        world.done("a3", &id, Duration::from_secs(10)).await?;
        Ok(())
    });
}
