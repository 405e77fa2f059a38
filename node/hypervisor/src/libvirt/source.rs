//! The source's end of a move: starting it, adopting one that is found, and seeing its process exit.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use virt::{domain::Domain, sys};

use super::{
    Inner, autostart,
    calls::{Failure, QUICK, SLOW, refused},
    id_of, job_side,
    migration::Call,
    moves::Attempt,
    owner_pause,
    process::Process,
    raw,
    state::{self, Side},
};
use crate::{Copy, HypervisorError, HypervisorEvent, MigrationOrder, RunState, VmId};

const BEGIN: &str = "start a migration";
/// How long libvirt may take to connect to the destination and to accept.
const ACCEPTANCE: Duration = Duration::from_secs(30);
/// How often a job is asked for whose end no call of ours tells.
const JOB_POLL: Duration = Duration::from_millis(500);
const ACCEPTANCE_POLL: Duration = Duration::from_millis(50);
/// How often a VM that hangs is asked whether it has a migration under way.
const ADOPT_POLL: Duration = Duration::from_secs(2);

type Ended = oneshot::Receiver<Result<(), String>>;

/// Starts a migration and returns once libvirt has accepted it.
///
/// The work is a task of its own: giving up waiting for this does not lose track of the migration.
pub(super) async fn begin(inner: Arc<Inner>, order: MigrationOrder) -> Result<(), HypervisorError> {
    let runtime = inner.runtime.clone();
    runtime.spawn(start(inner, order)).await.expect("starting a migration does not panic")
}

async fn start(inner: Arc<Inner>, order: MigrationOrder) -> Result<(), HypervisorError> {
    let vm = order.vm;
    let call = Call::new(&order).map_err(|reason| refused(BEGIN, reason))?;
    let Some(attempt) = inner.moves.leave(vm) else {
        return Err(refused(BEGIN, "it is being migrated already"));
    };
    let (name, paused) = match prepare(&inner, vm, order.max_downtime_ms).await {
        Ok(prepared) => prepared,
        Err(error) => {
            inner.moves.stays(vm, attempt);
            return Err(error);
        }
    };
    if paused {
        inner.moves.paused(vm, attempt);
    }
    watch_process(&inner, vm, attempt, &name);
    let mut ended = call.start(inner.config.uri.clone(), vm);
    match timeout(ACCEPTANCE, accepted(&inner, vm, &mut ended)).await {
        Ok(Some(Err(reason))) => {
            inner.moves.stays(vm, attempt);
            Err(refused(BEGIN, reason))
        }
        Ok(Some(Ok(()))) => {
            inner.runtime.spawn(over(Arc::clone(&inner), vm, attempt, Ok(())));
            Ok(())
        }
        Ok(None) => {
            inner.runtime.spawn(wait_for_end(Arc::clone(&inner), vm, attempt, ended));
            Ok(())
        }
        Err(_) => {
            inner.runtime.spawn(wait_for_end(Arc::clone(&inner), vm, attempt, ended));
            Err(HypervisorError::Timeout { what: BEGIN.into(), seconds: ACCEPTANCE.as_secs() })
        }
    }
}

/// Makes a VM ready to leave; returns its name, and whether its guest stands still.
async fn prepare(
    inner: &Inner,
    vm: VmId,
    max_downtime_ms: u64,
) -> Result<(String, bool), HypervisorError> {
    // First what needs its QEMU: nothing is changed of a VM that hangs.
    let limit = inner.ask_qemu(vm, BEGIN, QUICK, move |domain| {
        if !domain.is_active()? {
            let reason = "it is shut off: only its definition can be moved";
            return Err(Failure::Refused(reason.into()));
        }
        Ok(domain.migrate_set_max_downtime(max_downtime_ms.max(1), 0)?)
    });
    limit.await?;
    let prepare = |domain: &Domain| {
        if job_side(domain)?.is_some() {
            return Err(Failure::Refused("a migration of it is under way already".into()));
        }
        autostart::take(domain)?;
        identify(domain)
    };
    inner.ask(vm, BEGIN, SLOW, prepare).await
}

/// A domain's name, and whether its guest stands still.
fn identify(domain: &Domain) -> Result<(String, bool), Failure> {
    let (state, _) = raw::state(domain)?;
    Ok((domain.name()?, state::run_state_of(state) == RunState::Paused))
}

/// Waits until the migration shows as a job, or has ended already: then with its result.
async fn accepted(inner: &Arc<Inner>, vm: VmId, ended: &mut Ended) -> Option<Result<(), String>> {
    loop {
        tokio::select! {
            biased;
            result = &mut *ended => return Some(flat(result)),
            () = sleep(ACCEPTANCE_POLL) => {}
        }
        if let Ok(Some(Side::Source)) = inner.side(vm).await {
            return None;
        }
    }
}

async fn wait_for_end(inner: Arc<Inner>, vm: VmId, attempt: Attempt, ended: Ended) {
    let result = flat(ended.await);
    over(inner, vm, attempt, result).await;
}

/// The migration is over: tells so, and forgets it if the guest runs here.
async fn over(inner: Arc<Inner>, vm: VmId, attempt: Attempt, mut result: Result<(), String>) {
    let held = inner.moves.is_held(vm, attempt);
    inner.moves.ended(vm, attempt);
    match inner.look(vm).await {
        Ok(Copy::Running) => {
            inner.moves.stays(vm, attempt);
            if held {
                owner_pause::restore(&inner, vm).await;
                result = Err(owner_pause::REASON.into());
            }
            autostart::give_back(Arc::clone(&inner), vm).await;
        }
        Ok(Copy::ShutOff) if inner.has_crashed(vm).await => {
            result = result.map_err(|reason| format!("its QEMU crashed or was killed: {reason}"));
        }
        _ => {}
    }
    inner.subscribers.publish(&HypervisorEvent::JobEnded(vm, result));
}

/// Finds the migrations that are under way, after a start of the daemon or a lost connection.
pub(super) async fn adopt(inner: Arc<Inner>) {
    let active = inner.call("list the VMs", QUICK, |connection| {
        let domains = connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)?;
        Ok(domains.iter().filter_map(id_of).collect::<Vec<_>>())
    });
    match active.await {
        Ok(active) => {
            for vm in active {
                match inner.side(vm).await {
                    Ok(side) => adopt_one(&inner, vm, side).await,
                    // It hangs: the others do not wait for it.
                    Err(_) => drop(inner.runtime.spawn(adopt_later(Arc::downgrade(&inner), vm))),
                }
            }
        }
        Err(error) => tracing::warn!(%error, "migrations under way could not be looked for"),
    }
}

/// Asks again until it is answered, or the connection is lost: the next one finds everything anew.
async fn adopt_later(inner: Weak<Inner>, vm: VmId) {
    loop {
        sleep(ADOPT_POLL).await;
        let Some(inner) = inner.upgrade() else { return };
        match inner.side(vm).await {
            Ok(side) => return adopt_one(&inner, vm, side).await,
            Err(HypervisorError::Unreachable { .. }) => return,
            Err(_) => {}
        }
    }
}

async fn adopt_one(inner: &Arc<Inner>, vm: VmId, side: Option<Side>) {
    match side {
        None => {}
        Some(Side::Destination) => inner.moves.arriving(vm),
        Some(Side::Source) => {
            let Some(attempt) = inner.moves.leave(vm) else { return };
            tracing::info!(%vm, "adopted a migration that is under way");
            let found = inner.call_about(vm, "tell a VM's name", QUICK, identify).await;
            if let Ok(Some((name, paused))) = found {
                if paused {
                    inner.moves.paused(vm, attempt);
                }
                watch_process(inner, vm, attempt, &name);
            }
            inner.runtime.spawn(wait_for_job(Arc::downgrade(inner), vm, attempt));
        }
    }
}

/// Waits for the end of a migration that was started by another call than ours.
async fn wait_for_job(inner: Weak<Inner>, vm: VmId, attempt: Attempt) {
    while let Some(inner) = inner.upgrade() {
        let side = inner.side(vm).await;
        if matches!(side, Ok(side) if side != Some(Side::Source))
            && let Ok(copy) = inner.look(vm).await
        {
            let result = match copy {
                Copy::Running => Err("the guest runs here again".to_owned()),
                _ => Ok(()),
            };
            return over(inner, vm, attempt, result).await;
        }
        drop(inner);
        sleep(JOB_POLL).await;
    }
}

/// Watches the VM's QEMU process to its end, so that this is known before libvirt says so.
fn watch_process(inner: &Arc<Inner>, vm: VmId, attempt: Attempt, name: &str) {
    let _runtime = inner.runtime.enter();
    match Process::of_domain(&inner.config.run_directory, name, vm) {
        Ok(process) => {
            inner.runtime.spawn(wait_for_exit(Arc::downgrade(inner), vm, attempt, process));
        }
        Err(error) => tracing::warn!(
            "the QEMU process of {name} cannot be watched ({error}): that it is gone will be known \
             only when libvirt says so, a fraction of a second later"
        ),
    }
}

/// Tells that the VM's process has exited as soon as it has, if the guest stood still.
///
/// libvirt is not asked: while it clears up behind a QEMU that has exited, which takes it 0.2 s of
/// the guest's pause, it answers nothing about the domain. Whatever it would say, a guest without
/// a process does not run; whether a complete copy was made of it before, its destination knows. Where the
/// guest ran to the end, it shut down or its QEMU crashed: then nothing was given away, and the migration
/// call's own end has everyone look.
async fn wait_for_exit(inner: Weak<Inner>, vm: VmId, attempt: Attempt, process: Process) {
    if process.exited().await.is_ok()
        && !process.is_replaced()
        && let Some(inner) = inner.upgrade()
        && inner.moves.is_paused(vm, attempt)
        && inner.moves.exited(vm, attempt)
    {
        inner.subscribers.publish(&HypervisorEvent::ProcessExited(vm));
    }
}

/// libvirt has stopped the VM: tells that it is gone, if libvirt says that it has moved away.
pub(super) async fn confirm_stopped(inner: Arc<Inner>, vm: VmId, attempt: Attempt) {
    if let Ok(Copy::MovedAway) = inner.look(vm).await {
        inner.moves.exited(vm, attempt);
        inner.subscribers.publish(&HypervisorEvent::SourceGone(vm));
    }
}

fn flat(result: Result<Result<(), String>, oneshot::error::RecvError>) -> Result<(), String> {
    result.unwrap_or_else(|_| Err("the migration call ended without a result".into()))
}
