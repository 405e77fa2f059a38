//! The lab: `lifeboat` evacuates real QEMU guests through real libvirt between namespaces joined by
//! a shaped WAN, while things break.
//!
//! Runs only with `LIFEBOAT_LAB=1`, as root, after `tests/lab/install`; `tests/lab/test` does all
//! that. Arguments are beginnings of scenarios' names. `LIFEBOAT_PROGRAM` names the program to test
//! (built with the feature `libvirt`). With `LIFEBOAT_LAB=bench` it is the benchmark against plain
//! virsh instead (see [`bench`]), which `tests/lab/bench` starts.
//!
//! Every scenario prints what it saw, and ends with the same questions (see [`verdict`]): what does
//! each hypervisor run, what did each guest see, what did the WAN carry. One lab serves all of
//! them: the guests go from site A to site B, back, and so on.

mod bench;
mod cluster;
mod guests;
mod lab;
mod scenarios;
mod shares;
mod triggers;
mod verdict;
mod wait;

use std::{
    env, panic,
    process::ExitCode,
    time::{Duration, Instant},
};

use cluster::Cluster;
use guests::Guest;
use lab::Lab;

const GUESTS: [&str; 6] = ["g1", "g2", "g3", "g4", "g5", "g6"];

fn main() -> ExitCode {
    let outcome = match env::var("LIFEBOAT_LAB").as_deref() {
        Ok("1") => {
            let words = env::args().skip(1).filter(|word| !word.starts_with('-'));
            run(&words.collect::<Vec<_>>())
        }
        Ok("bench") => bench::run(env::args().skip(1)),
        _ => {
            println!("lab: skipped; run it with tests/lab/test");
            return ExitCode::SUCCESS;
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &[String]) -> anyhow::Result<()> {
    let chosen = |name: &str| {
        wanted.is_empty() || wanted.iter().any(|beginning| name.starts_with(beginning.as_str()))
    };
    let lab = Lab::up(&[("A", &["a1", "a2"]), ("B", &["b1", "b2"])], "200mbit", "20ms")?;
    let mut cluster = Cluster::start(lab, "200Mbit/s")?;
    let guest = |name| Guest { name, memory_mib: 128, dirty_mb_per_sec: 1 };
    guests::boot(&cluster, &GUESTS.map(guest))?;
    let mut failed = Vec::new();
    for (name, scenario) in scenarios::ALL {
        if !chosen(name) {
            continue;
        }
        println!("\n== {name}");
        let started = Instant::now();
        let seen = panic::catch_unwind(panic::AssertUnwindSafe(|| scenario(&mut cluster)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")));
        match seen {
            Ok(()) => println!("   passed in {:.0} s", started.elapsed().as_secs_f64()),
            Err(error) => {
                println!("   FAILED: {error:#}");
                cluster.print_evidence();
                failed.push(*name);
                // What this one left behind would be blamed on the next.
                break;
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { anyhow::bail!("failed: {}", failed.join(", ")) }
}

/// How long anything may take that has no figure of its own.
const PATIENCE: Duration = Duration::from_secs(60);
