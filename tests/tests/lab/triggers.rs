//! Acting within milliseconds of what a hypervisor does: libvirt's own events, and a hand on the
//! link that needs no new namespaces entered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{cluster::Cluster, lab::Lab};

/// What libvirt said of a guest on a host.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) host: String,
    pub(crate) guest: String,
    /// Event and detail in libvirt's words, e.g. `Suspended Migrated`.
    pub(crate) what: String,
}

/// The guest pauses for its switchover, at the source.
pub(crate) const PAUSED: &str = "Suspended Migrated";
/// The guest runs on at the source.
pub(crate) const RAN_ON: &str = "Resumed";
/// The copy is complete, at the destination.
pub(crate) const COMPLETE: &str = "Suspended Paused";
/// The destination's libvirt makes the arrival its own: the first thing that it does in the last
/// phase of a migration.
pub(crate) const FINISHING: &str = "Defined";
/// The destination's QEMU was started.
pub(crate) const STARTED: &str = "Started Migrated";

/// The events of some hosts, from now on.
pub(crate) struct Events {
    watchers: Vec<Child>,
    pub(crate) stream: Receiver<Event>,
}

impl Events {
    pub(crate) fn of(cluster: &Cluster, hosts: &[String]) -> anyhow::Result<Self> {
        let (sender, stream) = mpsc::channel();
        let mut events = Self { watchers: Vec::new(), stream };
        for host in hosts {
            let libvirt = cluster.lab.libvirt(host);
            let mut watcher = Command::new("stdbuf")
                .args(["-oL", "virsh", "-q", "-c", &libvirt])
                .args(["event", "--loop", "--event", "lifecycle"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .context("virsh event")?;
            let printed = watcher.stdout.take().context("virsh's output")?;
            events.watchers.push(watcher);
            let (sender, host) = (sender.clone(), host.clone());
            thread::spawn(move || {
                for line in BufReader::new(printed).lines().map_while(Result::ok) {
                    let Some(event) = parse(&host, &line) else { continue };
                    if sender.send(event).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(events)
    }

    /// The next event of which something holds.
    pub(crate) fn next(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<Event> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event =
                self.stream.recv_timeout(left).ok().with_context(|| {
                    format!("no such event within {} s: {what}", within.as_secs())
                })?;
            if wanted(&event) {
                return Ok(event);
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        for watcher in &mut self.watchers {
            // One that has ended already needs no killing.
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
    }
}

/// `event 'lifecycle' for domain 'g1': Suspended Migrated`.
fn parse(host: &str, line: &str) -> Option<Event> {
    let rest = line.strip_prefix("event 'lifecycle' for domain '")?;
    let (guest, what) = rest.split_once("': ")?;
    Some(Event {
        at: Instant::now(),
        host: host.to_owned(),
        guest: guest.to_owned(),
        what: what.to_owned(),
    })
}

/// A shell that waits inside the WAN, so that a cut takes one process start.
pub(crate) struct Scissors {
    shell: Child,
    orders: ChildStdin,
    answers: ChildStdout,
}

impl Scissors {
    pub(crate) fn new(lab: &Lab) -> anyhow::Result<Self> {
        let mut shell = Command::new("nsenter")
            .args(["--target", &lab.init(None)?, "--net", "--pid", "--", "bash", "-c"])
            .arg(
                "while read -r what; do \
                     iptables-legacy -w -t mangle $what && echo -n . || echo -n !; \
                 done",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("nsenter")?;
        let orders = shell.stdin.take().context("the shell's input")?;
        let answers = shell.stdout.take().context("the shell's output")?;
        let mut scissors = Self { shell, orders, answers };
        scissors.heal()?;
        Ok(scissors)
    }

    /// Nothing passes between the sites from now on; what is in flight is lost.
    pub(crate) fn cut(&mut self) -> anyhow::Result<()> {
        self.order("-A POSTROUTING -j DROP")
    }

    pub(crate) fn heal(&mut self) -> anyhow::Result<()> {
        self.order("-F POSTROUTING")
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        writeln!(self.orders, "{order}")?;
        let mut answer = [0];
        self.answers.read_exact(&mut answer)?;
        ensure!(answer == *b".", "the WAN refuses: {order}");
        Ok(())
    }
}

impl Drop for Scissors {
    fn drop(&mut self) {
        // A link that stays cut would be blamed on what comes next; the lab may be gone already.
        let _ = self.heal();
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A shell that waits inside a host to kill its libvirtd at a word.
pub(crate) struct Hangman {
    shell: Child,
    orders: Option<ChildStdin>,
}

impl Hangman {
    pub(crate) fn of_libvirtd(lab: &Lab, host: &str) -> anyhow::Result<Self> {
        let pid_file = lab.path(host, "spawn/libvirtd.pid");
        let mut shell = Command::new("nsenter")
            .args(["--target", &lab.init(Some(host))?, "--pid", "--", "bash", "-c"])
            .arg("read -r pid <\"$0\"; read -r && kill -KILL \"$pid\"")
            .arg(pid_file)
            .stdin(Stdio::piped())
            .spawn()
            .context("nsenter")?;
        let orders = shell.stdin.take();
        Ok(Self { shell, orders })
    }

    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        let mut orders = self.orders.take().context("the shell's input")?;
        orders.write_all(b"now\n")?;
        ensure!(self.shell.wait()?.success(), "libvirtd could not be killed");
        Ok(())
    }
}

impl Drop for Hangman {
    fn drop(&mut self) {
        // One that has done its work has ended already.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
