//! Watching a world from outside while a test runs: that no VM runs twice, and what the WAN
//! carries.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lifeboat_sim_net::live::{
    client,
    hypervisor::protocol::{Description, Request, State},
    wan::protocol::{Request as WanRequest, Stats},
};
use tokio::task::JoinHandle;

/// Pause between two looks at the hypervisors, and at the WAN.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long one answer may take; the host may just be dying.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Ends its tasks with itself.
#[derive(Debug)]
pub(crate) struct Witness {
    twice: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Witness {
    pub(crate) fn start(hypervisors: Vec<(String, PathBuf)>) -> Self {
        let twice: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&twice);
        let task = tokio::spawn(async move {
            loop {
                // What changed hosts between two answers is not seen twice in the second round.
                let (first, second) = (running(&hypervisors).await, running(&hypervisors).await);
                for (vm, hosts) in second {
                    if hosts.len() > 1 && first.get(&vm) == Some(&hosts) {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.push(format!("{vm} runs on {}", hosts.join(" and ")));
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { twice, task }
    }

    /// VMs that were seen to run twice.
    pub(crate) fn twice(&self) -> Vec<String> {
        self.twice.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn running(hypervisors: &[(String, PathBuf)]) -> BTreeMap<String, Vec<String>> {
    let mut running: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (host, socket) in hypervisors {
        let call = client::call::<_, Vec<Description>>(socket, &Request::List);
        // A host that was killed runs nothing.
        let Ok(Ok(list)) = tokio::time::timeout(ANSWER_WITHIN, call).await else { continue };
        for one in list.into_iter().filter(|one| one.state == State::Running) {
            running.entry(one.definition.name).or_default().push(host.clone());
        }
    }
    running
}

/// What the WAN carried from site `a` to site `b`, sampled.
#[derive(Debug)]
pub struct Traffic {
    samples: Arc<Mutex<Vec<(u64, u64)>>>,
    capacity: f64,
    task: JoinHandle<()>,
}

/// A time in which a link carried next to nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gap {
    /// When it began, in seconds after the first sample.
    pub began: f64,
    /// How long it lasted, in seconds.
    pub lasted: f64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "longest idle gap {:.1} s, from {:.1} s on", self.lasted, self.began)
    }
}

impl Traffic {
    /// `capacity`: of the link, bytes per second.
    pub(crate) fn start(wan: PathBuf, capacity: f64) -> Self {
        let samples: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let seen = Arc::clone(&samples);
        let task = tokio::spawn(async move {
            loop {
                let call = client::call::<_, Stats>(&wan, &WanRequest::Stats);
                if let Ok(Ok(stats)) = tokio::time::timeout(ANSWER_WITHIN, call).await {
                    let link = stats.links.iter().find(|link| link.link.from == "a");
                    let bytes = link.map_or(0, |link| link.forwarded_bytes);
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push((stats.monotonic_ns, bytes));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { samples, capacity, task }
    }

    /// Bytes carried so far.
    pub fn bytes(&self) -> u64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = samples.first().zip(samples.last());
        ends.map_or(0, |((_, first), (_, last))| last - first)
    }

    /// What was carried so far, against what the link could have carried in that time.
    pub fn share_used(&self, time: Duration) -> f64 {
        let bytes = u32::try_from(self.bytes()).map_or(f64::MAX, f64::from);
        bytes / (self.capacity * time.as_secs_f64())
    }

    /// The longest time in which the link carried less than a twentieth of its capacity, up to
    /// when it was last in use.
    pub fn longest_gap(&self) -> Gap {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((start, _)) = samples.first() else { return Gap::default() };
        let seconds = |from: u64, to: u64| Duration::from_nanos(to - from).as_secs_f64();
        let mut longest = Gap::default();
        let mut idle_since = *start;
        for pair in samples.windows(2) {
            let ((then, before), (now, after)) = (pair[0], pair[1]);
            let carried = u32::try_from(after - before).map_or(f64::MAX, f64::from);
            if carried < self.capacity * seconds(then, now) / 20.0 {
                continue;
            }
            let lasted = seconds(idle_since, then);
            if lasted > longest.lasted {
                longest = Gap { began: seconds(*start, idle_since), lasted };
            }
            idle_since = now;
        }
        longest
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}
