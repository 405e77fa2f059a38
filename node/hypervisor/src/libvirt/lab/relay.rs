//! A carrier's stand-in: joins sockets of two hosts, at a set rate, and can fall silent or be cut.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{OwnedRwLockWriteGuard, RwLock},
    task::JoinSet,
    time::sleep,
};

use crate::Channel;

const CHUNK: usize = 64 * 1024;

/// Joins channels until it is dropped; then all its connections are closed.
pub(super) struct Relay {
    tasks: JoinSet<io::Result<()>>,
    /// One of each channel, read by whoever passes its bytes on.
    lines: BTreeMap<String, Line>,
}

type Line = Arc<RwLock<()>>;

impl Relay {
    /// Listens on each channel of `source`, for its namesake among `destination`.
    pub(super) fn start(
        source: &[Channel],
        destination: &[Channel],
        bytes_per_second: usize,
    ) -> io::Result<Self> {
        let (mut tasks, mut lines) = (JoinSet::new(), BTreeMap::new());
        for channel in source {
            let far = destination
                .iter()
                .find(|far| far.name == channel.name)
                .ok_or_else(|| io::Error::other("the destination lacks a channel"))?;
            let listener = listen(&channel.path)?;
            let line = Line::default();
            lines.insert(channel.name.clone(), Arc::clone(&line));
            tasks.spawn(serve(listener, far.path.clone(), bytes_per_second, line));
        }
        Ok(Self { tasks, lines })
    }

    /// Listens on each channel, takes connections, and never says anything.
    pub(super) fn silent(source: &[Channel]) -> io::Result<Self> {
        let mut tasks = JoinSet::new();
        for channel in source {
            let listener = listen(&channel.path)?;
            tasks.spawn(async move {
                let mut connections = Vec::new();
                loop {
                    connections.push(listener.accept().await?);
                }
            });
        }
        Ok(Self { tasks, lines: BTreeMap::new() })
    }

    /// Passes nothing of a channel on until what it returns is dropped.
    pub(super) async fn outage(&self, channel: &str) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.lines[channel]).write_owned().await
    }

    /// Closes everything at once, as a carrier does that gives up.
    pub(super) fn cut(self) {
        drop(self.tasks);
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

async fn serve(
    listener: UnixListener,
    far: PathBuf,
    bytes_per_second: usize,
    line: Line,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await?;
        connections.spawn(join(near, far.clone(), bytes_per_second, Arc::clone(&line)));
    }
}

async fn join(
    near: UnixStream,
    far: PathBuf,
    bytes_per_second: usize,
    line: Line,
) -> io::Result<()> {
    let far = UnixStream::connect(far).await?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::try_join!(
        pump(near_read, far_write, bytes_per_second, &line),
        pump(far_read, near_write, bytes_per_second, &line)
    )?;
    Ok(())
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    bytes_per_second: usize,
    line: &RwLock<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = from.read(&mut buffer).await?;
        let passing = line.read().await;
        if size == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..size]).await?;
        drop(passing);
        sleep(Duration::from_secs_f64(size as f64 / bytes_per_second as f64)).await;
    }
}
