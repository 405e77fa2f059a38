//! The link is cut, healed and reset under a move.

use std::time::{Duration, Instant};

use lifeboat_carrier::{CloseReason, GuestState, MoveState, Patience, SetMove};
use tokio::{io::AsyncReadExt, net::UnixStream, task::JoinHandle, time::sleep};

use crate::{
    relay::Relay,
    world::{FOR_EVER, MOVE, World, closed, hear, noise, pour, say, soon, until, within},
};

const BYTES: usize = 30_000_000;

/// A world whose link is a relay, with a transfer of [`BYTES`] under way that takes about three seconds.
async fn transferring(delay: Duration) -> (World, Relay, JoinHandle<()>) {
    let mut world = World::new().await;
    let relay = Relay::with_delay(world.destination.address, delay).await;
    world.address = relay.address;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (near, far) = world.connect("memory", &memory).await;
    let transfer = tokio::spawn(async move {
        let bytes = noise(5, BYTES);
        let (_, heard) = tokio::join!(say(near, &bytes), hear(far));
        assert!(heard == bytes, "the bytes are not intact");
    });
    arrived(&world, 3_000_000).await;
    (world, relay, transfer)
}

async fn local_out(world: &World) -> u64 {
    world.move_status(&world.to, MOVE).await.expect("the move").local_out_bytes
}

/// Waits until so many bytes have come out at the destination.
async fn arrived(world: &World, bytes: u64) {
    soon("bytes arrive", async {
        while local_out(world).await < bytes {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_its_own_length_while_the_guest_runs() {
    for (old_connections_wake, delay_ms) in [(false, 0), (true, 0), (false, 50)] {
        let (world, relay, transfer) = transferring(Duration::from_millis(delay_ms)).await;
        relay.cut();
        world.until_state(&world.from, MoveState::Held).await;
        sleep(Duration::from_secs(3)).await;
        assert!(!transfer.is_finished());
        let before = local_out(&world).await;
        let healed = Instant::now();
        if old_connections_wake {
            relay.heal()
        } else {
            relay.heal_for_new_connections()
        };
        arrived(&world, before + 1).await;
        let recovery = healed.elapsed();
        println!("delay {delay_ms} ms: flowing {recovery:?} after the link healed");
        assert!(recovery < Duration::from_secs(2), "{recovery:?}");
        soon("the transfer", transfer).await.expect("intact");
        world.until_state(&world.from, MoveState::Flowing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_are_made_again() {
    let (world, relay, transfer) = transferring(Duration::ZERO).await;
    for part in 1..5 {
        relay.reset();
        arrived(&world, 3_000_000 + part * 4_000_000).await;
    }
    soon("the transfer", transfer).await.expect("intact");
    until("everything is acknowledged", || async {
        let status = world.move_status(&world.from, MOVE).await?;
        (status.acked_bytes == BYTES as u64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_silent_connection_holds_nothing_up_for_long() {
    let connections = (0..5).map(|number| async move {
        let (world, relay, transfer) = transferring(Duration::ZERO).await;
        relay.mute(number);
        soon("the transfer", transfer).await.expect("intact");
        world.until_state(&world.from, MoveState::Flowing).await;
    });
    futures::future::join_all(connections).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_while_the_guest_is_paused_closes_the_local_sockets_at_once() {
    let mut world = World::new().await;
    let relay = Relay::to(world.destination.address).await;
    world.address = relay.address;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let (near, mut far) = world.connect("memory", &memory).await;
    pour(near);
    arrived_at(&mut far).await;
    let request =
        SetMove { move_id: MOVE.to_owned(), guest: Some(GuestState::Paused), ..SetMove::default() };
    world.from.set_move(request).await.expect("set");
    sleep(Duration::from_millis(600)).await;
    world.until_state(&world.from, MoveState::Flowing).await;
    relay.cut();
    let cut = Instant::now();
    let limit = Duration::from_secs(4);
    let end = within(limit, "the destination's socket closes", async {
        let mut block = vec![0; 65_536];
        while far.read(&mut block).await.is_ok_and(|read| read > 0) {}
        cut.elapsed()
    });
    let (there, here) = tokio::join!(end, closed(&mut world.from_events));
    println!("the destination's socket closed {there:?} after the cut");
    assert!(there >= Duration::from_millis(1200) && there < Duration::from_millis(2500));
    assert_eq!(here, CloseReason::SilentWhilePaused);
    assert_eq!(closed(&mut world.to_events).await, CloseReason::SilentWhilePaused);
    assert!(!world.source.path("memory").exists());
}

async fn arrived_at(far: &mut UnixStream) {
    let mut block = vec![0; 1_000_000];
    soon("bytes", far.read_exact(&mut block)).await.expect("read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_not_held_longer_than_asked() {
    let patience = Patience { hold: Duration::from_secs(2), ..Patience::default() };
    let mut world = World::with(patience).await;
    let relay = Relay::to(world.destination.address).await;
    world.address = relay.address;
    let memory = world.hypervisor("memory");
    world.share(10_000_000, FOR_EVER).await;
    world.agree(MOVE, &["memory"], 1).await;
    let _connection = world.connect("memory", &memory).await;
    relay.cut();
    assert_eq!(closed(&mut world.from_events).await, CloseReason::SilentTooLong);
    assert_eq!(closed(&mut world.to_events).await, CloseReason::SilentTooLong);
}
