//! Sockets, made the way we need them.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener as BlockingUnixListener,
    },
    path::Path,
    time::Duration,
};

use socket2::{SockRef, Socket};
use tokio::net::{TcpStream, UnixListener};

use crate::pace::Share;

/// How long to wait when the system has no sockets left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How much may wait unsent in the kernel: 20 ms of the share, within these bounds.
const UNSENT_NS: u128 = 20_000_000;
const LEAST_UNSENT: u32 = 16 * 1024;
const MOST_UNSENT: u32 = 256 * 1024;

/// Listens on a UNIX socket that only this user may connect to; replaces a stale socket, and nothing but a
/// socket.
pub(crate) fn listen_private(path: &Path) -> io::Result<UnixListener> {
    remove_socket(path)?;
    // It is made under another name and renamed when its mode is right: nobody connects in between.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push("~");
    let fresh = Path::new(&fresh);
    remove_socket(fresh)?;
    let listener = BlockingUnixListener::bind(fresh)?;
    fs::set_permissions(fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(fresh, path)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Removes a socket; no error if there is none.
pub(crate) fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            format!("{} is there and is not a socket", path.display()),
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A second handle on a stream's socket, to tune it inside TLS.
///
/// The send buffer's size is left to the kernel: setting it ends its growth for good and is cut to
/// `net.core.wmem_max`, which stalls a long fat link. What would wait in it is kept small by the limit on
/// unsent bytes here, and by the move's window of unacknowledged ones.
#[derive(Debug)]
pub(crate) struct Tuning {
    socket: Socket,
    unsent: u32,
}

impl Tuning {
    /// Takes a handle and sends small segments at once.
    pub(crate) fn of(stream: &TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { socket: SockRef::from(stream).try_clone()?, unsent: 0 })
    }

    /// Fits the bytes that may wait unsent to the share of one of `streams` streams.
    pub(crate) fn fit(&mut self, share: Share, streams: usize) {
        let wanted = u128::from(share.rate_bytes_per_sec) * UNSENT_NS / 1_000_000_000;
        let wanted = u32::try_from(wanted / streams.max(1) as u128).unwrap_or(u32::MAX);
        let wanted = wanted.clamp(LEAST_UNSENT, MOST_UNSENT);
        if wanted > self.unsent.saturating_mul(2) || wanted < self.unsent / 2 {
            // Only a matter of delay: a kernel that refuses keeps its own limit.
            let _ = self.socket.set_tcp_notsent_lowat(wanted);
            self.unsent = wanted;
        }
    }
}
