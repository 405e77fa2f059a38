//! An evacuation is aborted and started again.

use std::time::Duration;

use anyhow::ensure;
use lifeboat::api::{Cancelled, Request};
use lifeboat_tests::{Sketch, run, until};

#[test]
fn running_moves_are_given_up_and_their_vms_run_on() {
    let sketch = Sketch { vms: vec![48; 3], capacity: 100, ..Sketch::default() };
    run(sketch, async |world| {
        let first = world.evacuate("a1").await?;
        let flow = world.flowing(4 << 20).await?;
        let request = Request::Cancel { id: Some(first.clone()), abort: true };
        let aborted: Vec<Cancelled> = world.cluster().ask("a1", &request).await?;
        let expect = Cancelled {
            was_done: false,
            goes_on: Vec::new(),
            id: first.clone(),
            state: "aborted".to_owned(),
            was_so: false,
        };
        ensure!(aborted == [expect.clone()], "{aborted:?}");
        // What is aborted stays so.
        let request = Request::Cancel { id: Some(first.clone()), abort: false };
        let cancelled: Vec<Cancelled> = world.cluster().ask("a1", &request).await?;
        ensure!(cancelled == [Cancelled { was_so: true, ..expect }], "{cancelled:?}");
        until("no move is under way", Duration::from_secs(20), async || {
            let flows = world.flows().await?;
            Ok(flows.iter().all(|flow| !flow.open).then_some(()))
        })
        .await?;
        let stays = until("the VM is at rest", Duration::from_secs(20), async || {
            let vms: Vec<lifeboat::api::VmInfo> = world.cluster().ask("b1", &Request::Vms).await?;
            let found: Vec<_> = vms.into_iter().filter(|vm| vm.id == flow.vm).collect();
            Ok((found.len() == 1 && found[0].state == "resting").then_some(found))
        })
        .await?;
        ensure!(stays[0].host == flow.from, "{stays:?}");
        world.all_intact().await?;
        let second = world.evacuate("b1").await?;
        world.all_arrive_intact(Duration::from_secs(90)).await?;
        world.done("a1", &second, Duration::from_secs(10)).await?;
        Ok(())
    });
}
