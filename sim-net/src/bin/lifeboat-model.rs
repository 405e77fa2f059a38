//! Searches small worlds of the protocol whole, and prints what was searched and what holds.
//!
//! `lifeboat-model [--bounds ci|large|small] [--model NAME] [--threads N] [--json]`. Exit 0 if
//! everything holds and everything is reached, 1 if not, 2 if the arguments make no sense.

#[path = "lifeboat-sim/closed_pipe.rs"]
mod closed_pipe;

use clap::{Parser, ValueEnum};
use lifeboat_sim_net::model::{Size, names, run};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Searches small worlds of the protocol whole, every order of everything.")]
struct Arguments {
    /// How much is searched.
    #[arg(long, value_enum, default_value_t = Bounds::Ci)]
    bounds: Bounds,
    /// One model only.
    #[arg(long)]
    model: Option<String>,
    /// Threads; with one, the steps told of a broken property are the shortest.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// One line of JSON for each model.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bounds {
    /// Half a minute for all; too small for some things to be reached.
    Small,
    /// Three minutes for all.
    Ci,
    /// By hand: up to hours, and tens of GiB.
    Large,
}

fn main() -> ExitCode {
    closed_pipe::end_quietly();
    let arguments = Arguments::parse();
    let size = match arguments.bounds {
        Bounds::Small => Size::Small,
        Bounds::Ci => Size::Ci,
        Bounds::Large => Size::Large,
    };
    let chosen: Vec<&str> = match &arguments.model {
        Some(name) => vec![name],
        None => names().collect(),
    };
    let mut holds = true;
    for name in chosen {
        let report = match run(name, size, arguments.threads.max(1)) {
            Ok(report) => report,
            Err(error) => {
                eprintln!("lifeboat-model: {name}: {error}");
                return ExitCode::from(2);
            }
        };
        holds &= report.holds();
        if arguments.json {
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
        } else {
            print!("{report}");
        }
    }
    ExitCode::from(u8::from(!holds))
}
