//! How much may go wrong with one handover.

/// What may happen, each of it at any moment.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Jumps of time by [`super::host::PAUSE`], after each of which every daemon wakes and
    /// heartbeats pass. Timers run out only in these.
    pub pauses: u8,
    /// Jumps of time by [`super::host::LONG_PAUSE`], longer than any timer of a handover.
    pub long_pauses: u8,
    /// Daemons killed, in all. Each may start again, with its journal.
    pub crashes: u8,
    /// Hosts that lose power, in all, and never come back.
    pub deaths: u8,
    /// Times that the carriers give the migration up, in all.
    pub breaks: u8,
    /// Times that the hypervisor's daemon forgets a migration that is under way, in all.
    pub lost_jobs: u8,
    /// Times that the network is cut for heartbeats or healed, in all. Messages between two need no
    /// cut to be lost.
    pub cuts: u8,
    /// Times that a person declares the destination dead at the source and starts the VM cold on a third
    /// host, in all.
    pub cold_starts: u8,
    /// How often one message may arrive and change something: 1, and more for repeats.
    pub arrivals: u8,
    /// Whether a hypervisor's answer may be as old as the question. If not, it is of the moment in
    /// which it arrives.
    pub stale_looks: bool,
}

/// What cannot be undone and is used up as it happens.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Budget {
    pub(super) pauses: u8,
    pub(super) long_pauses: u8,
    pub(super) crashes: u8,
    pub(super) deaths: u8,
    pub(super) breaks: u8,
    pub(super) lost_jobs: u8,
    pub(super) cuts: u8,
    pub(super) cold_starts: u8,
}

impl From<Bounds> for Budget {
    fn from(bounds: Bounds) -> Self {
        let Bounds { pauses, long_pauses, crashes, deaths, breaks, lost_jobs, cuts, .. } = bounds;
        let cold_starts = bounds.cold_starts;
        Self { pauses, long_pauses, crashes, deaths, breaks, lost_jobs, cuts, cold_starts }
    }
}
