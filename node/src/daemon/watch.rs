//! Watching the hypervisor and the host, and telling the protocol.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lifeboat_hypervisor::{Hypervisor, HypervisorEvent, Vm, VmId};
use lifeboat_protocol::{Input, input::HostSample, units::BytesPerSec};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::convert;
use crate::{config::Config, host_figures::HostFigures};

/// How often everything is looked at although nothing was reported.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long news are gathered before the list is read: one switchover brings several.
const GATHER: Duration = Duration::from_millis(60);

/// Reads the hypervisor's list after every event and now and then, for ever.
pub(super) async fn inventory(
    hypervisor: Arc<dyn Hypervisor>,
    config: Arc<Config>,
    inputs: UnboundedSender<Input>,
    own_events: UnboundedSender<HypervisorEvent>,
) {
    let mut events = hypervisor.events();
    let mut figures = HostFigures::new(config.host.interfaces.clone());
    let mut without_effect = WithoutEffect::default();
    loop {
        let mut told =
            look(&*hypervisor, &config, &mut figures, &mut without_effect, &inputs).await;
        let pause = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                event = events.recv() => {
                    let Some(event) = event else { return };
                    let quiet = matches!(event, HypervisorEvent::GuestPaused(_));
                    told &= own_events.send(event).is_ok();
                    if !told {
                        return;
                    }
                    if !quiet {
                        pause.as_mut().reset(tokio::time::Instant::now() + GATHER);
                    }
                }
            }
        }
    }
}

async fn look(
    hypervisor: &dyn Hypervisor,
    config: &Config,
    figures: &mut HostFigures,
    without_effect: &mut WithoutEffect,
    inputs: &UnboundedSender<Input>,
) -> bool {
    // The figures are read after the list, so that they hold everything that is listed.
    let listed = async {
        let vms = hypervisor.vms().await?;
        Ok((hypervisor.capacity().await?, vms))
    };
    let found: Result<_, lifeboat_hypervisor::HypervisorError> = listed.await;
    let (capacity, vms) = match found {
        Ok(found) => found,
        Err(error) => return inputs.send(Input::HypervisorDown(error.to_string())).is_ok(),
    };
    let figures = figures.sample();
    let reserve = config.host.memory_reserve.0;
    let speed = config.host.nic.or(figures.link_speed);
    let sample = HostSample {
        memory_total: capacity.memory_total,
        memory_free: capacity.memory_free.saturating_sub(reserve),
        processors: capacity.processors,
        cpu_free_permille: 1000 - u16::from(figures.cpu_percent.min(100)) * 10,
        runtime_left_ms: config
            .host
            .runtime
            .map(|runtime| u64::try_from(runtime.as_millis()).unwrap_or(u64::MAX)),
        nic_sent: BytesPerSec(figures.sent.bytes_per_sec()),
        nic_received: BytesPerSec(figures.received.bytes_per_sec()),
        nic_speed: BytesPerSec(speed.map_or(0, |speed| speed.bytes_per_sec())),
    };
    for vm in without_effect.news(&vms) {
        warn!(
            vm,
            "post-copy=\"yes\" in its policy has no effect: it is not available, since a VM must \
             arrive paused; max-downtime-escalated-ms and stop-and-copy say what may be done instead"
        );
    }
    let copy_storage = config.hypervisor.copy_storage;
    let vms = vms.into_iter().map(|vm| convert::vm(vm, copy_storage)).collect();
    inputs.send(Input::Vms(vms)).is_ok() && inputs.send(Input::Host(sample)).is_ok()
}

/// VMs of which it was said that their policy asks for what cannot be done.
#[derive(Default)]
struct WithoutEffect(BTreeSet<VmId>);

impl WithoutEffect {
    /// The names of those of which it has not been said yet.
    fn news<'a>(&mut self, vms: &'a [Vm]) -> Vec<&'a str> {
        // A VM that comes back, or whose policy was mended and spoilt again, is news.
        let now: BTreeSet<VmId> =
            vms.iter().filter(|vm| vm.policy.post_copy).map(|vm| vm.id).collect();
        let before = std::mem::replace(&mut self.0, now);
        vms.iter()
            .filter(|vm| self.0.contains(&vm.id) && !before.contains(&vm.id))
            .map(|vm| vm.name.as_str())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_hypervisor::{Policy, RunState};

    use super::*;

    fn vm(id: u8, post_copy: bool) -> Vm {
        Vm {
            id: VmId([id; 16]),
            name: format!("vm-{id}"),
            state: RunState::Running,
            memory: 1 << 20,
            processors: 1,
            local_disk: 0,
            dirty_rate: None,
            working_set: None,
            policy: Policy { post_copy, ..Policy::default() },
            obstacles: Vec::new(),
        }
    }

    #[test]
    fn post_copy_is_named_once_and_never_handed_on() {
        let mut without_effect = WithoutEffect::default();
        let both = [vm(1, false), vm(2, true)];
        assert_eq!(without_effect.news(&both), ["vm-2"]);
        assert!(without_effect.news(&both).is_empty());
        assert_eq!(without_effect.news(&[vm(1, true), vm(2, true)]), ["vm-1"]);
        assert!(!convert::vm(vm(2, true), false).policy.post_copy);
    }
}
