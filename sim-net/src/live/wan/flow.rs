//! One direction of one connection: read, carry over a link, deliver, acknowledge.
//!
//! Invariant: bytes that were read are in the window until their acknowledgement is back, so what
//! waits between the three steps is bounded by the window.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::tcp::{ReadHalf, WriteHalf},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    link::{Link, LinkTime, MAX_TURN, PACKET, turn_bytes},
    window::Window,
};
use crate::random::SplitMix;

/// What travels on a link.
enum Cargo {
    Bytes(Vec<u8>),
    /// The sender will send no more.
    End,
    /// The sender's connection is broken.
    Reset,
}

/// The connection is broken, and both ends have had the time to learn it.
#[derive(Debug)]
pub(crate) struct Broken;

/// One direction: the link that it travels on, the one that acknowledges, and who counts.
pub(crate) struct Flow<'a> {
    pub(crate) link: &'a Link,
    pub(crate) back: &'a Link,
    pub(crate) counter: &'a AtomicU64,
    pub(crate) random: SplitMix,
}

impl Flow<'_> {
    /// Carries everything from `input` to `output`, its end included.
    ///
    /// # Errors
    /// [`Broken`] once a break at one side is due at the other.
    pub(crate) async fn run(
        mut self,
        input: ReadHalf<'_>,
        output: WriteHalf<'_>,
    ) -> Result<(), Broken> {
        let window = Window::new();
        let (depart, arrivals) = unbounded_channel();
        let (acknowledge, acknowledgements) = unbounded_channel();
        let (link, back) = (self.link, self.back);
        tokio::try_join!(
            self.read(input, &window, depart),
            deliver(link, back, output, arrivals, acknowledge),
            release(back, &window, acknowledgements),
        )?;
        Ok(())
    }

    async fn read(
        &mut self,
        input: ReadHalf<'_>,
        window: &Window,
        depart: UnboundedSender<(LinkTime, Cargo)>,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; MAX_TURN];
        loop {
            let shape = self.link.shape();
            let turn = turn_bytes(shape.capacity_bits);
            let room = window.room(|| self.link.shape().window_bytes, turn).await;
            let read = match input.readable().await {
                Ok(()) => {
                    let take = |turn| input.try_read(&mut buffer[..room.min(turn)]);
                    self.link.turn(take).await
                }
                Err(reason) => Err(reason),
            };
            let cargo = match read {
                Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => Cargo::Reset,
                Ok(0) => Cargo::End,
                Ok(bytes) => Cargo::Bytes(buffer[..bytes].to_vec()),
            };
            let bytes = if let Cargo::Bytes(bytes) = &cargo { bytes.len() } else { 0 };
            self.counter.fetch_add(bytes as u64, Ordering::Relaxed);
            window.spend(bytes);
            // A delivery that has ended takes nothing more, and says so itself.
            if depart.send((self.link.arrival(), cargo)).is_err() || bytes == 0 {
                return Ok(());
            }
            if self.loses(bytes, shape.loss) {
                window.halve(shape.window_bytes);
                let resent = self.link.arrival();
                self.link.wait(resent).await;
                self.back.wait(self.back.arrival()).await;
            }
        }
    }

    fn loses(&mut self, bytes: usize, loss: f64) -> bool {
        let packets = (bytes as u64).div_ceil(PACKET);
        loss > 0.0 && self.random.chance(1.0 - (1.0 - loss).powf(packets as f64))
    }
}

async fn deliver(
    link: &Link,
    back: &Link,
    mut output: WriteHalf<'_>,
    mut arrivals: UnboundedReceiver<(LinkTime, Cargo)>,
    acknowledge: UnboundedSender<(LinkTime, usize)>,
) -> Result<(), Broken> {
    while let Some((due, cargo)) = arrivals.recv().await {
        link.wait(due).await;
        let written = match &cargo {
            Cargo::Bytes(bytes) => output.write_all(bytes).await.map(|()| bytes.len()),
            Cargo::End => output.shutdown().await.map(|()| 0),
            Cargo::Reset => return Err(Broken),
        };
        match written {
            // The acknowledging step ends only after this one.
            Ok(bytes) => drop(acknowledge.send((back.arrival(), bytes))),
            Err(_) => {
                back.wait(back.arrival()).await;
                return Err(Broken);
            }
        }
    }
    Ok(())
}

async fn release(
    back: &Link,
    window: &Window,
    mut acknowledgements: UnboundedReceiver<(LinkTime, usize)>,
) -> Result<(), Broken> {
    while let Some((due, bytes)) = acknowledgements.recv().await {
        back.wait(due).await;
        window.release(bytes);
    }
    Ok(())
}

/// Resets a connection when it is dropped, instead of ending it in order.
pub(crate) fn reset(stream: &tokio::net::TcpStream) {
    // A connection that is reset already cannot be reset again.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}
