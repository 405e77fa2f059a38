//! A daemon whose hypervisor is not there yet.

use std::time::Duration;

use anyhow::ensure;
use lifeboat_tests::{Sketch, run, until};

#[test]
fn it_says_so_and_goes_on_when_it_comes() {
    let sketch = Sketch { destinations: 1, vms: vec![16, 16], ..Sketch::default() };
    run(sketch, async |world| {
        world.cluster_mut().kill_node("b1")?;
        world.cluster_mut().kill_hypervisor("b1")?;
        world.cluster_mut().start_node("b1")?;
        world.told("b1", "failed", &["hypervisor", "does not answer", "waiting for it"]).await?;
        until("others see that it takes nothing", Duration::from_secs(20), async || {
            let status = world.status("a1").await?;
            let b1 = status.hosts.into_iter().find(|host| host.name == "b1");
            Ok(b1.filter(|host| host.state == "alive" && !host.takes_arrivals))
        })
        .await?;
        let id = world.evacuate("a1").await?;
        until("the VMs say why they wait", Duration::from_secs(20), async || {
            let vms: Vec<lifeboat::api::VmInfo> =
                world.cluster().ask("a1", &lifeboat::api::Request::Vms).await?;
            let waits =
                |vm: &lifeboat::api::VmInfo| vm.reasons.iter().any(|why| why.contains("b1"));
            Ok((!vms.is_empty() && vms.iter().all(waits)).then_some(()))
        })
        .await?;
        ensure!(world.settled_at("a").await?.len() == 2, "something has left");
        world.cluster_mut().start_hypervisor("b1")?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        world.done("b1", &id, Duration::from_secs(10)).await?;
        Ok(())
    });
}
