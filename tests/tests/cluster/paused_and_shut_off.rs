//! VMs that do not run.

use std::time::Duration;

use lifeboat_tests::{Sketch, run};

#[test]
fn each_stays_what_it_is() {
    let sketch = Sketch { vms: vec![32, 16, 16], ..Sketch::default() };
    run(sketch, async |world| {
        world.pause("a1", "vm-1").await?;
        world.define_shut_off("a1", 16).await?;
        world.define_shut_off("a2", 16).await?;
        world.all_vms_listed().await?;
        let id = world.evacuate("a1").await?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        world.done("b1", &id, Duration::from_secs(10)).await?;
        Ok(())
    });
}
