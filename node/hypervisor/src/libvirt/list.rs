//! The list of this host's VMs.
//!
//! Invariants:
//! - *One that hangs is named and holds up nobody*: each domain is asked within a deadline of its
//!   own, and only for what libvirt answers without its QEMU. While libvirt waits for a QEMU it
//!   answers even less of that domain; such a VM is listed as it was last known, with an obstacle.
//! - *A connection that is lost is an error*, never a shorter list.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use virt::{connect::Connect, domain::Domain};

use super::{
    Inner, Storage, autostart,
    calls::{self, Failure, QUICK},
    copy_here, domain_xml, id_of,
    obstacles::obstacles,
    raw::{self, Busy},
    state,
};
use crate::{Copy, HypervisorError, Policy, RunState, Vm, VmId};

/// How long libvirt may wait for a QEMU until it counts as one that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3);
/// How often a busy domain is asked of which nothing is known yet.
const BUSY_POLL: Duration = Duration::from_millis(50);
/// Why such a VM stays.
const HANGS: &str =
    "its QEMU does not answer libvirt: look whether its storage does, and at its process";

/// What earlier lists told.
#[derive(Default)]
pub(super) struct Listed(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    vms: BTreeMap<VmId, Vm>,
    /// Sizes of disks in bytes, by VM, target and source: only a QEMU can tell them.
    sizes: BTreeMap<(VmId, domain_xml::Disk), u64>,
    /// Complaints about policies that were made already.
    complaints: BTreeSet<(VmId, String)>,
}

/// What a domain is found to be.
enum Found {
    /// What remains of one that moved away, one that still arrives, or one that vanished.
    NoVmOfThisHost,
    Vm(Box<Described>),
    /// libvirt is busy with its QEMU.
    Busy(Busy),
}

struct Described {
    vm: Vm,
    /// What is wrong with its policy.
    problem: Option<String>,
    /// The disks whose sizes are wanted.
    disks: Vec<domain_xml::Disk>,
    /// Whether it bears the mark of `autostart`.
    marked: bool,
}

/// All VMs of this host.
pub(super) async fn vms(inner: &Arc<Inner>) -> Result<Vec<Vm>, HypervisorError> {
    let domains = inner.call("list the VMs", QUICK, |connection| {
        let domains = connection.list_all_domains(0)?;
        Ok(domains.into_iter().filter_map(|one| Some((id_of(&one)?, one))).collect::<Vec<_>>())
    });
    let domains = domains.await?;
    let present: BTreeSet<VmId> = domains.iter().map(|(id, _)| *id).collect();
    inner.listed.keep(&present);
    let mut vms = Vec::new();
    for (id, domain) in domains {
        vms.extend(listed(inner, id, domain).await?);
    }
    Ok(vms)
}

async fn listed(
    inner: &Arc<Inner>,
    id: VmId,
    domain: Domain,
) -> Result<Option<Vm>, HypervisorError> {
    let known = inner.listed.vm(id);
    let patience = if known.is_none() { HANGS_AFTER } else { Duration::ZERO };
    let (asking, asked) = (Arc::clone(inner), domain.clone());
    let find = move |_: &Connect| {
        let started = Instant::now();
        loop {
            match find(&asking, id, &asked)? {
                Found::Busy(busy) if !hangs(busy) && started.elapsed() < patience => {
                    thread::sleep(BUSY_POLL);
                }
                found => return Ok(found),
            }
        }
    };
    let hung = match inner.call("describe a VM", QUICK, find).await {
        Ok(Found::NoVmOfThisHost) => return Ok(None),
        Ok(Found::Vm(described)) => {
            let Described { vm, problem, disks, marked } = *described;
            if let Some(problem) = problem {
                inner.listed.complain(id, &vm.name, problem);
            }
            // What an earlier daemon switched off, or what arrived paused and runs by now.
            if marked && vm.state == RunState::Running && !inner.moves.part(id).outgoing {
                inner.runtime.spawn(autostart::give_back(Arc::clone(inner), id));
            }
            let local_disk = local_disk(inner, id, disks).await;
            let vm = Vm { local_disk, ..vm };
            inner.listed.know(vm.clone());
            return Ok(Some(vm));
        }
        Ok(Found::Busy(busy)) => hangs(busy),
        Err(HypervisorError::Timeout { .. }) => true,
        Err(error) => return Err(error),
    };
    let asking = Arc::clone(inner);
    let now = inner.call("describe a VM", QUICK, move |_| bare(&asking, id, &domain)).await?;
    Ok(now.map(|now| {
        let mut vm = match known {
            Some(known) => Vm { state: now.state, ..known },
            None => now,
        };
        if hung {
            vm.obstacles.push(HANGS.into());
        }
        vm
    }))
}

/// A domain as lifeboat knows it.
fn find(inner: &Inner, id: VmId, domain: &Domain) -> Result<Found, Failure> {
    let storage = inner.config.storage;
    let found = || {
        let Some(vm) = bare(inner, id, domain)? else { return Ok(Found::NoVmOfThisHost) };
        if let Some(busy) = raw::busy(domain)? {
            return Ok(Found::Busy(busy));
        }
        let xml = domain.xml_desc(0)?;
        let description = domain_xml::describe(&xml).unwrap_or_else(|problem| {
            domain_xml::Description { policy: Some(Err(problem)), ..Default::default() }
        });
        let obstacles = obstacles(domain, vm.state, &description, storage)?;
        let (policy, problem) = match description.policy {
            None => (Policy::default(), None),
            Some(Ok(policy)) => (policy, None),
            Some(Err(problem)) => (Policy::default(), Some(problem)),
        };
        // Where a migration ends, libvirt describes its VM only afterwards: it may be gone.
        if bare(inner, id, domain)?.is_none() {
            return Ok(Found::NoVmOfThisHost);
        }
        let disks = match storage {
            Storage::Shared => Vec::new(),
            Storage::Local => description.disks.into_iter().filter(|disk| disk.written).collect(),
        };
        let vm = Vm { policy, obstacles, ..vm };
        Ok(Found::Vm(Box::new(Described {
            vm,
            problem,
            disks,
            marked: autostart::is_marked(&xml),
        })))
    };
    match found() {
        Err(Failure::Libvirt(error)) if calls::is_absent(&error) => Ok(Found::NoVmOfThisHost),
        found => found,
    }
}

/// Whether a domain's QEMU hangs.
fn hangs(busy: Busy) -> bool {
    matches!(busy, Busy::Occupied(time) if time >= HANGS_AFTER)
}

/// Refuses what would wait with libvirt for a QEMU that hangs.
pub(super) fn refuse_if_it_hangs(domain: &Domain) -> Result<(), Failure> {
    match raw::busy(domain)? {
        Some(busy) if hangs(busy) => Err(Failure::Refused(HANGS.into())),
        _ => Ok(()),
    }
}

/// What libvirt tells of a VM of this host at any time; `None` if it is none.
fn bare(inner: &Inner, id: VmId, domain: &Domain) -> Result<Option<Vm>, Failure> {
    let part = inner.moves.part(id);
    if matches!(copy_here(domain, part)?, Copy::Incoming | Copy::MovedAway) {
        return Ok(None);
    }
    let (state, reason) = raw::state(domain)?;
    // Whether it has moved away libvirt says when it has cleared up.
    if part.exited && state::side_matters(state, reason) {
        return Ok(None);
    }
    let info = domain.info()?;
    Ok(Some(Vm {
        id,
        name: domain.name()?,
        state: state::run_state_of(state),
        memory: info.max_mem * 1024,
        processors: info.nr_virt_cpu,
        local_disk: 0,
        dirty_rate: None,
        working_set: None,
        policy: Policy::default(),
        obstacles: Vec::new(),
    }))
}

/// Bytes of disks; a disk whose size is not told counts as empty until it is.
async fn local_disk(inner: &Inner, vm: VmId, disks: Vec<domain_xml::Disk>) -> u64 {
    let mut sum = 0;
    for disk in disks {
        let size = match inner.listed.size(vm, &disk) {
            Some(size) => size,
            None => {
                let target = disk.target.clone();
                let size = inner.ask_qemu(vm, "tell a disk's size", QUICK, move |domain| {
                    Ok(domain.block_info(&target, 0)?.capacity)
                });
                let Ok(size) = size.await else { continue };
                inner.listed.know_size(vm, disk, size);
                size
            }
        };
        sum += size;
    }
    sum
}

impl Listed {
    fn vm(&self, vm: VmId) -> Option<Vm> {
        self.tables().vms.get(&vm).cloned()
    }

    fn know(&self, vm: Vm) {
        self.tables().vms.insert(vm.id, vm);
    }

    fn size(&self, vm: VmId, disk: &domain_xml::Disk) -> Option<u64> {
        self.tables().sizes.get(&(vm, disk.clone())).copied()
    }

    fn know_size(&self, vm: VmId, disk: domain_xml::Disk, size: u64) {
        self.tables().sizes.insert((vm, disk), size);
    }

    /// Forgets what was known of VMs that are not here any more.
    fn keep(&self, present: &BTreeSet<VmId>) {
        let mut tables = self.tables();
        tables.vms.retain(|vm, _| present.contains(vm));
        tables.sizes.retain(|(vm, _), _| present.contains(vm));
    }

    /// Logs what is wrong with a policy, once.
    fn complain(&self, vm: VmId, name: &str, problem: String) {
        if self.tables().complaints.insert((vm, problem.clone())) {
            tracing::warn!(
                "the policy in the metadata of VM {name} ({vm}) is not valid: {problem}; \
                 the default policy counts for it until that is corrected"
            );
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}
