//! Sites of hosts as processes on loopback: for the demo and for tests.
//!
//! Every host is what a real one is: a `lifeboat node`, its carrier, and a hypervisor (the embedded
//! one), each a process of its own. Everything between sites goes through one WAN emulator. All of
//! it lives in one directory and ends with this value.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, bail};
use lifeboat_sim_net::live::{
    client,
    hypervisor::{self, protocol::Definition},
    wan,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{HostInfo, Request, Status},
    control::ControlClient,
    identity::NodeIdentity,
    lifeline::Lifeline,
};

/// How long a process may take until its socket answers, and all hosts until they hear each other,
/// on a machine with nothing to do.
const START_WITHIN: Duration = Duration::from_secs(20);
/// What every host adds to that: they share the machine.
const MORE_FOR_EACH: Duration = Duration::from_secs(1);
/// Pause between two looks at something that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What to bring up.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The `lifeboat` program.
    pub program: PathBuf,
    /// An existing directory for everything.
    pub directory: PathBuf,
    /// Hosts by name, each with its site.
    pub hosts: Vec<(String, String)>,
    /// VMs, each with the host that it runs on at first.
    pub vms: Vec<(String, Definition)>,
    /// Memory for VMs on each host, in bytes.
    pub memory: u64,
    /// What the WAN carries between two sites, in bits per second and direction.
    pub capacity_bits: u64,
    /// Its round-trip time in milliseconds.
    pub rtt_ms: f64,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    directory: PathBuf,
    node: Option<Child>,
    hypervisor: Option<Child>,
}

impl Host {
    /// The control socket of its daemon.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("run/lifeboat.sock")
    }

    /// The control socket of its hypervisor.
    pub fn hypervisor_socket(&self) -> PathBuf {
        self.directory.join("hypervisor.sock")
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.directory.join("lifeboat.toml")
    }

    /// What its daemon and its hypervisor wrote; its carrier writes to `run/carrier.log`.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Its journal.
    pub fn journal(&self) -> PathBuf {
        self.directory.join("state/journal.redb")
    }

    fn carrier_pid(&self) -> Option<u32> {
        fs::read_to_string(self.directory.join("run/carrier.pid")).ok()?.trim().parse().ok()
    }
}

/// Everything that runs. Dropping it ends all of it, and so does the end of this process, SIGKILL
/// included.
#[derive(Debug)]
pub struct Cluster {
    lifeline: Lifeline,
    program: PathBuf,
    directory: PathBuf,
    hosts: Vec<Host>,
    wan: Option<Child>,
}

impl Cluster {
    /// Brings everything up and waits until every node hears every other one that it ought to hear.
    ///
    /// # Errors
    /// If a process does not come up; what it wrote is in its host's `log`.
    pub async fn start(layout: Layout) -> anyhow::Result<Self> {
        let mut cluster = Self {
            lifeline: Lifeline::new().context("cannot make a pipe")?,
            program: layout.program.clone(),
            directory: layout.directory.clone(),
            hosts: Vec::new(),
            wan: None,
        };
        cluster.prepare(&layout)?;
        cluster.start_wan().await?;
        let names: Vec<String> = cluster.hosts.iter().map(|host| host.name.clone()).collect();
        for name in &names {
            cluster.start_hypervisor(name)?;
        }
        for name in &names {
            let socket = cluster.host(name)?.hypervisor_socket();
            answered(name, cluster.patience(), || probe(&socket)).await?;
            cluster.start_node(name)?;
        }
        cluster.wait_until_all_hear_all().await?;
        Ok(cluster)
    }

    fn prepare(&mut self, layout: &Layout) -> anyhow::Result<()> {
        let mut listens: Vec<SocketAddr> = Vec::new();
        let mut nodes: Vec<(String, String, SocketAddr, String)> = Vec::new();
        for (name, site) in &layout.hosts {
            let directory = layout.directory.join(name);
            fs::create_dir_all(&directory)?;
            let identity = NodeIdentity::generate();
            identity.store(&directory.join("node.key"))?;
            let listen = free_port(&mut listens)?;
            nodes.push((name.clone(), site.clone(), listen, identity.peer_id().to_string()));
            self.write_hypervisor(layout, name, &directory)?;
            self.hosts.push(Host {
                name: name.clone(),
                site: site.clone(),
                directory,
                node: None,
                hypervisor: None,
            });
        }
        let mut sites: Vec<&String> = layout.hosts.iter().map(|(_, site)| site).collect();
        sites.sort_unstable();
        sites.dedup();
        let mut routes = Vec::new();
        for site in &sites {
            for (name, there, listen, _) in nodes.iter().filter(|(_, there, ..)| there != *site) {
                routes.push(wan::protocol::RouteConfig {
                    name: format!("{site}-{name}"),
                    from_site: (*site).clone(),
                    to_site: there.clone(),
                    listen: free_port(&mut listens)?,
                    target: *listen,
                });
            }
        }
        for (name, site, listen, _) in &nodes {
            let text =
                config_text(&layout.directory.join(name), name, site, *listen, &nodes, &routes);
            fs::write(layout.directory.join(name).join("lifeboat.toml"), text)?;
        }
        let shape = wan::protocol::Shape {
            capacity_bits: layout.capacity_bits,
            rtt_ms: layout.rtt_ms,
            window_bytes: 4 << 20,
            loss: 0.0,
        };
        let mut links = Vec::new();
        for from in &sites {
            for to in sites.iter().filter(|to| to != &from) {
                links.push(wan::protocol::LinkConfig {
                    from: (*from).clone(),
                    to: (*to).clone(),
                    shape,
                });
            }
        }
        let control = self.wan_socket();
        let config = wan::Config { control, links, routes, seed: 1 };
        fs::write(self.directory.join("wan.json"), serde_json::to_vec_pretty(&config)?)?;
        Ok(())
    }

    fn write_hypervisor(
        &self,
        layout: &Layout,
        name: &str,
        directory: &Path,
    ) -> anyhow::Result<()> {
        let vms: Vec<&Definition> =
            layout.vms.iter().filter(|(host, _)| host == name).map(|(_, vm)| vm).collect();
        let file = directory.join("vms.json");
        fs::write(&file, serde_json::to_vec_pretty(&vms)?)?;
        let config = hypervisor::Config {
            control: directory.join("hypervisor.sock"),
            memory: layout.memory,
            processors: 4,
            vms: Some(file),
        };
        fs::write(directory.join("hypervisor.json"), serde_json::to_vec_pretty(&config)?)?;
        Ok(())
    }

    async fn start_wan(&mut self) -> anyhow::Result<()> {
        let log = File::create(self.directory.join("wan.log"))?;
        let file = self.directory.join("wan.json");
        self.wan = Some(self.spawn(&["wan-emulator"], &file, log)?);
        let socket = self.wan_socket();
        answered("the WAN emulator", self.patience(), || probe(&socket)).await
    }

    /// Starts the hypervisor of a host (again), with the VMs that it had at first.
    ///
    /// # Errors
    /// If there is no such host or the process cannot be started.
    pub fn start_hypervisor(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host(name)?;
        let (file, log) = (host.directory.join("hypervisor.json"), append(&host.log())?);
        let child = self.spawn(&["embedded-hypervisor"], &file, log)?;
        self.host_mut(name)?.hypervisor = Some(child);
        Ok(())
    }

    /// Kills the hypervisor of a host with SIGKILL, and with it all VMs that it runs.
    ///
    /// # Errors
    /// If there is no such host or its hypervisor does not run.
    pub fn kill_hypervisor(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host_mut(name)?;
        let hypervisor = host.hypervisor.take();
        let mut hypervisor = hypervisor.with_context(|| format!("{name} runs no hypervisor"))?;
        hypervisor.kill()?;
        hypervisor.wait()?;
        Ok(())
    }

    /// Starts the daemon of a host (again).
    ///
    /// # Errors
    /// If there is no such host or the process cannot be started.
    pub fn start_node(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host(name)?;
        let (file, log) = (host.config(), append(&host.log())?);
        let child = self.spawn(&["node", "--config"], &file, log)?;
        self.host_mut(name)?.node = Some(child);
        Ok(())
    }

    /// Kills the daemon of a host with SIGKILL; its carrier and its hypervisor live on.
    ///
    /// # Errors
    /// If there is no such host or its daemon does not run.
    pub fn kill_node(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host_mut(name)?;
        let mut node = host.node.take().with_context(|| format!("{name} runs no daemon"))?;
        node.kill()?;
        node.wait()?;
        Ok(())
    }

    /// Kills the carrier of a host with SIGKILL.
    ///
    /// # Errors
    /// If there is no such host or its carrier is not known.
    pub fn kill_carrier(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host_mut(name)?;
        let pid = host.carrier_pid().with_context(|| format!("{name} runs no carrier"))?;
        kill(pid);
        Ok(())
    }

    /// Stops the carrier of a host with SIGSTOP, as if it hung.
    ///
    /// # Errors
    /// If there is no such host or its carrier is not known.
    pub fn hang_carrier(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host_mut(name)?;
        let pid = host.carrier_pid().with_context(|| format!("{name} runs no carrier"))?;
        signal(pid, Signal::STOP);
        Ok(())
    }

    /// A power cut: daemon, carrier and hypervisor of a host with all its VMs.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn kill_host(&mut self, name: &str) -> anyhow::Result<()> {
        let host = self.host_mut(name)?;
        end(host);
        Ok(())
    }

    fn spawn(&self, words: &[&str], file: &Path, log: File) -> anyhow::Result<Child> {
        let (variable, value) = Lifeline::variable();
        Command::new(&self.program)
            .args(words)
            .arg(file)
            .env(variable, value)
            .stdin(self.lifeline.stdin()?)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {} {}", self.program.display(), words.join(" ")))
    }

    /// All hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One host.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.hosts.iter().find(|host| host.name == name).with_context(|| format!("no host {name}"))
    }

    fn host_mut(&mut self, name: &str) -> anyhow::Result<&mut Host> {
        let found = self.hosts.iter_mut().find(|host| host.name == name);
        found.with_context(|| format!("no host {name}"))
    }

    /// The control socket of the WAN emulator.
    pub fn wan_socket(&self) -> PathBuf {
        self.directory.join("wan.sock")
    }

    /// Asks a daemon.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    pub async fn ask<A: DeserializeOwned>(
        &self,
        name: &str,
        request: &Request,
    ) -> anyhow::Result<A> {
        let socket = self.host(name)?.socket();
        let asked = async {
            let mut client = ControlClient::connect(&socket).await?;
            let answer = client.call(request).await?;
            Ok::<A, anyhow::Error>(serde_json::from_value(answer)?)
        };
        match tokio::time::timeout(Duration::from_secs(10), asked).await {
            Ok(answer) => answer.with_context(|| format!("asking {name}")),
            Err(_) => bail!("{name} did not answer within 10 s"),
        }
    }

    /// Asks a host's hypervisor.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    pub async fn ask_hypervisor<A: DeserializeOwned>(
        &self,
        name: &str,
        request: &hypervisor::protocol::Request,
    ) -> anyhow::Result<A> {
        let socket = self.host(name)?.hypervisor_socket();
        call(&socket, request).await.with_context(|| format!("asking the hypervisor of {name}"))
    }

    /// Asks the WAN emulator.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    pub async fn ask_wan<A: DeserializeOwned>(
        &self,
        request: &wan::protocol::Request,
    ) -> anyhow::Result<A> {
        call(&self.wan_socket(), request).await.context("asking the WAN emulator")
    }

    /// How long all of it may take to come up.
    pub fn patience(&self) -> Duration {
        START_WITHIN + MORE_FOR_EACH * u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// Waits until every daemon that runs hears every other one that runs and has a reason to speak to
    /// it, and its hypervisor answers. In a cluster of more than 32 hosts not all have.
    ///
    /// # Errors
    /// If that does not happen within [`Cluster::patience`].
    pub async fn wait_until_all_hear_all(&self) -> anyhow::Result<()> {
        let running: Vec<&Host> = self.hosts.iter().filter(|host| host.node.is_some()).collect();
        let names: Vec<&str> = running.iter().map(|host| host.name.as_str()).collect();
        let deadline = tokio::time::Instant::now() + self.patience();
        for name in &names {
            loop {
                let amiss = match self.ask::<Status>(name, &Request::Status).await {
                    Ok(status) => amiss(&status, &names),
                    Err(error) => vec![format!("{error:#}")],
                };
                if amiss.is_empty() {
                    break;
                }
                if tokio::time::Instant::now() > deadline {
                    bail!(
                        "not all hosts hear each other after {} s: {}",
                        self.patience().as_secs(),
                        amiss.join("; ")
                    );
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }
}

/// What keeps a host from seeing itself and all of these hosts up that ought to speak to it, in
/// words.
fn amiss(status: &Status, hosts: &[&str]) -> Vec<String> {
    let own = &status.node;
    let mut amiss = Vec::new();
    if let Some(why) = &status.hypervisor_down {
        amiss.push(format!("the hypervisor of {own} does not answer ({why})"));
    }
    if !status.carrier_up {
        amiss.push(format!("the carrier of {own} does not answer"));
    }
    let others = |wanted: &dyn Fn(Option<&HostInfo>) -> bool| -> Vec<&str> {
        let seen = |name: &str| status.hosts.iter().find(|host| host.name == name);
        let others = hosts.iter().copied().filter(|name| name != own);
        others.filter(|name| wanted(seen(name))).collect()
    };
    let heard_as_it_ought = |host: &HostInfo| matches!(host.state.as_str(), "alive" | "distant");
    let silent = others(&|host| !host.is_some_and(heard_as_it_ought));
    if !silent.is_empty() {
        amiss.push(format!("{own} does not hear {}", silent.join(", ")));
    }
    let down =
        others(&|host| host.is_some_and(|host| host.state == "alive" && !host.hypervisor_up));
    if !down.is_empty() {
        amiss.push(format!("{own} hears that no hypervisor answers on {}", down.join(", ")));
    }
    amiss
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            end(host);
        }
        if let Some(mut wan) = self.wan.take() {
            let _ = wan.kill();
            let _ = wan.wait();
        }
        // A daemon that was killed while it started its carrier has left one that nobody knows.
        for pid in leftovers(&self.directory) {
            kill(pid);
        }
    }
}

fn end(host: &mut Host) {
    for mut child in [host.node.take(), host.hypervisor.take()].into_iter().flatten() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    if let Some(pid) = host.carrier_pid() {
        kill(pid);
        // The number may belong to another process later.
        let _ = fs::remove_file(host.directory.join("run/carrier.pid"));
    }
}

/// Carriers that were started with a configuration in this directory and still run.
fn leftovers(directory: &Path) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words =
            line.split(|byte| *byte == 0).map(|word| Path::new(OsStr::from_bytes(word)));
        words.any(|word| word == "carrier") && words.any(|word| word.starts_with(directory))
    })
    .collect()
}

fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

fn probe(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

async fn answered(what: &str, within: Duration, is_up: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + within;
    while !is_up() {
        if tokio::time::Instant::now() > deadline {
            bail!("{what} did not come up within {} s", within.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn call<Q: Serialize + Sync, A: DeserializeOwned>(
    socket: &Path,
    request: &Q,
) -> anyhow::Result<A> {
    let call = client::call(socket, request);
    match tokio::time::timeout(Duration::from_secs(10), call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => bail!("no answer within 10 s"),
    }
}

/// Ports below those that the system gives to connections that are dialled, which could take one
/// between its choice here and its use.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// A port of loopback that was free a moment ago, and that was not given out before.
fn free_port(taken: &mut Vec<SocketAddr>) -> anyhow::Result<SocketAddr> {
    // Several clusters may be brought up at the same time: each begins elsewhere.
    let first = std::process::id().wrapping_mul(61);
    for offset in 0..PORTS.len() {
        let port = first.wrapping_add(u32::try_from(offset)?) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(PORTS.start + port)?));
        if !taken.contains(&address) && TcpListener::bind(address).is_ok() {
            taken.push(address);
            return Ok(address);
        }
    }
    bail!("no port of loopback is free from {} to {}", PORTS.start, PORTS.end - 1)
}

fn config_text(
    directory: &Path,
    name: &str,
    site: &str,
    listen: SocketAddr,
    nodes: &[(String, String, SocketAddr, String)],
    routes: &[wan::protocol::RouteConfig],
) -> String {
    let at = directory.display();
    let mut text = format!(
        "name = \"{name}\"\nkey_file = \"{at}/node.key\"\nstate_dir = \"{at}/state\"\n\
         run_dir = \"{at}/run\"\nlisten = \"{listen}\"\n\n[hypervisor]\nkind = \"embedded\"\n\
         socket = \"{at}/hypervisor.sock\"\n\n[host]\nmemory_reserve = \"0B\"\n"
    );
    for (other, there, address, peer) in nodes {
        // Hosts of another site are reached through the WAN.
        let through = routes
            .iter()
            .find(|route| route.from_site == site && route.target == *address)
            .map_or(*address, |route| route.listen);
        text.push_str(&format!(
            "\n[[node]]\nname = \"{other}\"\nsite = \"{there}\"\npeer = \"{peer}\"\n\
             address = \"{through}\"\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_hosts_are_named() {
        let host = |name: &str, state: &str, hypervisor_up| HostInfo {
            name: name.to_owned(),
            site: "a".to_owned(),
            state: state.to_owned(),
            steward: false,
            vms_told: true,
            memory_total_bytes: 0,
            memory_free_bytes: 0,
            cpu_free_permille: 0,
            runtime_left_ms: None,
            nic_sent_bytes_per_sec: 0,
            nic_received_bytes_per_sec: 0,
            hypervisor_up,
            takes_arrivals: true,
            journal_fails: false,
            vms_left: 0,
            vms_stuck: 0,
            round_trip_us: None,
        };
        let mut status = Status {
            node: "a1".to_owned(),
            site: "a".to_owned(),
            hypervisor_down: None,
            journal_failed: None,
            carrier_up: true,
            carrier_failed: None,
            carrier_differs: None,
            uncertain: Vec::new(),
            doubles: Vec::new(),
            hosts: vec![host("a1", "alive", true), host("b1", "alive", true)],
            links: Vec::new(),
            evacuations: Vec::new(),
        };
        assert!(amiss(&status, &["a1", "b1"]).is_empty());
        status.carrier_up = false;
        status.hosts.push(host("a2", "suspected", true));
        status.hosts.push(host("b2", "alive", false));
        // In a large cluster it has no reason to speak to a1, which cannot know its hypervisor.
        status.hosts.push(host("b4", "distant", false));
        let expect = [
            "the carrier of a1 does not answer",
            "a1 does not hear a2, b3",
            "a1 hears that no hypervisor answers on b2",
        ];
        assert_eq!(amiss(&status, &["a1", "a2", "b1", "b2", "b3", "b4"]), expect);
    }
}
