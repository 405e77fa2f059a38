//! Measures this machine's migration throughput and the WAN emulator's accuracy and cost.
//!
//! `cargo run --release -p lifeboat-sim-net --example measure`

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use lifeboat_sim_net::live::{
    client::call,
    hypervisor::{
        self,
        protocol::{Inspection, Look, State},
    },
    wan::{
        self,
        protocol::{LinkConfig, RouteConfig, Shape, Stats},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const VM: &str = "6b7b0a3e-58a2-4a53-9f8d-0f6d6a5f3c11";

fn main() -> anyhow::Result<()> {
    // The processes apart, each with a runtime of its own, so that each one's cost can be told.
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.get(1).map(String::as_str) {
        Some("hypervisor") => runtime.block_on(hypervisor::run(hypervisor::Config {
            control: arguments.get(2).context("a path")?.into(),
            memory: 4 << 30,
            processors: 2,
            vms: None,
        })),
        Some("wan") => {
            let config = arguments.get(2).context("a configuration")?;
            runtime.block_on(wan::run(serde_json::from_str(config)?))
        }
        _ => runtime.block_on(measure()),
    }
}

struct Child(std::process::Child);

impl Child {
    fn start(arguments: [&str; 2]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self(std::process::Command::new(program).args(arguments).spawn()?))
    }

    /// Processor time that it has used.
    fn used(&self) -> anyhow::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields = text.rsplit(')').next().context("fields")?;
        let ticks = |index: usize| -> anyhow::Result<u64> {
            Ok(fields.split_whitespace().nth(index).context("a field")?.parse()?)
        };
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn ask<A: serde::de::DeserializeOwned>(socket: &Path, request: Value) -> anyhow::Result<A> {
    let began = Instant::now();
    while !socket.exists() && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(call(socket, &request).await?)
}

async fn measure() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    migration(directory.path()).await?;
    for (capacity, rtt_ms, streams) in
        [(10, 20.0, 1), (100, 20.0, 1), (100, 100.0, 4), (400, 20.0, 1), (400, 50.0, 8)]
    {
        shaped(&directory.path().join("wan"), capacity * 1_000_000, rtt_ms, streams).await?;
    }
    Ok(())
}

async fn migration(directory: &Path) -> anyhow::Result<()> {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    let (source, destination) = (path("a"), path("b"));
    let processes = [
        Child::start(["hypervisor", &source.display().to_string()])?,
        Child::start(["hypervisor", &destination.display().to_string()])?,
    ];
    let bytes = 1_u64 << 30;
    for (dirty_rate, zeros) in [(0, 0), (50_000_000, 0), (50_000_000, 25)] {
        let definition = json!({
            "uuid": VM, "name": "guest", "memory": bytes, "zero_percent": zeros,
            "dirty_rate": dirty_rate, "working_set": bytes / 8,
        });
        ask::<()>(&source, json!({ "do": "create", "definition": definition })).await?;
        ask::<()>(&destination, json!({ "do": "expect_arrival", "vm": VM, "path": path("in") }))
            .await?;
        let used = [processes[0].used()?, processes[1].used()?];
        let began = Instant::now();
        let migrate =
            json!({ "do": "migrate", "vm": VM, "path": path("in"), "max_downtime_ms": 300 });
        ask::<()>(&source, migrate).await?;
        let look = json!({ "do": "look", "vm": VM });
        while ask::<Look>(&destination, look.clone()).await?.state != State::Paused {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ask::<()>(&destination, json!({ "do": "resume", "vm": VM })).await?;
        let elapsed = began.elapsed();
        let cost = [processes[0].used()? - used[0], processes[1].used()? - used[1]];
        let inspect = json!({ "do": "inspect", "vm": VM, "verify": true });
        let found: Inspection = ask(&destination, inspect).await?;
        println!(
            "1 GiB, {zeros} % zeros, dirtying {dirty_rate} B/s: {elapsed:.2?} = {:.0} MB/s, \
             downtime {:.1} ms, processor {cost:.2?}, wrong pages {:?}",
            bytes as f64 / 1e6 / elapsed.as_secs_f64(),
            found.last_downtime_ms.unwrap_or(f64::NAN),
            found.wrong_pages,
        );
        for host in [&source, &destination] {
            ask::<()>(host, json!({ "do": "destroy", "vm": VM })).await?;
        }
    }
    Ok(())
}

async fn shaped(
    control: &Path,
    capacity_bits: u64,
    rtt_ms: f64,
    streams: usize,
) -> anyhow::Result<()> {
    let shape = Shape { capacity_bits, rtt_ms, window_bytes: 8 << 20, loss: 0.0 };
    let link = |from: &str, to: &str| LinkConfig { from: from.into(), to: to.into(), shape };
    let target = TcpListener::bind("127.0.0.1:0").await?;
    let any: SocketAddr = "127.0.0.1:0".parse()?;
    let route = RouteConfig {
        name: "r".into(),
        from_site: "a".into(),
        to_site: "b".into(),
        listen: any,
        target: target.local_addr()?,
    };
    let config = wan::Config {
        control: control.to_owned(),
        links: vec![link("a", "b"), link("b", "a")],
        routes: vec![route],
        seed: 0,
    };
    let process = Child::start(["wan", &serde_json::to_string(&config)?])?;
    let stats: Stats = ask(control, json!({ "do": "stats" })).await?;
    let entry = stats.routes[0].listen;
    for _ in 0..streams {
        let mut dialer = TcpStream::connect(entry).await?;
        let (mut receiver, _) = target.accept().await?;
        tokio::spawn(async move {
            let block = vec![1; 64 << 10];
            while dialer.write_all(&block).await.is_ok() {}
        });
        tokio::spawn(async move {
            let mut block = vec![0; 64 << 10];
            while receiver.read(&mut block).await.is_ok_and(|read| read > 0) {}
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before: Stats = ask(control, json!({ "do": "stats" })).await?;
    let used = process.used()?;
    let mut last = before.clone();
    let mut bins: Vec<f64> = Vec::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now: Stats = ask(control, json!({ "do": "stats" })).await?;
        bins.push(rate(&last, &now) / capacity_bits as f64 * 100.0);
        last = now;
    }
    let elapsed = (last.monotonic_ns - before.monotonic_ns) as f64 / 1e9;
    let cost = (process.used()? - used).as_secs_f64() / elapsed * 100.0;
    println!(
        "{} Mbit/s, {rtt_ms} ms, {streams} streams: {:.2} % of the capacity, 100 ms bins \
         {:.1}-{:.1} %, processor {cost:.1} % of a core",
        capacity_bits / 1_000_000,
        rate(&before, &last) / capacity_bits as f64 * 100.0,
        bins.iter().copied().fold(f64::INFINITY, f64::min),
        bins.iter().copied().fold(0.0, f64::max),
    );
    drop(process);
    std::fs::remove_file(control)?;
    Ok(())
}

/// Bits per second that left on the first link.
fn rate(before: &Stats, after: &Stats) -> f64 {
    let bytes = after.links[0].forwarded_bytes - before.links[0].forwarded_bytes;
    bytes as f64 * 8e9 / (after.monotonic_ns - before.monotonic_ns) as f64
}
