//! Looks at every process of the cluster, each at its own pace: one that is dead or slow keeps
//! nobody from seeing the others.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lifeboat_sim_net::live::{
    client::{self, Subscription},
    hypervisor::{
        Uuid,
        protocol::{Description, Event, Progress, Request as AskHypervisor},
    },
    wan::protocol::{Request as AskWan, Stats},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::cluster::Cluster;
use crate::{
    api::{Report, Request},
    control::ControlClient,
};

/// Between two looks at a host.
const HOST_EVERY: Duration = Duration::from_millis(250);
/// Between two looks at the WAN's counters.
const LINK_EVERY: Duration = Duration::from_millis(100);
/// A process that takes longer is taken to be dead for now.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Something that was seen.
#[derive(Debug)]
pub(super) enum News {
    /// What a daemon says; `None` if it does not answer.
    Daemon {
        /// Which, as of [`Cluster::hosts`].
        host: usize,
        /// Its word.
        report: Option<Box<Report>>,
    },
    /// What a hypervisor has.
    Hypervisor {
        /// Which.
        host: usize,
        /// All of its VMs.
        vms: Vec<Description>,
        /// How far its migrations are.
        moving: Vec<(Uuid, Progress)>,
    },
    /// A hypervisor tells of something at the moment at which it happens.
    Event(Event),
    /// Bytes that have left on the WAN from site a to site b.
    Link(u64),
}

/// Those who look. They stop when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    news: UnboundedReceiver<(Instant, News)>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Begins.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let (sender, news) = unbounded_channel();
        let mut tasks = JoinSet::new();
        for (index, host) in cluster.hosts().iter().enumerate() {
            tasks.spawn(daemon(index, host.socket(), sender.clone()));
            tasks.spawn(hypervisor(index, host.hypervisor_socket(), sender.clone()));
            tasks.spawn(events(host.hypervisor_socket(), sender.clone()));
        }
        tasks.spawn(link(cluster.wan_socket(), sender));
        Self { news, _tasks: tasks }
    }

    /// What was seen next, and when.
    pub(super) async fn next(&mut self) -> (Instant, News) {
        self.news.recv().await.expect("those who look never end by themselves")
    }
}

type Sender = UnboundedSender<(Instant, News)>;

/// The receiver is dropped last; until then everything is taken.
fn tell(sender: &Sender, news: News) {
    let _ = sender.send((Instant::now(), news));
}

async fn daemon(host: usize, socket: PathBuf, sender: Sender) {
    let mut ticks = interval(HOST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let report = timeout(ANSWER_WITHIN, report(&socket)).await.ok().flatten();
        tell(&sender, News::Daemon { host, report: report.map(Box::new) });
    }
}

async fn report(socket: &Path) -> Option<Report> {
    let mut client = ControlClient::connect(socket).await.ok()?;
    let answer = client.call(&Request::Report { id: None }).await.ok()?;
    serde_json::from_value(answer).ok()
}

async fn hypervisor(host: usize, socket: PathBuf, sender: Sender) {
    let mut ticks = interval(HOST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(Some((vms, moving))) = timeout(ANSWER_WITHIN, inventory(&socket)).await else {
            continue;
        };
        tell(&sender, News::Hypervisor { host, vms, moving });
    }
}

async fn inventory(socket: &Path) -> Option<(Vec<Description>, Vec<(Uuid, Progress)>)> {
    let vms: Vec<Description> = client::call(socket, &AskHypervisor::List).await.ok()?;
    let mut moving = Vec::new();
    for one in vms.iter().filter(|one| one.migrating) {
        let vm = one.definition.uuid.clone();
        let request = AskHypervisor::Progress { vm: vm.clone() };
        let progress: Option<Progress> = client::call(socket, &request).await.ok()?;
        moving.extend(progress.map(|progress| (vm, progress)));
    }
    Some((vms, moving))
}

async fn events(socket: PathBuf, sender: Sender) {
    loop {
        if let Ok(mut events) = Subscription::open(&socket).await {
            while let Ok(Some(event)) = events.next().await {
                tell(&sender, News::Event(event));
            }
        }
        sleep(HOST_EVERY).await;
    }
}

async fn link(socket: PathBuf, sender: Sender) {
    let mut ticks = interval(LINK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stats = client::call::<_, Stats>(&socket, &AskWan::Stats);
        if let Ok(Ok(stats)) = timeout(ANSWER_WITHIN, stats).await {
            tell(&sender, News::Link(forwarded(&stats, "a")));
        }
    }
}

/// Bytes that have left on the WAN from a site.
pub(super) fn forwarded(stats: &Stats, from: &str) -> u64 {
    stats.links.iter().filter(|link| link.link.from == from).map(|link| link.forwarded_bytes).sum()
}
