//! Hosts, hypervisors' sockets, and waiting with a deadline.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use libp2p_identity::Keypair;
use lifeboat_carrier::{
    AcceptMove, CarrierConfig, Channel, Client, CloseReason, Compress, Event, Events, MoveState,
    MoveStatus, OpenMove, Patience, SetShare, now_ns,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    runtime::Runtime,
};

pub(crate) const LINK: &str = "a>b";
pub(crate) const MOVE: &str = "vm-1/1";
pub(crate) const FOR_EVER: u64 = u64::MAX;

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(Duration::from_secs(30), what, future).await
}

pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Asks again and again until `check` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    soon(what, async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A host with a carrier.
pub(crate) struct Host {
    dir: TempDir,
    pub(crate) keypair: Keypair,
    pub(crate) address: SocketAddr,
    patience: Patience,
    runtime: Option<Runtime>,
}

impl Host {
    pub(crate) fn start(patience: Patience) -> Self {
        let dir = TempDir::new().expect("a directory");
        let keypair = Keypair::generate_ed25519();
        let key = keypair.to_protobuf_encoding().expect("an ed25519 key");
        std::fs::write(dir.path().join("key"), key).expect("a file");
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port");
        let mut host = Self { dir, keypair, address, patience, runtime: None };
        host.restart();
        host
    }

    /// Ends the carrier, if there is one, as SIGKILL would, and starts another.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = CarrierConfig {
            control_socket: self.path("control"),
            key_file: self.path("key"),
            listen: self.address,
            upstream: None,
            patience: self.patience,
            settings: std::collections::BTreeMap::default(),
        };
        runtime.spawn(async move { lifeboat_carrier::run(config).await.expect("runs") });
        self.runtime = Some(runtime);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // From another thread: the test's own runtime must not be blocked.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)))
                .join()
                .expect("the carrier ends");
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn peer_id(&self) -> String {
        self.keypair.public().to_peer_id().to_string()
    }

    pub(crate) async fn client(&self) -> Client {
        until("a control connection", || async { Client::connect(self.path("control")).await.ok() })
            .await
    }

    fn channels(&self, names: &[&str]) -> Vec<Channel> {
        names.iter().map(|&name| Channel { name: name.to_owned(), path: self.path(name) }).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A source and a destination, and the daemons' connections to them.
pub(crate) struct World {
    pub(crate) source: Host,
    pub(crate) destination: Host,
    pub(crate) from: Client,
    pub(crate) to: Client,
    pub(crate) from_events: Events,
    pub(crate) to_events: Events,
    /// Where the source finds the destination.
    pub(crate) address: SocketAddr,
    pub(crate) compress: Compress,
    pub(crate) streams: u16,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Patience::default()).await
    }

    pub(crate) async fn with(patience: Patience) -> Self {
        let (source, destination) = (Host::start(patience), Host::start(patience));
        let (from, to) = (source.client().await, destination.client().await);
        let from_events = from.subscribe().await.expect("events");
        let to_events = to.subscribe().await.expect("events");
        let address = destination.address;
        let compress = Compress::Never;
        let streams = 4;
        Self { source, destination, from, to, from_events, to_events, address, compress, streams }
    }

    pub(crate) fn open_request(&self, move_id: &str, channels: &[&str], weight: u32) -> OpenMove {
        OpenMove {
            move_id: move_id.to_owned(),
            link: LINK.to_owned(),
            peer_id: self.destination.peer_id(),
            addresses: vec![self.address],
            streams: self.streams,
            channels: self.source.channels(channels),
            weight,
            compress: self.compress,
        }
    }

    /// Both ends agree on a move.
    pub(crate) async fn agree(&self, move_id: &str, channels: &[&str], weight: u32) {
        let accept = AcceptMove {
            move_id: move_id.to_owned(),
            from_peer: self.source.peer_id(),
            channels: self.destination.channels(channels),
        };
        self.to.accept_move(accept).await.expect("accepted");
        let open = self.open_request(move_id, channels, weight);
        self.from.open_move(open).await.expect("opened");
    }

    pub(crate) async fn share(&self, rate_bytes_per_sec: u64, valid_until_ns: u64) {
        let request = SetShare { link: LINK.to_owned(), rate_bytes_per_sec, valid_until_ns };
        self.from.set_share(request).await.expect("set");
    }

    /// What the hypervisor at the destination listens on.
    pub(crate) fn hypervisor(&self, channel: &str) -> UnixListener {
        UnixListener::bind(self.destination.path(channel)).expect("a socket")
    }

    /// A connection through the move: the source's end and the destination's.
    pub(crate) async fn connect(
        &self,
        channel: &str,
        hypervisor: &UnixListener,
    ) -> (UnixStream, UnixStream) {
        let near = UnixStream::connect(self.source.path(channel)).await.expect("a connection");
        let (far, _) = soon("a connection arrives", hypervisor.accept()).await.expect("accepted");
        (near, far)
    }

    pub(crate) async fn move_status(&self, client: &Client, move_id: &str) -> Option<MoveStatus> {
        let status = client.status().await.expect("a status");
        status.moves.into_iter().find(|mv| mv.move_id == move_id)
    }

    pub(crate) async fn until_state(&self, client: &Client, state: MoveState) {
        until("the state", || async {
            let status = self.move_status(client, MOVE).await?;
            (status.state == state).then_some(())
        })
        .await;
    }

    /// Bytes that arrived at the destination from the source.
    pub(crate) async fn received(&self) -> u64 {
        let status = self.to.status().await.expect("a status");
        status.received.first().map_or(0, |peer| peer.wire_received_bytes)
    }
}

/// Waits for the end of the move.
pub(crate) async fn closed(events: &mut Events) -> CloseReason {
    soon("the move ends", async {
        loop {
            match events.next().await.expect("the carrier lives") {
                Event::MoveClosed { reason, .. } => return reason,
                _ => continue,
            }
        }
    })
    .await
}

/// Bytes that do not repeat and do not shrink.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| word()).collect();
    bytes.truncate(length);
    bytes
}

/// Writes everything and half-closes.
pub(crate) async fn say(mut stream: impl tokio::io::AsyncWrite + Unpin, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("written");
    stream.shutdown().await.expect("half-closed");
}

/// Reads to the end.
pub(crate) async fn hear(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon("all bytes arrive", stream.read_to_end(&mut bytes)).await.expect("read");
    bytes
}

/// Writes for as long as the socket takes it, in a task of its own.
pub(crate) fn pour(mut stream: UnixStream) {
    tokio::spawn(async move {
        let block = noise(1, 65_536);
        while stream.write_all(&block).await.is_ok() {}
    });
}

/// Reads for ever, in a task of its own.
pub(crate) fn drain(mut stream: UnixStream) {
    tokio::spawn(async move {
        let mut block = vec![0; 65_536];
        while stream.read(&mut block).await.is_ok_and(|read| read > 0) {}
    });
}

/// In so many milliseconds, on the clock of grants.
pub(crate) fn in_ms(ms: u64) -> u64 {
    now_ns() + ms * 1_000_000
}

/// Bytes per second that arrive at the destination over about `over`.
pub(crate) async fn measured_rate(world: &World, over: Duration) -> f64 {
    let (before, began) = (world.received().await, Instant::now());
    tokio::time::sleep(over).await;
    (world.received().await - before) as f64 / began.elapsed().as_secs_f64()
}
