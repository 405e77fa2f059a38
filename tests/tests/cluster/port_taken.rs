//! Another process has the port between hosts.

use std::time::Duration;

use lifeboat::config::Config;
use lifeboat_tests::{Sketch, run, until};

#[test]
fn it_is_said_and_over_once_the_port_is_free() {
    let sketch = Sketch { destinations: 1, vms: vec![16, 16], ..Sketch::default() };
    run(sketch, async |world| {
        let listen = Config::load(&world.cluster().host("b1")?.config())?.listen;
        world.cluster_mut().kill_node("b1")?;
        world.cluster_mut().kill_carrier("b1")?;
        let taken = until("the port is free", Duration::from_secs(10), async || {
            Ok(std::net::TcpListener::bind(listen).ok())
        })
        .await?;
        world.cluster_mut().start_node("b1")?;
        world.told("b1", "failed", &["the carrier here cannot be started"]).await?;
        until("the log says what to do", Duration::from_secs(10), async || {
            let log = std::fs::read_to_string(world.cluster().host("b1")?.log())?;
            let port = listen.port().to_string();
            let words = ["cannot listen on", "another process", "ss -ltnp", port.as_str()];
            Ok(words.iter().all(|word| log.contains(word)).then_some(()))
        })
        .await?;
        drop(taken);
        let id = world.evacuate("a1").await?;
        world.all_arrive_intact(Duration::from_secs(60)).await?;
        world.done("b1", &id, Duration::from_secs(10)).await?;
        Ok(())
    });
}
