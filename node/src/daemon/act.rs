//! Doing what the protocol wants done.
//!
//! Everything that concerns one VM is done in the order in which it was asked for
//! ([`super::queues`]). Nothing here decides anything: what came of it goes back to the protocol as an
//! input.

use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc};

use lifeboat_carrier::{AcceptMove, Compress, GuestState, OpenMove, SetMove};
use lifeboat_hypervisor::{Channel, Hypervisor, MigrationOrder};
use lifeboat_protocol::{
    Input, MoveId, VmId,
    input::{ArrivalEvent, DepartureEvent},
    output::{Escalation, Guest},
    vm::{RunState, Vm},
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::{carrier::CarrierLink, convert, queues::Queues};

/// Where a node can be reached, and by which key it is known.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) peer: String,
    pub(super) addresses: Vec<SocketAddr>,
}

/// One thing to do for a VM.
#[derive(Debug)]
pub(super) enum Task {
    Look,
    ReadDefinition(MoveId),
    Open { id: MoveId, to: Endpoint, link: String, streams: u16 },
    Begin { id: MoveId, vm: Box<Vm>, to: Endpoint, rate: u64, max_downtime_ms: u64 },
    Weight(MoveId, u16),
    Guest(MoveId, Guest),
    Escalate(Escalation),
    Abort(MoveId),
    Destroy,
    ResumeSource,
    Forget,
    Restore,
    Prepare { id: MoveId, vm: Box<Vm>, definition: Option<String>, from: Endpoint },
    Resume(MoveId),
    Discard(MoveId),
    Close(MoveId),
}

/// What the tasks work with.
pub(super) struct Means {
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    pub(super) carrier: CarrierLink,
    pub(super) moves_dir: PathBuf,
    pub(super) copy_storage: bool,
    pub(super) direct: bool,
    pub(super) inputs: UnboundedSender<Input>,
}

/// Those who do it: each VM's tasks one after the other.
pub(super) fn actor(means: Means) -> Queues<Task> {
    let means = Arc::new(means);
    Queues::new(move |vm, task| {
        let means = Arc::clone(&means);
        async move { means.perform(vm, task).await }
    })
}

impl Means {
    fn tell(&self, input: Input) {
        // The daemon's loop has ended if nobody listens.
        let _ = self.inputs.send(input);
    }

    async fn perform(&self, vm: VmId, task: Task) {
        let there = convert::hypervisor_id(vm);
        match task {
            Task::Look => self.look(vm).await,
            Task::ReadDefinition(id) => {
                let definition = self.hypervisor.definition(there).await;
                let event = DepartureEvent::Definition(definition.map_err(|e| e.to_string()));
                self.tell(Input::Departure(id, event));
            }
            Task::Open { id, to, link, streams } => {
                if let Err(reason) = self.open(id, to, link, streams).await {
                    self.tell(Input::Departure(id, DepartureEvent::OpenFailed(reason)));
                }
            }
            Task::Begin { id, vm, to, rate, max_downtime_ms } => {
                let begun = self.begin(id, *vm, &to, rate, max_downtime_ms).await;
                self.tell(Input::Departure(id, DepartureEvent::Begun(begun)));
            }
            Task::Weight(id, weight) => {
                let weight = Some(u32::from(weight));
                self.set_move(SetMove { move_id: id.to_string(), weight, ..SetMove::default() })
                    .await;
            }
            Task::Guest(id, guest) => {
                let guest = Some(match guest {
                    Guest::Runs => GuestState::Runs,
                    Guest::MayPause => GuestState::MayPause,
                    Guest::Paused => GuestState::Paused,
                });
                let set = SetMove { move_id: id.to_string(), guest, ..SetMove::default() };
                self.set_move(set).await;
            }
            Task::Escalate(step) => {
                let what = match step {
                    Escalation::Downtime(ms) => self.hypervisor.set_max_downtime(there, ms).await,
                    Escalation::PostCopy => self.hypervisor.start_post_copy(there).await,
                    Escalation::StopAndCopy => self.hypervisor.pause(there).await,
                };
                logged("escalate", vm, async { what }).await;
            }
            Task::Abort(id) => {
                logged("abort the migration of", vm, self.hypervisor.abort(there)).await;
                self.close(id).await;
            }
            Task::Destroy => logged("destroy", vm, self.hypervisor.discard(there)).await,
            Task::ResumeSource => logged("resume", vm, self.hypervisor.resume(there)).await,
            Task::Forget => logged("forget", vm, self.hypervisor.forget(there)).await,
            Task::Restore => logged("restore", vm, self.hypervisor.restore(there)).await,
            Task::Prepare { id, vm, definition, from } => {
                let prepared = self.prepare(id, &vm, definition, from).await;
                self.tell(Input::Arrival(id, ArrivalEvent::Prepared(prepared)));
            }
            Task::Resume(id) => {
                let resumed = self.hypervisor.resume(there).await.map_err(|e| e.to_string());
                self.tell(Input::Arrival(id, ArrivalEvent::Resumed(resumed)));
            }
            Task::Discard(id) => {
                self.close(id).await;
                logged("discard", vm, self.hypervisor.discard(there)).await;
            }
            Task::Close(id) => self.close(id).await,
        }
    }

    async fn look(&self, vm: VmId) {
        let there = convert::hypervisor_id(vm);
        // Without an answer nothing is said: the protocol asks again.
        let Ok(copy) = self.hypervisor.look(there).await else { return };
        let Ok(outgoing) = self.hypervisor.is_leaving(there).await else { return };
        self.tell(Input::Looked { vm, copy: convert::copy(copy), outgoing });
    }

    async fn open(
        &self,
        id: MoveId,
        to: Endpoint,
        link: String,
        streams: u16,
    ) -> Result<(), String> {
        if self.direct {
            return Ok(());
        }
        let channels = self.channels_out(id.vm);
        let order = OpenMove {
            move_id: id.to_string(),
            link,
            peer_id: to.peer,
            addresses: to.addresses,
            streams,
            channels: channels.into_iter().map(carried).collect(),
            weight: 100,
            compress: Compress::Auto,
        };
        let carrier = self.carrier.client().map_err(|error| error.to_string())?;
        carrier.open_move(order).await.map_err(|error| error.to_string())
    }

    fn channels_out(&self, vm: VmId) -> Vec<Channel> {
        let there = convert::hypervisor_id(vm);
        self.hypervisor.source_channels(&self.moves_dir, there, self.copy_storage)
    }

    async fn begin(
        &self,
        id: MoveId,
        vm: Vm,
        to: &Endpoint,
        rate: u64,
        max_downtime_ms: u64,
    ) -> Result<(), String> {
        let direct = self.direct.then(|| to.addresses.first().map(SocketAddr::ip)).flatten();
        let order = MigrationOrder {
            vm: convert::hypervisor_id(id.vm),
            channels: self.channels_out(id.vm),
            max_downtime_ms,
            auto_converge: vm.policy.auto_converge && vm.state == RunState::Running,
            post_copy: vm.policy.post_copy,
            copy_storage: self.copy_storage && vm.disk > 0,
            direct_uri: direct.map(|address| format!("qemu+tcp://{address}/system")),
            direct_rate: direct.map(|_| rate),
        };
        self.hypervisor.begin(order).await.map_err(|error| error.to_string())
    }

    async fn prepare(
        &self,
        id: MoveId,
        vm: &Vm,
        definition: Option<String>,
        from: Endpoint,
    ) -> Result<(), String> {
        if let Some(definition) = definition {
            return self.hypervisor.define(&definition).await.map_err(|error| error.to_string());
        }
        let there = convert::hypervisor_id(id.vm);
        let copy_storage = self.copy_storage && vm.disk > 0;
        let channels = self.hypervisor.destination_channels(&self.moves_dir, there, copy_storage);
        let prepared = self.hypervisor.prepare_arrival(there, &channels).await;
        prepared.map_err(|error| error.to_string())?;
        if self.direct {
            return Ok(());
        }
        let accept = AcceptMove {
            move_id: id.to_string(),
            from_peer: from.peer,
            channels: channels.into_iter().map(carried).collect(),
        };
        let carrier = self.carrier.client().map_err(|error| error.to_string())?;
        carrier.accept_move(accept).await.map_err(|error| error.to_string())
    }

    async fn set_move(&self, order: SetMove) {
        if let Ok(carrier) = self.carrier.client() {
            // A move that has ended meanwhile needs nothing set.
            let _ = carrier.set_move(order).await;
        }
    }

    async fn close(&self, id: MoveId) {
        if let Ok(carrier) = self.carrier.client() {
            // A carrier that is gone has closed it.
            let _ = carrier.close_move(&id.to_string()).await;
        }
    }
}

fn carried(channel: Channel) -> lifeboat_carrier::Channel {
    lifeboat_carrier::Channel { name: channel.name, path: channel.path }
}

async fn logged<E: std::fmt::Display>(
    what: &str,
    vm: VmId,
    done: impl Future<Output = Result<(), E>>,
) {
    if let Err(error) = done.await {
        warn!(%vm, %error, "could not {what} it");
    }
}
