//! What is going to happen, in the order in which it will.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    rc::Rc,
};

use lifeboat_protocol::{Input, journal::Change};

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message reaches a host.
    Deliver { from: usize, to: usize, bytes: Rc<[u8]> },
    /// A daemon's deadline.
    Wake { host: usize },
    /// A write of a daemon's life is on disk.
    Durable { host: usize, life: u64, sequence: u64, changes: Vec<Change> },
    /// Something on the host reports to whichever daemon runs by then.
    Report { host: usize, input: Input },
    /// Something answers a question of one life of the daemon.
    Answer { host: usize, life: u64, input: Input },
    /// A frozen daemon takes in what waited.
    Thaw { host: usize },
    /// The hypervisor tells its list after a change.
    Lists { host: usize },
    /// The fluids flow for a step.
    Flow,
    /// Carriers tell what they measured.
    Sample,
    /// Hosts tell their figures.
    Figures,
    /// The story goes on: the scenario's events, by number.
    Story(Story),
}

/// A point of the scenario's story.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Story {
    /// A daemon starts for the first time.
    Start(usize),
    /// A host's power ends.
    PowerEnds(usize),
    /// The change of a link: (link, change).
    Change(usize, usize),
    /// An evacuation is asked for.
    Evacuate(usize),
    /// An evacuation is cancelled.
    Cancel(usize),
    /// A fault begins.
    Fault(usize),
    /// A hypervisor daemon comes back.
    HypervisorBack(usize),
    /// From now on all must go well.
    Calm,
}

#[derive(Debug)]
struct Queued {
    at: u64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The heap of all events to come.
#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
}

impl Events {
    /// Adds an event; of two at the same time the one added first happens first.
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Queued { at, sequence: self.sequence, event }));
    }

    /// The next event and its time, if it is not later than `end`.
    pub(crate) fn pop_until(&mut self, end: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.0.at > end {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }
}
