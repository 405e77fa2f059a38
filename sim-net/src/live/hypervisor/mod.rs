//! An embedded hypervisor: one process per host, whose VMs have real memory.
//!
//! It mirrors what QEMU under libvirt does where lifeboat depends on it: iterative pre-copy over
//! a UNIX socket, arrivals that stay paused until told to run, a source that resumes its guest
//! when the stream breaks before the reply, and that waits for ever when it falls silent.
//!
//! Invariants:
//! - *The daemon is not the owner*: VMs and migrations outlive every control connection.
//! - *Nothing arrives unverified*: a copy is complete only if the digest of its whole memory
//!   equals that of the paused source.
//! - *An arrival never runs by itself*.
//! - *A guest executes only while its host's table holds it as live*: a source that learnt of the
//!   arrival can never run its copy again.
//!
//! It never decides anything about other hosts: that a VM runs once is for the layers above.
//!
//! Pieces: [`protocol`] (what it can be asked), [`host`] (the table of VMs), [`guest`] and
//! [`memory`] (what executes), [`outgoing`], [`incoming`] and [`wire`] (migration), [`service`]
//! (the control socket), [`ticker`] (the passing of time).

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod guest;
mod host;
mod incoming;
mod memory;
mod outgoing;
pub mod protocol;
mod service;
#[cfg(test)]
mod tests;
mod ticker;
mod uuid;
mod wire;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub use uuid::Uuid;

use super::control;
use protocol::Definition;

/// How an embedded hypervisor is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where its control socket is bound, with mode 0600.
    pub control: PathBuf,
    /// Memory that its VMs may use in all, in bytes.
    pub memory: u64,
    /// Processors that it reports.
    pub processors: u32,
    /// A JSON file with an array of [`Definition`]s to create and run at the start.
    #[serde(default)]
    pub vms: Option<PathBuf>,
}

/// Runs an embedded hypervisor for ever; its VMs die with the process.
///
/// # Errors
/// If the control socket cannot be bound or the initial VMs cannot be created.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let listener = control::bind(&config.control)?;
    let host = Arc::new(host::Host::new(config.memory, config.processors));
    if let Some(path) = &config.vms {
        for definition in initial_vms(path)? {
            let name = definition.name.clone();
            host.create(definition, false)
                .with_context(|| format!("the initial VM {name:?} cannot be created"))?;
        }
    }
    ticker::start(&host)?;
    control::serve(listener, Arc::new(service::HypervisorService::new(host))).await;
    Ok(())
}

fn initial_vms(path: &std::path::Path) -> anyhow::Result<Vec<Definition>> {
    let text = std::fs::read(path)
        .with_context(|| format!("the initial VMs cannot be read from {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not an array of VM definitions", path.display()))
}
