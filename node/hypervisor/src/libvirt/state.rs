//! What a libvirt state means for lifeboat.

use virt::sys;

use crate::{Copy, RunState};

/// Which end of a migration a domain is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// Whether [`copy_of`] needs to know the side of a domain in this state.
pub(super) fn side_matters(state: u32, reason: u32) -> bool {
    match state {
        sys::VIR_DOMAIN_PAUSED => matches!(
            reason,
            sys::VIR_DOMAIN_PAUSED_MIGRATION
                | sys::VIR_DOMAIN_PAUSED_POSTCOPY
                | sys::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED
        ),
        sys::VIR_DOMAIN_SHUTDOWN => true,
        _ => false,
    }
}

/// What a host has of a domain in this state.
///
/// A state that this driver does not know counts as running: whoever believes that nothing runs
/// may start a second copy. A destination whose post-copy broke off stays `Incoming`: it lacks
/// pages and cannot run. Only a source is ever shut off as migrated, and only once its migration
/// has completed; a libvirtd that was restarted has forgotten why a domain is shut off.
pub(super) fn copy_of(state: u32, reason: u32, side: Side) -> Copy {
    match state {
        sys::VIR_DOMAIN_SHUTOFF if reason == sys::VIR_DOMAIN_SHUTOFF_MIGRATED => Copy::MovedAway,
        sys::VIR_DOMAIN_SHUTOFF => Copy::ShutOff,
        sys::VIR_DOMAIN_CRASHED => Copy::Paused,
        sys::VIR_DOMAIN_PAUSED => match (reason, side) {
            (sys::VIR_DOMAIN_PAUSED_STARTING_UP, _) => Copy::Incoming,
            _ if !side_matters(state, reason) => Copy::Paused,
            (_, Side::Source) => Copy::Switching,
            (_, Side::Destination) => Copy::Incoming,
        },
        // An arrival that failed is being torn down; it never ran.
        sys::VIR_DOMAIN_SHUTDOWN if side == Side::Destination => Copy::Incoming,
        _ => Copy::Running,
    }
}

/// Whether a domain in this state executes.
pub(super) fn run_state_of(state: u32) -> RunState {
    match state {
        sys::VIR_DOMAIN_SHUTOFF => RunState::ShutOff,
        sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_CRASHED => RunState::Paused,
        _ => RunState::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_move_has_its_meaning() {
        for (state, reason, side, expect) in [
            // The source, from start to end.
            (1, 1, Side::Source, Copy::Running),
            (3, 2, Side::Source, Copy::Switching),
            (5, 4, Side::Source, Copy::MovedAway),
            // The source after a failure: cancelled early, while paused, Finish's reply lost.
            (1, 5, Side::Source, Copy::Running),
            (1, 6, Side::Source, Copy::Running),
            // The destination, from start to end.
            (3, 11, Side::Destination, Copy::Incoming),
            (3, 2, Side::Destination, Copy::Incoming),
            (3, 1, Side::Destination, Copy::Paused),
            // Shut off for another reason: unknown, by its guest, destroyed, crashed, failed arrival.
            (5, 0, Side::Source, Copy::ShutOff),
            (5, 1, Side::Source, Copy::ShutOff),
            (5, 2, Side::Source, Copy::ShutOff),
            (5, 3, Side::Source, Copy::ShutOff),
            (5, 6, Side::Destination, Copy::ShutOff),
            // Post-copy: under way, and broken off.
            (3, 12, Side::Source, Copy::Switching),
            (3, 13, Side::Source, Copy::Switching),
            (3, 13, Side::Destination, Copy::Incoming),
            // Torn down after a failure, before it is shut off.
            (4, 1, Side::Destination, Copy::Incoming),
            // No move at all: operator's pause, I/O error, crash kept, wake-up possible.
            (3, 1, Side::Source, Copy::Paused),
            (3, 5, Side::Source, Copy::Paused),
            (6, 1, Side::Source, Copy::Paused),
            (7, 0, Side::Source, Copy::Running),
            (4, 1, Side::Source, Copy::Running),
            (0, 0, Side::Source, Copy::Running),
            (99, 0, Side::Source, Copy::Running),
        ] {
            assert_eq!(copy_of(state, reason, side), expect, "{state}/{reason} at {side:?}");
        }
    }
}
