//! `lifeboat-sim`: simulated worlds on the command line.

mod calibrate;
mod planted;
mod run;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Drives the real protocol through simulated worlds in virtual time.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario and print how it went, per VM and in total, beside what physics allows.
    Run(run::Options),
    /// Compare the link model with published goodput, cell by cell.
    Calibrate(calibrate::Options),
    /// Run many worlds, each drawn from its seed, and check every claim after every event.
    ///
    /// Exit: 0 nothing found, 1 a safety check objected, 2 a liveness check, 101 a panic.
    Sweep(sweep::Options),
    /// Run a saved or drawn world again, and show how it stood when a check objected.
    Replay(sweep::ReplayOptions),
    /// Leave out of a failing world whatever its failure does not need.
    Shrink(sweep::ShrinkOptions),
    /// Plant bugs, one after the other, and see which check finds each.
    ///
    /// Exit: 0 each is found and each check finds one, 1 otherwise.
    Planted(planted::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Calibrate(options) => calibrate::calibrate(&options),
        Command::Sweep(options) => sweep::sweep(&options),
        Command::Replay(options) => sweep::replay(&options),
        Command::Shrink(options) => sweep::shrink(&options),
        Command::Planted(options) => planted::planted(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("lifeboat-sim: {error:#}");
        ExitCode::from(2)
    })
}
