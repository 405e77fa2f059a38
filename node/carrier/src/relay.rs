//! Liveness and gossip through the one port: bytes pass between a peer's libp2p and the daemon's, untouched
//! and outside the budget.

use std::{net::SocketAddr, time::Duration};

use tokio::{io::copy_bidirectional, net::TcpStream, time::timeout};
use tracing::debug;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Passes bytes until both sides have closed; closes at once if the daemon is not there.
pub(crate) async fn relay(mut stream: TcpStream, upstream: Option<SocketAddr>) {
    let Some(upstream) = upstream else {
        debug!("a libp2p connection is closed: the daemon has not said where it listens");
        return;
    };
    match timeout(CONNECT_WITHIN, TcpStream::connect(upstream)).await {
        Ok(Ok(mut daemon)) => {
            // Only a matter of delay.
            let _ = (stream.set_nodelay(true), daemon.set_nodelay(true));
            if let Err(error) = copy_bidirectional(&mut stream, &mut daemon).await {
                debug!(%error, "a libp2p connection broke");
            }
        }
        Ok(Err(error)) => debug!(%error, %upstream, "the daemon's libp2p does not answer"),
        Err(_) => debug!(%upstream, "the daemon's libp2p does not answer in time"),
    }
}
