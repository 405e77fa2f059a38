//! The processes that `lifeboat` itself starts: the daemon, its carrier, and the stand-ins of the
//! demo.

use std::{
    io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;
use lifeboat_carrier::{CarrierConfig, Patience};
use tokio::net::UnixStream;

use super::{failure::Failure, output::print};
use crate::{
    carrier_process::{self, End},
    config::Config,
    daemon,
    demo::{self, DemoOptions},
    lifeline, logging,
};

/// Runs the daemon of this host.
///
/// # Errors
/// Whatever keeps the daemon from starting.
pub(super) async fn node(config: &Path) -> Result<(), Failure> {
    lifeline::hang_on();
    let config = Config::load(config)?;
    logging::init(config.log.level, config.log.target)?;
    Ok(daemon::run(config).await?)
}

/// Runs the carrier of this host.
///
/// # Errors
/// If its port, key or socket cannot be had.
pub(super) async fn carrier(config: &Path) -> Result<(), Failure> {
    lifeline::hang_on();
    let config = Config::load(config)?;
    logging::init(config.log.level, config.log.target)?;
    let pid_file = pid_file(&config);
    std::fs::write(&pid_file, format!("{}\n", process::id()))
        .with_context(|| format!("cannot write {}", pid_file.display()))?;
    let run = lifeboat_carrier::run(CarrierConfig {
        control_socket: config.carrier_socket(),
        key_file: config.key_file.clone(),
        listen: config.listen,
        upstream: None,
        patience: Patience::default(),
        settings: carrier_process::settings(&config),
    });
    Ok(run.await?)
}

fn pid_file(config: &Config) -> PathBuf {
    config.run_dir.join("carrier.pid")
}

/// Stops the carrier of this host, which gives up its moves. That it does not run is as good.
///
/// # Errors
/// If the daemon runs, which would start another one, or the carrier does not end.
pub(super) async fn stop_carrier(config: &Path) -> Result<(), Failure> {
    let config = Config::load(config)?;
    if UnixStream::connect(config.control_socket()).await.is_ok() {
        return Err(Failure::NotDone(
            "the daemon of this host runs and would start another carrier at once; stop it first, \
             for example with `systemctl stop lifeboat`"
                .to_owned(),
        ));
    }
    match carrier_process::end(&config.carrier_socket()).await {
        Ok(End::NoneRuns) => print("No carrier runs on this host."),
        Ok(End::Ended) => {
            // Its number may belong to another process later.
            let _ = std::fs::remove_file(pid_file(&config));
            print("The carrier has ended; moves that were under way start over later.")
        }
        Err(reason) => Err(Failure::NotDone(reason)),
    }
}

/// Runs the embedded hypervisor, as a file of JSON describes it.
///
/// # Errors
/// If the file cannot be read or the control socket cannot be had.
pub(super) async fn embedded_hypervisor(file: PathBuf) -> Result<(), Failure> {
    lifeline::hang_on();
    logging::init(logging::LogLevel::Warn, logging::LogTarget::Terminal)?;
    Ok(lifeboat_sim_net::live::hypervisor::run(read(&file)?).await?)
}

/// Runs the WAN emulator, as a file of JSON describes it.
///
/// # Errors
/// If the file cannot be read or a port cannot be had.
pub(super) async fn wan_emulator(file: PathBuf) -> Result<(), Failure> {
    lifeline::hang_on();
    logging::init(logging::LogLevel::Warn, logging::LogTarget::Terminal)?;
    Ok(lifeboat_sim_net::live::wan::run(read(&file)?).await?)
}

/// Runs the demo.
///
/// # Errors
/// If it could not be played, or not every VM arrived once, intact.
pub(super) async fn demo(options: DemoOptions) -> Result<(), Failure> {
    let demo = demo::Demo::new(options).map_err(|wrong| Failure::Usage(format!("{wrong:#}")))?;
    match demo.run().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NotDone("not every machine arrived once, intact".to_owned())),
        Err(error) if error.is::<demo::NobodyReads>() => {
            Err(Failure::Output(io::ErrorKind::BrokenPipe.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What a person wrote by hand: a mistake in it is wrong usage.
fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{} is not understood: {error}", file.display())))
}
