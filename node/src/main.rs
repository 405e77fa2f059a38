//! The `lifeboat` program.

use std::process::ExitCode;

use clap::Parser;
use lifeboat::cli::{self, args::Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse()).await
}
