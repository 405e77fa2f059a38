//! `lifeboat init`: the first configuration and key of a host.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libp2p::PeerId;
use thiserror::Error;

use super::check::parse_name;
use super::template::{node_entry, template};
use super::{
    Config, DEFAULT_PORT, FILE_NAME, HypervisorKind, KEY_FILE_NAME, LinkConfig, NodeConfig, Problem,
};
use crate::identity::{IdentityError, NodeIdentity};

/// What a new configuration starts from.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The site of this host.
    pub site: String,
    /// Where the other hosts reach it.
    pub address: SocketAddr,
    /// Where it listens. Default all addresses, port 7420.
    pub listen: SocketAddr,
    /// Default `/var/lib/lifeboat`.
    pub state_dir: PathBuf,
    /// Default `/run/lifeboat`.
    pub run_dir: PathBuf,
    /// Default libvirt on this host.
    pub hypervisor: HypervisorKind,
    /// Nodes that are known already.
    pub others: Vec<NodeConfig>,
    /// Links that are known already.
    pub links: Vec<LinkConfig>,
}

impl InitOptions {
    /// Defaults for a host of this site that is reached at this address.
    pub fn new(site: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            site: site.into(),
            address,
            listen: SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)),
            state_dir: PathBuf::from("/var/lib/lifeboat"),
            run_dir: PathBuf::from("/run/lifeboat"),
            hypervisor: HypervisorKind::Libvirt { uri: "qemu:///system".to_owned() },
            others: Vec::new(),
            links: Vec::new(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The configuration.
    pub config_file: PathBuf,
    /// The secret key.
    pub key_file: PathBuf,
    /// The public name of the key.
    pub peer: PeerId,
    /// The entry that the other hosts need.
    pub node_entry: String,
}

/// Why nothing was made.
#[derive(Debug, Error)]
pub enum InitError {
    /// A file is there already.
    #[error(
        "{0} exists already and is not overwritten; remove it first, or choose another directory"
    )]
    Exists(PathBuf),
    /// A name that cannot be used.
    #[error("\"{name}\" cannot be a name: {reason}")]
    BadName {
        /// What was given.
        name: String,
        /// What is accepted.
        reason: String,
    },
    /// The options do not make a sound configuration.
    #[error("the options do not make a sound configuration, so nothing was written:\n{}", list(.0))]
    Unsound(Vec<Problem>),
    /// The key could not be written.
    #[error(transparent)]
    Key(#[from] IdentityError),
    /// The file system refused.
    #[error("cannot write {path}: {cause}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Writes `lifeboat.toml` and `node.key` for the host `name` into `dir`, which is made if needed.
/// Overwrites nothing, and writes nothing unless the configuration would load.
pub fn init(dir: &Path, name: &str, options: &InitOptions) -> Result<Initialised, InitError> {
    let config_file = dir.join(FILE_NAME);
    let key_file = dir.join(KEY_FILE_NAME);
    for path in [&config_file, &key_file] {
        if path.symlink_metadata().is_ok() {
            return Err(InitError::Exists(path.clone()));
        }
    }
    for name in [name, &options.site] {
        parse_name(name).map_err(|reason| InitError::BadName { name: name.to_owned(), reason })?;
    }
    let failed = |path: &Path, cause| InitError::Io { path: path.to_owned(), cause };
    let identity = NodeIdentity::generate();
    let own = NodeConfig {
        name: name.to_owned(),
        site: options.site.clone(),
        peer: identity.peer_id(),
        addresses: vec![options.address],
    };
    // Checked before anything is made, and written once it is known where it will stand.
    let text = |key_file: &Path| template(name, key_file, &own, options);
    let absolute = std::path::absolute(&key_file).map_err(|cause| failed(&key_file, cause))?;
    Config::check(&config_file, &text(&absolute)).map_err(InitError::Unsound)?;

    fs::create_dir_all(dir).map_err(|cause| failed(dir, cause))?;
    let dir = dir.canonicalize().map_err(|cause| failed(dir, cause))?;
    let (config_file, key_file) = (dir.join(FILE_NAME), dir.join(KEY_FILE_NAME));
    let text = text(&key_file);
    identity.store(&key_file)?;
    write_new(&config_file, &text).map_err(|cause| {
        // A key without its configuration would stand in the way of the next attempt.
        let _ = fs::remove_file(&key_file);
        failed(&config_file, cause)
    })?;
    Ok(Initialised { config_file, key_file, peer: own.peer, node_entry: node_entry(&own) })
}

/// Without lines: there is no file that a person could look into.
fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {}", problem.what)).collect::<Vec<_>>().join("\n")
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{PerMille, Rate};

    fn options() -> InitOptions {
        InitOptions::new("a", "10.0.0.1:7420".parse().unwrap())
    }

    #[test]
    fn what_init_writes_loads() {
        let dir = tempfile::tempdir().unwrap();
        let made = init(dir.path(), "a1", &options()).unwrap();
        let config = Config::load(&made.config_file).unwrap();
        let identity = NodeIdentity::load(&config.key_file).unwrap();
        assert_eq!(identity.peer_id(), made.peer);
        config.verify_identity(made.peer).unwrap();
        assert_eq!(config.own_node().addresses, [options().address]);
        assert!(made.node_entry.contains(&made.peer.to_string()));
    }

    #[test]
    fn a_template_says_what_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let other = NodeConfig {
            name: "b1".to_owned(),
            site: "b".to_owned(),
            peer: PeerId::random(),
            addresses: vec!["10.1.0.1:1".parse().unwrap(), "[fd00::1]:2".parse().unwrap()],
        };
        let link = LinkConfig {
            from: "a".to_owned(),
            to: vec!["b".to_owned()],
            ceiling: Some(Rate::from_bits_per_sec(123_456_789)),
            reserve: PerMille::new(25).unwrap(),
            initial: Some(Rate::from_bits_per_sec(50_000_000)),
        };
        let options = InitOptions {
            hypervisor: HypervisorKind::Embedded { socket: "/tmp/a \"b\".sock".into() },
            others: vec![other.clone()],
            links: vec![link.clone()],
            ..options()
        };
        let made = init(dir.path(), "a1", &options).unwrap();
        let config = Config::load(&made.config_file).unwrap();
        assert_eq!(config.hypervisor.kind, options.hypervisor);
        assert_eq!(config.node("b1"), Some(&other));
        assert_eq!(config.links, [link]);
    }

    #[test]
    fn the_commented_examples_work_too() {
        let own = NodeConfig {
            name: "a1".to_owned(),
            site: "a".to_owned(),
            peer: PeerId::random(),
            addresses: vec![options().address],
        };
        let other = NodeConfig {
            name: "b1".to_owned(),
            site: "b".to_owned(),
            peer: PeerId::random(),
            addresses: vec!["10.1.0.1:1".parse().unwrap()],
        };
        let options = InitOptions { others: vec![other], ..options() };
        let text = template("a1", Path::new("/k"), &own, &options);
        let example = |line: &str| line.contains(" = ") || line.starts_with("# [[");
        let uncommented: Vec<&str> = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|_| example(line)).unwrap_or(line))
            .collect();
        Config::parse(Path::new("/c"), &uncommented.join("\n")).unwrap();
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let first = init(dir.path(), "a1", &options()).unwrap();
        let before = fs::read(&first.config_file).unwrap();
        assert!(matches!(init(dir.path(), "a2", &options()), Err(InitError::Exists(_))));
        assert_eq!(fs::read(&first.config_file).unwrap(), before);
        fs::remove_file(&first.config_file).unwrap();
        assert!(matches!(init(dir.path(), "a2", &options()), Err(InitError::Exists(_))));
    }

    #[test]
    fn unsound_options_leave_nothing_behind() {
        let around = tempfile::tempdir().unwrap();
        let dir = around.path().join("new");
        assert!(matches!(init(&dir, "a/1", &options()), Err(InitError::BadName { .. })));
        let relative = InitOptions { run_dir: "run".into(), ..options() };
        assert!(matches!(init(&dir, "a1", &relative), Err(InitError::Unsound(_))));
        let no_port = InitOptions { address: "10.0.0.1:0".parse().unwrap(), ..options() };
        assert!(matches!(init(&dir, "a1", &no_port), Err(InitError::Unsound(_))));
        let deep = InitOptions { run_dir: format!("/{}", "x".repeat(63)).into(), ..options() };
        let refused = init(&dir, "a1", &deep).unwrap_err().to_string();
        assert!(
            refused.contains("\n  run_dir = \"/xx") && refused.contains("59 bytes"),
            "{refused}"
        );
        assert!(!refused.contains("lifeboat.toml"), "there is no such file yet: {refused}");
        let nowhere = InitOptions { address: "0.0.0.0:7420".parse().unwrap(), ..options() };
        assert!(init(&dir, "a1", &nowhere).unwrap_err().to_string().contains("no host is reached"));
        let same = InitOptions { site: "a1".to_owned(), ..options() };
        assert!(init(&dir, "a1", &same).unwrap_err().to_string().contains("name of a site"));
        assert_eq!(fs::read_dir(around.path()).unwrap().count(), 0);
    }
}
