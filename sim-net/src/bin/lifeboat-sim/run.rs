//! `lifeboat-sim run`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use comfy_table::{Table, presets};
use lifeboat_sim_net::r#virtual::{
    World,
    report::{Report, VmReport},
    rivals::{Kind, Order, Policy, Rival},
    scenario,
};
use lifeboat_units::{ByteSize, Span};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario: a TOML file.
    file: PathBuf,
    /// Seed instead of the scenario's own.
    #[arg(long)]
    seed: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print everything that daemons say, hear and want, from this time on (`30s`).
    #[arg(long, value_name = "TIME")]
    trace_from: Option<Span>,
    /// Who decides: lifeboat, at-once, per-host, sequential, fixed-NUMBER, kubevirt, central-ac or
    /// central-ic.
    #[arg(long, default_value = "lifeboat", value_parser = rule)]
    policy: Rule,
    /// Streams of each migration of another policy than lifeboat, as far as the link allows.
    #[arg(long, default_value_t = 1)]
    streams: u32,
    /// Order of another policy than lifeboat: as-listed, largest-first, smallest-first or random.
    #[arg(long, default_value_t = Order::AsListed)]
    order: Order,
}

/// The protocol, if it is no rival.
type Rule = Option<Kind>;

fn rule(name: &str) -> Result<Rule, String> {
    if name == "lifeboat" { Ok(None) } else { name.parse().map(Some) }
}

impl Options {
    fn policy(&self) -> Policy {
        let (streams, order) = (self.streams.max(1), self.order);
        self.policy.map_or(Policy::Lifeboat, |kind| Policy::Rival(Rival { kind, streams, order }))
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut scenario = scenario::read(&options.file)?;
    scenario.seed = options.seed.unwrap_or(scenario.seed);
    let mut world = World::under(&scenario, options.policy()).map_err(anyhow::Error::msg)?;
    if let Some(from) = options.trace_from {
        world.trace(from.0.as_millis() as u64, |line| println!("{line}"));
    }
    let ended = world.run();
    let report = world.report(&ended);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(ExitCode::from(u8::from(report.violation.is_some())))
}

fn print(report: &Report) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["VM", "from", "to", "start", "finish", "alone", "downtime", "end"]);
    let seconds = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1} s"));
    let mut vms: Vec<&VmReport> = report.vms.iter().collect();
    vms.sort_by(|left, right| {
        let key = |vm: &VmReport| vm.finish_s.unwrap_or(f64::INFINITY);
        key(left).total_cmp(&key(right))
    });
    for vm in vms {
        let took = vm.finish_s.zip(vm.start_s).map(|(finish, start)| finish - start);
        table.add_row([
            vm.name.clone(),
            vm.from.clone(),
            vm.to.clone().unwrap_or("-".into()),
            seconds(vm.start_s),
            seconds(vm.finish_s),
            seconds(took),
            format!("{} ms", vm.downtime_ms),
            vm.end.into(),
        ]);
    }
    println!("{table}\n");
    let bytes = |value: f64| ByteSize(value as u64);
    println!("ended             {} after {:.1} virtual s", report.ended, report.virtual_s);
    if let Some(violation) = &report.violation {
        println!("                  {violation}");
    }
    println!("arrived           {} of {}", report.arrived, report.vms.len());
    let (total, bound) = (report.total_s, report.bound_total_s);
    println!("total             {total:.1} s, bound {bound:.1} s");
    let (mean, bound) = (report.mean_individual_s, report.bound_individual_s);
    println!("mean individual   {mean:.1} s, bound {bound:.1} s");
    println!("mean completion   {:.1} s", report.mean_completion_s);
    println!("score             {:.3} (1.0 is physics)", report.score);
    println!("longest downtime  {} ms", report.max_downtime_ms);
    let (sent, needed) = (bytes(report.bytes_sent), bytes(report.bytes_needed));
    println!("sent              {sent} of {needed} needed, {} in vain", bytes(report.bytes_wasted));
    println!("link use          {:.1} %", report.link_use * 100.0);
    println!("gossip            {} per second and node", bytes(report.gossip_bytes_per_s));
}
