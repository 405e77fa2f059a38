//! `lifeboat-sim`: simulated worlds on the command line.

mod bench;
mod calibrate;
mod closed_pipe;
mod document;
mod experiment;
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
    /// Measure what size costs: worlds a minute, one large world, and what the protocol costs each
    /// node of ever larger clusters.
    Bench(bench::Options),
    /// Print the scenario file of a large world.
    World(bench::WorldOptions),
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
    /// Run an experiment under the protocol and its rivals, and write its table, data and drawing.
    ///
    /// Exit: 0 every goal is met, 1 otherwise.
    Experiment(experiment::Arguments),
}

fn main() -> ExitCode {
    closed_pipe::end_quietly();
    let done = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Calibrate(options) => calibrate::calibrate(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::World(options) => bench::world(&options),
        Command::Sweep(options) => sweep::sweep(&options),
        Command::Replay(options) => sweep::replay(&options),
        Command::Shrink(options) => sweep::shrink(&options),
        Command::Planted(options) => planted::planted(&options),
        Command::Experiment(arguments) => experiment::experiment(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("lifeboat-sim: {error:#}");
        ExitCode::from(2)
    })
}
