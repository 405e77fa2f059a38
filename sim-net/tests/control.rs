//! The embedded hypervisor's control socket, as a client sees it.

use std::{path::PathBuf, time::Duration};

use lifeboat_sim_net::live::{
    client::{CallError, Subscription, call},
    control::RefusalKind,
    hypervisor::{
        self, Config,
        protocol::{Capacity, Description, Event, Inspection, Look, State},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const VM: &str = "6b7b0a3e-58a2-4a53-9f8d-0f6d6a5f3c11";

struct Process {
    control: PathBuf,
    _directory: tempfile::TempDir,
}

async fn start() -> Process {
    let directory = tempfile::tempdir().expect("a directory");
    let control = directory.path().join("control");
    let vms = directory.path().join("vms.json");
    let initial = json!([{ "uuid": VM, "name": "first", "memory": 4 << 20, "vcpus": 2 }]);
    std::fs::write(&vms, initial.to_string()).expect("written");
    let config =
        Config { control: control.clone(), memory: 64 << 20, processors: 3, vms: Some(vms) };
    tokio::spawn(hypervisor::run(config));
    let answers = async {
        while call::<_, Capacity>(&control, &json!({ "do": "capacity" })).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, answers).await.expect("it answers within the deadline");
    Process { control, _directory: directory }
}

impl Process {
    async fn ask<A: serde::de::DeserializeOwned>(&self, request: Value) -> Result<A, CallError> {
        timeout(DEADLINE, call(&self.control, &request)).await.expect("within the deadline")
    }

    async fn refusal(&self, request: Value) -> (RefusalKind, String) {
        match self.ask::<Value>(request).await {
            Err(CallError::Refused(refusal)) => (refusal.kind, refusal.reason),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    async fn raw(&self, bytes: &[u8]) -> Value {
        let (reader, mut writer) = UnixStream::connect(&self.control).await.unwrap().into_split();
        writer.write_all(bytes).await.unwrap();
        let mut line = String::new();
        let read = async { BufReader::new(reader).read_line(&mut line).await };
        timeout(DEADLINE, read).await.expect("within the deadline").unwrap();
        serde_json::from_str(&line).expect("a reply is JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_vms_run_and_requests_change_them() {
    let process = start().await;
    let capacity: Capacity = process.ask(json!({ "do": "capacity" })).await.unwrap();
    let expected = Capacity { memory_total: 64 << 20, memory_free: 60 << 20, processors: 3 };
    assert_eq!(capacity, expected);
    let list: Vec<Description> = process.ask(json!({ "do": "list" })).await.unwrap();
    assert_eq!((list.len(), list[0].state), (1, State::Running));

    let mut events = Subscription::open(&process.control).await.unwrap();
    process.ask::<()>(json!({ "do": "pause", "vm": VM })).await.unwrap();
    let event: Option<Event> = timeout(DEADLINE, events.next()).await.unwrap().unwrap();
    assert_eq!(event, Some(Event::Changed { vm: VM.parse().unwrap() }));
    let look: Look = process.ask(json!({ "do": "look", "vm": VM })).await.unwrap();
    assert_eq!(look.state, State::Paused);
    let inspect = json!({ "do": "inspect", "vm": VM, "digest": true, "verify": true });
    let first: Inspection = process.ask(inspect.clone()).await.unwrap();
    let second: Inspection = process.ask(inspect).await.unwrap();
    assert_eq!(first, second, "a paused guest stands still");
    assert_eq!(first.wrong_pages, Some(0));

    process.ask::<()>(json!({ "do": "destroy", "vm": VM })).await.unwrap();
    let look: Look = process.ask(json!({ "do": "look", "vm": VM })).await.unwrap();
    assert_eq!(look.state, State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_gets_a_clear_answer() {
    let process = start().await;
    for nonsense in [&b"{\n"[..], b"[1]\n", b"{\"id\":1,\"do\":\"fly\"}\n", b"\xff\n"] {
        let reply = process.raw(nonsense).await;
        assert_eq!(reply["error"]["kind"], "malformed", "{reply}");
    }
    let mut long = vec![b' '; (1 << 20) + 2];
    long.push(b'\n');
    let reply = process.raw(&long).await;
    assert!(reply["error"]["reason"].as_str().unwrap().contains("longer than"), "{reply}");
    let reply = process.raw(b"{\"id\":\"x\",\"do\":\"capacity\"}\n").await;
    assert_eq!((&reply["id"], &reply["ok"]["processors"]), (&json!("x"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let process = start().await;
    let other = "00000000-0000-0000-0000-000000000001";
    let (kind, _) = process.refusal(json!({ "do": "pause", "vm": other })).await;
    assert_eq!(kind, RefusalKind::NotFound);
    let big = json!({ "uuid": other, "name": "big", "memory": 61 << 20 });
    let (_, reason) = process.refusal(json!({ "do": "create", "definition": big })).await;
    assert!(reason.contains("are free"), "{reason}");
    let twin = json!({ "uuid": other, "name": "first", "memory": 4096 });
    let (_, reason) = process.refusal(json!({ "do": "define", "definition": twin })).await;
    assert!(reason.contains("is called"), "{reason}");
    let (_, reason) = process.refusal(json!({ "do": "post_copy", "vm": VM })).await;
    assert!(reason.contains("no post-copy"), "{reason}");
    let (_, reason) = process.refusal(json!({ "do": "forget", "vm": VM })).await;
    assert!(reason.contains("not shut off"), "{reason}");
    process.ask::<()>(json!({ "do": "refuse_migrations", "next": 1 })).await.unwrap();
    let migrate = json!({ "do": "migrate", "vm": VM, "path": "/nowhere", "max_downtime_ms": 1 });
    let (_, reason) = process.refusal(migrate.clone()).await;
    assert!(reason.contains("fault injection"), "{reason}");
    let (_, reason) = process.refusal(migrate).await;
    assert!(reason.contains("cannot connect"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_is_silence_and_then_goes_on() {
    let process = start().await;
    let mut events = Subscription::open(&process.control).await.unwrap();
    process.ask::<()>(json!({ "do": "hang", "milliseconds": 300 })).await.unwrap();
    let began = std::time::Instant::now();
    process.ask::<()>(json!({ "do": "pause", "vm": VM })).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(250));
    let event: Option<Event> = timeout(DEADLINE, events.next()).await.unwrap().unwrap();
    assert!(event.is_some());
}
