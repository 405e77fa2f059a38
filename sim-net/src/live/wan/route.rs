//! One relayed address: accepts connections and takes each over the two links to its target.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{
    flow::{Flow, reset},
    link::Link,
    protocol::{RouteConfig, RouteStats},
};
use crate::random::SplitMix;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// One relayed address.
pub(crate) struct Route {
    config: RouteConfig,
    listen: SocketAddr,
    forward: Arc<Link>,
    backward: Arc<Link>,
    seed: u64,
    open: AtomicU64,
    total: AtomicU64,
    to_target: AtomicU64,
    to_dialer: AtomicU64,
}

impl Route {
    /// Starts to relay. Must be called within a tokio runtime, and lasts as long as it.
    ///
    /// # Errors
    /// If its address cannot be bound.
    pub(crate) fn start(
        config: RouteConfig,
        forward: Arc<Link>,
        backward: Arc<Link>,
        seed: u64,
    ) -> io::Result<Arc<Self>> {
        let socket = shaped_socket(config.listen, &forward, &backward)?;
        socket.set_reuseaddr(true)?;
        socket.bind(config.listen)?;
        let listener = socket.listen(BACKLOG)?;
        let route = Arc::new(Self {
            listen: listener.local_addr()?,
            config,
            forward,
            backward,
            seed,
            open: AtomicU64::new(0),
            total: AtomicU64::new(0),
            to_target: AtomicU64::new(0),
            to_dialer: AtomicU64::new(0),
        });
        tokio::spawn(Arc::clone(&route).accept(listener));
        Ok(route)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Counters.
    pub(crate) fn stats(&self) -> RouteStats {
        RouteStats {
            name: self.config.name.clone(),
            listen: self.listen,
            connections_open: self.open.load(Ordering::Relaxed),
            connections_total: self.total.load(Ordering::Relaxed),
            to_target_bytes: self.to_target.load(Ordering::Relaxed),
            to_dialer_bytes: self.to_dialer.load(Ordering::Relaxed),
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let number = self.total.fetch_add(1, Ordering::Relaxed);
                    self.open.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(Arc::clone(&self).relay(stream, number));
                }
                Err(reason) => {
                    // Out of file descriptors, as a rule: wait for some to come free.
                    tracing::warn!(route = %self.config.name, %reason, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn relay(self: Arc<Self>, mut dialer: TcpStream, number: u64) {
        match self.connect().await {
            Ok(mut target) => {
                if self.carry(&mut dialer, &mut target, number).await.is_err() {
                    reset(&dialer);
                    reset(&target);
                }
            }
            Err(reason) => {
                tracing::debug!(route = %self.config.name, %reason, "the target is not there");
                reset(&dialer);
            }
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connects to the target, which takes a round trip whether it works or not.
    async fn connect(&self) -> io::Result<TcpStream> {
        self.forward.wait(self.forward.arrival()).await;
        let target = self.config.target;
        let socket = shaped_socket(target, &self.backward, &self.forward)?;
        let connected = socket.connect(target).await;
        self.backward.wait(self.backward.arrival()).await;
        connected
    }

    async fn carry(
        &self,
        dialer: &mut TcpStream,
        target: &mut TcpStream,
        number: u64,
    ) -> Result<(), super::flow::Broken> {
        let unset = |_| super::flow::Broken;
        dialer.set_nodelay(true).map_err(unset)?;
        target.set_nodelay(true).map_err(unset)?;
        let (from_dialer, to_dialer) = dialer.split();
        let (from_target, to_target) = target.split();
        let (forward, backward) = (&*self.forward, &*self.backward);
        let out = Flow {
            link: forward,
            back: backward,
            counter: &self.to_target,
            random: SplitMix::new(self.seed, 2 * number),
        };
        let home = Flow {
            link: backward,
            back: forward,
            counter: &self.to_dialer,
            random: SplitMix::new(self.seed, 2 * number + 1),
        };
        tokio::try_join!(out.run(from_dialer, to_target), home.run(from_target, to_dialer))?;
        Ok(())
    }
}

/// A socket whose own buffers hide little: what is read from it goes out on `reads`, what is
/// written to it came in on `writes`.
fn shaped_socket(address: SocketAddr, reads: &Link, writes: &Link) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(reads.socket_buffer())?;
    socket.set_send_buffer_size(writes.socket_buffer())?;
    Ok(socket)
}
