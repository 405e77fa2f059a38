//! `lifeboat-sim bench` and `lifeboat-sim world`: what size costs.

use std::{process::ExitCode, time::Instant};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use lifeboat_sim_net::r#virtual::{
    Ended, Load, World,
    generated::Shape,
    sweep::{draw_ten, run},
};
use lifeboat_units::{ByteSize, Rate};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Virtual time before anything is measured, seconds: everyone knows everyone, slices are issued.
const WARM_UP_S: u64 = 15;
/// Time from the start of an evacuation until it is measured, seconds.
const SETTLE_S: u64 = 10;
/// Step in which the first byte is waited for, nanoseconds.
const STEP: u64 = 5_000_000;
/// Longest wait for it, seconds.
const PATIENCE_S: u64 = 120;
const SECOND: u64 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Worlds a minute.
    Seeds,
    /// One large world, from beginning to end.
    World,
    /// What the protocol costs each node.
    Gossip,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure. Default: everything.
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Worlds of ten hosts and forty VMs that are run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Sizes for which the protocol's cost is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 500, 1000, 5000])]
    hosts: Vec<usize>,
    /// Virtual seconds over which it is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Hosts of the large world.
    #[arg(long, default_value_t = 1000)]
    world_hosts: usize,
    /// Its VMs.
    #[arg(long, default_value_t = 10_000)]
    world_vms: usize,
    /// Memory of each VM.
    #[arg(long, default_value = "2GiB")]
    memory: ByteSize,
    /// What the link carries.
    #[arg(long, default_value = "200Gbit/s")]
    capacity: Rate,
    /// What each host's interface carries.
    #[arg(long, default_value = "10Gbit/s")]
    nic: Rate,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WorldOptions {
    /// Hosts, half of them at the site that is evacuated.
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
    /// VMs.
    #[arg(long, default_value_t = 10_000)]
    vms: usize,
    /// Memory of each VM.
    #[arg(long, default_value = "2GiB")]
    memory: ByteSize,
    /// What the link carries.
    #[arg(long, default_value = "200Gbit/s")]
    capacity: Rate,
    /// What each host's interface carries.
    #[arg(long, default_value = "10Gbit/s")]
    nic: Rate,
}

#[derive(Debug, Default, Serialize)]
struct Measured {
    seeds: Option<Seeds>,
    world: Option<Large>,
    gossip: Vec<Gossip>,
}

/// Worlds of ten hosts and forty VMs, on one thread.
#[derive(Debug, Serialize)]
struct Seeds {
    worlds: u64,
    failures: u64,
    events: u64,
    seconds: f64,
    /// Processor time, seconds.
    processor_s: f64,
    /// Worlds in a minute of processor time.
    per_minute: f64,
}

/// One large world.
#[derive(Debug, Serialize)]
struct Large {
    hosts: usize,
    vms: usize,
    arrived: usize,
    ended: String,
    violation: Option<String>,
    /// Wall time, seconds.
    seconds: f64,
    /// Processor time, seconds.
    processor_s: f64,
    virtual_s: f64,
    events: u64,
    /// Most memory that this program ever had, bytes; `None` where the system does not say.
    peak_bytes: Option<u64>,
    total_s: f64,
    bound_total_s: f64,
    score: f64,
    link_use: f64,
}

/// What the protocol costs each node of a cluster, per second.
#[derive(Debug, Serialize)]
struct Gossip {
    hosts: usize,
    idle: Cost,
    evacuating: Cost,
    /// From the asking for an evacuation to the first byte of a VM on the link, milliseconds.
    reaction_ms: Option<u64>,
}

/// Means over all nodes, and the node that has most, per second.
#[derive(Debug, Default, Serialize)]
struct Cost {
    sent_kbit: f64,
    most_sent_kbit: f64,
    received_kbit: f64,
    most_received_kbit: f64,
    /// Processor time of the protocol's state machine, microseconds.
    cpu_us: f64,
    most_cpu_us: f64,
}

pub(crate) fn bench(options: &Options) -> anyhow::Result<ExitCode> {
    let wanted = |part: Part| options.parts.is_empty() || options.parts.contains(&part);
    let mut measured = Measured::default();
    // The large world comes first: what a program ever needed of memory does not go back.
    if wanted(Part::World) {
        measured.world = Some(large(options)?);
    }
    if wanted(Part::Seeds) {
        measured.seeds = Some(seeds(options.seeds)?);
    }
    if wanted(Part::Gossip) {
        for hosts in &options.hosts {
            eprintln!("measuring {hosts} hosts");
            measured.gossip.push(gossip(*hosts, options)?);
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print(&measured);
    }
    let sound = measured.world.as_ref().is_none_or(|world| world.violation.is_none());
    Ok(ExitCode::from(u8::from(!sound)))
}

pub(crate) fn world(options: &WorldOptions) -> anyhow::Result<ExitCode> {
    let WorldOptions { hosts, vms, memory, capacity, nic } = *options;
    print!("{}", Shape { hosts, vms, memory, capacity, nic, at_s: WARM_UP_S }.text());
    Ok(ExitCode::SUCCESS)
}

fn seeds(count: u64) -> anyhow::Result<Seeds> {
    let (began, processor) = (Instant::now(), processor_time());
    let (mut failures, mut events) = (0, 0);
    for seed in 1..=count {
        let outcome = run(&draw_ten(seed)).map_err(anyhow::Error::msg)?;
        failures += u64::from(outcome.failure.is_some());
        events += outcome.stats.events;
    }
    let seconds = began.elapsed().as_secs_f64();
    let processor_s = (processor_time() - processor) as f64 / SECOND as f64;
    let per_minute = count as f64 / processor_s.max(0.001) * 60.0;
    Ok(Seeds { worlds: count, failures, events, seconds, processor_s, per_minute })
}

fn large(options: &Options) -> anyhow::Result<Large> {
    let (began, processor) = (Instant::now(), processor_time());
    let (hosts, vms) = (options.world_hosts, options.world_vms);
    let (memory, capacity, nic) = (options.memory, options.capacity, options.nic);
    let shape = Shape { hosts, vms, memory, capacity, nic, at_s: WARM_UP_S };
    let mut world = World::new(&shape.scenario()?).map_err(anyhow::Error::msg)?;
    let ended = world.run();
    let report = world.report(&ended);
    let violation = match ended {
        Ended::Violated(found) => Some(format!("{}: {}", found.check.name(), found.what)),
        Ended::Done | Ended::Limit => None,
    };
    Ok(Large {
        hosts,
        vms,
        arrived: report.arrived,
        ended: report.ended,
        violation,
        seconds: began.elapsed().as_secs_f64(),
        processor_s: (processor_time() - processor) as f64 / SECOND as f64,
        virtual_s: report.virtual_s,
        events: world.stats().events,
        peak_bytes: peak_bytes(),
        total_s: report.total_s,
        bound_total_s: report.bound_total_s,
        score: report.score,
        link_use: report.link_use,
    })
}

/// Processor time of this thread, nanoseconds: other programs on the machine do not count.
fn processor_time() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as u64 * SECOND + spent.tv_nsec as u64
}

/// Most memory that this program ever had resident.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn gossip(hosts: usize, options: &Options) -> anyhow::Result<Gossip> {
    let asked_s = WARM_UP_S + options.seconds;
    let (memory, capacity, nic) = (options.memory, options.capacity, options.nic);
    let shape = Shape { hosts, vms: hosts * 10, memory, capacity, nic, at_s: asked_s };
    let mut world = World::new(&shape.scenario()?).map_err(anyhow::Error::msg)?;
    world.time_daemons(processor_time);
    world.run_until(WARM_UP_S * SECOND);
    let before = world.loads();
    world.run_until(asked_s * SECOND);
    let idle = cost(&before, &world.loads(), options.seconds);
    let mut at = asked_s * SECOND;
    while world.carried_bytes() == 0.0 && at < (asked_s + PATIENCE_S) * SECOND {
        at += STEP;
        world.run_until(at);
    }
    let first = (world.carried_bytes() > 0.0).then_some(at);
    let from = at.max((asked_s + SETTLE_S) * SECOND);
    world.run_until(from);
    let before = world.loads();
    world.run_until(from + options.seconds * SECOND);
    let evacuating = cost(&before, &world.loads(), options.seconds);
    let reaction_ms = first.map(|at| (at - asked_s * SECOND) / 1_000_000);
    Ok(Gossip { hosts, idle, evacuating, reaction_ms })
}

fn cost(before: &[Load], after: &[Load], seconds: u64) -> Cost {
    let each = |part: fn(&Load) -> u64, unit: f64| -> (f64, f64) {
        let spent = before.iter().zip(after).map(|(before, after)| part(after) - part(before));
        let all: Vec<f64> = spent.map(|spent| spent as f64 / seconds as f64 / unit).collect();
        (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(0.0, f64::max))
    };
    let (sent_kbit, most_sent_kbit) = each(|load| load.sent_bytes, 125.0);
    let (received_kbit, most_received_kbit) = each(|load| load.received_bytes, 125.0);
    let (cpu_us, most_cpu_us) = each(|load| load.spent_ns, 1000.0);
    Cost { sent_kbit, most_sent_kbit, received_kbit, most_received_kbit, cpu_us, most_cpu_us }
}

fn print(measured: &Measured) {
    if let Some(world) = &measured.world {
        println!(
            "{} hosts, {} VMs: {} arrived, {} in {:.1} s (wall), {:.1} s of processor time, \
             {:.0} virtual s, {} events",
            world.hosts,
            world.vms,
            world.arrived,
            world.ended,
            world.seconds,
            world.processor_s,
            world.virtual_s,
            world.events
        );
        if let Some(bytes) = world.peak_bytes {
            println!("  at most {} of memory", ByteSize(bytes));
        }
        println!(
            "  total {:.1} s, bound {:.1} s; score {:.2}; link use {:.1} %",
            world.total_s,
            world.bound_total_s,
            world.score,
            world.link_use * 100.0
        );
        if let Some(violation) = &world.violation {
            println!("  {violation}");
        }
    }
    if let Some(seeds) = &measured.seeds {
        println!(
            "{} worlds of 10 hosts and 40 VMs in {:.1} s on one thread, {:.1} s of processor time: \
             {:.0} a minute of that, {:.0} events a second, {} failures",
            seeds.worlds,
            seeds.seconds,
            seeds.processor_s,
            seeds.per_minute,
            seeds.events as f64 / seeds.processor_s.max(0.001),
            seeds.failures
        );
    }
    if measured.gossip.is_empty() {
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "hosts",
        "",
        "sent kbit/s",
        "most",
        "received kbit/s",
        "most",
        "CPU us/s",
        "most",
        "first byte",
    ]);
    for one in &measured.gossip {
        for (name, cost) in [("idle", &one.idle), ("evacuating", &one.evacuating)] {
            let reaction = one.reaction_ms.filter(|_| name != "idle");
            table.add_row([
                one.hosts.to_string(),
                name.into(),
                format!("{:.1}", cost.sent_kbit),
                format!("{:.0}", cost.most_sent_kbit),
                format!("{:.1}", cost.received_kbit),
                format!("{:.0}", cost.most_received_kbit),
                format!("{:.0}", cost.cpu_us),
                format!("{:.0}", cost.most_cpu_us),
                reaction.map_or("".into(), |ms| format!("{ms} ms")),
            ]);
        }
    }
    println!("{table}");
}
