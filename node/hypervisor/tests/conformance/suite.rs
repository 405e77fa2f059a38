//! What every implementation of `Hypervisor` must do, written over the trait alone.
//!
//! A [`Lab`] provides two hosts and a VM that runs on the first; each check below moves it, or
//! fails to, through [`Bridge`]s that stand in for the carriers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lifeboat_hypervisor::{
    Channel, Copy, Hypervisor, HypervisorError, HypervisorEvent, MigrationOrder, VmId,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc::UnboundedReceiver,
    task::JoinSet,
    time::timeout,
};

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// Two hosts without migrations under way, and a VM that runs on the source only.
#[async_trait::async_trait]
pub(crate) trait Lab: Send + Sync {
    /// The host that the VM runs on.
    fn source(&self) -> Arc<dyn Hypervisor>;
    /// The host that has nothing of it.
    fn destination(&self) -> Arc<dyn Hypervisor>;
    /// The VM.
    fn vm(&self) -> VmId;
    /// Where channels' sockets may be made.
    fn directory(&self) -> PathBuf;
    /// Proof from the guest itself that it never rebooted and lost nothing, on whichever host.
    async fn assert_intact(&self, host: &dyn Hypervisor);
}

/// Joins the source's channels to the destination's; closes them all when dropped.
struct Bridge {
    _carriers: JoinSet<()>,
}

impl Bridge {
    /// `open` says whether bytes pass; otherwise connections are taken and stay silent.
    fn build(source: &[Channel], destination: &[Channel], open: bool) -> Self {
        let mut tasks = JoinSet::new();
        for channel in source {
            let other = destination.iter().find(|other| other.name == channel.name);
            let into = other.expect("both ends have the same channels").path.clone();
            let listener = UnixListener::bind(&channel.path).expect("the directory is ours");
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((mut near, _)) = listener.accept().await {
                    let into = into.clone();
                    connections.spawn(async move {
                        if open {
                            let mut far = UnixStream::connect(into).await.expect("it listens");
                            tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                        } else {
                            std::future::pending::<()>().await;
                        }
                    });
                }
            });
        }
        Self { _carriers: tasks }
    }
}

/// Runs every check, each in a lab of its own.
pub(crate) async fn conforms<L: Lab>(make: impl AsyncFn() -> L) {
    a_vm_moves_and_waits_to_be_run(&make().await).await;
    an_aborted_move_leaves_everything_as_it_was(&make().await).await;
    a_move_into_nothing_leaves_the_guest_running(&make().await).await;
    what_is_not_there_is_not_there(&make().await).await;
    a_shut_off_vm_moves_by_its_definition(&make().await).await;
}

async fn a_vm_moves_and_waits_to_be_run(lab: &impl Lab) {
    let (source, destination, vm) = (lab.source(), lab.destination(), lab.vm());
    let (mut here, mut there) = (source.events(), destination.events());
    let free = destination.capacity().await.expect("it answers").memory_free;
    let described = source.vms().await.expect("it answers");
    let described = described.into_iter().find(|other| other.id == vm).expect("it is listed");
    assert_eq!(described.obstacles, Vec::<String>::new());

    let _bridge = begin(lab, true).await;
    expect(&mut here, &HypervisorEvent::GuestPaused(vm)).await;
    expect(&mut there, &HypervisorEvent::Arrived(vm)).await;
    expect(&mut here, &HypervisorEvent::SourceGone(vm)).await;
    expect(&mut here, &HypervisorEvent::JobEnded(vm, Ok(()))).await;
    assert_eq!(source.look(vm).await.expect("it answers"), Copy::MovedAway);
    assert_eq!(destination.look(vm).await.expect("it answers"), Copy::Paused);
    assert_eq!(source.progress(vm).await.expect("it answers"), None);

    destination.resume(vm).await.expect("it is complete");
    assert_eq!(destination.look(vm).await.expect("it answers"), Copy::Running);
    lab.assert_intact(&*destination).await;
    let arrived = destination.vms().await.expect("it answers");
    let arrived = arrived.into_iter().find(|other| other.id == vm).expect("it is listed");
    assert_eq!((&arrived.name, arrived.memory), (&described.name, described.memory));
    assert_eq!(arrived.policy, described.policy, "the policy travels");
    let left = destination.capacity().await.expect("it answers").memory_free;
    assert!(left < free, "{left} of {free}");

    let refused = destination.forget(vm).await;
    assert!(refused.is_err(), "a live copy is never forgotten");
    source.forget(vm).await.expect("it is shut off");
    assert_eq!(source.look(vm).await.expect("it answers"), Copy::Absent);
}

async fn an_aborted_move_leaves_everything_as_it_was(lab: &impl Lab) {
    let (source, destination, vm) = (lab.source(), lab.destination(), lab.vm());
    let mut here = source.events();
    let bridge = begin(lab, false).await;
    assert!(source.is_leaving(vm).await.expect("it answers"));
    assert!(source.progress(vm).await.expect("it answers").is_some());
    source.set_max_downtime(vm, 1000).await.expect("a migration is under way");
    source.abort(vm).await.expect("a migration is under way");
    assert!(ended(&mut here, vm).await.is_err());
    drop(bridge);
    assert_eq!(source.look(vm).await.expect("it answers"), Copy::Running);
    assert!(!source.is_leaving(vm).await.expect("it answers"));
    destination.discard(vm).await.expect("there is nothing to discard, or it goes");
    assert_eq!(destination.look(vm).await.expect("it answers"), Copy::Absent);
    lab.assert_intact(&*source).await;
}

async fn a_move_into_nothing_leaves_the_guest_running(lab: &impl Lab) {
    let (source, vm) = (lab.source(), lab.vm());
    let mut here = source.events();
    let bridge = begin(lab, false).await;
    source.pause(vm).await.expect("it runs");
    expect(&mut here, &HypervisorEvent::GuestPaused(vm)).await;
    assert_eq!(source.look(vm).await.expect("it answers"), Copy::Switching);
    drop(bridge);
    expect(&mut here, &HypervisorEvent::GuestResumed(vm)).await;
    assert!(ended(&mut here, vm).await.is_err());
    assert_eq!(source.look(vm).await.expect("it answers"), Copy::Running);
    lab.assert_intact(&*source).await;
}

async fn what_is_not_there_is_not_there(lab: &impl Lab) {
    let (destination, vm) = (lab.destination(), lab.vm());
    assert_eq!(destination.look(vm).await.expect("it answers"), Copy::Absent);
    let missing = destination.resume(vm).await.expect_err("there is none");
    assert!(matches!(missing, HypervisorError::NoSuchVm(other) if other == vm), "{missing}");
    assert_eq!(destination.progress(vm).await.expect("it answers"), None);
    assert!(!destination.is_leaving(vm).await.expect("it answers"));
    destination.discard(vm).await.expect("nothing is discarded twice");
    destination.forget(vm).await.expect("nothing is forgotten twice");
}

async fn a_shut_off_vm_moves_by_its_definition(lab: &impl Lab) {
    let (source, destination, vm) = (lab.source(), lab.destination(), lab.vm());
    assert!(source.definition(vm).await.is_err(), "it runs");
    let (mut here, bridge) = (source.events(), begin(lab, true).await);
    assert_eq!(ended(&mut here, vm).await, Ok(()));
    drop(bridge);
    let definition = source.definition(vm).await.expect("it is shut off");
    assert!(destination.define(&definition).await.is_err(), "a live copy is never redefined");
    destination.discard(vm).await.expect("it is there");
    destination.define(&definition).await.expect("nothing is there");
    assert_eq!(destination.look(vm).await.expect("it answers"), Copy::ShutOff);
    assert!(destination.define("nonsense").await.is_err());
    source.discard(vm).await.expect("it is there");
    assert_eq!(source.look(vm).await.expect("it answers"), Copy::Absent);
}

async fn begin(lab: &impl Lab, open: bool) -> Bridge {
    let (vm, directory) = (lab.vm(), lab.directory());
    let near = lab.source().source_channels(&directory, vm, false);
    let far = lab.destination().destination_channels(&directory, vm, false);
    lab.destination().prepare_arrival(vm, &far).await.expect("it is ready");
    let bridge = Bridge::build(&near, &far, open);
    let order = MigrationOrder {
        vm,
        channels: near,
        max_downtime_ms: 300,
        auto_converge: true,
        post_copy: false,
        copy_storage: false,
        direct_uri: None,
        direct_rate: None,
    };
    lab.source().begin(order).await.expect("it is accepted");
    bridge
}

async fn expect(events: &mut UnboundedReceiver<HypervisorEvent>, wanted: &HypervisorEvent) {
    let find = async { while events.recv().await.expect("events go on") != *wanted {} };
    assert!(timeout(DEADLINE, find).await.is_ok(), "no {wanted:?} within the deadline");
}

async fn ended(events: &mut UnboundedReceiver<HypervisorEvent>, vm: VmId) -> Result<(), String> {
    let find = async {
        loop {
            match events.recv().await.expect("events go on") {
                HypervisorEvent::JobEnded(other, result) if other == vm => return result,
                _ => {}
            }
        }
    };
    timeout(DEADLINE, find).await.expect("the job ends within the deadline")
}
