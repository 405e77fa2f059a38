//! The embedded hypervisor against the suite, and what its driver does by itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lifeboat_hypervisor::{
    Channel, Hypervisor, HypervisorError, HypervisorEvent, VmId, embedded::EmbeddedHypervisor,
};
use lifeboat_sim_net::live::{
    client::call,
    hypervisor::{self, Config, protocol::Inspection},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::suite::{Lab, conforms};

const DEADLINE: Duration = Duration::from_secs(30);
const VM: &str = "6b7b0a3e-58a2-4a53-9f8d-0f6d6a5f3c11";

/// Ends the process's stand-in, a task of this process, when dropped.
struct Process(JoinHandle<anyhow::Result<()>>);

impl Process {
    fn start(control: PathBuf) -> Self {
        let config = Config { control, memory: 256 << 20, processors: 2, vms: None };
        Self(tokio::spawn(hypervisor::run(config)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct EmbeddedLab {
    directory: tempfile::TempDir,
    hosts: [Arc<EmbeddedHypervisor>; 2],
    boot: String,
    _processes: [Process; 2],
}

impl EmbeddedLab {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let controls = ["a", "b"].map(|name| directory.path().join(name));
        let processes = controls.clone().map(Process::start);
        let hosts = controls.clone().map(EmbeddedHypervisor::connect);
        for host in &hosts {
            connected(&**host).await;
        }
        let definition = json!({
            "uuid": VM, "name": "guest", "memory": 32 << 20, "dirty_rate": 10_000_000,
            "working_set": 4 << 20, "policy": { "priority": 80, "group": "web" },
        });
        let create = json!({ "do": "create", "definition": definition });
        call::<Value, ()>(&controls[0], &create).await.expect("there is room");
        let boot = inspect(&controls[0]).await.boot_id;
        Self { directory, hosts, boot, _processes: processes }
    }
}

async fn inspect(control: &std::path::Path) -> Inspection {
    let inspect = json!({ "do": "inspect", "vm": VM, "verify": true });
    call(control, &inspect).await.expect("it is live")
}

async fn connected(host: &dyn Hypervisor) {
    let event = timeout(DEADLINE, host.events().recv()).await.expect("within the deadline");
    assert_eq!(event, Some(HypervisorEvent::Connected));
}

#[async_trait::async_trait]
impl Lab for EmbeddedLab {
    fn source(&self) -> Arc<dyn Hypervisor> {
        Arc::clone(&self.hosts[0]) as _
    }

    fn destination(&self) -> Arc<dyn Hypervisor> {
        Arc::clone(&self.hosts[1]) as _
    }

    fn vm(&self) -> VmId {
        VM.parse().expect("a UUID")
    }

    fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    async fn assert_intact(&self, host: &dyn Hypervisor) {
        let own = std::ptr::from_ref(host).cast::<()>();
        let here = std::ptr::from_ref(&*self.hosts[0]).cast::<()>();
        let name = if own == here { "a" } else { "b" };
        let found = inspect(&self.directory.path().join(name)).await;
        assert_eq!((found.boot_id, found.wrong_pages), (self.boot.clone(), Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_hypervisor_conforms() {
    conforms(EmbeddedLab::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_connects_again_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let control = directory.path().join("control");
    let driver = EmbeddedHypervisor::connect(control.clone());
    let mut events = driver.events();
    let error = driver.capacity().await.expect_err("nobody is there yet");
    assert!(matches!(error, HypervisorError::Unreachable { .. }), "{error}");
    for _ in 0..2 {
        let process = Process::start(control.clone());
        let event = timeout(DEADLINE, events.recv()).await.expect("within the deadline");
        assert_eq!(event, Some(HypervisorEvent::Connected));
        assert_eq!(driver.capacity().await.expect("it answers").processors, 2);
        drop(process);
        let event = timeout(DEADLINE, events.recv()).await.expect("within the deadline");
        assert!(matches!(event, Some(HypervisorEvent::Disconnected(_))), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_hypervisor_is_an_unknown_outcome() {
    let lab = EmbeddedLab::new().await;
    let hang = json!({ "do": "hang", "milliseconds": 60_000 });
    call::<Value, ()>(&lab.directory.path().join("a"), &hang).await.expect("it still answers");
    let answer = timeout(DEADLINE, lab.source().look(lab.vm())).await;
    let error = answer.expect("within the deadline").expect_err("it does not answer");
    assert!(matches!(error, HypervisorError::Timeout { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_path_that_is_too_long_is_named() {
    let lab = EmbeddedLab::new().await;
    let directory = PathBuf::from(format!("/{}", "d".repeat(90)));
    let channels: Vec<Channel> = lab.hosts[1].destination_channels(&directory, lab.vm(), false);
    let error = lab.hosts[1].prepare_arrival(lab.vm(), &channels).await.expect_err("too long");
    assert!(error.to_string().contains("107"), "{error}");
}
