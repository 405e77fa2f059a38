//! Peers that are strangers, liars or broken.

use std::sync::Arc;

use libp2p_identity::{Keypair, PeerId};
use lifeboat_carrier::{AcceptMove, CloseReason, Event, MoveState};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::world::{FOR_EVER, Host, MOVE, World, closed, noise, soon};

async fn connect(host: &Host, key: &Keypair) -> TlsStream<TcpStream> {
    let expected: PeerId = host.peer_id().parse().expect("a peer id");
    let config = libp2p_tls::make_client_config(key, Some(expected)).expect("a certificate");
    let stream = TcpStream::connect(host.address).await.expect("connected");
    let name = ServerName::IpAddress(host.address.ip().into());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
}

fn hello(move_id: &str, generation: u64) -> String {
    format!(
        r#"{{"version":1,"move_id":"{move_id}","session":1,"lane":{{"data":0}},"generation":{generation},"next":0}}"#
    )
}

async fn greet(stream: &mut TlsStream<TcpStream>, hello: &str) -> String {
    stream.write_u16(hello.len() as u16).await.expect("written");
    stream.write_all(hello.as_bytes()).await.expect("written");
    stream.flush().await.expect("written");
    let length = soon("an answer", stream.read_u16()).await.expect("read");
    let mut answer = vec![0; length.into()];
    soon("an answer", stream.read_exact(&mut answer)).await.expect("read");
    String::from_utf8(answer).expect("text")
}

/// The destination accepts a move from the key that the test holds.
async fn expecting(key: &Keypair) -> World {
    let world = World::new().await;
    let accept = AcceptMove {
        move_id: MOVE.to_owned(),
        from_peer: key.public().to_peer_id().to_string(),
        channels: vec![lifeboat_carrier::Channel {
            name: "memory".to_owned(),
            path: world.destination.path("memory"),
        }],
    };
    world.to.accept_move(accept).await.expect("accepted");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_and_reported() {
    let mut world = World::new().await;
    let open = world.open_request(MOVE, &["memory"], 1);
    world.share(1_000_000, FOR_EVER).await;
    world.from.open_move(open).await.expect("opened");
    assert_eq!(closed(&mut world.from_events).await, CloseReason::Refused);
    let event = soon("a report", world.to_events.next()).await.expect("the carrier lives");
    let Event::Stranger { peer_id, .. } = event else { panic!("{event:?}") };
    assert_eq!(peer_id, world.source.peer_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_move_is_refused() {
    let mut world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(1_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let _connection = world.connect("memory", &memory).await;
    let open = world.open_request("never agreed", &["disk"], 1);
    world.from.open_move(open).await.expect("opened");
    assert_eq!(closed(&mut world.from_events).await, CloseReason::Refused);
    world.until_state(&world.from, MoveState::Flowing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_at_the_far_address_is_never_trusted() {
    let world = World::new().await;
    let mut open = world.open_request(MOVE, &["memory"], 1);
    open.peer_id = Keypair::generate_ed25519().public().to_peer_id().to_string();
    world.from.open_move(open).await.expect("opened");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    world.until_state(&world.from, MoveState::Connecting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn greetings_are_checked() {
    let key = Keypair::generate_ed25519();
    let world = expecting(&key).await;
    let host = &world.destination;
    for (hello, expected) in [
        (hello("unknown", 1), "unknown_move"),
        (hello(MOVE, 1).replace("\"version\":1", "\"version\":9"), "version"),
        (hello(MOVE, 1).replace("{\"data\":0}", "{\"data\":64}"), "stale"),
    ] {
        let answer = greet(&mut connect(host, &key).await, &hello).await;
        assert!(answer.contains(expected), "{answer}");
    }
    let mut first = connect(host, &key).await;
    assert!(greet(&mut first, &hello(MOVE, 5)).await.contains("welcome"));
    first.write_all(&[1]).await.expect("confirmed");
    first.flush().await.expect("confirmed");
    crate::world::until("the stream is up", || async {
        let status = world.move_status(&world.to, MOVE).await?;
        (status.streams_up == 1).then_some(())
    })
    .await;
    let replayed = greet(&mut connect(host, &key).await, &hello(MOVE, 5)).await;
    assert!(replayed.contains("stale"), "{replayed}");
    let other = hello(MOVE, 6).replace("\"session\":1", "\"session\":2");
    let other = greet(&mut connect(host, &key).await, &other).await;
    assert!(other.contains("other_session"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_close_their_stream_and_nothing_else() {
    let key = Keypair::generate_ed25519();
    let world = expecting(&key).await;
    let oversized = [&[2, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8], &[0xff; 8]].concat();
    let acknowledges_too_much = [&[5, 0, 0, 0, 0, 0, 0, 0][..], &[0xff; 8], &[0; 8]].concat();
    let far_ahead = [&[3, 0, 0, 0, 0, 0, 0, 0][..], &[0xff; 8], &[0; 8]].concat();
    let mut cases = vec![oversized, acknowledges_too_much, far_ahead];
    cases.extend((0..40).map(|seed| noise(seed, 4_096)));
    for (generation, bytes) in (1..).zip(cases) {
        let mut stream = connect(&world.destination, &key).await;
        assert!(greet(&mut stream, &hello(MOVE, generation)).await.contains("welcome"));
        // The carrier may close before it has read everything.
        let _ = stream.write_all(&[&[1][..], &bytes].concat()).await;
        let _ = stream.flush().await;
        let end = soon("the stream is closed", stream.read(&mut [0; 1])).await;
        assert!(matches!(end, Ok(0) | Err(_)));
    }
    let status = world.move_status(&world.to, MOVE).await.expect("the move");
    assert!(!matches!(status.state, MoveState::Closed { .. }), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_on_a_substream_beyond_its_credit_end_the_move() {
    let key = Keypair::generate_ed25519();
    let mut world = expecting(&key).await;
    let _memory = world.hypervisor("memory");
    let mut stream = connect(&world.destination, &key).await;
    assert!(greet(&mut stream, &hello(MOVE, 1)).await.contains("welcome"));
    let mut bytes = vec![1];
    let mut frame = |kind: u8, number: u64, raw: u32, payload: &[u8]| {
        bytes.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(number.to_be_bytes());
        bytes.extend((payload.len() as u32).to_be_bytes());
        bytes.extend(raw.to_be_bytes());
        bytes.extend(payload);
    };
    frame(1, 0, 0, b"memory");
    for number in 1..40 {
        frame(2, number, 65_536, &[0; 65_536]);
    }
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    assert_eq!(closed(&mut world.to_events).await, CloseReason::Protocol);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_neither_tls_nor_libp2p_is_closed() {
    let world = World::new().await;
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\x16\x03\x01garbage that is not TLS at all"] {
        let mut stream = TcpStream::connect(world.destination.address).await.expect("connected");
        stream.write_all(bytes).await.expect("written");
        let mut rest = Vec::new();
        // An alert may come before the end.
        let _ = soon("closed", stream.read_to_end(&mut rest)).await;
    }
    world.to.status().await.expect("the carrier lives");
}
