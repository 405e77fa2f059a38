//! The one port between hosts: the first byte of a connection says what it is.
//!
//! Invariants: who has not authenticated costs at most one of a bounded number of slots, for at most 10 s;
//! nothing is read from such a connection before its kind is known.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, info, warn};

use crate::{carrier::Carrier, moves, relay::relay, socket::ACCEPT_PAUSE};

/// The first byte of a TLS ClientHello, and of libp2p's multistream-select greeting.
const TLS: u8 = 0x16;
const LIBP2P: u8 = 0x13;
const PEEK_WITHIN: Duration = Duration::from_secs(10);
const MAX_UNAUTHENTICATED: usize = 256;
const MAX_RELAYED: usize = 1024;

/// Serves the port for ever.
pub(crate) async fn serve(carrier: Arc<Carrier>, listener: TcpListener) {
    let unauthenticated = Arc::new(Semaphore::new(MAX_UNAUTHENTICATED));
    let relayed = Arc::new(Semaphore::new(MAX_RELAYED));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = unauthenticated.clone().try_acquire_owned() else {
            debug!(%address, "closed: too many connections that have not authenticated");
            continue;
        };
        let (carrier, relayed) = (carrier.clone(), relayed.clone());
        tokio::spawn(async move {
            match first_byte(&stream).await {
                Ok(TLS) => moves::welcome(&carrier, stream, address, slot).await,
                Ok(LIBP2P) => {
                    drop(slot);
                    if let Ok(_slot) = relayed.try_acquire() {
                        relay(stream, carrier.upstream()).await;
                    }
                }
                Ok(other) => info!(%address, first_byte = other, "closed: neither TLS nor libp2p"),
                Err(error) => log_silence(address, &error),
            }
        });
    }
}

fn log_silence(address: SocketAddr, error: &io::Error) {
    debug!(%address, %error, "closed before it said anything");
}

async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match timeout(PEEK_WITHIN, stream.peek(&mut byte)).await? {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(byte[0]),
        Err(error) => Err(error),
    }
}
