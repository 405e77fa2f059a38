//! Those who are not listed, and listed ones who talk nonsense.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use lifeboat::{
    config::Config,
    identity::NodeIdentity,
    transport::{self, Limits, Peer, TransportEvent},
};
use lifeboat_carrier::{CarrierConfig, Channel, Client, Compress, OpenMove, Patience};
use lifeboat_tests::{Sketch, World, run, until};

const WITHIN: Duration = Duration::from_secs(20);

fn sketch() -> Sketch {
    Sketch { sources: 2, destinations: 1, vms: vec![8, 8], ..Sketch::default() }
}

fn address(world: &World, host: &str) -> anyhow::Result<(SocketAddr, Peer)> {
    let config = Config::load(&world.cluster().host(host)?.config())?;
    let peer = Peer {
        name: host.to_owned(),
        peer_id: config.own_node().peer,
        addresses: vec![config.listen],
    };
    Ok((config.listen, peer))
}

#[test]
fn a_stranger_is_refused_by_the_daemon() {
    run(sketch(), async |world| {
        let (_, peer) = address(world, "b1")?;
        let stranger = NodeIdentity::generate();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (_transport, _events, _) = transport::start(
            stranger.keypair(),
            "stranger",
            vec![peer],
            nowhere,
            Limits::default(),
        )
        .await?;
        let name = stranger.peer_id().to_string();
        world.told("b1", "rejected", &["a stranger was refused", &name, "not listed"]).await?;
        arrive(world).await
    });
}

#[test]
fn a_stranger_is_refused_by_the_carrier() {
    run(sketch(), async |world| {
        let (address, peer) = address(world, "b1")?;
        let directory = world.host_directory("stranger");
        std::fs::create_dir(&directory)?;
        let stranger = NodeIdentity::generate();
        stranger.store(&directory.join("node.key"))?;
        let socket = directory.join("carrier.sock");
        let carrier = tokio::spawn(lifeboat_carrier::run(CarrierConfig {
            control_socket: socket.clone(),
            key_file: directory.join("node.key"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            upstream: None,
            patience: Patience::default(),
            settings: std::collections::BTreeMap::default(),
        }));
        let client = until("the stranger's carrier is up", WITHIN, async || {
            Ok(Client::connect(&socket).await.ok())
        })
        .await?;
        client
            .open_move(OpenMove {
                move_id: "forged".to_owned(),
                link: "a>b".to_owned(),
                peer_id: peer.peer_id.to_string(),
                addresses: vec![address],
                streams: 1,
                channels: vec![Channel {
                    name: "memory".to_owned(),
                    path: directory.join("forged.out"),
                }],
                weight: 1,
                compress: Compress::Never,
            })
            .await?;
        let name = stranger.peer_id().to_string();
        world.told("b1", "rejected", &["a stranger was refused by the carrier", &name]).await?;
        carrier.abort();
        arrive(world).await
    });
}

#[test]
fn a_listed_node_that_talks_nonsense_is_refused() {
    run(sketch(), async |world| {
        let (_, peer) = address(world, "b1")?;
        // Somebody has got hold of a2's key.
        world.cluster_mut().kill_node("a2")?;
        world.cluster_mut().kill_carrier("a2")?;
        let key = NodeIdentity::load(&world.host_directory("a2").join("node.key"))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = Limits { message_bytes: 1 << 20, ..Limits::default() };
        let (transport, mut events, _) =
            transport::start(key.keypair(), "a2", vec![peer], nowhere, limits).await?;
        let up = async {
            loop {
                match events.recv().await.context("the transport has ended")? {
                    TransportEvent::PeerUp(_) => return anyhow::Ok(()),
                    _ => continue,
                }
            }
        };
        tokio::time::timeout(WITHIN, up).await.context("b1 is not reached")??;
        transport.broadcast(vec![0xff; 64]);
        transport.send("b1", vec![0; 3]);
        world.told("b1", "rejected", &["a message from a2 was refused"]).await?;
        transport.send("b1", vec![1; 500_000]);
        world.told("b1", "rejected", &["a2", "more than 65536 bytes"]).await?;
        drop(transport);
        drop(events);
        world.cluster_mut().start_node("a2")?;
        arrive(world).await
    });
}

/// Nobody has been impressed.
async fn arrive(world: &World) -> anyhow::Result<()> {
    let id = world.evacuate("a1").await?;
    world.all_arrive_intact(Duration::from_secs(60)).await?;
    world.done("b1", &id, Duration::from_secs(10)).await?;
    Ok(())
}
