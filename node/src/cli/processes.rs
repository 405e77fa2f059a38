//! The processes that `lifeboat` itself starts: the daemon, its carrier, and the stand-ins of the
//! demo.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lifeboat_carrier::{CarrierConfig, Patience};

use super::failure::Failure;
use crate::{
    config::Config,
    daemon,
    demo::{self, DemoOptions},
    logging,
};

/// Runs the daemon of this host.
///
/// # Errors
/// Whatever keeps the daemon from starting.
pub(super) async fn node(config: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    logging::init(config.log.level, config.log.target)?;
    daemon::run(config).await
}

/// Runs the carrier of this host.
///
/// # Errors
/// If its port, key or socket cannot be had.
pub(super) async fn carrier(config: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    logging::init(config.log.level, config.log.target)?;
    let pid_file = config.run_dir.join("carrier.pid");
    std::fs::write(&pid_file, format!("{}\n", std::process::id()))
        .with_context(|| format!("cannot write {}", pid_file.display()))?;
    lifeboat_carrier::run(CarrierConfig {
        control_socket: config.carrier_socket(),
        key_file: config.key_file.clone(),
        listen: config.listen,
        upstream: None,
        patience: Patience::default(),
    })
    .await
}

/// Runs the embedded hypervisor, as a file of JSON describes it.
///
/// # Errors
/// If the file cannot be read or the control socket cannot be had.
pub(super) async fn embedded_hypervisor(file: PathBuf) -> anyhow::Result<()> {
    logging::init(logging::LogLevel::Warn, logging::LogTarget::Terminal)?;
    lifeboat_sim_net::live::hypervisor::run(read(&file)?).await
}

/// Runs the WAN emulator, as a file of JSON describes it.
///
/// # Errors
/// If the file cannot be read or a port cannot be had.
pub(super) async fn wan_emulator(file: PathBuf) -> anyhow::Result<()> {
    logging::init(logging::LogLevel::Warn, logging::LogTarget::Terminal)?;
    lifeboat_sim_net::live::wan::run(read(&file)?).await
}

/// Runs the demo.
///
/// # Errors
/// If it could not be played, or not every VM arrived once, intact.
pub(super) async fn demo(options: DemoOptions) -> Result<(), Failure> {
    match demo::run(options).await? {
        true => Ok(()),
        false => Err(Failure::NotDone("not every machine arrived once, intact".to_owned())),
    }
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not understood", file.display()))
}
