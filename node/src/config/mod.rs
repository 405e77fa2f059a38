//! The configuration of a node: one TOML file per host.
//!
//! What was written (`raw`) becomes a checked [`Config`] in one constructor, which holds all rules
//! that tie knobs together; whoever holds a `Config` checks nothing again. A file with problems is
//! refused with all of them at once, each with its line and what is accepted instead.

mod check;
mod document;
mod init;
mod raw;
mod template;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::PeerId;
use thiserror::Error;

use crate::logging::{LogLevel, LogTarget};
use crate::units::{ByteSize, PerMille, Rate};
use document::{Problems, Section};
use raw::RawConfig;

pub(crate) use check::LONGEST_RUN_DIR;
pub use document::Problem;
pub use init::{InitError, InitOptions, Initialised, init};
pub use template::template;

/// Where the daemon looks when it is told nothing else.
pub const DEFAULT_PATH: &str = "/etc/lifeboat/lifeboat.toml";
/// The name of the file within its directory.
pub const FILE_NAME: &str = "lifeboat.toml";
/// The name of the key file beside it.
pub const KEY_FILE_NAME: &str = "node.key";
/// The port between hosts unless another is configured.
pub const DEFAULT_PORT: u16 = 7420;

/// The checked configuration of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that this was read from.
    pub file: PathBuf,
    /// This host's name, one of [`Config::nodes`].
    pub name: String,
    /// The secret key of this node.
    pub key_file: PathBuf,
    /// What must survive a restart: the journal.
    pub state_dir: PathBuf,
    /// What need not: sockets, and the moves that are under way.
    pub run_dir: PathBuf,
    /// The one port between hosts; the carrier owns it.
    pub listen: SocketAddr,
    /// Members of this group may use the control socket, beside root.
    pub control_group: Option<String>,
    /// What is logged, and where to.
    pub log: LogConfig,
    /// What runs the virtual machines.
    pub hypervisor: HypervisorConfig,
    /// What is to be known about this machine.
    pub host: HostConfig,
    /// When a silent node counts as dead.
    pub timing: Timing,
    /// Every node of every site, this one included.
    pub nodes: Vec<NodeConfig>,
    /// The directed paths between sites.
    pub links: Vec<LinkConfig>,
}

/// What is logged, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// Default `info`.
    pub level: LogLevel,
    /// Default `terminal`.
    pub target: LogTarget,
}

/// What runs the virtual machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HypervisorConfig {
    /// Which one, and how to reach it.
    pub kind: HypervisorKind,
    /// Whether disks move with their machine; not needed on shared storage. Default no.
    pub copy_storage: bool,
    /// Let hypervisors talk to each other over the network without the carrier: shares are then
    /// kept only roughly and an outage costs the move. Default no.
    pub direct: bool,
}

/// Which hypervisor, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HypervisorKind {
    /// libvirt, at a connection address such as `qemu:///system`.
    Libvirt {
        /// The connection address.
        uri: String,
    },
    /// The emulated one, for trying things out.
    Embedded {
        /// Its socket.
        socket: PathBuf,
    },
}

/// What is to be known about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// How long it can still run once power fails; `None` if nobody knows.
    pub runtime: Option<Duration>,
    /// Speed of its network card; `None` to ask the kernel.
    pub nic: Option<Rate>,
    /// Network interfaces whose traffic counts; empty for all physical ones.
    pub interfaces: Vec<String>,
    /// Memory that is never given to arriving machines. Default 1 GiB.
    pub memory_reserve: ByteSize,
}

/// When a silent node counts as dead, and how long a grant is good for.
///
/// `dead_after` >= 3 x `heartbeat`, so that two lost messages are not a death; `lease` > 2 x
/// `heartbeat`, so that one lost renewal does not stop a sender; `dead_after` + 1.025 x `lease`
/// < 10 s, the time in which a dead node's tokens are in use again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Every node speaks this often. 100 ms to 2 s; gossip traffic grows as this shrinks.
    pub heartbeat: Duration,
    /// A node that was silent for this long counts as dead.
    pub dead_after: Duration,
    /// A grant is good for this long after the heartbeat that it answers.
    pub lease: Duration,
}

impl Timing {
    /// Fast networks between all sites, few hosts.
    pub const LAN: Self = Self::of(250, 1_500, 2_000);
    /// The default: sites apart, up to some fifty hosts.
    pub const WAN: Self = Self::of(500, 3_000, 4_000);
    /// Long or lossy links, or more than fifty hosts: half the gossip.
    pub const SLOW: Self = Self::of(1_000, 4_000, 5_000);

    const fn of(heartbeat_ms: u64, dead_after_ms: u64, lease_ms: u64) -> Self {
        Self {
            heartbeat: Duration::from_millis(heartbeat_ms),
            dead_after: Duration::from_millis(dead_after_ms),
            lease: Duration::from_millis(lease_ms),
        }
    }
}

/// One node, as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name, unique.
    pub name: String,
    /// The site it stands in.
    pub site: String,
    /// The public name of its key.
    pub peer: PeerId,
    /// Where it can be reached; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// The path from one site to others that share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// The sending site.
    pub from: String,
    /// The receiving sites behind this one link; at least one.
    pub to: Vec<String>,
    /// Never use more than this; `None` to use what is measured.
    pub ceiling: Option<Rate>,
    /// What stays free for gossip and production traffic. Default 5 %, at most 50 %.
    pub reserve: PerMille,
    /// What to assume before anything was measured.
    pub initial: Option<Rate>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "cannot read the configuration {0}: there is no such file; make one with `lifeboat init`, \
         or name another with --config"
    )]
    Missing(PathBuf),
    /// The file could not be read.
    #[error(
        "cannot read the configuration {path}: {cause}; put that right, or name another file with \
         --config"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file was read and has problems; nothing of it is used.
    #[error("{}", list(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All of them, by line.
        problems: Vec<Problem>,
    },
}

/// The key of this host is not the one that its configuration lists.
#[derive(Debug, Error)]
#[error(
    "the key in {key_file} is {found}, but {file} lists {listed} as peer of node \"{name}\"; \
     correct the peer of this node here and on the other hosts, or restore the key that belongs to it"
)]
pub struct IdentityMismatch {
    key_file: PathBuf,
    file: PathBuf,
    name: String,
    /// Both are printed and nothing else, so they are kept as text.
    found: String,
    listed: String,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
            _ => ConfigError::Unreadable { path: path.to_owned(), cause },
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
            let what = "this line is not UTF-8 text; is this a configuration at all?".to_owned();
            let problems = vec![Problem { line, what }];
            ConfigError::Invalid { path: path.to_owned(), problems }
        })?;
        Self::parse(path, &text)
    }

    /// Checks a text; `path` only serves messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::check(path, text)
            .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }

    /// Checks a text that stands, or will stand, in the file `path`: all that is wrong with it.
    fn check(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let config = Section::parse(text, &mut problems).and_then(|top| {
            let raw = RawConfig::read(top, &mut problems);
            check::check(path, raw, &mut problems)
        });
        problems.into_result()?;
        Ok(config.expect("a file without problems has a configuration"))
    }

    /// This host's own entry among the nodes.
    pub fn own_node(&self) -> &NodeConfig {
        self.node(&self.name).expect("a checked configuration lists its own node")
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// All nodes but this one.
    pub fn other_nodes(&self) -> impl Iterator<Item = &NodeConfig> {
        self.nodes.iter().filter(|node| node.name != self.name)
    }

    /// The sites, each once, by name.
    pub fn sites(&self) -> Vec<&str> {
        let mut sites: Vec<&str> = self.nodes.iter().map(|node| node.site.as_str()).collect();
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// Refuses a key that is not the one the other hosts expect of this node.
    pub fn verify_identity(&self, found: PeerId) -> Result<(), IdentityMismatch> {
        let listed = self.own_node().peer;
        if found == listed {
            return Ok(());
        }
        Err(IdentityMismatch {
            key_file: self.key_file.clone(),
            file: self.file.clone(),
            name: self.name.clone(),
            found: found.to_string(),
            listed: listed.to_string(),
        })
    }

    /// The socket of the command line.
    pub fn control_socket(&self) -> PathBuf {
        self.run_dir.join("lifeboat.sock")
    }

    /// The socket of the carrier.
    pub fn carrier_socket(&self) -> PathBuf {
        self.run_dir.join("carrier.sock")
    }

    /// What the carrier has to say, unless that goes to the system journal.
    pub fn carrier_log(&self) -> PathBuf {
        self.run_dir.join("carrier.log")
    }

    /// The directory of the sockets of moves.
    pub fn moves_dir(&self) -> PathBuf {
        self.run_dir.join("moves")
    }

    /// The durable store.
    pub fn journal_file(&self) -> PathBuf {
        self.state_dir.join("journal.redb")
    }
}

fn list(path: &Path, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let _ = writeln!(text, "{}:{}: {}", path.display(), problem.line, problem.what);
    }
    let _ = match problems.len() {
        1 => write!(text, "Correct this line; nothing of the file is used until then."),
        n => write!(text, "Correct these {n} lines; nothing of the file is used until then."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_refused_with_its_own_reason() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path, expect: &str, not: &str| {
            let error = anyhow::Error::from(Config::load(path).unwrap_err());
            let text = format!("{error:#}");
            assert_eq!(text.matches(expect).count(), 1, "{text}");
            assert!(!text.contains(not), "{text}");
        };
        let file = dir.path().join(FILE_NAME);
        check(&file, "there is no such file; make one with `lifeboat init`", "os error");
        check(dir.path(), "Is a directory", "lifeboat init");
        fs::write(&file, b"name = \"a1\"\nkey_file = \"\xff\"\n").unwrap();
        check(&file, "lifeboat.toml:2: this line is not UTF-8 text", "lifeboat init");
    }
}
