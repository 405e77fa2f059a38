//! Whole migrations between two hosts of one process, unharmed and broken in every phase.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{broadcast, watch},
    time::timeout,
};

use super::{
    Uuid,
    host::Host,
    incoming, outgoing,
    protocol::{Definition, Event, State},
    ticker,
};
use crate::live::control::Refusal;

const DEADLINE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

fn vm() -> Uuid {
    "6b7b0a3e-58a2-4a53-9f8d-0f6d6a5f3c11".parse().expect("a UUID")
}

fn definition(memory: u64, dirty_rate: u64) -> Definition {
    Definition {
        uuid: vm(),
        name: "guest".into(),
        memory,
        vcpus: 1,
        seed: 7,
        zero_percent: 25,
        compressible_percent: 25,
        dirty_rate,
        working_set: Some(memory / 4),
        policy: serde_json::json!({ "priority": 80 }),
    }
}

struct Side {
    host: Arc<Host>,
    events: broadcast::Receiver<serde_json::Value>,
}

impl Side {
    fn new(memory: u64) -> Self {
        let host = Arc::new(Host::new(memory, 2));
        ticker::start(&host).expect("a thread");
        Self { events: host.events().subscribe(), host }
    }

    async fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let find = async {
            loop {
                let event = self.events.recv().await.expect("events are kept");
                let event = serde_json::from_value(event).expect("an event");
                if wanted(&event) {
                    return event;
                }
            }
        };
        timeout(DEADLINE, find).await.expect("the event comes within the deadline")
    }

    async fn job_error(&mut self) -> Option<String> {
        match self.event(|event| matches!(event, Event::JobEnded { .. })).await {
            Event::JobEnded { error, .. } => error,
            other => panic!("asked for the end of the job, got {other:?}"),
        }
    }

    fn state(&self) -> State {
        self.host.look(&vm()).state
    }

    async fn until(&self, what: &str, holds: impl Fn(&Host) -> bool) {
        let poll = async {
            while !holds(&self.host) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(timeout(DEADLINE, poll).await.is_ok(), "not within the deadline: {what}");
    }
}

struct World {
    source: Side,
    destination: Side,
    directory: tempfile::TempDir,
}

impl World {
    fn new(memory: u64, dirty_rate: u64) -> Self {
        let source = Side::new(4 * memory);
        source.host.create(definition(memory, dirty_rate), false).expect("there is room");
        let directory = tempfile::tempdir().expect("a directory");
        let world = Self { source, destination: Side::new(4 * memory), directory };
        incoming::expect(&world.destination.host, vm(), &world.path("in")).expect("a socket");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn migrate(&self, path: &Path) {
        outgoing::start(&self.source.host, &vm(), path, 300, false).expect("it is accepted");
    }

    /// Starts the migration through a relay that carries so many bytes and then waits.
    fn migrate_through_relay(&self, bytes: u64, replies: bool) -> Relay {
        let relay = Relay::start(&self.path("out"), &self.path("in"), bytes, replies);
        self.migrate(&self.path("out"));
        relay
    }
}

/// Carries a limited number of bytes, then waits in silence; closes both sides when dropped.
struct Relay {
    carried: watch::Receiver<u64>,
    limit: watch::Sender<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    fn start(out: &Path, into: &Path, limit: u64, replies: bool) -> Self {
        let listener = UnixListener::bind(out).expect("a socket");
        let into = into.to_owned();
        let (count, carried) = watch::channel(0);
        let (limit, mut allowed) = watch::channel(limit);
        let task = tokio::spawn(async move {
            let (source, _) = listener.accept().await.expect("the source connects");
            let destination = UnixStream::connect(into).await.expect("the destination listens");
            let (mut from_source, mut to_source) = source.into_split();
            let (mut from_destination, mut to_destination) = destination.into_split();
            let back = async {
                if replies {
                    tokio::io::copy(&mut from_destination, &mut to_source).await.ok();
                }
                std::future::pending::<()>().await;
            };
            let forth = async {
                let mut buffer = vec![0; 64 << 10];
                let mut carried = 0;
                loop {
                    let allowed = allowed.wait_for(|allowed| *allowed > carried).await;
                    let Ok(allowed) = allowed.map(|allowed| *allowed) else { break };
                    let most = (allowed - carried).min(64 << 10) as usize;
                    let Ok(read @ 1..) = from_source.read(&mut buffer[..most]).await else { break };
                    to_destination.write_all(&buffer[..read]).await.ok();
                    carried += read as u64;
                    count.send_replace(carried);
                }
                std::future::pending::<()>().await;
            };
            tokio::join!(back, forth);
        });
        Self { carried, limit, task }
    }

    fn allow(&self, bytes: u64) {
        self.limit.send_replace(bytes);
    }

    async fn has_carried(&mut self, bytes: u64) {
        let enough = self.carried.wait_for(|carried| *carried >= bytes);
        timeout(DEADLINE, enough).await.expect("within the deadline").expect("the relay lives");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_moves_intact_under_a_writer() {
    let mut world = World::new(64 * MIB, 40_000_000);
    let before = world.source.host.guest(&vm()).expect("live").execution().life.clone();
    world
        .source
        .until("it writes", |host| host.guest(&vm()).unwrap().execution().life.writes > 0)
        .await;
    world.migrate(&world.path("in"));
    world.source.event(|event| matches!(event, Event::GuestPaused { .. })).await;
    world.destination.event(|event| matches!(event, Event::Arrived { .. })).await;
    world.source.event(|event| matches!(event, Event::SourceGone { .. })).await;
    assert_eq!(world.source.job_error().await, None);
    assert_eq!(world.source.state(), State::MovedAway);
    assert_eq!(world.destination.state(), State::Paused);
    assert_eq!(world.source.host.capacity().memory_free, 256 * MIB, "the source's memory is free");
    assert!(!world.path("in").exists(), "the socket is unlinked");

    let host = Arc::clone(&world.destination.host);
    let arrived = host.guest(&vm()).expect("live").execution().life.clone();
    assert_eq!(arrived.boot_id, before.boot_id, "it never rebooted");
    assert!(arrived.writes > before.writes && arrived.ticks > before.ticks);
    host.resume(&vm()).expect("it is complete");
    let goes_on = |host: &Host| host.guest(&vm()).unwrap().execution().life.writes > arrived.writes;
    world.destination.until("it goes on writing", goes_on).await;
    let guest = host.guest(&vm()).expect("live");
    assert_eq!(guest.wrong_pages(), 0);
    assert!(guest.execution().last_downtime_ms.is_some_and(|pause| pause > 0.0));
    assert_eq!(guest.definition(), definition(64 * MIB, 40_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_dirty_tracking_is_caught_by_the_digest() {
    let mut world = World::new(32 * MIB, 40_000_000);
    let guest = world.source.host.guest(&vm()).expect("live");
    guest.memory.forget_every.store(20, Ordering::Relaxed);
    let writes = || guest.execution().life.writes;
    // Held for a while, so that the guest rewrites pages that were sent.
    let mut relay = world.migrate_through_relay(16 * MIB, true);
    relay.has_carried(16 * MIB).await;
    let enough = writes() + 2048;
    world.source.until("it rewrites its memory", |_| writes() > enough).await;
    relay.allow(u64::MAX);
    let error = world.source.job_error().await.expect("it fails");
    assert!(error.contains("digest"), "{error}");
    world.source.until("it runs on", |host| host.look(&vm()).state == State::Running).await;
    assert_eq!(world.destination.state(), State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_migration_leaves_the_guest_running_at_the_source_only() {
    let mut world = World::new(32 * MIB, 1_000_000);
    let mut relay = world.migrate_through_relay(4 * MIB, true);
    relay.has_carried(4 * MIB).await;
    assert_eq!(world.destination.state(), State::Incoming);
    assert_eq!(world.destination.host.capacity().memory_free, 96 * MIB, "it is accounted for");
    let job = world.source.host.outgoing(&vm()).expect("live").expect("under way");
    assert!(job.progress().remaining > 0 && job.progress().sent >= 4 * MIB);
    job.abort("it was aborted on request");
    assert_eq!(world.source.job_error().await.as_deref(), Some("it was aborted on request"));
    drop(relay);
    world.destination.until("dropped", |host| host.look(&vm()).state == State::Absent).await;
    assert_eq!(world.destination.host.capacity().memory_free, 128 * MIB);
    assert_eq!(world.source.state(), State::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_during_the_copy_drops_it_there_and_changes_nothing_here() {
    for bytes in [4, 200, 8 * MIB] {
        let mut world = World::new(32 * MIB, 1_000_000);
        let mut relay = world.migrate_through_relay(bytes, true);
        relay.has_carried(bytes).await;
        drop(relay);
        assert!(world.source.job_error().await.is_some());
        assert_eq!(world.source.state(), State::Running);
        world.destination.until("dropped", |host| host.look(&vm()).state == State::Absent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_while_paused_resumes_the_source() {
    let mut world = World::new(32 * MIB, 1_000_000);
    let mut relay = world.migrate_through_relay(8 * MIB, true);
    relay.has_carried(8 * MIB).await;
    world.source.host.pause(&vm()).expect("live");
    world.source.event(|event| matches!(event, Event::GuestPaused { .. })).await;
    assert_eq!(world.source.state(), State::Switching);
    let refused: Result<(), Refusal> = world.source.host.resume(&vm());
    assert!(refused.is_err(), "an undecided migration is not resumed by hand");
    drop(relay);
    world.source.event(|event| matches!(event, Event::GuestResumed { .. })).await;
    assert!(world.source.job_error().await.is_some());
    assert_eq!(world.source.state(), State::Running);
    world.destination.until("dropped", |host| host.look(&vm()).state == State::Absent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_leaves_it_running_here_and_paused_there() {
    let mut world = World::new(32 * MIB, 1_000_000);
    let relay = world.migrate_through_relay(u64::MAX, false);
    world.destination.event(|event| matches!(event, Event::Arrived { .. })).await;
    assert_eq!(world.source.state(), State::Switching, "silence is waited for");
    drop(relay);
    world.source.event(|event| matches!(event, Event::GuestResumed { .. })).await;
    assert_eq!(world.source.state(), State::Running);
    assert_eq!(world.destination.state(), State::Paused);
    world.destination.host.destroy(&vm());
    assert_eq!(world.destination.state(), State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_without_room_says_so() {
    let mut world = World::new(32 * MIB, 0);
    world.destination = Side::new(31 * MIB);
    let path = world.path("small");
    incoming::expect(&world.destination.host, vm(), &path).expect("a socket");
    world.migrate(&path);
    let error = world.source.job_error().await.expect("it fails");
    assert!(error.contains("bytes of memory and"), "{error}");
    assert_eq!(world.source.state(), State::Running);
    world.destination.until("dropped", |host| host.look(&vm()).state == State::Absent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_arrival_stops_listening_and_keeps_what_was_there() {
    let world = World::new(4 * MIB, 0);
    world.destination.host.cancel_arrival(&vm()).expect("it is expected");
    assert!(!world.path("in").exists());
    assert_eq!(world.destination.state(), State::Absent);

    let remains = definition(4 * MIB, 0);
    world.destination.host.define(remains.clone()).expect("nothing is there");
    for _ in 0..2 {
        incoming::expect(&world.destination.host, vm(), &world.path("in")).expect("again");
        assert_eq!(world.destination.state(), State::Expected);
    }
    world.destination.host.cancel_arrival(&vm()).expect("it is expected");
    assert_eq!(world.destination.host.definition(&vm()), Ok(remains));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_outruns_the_stream_is_throttled_only_if_allowed() {
    for allowed in [true, false] {
        let mut world = World::new(16 * MIB, 800_000_000);
        let host = Arc::clone(&world.source.host);
        let relay = Relay::start(&world.path("out"), &world.path("in"), MIB, true);
        outgoing::start(&host, &vm(), &world.path("out"), 0, allowed).expect("it is accepted");
        let job = host.outgoing(&vm()).expect("live").expect("under way");
        let throttled = || {
            relay.allow(*relay.carried.borrow() + (64 << 10));
            job.progress().throttle_percent > 0
        };
        if allowed {
            world.source.until("throttled", |_| throttled()).await;
        } else {
            let passes = |_: &Host| !throttled() && job.progress().pass > 5;
            world.source.until("five passes", passes).await;
        }
        let knows = |_: &Host| {
            throttled();
            job.progress().dirty_rate.is_some()
        };
        world.source.until("the dirty rate is known", knows).await;
        assert!(job.progress().dirty_rate > Some(1_000_000), "{:?}", job.progress());
        job.abort("enough was seen");
        assert!(world.source.job_error().await.is_some());
        assert_eq!(job.guest().execution().throttle_percent, 0);
    }
}
