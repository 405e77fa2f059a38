//! No destination has room for a VM.

use std::time::Duration;

use anyhow::{Context, ensure};
use lifeboat::api::{PlanInfo, Request, Terms};
use lifeboat_tests::{Sketch, run, until};

#[test]
fn the_plan_tells_all_reasons_and_the_rest_goes() {
    let sketch =
        Sketch { destinations: 3, vms: vec![96, 16, 16], memory: 128, ..Sketch::default() };
    run(sketch, async |world| {
        world.cluster_mut().kill_node("b3")?;
        world.told("a1", "member", &["b3", "dead"]).await?;
        let terms = |from: &[&str]| Terms {
            from: from.iter().map(|name| (*name).to_owned()).collect(),
            to: vec!["b".to_owned()],
            deadline_ms: Some(600_000),
        };
        for host in ["b1", "b2"] {
            world.fill(host, 64).await?;
        }
        let plan =
            until("the plan sees that memory is short", Duration::from_secs(10), async || {
                let plan: PlanInfo =
                    world.cluster().ask("a1", &Request::Plan(terms(&["a"]))).await?;
                let large =
                    plan.vms.iter().find(|vm| vm.name == "vm-1").context("vm-1 is missing")?;
                Ok((!large.reasons.is_empty()).then_some(plan))
            })
            .await?;
        let large = plan.vms.iter().find(|vm| vm.name == "vm-1").context("vm-1 is missing")?;
        let all = large.reasons.join("\n");
        for words in ["b1", "b2", "MiB would be free", "b3: it is not heard"] {
            ensure!(all.contains(words), "{words:?} is not among:\n{all}");
        }
        ensure!(large.to.is_none() && plan.vms.iter().filter(|vm| vm.to.is_some()).count() == 2);
        let id = world.evacuate("a1").await?;
        until("the others have arrived", Duration::from_secs(60), async || {
            let here = world.settled_at("b").await?;
            Ok(["vm-2", "vm-3"].iter().all(|vm| here.iter().any(|one| one == vm)).then_some(()))
        })
        .await?;
        let info = until("the one is counted as stuck", Duration::from_secs(10), async || {
            let info = world.evacuation("b2", &id).await?;
            Ok((info.vms_stuck == 1).then_some(info))
        })
        .await?;
        ensure!(info.state == "active", "{info:?}");
        world.all_intact().await
    });
}
