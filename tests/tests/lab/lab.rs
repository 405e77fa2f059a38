//! The lab of `tests/lab/lab`, ended when dropped; `tests/lab/test` and `bench` end it if this program is killed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

pub(crate) struct Lab {
    directory: PathBuf,
    pub(crate) sites: Vec<(String, Vec<String>)>,
}

impl Lab {
    /// Brings a lab up; one that an earlier run left is ended first.
    pub(crate) fn up(sites: &[(&str, &[&str])], rate: &str, rtt: &str) -> anyhow::Result<Self> {
        let lab = Self {
            directory: directory(),
            sites: sites
                .iter()
                .map(|(site, hosts)| {
                    ((*site).to_owned(), hosts.iter().map(|host| (*host).to_owned()).collect())
                })
                .collect(),
        };
        if lab.directory.exists() {
            lab.run(&["down"])?;
        }
        let sites: Vec<String> =
            lab.sites.iter().map(|(site, hosts)| format!("{site}={}", hosts.join(","))).collect();
        let mut words = vec!["up", "--rate", rate, "--rtt", rtt];
        for site in &sites {
            words.extend(["--site", site]);
        }
        lab.run(&words)?;
        Ok(lab)
    }

    /// Runs a command of the lab's script; gives what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(script())
            .args(words)
            .env("LIFEBOAT_LAB_DIR", &self.directory)
            .stdin(Stdio::null())
            .output()
            .context("tests/lab/lab cannot be run")?;
        ensure!(
            output.status.success(),
            "lab {}: {}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command inside a host.
    pub(crate) fn exec(&self, host: &str, command: &[&str]) -> anyhow::Result<String> {
        let mut words = vec!["exec", host, "--"];
        words.extend(command);
        self.run(&words)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.sites.iter().flat_map(|(_, hosts)| hosts).map(String::as_str)
    }

    pub(crate) fn hosts_of(&self, site: &str) -> Vec<String> {
        let found = self.sites.iter().find(|(name, _)| name == site);
        found.map(|(_, hosts)| hosts.clone()).unwrap_or_default()
    }

    pub(crate) fn site_of(&self, host: &str) -> &str {
        let of = self.sites.iter().find(|(_, hosts)| hosts.iter().any(|name| name == host));
        of.map_or("", |(site, _)| site)
    }

    /// A path of a host, as seen from outside.
    pub(crate) fn path(&self, host: &str, path: &str) -> PathBuf {
        self.directory.join("hosts").join(host).join(path.trim_start_matches('/'))
    }

    pub(crate) fn address(&self, host: &str) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path(host, "ip"))?.trim().to_owned())
    }

    /// The connection to a host's libvirt from outside.
    pub(crate) fn libvirt(&self, host: &str) -> String {
        let socket = self.path(host, "run/libvirt/libvirt-sock");
        format!("qemu+unix:///system?socket={}", socket.display())
    }

    /// The process that holds a host's, or the WAN's, namespaces.
    pub(crate) fn init(&self, host: Option<&str>) -> anyhow::Result<String> {
        let file =
            host.map_or_else(|| self.directory.join("wan-pid"), |host| self.path(host, "pid"));
        Ok(fs::read_to_string(file)?.trim().to_owned())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["down"]) {
            eprintln!("lab: it could not be ended: {error:#}");
        }
    }
}

/// Of the lab's state: `LIFEBOAT_LAB_DIR`, as for the script. Short, since sockets below it must fit
/// into an address.
fn directory() -> PathBuf {
    env::var_os("LIFEBOAT_LAB_DIR").map_or_else(|| "/run/lifeboat-lab-test".into(), PathBuf::from)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the repository")
}

fn script() -> PathBuf {
    repository().join("tests/lab/lab")
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    env::var_os("LIFEBOAT_PROGRAM")
        .map_or_else(|| repository().join("target/release/lifeboat"), PathBuf::from)
}
