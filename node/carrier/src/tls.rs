//! Who is at the other end: TLS 1.3 with both certificates bound to node keys.

use std::{io, sync::Arc};

use anyhow::Context;
use libp2p_identity::{Keypair, PeerId};
use rustls::{NoKeyLog, client::Resumption, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Accepts and makes authenticated connections in the name of this node.
pub(crate) struct Identity {
    keypair: Keypair,
    acceptor: TlsAcceptor,
}

impl Identity {
    pub(crate) fn new(keypair: Keypair) -> anyhow::Result<Self> {
        let mut config =
            libp2p_tls::make_server_config(&keypair).context("cannot make a certificate")?;
        // No resumption: every connection proves its key.
        config.send_tls13_tickets = 0;
        config.key_log = Arc::new(NoKeyLog);
        Ok(Self { keypair, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// Makes connections that only `peer` can answer.
    pub(crate) fn connector(&self, peer: PeerId) -> anyhow::Result<TlsConnector> {
        let mut config = libp2p_tls::make_client_config(&self.keypair, Some(peer))
            .context("cannot make a certificate")?;
        config.resumption = Resumption::disabled();
        config.key_log = Arc::new(NoKeyLog);
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Finds out who has connected.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, PeerId)> {
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or_else(|| io::Error::other("no certificate"))?;
        let peer = libp2p_tls::certificate::parse(certificate).map_err(io::Error::other)?.peer_id();
        Ok((stream.into(), peer))
    }
}

/// Connects to whom `connector` expects.
pub(crate) async fn connect(
    connector: &TlsConnector,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let address = stream.peer_addr()?.ip();
    Ok(connector.connect(ServerName::IpAddress(address.into()), stream).await?.into())
}
