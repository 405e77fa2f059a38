//! The destination side of a migration: one arrival, from the listening socket to a paused copy.
//!
//! Invariants:
//! - *One shot*: the socket takes one stream and is unlinked then, or when it is cancelled.
//! - *All or nothing*: a stream that ends early, makes no sense or fails the digest leaves the
//!   host as it was before.

use std::{
    io::{self, BufReader, Read},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{net::UnixListener, sync::Notify};

use super::{
    Uuid,
    guest::Guest,
    host::Host,
    memory::{Memory, PAGE, bits, combine},
    protocol::Definition,
    wire::{self, Ending, Header, Reply},
};
use crate::live::{
    control::{Refusal, remove_stale},
    locked,
};

/// Bytes read at once.
const READ: usize = 128 << 10;

/// A socket's name in the file system, gone when dropped.
struct SocketName(PathBuf);

impl Drop for SocketName {
    fn drop(&mut self) {
        if let Err(reason) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %reason, "a socket was already gone");
        }
    }
}

#[derive(Default)]
struct Phase {
    /// Until a stream has come.
    name: Option<SocketName>,
    /// The stream once it has come, to cut it short.
    stream: Option<UnixStream>,
    /// Once the stream has told it.
    definition: Option<Definition>,
}

/// A VM that is expected or arriving.
pub(crate) struct Arrival {
    remains: Option<Definition>,
    phase: Mutex<Phase>,
    cancelled: Notify,
}

impl Arrival {
    /// The shut-off definition that was here before.
    pub(crate) fn remains(&self) -> Option<&Definition> {
        self.remains.as_ref()
    }

    /// Whether its bytes have begun to come.
    pub(crate) fn has_stream(&self) -> bool {
        locked(&self.phase).stream.is_some()
    }

    /// What is arriving, or was here before, as far as known.
    pub(crate) fn definition(&self) -> Option<Definition> {
        locked(&self.phase).definition.clone().or_else(|| self.remains.clone())
    }

    /// Notes what is arriving; its memory is taken from now on.
    pub(crate) fn set_definition(&self, definition: Definition) {
        locked(&self.phase).definition = Some(definition);
    }

    /// Memory that it takes now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        locked(&self.phase).definition.as_ref().map_or(0, |definition| definition.memory)
    }

    /// Stops listening and receiving; the host's table is the caller's to change.
    pub(crate) fn cancel(&self) {
        let mut phase = locked(&self.phase);
        phase.name = None;
        if let Some(stream) = &phase.stream {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.cancelled.notify_one();
    }
}

/// Waits on `path` for one migration stream of a VM. Must be called within a tokio runtime.
///
/// # Errors
/// If the VM is live or arriving here already, or the socket cannot be bound.
pub(crate) fn expect(host: &Arc<Host>, vm: Uuid, path: &Path) -> Result<(), Refusal> {
    let remains = host.clear_way(&vm)?;
    let unbound = |reason: io::Error| {
        Refusal::refused(format!("cannot listen on {}: {reason}", path.display()))
    };
    remove_stale(path).map_err(unbound)?;
    let listener = UnixListener::bind(path).map_err(unbound)?;
    let name = Some(SocketName(path.to_owned()));
    let phase = Mutex::new(Phase { name, ..Phase::default() });
    let arrival = Arc::new(Arrival { remains, phase, cancelled: Notify::new() });
    host.expect(&vm, &arrival)?;
    tokio::spawn(accept(Arc::clone(host), vm, arrival, listener));
    Ok(())
}

async fn accept(host: Arc<Host>, vm: Uuid, arrival: Arc<Arrival>, listener: UnixListener) {
    let accepted = tokio::select! {
        accepted = listener.accept() => accepted,
        () = arrival.cancelled.notified() => return,
    };
    let prepared = accepted.and_then(|(stream, _)| {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let handle = stream.try_clone()?;
        host.if_wanted(&vm, &arrival, || {
            let mut phase = locked(&arrival.phase);
            phase.name = None;
            phase.stream = Some(handle);
        });
        let (host, vm, arrival) = (Arc::clone(&host), vm.clone(), Arc::clone(&arrival));
        let work = move || receive(&host, &vm, &arrival, stream);
        std::thread::Builder::new().name("arrival".into()).spawn(work)
    });
    if let Err(reason) = prepared {
        tracing::warn!(%vm, %reason, "an arrival could not be received");
        host.give_up(&vm, &arrival);
    }
}

fn receive(host: &Host, vm: &Uuid, arrival: &Arc<Arrival>, mut stream: UnixStream) {
    let reply = match take_in(host, vm, arrival, &stream) {
        Ok(()) => Reply::Arrived,
        Err(reason) => {
            tracing::info!(%vm, %reason, "an arrival came to nothing");
            host.give_up(vm, arrival);
            Reply::Failed(match wire::is_broken(&reason) {
                true => format!(
                    "the connection from the carrier to the hypervisor there broke before all had come \
                     ({reason})"
                ),
                false => reason.to_string(),
            })
        }
    };
    if let Err(reason) = wire::put_json(&mut stream, &reply) {
        tracing::info!(%vm, %reason, ?reply, "the source did not take the reply");
    }
}

fn take_in(host: &Host, vm: &Uuid, arrival: &Arc<Arrival>, stream: &UnixStream) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(READ, stream);
    let mut magic = [0; wire::MAGIC.len()];
    stream.read_exact(&mut magic)?;
    if magic != *wire::MAGIC {
        return Err(wire::nonsense("it is no migration stream, or of another version".into()));
    }
    let Header { definition } = wire::get_json(&mut stream)?;
    if definition.uuid != *vm {
        return Err(wire::nonsense(format!("it brings VM {}, not {vm}", definition.uuid)));
    }
    host.reserve(arrival, &definition).map_err(io::Error::other)?;
    let mut memory = Memory::new(definition.memory);
    let (ending, digest) = fill(&mut memory, &mut stream)?;
    let digest = format!("{digest:032x}");
    if digest != ending.digest {
        let reason = format!(
            "the memory that arrived has digest {digest}, the source's was {}: the copy is dropped",
            ending.digest
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let definition = Definition { dirty_rate: ending.dirty_rate, ..definition };
    let guest = Guest::arrived(definition, memory, ending.life, Some(ending.paused_at_ns));
    if !host.arrived(vm, arrival, guest) {
        return Err(io::Error::other("the arrival was cancelled"));
    }
    Ok(())
}

/// Takes in pages up to the ending; answers it and the digest of what is in the memory then.
///
/// The guest is paused by then, so what can be hashed earlier is: a slab that came whole, at
/// once; the others in the end.
pub(super) fn fill(memory: &mut Memory, stream: &mut impl Read) -> io::Result<(Ending, u128)> {
    let mut hashes = vec![None; memory.slabs()];
    loop {
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        match kind[0] {
            wire::PAGES => {
                let (slab, taken) = wire::get_pages_head(stream)?;
                if slab >= memory.slabs() || taken.pages & !memory.whole_slab(slab) != 0 {
                    return Err(wire::nonsense(format!("slab {slab} has no such pages")));
                }
                let bytes = memory.slab_mut(slab);
                for page in bits(taken.pages) {
                    let page_bytes = &mut bytes[page * PAGE..][..PAGE];
                    if taken.zeros & (1 << page) != 0 {
                        page_bytes.fill(0);
                    } else {
                        stream.read_exact(page_bytes)?;
                    }
                }
                let whole = taken.pages == memory.whole_slab(slab);
                hashes[slab] = whole.then(|| memory.slab_digest(slab));
            }
            wire::END => {
                let ending = wire::get_json(stream)?;
                let hashes = hashes.iter().enumerate();
                let digest = combine(
                    hashes.map(|(slab, hash)| hash.unwrap_or_else(|| memory.slab_digest(slab))),
                );
                return Ok((ending, digest));
            }
            other => return Err(wire::nonsense(format!("no frame begins with {other:#04x}"))),
        }
    }
}
