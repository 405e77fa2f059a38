//! Daemons that come and go, carriers that restart, and the daemons' own connections.

use std::time::Duration;

use lifeboat_carrier::{
    Client, ClientError, CloseReason, Event, GuestState, MoveState, Patience, SetMove, now_ns,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::{
    relay::Relay,
    world::{FOR_EVER, MOVE, World, closed, hear, noise, say, soon, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_daemon_finds_its_move_flowing() {
    let world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (near, far) = world.connect("memory", &memory).await;
    let transfer = tokio::spawn(async move {
        let bytes = noise(5, 20_000_000);
        let (_, heard) = tokio::join!(say(near, &bytes), hear(far));
        assert!(heard == bytes);
    });
    let World { source, destination, from, to, .. } = world;
    drop((from, to));
    let adopted = source.client().await;
    let status = adopted.status().await.expect("a status");
    assert_eq!(status.peer_id, source.peer_id());
    assert_eq!(status.moves[0].move_id, MOVE);
    assert_eq!(status.moves[0].peer_id, destination.peer_id());
    assert_eq!(status.links[0].rate_bytes_per_sec, 10_000_000);
    soon("the transfer", transfer).await.expect("intact");
    let moves = adopted.status().await.expect("a status").moves;
    assert_eq!(moves[0].state, MoveState::Flowing);
    adopted.close_move(MOVE).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_silence_ends_the_move_before_the_hold_does() {
    let patience = Patience { unattended: Duration::from_secs(1), ..Patience::default() };
    let mut world = World::with(patience).await;
    let relay = Relay::to(world.destination.address).await;
    world.address = relay.address;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (mut near, _far) = world.connect("memory", &memory).await;
    world.until_state(&world.from, MoveState::Flowing).await;
    let World { source, from, mut to_events, .. } = world;
    drop(from);
    let mut byte = [0; 1];
    let open = tokio::time::timeout(Duration::from_millis(1500), near.read(&mut byte)).await;
    assert!(open.is_err(), "the move goes on while the peer is alive");
    relay.cut();
    let end = soon("the local socket closes", near.read(&mut byte)).await;
    assert!(matches!(end, Ok(0) | Err(_)));
    assert_eq!(closed(&mut to_events).await, CloseReason::SilentUnattended);
    let status = source.client().await.status().await.expect("a status");
    let reason = CloseReason::SilentUnattended;
    assert_eq!(status.moves[0].state, MoveState::Closed { reason });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_restarted_has_lost_the_move_and_says_so() {
    let mut world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (near, _far) = world.connect("memory", &memory).await;
    world.until_state(&world.from, MoveState::Flowing).await;
    world.destination.restart();
    assert_eq!(closed(&mut world.from_events).await, CloseReason::PeerLostState);
    assert!(hear(near).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_gone_for_good_ends_the_move() {
    let patience = Patience { orphan: Duration::from_secs(1), ..Patience::default() };
    let mut world = World::with(patience).await;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (_near, mut far) = world.connect("memory", &memory).await;
    world.until_state(&world.to, MoveState::Flowing).await;
    world.source.restart();
    assert_eq!(closed(&mut world.to_events).await, CloseReason::PeerGone);
    let end = soon("the local socket closes", far.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_restarted_and_opens_the_same_move_ends_the_old_one() {
    let mut world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let _connection = world.connect("memory", &memory).await;
    world.source.restart();
    let again = world.source.client().await;
    let mut events = again.subscribe().await.expect("events");
    again.open_move(world.open_request(MOVE, &["memory"], 1)).await.expect("opened");
    // The first stream is refused; another may already hear that the old move has ended.
    let reason = closed(&mut events).await;
    assert!(matches!(reason, CloseReason::Refused | CloseReason::PeerLostState), "{reason:?}");
    assert_eq!(closed(&mut world.to_events).await, CloseReason::PeerLostState);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_move_is_closed_after_a_while() {
    let patience = Patience { idle: Duration::from_millis(500), ..Patience::default() };
    let mut world = World::with(patience).await;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (near, far) = world.connect("memory", &memory).await;
    drop((near, far));
    assert_eq!(closed(&mut world.from_events).await, CloseReason::Idle);
    assert_eq!(closed(&mut world.to_events).await, CloseReason::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn libp2p_passes_through_the_same_port() {
    let world = World::new().await;
    let daemon = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let greeting = b"\x13/multistream/1.0.0\n";
    let mut early = TcpStream::connect(world.destination.address).await.expect("connected");
    early.write_all(greeting).await.expect("written");
    assert!(matches!(soon("closed", early.read(&mut [0; 1])).await, Ok(0) | Err(_)));
    let upstream = daemon.local_addr().expect("an address");
    world.to.set_upstream(Some(upstream)).await.expect("set");
    let mut peer = TcpStream::connect(world.destination.address).await.expect("connected");
    peer.write_all(greeting).await.expect("written");
    let (mut inside, _) = soon("passed on", daemon.accept()).await.expect("accepted");
    let mut heard = vec![0; greeting.len()];
    soon("the greeting", inside.read_exact(&mut heard)).await.expect("read");
    assert_eq!(heard, greeting);
    inside.write_all(b"answer").await.expect("written");
    drop(inside);
    assert_eq!(hear(peer).await, b"answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_get_a_clear_answer() {
    let world = World::new().await;
    world.agree(MOVE, &["memory"], 1).await;
    let again = world.from.open_move(world.open_request(MOVE, &["memory"], 1)).await;
    assert!(matches!(again, Err(ClientError::Refused(why)) if why.contains("already")));
    let mut request = world.open_request("other", &["memory"], 1);
    request.streams = 65;
    assert!(matches!(world.from.open_move(request.clone()).await, Err(ClientError::Refused(_))));
    request.streams = 1;
    request.peer_id = "nobody".to_owned();
    assert!(matches!(world.from.open_move(request).await, Err(ClientError::Refused(_))));
    assert!(matches!(world.from.close_move("none").await, Err(ClientError::Refused(_))));

    let stream = UnixStream::connect(world.source.path("control")).await.expect("connected");
    let mut stream = BufReader::new(stream);
    for (line, expected) in [
        ("not json\n".to_owned(), "{\"id\":null,\"error\":\"not a request"),
        ("{\"id\":7,\"op\":\"fly\"}\n".to_owned(), "{\"id\":7,\"error\":\"not a request"),
        ("x".repeat(2_000_000) + "\n", "{\"id\":null,\"error\":\"the line is longer"),
        ("{\"id\":8,\"op\":\"status\"}\n".to_owned(), "{\"id\":8,\"status\":{"),
    ] {
        stream.get_mut().write_all(line.as_bytes()).await.expect("written");
        let mut reply = String::new();
        soon("a reply", stream.read_line(&mut reply)).await.expect("read");
        assert!(reply.starts_with(expected), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_carrier_does_not_take_the_control_socket() {
    let world = World::new().await;
    let config = lifeboat_carrier::CarrierConfig {
        control_socket: world.source.path("control"),
        key_file: world.source.path("key"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        upstream: None,
        patience: Patience::default(),
        settings: std::collections::BTreeMap::default(),
    };
    let error = lifeboat_carrier::run(config).await.expect_err("there is one already");
    assert!(format!("{error:#}").contains("already"), "{error:#}");
    world.from.status().await.expect("the first still answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_notices_the_carriers_death() {
    let mut world = World::new().await;
    world.source.kill();
    soon("the events end", async {
        while let Some(event) = world.from_events.next().await {
            assert!(!matches!(event, Event::Missed { .. }));
        }
    })
    .await;
    assert!(matches!(
        world.from.status().await,
        Err(ClientError::Disconnected | ClientError::Io(_))
    ));
    until("no more connections", || async {
        Client::connect(world.source.path("control")).await.is_err().then_some(())
    })
    .await;
}

/// A move of which nothing may be sent after a second, with its guest as the daemon said, and the daemon
/// gone or not. Returns whether the hypervisor's socket is closed within so many milliseconds.
async fn closes_without_share(guest: GuestState, gone: bool, within_ms: u64) -> bool {
    let patience = Patience { deserted: Duration::from_secs(4), ..Patience::default() };
    let world = World::with(patience).await;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, now_ns() + 1_000_000_000).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (mut near, _far) = world.connect("memory", &memory).await;
    world.until_state(&world.from, MoveState::Flowing).await;
    let set = SetMove { move_id: MOVE.to_owned(), guest: Some(guest), ..SetMove::default() };
    world.from.set_move(set).await.expect("set");
    let within = Duration::from_millis(within_ms);
    let mut byte = [0; 1];
    let end = if gone {
        let World { source, from, .. } = world;
        drop(from);
        let end = tokio::time::timeout(within, near.read(&mut byte)).await;
        drop(source);
        end
    } else {
        let asks = async {
            loop {
                world.from.status().await.expect("a status");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::select! {
            end = tokio::time::timeout(within, near.read(&mut byte)) => end,
            () = asks => unreachable!("it asks for ever"),
        }
    };
    end.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_stands_still_without_a_share_is_let_go() {
    let (paused, may_pause, runs) = tokio::join!(
        closes_without_share(GuestState::Paused, false, 3500),
        closes_without_share(GuestState::MayPause, true, 3500),
        closes_without_share(GuestState::Runs, true, 8000),
    );
    assert_eq!((paused, may_pause, runs), (true, true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_runs_is_held_without_a_share() {
    let (may_pause, runs, deserted) = tokio::join!(
        closes_without_share(GuestState::MayPause, false, 6000),
        closes_without_share(GuestState::Runs, false, 6000),
        closes_without_share(GuestState::Runs, true, 3000),
    );
    assert_eq!((may_pause, runs, deserted), (false, false, false));
}
