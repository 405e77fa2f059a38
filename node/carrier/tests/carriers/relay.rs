//! A link made of a TCP relay, which can be cut without anybody noticing, healed and reset.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Blocks that are on their way in one direction of a connection.
const ON_THE_WAY: usize = 512;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    cut: bool,
    epoch: u64,
    /// Connections older than this epoch carry nothing any more, as if TCP had backed off for ever.
    dead_before: u64,
    /// Connections older than this epoch are closed.
    reset_before: u64,
    /// The connection of this number carries nothing any more.
    muted: Option<u64>,
}

/// A connection, as the link knows it.
#[derive(Debug, Clone, Copy)]
struct Connection {
    number: u64,
    epoch: u64,
    delay: Duration,
}

/// The link.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Relay {
    /// A link without delay.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        Self::with_delay(target, Duration::ZERO).await
    }

    /// A link that takes `delay` in each direction.
    pub(crate) async fn with_delay(target: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State::default()));
        let states = state.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((near, _)) = listener.accept().await else { return };
                let epoch = states.borrow().epoch;
                let connection = Connection { number, epoch, delay };
                tokio::spawn(connect(near, target, connection, states.clone()));
            }
        });
        Self { address, state }
    }

    /// Nothing passes any more; nobody is told.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cut = true);
    }

    /// New connections work again; the old ones stay silent.
    pub(crate) fn heal_for_new_connections(&self) {
        self.state.send_modify(|state| {
            state.cut = false;
            state.epoch += 1;
            state.dead_before = state.epoch;
        });
    }

    /// Everything goes on where it was.
    pub(crate) fn heal(&self) {
        self.state.send_modify(|state| state.cut = false);
    }

    /// One connection, by the order in which they were made, falls silent.
    pub(crate) fn mute(&self, number: u64) {
        self.state.send_modify(|state| state.muted = Some(number));
    }

    /// Closes all connections.
    pub(crate) fn reset(&self) {
        self.state.send_modify(|state| {
            state.epoch += 1;
            state.reset_before = state.epoch;
        });
    }
}

async fn connect(
    near: TcpStream,
    target: SocketAddr,
    connection: Connection,
    states: Arc<watch::Sender<State>>,
) {
    let mut reset = states.subscribe();
    // The handshake of TCP takes its time too.
    sleep_until(Instant::now() + 2 * connection.delay).await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    near.set_nodelay(true).and(far.set_nodelay(true)).expect("a socket");
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        _ = reset.wait_for(|state| connection.epoch < state.reset_before) => {}
        _ = async {
            tokio::join!(
                pass(near_read, far_write, connection, states.subscribe()),
                pass(far_read, near_write, connection, states.subscribe()),
            )
        } => {}
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    connection: Connection,
    mut states: watch::Receiver<State>,
) {
    let (sender, mut receiver) = mpsc::channel(ON_THE_WAY);
    let take = async move {
        loop {
            let mut block = vec![0; 65_536];
            let read = from.read(&mut block).await.unwrap_or(0);
            block.truncate(read);
            let arrives = Instant::now() + connection.delay;
            if sender.send((arrives, block)).await.is_err() || read == 0 {
                return;
            }
        }
    };
    let give = async move {
        while let Some((arrives, block)) = receiver.recv().await {
            sleep_until(arrives).await;
            let open = states.wait_for(|state| {
                let alive = connection.epoch >= state.dead_before;
                !state.cut && alive && state.muted != Some(connection.number)
            });
            if open.await.is_err() || block.is_empty() || to.write_all(&block).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(take, give);
}
