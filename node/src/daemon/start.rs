//! Bringing the daemon up.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use lifeboat_carrier::SetShare;
use lifeboat_hypervisor::Hypervisor;
use lifeboat_protocol::{
    Config as Timers, Directory, Incarnation, Node, NodeId,
    directory::{DEFAULT_INITIAL, DEFAULT_WINDOW, LinkSpec},
    units::BytesPerSec,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};
use tracing::info;

use super::{
    Daemon, Sources,
    act::{Endpoint, Means, actor},
    carrier::{CarrierLink, Rates, Supervisor},
    clock,
    events::EventLog,
    hung::GuestPaused,
    poll_progress, watch as watching,
};
use crate::{
    config::{Config, HypervisorKind},
    control::ControlServer,
    identity::NodeIdentity,
    journal::{self, Journal, JournalState, JournalWriter},
    transport::{self, Limits, Peer},
};

/// The journal's record of the daemon's lives. Not a key of the protocol, whose keys begin with its
/// version byte.
const LIVES: &[u8] = b"\0lives";

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting: key, journal, sockets, libvirt support. Each says what to do.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let identity = NodeIdentity::load(&config.key_file)?;
    config.verify_identity(identity.peer_id())?;
    make_private(&config.state_dir)?;
    make_private(&config.run_dir)?;
    make_private(&config.moves_dir())?;
    let (control, requests) =
        ControlServer::bind(&config.control_socket(), config.control_group.as_deref())?;
    let (journal, incarnation, records) = open_journal(&config.journal_file())?;
    let peers = config
        .other_nodes()
        .map(|node| Peer {
            name: node.name.clone(),
            peer_id: node.peer,
            addresses: node.addresses.clone(),
        })
        .collect();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (transport, transport_events, bound) =
        transport::start(identity.keypair(), &config.name, peers, loopback, Limits::default())
            .await?;

    let hypervisor = hypervisor(&config)?;
    let me = NodeId::of(&config.name);
    let directory = directory(&config).map_err(anyhow::Error::msg)?;
    let node = Node::new(clock::now(), me, incarnation, timers(&config), directory, &records)
        .map_err(anyhow::Error::msg)
        .with_context(|| config.journal_file().display().to_string())?;

    let (inputs_sender, inputs) = mpsc::unbounded_channel();
    let (hypervisor_sender, hypervisor_events) = mpsc::unbounded_channel();
    let (carrier_sender, carrier_news) = mpsc::unbounded_channel();
    let (progress_wanted, progress) = mpsc::unbounded_channel();
    let carrier = CarrierLink::default();
    let guest_paused = GuestPaused::default();
    let supervisor = Supervisor {
        config_file: config.file.clone(),
        socket: config.carrier_socket(),
        log: config.carrier_log(),
        upstream: bound,
        link: carrier.clone(),
        news: carrier_sender,
        guest_paused: guest_paused.clone(),
    };
    let supervisor = tokio::spawn(supervisor.run());
    tokio::spawn(poll_progress(Arc::clone(&hypervisor), progress, inputs_sender.clone()));
    tokio::spawn(watching::inventory(
        Arc::clone(&hypervisor),
        Arc::clone(&config),
        inputs_sender.clone(),
        hypervisor_sender,
    ));

    let actor = actor(Means {
        hypervisor,
        carrier: carrier.clone(),
        moves_dir: config.moves_dir(),
        copy_storage: config.hypervisor.copy_storage,
        direct: config.hypervisor.direct,
        inputs: inputs_sender.clone(),
    });
    let journal = JournalWriter::start(journal).context("cannot start the journal's thread")?;
    let sources = Sources {
        inputs,
        hypervisor: hypervisor_events,
        carrier: carrier_news,
        transport: transport_events,
        journal: journal.state(),
        control: requests,
    };
    let daemon = Daemon {
        endpoints: endpoints(&config),
        node,
        transport,
        journal,
        journal_state: JournalState::default(),
        actor,
        carrier,
        supervisor,
        carrier_up: false,
        carrier_failed: None,
        carrier_adopted: false,
        carrier_differs: None,
        carrier_replaced: false,
        guest_paused,
        shares: BTreeMap::new(),
        rates: Rates::default(),
        events: EventLog::new(),
        progress_wanted,
        inputs: inputs_sender,
        _control: control,
        config: Arc::clone(&config),
    };
    info!(node = config.name, life = incarnation.0, "ready");
    notify_systemd();
    daemon.serve(sources).await;
    Ok(())
}

fn make_private(directory: &Path) -> anyhow::Result<()> {
    // The moves' sockets may have to be reached by the hypervisor's own user: searchable by all,
    // listable by the owner and the group.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o751)
        .create(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))
}

fn open_journal(path: &Path) -> anyhow::Result<(Journal, Incarnation, Vec<journal::Record>)> {
    let mut journal = Journal::open(path)?;
    let mut records = journal.load()?;
    let former = records
        .iter()
        .find(|(key, _)| key == LIVES)
        .and_then(|(_, value)| Some(u64::from_be_bytes(value.as_slice().try_into().ok()?)));
    records.retain(|(key, _)| key != LIVES);
    // Seconds since 1970 keep lives apart even if a journal is lost; they decide nothing else.
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let life = former.map_or(0, |former| former + 1).max(today);
    journal.put(LIVES, &life.to_be_bytes())?;
    Ok((journal, Incarnation(life), records))
}

fn hypervisor(config: &Config) -> anyhow::Result<Arc<dyn Hypervisor>> {
    match &config.hypervisor.kind {
        HypervisorKind::Embedded { socket } => {
            Ok(lifeboat_hypervisor::embedded::EmbeddedHypervisor::connect(socket.clone()))
        }
        HypervisorKind::Libvirt { uri } => libvirt(config, uri),
    }
}

#[cfg(feature = "libvirt")]
fn libvirt(config: &Config, uri: &str) -> anyhow::Result<Arc<dyn Hypervisor>> {
    use lifeboat_hypervisor::libvirt::{LibvirtConfig, LibvirtHypervisor, Storage};
    let storage = if config.hypervisor.copy_storage { Storage::Local } else { Storage::Shared };
    Ok(LibvirtHypervisor::connect(LibvirtConfig { storage, ..LibvirtConfig::at(uri) }))
}

#[cfg(not(feature = "libvirt"))]
fn libvirt(config: &Config, _uri: &str) -> anyhow::Result<Arc<dyn Hypervisor>> {
    anyhow::bail!(
        "{} asks for the libvirt hypervisor, but this lifeboat was built without it: build it with \
         `cargo build --release --features libvirt`, or set kind = \"embedded\" to try things out",
        config.file.display()
    )
}

pub(crate) fn timers(config: &Config) -> Timers {
    let defaults = Timers::default();
    let heartbeat = config.timing.heartbeat;
    Timers {
        heartbeat,
        busy_heartbeat: heartbeat / 2,
        suspect_after: config.timing.dead_after / 2,
        dead_after: config.timing.dead_after,
        lease: config.timing.lease,
        ..defaults
    }
}

/// What the protocol needs to know of the cluster file.
pub(crate) fn directory(config: &Config) -> Result<Directory, String> {
    let nodes: Vec<(String, String)> =
        config.nodes.iter().map(|node| (node.name.clone(), node.site.clone())).collect();
    let links: Vec<LinkSpec> = config
        .links
        .iter()
        .map(|link| LinkSpec {
            from: link.from.clone(),
            to: link.to.clone(),
            ceiling: link.ceiling.map(|rate| BytesPerSec(rate.bytes_per_sec())),
            initial: link.initial.map_or(DEFAULT_INITIAL, |rate| BytesPerSec(rate.bytes_per_sec())),
            reserve_permille: link.reserve.get(),
            window: DEFAULT_WINDOW,
        })
        .collect();
    Directory::new(&nodes, &links)
}

fn endpoints(config: &Config) -> BTreeMap<NodeId, Endpoint> {
    let endpoint = |node: &crate::config::NodeConfig| Endpoint {
        peer: node.peer.to_string(),
        addresses: node.addresses.clone(),
    };
    config.nodes.iter().map(|node| (NodeId::of(&node.name), endpoint(node))).collect()
}

/// Tells the carrier the newest share of a link whenever it changes. A share that could not be told
/// is told again, as long as it is the newest.
pub(super) fn shares(carrier: &CarrierLink) -> watch::Sender<Option<SetShare>> {
    let (sender, mut shares) = watch::channel(None);
    let carrier = carrier.clone();
    tokio::spawn(async move {
        while shares.changed().await.is_ok() {
            let Some(share) = shares.borrow_and_update().clone() else { continue };
            let told = async { carrier.client()?.set_share(share).await };
            if told.await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                shares.mark_changed();
            }
        }
    });
    sender
}

fn notify_systemd() {
    // Without systemd there is nobody to notify, and that is no error.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let Some(watchdog) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(watchdog / 2);
        loop {
            ticks.tick().await;
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    });
}

/// SIGTERM or SIGINT.
pub(super) struct StopSignal {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl StopSignal {
    pub(super) fn new() -> Self {
        let listen = |kind| signal(kind).ok();
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }

    pub(super) async fn recv(&mut self) {
        tokio::select! {
            () = next(self.terminate.as_mut()) => {}
            () = next(self.interrupt.as_mut()) => {}
        }
    }
}

async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
