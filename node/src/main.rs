//! The `lifeboat` program.

use std::process::ExitCode;

use clap::FromArgMatches;
use lifeboat::cli::{self, args};

#[tokio::main]
async fn main() -> ExitCode {
    let given = args::command().get_matches();
    match args::Cli::from_arg_matches(&given) {
        Ok(cli) => cli::run(cli).await,
        Err(error) => error.exit(),
    }
}
