//! The `lifeboat` program.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lifeboat::cli::processes;

#[derive(Parser)]
#[command(name = "lifeboat", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon of this host.
    Node {
        /// The configuration.
        #[arg(long, default_value = lifeboat::config::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Run the carrier of this host; the daemon starts it by itself.
    #[command(hide = true)]
    Carrier {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// Run the embedded hypervisor.
    #[command(hide = true)]
    EmbeddedHypervisor {
        /// A JSON file.
        file: PathBuf,
    },
    /// Run the WAN emulator.
    #[command(hide = true)]
    WanEmulator {
        /// A JSON file.
        file: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Node { config } => processes::node(&config).await,
        Command::Carrier { config } => processes::carrier(&config).await,
        Command::EmbeddedHypervisor { file } => processes::embedded_hypervisor(file).await,
        Command::WanEmulator { file } => processes::wan_emulator(file).await,
    }
}
