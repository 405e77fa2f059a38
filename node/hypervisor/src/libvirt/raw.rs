//! What libvirt's C interface offers and the safe crate over it does not (or not soundly).
//!
//! The only code of the driver that calls C. It never blocks longer than the libvirt call it makes.

use std::{
    ffi::{CStr, c_int, c_void},
    mem, ptr,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use virt::{
    connect::Connect,
    domain::Domain,
    error::{Error, ErrorNumber},
    sys,
};

use crate::VmId;

/// So that an event loop which fails again and again does not take a whole processor.
const STUMBLE_PAUSE: Duration = Duration::from_millis(100);

/// What libvirt tells of a domain without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DomainEvent {
    /// A change of its life: libvirt's event and detail numbers.
    Lifecycle { vm: VmId, event: u32, detail: u32 },
    /// A new pass over memory has begun.
    Pass(VmId),
    /// A job was completed.
    JobCompleted(VmId),
}

/// Receives events on libvirt's event thread: it must not block.
pub(super) type EventSink = Arc<dyn Fn(DomainEvent) + Send + Sync>;

/// A domain's job as libvirt counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Job {
    /// A `virDomainJobType`.
    pub(super) kind: u32,
    /// A `virDomainJobOperation`.
    pub(super) operation: u32,
    pub(super) memory_total: u64,
    pub(super) memory_processed: u64,
    pub(super) memory_remaining: u64,
    pub(super) disk_total: u64,
    pub(super) disk_processed: u64,
    pub(super) disk_remaining: u64,
    pub(super) page_size: u64,
    /// Bytes per second at which memory is sent, as QEMU last measured it.
    pub(super) memory_rate: u64,
    /// Pages per second.
    pub(super) dirty_rate: u64,
    pub(super) pass: u64,
    pub(super) downtime_ms: Option<u64>,
}

/// Starts libvirt's event loop on a thread of its own, once for the process.
///
/// Must come before the first connection: connections made earlier would never deliver events.
pub(super) fn start_event_loop() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl()?;
            thread::Builder::new()
                .name("libvirt-events".into())
                .spawn(|| {
                    loop {
                        if let Err(error) = virt::event::event_run_default_impl() {
                            tracing::warn!(%error, "libvirt's event loop stumbled");
                            thread::sleep(STUMBLE_PAUSE);
                        }
                    }
                })
                .expect("a thread for libvirt's events can be started");
            Ok(())
        })
        .clone()
}

/// State and reason of a domain, as libvirt numbers them.
///
/// `virt::Domain::state` ignores that the call failed; this one does not.
pub(super) fn state(domain: &Domain) -> Result<(u32, u32), Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the domain pointer is valid as long as `domain` lives, and both integers outlive the
    // call, which keeps no reference to them.
    let code = unsafe { sys::virDomainGetState(domain.as_ptr(), &mut state, &mut reason, 0) };
    checked(code)?;
    Ok((state.unsigned_abs(), reason.unsigned_abs()))
}

/// What keeps libvirt from asking a domain's QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// It has been waiting so long for an answer of that QEMU.
    Occupied(Duration),
    /// A step of a migration, or of another long job. Whether that is stuck cannot be told.
    InJob,
}

/// Whether libvirt is busy with the domain's QEMU. Tells it without waiting itself, of a QEMU that
/// hangs, too.
pub(super) fn busy(domain: &Domain) -> Result<Option<Busy>, Error> {
    let mut control =
        sys::virDomainControlInfo { state: sys::VIR_DOMAIN_CONTROL_OK, details: 0, stateTime: 0 };
    // SAFETY: the domain pointer is valid as long as `domain` lives, and `control` outlives the
    // call, which keeps no reference to it.
    match checked(unsafe { sys::virDomainGetControlInfo(domain.as_ptr(), &mut control, 0) }) {
        Ok(()) => {}
        // Nobody waits for a QEMU that is not there.
        Err(error) if error.code() == ErrorNumber::OperationInvalid.into() => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(match control.state {
        sys::VIR_DOMAIN_CONTROL_OCCUPIED => {
            Some(Busy::Occupied(Duration::from_millis(control.stateTime)))
        }
        sys::VIR_DOMAIN_CONTROL_JOB => Some(Busy::InJob),
        _ => None,
    })
}

/// How many checkpoints libvirt knows of the domain.
pub(super) fn checkpoints(domain: &Domain) -> Result<u32, Error> {
    // SAFETY: the domain pointer is valid as long as `domain` lives; with a null pointer libvirt
    // counts only.
    let number = unsafe { sys::virDomainListAllCheckpoints(domain.as_ptr(), ptr::null_mut(), 0) };
    checked(number)?;
    Ok(number.unsigned_abs())
}

/// The longest pause that the domain's switchover may take, in milliseconds.
pub(super) fn max_downtime(domain: &Domain) -> Result<u64, Error> {
    let mut milliseconds = 0;
    // SAFETY: the domain pointer is valid as long as `domain` lives, and the number outlives the
    // call, which keeps no reference to it.
    let code =
        unsafe { sys::virDomainMigrateGetMaxDowntime(domain.as_ptr(), &mut milliseconds, 0) };
    checked(code)?;
    Ok(milliseconds)
}

/// Cancels the domain's job.
pub(super) fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain pointer is valid as long as `domain` lives.
    checked(unsafe { sys::virDomainAbortJob(domain.as_ptr()) })
}

/// The domain's present job; its kind is `VIR_DOMAIN_JOB_NONE` if there is none.
///
/// `virt::Domain::job_stats` makes a vector from a null pointer when there is no job.
pub(super) fn job(domain: &Domain) -> Result<Job, Error> {
    let mut kind: c_int = 0;
    let mut values = TypedValues { first: ptr::null_mut(), count: 0 };
    // SAFETY: the domain pointer is valid as long as `domain` lives; libvirt writes to the three
    // out-parameters only during the call. What it allocates is freed when `values` is dropped.
    let code = unsafe {
        sys::virDomainGetJobStats(
            domain.as_ptr(),
            &mut kind,
            &mut values.first,
            &mut values.count,
            0,
        )
    };
    checked(code)?;
    let number = |name| values.unsigned(name).unwrap_or(0);
    Ok(Job {
        kind: kind.unsigned_abs(),
        operation: values.integer(sys::VIR_DOMAIN_JOB_OPERATION).unwrap_or(0).unsigned_abs(),
        memory_total: number(sys::VIR_DOMAIN_JOB_MEMORY_TOTAL),
        memory_processed: number(sys::VIR_DOMAIN_JOB_MEMORY_PROCESSED),
        memory_remaining: number(sys::VIR_DOMAIN_JOB_MEMORY_REMAINING),
        disk_total: number(sys::VIR_DOMAIN_JOB_DISK_TOTAL),
        disk_processed: number(sys::VIR_DOMAIN_JOB_DISK_PROCESSED),
        disk_remaining: number(sys::VIR_DOMAIN_JOB_DISK_REMAINING),
        page_size: number(sys::VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE),
        memory_rate: number(sys::VIR_DOMAIN_JOB_MEMORY_BPS),
        dirty_rate: number(sys::VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE),
        pass: number(sys::VIR_DOMAIN_JOB_MEMORY_ITERATION),
        downtime_ms: values.unsigned(sys::VIR_DOMAIN_JOB_DOWNTIME),
    })
}

/// An array that libvirt allocated.
struct TypedValues {
    first: sys::virTypedParameterPtr,
    count: c_int,
}

impl TypedValues {
    fn unsigned(&self, name: &CStr) -> Option<u64> {
        let mut value = 0;
        // SAFETY: `first` and `count` describe what libvirt allocated (it accepts null and zero);
        // `name` ends in a null byte.
        let found = unsafe {
            sys::virTypedParamsGetULLong(self.first, self.count, name.as_ptr(), &mut value)
        };
        (found == 1).then_some(value)
    }

    fn integer(&self, name: &CStr) -> Option<i32> {
        let mut value = 0;
        // SAFETY: as in `unsigned`.
        let found =
            unsafe { sys::virTypedParamsGetInt(self.first, self.count, name.as_ptr(), &mut value) };
        (found == 1).then_some(value)
    }
}

impl Drop for TypedValues {
    fn drop(&mut self) {
        // SAFETY: libvirt allocated the array, nobody else frees it, and null is accepted.
        unsafe { sys::virTypedParamsFree(self.first, self.count) };
    }
}

/// Keeps event callbacks registered with one connection until dropped.
pub(super) struct EventRegistration {
    connection: Connect,
    callbacks: Vec<c_int>,
}

impl EventRegistration {
    /// Delivers the events of all domains of `connection` to `sink`.
    pub(super) fn new(connection: &Connect, sink: &EventSink) -> Result<Self, Error> {
        let mut registration = Self { connection: connection.clone(), callbacks: Vec::new() };
        // SAFETY: libvirt calls each of these back with exactly the arguments that it documents
        // for the event id it is registered under below; the generic type is only how C passes
        // them through one function.
        let (lifecycle, pass, completed) = unsafe {
            (
                mem::transmute::<LifecycleCallback, GenericCallback>(on_lifecycle),
                mem::transmute::<PassCallback, GenericCallback>(on_pass),
                mem::transmute::<JobCallback, GenericCallback>(on_job_completed),
            )
        };
        registration.add(sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, sink)?;
        registration.add(sys::VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, pass, sink)?;
        registration.add(sys::VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, completed, sink)?;
        Ok(registration)
    }

    fn add(
        &mut self,
        id: sys::virDomainEventID,
        callback: GenericCallback,
        sink: &EventSink,
    ) -> Result<(), Error> {
        let opaque = Box::into_raw(Box::new(Arc::clone(sink))).cast::<c_void>();
        // SAFETY: the connection is valid as long as `self` lives; `opaque` is a box that libvirt
        // hands to `free_sink` exactly once, after the last callback.
        let number = unsafe {
            sys::virConnectDomainEventRegisterAny(
                self.connection.as_ptr(),
                ptr::null_mut(),
                id as c_int,
                Some(callback),
                opaque,
                Some(free_sink),
            )
        };
        if number < 0 {
            let error = Error::last_error();
            // SAFETY: libvirt refused, so it kept nothing, and the box is still ours.
            unsafe { free_sink(opaque) };
            return Err(error);
        }
        self.callbacks.push(number);
        Ok(())
    }
}

impl Drop for EventRegistration {
    fn drop(&mut self) {
        for callback in self.callbacks.drain(..) {
            // SAFETY: the connection is still held, and the number came from it. On a dead
            // connection libvirt forgets the callback all the same and reports an error.
            unsafe {
                sys::virConnectDomainEventDeregisterAny(self.connection.as_ptr(), callback);
            }
        }
    }
}

type GenericCallback =
    unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, opaque: *mut c_void);
type LifecycleCallback = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int;
type PassCallback = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    iteration: c_int,
    opaque: *mut c_void,
);
type JobCallback = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    values: sys::virTypedParameterPtr,
    count: c_int,
    opaque: *mut c_void,
);

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: libvirt passes a valid domain and the box that was registered.
    unsafe {
        deliver(domain, opaque, |vm| DomainEvent::Lifecycle {
            vm,
            event: event.unsigned_abs(),
            detail: detail.unsigned_abs(),
        });
    }
    0
}

unsafe extern "C" fn on_pass(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt passes a valid domain and the box that was registered.
    unsafe { deliver(domain, opaque, DomainEvent::Pass) };
}

unsafe extern "C" fn on_job_completed(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _: sys::virTypedParameterPtr,
    _: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt passes a valid domain and the box that was registered.
    unsafe { deliver(domain, opaque, DomainEvent::JobCompleted) };
}

/// # Safety
///
/// `domain` is valid, and `opaque` is the box of an [`EventSink`] that is not freed yet.
unsafe fn deliver(
    domain: sys::virDomainPtr,
    opaque: *mut c_void,
    event: impl FnOnce(VmId) -> DomainEvent,
) {
    let mut id = [0; 16];
    // SAFETY: the domain is valid, and libvirt writes exactly 16 bytes (VIR_UUID_BUFLEN).
    if unsafe { sys::virDomainGetUUID(domain, id.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: by this function's own condition.
    let sink = unsafe { &*opaque.cast::<EventSink>() };
    sink(event(VmId(id)));
}

unsafe extern "C" fn free_sink(opaque: *mut c_void) {
    // SAFETY: `opaque` is the box made in `EventRegistration::add`, and this is its only end.
    drop(unsafe { Box::from_raw(opaque.cast::<EventSink>()) });
}

fn checked(code: c_int) -> Result<(), Error> {
    if code < 0 { Err(Error::last_error()) } else { Ok(()) }
}
