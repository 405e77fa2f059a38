//! What libvirt's events mean for lifeboat, and how they reach whoever listens.

use std::sync::Mutex;

use tokio::sync::mpsc;
use virt::sys;

use crate::{HypervisorEvent, VmId};

/// What this host was doing with a domain when an event of it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Part {
    /// It is being sent away from here, and its process is not known to have exited.
    pub(super) outgoing: bool,
    /// It was being sent away from here, and its process has exited.
    pub(super) exited: bool,
    /// It is arriving here.
    pub(super) incoming: bool,
}

/// What a lifecycle event of libvirt means beyond "look again", which every one of them means.
pub(super) fn meaning(vm: VmId, event: u32, detail: u32, part: Part) -> Option<HypervisorEvent> {
    match (event, detail) {
        (sys::VIR_DOMAIN_EVENT_SUSPENDED, sys::VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
            if part.incoming =>
        {
            Some(HypervisorEvent::Arrived(vm))
        }
        (sys::VIR_DOMAIN_EVENT_SUSPENDED, sys::VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED)
            if part.outgoing =>
        {
            Some(HypervisorEvent::GuestPaused(vm))
        }
        (sys::VIR_DOMAIN_EVENT_RESUMED, _) if part.outgoing => {
            Some(HypervisorEvent::GuestResumed(vm))
        }
        _ => None,
    }
}

/// Whether a lifecycle event tells of a VM that begins to arrive here.
pub(super) fn begins_to_arrive(event: u32, detail: u32) -> bool {
    (event, detail) == (sys::VIR_DOMAIN_EVENT_STARTED, sys::VIR_DOMAIN_EVENT_STARTED_MIGRATED)
}

/// Everyone who listens to a driver's events.
#[derive(Default)]
pub(super) struct Subscribers(Mutex<Vec<mpsc::UnboundedSender<HypervisorEvent>>>);

impl Subscribers {
    /// A stream of what is published from now on.
    pub(super) fn subscribe(&self) -> mpsc::UnboundedReceiver<HypervisorEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().expect("nothing panics while it holds this").push(sender);
        receiver
    }

    /// Sends to all; who no longer listens is forgotten.
    pub(super) fn publish(&self, event: &HypervisorEvent) {
        tracing::debug!(?event, "libvirt");
        self.0
            .lock()
            .expect("nothing panics while it holds this")
            .retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: VmId = VmId([7; 16]);
    const SOURCE: Part = Part { outgoing: true, exited: false, incoming: false };
    const DESTINATION: Part = Part { outgoing: false, exited: false, incoming: true };
    const BYSTANDER: Part = Part { outgoing: false, exited: false, incoming: false };

    #[test]
    fn lifecycle_events_speak_of_a_move_only_on_its_two_ends() {
        for (event, detail, part, expect) in [
            (3, 1, SOURCE, Some(HypervisorEvent::GuestPaused(VM))),
            (4, 0, SOURCE, Some(HypervisorEvent::GuestResumed(VM))),
            (4, 1, SOURCE, Some(HypervisorEvent::GuestResumed(VM))),
            (3, 0, DESTINATION, Some(HypervisorEvent::Arrived(VM))),
            (2, 1, DESTINATION, None),
            (4, 0, DESTINATION, None),
            (3, 0, SOURCE, None),
            (3, 0, BYSTANDER, None),
            (4, 0, BYSTANDER, None),
            (5, 3, SOURCE, None),
        ] {
            assert_eq!(meaning(VM, event, detail, part), expect, "{event}/{detail} {part:?}");
        }
    }

    #[test]
    fn who_no_longer_listens_is_forgotten() {
        let subscribers = Subscribers::default();
        drop(subscribers.subscribe());
        let mut kept = subscribers.subscribe();
        subscribers.publish(&HypervisorEvent::Connected);
        assert_eq!(kept.try_recv(), Ok(HypervisorEvent::Connected));
        assert_eq!(subscribers.0.lock().unwrap().len(), 1);
    }
}
