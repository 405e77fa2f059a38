//! Bytes through several substreams, both ways.

use lifeboat_carrier::{Compress, Event, MoveState, SetMove};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{FOR_EVER, MOVE, World, closed, drain, hear, noise, pour, say, soon, until};

const WIDE: u64 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_stay_intact_both_ways_through_several_substreams() {
    let mut world = World::new().await;
    let (memory, driver) = (world.hypervisor("memory"), world.hypervisor("driver"));
    world.share(WIDE, FOR_EVER).await;
    world.agree(MOVE, &["memory", "driver"], 1).await;
    let mut tasks = Vec::new();
    for (seed, listener, channel) in
        [(1, &memory, "memory"), (2, &memory, "memory"), (3, &driver, "driver")]
    {
        let (near, far) = world.connect(channel, listener).await;
        let (out, back) = (noise(seed, 8_000_000 + seed as usize), noise(100 + seed, 3_000_001));
        tasks.push(tokio::spawn(async move {
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            let (_, _, there, here) = tokio::join!(
                say(near_write, &out),
                say(far_write, &back),
                hear(far_read),
                hear(near_read)
            );
            assert!(there == out && here == back);
        }));
    }
    for task in tasks {
        soon("a substream", task).await.expect("intact");
    }
    soon("the move drains", async {
        while world.from_events.next().await != Some(Event::Drained { move_id: MOVE.to_owned() }) {}
    })
    .await;
    let status = world.move_status(&world.from, MOVE).await.expect("the move");
    assert!(status.drained && status.substreams == 0 && status.state == MoveState::Flowing);
    assert_eq!(status.local_in_bytes, 24_000_006);
    assert_eq!((status.acked_bytes, status.local_out_bytes), (24_000_006, 9_000_003));
    assert!(world.source.path("memory").exists());
    world.from.close_move(MOVE).await.expect("closed");
    assert_eq!(closed(&mut world.from_events).await, lifeboat_carrier::CloseReason::Requested);
    assert_eq!(closed(&mut world.to_events).await, lifeboat_carrier::CloseReason::RequestedByPeer);
    assert!(!world.source.path("memory").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_not_drained_does_not_stop_the_others() {
    let world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(WIDE, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let mut stuck = Vec::new();
    for _ in 0..3 {
        let (near, far) = world.connect("memory", &memory).await;
        pour(near);
        stuck.push(far);
    }
    let (near, far) = world.connect("memory", &memory).await;
    let bytes = noise(7, 20_000_000);
    let (_, heard) = tokio::join!(say(near, &bytes), hear(far));
    assert!(heard == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_answers_is_closed_at_the_source() {
    let world = World::new().await;
    world.share(WIDE, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let mut near =
        tokio::net::UnixStream::connect(world.source.path("memory")).await.expect("there");
    let end = soon("the end", near.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_pays_on_a_thin_link_and_noise_goes_raw() {
    let mut world = World::new().await;
    world.compress = Compress::Auto;
    let memory = world.hypervisor("memory");
    world.share(20_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (near, far) = world.connect("memory", &memory).await;
    let text = b"the same words again and again, ".repeat(500_000);
    let (_, heard) = tokio::join!(say(near, &text), hear(far));
    assert!(heard == text);
    let status = world.move_status(&world.from, MOVE).await.expect("the move");
    assert!(status.wire_sent_bytes < text.len() as u64 / 4, "{status:?}");
    assert!(status.compress_out_bytes < status.compress_in_bytes / 4, "{status:?}");

    let (near, far) = world.connect("memory", &memory).await;
    let bytes = noise(7, 4_000_000);
    let (_, heard) = tokio::join!(say(near, &bytes), hear(far));
    assert!(heard == bytes);
    let tried = world.move_status(&world.from, MOVE).await.expect("the move").compress_in_bytes;
    assert!(tried - status.compress_in_bytes < 2_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_come_and_go_in_flight() {
    let world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(WIDE, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (mut near, far) = world.connect("memory", &memory).await;
    let bytes = noise(9, 30_000_000);
    let hearing = tokio::spawn(hear(far));
    for (streams, part) in [8, 1, 3].into_iter().zip(bytes.chunks(10_000_000)) {
        near.write_all(part).await.expect("written");
        let request =
            SetMove { move_id: MOVE.to_owned(), streams: Some(streams), ..SetMove::default() };
        world.from.set_move(request).await.expect("set");
        until("so many streams", || async {
            let status = world.move_status(&world.from, MOVE).await?;
            (status.streams_up == streams).then_some(())
        })
        .await;
    }
    drop(near);
    assert!(soon("all", hearing).await.expect("heard") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_reset_reaches_the_other_end() {
    let world = World::new().await;
    let memory = world.hypervisor("memory");
    world.share(WIDE, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (mut near, far) = world.connect("memory", &memory).await;
    drop(far);
    let block = noise(3, 65_536);
    soon("the source's end breaks", async { while near.write_all(&block).await.is_ok() {} }).await;
    let (near, far) = world.connect("memory", &memory).await;
    pour(near);
    drain(far);
}
