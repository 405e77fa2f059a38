//! The driver against real libvirt and QEMU, in the lab: see `tests/lab/driver-test`.
//!
//! These run inside the source host. The destination's libvirt and sockets are reached through the
//! file system, below the directory in `LIFEBOAT_LAB_DESTINATION`; the guests that they may use up
//! are named, in order, in `LIFEBOAT_LAB_VMS`.

mod autostart;
mod hangs;
mod images;
mod owner_pause;
mod relay;
mod stays;

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use self::relay::Relay;
use super::{LibvirtConfig, LibvirtHypervisor, Storage};
use crate::{Copy, Hypervisor, HypervisorError, HypervisorEvent, MigrationOrder, RunState, VmId};

const DEADLINE: Duration = Duration::from_secs(60);
const FAST: usize = 200_000_000;
/// A guest of 128 MiB then takes seconds.
const SLOW: usize = 12_000_000;

type Events = UnboundedReceiver<HypervisorEvent>;

/// Both ends of a move, and the events of each.
struct Lab {
    source: Arc<LibvirtHypervisor>,
    source_events: Events,
    destination: Arc<LibvirtHypervisor>,
    destination_events: Events,
    destination_uri: String,
    source_directory: PathBuf,
    destination_directory: PathBuf,
}

impl Lab {
    async fn open() -> Self {
        let root = destination_root();
        let run = root.join("run/libvirt");
        let socket = run.join("libvirt-sock");
        let source = LibvirtHypervisor::connect(LibvirtConfig::default());
        let destination_uri = format!("qemu+unix:///system?socket={}", socket.display());
        let destination = LibvirtHypervisor::connect(LibvirtConfig {
            uri: destination_uri.clone(),
            socket,
            run_directory: run.join("qemu"),
            ..LibvirtConfig::default()
        });
        let lab = Self {
            source_events: source.events(),
            source,
            destination_events: destination.events(),
            destination,
            destination_uri,
            source_directory: "/run/lifeboat".into(),
            destination_directory: root.join("run/lifeboat"),
        };
        lab.source.capacity().await.unwrap();
        lab.destination.capacity().await.unwrap();
        lab
    }

    async fn begin(&self, vm: VmId, bytes_per_second: usize) -> Relay {
        self.begin_with(vm, bytes_per_second, false).await
    }

    async fn begin_with(&self, vm: VmId, bytes_per_second: usize, copy_storage: bool) -> Relay {
        let near = self.source.source_channels(&self.source_directory, vm, copy_storage);
        let far =
            self.destination.destination_channels(&self.destination_directory, vm, copy_storage);
        self.destination.prepare_arrival(vm, &far).await.unwrap();
        let relay = Relay::start(&near, &far, bytes_per_second).unwrap();
        let order = MigrationOrder { copy_storage, ..self.order(vm) };
        self.source.begin(MigrationOrder { channels: near, ..order }).await.unwrap();
        relay
    }

    /// An order through the relay, without storage.
    fn order(&self, vm: VmId) -> MigrationOrder {
        MigrationOrder {
            vm,
            channels: self.source.source_channels(&self.source_directory, vm, false),
            max_downtime_ms: 250,
            auto_converge: true,
            post_copy: false,
            copy_storage: false,
            direct_uri: None,
            direct_rate: None,
        }
    }

    /// From the arrival to a guest that runs at the destination only.
    async fn hand_over(&mut self, vm: VmId) {
        expect(&mut self.source_events, &HypervisorEvent::ProcessExited(vm)).await;
        self.take_over(vm).await;
    }

    /// The rest of the hand-over, once the source is gone.
    async fn take_over(&mut self, vm: VmId) {
        expect(&mut self.destination_events, &HypervisorEvent::Arrived(vm)).await;
        assert_eq!(self.destination.look(vm).await.unwrap(), Copy::Paused);
        self.destination.resume(vm).await.unwrap();
        eprintln!("resumed");
        assert_eq!(self.destination.look(vm).await.unwrap(), Copy::Running);
        self.source.forget(vm).await.unwrap();
        assert_eq!(self.source.look(vm).await.unwrap(), Copy::Absent);
    }

    /// What both ends must agree on once a move was broken off: never two, never none.
    async fn settle_after_a_cut(&mut self, vm: VmId) {
        let ended = ended(&mut self.source_events, vm).await;
        let here = self.source.look(vm).await.unwrap();
        let there = self.destination.look(vm).await.unwrap();
        eprintln!("after the cut: call {ended:?}, source {here:?}, destination {there:?}");
        assert_ne!(there, Copy::Running, "an arrival never runs by itself");
        match here {
            Copy::Running => {
                self.destination.discard(vm).await.unwrap();
                assert_eq!(self.destination.look(vm).await.unwrap(), Copy::Absent);
                assert_eq!(self.source.look(vm).await.unwrap(), Copy::Running);
                assert!(self.source.forget(vm).await.is_err(), "what runs is not forgotten");
            }
            Copy::MovedAway => {
                assert_eq!(there, Copy::Paused);
                self.destination.resume(vm).await.unwrap();
                self.source.forget(vm).await.unwrap();
            }
            other => panic!("the source is left {other:?}"),
        }
    }
}

/// The destination's files, as they are seen here.
fn destination_root() -> PathBuf {
    PathBuf::from(env::var("LIFEBOAT_LAB_DESTINATION").expect("run in the lab"))
}

/// The VM at a place in `LIFEBOAT_LAB_VMS`: every test has its own.
fn guest(place: usize) -> VmId {
    let vms = env::var("LIFEBOAT_LAB_VMS").expect("run in the lab");
    vms.split(',').nth(place).expect("enough guests").parse().unwrap()
}

/// Does to the source by hand what an owner of a VM would do.
fn virsh(arguments: &[&str]) {
    output_of(arguments);
}

/// What virsh says.
fn output_of(arguments: &[&str]) -> String {
    let output = Command::new("virsh").arg("-q").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn next(events: &mut Events) -> HypervisorEvent {
    let event = timeout(DEADLINE, events.recv()).await.expect("an event in time").unwrap();
    eprintln!("{event:?}");
    event
}

async fn expect(events: &mut Events, expected: &HypervisorEvent) {
    while next(events).await != *expected {}
}

async fn ended(events: &mut Events, vm: VmId) -> Result<(), String> {
    loop {
        if let HypervisorEvent::JobEnded(of, result) = next(events).await
            && of == vm
        {
            return result;
        }
    }
}

/// Waits until the migration has sent something and says so.
async fn under_way(source: &LibvirtHypervisor, vm: VmId) {
    let deadline = Instant::now() + DEADLINE;
    while source.progress(vm).await.unwrap().is_none_or(|progress| progress.sent == 0) {
        assert!(Instant::now() < deadline, "the migration does not get going");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_move_arrives_paused_and_runs_once_the_source_is_gone() {
    let (mut lab, vm) = (Lab::open().await, guest(0));
    let described = lab.source.vms().await.unwrap();
    let described = described.iter().find(|known| known.id == vm).unwrap();
    assert_eq!(described.state, RunState::Running);
    assert_eq!(described.memory, 128 << 20);
    assert_eq!((described.policy.priority, described.policy.group.as_deref()), (90, Some("web")));

    let _relay = lab.begin(vm, FAST).await;
    assert!(lab.source.is_leaving(vm).await.unwrap());
    assert_eq!(lab.destination.look(vm).await.unwrap(), Copy::Incoming);
    assert!(lab.destination.resume(vm).await.is_err(), "what still arrives is not resumed");
    expect(&mut lab.source_events, &HypervisorEvent::GuestPaused(vm)).await;
    let paused = Instant::now();
    expect(&mut lab.source_events, &HypervisorEvent::ProcessExited(vm)).await;
    eprintln!("source gone {} ms after the pause", paused.elapsed().as_millis());
    lab.take_over(vm).await;
    eprintln!("handed over {} ms after the pause", paused.elapsed().as_millis());
    assert_eq!(ended(&mut lab.source_events, vm).await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_move_that_is_given_up_leaves_the_guest_where_it_was() {
    let (mut lab, vm) = (Lab::open().await, guest(1));
    let _relay = lab.begin(vm, SLOW).await;
    under_way(&lab.source, vm).await;
    lab.source.set_max_downtime(vm, 700).await.unwrap();
    let refused = lab.source.start_post_copy(vm).await;
    assert!(matches!(refused, Err(HypervisorError::Refused { .. })), "{refused:?}");
    let progress = lab.source.progress(vm).await.unwrap().unwrap();
    assert!(progress.total >= 128 << 20 && progress.remaining > 0 && progress.pass == 1);
    lab.source.abort(vm).await.unwrap();
    assert!(ended(&mut lab.source_events, vm).await.is_err());
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Running);
    assert_eq!(lab.destination.look(vm).await.unwrap(), Copy::Absent);
    assert_eq!(lab.source.progress(vm).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_cut_during_the_copy_leaves_the_guest_where_it_was() {
    let (mut lab, vm) = (Lab::open().await, guest(2));
    let relay = lab.begin(vm, SLOW).await;
    under_way(&lab.source, vm).await;
    relay.cut();
    lab.settle_after_a_cut(vm).await;
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Running);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_cut_while_the_guest_is_paused_leaves_one_guest() {
    let (mut lab, vm) = (Lab::open().await, guest(3));
    let relay = lab.begin(vm, SLOW).await;
    expect(&mut lab.source_events, &HypervisorEvent::GuestPaused(vm)).await;
    relay.cut();
    lab.settle_after_a_cut(vm).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_cut_at_the_arrival_leaves_one_guest() {
    let (mut lab, vm) = (Lab::open().await, guest(4));
    let relay = lab.begin(vm, FAST).await;
    expect(&mut lab.destination_events, &HypervisorEvent::Arrived(vm)).await;
    relay.cut();
    lab.settle_after_a_cut(vm).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_driver_that_starts_anew_adopts_the_move_under_way() {
    let (mut lab, vm) = (Lab::open().await, guest(5));
    let _relay = lab.begin(vm, SLOW).await;
    let anew = LibvirtHypervisor::connect(LibvirtConfig::default());
    lab.source_events = anew.events();
    lab.source = anew;
    under_way(&lab.source, vm).await;
    assert!(lab.source.is_leaving(vm).await.unwrap());
    let refused = lab.source.begin(lab.order(vm)).await;
    assert!(matches!(refused, Err(HypervisorError::Refused { .. })), "{refused:?}");
    lab.hand_over(vm).await;
    assert_eq!(ended(&mut lab.source_events, vm).await, Ok(()));
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_definition_moves_and_disks_travel() {
    let (mut lab, vm) = (Lab::open().await, guest(6));
    let local = LibvirtConfig { storage: Storage::Local, ..LibvirtConfig::default() };
    let vms = LibvirtHypervisor::connect(local).vms().await.unwrap();
    assert_eq!(vms.iter().find(|known| known.id == vm).unwrap().local_disk, 32 << 20);
    assert!(lab.source.definition(vm).await.is_err(), "only what is shut off is moved so");
    let _relay = lab.begin_with(vm, FAST, true).await;
    lab.hand_over(vm).await;
    let definition = format!("<domain type='qemu'><name>x</name><uuid>{vm}</uuid></domain>");
    let refused = lab.destination.define(&definition).await;
    assert!(matches!(refused, Err(HypervisorError::Refused { .. })), "what runs is not redefined");

    lab.destination.discard(vm).await.unwrap();
    let off = guest(7);
    assert_eq!(lab.source.look(off).await.unwrap(), Copy::ShutOff);
    let definition = lab.source.definition(off).await.unwrap();
    lab.destination.define(&definition).await.unwrap();
    lab.destination.define(&definition).await.unwrap();
    lab.source.forget(off).await.unwrap();
    assert_eq!(lab.source.look(off).await.unwrap(), Copy::Absent);
    assert_eq!(lab.destination.look(off).await.unwrap(), Copy::ShutOff);
    lab.destination.discard(off).await.unwrap();
    lab.destination.discard(off).await.unwrap();
    let absent = lab.destination.resume(off).await;
    assert!(matches!(absent, Err(HypervisorError::NoSuchVm(_))), "{absent:?}");
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_guest_paused_on_purpose_runs_again_when_its_move_fails() {
    let (mut lab, vm) = (Lab::open().await, guest(8));
    let relay = lab.begin(vm, SLOW).await;
    under_way(&lab.source, vm).await;
    lab.source.pause(vm).await.unwrap();
    expect(&mut lab.source_events, &HypervisorEvent::GuestPaused(vm)).await;
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Switching);
    assert!(lab.source.resume(vm).await.is_err(), "a switchover is libvirt's to end");
    relay.cut();
    expect(&mut lab.source_events, &HypervisorEvent::GuestResumed(vm)).await;
    lab.settle_after_a_cut(vm).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_direct_migration_needs_no_carrier() {
    let (mut lab, vm) = (Lab::open().await, guest(9));
    let order = MigrationOrder {
        direct_uri: Some("qemu+tcp://b1/system".into()),
        direct_rate: Some(50_000_000),
        ..lab.order(vm)
    };
    lab.source.begin(order).await.unwrap();
    lab.hand_over(vm).await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_destination_that_stays_silent_costs_nothing() {
    let (mut lab, vm) = (Lab::open().await, guest(10));
    let silent = Relay::silent(&lab.order(vm).channels).unwrap();
    lab.source.begin(lab.order(vm)).await.unwrap();
    assert!(lab.source.is_leaving(vm).await.unwrap());
    assert!(lab.source.progress(vm).await.unwrap().is_some());
    lab.source.abort(vm).await.unwrap();
    // libvirt waits for the destination's libvirt all the same, until its socket is closed.
    silent.cut();
    assert!(ended(&mut lab.source_events, vm).await.is_err());
    assert_eq!(lab.source.look(vm).await.unwrap(), Copy::Running);
}

/// Stops, kills and starts the source's libvirtd: runs alone, after all others.
#[tokio::test]
#[ignore = "needs the lab"]
async fn zz_a_libvirtd_that_hangs_or_dies_is_survived() {
    let mut lab = Lab::open().await;
    let pid = std::fs::read_to_string("/run/libvirtd.pid").unwrap();
    let signal = |name: &str| {
        let status = Command::new("kill").args(["-s", name, pid.trim()]).status().unwrap();
        assert!(status.success());
    };
    signal("STOP");
    let asked = Instant::now();
    let hung = lab.source.look(guest(1)).await;
    assert!(matches!(hung, Err(HypervisorError::Timeout { .. })), "{hung:?}");
    assert!(asked.elapsed() < Duration::from_secs(7));
    signal("CONT");
    assert_eq!(lab.source.look(guest(1)).await.unwrap(), Copy::Running);

    signal("KILL");
    loop {
        if let HypervisorEvent::Disconnected(_) = next(&mut lab.source_events).await {
            break;
        }
    }
    let away = lab.source.look(guest(1)).await;
    assert!(matches!(away, Err(HypervisorError::Unreachable { .. })), "{away:?}");
    assert!(Command::new("libvirtd").args(["--listen", "-d"]).status().unwrap().success());
    expect(&mut lab.source_events, &HypervisorEvent::Connected).await;
    assert_eq!(lab.source.look(guest(1)).await.unwrap(), Copy::Running);
}
