//! The source side of a migration: iterative pre-copy, as QEMU does it.
//!
//! Memory is swept again and again for dirty pages while the guest runs. Once what remains can be
//! sent within the allowed downtime, at the bandwidth measured of late, the guest is paused, the
//! rest is sent together with a digest of the whole memory, and the reply decides.
//!
//! Invariants:
//! - *The reply decides*: only `Arrived` removes the copy here; anything else restores the guest.
//! - *No patience of its own*: a silent stream is waited for without limit, paused guest or not;
//!   whoever watches the peer closes the socket.
//! - *The digest is of the memory*, not of what was sent, so that a page that dirty tracking
//!   missed cannot go unnoticed.

use std::{
    io::{self, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Uuid,
    guest::Guest,
    host::Host,
    memory::SLAB,
    protocol::Progress,
    wire::{self, Ending, Header, Reply},
};
use crate::live::{clock::monotonic_ns, control::Refusal, locked};

/// What waits in the socket's buffer becomes downtime; this much keeps a fast reader busy.
const SOCKET_BUFFER: usize = 256 << 10;
/// Bytes written at once: small, so that figures stay fresh on a slow link.
const WRITE: usize = 64 << 10;
/// Bandwidth is measured over at least this long, as QEMU does.
const BANDWIDTH_WINDOW: Duration = Duration::from_millis(100);
/// The dirty rate is measured over at least this long.
const DIRTY_WINDOW: Duration = Duration::from_millis(500);
/// Throttling is considered after at least this long, as in QEMU.
const THROTTLE_WINDOW: Duration = Duration::from_secs(1);
/// First step of throttling, then each further one, and the end of it: QEMU's defaults.
const THROTTLE_PERCENT: (u8, u8, u8) = (20, 10, 99);
/// How long a broken stream is asked for the destination's reason.
const LAST_WORD: Duration = Duration::from_millis(200);

/// What happened since a point in time.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    sent: u64,
    dirtied: u64,
}

#[derive(Debug)]
struct Meter {
    sent: u64,
    pass: u32,
    bandwidth: Option<u64>,
    dirty_rate: Option<u64>,
    throttle_percent: u8,
    bandwidth_window: Window,
    dirty_window: Window,
    throttle_window: Window,
}

/// One migration that leaves this host.
pub(crate) struct Outgoing {
    vm: Uuid,
    guest: Arc<Guest>,
    stream: UnixStream,
    auto_converge: bool,
    /// The guest ran when the migration began, so it runs on if the migration fails.
    ran: bool,
    max_downtime_ms: AtomicU64,
    /// When the guest was paused for the switchover; 0 before.
    paused_at_ns: AtomicU64,
    switching: AtomicBool,
    abort_reason: Mutex<Option<String>>,
    meter: Mutex<Meter>,
}

/// Starts to send a VM into the socket at `path`; a thread of its own does the work.
///
/// # Errors
/// If nobody listens at `path`, or the VM cannot leave. Nothing has changed then.
pub(crate) fn start(
    host: &Arc<Host>,
    vm: &Uuid,
    path: &Path,
    max_downtime_ms: u64,
    auto_converge: bool,
) -> Result<(), Refusal> {
    let job = host.begin(vm, |guest| {
        let stream = connect(path).map_err(|reason| {
            Refusal::refused(format!("cannot connect to {}: {reason}", path.display()))
        })?;
        let ran = guest.execution().running;
        let dirtied = guest.memory.dirtied_bytes();
        let window = Window { start: Instant::now(), sent: 0, dirtied };
        Ok(Arc::new(Outgoing {
            vm: vm.clone(),
            guest: Arc::clone(guest),
            stream,
            auto_converge,
            ran,
            max_downtime_ms: AtomicU64::new(max_downtime_ms),
            paused_at_ns: AtomicU64::new(0),
            switching: AtomicBool::new(false),
            abort_reason: Mutex::new(None),
            meter: Mutex::new(Meter {
                sent: 0,
                pass: 1,
                bandwidth: None,
                dirty_rate: None,
                throttle_percent: 0,
                bandwidth_window: window,
                dirty_window: window,
                throttle_window: window,
            }),
        }))
    })?;
    let (worker, mover) = (Arc::clone(host), Arc::clone(&job));
    let work = move || match transfer(&worker, &mover) {
        Ok(()) => worker.source_gone(&mover),
        Err(reason) => worker.source_stays(&mover, mover.explain(&reason)),
    };
    if let Err(reason) = std::thread::Builder::new().name("migration".into()).spawn(work) {
        let reason = format!("no thread for the migration: {reason}");
        host.source_stays(&job, reason.clone());
        return Err(Refusal::refused(reason));
    }
    Ok(())
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&stream, SOCKET_BUFFER)?;
    Ok(stream)
}

impl Outgoing {
    /// Which VM leaves.
    pub(crate) fn vm(&self) -> &Uuid {
        &self.vm
    }

    /// Its guest.
    pub(crate) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Whether the guest is paused for the switchover.
    pub(crate) fn is_switching(&self) -> bool {
        self.switching.load(Ordering::Relaxed)
    }

    /// Allows another downtime, in milliseconds.
    pub(crate) fn set_max_downtime(&self, milliseconds: u64) {
        self.max_downtime_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Gives the migration up; its thread restores the guest.
    pub(crate) fn abort(&self, reason: &str) {
        locked(&self.abort_reason).get_or_insert_with(|| reason.to_owned());
        // The peer may have closed it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Pauses the guest for the switchover, at `now_ns`; true if that is new. Only the host's
    /// table calls this, under its lock.
    pub(crate) fn stop_guest(&self, now_ns: u64) -> bool {
        self.guest.execution().running = false;
        let new = !self.switching.swap(true, Ordering::Relaxed);
        if new {
            self.paused_at_ns.store(now_ns, Ordering::Relaxed);
        }
        new
    }

    /// Lets the guest be as it was before the migration; true if that resumes it. Only the host's
    /// table calls this, under its lock.
    pub(crate) fn restore_guest(&self) -> bool {
        self.guest.execution().throttle_percent = 0;
        let resume = self.is_switching() && self.ran;
        if resume {
            self.guest.resume();
        }
        resume
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        let remaining = self.guest.memory.dirty_bytes();
        let meter = locked(&self.meter);
        let downtime_ms = if self.is_switching() {
            Some(
                monotonic_ns().saturating_sub(self.paused_at_ns.load(Ordering::Relaxed))
                    / 1_000_000,
            )
        } else {
            meter.bandwidth.map(|bandwidth| remaining.saturating_mul(1000) / bandwidth.max(1))
        };
        Progress {
            remaining,
            sent: meter.sent,
            total: self.guest.definition().memory,
            dirty_rate: meter.dirty_rate,
            bandwidth: meter.bandwidth,
            pass: meter.pass,
            throttle_percent: meter.throttle_percent,
            downtime_ms,
        }
    }

    fn explain(&self, reason: &io::Error) -> String {
        let broke = || match wire::is_broken(reason) {
            true => format!(
                "the connection from the hypervisor to the carrier here broke before all was sent \
                 ({reason})"
            ),
            false => reason.to_string(),
        };
        locked(&self.abort_reason).clone().unwrap_or_else(broke)
    }

    fn window(&self, sent: u64) -> Window {
        Window { start: Instant::now(), sent, dirtied: self.guest.memory.dirtied_bytes() }
    }

    fn may_switch(&self) -> bool {
        let remaining = self.guest.memory.dirty_bytes();
        let bandwidth = locked(&self.meter).bandwidth.unwrap_or(0);
        let downtime_ms = self.max_downtime_ms.load(Ordering::Relaxed);
        u128::from(remaining) * 1000 <= u128::from(bandwidth) * u128::from(downtime_ms)
    }

    /// Writes everything, keeping the figures fresh meanwhile.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(WRITE) {
            if locked(&self.abort_reason).is_some() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            (&self.stream).write_all(chunk)?;
            self.note_sent(chunk.len() as u64);
        }
        Ok(())
    }

    fn note_sent(&self, bytes: u64) {
        let mut meter = locked(&self.meter);
        meter.sent += bytes;
        let began = meter.bandwidth_window;
        let elapsed = began.start.elapsed();
        if elapsed >= BANDWIDTH_WINDOW {
            meter.bandwidth = Some(per_second(meter.sent - began.sent, elapsed));
            meter.bandwidth_window = self.window(meter.sent);
        }
        let began = meter.dirty_window;
        let elapsed = began.start.elapsed();
        // In the first pass most pages are still marked from the start, and count as nothing.
        if meter.pass > 1 && elapsed >= DIRTY_WINDOW {
            let now = self.window(meter.sent);
            meter.dirty_rate = Some(per_second(now.dirtied - began.dirtied, elapsed));
            meter.dirty_window = now;
        }
    }

    fn next_pass(&self) {
        let mut meter = locked(&self.meter);
        let now = self.window(meter.sent);
        if meter.pass == 1 {
            meter.dirty_window = now;
        }
        meter.pass += 1;
        let began = meter.throttle_window;
        if !self.auto_converge || began.start.elapsed() < THROTTLE_WINDOW {
            return;
        }
        meter.throttle_window = now;
        if (now.dirtied - began.dirtied) * 2 > now.sent - began.sent {
            let (first, step, most) = THROTTLE_PERCENT;
            meter.throttle_percent = match meter.throttle_percent {
                0 => first,
                percent => (percent + step).min(most),
            };
            self.guest.execution().throttle_percent = meter.throttle_percent;
        }
    }

    /// Sends what is dirty in one slab, through `buffer`.
    fn send_slab(&self, slab: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        buffer.resize(1 + wire::PAGES_HEAD, 0);
        let taken = self.guest.memory.take_dirty(slab, buffer);
        if taken.pages == 0 {
            return Ok(());
        }
        wire::put_pages_head(&mut buffer[..1 + wire::PAGES_HEAD], slab, taken);
        self.write(buffer)
    }
}

fn per_second(amount: u64, elapsed: Duration) -> u64 {
    (amount as f64 / elapsed.as_secs_f64()) as u64
}

fn transfer(host: &Host, job: &Arc<Outgoing>) -> io::Result<()> {
    let sent = send(host, job);
    match sent {
        Ok(()) => match wire::get_json(&mut &job.stream)? {
            Reply::Arrived => Ok(()),
            Reply::Failed(reason) => Err(refused_there(&reason)),
        },
        Err(reason) => {
            // A destination that closed the stream may have said why.
            job.stream.set_read_timeout(Some(LAST_WORD))?;
            match wire::get_json(&mut &job.stream) {
                Ok(Reply::Failed(reason)) => Err(refused_there(&reason)),
                Ok(Reply::Arrived) | Err(_) => Err(reason),
            }
        }
    }
}

fn refused_there(reason: &str) -> io::Error {
    io::Error::other(format!("the destination answered: {reason}"))
}

fn send(host: &Host, job: &Arc<Outgoing>) -> io::Result<()> {
    job.write(wire::MAGIC)?;
    let mut head = Vec::new();
    wire::put_json(&mut head, &Header { definition: job.guest.definition() })?;
    job.write(&head)?;

    let memory = &job.guest.memory;
    memory.mark_all();
    let mut buffer = Vec::with_capacity(SLAB + 1 + wire::PAGES_HEAD);
    'passes: loop {
        for slab in 0..memory.slabs() {
            if job.may_switch() {
                break 'passes;
            }
            job.send_slab(slab, &mut buffer)?;
        }
        job.next_pass();
    }

    host.switch(job);
    let digest = std::thread::scope(|scope| {
        let digest = scope.spawn(|| memory.digest());
        for slab in 0..memory.slabs() {
            job.send_slab(slab, &mut buffer)?;
        }
        Ok::<_, io::Error>(digest.join().expect("hashing does not fail"))
    })?;
    let (life, dirty_rate) = {
        let execution = job.guest.execution();
        (execution.life.clone(), execution.dirty_rate)
    };
    let paused_at_ns = job.paused_at_ns.load(Ordering::Relaxed);
    let mut ending = vec![wire::END];
    let digest = format!("{digest:032x}");
    wire::put_json(&mut ending, &Ending { life, digest, paused_at_ns, dirty_rate })?;
    job.write(&ending)
}
