//! Measurements, for people to read: `cargo test --release -p lifeboat-carrier -- --ignored --nocapture`.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{FOR_EVER, MOVE, World, noise, soon};

const BYTES: usize = 2_000_000_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput_on_loopback() {
    for streams in [1, 4, 8] {
        let mut world = World::new().await;
        world.streams = streams;
        let memory = world.hypervisor("memory");
        world.share(10_000_000_000, FOR_EVER).await;
        world.agree(MOVE, &["memory"], 1).await;
        let (mut near, mut far) = world.connect("memory", &memory).await;
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let writing = tokio::spawn(async move {
            let block = noise(1, 1_000_000);
            for _ in 0..BYTES / block.len() {
                near.write_all(&block).await.expect("written");
            }
        });
        let mut block = vec![0; 1_000_000];
        for _ in 0..BYTES / block.len() {
            soon("bytes", far.read_exact(&mut block)).await.expect("read");
        }
        writing.await.expect("written");
        let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let rate = BYTES as f64 / took / 1e6;
        let cores = cpu / took;
        println!(
            "{streams} streams: {rate:.0} MB/s, {cores:.2} cores for both carriers and the test"
        );
    }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
