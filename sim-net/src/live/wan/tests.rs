//! A WAN between two sites of one process, judged by its own clock.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{
    protocol::{LinkConfig, Request, RouteConfig, Shape, Stats},
    service::Wan,
};
use crate::live::control::Service;

const DEADLINE: Duration = Duration::from_secs(30);

struct World {
    wan: Arc<Wan>,
    target: TcpListener,
    entry: SocketAddr,
}

impl World {
    async fn new(capacity_bits: u64, rtt_ms: f64, window_bytes: u64, loss: f64) -> Self {
        let shape = Shape { capacity_bits, rtt_ms, window_bytes, loss };
        let link = |from: &str, to: &str| LinkConfig { from: from.into(), to: to.into(), shape };
        let wan = Wan::new(vec![link("a", "b"), link("b", "a")], 1).expect("it makes sense");
        let target = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let entry = wan.add_route(RouteConfig {
            name: "r".into(),
            from_site: "a".into(),
            to_site: "b".into(),
            listen: "127.0.0.1:0".parse().expect("an address"),
            target: target.local_addr().expect("bound"),
        });
        Self { wan: Arc::new(wan), target, entry: entry.expect("a port") }
    }

    async fn pair(&self) -> (TcpStream, TcpStream) {
        let dialer = TcpStream::connect(self.entry).await.expect("it accepts");
        let (target, _) = soon(self.target.accept()).await.expect("it is relayed");
        (dialer, target)
    }

    async fn ask(&self, request: serde_json::Value) -> serde_json::Value {
        let request: Request = serde_json::from_value(request).expect("a request");
        self.wan.answer(request).await.expect("it is done")
    }

    async fn stats(&self) -> Stats {
        let stats = self.ask(serde_json::json!({ "do": "stats" })).await;
        serde_json::from_value(stats).expect("statistics")
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("within the deadline")
}

/// Sends so many bytes one way and reads them all; answers how long they took.
async fn transfer(mut from: TcpStream, mut to: TcpStream, bytes: usize) -> Duration {
    let began = Instant::now();
    let send = async move {
        let block: Vec<u8> = (0..bytes).map(|index| (index % 251) as u8).collect();
        from.write_all(&block).await.expect("it takes all");
        from
    };
    let receive = async move {
        let mut received = vec![0; bytes];
        to.read_exact(&mut received).await.expect("all comes");
        assert!(received.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8));
        began.elapsed()
    };
    let (_from, elapsed) = soon(async { tokio::join!(send, receive) }).await;
    elapsed
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_share_the_capacity_and_no_more() {
    let world = World::new(80_000_000, 2.0, 4 << 20, 0.0).await;
    let (first, second) = (world.pair().await, world.pair().await);
    let before = world.stats().await;
    let bytes = 5_000_000;
    let (one, two) =
        tokio::join!(transfer(first.0, first.1, bytes), transfer(second.0, second.1, bytes));
    let after = world.stats().await;
    assert_eq!(after.links[0].forwarded_bytes - before.links[0].forwarded_bytes, 10_000_000);
    assert_eq!(after.routes[0].to_target_bytes, 10_000_000);
    assert_eq!(after.routes[0].connections_total, 2);
    // At most the capacity, and what may be made up for at the start.
    let all = one.max(two);
    assert!(all >= Duration::from_millis(970), "10 MB in {all:?} at 10 MB/s");
    let ratio = one.as_secs_f64() / two.as_secs_f64();
    assert!((0.8..1.25).contains(&ratio), "{one:?} and {two:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_takes_a_round_trip_per_window() {
    let world = World::new(1_000_000_000, 40.0, 100_000, 0.0).await;
    let (dialer, target) = world.pair().await;
    let elapsed = transfer(dialer, target, 1_000_000).await;
    // Ten windows: nine round trips, and half of one to arrive.
    assert!(elapsed >= Duration::from_millis(380), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_come_after_the_handshake_and_half_a_round_trip() {
    let world = World::new(1_000_000_000, 60.0, 1 << 20, 0.0).await;
    let began = Instant::now();
    let mut dialer = TcpStream::connect(world.entry).await.expect("it accepts");
    dialer.write_all(b"x").await.expect("it is taken");
    let (mut target, _) = soon(world.target.accept()).await.expect("it is relayed");
    soon(target.read_u8()).await.expect("it comes");
    assert!(began.elapsed() >= Duration::from_millis(90), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stops_everything_and_loses_nothing() {
    let world = World::new(80_000_000, 10.0, 1 << 20, 0.0).await;
    let (dialer, mut target) = world.pair().await;
    soon(async {
        let mut dialer = dialer;
        dialer.write_all(b"before").await.expect("it is taken");
        let mut text = [0; 6];
        target.read_exact(&mut text).await.expect("it comes");

        world.ask(serde_json::json!({ "do": "cut", "from": "a", "to": "b" })).await;
        dialer.write_all(b"during").await.expect("it is taken");
        let mut late = TcpStream::connect(world.entry).await.expect("it accepts");
        late.write_all(b"late").await.expect("it is taken");
        let silence = Duration::from_millis(200);
        assert!(timeout(silence, target.read_u8()).await.is_err(), "nothing comes through");
        assert!(timeout(silence, world.target.accept()).await.is_err(), "nor anybody");
        let stats = world.stats().await;
        assert!(stats.links.iter().all(|link| link.cut));
        assert_eq!(stats.routes[0].connections_open, 2);

        world.ask(serde_json::json!({ "do": "heal" })).await;
        target.read_exact(&mut text).await.expect("it comes");
        assert_eq!(&text, b"during");
        let (mut late, _) = world.target.accept().await.expect("it is relayed");
        late.read_exact(&mut text[..4]).await.expect("it comes");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_way_cut_holds_one_direction_up_to_the_window_of_the_other() {
    let world = World::new(800_000_000, 2.0, 50_000, 0.0).await;
    let (mut dialer, mut target) = world.pair().await;
    let cut = serde_json::json!({ "do": "cut", "from": "a", "to": "b", "one_way": true });
    world.ask(cut).await;
    soon(async {
        let writer = tokio::spawn(async move {
            target.write_all(&[7; 200_000]).await.expect("it is taken in the end");
            target
        });
        let mut received = vec![0; 200_000];
        dialer.read_exact(&mut received[..50_000]).await.expect("one window comes");
        let silence = timeout(Duration::from_millis(200), dialer.read_u8()).await;
        assert!(silence.is_err(), "no acknowledgement, no more");
        world.ask(serde_json::json!({ "do": "heal", "from": "a", "to": "b" })).await;
        dialer.read_exact(&mut received[50_000..]).await.expect("the rest comes");
        drop(writer.await.expect("it ended"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_and_resets_travel() {
    let world = World::new(80_000_000, 4.0, 1 << 20, 0.0).await;
    let (mut dialer, mut target) = world.pair().await;
    soon(async {
        dialer.write_all(b"question").await.expect("it is taken");
        dialer.shutdown().await.expect("it is open");
        let mut text = Vec::new();
        target.read_to_end(&mut text).await.expect("it ends in order");
        target.write_all(b"answer").await.expect("the other half is open");
        drop(target);
        text.clear();
        dialer.read_to_end(&mut text).await.expect("it ends in order");
        assert_eq!(text, b"answer");

        let (mut dialer, target) = world.pair().await;
        super::flow::reset(&target);
        drop(target);
        assert!(dialer.read_u8().await.is_err(), "the reset arrives");
        drop(world.target);
        let mut dialer = TcpStream::connect(world.entry).await.expect("it accepts");
        assert!(dialer.read_u8().await.is_err(), "nobody listens there any more");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_changes_while_bytes_flow_and_loss_slows_a_stream() {
    let world = World::new(800_000, 1.0, 1 << 20, 0.0).await;
    let (dialer, target) = world.pair().await;
    let flow = tokio::spawn(transfer(dialer, target, 4_000_000));
    // 40 s at the old capacity, which is beyond the deadline.
    world.ask(serde_json::json!({ "do": "set", "capacity_bits": 400_000_000 })).await;
    flow.await.expect("it ends in time");

    world.ask(serde_json::json!({ "do": "set", "from": "a", "rtt_ms": 20.0, "loss": 0.01 })).await;
    let (dialer, target) = world.pair().await;
    let elapsed = transfer(dialer, target, 2_000_000).await;
    // Mathis: 1448 x 1.22 / (10.5 ms x sqrt(0.01)) = 1.7 MB/s; far from the capacity's 50 MB/s.
    assert!(elapsed > Duration::from_millis(200), "{elapsed:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = World::new(1_000_000, 1.0, 1 << 20, 0.0).await;
    let refused = async |request: serde_json::Value| {
        let request: Request = serde_json::from_value(request).expect("a request");
        world.wan.answer(request).await.expect_err("it is refused").reason
    };
    let reason = refused(serde_json::json!({ "do": "set", "capacity_bits": 0 })).await;
    assert!(reason.contains("at least 1000"), "{reason}");
    let reason = refused(serde_json::json!({ "do": "cut", "from": "a", "to": "z" })).await;
    assert!(reason.contains("no link goes from a to z"), "{reason}");
}
