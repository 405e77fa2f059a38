//! Driver for libvirt's QEMU driver on this host.
//!
//! Invariants:
//! - *The source keeps its evidence*: no migration undefines the source or starts the arrival;
//!   [`forget`](crate::Hypervisor::forget) and [`resume`](crate::Hypervisor::resume) do, later.
//! - *Only a paused, complete copy is resumed*: [`resume`](crate::Hypervisor::resume) refuses what
//!   is still arriving, and what libvirt itself paused for a switchover.
//! - *A hung libvirtd costs threads, never the runtime*: see `pool`.
//! - *A hung QEMU holds up its own VM alone*: whatever waits for a QEMU goes over a connection and a
//!   pool apart, and of a domain whose QEMU libvirt waits for nothing is asked that waits with it.
//! - *A definition never takes with it what it does not carry*: [`definition`](crate::Hypervisor::definition)
//!   is refused for whatever `obstacles` names, and libvirt is not allowed to delete a saved state,
//!   snapshots or checkpoints with one.
//!
//! It never talks to another host: reaching the destination is libvirtd's work, over the sockets
//! that the carrier listens on, or at the address of a direct migration.
//!
//! What an operator should know:
//! - Autostart is off while a VM moves: see `autostart`.
//! - With the carrier, libvirt's own keepalive between the hosts must outlast every outage that
//!   the carrier bridges: set `keepalive_interval` and `keepalive_count` to e.g. 30 and 10 in
//!   `qemu.conf` (source) and `libvirtd.conf` (destination). For direct migrations 1 and 3 suit.
//! - QEMU binds sockets in the directory of the channels at the destination: the driver asks
//!   libvirt which user QEMU runs as, and gives the directory to that user.
//! - A migration that is given up before the destination's libvirt has answered ends only when
//!   the carrier closes the sockets.
//! - Post-copy is not available: libvirt refuses it together with an arrival that waits paused.
//! - A direct migration is limited by libvirt in whole MiB per second, rounded down, at least 1;
//!   the limit does not hold for the switchover.

mod arrivals;
mod autostart;
mod calls;
mod domain_xml;
mod events;
mod link;
mod list;
mod migration;
mod moves;
mod obstacles;
mod owner;
mod owner_pause;
mod pool;
mod process;
mod raw;
mod source;
mod state;

#[cfg(test)]
mod lab;

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::mpsc};
use virt::{connect::Connect, domain::Domain, error::ErrorNumber, sys};

use self::{
    arrivals::Arrivals,
    calls::{Failure, QUICK, SLOW, refused},
    events::{Part, Subscribers},
    link::{Link, LinkChange},
    list::{Listed, refuse_if_it_hangs},
    moves::Moves,
    owner::Owner,
    pool::Pool,
    raw::{DomainEvent, Job},
    state::Side,
};
use crate::{
    Channel, Copy, HostCapacity, Hypervisor, HypervisorError, HypervisorEvent, MigrationOrder,
    Progress, RunState, Vm, VmId,
};

const KIND: &str = "libvirt";
const DISCARD: &str = "discard a VM's copy";
/// How much later than this driver libvirt may learn that a process has exited.
const LIBVIRT_LAG: Duration = Duration::from_secs(5);
const LIBVIRT_LAG_POLL: Duration = Duration::from_millis(20);

/// Where the disks of this host's VMs are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// On storage that both sites see: disks never travel.
    #[default]
    Shared,
    /// On this host: they travel with `copy_storage`, and their sizes are reported.
    Local,
}

/// How to reach libvirt on this host, and what to assume of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtConfig {
    /// Connection URI; `qemu:///system` unless said.
    pub uri: String,
    /// The socket on which libvirtd (or virtqemud) serves arrivals; `/run/libvirt/libvirt-sock`
    /// unless said.
    pub socket: PathBuf,
    /// Where libvirt keeps the process numbers of running VMs; `/run/libvirt/qemu` unless said.
    pub run_directory: PathBuf,
    /// Where disks are; shared unless said.
    pub storage: Storage,
}

impl Default for LibvirtConfig {
    fn default() -> Self {
        Self {
            uri: "qemu:///system".into(),
            socket: "/run/libvirt/libvirt-sock".into(),
            run_directory: "/run/libvirt/qemu".into(),
            storage: Storage::Shared,
        }
    }
}

impl LibvirtConfig {
    /// The defaults at this URI, and the socket that it names, if it names one.
    pub fn at(uri: &str) -> Self {
        let query = uri.split_once('?').map_or("", |(_, query)| query);
        let named = query.split('&').find_map(|pair| pair.strip_prefix("socket="));
        let defaults = Self::default();
        Self {
            uri: uri.to_owned(),
            socket: named.map_or(defaults.socket, PathBuf::from),
            ..defaults
        }
    }
}

/// The driver. Reconnects by itself; calls made while libvirtd is away fail at once.
pub struct LibvirtHypervisor(Arc<Inner>);

/// What the driver's threads and tasks share.
struct Inner {
    config: LibvirtConfig,
    link: Arc<Link>,
    pool: Pool,
    /// For calls that wait for a QEMU.
    patient: Pool,
    moves: Moves,
    /// What is being asked of which VM, and not answered yet.
    questions: Mutex<BTreeSet<(VmId, &'static str)>>,
    arrivals: Arrivals,
    listed: Listed,
    subscribers: Subscribers,
    runtime: Handle,
}

impl LibvirtHypervisor {
    /// Starts the driver; the connection comes up in the background, and again after every loss.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect(config: LibvirtConfig) -> Arc<Self> {
        let inner = Arc::new(Inner {
            link: Link::new(config.uri.clone()),
            config,
            pool: Pool::new(),
            patient: Pool::new(),
            moves: Moves::default(),
            questions: Mutex::default(),
            arrivals: Arrivals::default(),
            listed: Listed::default(),
            subscribers: Subscribers::default(),
            runtime: Handle::current(),
        });
        let (events, changes) = (Arc::downgrade(&inner), Arc::downgrade(&inner));
        inner.link.run(
            Arc::new(move |event| with(&events, |inner| inner.on_event(event))),
            move |change| with(&changes, |inner| inner.on_link_change(change)),
        );
        Arc::new(Self(inner))
    }
}

impl Drop for LibvirtHypervisor {
    fn drop(&mut self) {
        self.0.link.stop();
    }
}

fn with(inner: &Weak<Inner>, act: impl FnOnce(&Arc<Inner>)) {
    if let Some(inner) = inner.upgrade() {
        act(&inner);
    }
}

/// Open until it is dropped, on whichever thread that is in the end.
struct OpenQuestion {
    inner: Arc<Inner>,
    vm: VmId,
    what: &'static str,
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.inner.open_questions().remove(&(self.vm, self.what));
    }
}

impl Inner {
    fn on_link_change(self: &Arc<Self>, change: LinkChange) {
        match change {
            LinkChange::Up => {
                self.subscribers.publish(&HypervisorEvent::Connected);
                self.runtime.spawn(source::adopt(Arc::clone(self)));
            }
            LinkChange::Down(reason) => {
                self.subscribers.publish(&HypervisorEvent::Disconnected(reason));
            }
        }
    }

    fn on_event(self: &Arc<Self>, event: DomainEvent) {
        let vm = match event {
            DomainEvent::Lifecycle { vm, event, detail } => {
                let part = self.moves.lifecycle(vm, event, detail);
                let meaning = events::meaning(vm, event, detail, part);
                if let Some(meaning) = &meaning {
                    self.subscribers.publish(meaning);
                    if matches!(meaning, HypervisorEvent::GuestPaused(_))
                        && let Some(attempt) = self.moves.not_halted(vm)
                    {
                        let look_into = owner_pause::look_into(Arc::downgrade(self), vm, attempt);
                        self.runtime.spawn(look_into);
                    }
                }
                let complete = meaning == Some(HypervisorEvent::Arrived(vm));
                if complete || part.incoming && event == sys::VIR_DOMAIN_EVENT_STOPPED {
                    self.arrivals.ends(vm);
                }
                if events::begins_to_arrive(event, detail) {
                    self.arrivals.begins(vm);
                    self.runtime.spawn(arrivals::note_images(Arc::clone(self), vm));
                }
                if event == sys::VIR_DOMAIN_EVENT_STOPPED
                    && let Some(attempt) = self.moves.attempt(vm)
                {
                    self.runtime.spawn(source::confirm_stopped(Arc::clone(self), vm, attempt));
                }
                vm
            }
            DomainEvent::Pass(vm) | DomainEvent::JobCompleted(vm) => vm,
        };
        self.subscribers.publish(&HypervisorEvent::Changed(vm));
    }

    async fn call<T: Send + 'static>(
        &self,
        what: &str,
        deadline: Duration,
        ask: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        calls::call(&self.link, &self.pool, what, deadline, ask).await
    }

    async fn call_about<T: Send + 'static>(
        &self,
        vm: VmId,
        what: &str,
        deadline: Duration,
        ask: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>, HypervisorError> {
        calls::call_about(&self.link, &self.pool, vm, what, deadline, ask).await
    }

    /// As `call_about`, of a VM that must be here.
    async fn ask<T: Send + 'static>(
        &self,
        vm: VmId,
        what: &str,
        deadline: Duration,
        ask: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        self.call_about(vm, what, deadline, ask).await?.ok_or(HypervisorError::NoSuchVm(vm))
    }

    /// As `ask`, of what needs the VM's QEMU to answer.
    async fn ask_qemu<T: Send + 'static>(
        &self,
        vm: VmId,
        what: &str,
        deadline: Duration,
        ask: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        let ask = |domain: &Domain| {
            refuse_if_it_hangs(domain)?;
            ask(domain)
        };
        calls::call_apart(&self.link, &self.patient, vm, what, deadline, ask)
            .await?
            .ok_or(HypervisorError::NoSuchVm(vm))
    }

    async fn look(&self, vm: VmId) -> Result<Copy, HypervisorError> {
        let part = self.moves.part(vm);
        let copy =
            self.call_about(vm, "tell a VM's state", QUICK, move |domain| copy_here(domain, part));
        Ok(copy.await?.unwrap_or(Copy::Absent))
    }

    /// As `call_about`, but refused while the same question is open: what waits for a QEMU, or a
    /// job, never piles up behind it.
    async fn call_once_about<T: Send + 'static>(
        self: &Arc<Self>,
        vm: VmId,
        what: &'static str,
        ask: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>, HypervisorError> {
        if !self.open_questions().insert((vm, what)) {
            return Err(refused(what, "it has not answered the same question yet"));
        }
        let question = OpenQuestion { inner: Arc::clone(self), vm, what };
        let ask = move |domain: &Domain| {
            let _question = question;
            refuse_if_it_hangs(domain)?;
            ask(domain)
        };
        self.call_about(vm, what, QUICK, ask).await
    }

    fn open_questions(&self) -> MutexGuard<'_, BTreeSet<(VmId, &'static str)>> {
        self.questions.lock().expect("nothing panics while it holds this")
    }

    /// The end of a migration that a VM is on, if it has one under way.
    async fn side(self: &Arc<Self>, vm: VmId) -> Result<Option<Side>, HypervisorError> {
        let side = self.call_once_about(vm, "tell a VM's job", |domain| Ok(job_side(domain)?));
        Ok(side.await?.flatten())
    }

    /// Whether a VM is shut off because its QEMU ended without being told to.
    async fn has_crashed(&self, vm: VmId) -> bool {
        let state =
            self.call_about(vm, "tell a VM's state", QUICK, |domain| Ok(raw::state(domain)?));
        let crashed = (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_CRASHED);
        state.await.is_ok_and(|state| state == Some(crashed))
    }

    async fn is_leaving(self: &Arc<Self>, vm: VmId) -> Result<bool, HypervisorError> {
        match self.side(vm).await {
            Ok(side) => Ok(side == Some(Side::Source)),
            Err(error @ HypervisorError::Unreachable { .. }) => Err(error),
            // libvirt itself waits for the QEMU; but a call that has not returned is not over.
            Err(_) if self.moves.is_under_way(vm) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Makes the directories in which QEMU will bind its sockets, writable for it.
fn prepare_directories(channels: &[Channel], owner: Option<Owner>) -> io::Result<()> {
    for path in migration::bound_by_qemu(channels) {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            if let Some(Owner { user, group }) = owner {
                chown(directory, Some(user), Some(group))?;
            }
        }
        // What an earlier attempt left would make QEMU fail to bind.
        match fs::symlink_metadata(path) {
            Ok(left) if left.file_type().is_socket() => fs::remove_file(path)?,
            _ => {}
        }
    }
    Ok(())
}

#[async_trait::async_trait]
impl Hypervisor for LibvirtHypervisor {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn events(&self) -> mpsc::UnboundedReceiver<HypervisorEvent> {
        self.0.subscribers.subscribe()
    }

    async fn capacity(&self) -> Result<HostCapacity, HypervisorError> {
        let answer = self.0.call("tell the host's capacity", QUICK, |connection| {
            let node = connection.node_info()?;
            let mut taken = 0;
            for domain in connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)? {
                // A VM that ended since it was listed takes nothing.
                taken += domain.info().map_or(0, |info| info.max_mem * 1024);
            }
            let memory_total = node.memory * 1024;
            let memory_free = memory_total.saturating_sub(taken);
            Ok(HostCapacity { memory_total, memory_free, processors: node.cpus })
        });
        answer.await
    }

    async fn vms(&self) -> Result<Vec<Vm>, HypervisorError> {
        list::vms(&self.0).await
    }

    async fn look(&self, vm: VmId) -> Result<Copy, HypervisorError> {
        self.0.look(vm).await
    }

    async fn is_leaving(&self, vm: VmId) -> Result<bool, HypervisorError> {
        self.0.is_leaving(vm).await
    }

    fn source_channels(&self, directory: &Path, vm: VmId, copy_storage: bool) -> Vec<Channel> {
        let libvirt = migration::source_libvirt_socket(directory, vm);
        migration::channels(libvirt, directory, vm, copy_storage)
    }

    fn destination_channels(&self, directory: &Path, vm: VmId, copy_storage: bool) -> Vec<Channel> {
        migration::channels(self.0.config.socket.clone(), directory, vm, copy_storage)
    }

    async fn prepare_arrival(&self, vm: VmId, channels: &[Channel]) -> Result<(), HypervisorError> {
        let what = "make ready for an arrival";
        match self.0.look(vm).await? {
            Copy::Absent | Copy::ShutOff | Copy::MovedAway => {}
            present => {
                return Err(refused(what, format!("this host has a copy already ({present:?})")));
            }
        }
        self.0.call_about(vm, what, QUICK, refuse_over_saved_state).await?;
        let sockets = migration::bound_by_qemu(channels).map(Path::to_path_buf).collect();
        let disks_travel = migration::disks_travel(channels);
        let channels = channels.to_vec();
        let prepare = move |connection: &Connect| {
            let owner = owner::owner(&connection.capabilities()?).map_err(Failure::Refused)?;
            prepare_directories(&channels, owner).map_err(|error| {
                Failure::Refused(format!("its sockets' directory cannot be made ready: {error}"))
            })
        };
        self.0.call(what, QUICK, prepare).await?;
        self.0.arrivals.expect(vm, sockets, disks_travel);
        Ok(())
    }

    async fn begin(&self, order: MigrationOrder) -> Result<(), HypervisorError> {
        self.0.arrivals.forget(order.vm);
        source::begin(Arc::clone(&self.0), order).await
    }

    async fn progress(&self, vm: VmId) -> Result<Option<Progress>, HypervisorError> {
        let progress = self.0.call_once_about(vm, "tell a migration's progress", |domain| {
            Ok(match job_side(domain)? {
                Some(Side::Source) => Some(progress_of(&raw::job(domain)?)),
                _ => None,
            })
        });
        Ok(progress.await?.flatten())
    }

    async fn set_max_downtime(&self, vm: VmId, milliseconds: u64) -> Result<(), HypervisorError> {
        let set = self.0.ask_qemu(vm, "allow a longer pause", QUICK, move |domain| {
            domain.migrate_set_max_downtime(milliseconds.max(1), 0)?;
            Ok(())
        });
        set.await
    }

    async fn start_post_copy(&self, _: VmId) -> Result<(), HypervisorError> {
        Err(refused(
            "switch to post-copy",
            "libvirt cannot combine it with an arrival that waits to be resumed, and without that \
             a VM could run twice; allow a longer pause, or stop-and-copy",
        ))
    }

    async fn pause(&self, vm: VmId) -> Result<(), HypervisorError> {
        self.0.moves.halts(vm);
        let pause = |domain: &Domain| Ok(domain.suspend().map(drop)?);
        self.0.ask_qemu(vm, "pause a VM", SLOW, pause).await
    }

    async fn abort(&self, vm: VmId) -> Result<(), HypervisorError> {
        let abort = |domain: &Domain| Ok(raw::abort_job(domain)?);
        self.0.ask_qemu(vm, "give a migration up", SLOW, abort).await
    }

    async fn resume(&self, vm: VmId) -> Result<(), HypervisorError> {
        let part = self.0.moves.part(vm);
        let resume = move |domain: &Domain| match copy_here(domain, part)? {
            Copy::Running => Ok(()),
            Copy::Paused => Ok(domain.resume().map(drop)?),
            other => {
                Err(Failure::Refused(format!("it is not a paused, complete copy ({other:?})")))
            }
        };
        self.0.ask(vm, "resume a VM", SLOW, resume).await?;
        self.0.arrivals.over(vm);
        self.0.runtime.spawn(autostart::give_back(Arc::clone(&self.0), vm));
        Ok(())
    }

    async fn discard(&self, vm: VmId) -> Result<(), HypervisorError> {
        let discard = |domain: &Domain| {
            if domain.is_active()? {
                match domain.destroy() {
                    Err(error) if !calls::is_wrong_state(&error) => return Err(error.into()),
                    _ => {}
                }
            }
            // What was never defined here vanished with its process.
            if domain.is_persistent()? {
                undefine(domain)?;
            }
            Ok(())
        };
        self.0.call_about(vm, DISCARD, SLOW, discard).await?;
        if let Some(arrival) = self.0.arrivals.over(vm) {
            let clear = move |connection: &Connect| {
                arrivals::clear(connection, &arrival);
                Ok(())
            };
            self.0.call(DISCARD, SLOW, clear).await?;
        }
        Ok(())
    }

    async fn forget(&self, vm: VmId) -> Result<(), HypervisorError> {
        let exited = self.0.moves.part(vm).exited;
        let forget = move |domain: &Domain| {
            let started = Instant::now();
            while domain.is_active()? {
                if !exited || started.elapsed() > LIBVIRT_LAG {
                    return Err(Failure::Refused("a live copy is on this host".into()));
                }
                thread::sleep(LIBVIRT_LAG_POLL);
            }
            // Should it be started in this moment: libvirt undefines what runs, too, and it then
            // runs on as a transient one. Nothing that runs is lost.
            undefine(domain)
        };
        self.0.call_about(vm, "forget a VM", SLOW, forget).await.map(drop)
    }

    async fn restore(&self, vm: VmId) -> Result<(), HypervisorError> {
        autostart::give_back_shut_off(&self.0, vm).await
    }

    async fn definition(&self, vm: VmId) -> Result<String, HypervisorError> {
        let storage = self.0.config.storage;
        let definition = move |domain: &Domain| {
            if domain.is_active()? {
                return Err(Failure::Refused("it is not shut off".into()));
            }
            let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE)?;
            let described = domain_xml::describe(&xml).map_err(Failure::Refused)?;
            // It may have been shut off, saved or given a disk since it was listed.
            let obstacles = obstacles::obstacles(domain, RunState::ShutOff, &described, storage)?;
            let xml = if domain.autostart()? { autostart::marked(&xml) } else { xml };
            if obstacles.is_empty() { Ok(xml) } else { Err(Failure::Refused(obstacles.join("; "))) }
        };
        self.0.ask(vm, "give a VM's definition", QUICK, definition).await
    }

    async fn define(&self, definition: &str) -> Result<(), HypervisorError> {
        let definition = definition.to_owned();
        let described = domain_xml::describe(&definition);
        let id = described.map_err(|problem| refused("define a VM", problem))?.id;
        let define = move |connection: &Connect| {
            // libvirt would take it as the definition from the next start of the live one on.
            let present = id.map(|vm| calls::find(connection, vm)).transpose()?.flatten();
            if let Some(domain) = present {
                if domain.is_active()? {
                    return Err(Failure::Refused("a live copy is on this host".into()));
                }
                refuse_over_saved_state(&domain)?;
            }
            connection.define_domain_xml(&definition)?;
            Ok(())
        };
        self.0.call("define a VM", QUICK, define).await
    }
}

/// What this host has of a domain.
///
/// Asks as little as possible: a QEMU that is frozen in its migration answers nothing, and libvirt
/// waits for it where its monitor is needed.
fn copy_here(domain: &Domain, part: Part) -> Result<Copy, Failure> {
    let (state, reason) = raw::state(domain)?;
    if part.exited && state::side_matters(state, reason) {
        // libvirt is about to notice: it clears up behind the process.
        return Ok(Copy::ShutOff);
    }
    let side = if !state::side_matters(state, reason) || part.outgoing {
        Side::Source
    } else if part.incoming {
        Side::Destination
    } else if domain.is_persistent()? {
        // An arrival is transient until it is complete.
        Side::Source
    } else {
        job_side(domain)?.unwrap_or(Side::Destination)
    };
    Ok(state::copy_of(state, reason, side))
}

/// The side of a domain's migration, if it has one under way.
fn job_side(domain: &Domain) -> Result<Option<Side>, virt::error::Error> {
    match raw::job(domain) {
        Ok(job) => Ok(match (job.kind, job.operation) {
            (sys::VIR_DOMAIN_JOB_BOUNDED | sys::VIR_DOMAIN_JOB_UNBOUNDED, operation) => {
                match operation {
                    sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT => Some(Side::Source),
                    sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN => Some(Side::Destination),
                    _ => None,
                }
            }
            _ => None,
        }),
        // libvirt counts a migration at its source only, and says so at the destination.
        Err(error) if error.code() == ErrorNumber::OperationUnsupported.into() => {
            Ok(Some(Side::Destination))
        }
        Err(error) if calls::is_wrong_state(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn progress_of(job: &Job) -> Progress {
    Progress {
        remaining: job.memory_remaining + job.disk_remaining,
        sent: job.memory_processed + job.disk_processed,
        total: job.memory_total + job.disk_total,
        // Measured from the second pass on.
        dirty_rate: (job.pass > 1).then_some(job.dirty_rate * job.page_size),
        pass: u32::try_from(job.pass).unwrap_or(u32::MAX).max(1),
        rewritten_counted: false,
        downtime_ms: job.downtime_ms,
    }
}

/// Removes a definition alone: libvirt refuses it of a domain with a saved state, snapshots or
/// checkpoints, unless told to delete these, too.
fn undefine(domain: &Domain) -> Result<(), Failure> {
    Ok(domain.undefine_flags(sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)?)
}

/// libvirt would start the VM from that state when it is next started here, in place of its own.
fn refuse_over_saved_state(domain: &Domain) -> Result<(), Failure> {
    if domain.has_managed_save(0)? {
        return Err(Failure::Refused(
            "this host has a saved state of it: remove that (virsh managedsave-remove) if it is of \
             no use any more"
                .into(),
        ));
    }
    Ok(())
}

fn id_of(domain: &Domain) -> Option<VmId> {
    domain.uuid_string().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_the_socket() {
        for (uri, socket) in [
            ("qemu:///system", "/run/libvirt/libvirt-sock"),
            ("qemu:///system?mode=direct", "/run/libvirt/libvirt-sock"),
            ("qemu:///system?socket=/run/libvirt/virtqemud-sock", "/run/libvirt/virtqemud-sock"),
        ] {
            let config = LibvirtConfig::at(uri);
            assert_eq!((config.uri.as_str(), config.socket), (uri, PathBuf::from(socket)));
        }
    }
}
