//! `lifeboat-sim calibrate`.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use lifeboat_sim_net::r#virtual::calibration;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn calibrate(options: &Options) -> anyhow::Result<ExitCode> {
    let cells = calibration::table();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&cells)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["RTT", "migrations at once", "published", "model", "off by"]);
    for cell in cells {
        let mark = if cell.capped { " (capped by the hypervisor then)" } else { "" };
        table.add_row([
            format!("{} ms", cell.rtt_ms),
            cell.streams.to_string(),
            format!("{:.1} MB/s", cell.measured),
            format!("{:.1} MB/s", cell.modelled),
            format!("{:+.1} %{mark}", cell.error() * 100.0),
        ]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
