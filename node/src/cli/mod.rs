//! The command line.
//!
//! Each command asks a daemon one thing and prints the answer; none of them decides anything about
//! an evacuation. What was asked for goes to stdout, everything else to stderr; the exit status is
//! 0 when it was done, 1 when not all of it was, 2 when the command or the configuration was wrong.

pub mod args;
mod cancel;
mod connect;
mod display;
mod evacuate;
mod events;
mod failure;
mod follow;
mod init;
mod man;
mod output;
mod plan;
mod processes;
mod report;
#[cfg(test)]
mod samples;
mod status;
mod table;
mod tracker;
mod vms;
mod words;

use std::path::Path;
use std::process::ExitCode;

use args::{Cli, ClientArgs, Command};
use connect::Daemon;
use failure::Failure;

use crate::config::DEFAULT_PATH;

/// Does what the command line says.
pub async fn run(cli: Cli) -> ExitCode {
    match dispatch(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let config = cli.config.as_deref();
    let own = config.unwrap_or(Path::new(DEFAULT_PATH));
    let daemon = |args: &ClientArgs| Daemon::find(args, config);
    match cli.command {
        Command::Init(args) => init::run(&args, config),
        Command::Status(args) => status::run(&daemon(&args.client)?, &args).await,
        Command::Vms(args) => vms::run(&daemon(&args.client)?, &args).await,
        Command::Plan(args) => plan::run(&daemon(&args.client)?, &args).await,
        Command::Evacuate(args) => evacuate::run(&daemon(&args.client)?, &args).await,
        Command::Cancel(args) => cancel::run(&daemon(&args.client)?, &args).await,
        Command::Events(args) => events::run(&daemon(&args.client)?, &args).await,
        Command::Report(args) => report::run(&daemon(&args.client)?, &args).await,
        Command::Demo(options) => processes::demo(options).await,
        Command::Man { directory } => man::run(&directory),
        Command::Node => processes::node(own).await,
        Command::Carrier { stop: true } => processes::stop_carrier(own).await,
        Command::Carrier { stop: false } => processes::carrier(own).await,
        Command::EmbeddedHypervisor { file } => processes::embedded_hypervisor(file).await,
        Command::WanEmulator { file } => processes::wan_emulator(file).await,
    }
}
