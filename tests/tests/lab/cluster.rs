//! The daemons of the lab's hosts: their configurations, their lives, and what can be asked of them.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    lab::{Lab, program},
    wait::until,
};

const PORT: u16 = 7420;
const DAEMON: &str = "lifeboat";
const LAST_LINES: usize = 60;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A lab with a daemon on every host.
pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    /// The site at which all guests are.
    pub(crate) home: String,
}

impl Cluster {
    /// Makes keys and configurations with `lifeboat init` and starts the daemons.
    pub(crate) fn start(lab: Lab, ceiling: &str) -> anyhow::Result<Self> {
        let cluster = Self::configured(lab, ceiling)?;
        cluster.start_daemons()?;
        Ok(cluster)
    }

    /// The same, without the daemons.
    pub(crate) fn configured(lab: Lab, ceiling: &str) -> anyhow::Result<Self> {
        let program = program();
        ensure!(program.exists(), "{} is missing; run tests/lab/test", program.display());
        let cluster = Self { home: lab.sites[0].0.clone(), lab };
        cluster.configure(ceiling)?;
        Ok(cluster)
    }

    /// Starts every host's daemon, and waits until they hear each other.
    pub(crate) fn start_daemons(&self) -> anyhow::Result<()> {
        for host in self.lab.hosts() {
            self.start_daemon(host)?;
        }
        self.all_heard()
    }

    /// Ends every host's daemon and its carrier, as an operator would.
    pub(crate) fn stop_daemons(&self) -> anyhow::Result<()> {
        for host in self.lab.hosts() {
            self.lab.run(&["kill", host, DAEMON, "TERM"])?;
        }
        for host in self.lab.hosts() {
            // It refuses as long as the daemon runs, which would start another one.
            until(&format!("the carrier at {host} ends"), PATIENCE, || {
                self.lifeboat(host, &["carrier", "--stop"]).map(Some)
            })?;
        }
        Ok(())
    }

    fn configure(&self, ceiling: &str) -> anyhow::Result<()> {
        let mut entries = Vec::new();
        for host in self.lab.hosts() {
            let address = format!("{}:{PORT}", self.lab.address(host)?);
            let site = self.lab.site_of(host);
            let printed =
                self.lifeboat(host, &["init", host, "--site", site, "--address", &address])?;
            let entry: Vec<&str> = printed
                .lines()
                .skip_while(|line| *line != "[[node]]")
                .take_while(|line| !line.is_empty())
                .collect();
            ensure!(!entry.is_empty(), "lifeboat init printed no entry:\n{printed}");
            entries.push((host, entry.join("\n")));
        }
        let mut links = String::new();
        for (from, _) in &self.lab.sites {
            for (to, _) in self.lab.sites.iter().filter(|(to, _)| to != from) {
                write!(
                    links,
                    "\n[[link]]\nfrom = \"{from}\"\nto = [\"{to}\"]\nceiling = \"{ceiling}\"\n"
                )?;
            }
        }
        for host in self.lab.hosts() {
            let file = self.lab.path(host, "etc/lifeboat/lifeboat.toml");
            let mut text = fs::read_to_string(&file)?;
            text = text.replace("# interfaces = [\"eth0\"]", "interfaces = [\"eth0\"]");
            for (_, entry) in entries.iter().filter(|(other, _)| *other != host) {
                write!(text, "\n{entry}\n")?;
            }
            fs::write(&file, text + &links)?;
        }
        Ok(())
    }

    /// Runs the program inside a host; gives what it printed.
    pub(crate) fn lifeboat(&self, host: &str, words: &[&str]) -> anyhow::Result<String> {
        let program = program();
        let mut command = vec![program.to_str().context("the program's path")?];
        command.extend(words);
        self.lab.exec(host, &command)
    }

    pub(crate) fn start_daemon(&self, host: &str) -> anyhow::Result<()> {
        let program = program();
        let program = program.to_str().context("the program's path")?;
        self.lab.run(&["spawn", host, DAEMON, "--", program, "node"]).map(drop)
    }

    /// SIGKILL, to the daemon alone.
    pub(crate) fn kill_daemon(&self, host: &str) -> anyhow::Result<()> {
        self.lab.run(&["kill", host, DAEMON, "KILL"]).map(drop)
    }

    /// SIGKILL, to the carrier alone: by the id of the one process that is it.
    pub(crate) fn kill_carrier(&self, host: &str) -> anyhow::Result<()> {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid"));
        let own = space(&self.lab.init(Some(host))?)?;
        let program = program();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_string_lossy().into_owned();
            // What is no process, or has just ended, has no such files.
            let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            let mut words = command.split(|byte| *byte == 0);
            let is_carrier = words.next() == Some(program.as_os_str().as_encoded_bytes())
                && words.next() == Some(b"carrier");
            if is_carrier && space(&pid).is_ok_and(|space| space == own) {
                found.push(pid);
            }
        }
        let [pid] = found.as_slice() else {
            anyhow::bail!("{host} runs {} carriers, not one", found.len());
        };
        let status = Command::new("kill").args(["-s", "KILL", pid]).status()?;
        ensure!(status.success(), "{host}'s carrier could not be killed");
        Ok(())
    }

    /// Asks a daemon.
    pub(crate) fn ask(&self, host: &str, request: &Value) -> anyhow::Result<Value> {
        let reply = line_from(&self.lab.path(host, "run/lifeboat/lifeboat.sock"), request)?;
        match reply.get("done") {
            Some(answer) => Ok(answer.clone()),
            None => anyhow::bail!("{host} answers {request} with {reply}"),
        }
    }

    /// Waits until every daemon hears all others, and each has its hypervisor and its carrier.
    pub(crate) fn all_heard(&self) -> anyhow::Result<()> {
        for host in self.lab.hosts() {
            until(&format!("{host} hears all hosts"), PATIENCE, || {
                let status = self.ask(host, &json!({"op": "status"}))?;
                let hosts = status["hosts"].as_array().context("hosts")?;
                let heard = hosts
                    .iter()
                    .all(|other| other["state"] == "alive" && other["hypervisor_up"] == true);
                let own = status["carrier_up"] == true && status["hypervisor_down"].is_null();
                Ok((heard && own).then_some(()))
            })?;
        }
        Ok(())
    }

    /// The site that the guests do not stand at.
    pub(crate) fn away(&self) -> String {
        let other = self.lab.sites.iter().find(|(site, _)| *site != self.home);
        other.map(|(site, _)| site.clone()).unwrap_or_default()
    }

    /// Starts the evacuation of the guests' site at its first host.
    pub(crate) fn evacuate(&self) -> anyhow::Result<String> {
        let (from, to) = (self.home.clone(), self.away());
        let initiator = &self.lab.hosts_of(&from)[0];
        let words = ["evacuate", "--from", &from, "--to", &to, "--yes", "--detach", "--json"];
        self.lifeboat(initiator, &words)?;
        let status = self.ask(initiator, &json!({"op": "status"}))?;
        let newest = status["evacuations"].as_array().and_then(|all| all.last());
        let id = newest.and_then(|one| one["id"].as_str());
        Ok(id.context("the evacuation is not in the status")?.to_owned())
    }

    /// A host's report on an evacuation.
    pub(crate) fn report(&self, host: &str, id: &str) -> anyhow::Result<Value> {
        self.ask(host, &json!({"op": "report", "id": id}))
    }

    /// Waits until a host reports the evacuation as done, with every guest arrived.
    pub(crate) fn done(&self, host: &str, id: &str, within: Duration) -> anyhow::Result<Value> {
        let report = until("the evacuation is done", within, || {
            let report = self.report(host, id)?;
            let arrived = report["arrived"].as_array().map_or(0, Vec::len);
            let done = report["evacuation"]["state"] == "done" && arrived == crate::GUESTS.len();
            Ok(done.then_some(report))
        });
        report.with_context(|| {
            self.report(host, id).map_or_else(|e| e.to_string(), |report| format!("{report:#}"))
        })
    }

    /// Ends an evacuation that is done, so that its site takes guests again.
    pub(crate) fn close(&mut self, id: &str) -> anyhow::Result<()> {
        self.lifeboat(&self.lab.hosts_of(&self.home)[0], &["cancel", id])?;
        for host in self.lab.hosts() {
            until(&format!("{host} knows that the evacuation was ended"), PATIENCE, || {
                let status = self.ask(host, &json!({"op": "status"}))?;
                let all = status["evacuations"].as_array().context("evacuations")?;
                let ended = all.iter().all(|one| one["id"] != id || one["state"] == "cancelled");
                let hosts = status["hosts"].as_array().context("hosts")?;
                let open = hosts.iter().all(|other| other["takes_arrivals"] == true);
                Ok((ended && open).then_some(()))
            })?;
        }
        self.home = self.away();
        Ok(())
    }

    /// Waits until a guest is about half way, and gives its name, and the hosts at both ends.
    pub(crate) fn mid_move(&self) -> anyhow::Result<(String, String, String)> {
        let sources = self.lab.hosts_of(&self.home);
        let destinations = self.lab.hosts_of(&self.away());
        until("a guest is half way", PATIENCE, || {
            for source in &sources {
                let Ok(vms) = self.ask(source, &json!({"op": "vms"})) else { continue };
                let half_way = |vm: &&Value| {
                    let (left, whole) = (&vm["remaining_bytes"], &vm["memory_bytes"]);
                    vm["state"] == "moving"
                        && vm["host"] == source.as_str()
                        && left.as_u64() < whole.as_u64().map(|whole| whole * 7 / 10)
                };
                let Some(vm) = vms.as_array().and_then(|all| all.iter().find(half_way)) else {
                    continue;
                };
                let name = vm["name"].as_str().unwrap_or_default();
                let here = |host: &&String| {
                    let listed = self.virsh(host, &["list", "--all", "--name"]);
                    listed.is_ok_and(|all| all.lines().any(|line| line == name))
                };
                if let Some(destination) = destinations.iter().find(here) {
                    return Ok(Some((name.to_owned(), source.clone(), destination.clone())));
                }
            }
            Ok(None)
        })
    }

    /// Asks a host's libvirt.
    pub(crate) fn virsh(&self, host: &str, words: &[&str]) -> anyhow::Result<String> {
        let libvirt = self.lab.libvirt(host);
        let output = Command::new("virsh").args(["-q", "-c", &libvirt]).args(words).output()?;
        ensure!(
            output.status.success(),
            "virsh at {host}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the daemons and hypervisors say, for whoever looks for a failure's cause.
    pub(crate) fn print_evidence(&self) {
        println!("{}", self.lab.run(&["ls"]).unwrap_or_default());
        for host in self.lab.hosts() {
            let log = self.lab.path(host, &format!("spawn/{DAEMON}.log"));
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("-- the last lines of {host}'s daemon and carrier");
            for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
                println!("{line}");
            }
        }
    }
}

/// A carrier's counters, on a connection of its own: while one is open, a carrier believes that it
/// is attended.
pub(crate) fn carrier_status(socket: &Path) -> anyhow::Result<Value> {
    let reply = line_from(socket, &json!({"id": 1, "op": "status"}))?;
    reply.get("status").cloned().with_context(|| format!("a carrier answers {reply}"))
}

/// One request and one line of answer, on a connection of its own.
fn line_from(socket: &Path, request: &Value) -> anyhow::Result<Value> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("nobody at {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
