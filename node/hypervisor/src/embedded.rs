//! Driver for the embedded hypervisor of `lifeboat-sim-net`.
//!
//! Every call has a connection of its own; a standing one delivers the events.
//!
//! Invariants:
//! - *A deadline for everything*: a call ends within [`DEADLINE`], whatever the process does.
//! - *Events begin with `Connected`*: whoever sees it looks at everything, so that what happened
//!   while nobody listened is not missed.
//! - *Nothing incomplete is called a VM*: an arrival under way is seen by
//!   [`look`](Hypervisor::look) and counted by [`capacity`](Hypervisor::capacity) only.
//!
//! It never starts or stops the hypervisor process.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use lifeboat_sim_net::live::{
    client::{CallError, Subscription, call},
    control::RefusalKind,
    hypervisor::{
        Uuid,
        protocol::{
            Capacity, Definition, Description, Event, Look, Progress as Figures, Request, State,
        },
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};

use crate::{
    Channel, Copy, HostCapacity, Hypervisor, HypervisorError, HypervisorEvent, MigrationOrder,
    Policy, Progress, RunState, Vm, VmId,
};

/// How long a call may take.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// First pause before connecting again; doubles up to [`MAX_BACK_OFF`].
const MIN_BACK_OFF: Duration = Duration::from_millis(50);
/// Longest pause before connecting again.
const MAX_BACK_OFF: Duration = Duration::from_secs(2);
/// Longest path that a UNIX socket can have, in bytes.
const MAX_SOCKET_PATH: usize = 107;
/// Name of the only channel.
const MEMORY: &str = "memory";
const KIND: &str = "embedded";

/// A client of one embedded hypervisor process.
#[derive(Debug)]
pub struct EmbeddedHypervisor {
    control_socket: PathBuf,
    listeners: Arc<Listeners>,
    watcher: AbortHandle,
}

impl EmbeddedHypervisor {
    /// A client of the process that answers, now or later, at `control_socket`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(control_socket: PathBuf) -> Arc<Self> {
        let listeners = Arc::new(Listeners::default());
        let watch = watch(control_socket.clone(), Arc::downgrade(&listeners));
        let watcher = tokio::spawn(watch).abort_handle();
        Arc::new(Self { control_socket, listeners, watcher })
    }

    /// Asks for one thing; `what` names it in errors, as a verb phrase.
    async fn ask<A: DeserializeOwned>(
        &self,
        what: &str,
        request: Request,
    ) -> Result<A, HypervisorError> {
        let answer = timeout(DEADLINE, call(&self.control_socket, &request)).await;
        let unknown =
            || HypervisorError::Timeout { what: what.into(), seconds: DEADLINE.as_secs() };
        match answer.map_err(|_| unknown())? {
            Ok(answer) => Ok(answer),
            Err(CallError::Unreachable(reason)) => Err(unreachable(reason.to_string())),
            Err(broken @ CallError::Broken(_)) => {
                Err(unreachable(format!("{broken}; whether it was done is unknown")))
            }
            Err(CallError::Refused(refusal)) => match (refusal.kind, subject(&request)) {
                (RefusalKind::NotFound, Some(vm)) => Err(HypervisorError::NoSuchVm(vm)),
                _ => Err(refused(what, refusal.reason)),
            },
        }
    }
}

impl Drop for EmbeddedHypervisor {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

#[async_trait::async_trait]
impl Hypervisor for EmbeddedHypervisor {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn events(&self) -> mpsc::UnboundedReceiver<HypervisorEvent> {
        self.listeners.join()
    }

    async fn capacity(&self) -> Result<HostCapacity, HypervisorError> {
        let Capacity { memory_total, memory_free, processors } =
            self.ask("tell its capacity", Request::Capacity).await?;
        Ok(HostCapacity { memory_total, memory_free, processors })
    }

    async fn vms(&self) -> Result<Vec<Vm>, HypervisorError> {
        let list: Vec<Description> = self.ask("list its VMs", Request::List).await?;
        Ok(list.into_iter().filter_map(vm).collect())
    }

    async fn look(&self, vm: VmId) -> Result<Copy, HypervisorError> {
        let look: Look = self.ask("look at a VM", Request::Look { vm: uuid(vm) }).await?;
        Ok(match look.state {
            State::Absent | State::Expected => Copy::Absent,
            State::Incoming => Copy::Incoming,
            State::Running => Copy::Running,
            State::Paused => Copy::Paused,
            State::Switching => Copy::Switching,
            State::MovedAway => Copy::MovedAway,
            State::ShutOff => Copy::ShutOff,
        })
    }

    async fn is_leaving(&self, vm: VmId) -> Result<bool, HypervisorError> {
        let list: Vec<Description> = self.ask("list its migrations", Request::List).await?;
        Ok(list.iter().any(|one| one.migrating && id(&one.definition.uuid) == vm))
    }

    fn source_channels(&self, directory: &Path, vm: VmId, _copy_storage: bool) -> Vec<Channel> {
        vec![Channel { name: MEMORY.into(), path: directory.join(format!("{vm}.out")) }]
    }

    fn destination_channels(
        &self,
        directory: &Path,
        vm: VmId,
        _copy_storage: bool,
    ) -> Vec<Channel> {
        vec![Channel { name: MEMORY.into(), path: directory.join(format!("{vm}.in")) }]
    }

    async fn prepare_arrival(&self, vm: VmId, channels: &[Channel]) -> Result<(), HypervisorError> {
        let what = "receive a VM";
        let path = memory_socket(what, channels)?;
        self.ask(what, Request::ExpectArrival { vm: uuid(vm), path }).await
    }

    async fn begin(&self, order: MigrationOrder) -> Result<(), HypervisorError> {
        let what = "migrate a VM";
        if order.direct_uri.is_some() {
            return Err(refused(what, "it migrates only through the carrier".into()));
        }
        let request = Request::Migrate {
            vm: uuid(order.vm),
            path: memory_socket(what, &order.channels)?,
            max_downtime_ms: order.max_downtime_ms,
            auto_converge: order.auto_converge,
        };
        self.ask(what, request).await
    }

    async fn progress(&self, vm: VmId) -> Result<Option<Progress>, HypervisorError> {
        let request = Request::Progress { vm: uuid(vm) };
        let figures: Option<Figures> = self.ask("tell a migration's progress", request).await?;
        Ok(figures.map(|figures| Progress {
            remaining: figures.remaining,
            sent: figures.sent,
            total: figures.total,
            dirty_rate: figures.dirty_rate,
            pass: figures.pass,
            rewritten_counted: true,
            downtime_ms: figures.downtime_ms,
        }))
    }

    async fn set_max_downtime(&self, vm: VmId, milliseconds: u64) -> Result<(), HypervisorError> {
        let request = Request::SetMaxDowntime { vm: uuid(vm), milliseconds };
        self.ask("allow a longer downtime", request).await
    }

    async fn start_post_copy(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.ask("switch to post-copy", Request::PostCopy { vm: uuid(vm) }).await
    }

    async fn pause(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.ask("pause a VM", Request::Pause { vm: uuid(vm) }).await
    }

    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.ask("abort a migration", Request::Abort { vm: uuid(vm) }).await
    }

    async fn resume(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.ask("resume a VM", Request::Resume { vm: uuid(vm) }).await
    }

    async fn discard(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.ask("discard a VM", Request::Destroy { vm: uuid(vm) }).await
    }

    async fn forget(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.ask("forget a VM", Request::Forget { vm: uuid(vm) }).await
    }

    async fn restore(&self, _: VmId) -> Result<(), HypervisorError> {
        Ok(())
    }

    async fn definition(&self, vm: VmId) -> Result<String, HypervisorError> {
        let request = Request::Definition { vm: uuid(vm) };
        let definition: Definition = self.ask("tell a VM's definition", request).await?;
        Ok(serde_json::to_string(&definition).expect("a definition is plain data"))
    }

    async fn define(&self, definition: &str) -> Result<(), HypervisorError> {
        let what = "define a VM";
        let definition = serde_json::from_str(definition)
            .map_err(|reason| refused(what, format!("the definition makes no sense: {reason}")))?;
        self.ask(what, Request::Define { definition }).await
    }
}

/// Those who are told of events.
#[derive(Debug, Default)]
struct Listeners(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    connected: bool,
    listeners: Vec<mpsc::UnboundedSender<HypervisorEvent>>,
}

impl Listeners {
    /// One more; it is told at once if there is a connection.
    fn join(&self) -> mpsc::UnboundedReceiver<HypervisorEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.connected {
            // The receiver is in our hands.
            let _ = sender.send(HypervisorEvent::Connected);
        }
        told.listeners.push(sender);
        receiver
    }

    /// Tells all who still listen.
    fn tell(&self, event: &HypervisorEvent) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            HypervisorEvent::Connected => told.connected = true,
            HypervisorEvent::Disconnected(_) => told.connected = false,
            _ => {}
        }
        told.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }
}

/// Keeps one subscription open for as long as there is a driver.
async fn watch(control_socket: PathBuf, listeners: Weak<Listeners>) {
    let mut back_off = MIN_BACK_OFF;
    loop {
        let opened = timeout(DEADLINE, Subscription::open(&control_socket)).await;
        if let Ok(Ok(subscription)) = opened {
            back_off = MIN_BACK_OFF;
            let Some(listeners) = listeners.upgrade() else { return };
            listeners.tell(&HypervisorEvent::Connected);
            let reason = forward(subscription, &listeners).await;
            tracing::warn!(%reason, "the connection to the embedded hypervisor is lost");
            listeners.tell(&HypervisorEvent::Disconnected(reason));
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

/// Passes events on until the connection ends; answers why it did.
async fn forward(mut subscription: Subscription, listeners: &Listeners) -> String {
    loop {
        match subscription.next().await {
            Ok(Some(event)) => listeners.tell(&translate(event)),
            Ok(None) => return "the hypervisor closed it".into(),
            Err(reason) => return reason.to_string(),
        }
    }
}

fn translate(event: Event) -> HypervisorEvent {
    match event {
        Event::Changed { vm } => HypervisorEvent::Changed(id(&vm)),
        Event::GuestPaused { vm } => HypervisorEvent::GuestPaused(id(&vm)),
        Event::GuestResumed { vm } => HypervisorEvent::GuestResumed(id(&vm)),
        Event::SourceGone { vm } => HypervisorEvent::SourceGone(id(&vm)),
        Event::Arrived { vm } => HypervisorEvent::Arrived(id(&vm)),
        Event::JobEnded { vm, error } => {
            HypervisorEvent::JobEnded(id(&vm), error.map_or(Ok(()), Err))
        }
    }
}

pub(crate) fn vm(described: Description) -> Option<Vm> {
    let Description { definition, state, .. } = described;
    let state = match state {
        State::Running => RunState::Running,
        State::Paused | State::Switching => RunState::Paused,
        State::ShutOff => RunState::ShutOff,
        State::Absent | State::Expected | State::Incoming | State::MovedAway => return None,
    };
    let mut obstacles = Vec::new();
    let policy = if definition.policy.is_null() {
        Policy::default()
    } else {
        serde_json::from_value(definition.policy).unwrap_or_else(|reason| {
            obstacles.push(format!("its policy cannot be understood: {reason}"));
            Policy::default()
        })
    };
    Some(Vm {
        id: id(&definition.uuid),
        name: definition.name,
        state,
        memory: definition.memory,
        processors: definition.vcpus,
        local_disk: 0,
        dirty_rate: Some(definition.dirty_rate),
        working_set: Some(definition.working_set.unwrap_or(definition.memory)),
        policy,
        obstacles,
    })
}

fn memory_socket(what: &str, channels: &[Channel]) -> Result<PathBuf, HypervisorError> {
    let [channel] = channels else {
        let reason = format!("it has one channel, {MEMORY:?}, and was given {}", channels.len());
        return Err(refused(what, reason));
    };
    let length = channel.path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        let reason = format!(
            "the socket path {} has {length} bytes, and the system allows {MAX_SOCKET_PATH}; \
             choose a shorter directory",
            channel.path.display()
        );
        return Err(refused(what, reason));
    }
    Ok(channel.path.clone())
}

fn unreachable(reason: String) -> HypervisorError {
    HypervisorError::Unreachable { kind: KIND, reason }
}

fn refused(what: &str, reason: String) -> HypervisorError {
    HypervisorError::Refused { what: what.into(), reason }
}

fn uuid(vm: VmId) -> Uuid {
    vm.to_string().parse().expect("both sides write UUIDs alike")
}

fn id(vm: &Uuid) -> VmId {
    VmId::from_str(&vm.to_string()).expect("both sides write UUIDs alike")
}

/// The VM that a request is about, if it is about one.
fn subject(request: &Request) -> Option<VmId> {
    match request {
        Request::Definition { vm }
        | Request::Pause { vm }
        | Request::Resume { vm }
        | Request::Migrate { vm, .. }
        | Request::PostCopy { vm }
        | Request::SetMaxDowntime { vm, .. }
        | Request::Abort { vm } => Some(id(vm)),
        _ => None,
    }
}
