//! A carrier's stand-in: joins sockets of two hosts, at a set rate, and can be cut.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::sleep,
};

use crate::Channel;

const CHUNK: usize = 64 * 1024;

/// Joins channels until it is dropped; then all its connections are closed.
pub(super) struct Relay(JoinSet<io::Result<()>>);

impl Relay {
    /// Listens on each channel of `source`, for its namesake among `destination`.
    pub(super) fn start(
        source: &[Channel],
        destination: &[Channel],
        bytes_per_second: usize,
    ) -> io::Result<Self> {
        let mut relay = JoinSet::new();
        for channel in source {
            let far = destination
                .iter()
                .find(|far| far.name == channel.name)
                .ok_or_else(|| io::Error::other("the destination lacks a channel"))?;
            let listener = listen(&channel.path)?;
            relay.spawn(serve(listener, far.path.clone(), bytes_per_second));
        }
        Ok(Self(relay))
    }

    /// Listens on each channel, takes connections, and never says anything.
    pub(super) fn silent(source: &[Channel]) -> io::Result<Self> {
        let mut relay = JoinSet::new();
        for channel in source {
            let listener = listen(&channel.path)?;
            relay.spawn(async move {
                let mut connections = Vec::new();
                loop {
                    connections.push(listener.accept().await?);
                }
            });
        }
        Ok(Self(relay))
    }

    /// Closes everything at once, as a carrier does that gives up.
    pub(super) fn cut(self) {
        drop(self.0);
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

async fn serve(listener: UnixListener, far: PathBuf, bytes_per_second: usize) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await?;
        connections.spawn(join(near, far.clone(), bytes_per_second));
    }
}

async fn join(near: UnixStream, far: PathBuf, bytes_per_second: usize) -> io::Result<()> {
    let far = UnixStream::connect(far).await?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::try_join!(
        pump(near_read, far_write, bytes_per_second),
        pump(far_read, near_write, bytes_per_second)
    )?;
    Ok(())
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    bytes_per_second: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = from.read(&mut buffer).await?;
        if size == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..size]).await?;
        sleep(Duration::from_secs_f64(size as f64 / bytes_per_second as f64)).await;
    }
}
