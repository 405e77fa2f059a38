//! What is fuzzed, one file each.

mod carrier;
mod config;
mod control;
mod domain_xml;
mod hypervisor;
mod inventory;
mod journal;
mod journal_file;
mod message;
mod node;
mod scenario;
mod units;

/// Something that takes bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also of its directory of inputs.
    pub name: &'static str,
    /// Takes any bytes.
    ///
    /// # Panics
    /// If it found a bug.
    pub run: fn(&[u8]),
    /// Inputs that are meant, to begin with. Made from real values, so that they stay valid when
    /// a format changes.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input worth trying, in bytes.
    pub longest: usize,
    /// How many of a thousand executions of a long run it gets: cheap ones get the most.
    pub share_permille: u32,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    message::TARGET,
    journal::RECORD,
    node::TARGET,
    journal::REPLAY,
    journal_file::TARGET,
    control::TARGET,
    carrier::FRAMES,
    carrier::GREETING,
    carrier::CONTROL,
    config::TARGET,
    scenario::TARGET,
    inventory::TARGET,
    hypervisor::STREAM,
    hypervisor::CONTROL,
    domain_xml::TARGET,
    units::TARGET,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
