//! Watching the hypervisor and the host, and telling the protocol.

use std::{sync::Arc, time::Duration};

use lifeboat_hypervisor::{Hypervisor, HypervisorEvent};
use lifeboat_protocol::{Input, input::HostSample, units::BytesPerSec};
use tokio::sync::mpsc::UnboundedSender;

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
    loop {
        let mut told = look(&*hypervisor, &config, &mut figures, &inputs).await;
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
    let copy_storage = config.hypervisor.copy_storage;
    let vms = vms.into_iter().map(|vm| convert::vm(vm, copy_storage)).collect();
    inputs.send(Input::Vms(vms)).is_ok() && inputs.send(Input::Host(sample)).is_ok()
}
