//! While the journal here takes no writes: it says so, or has become silent.
//!
//! Intent is written before action, so nothing can begin. What has not begun is given back at once: its
//! room at the destination, its part of the link, its place among the arrivals; and nothing new is
//! asked for or taken until the disk has room again. What has begun goes on.
//!
//! Invariant: what is given back was certainly not begun. Its order still waits in this node.

use alloc::{format, string::String};
use core::time::Duration;

use super::Node;
use crate::{
    departures::Phase,
    effects::Effects,
    ids::MoveId,
    journal::Key,
    message::Direct,
    output::{NoticeKind, Output},
    time::Instant,
};

/// Time without any progress after which a journal that owes an answer counts as one that cannot be
/// written: far longer than a busy disk takes, far shorter than a start may take.
const HANGS_AFTER: Duration = Duration::from_secs(5);
/// Pause between two steps of this node after which it has stood still itself: twice its longest sleep.
/// The journal's answer may be waiting with everything else.
const STOOD_STILL: Duration = Duration::from_secs(2);

impl Node {
    /// Concludes from its silence that the journal takes no writes.
    pub(super) fn watch_journal(&mut self, now: Instant, fx: &mut Effects) {
        if now.since(self.ticked_at) > STOOD_STILL {
            self.writes_since = now;
        }
        let waits = self.durable < self.persists && self.journal_failed.is_none();
        if waits && now.since(self.writes_since) > HANGS_AFTER {
            let reason =
                format!("it has not taken what was written for {} s", HANGS_AFTER.as_secs());
            let text = format!("the journal cannot be written, still waiting: {reason}");
            fx.notice(NoticeKind::Alarm, text);
            self.journal_told(now, Err(reason), fx);
            self.journal_hangs = true;
        }
    }

    /// Something more has become durable.
    pub(super) fn journal_progresses(&mut self, now: Instant, fx: &mut Effects) {
        self.writes_since = now;
        if self.journal_hangs {
            fx.notice(NoticeKind::Member, "the journal is written again".into());
            self.journal_told(now, Ok(()), fx);
        }
    }

    /// The journal takes writes again, or takes none for now.
    pub(super) fn journal_told(
        &mut self,
        now: Instant,
        taken: Result<(), String>,
        fx: &mut Effects,
    ) {
        self.journal_failed = taken.err();
        self.journal_hangs = false;
        self.writes_since = now;
        fx.urgent();
        if let Some(reason) = self.unwritable() {
            self.give_back_departures(fx);
            self.refuse_arrivals(&reason, fx);
        }
    }

    /// Why nothing can begin here, if the journal is the reason.
    pub(super) fn unwritable(&self) -> Option<String> {
        let reason = self.journal_failed.as_ref()?;
        let me = self.directory.name(self.me);
        Some(format!("the journal of {me} cannot be written: {reason}"))
    }

    fn give_back_departures(&mut self, fx: &mut Effects) {
        for vm in self.departures.vms() {
            let Some(departure) = self.departures.get(vm) else { continue };
            let (id, to, begun) = (departure.id, departure.to, departure.begun());
            let is_open = begun || departure.phase == Phase::Reserved;
            let ordered = matches!(departure.phase, Phase::Beginning { .. }) && self.withdraw(id);
            if ordered {
                fx.erase(&Key::Departure(id));
            } else if begun {
                continue;
            }
            if is_open {
                fx.out(Output::CloseMove { id });
            }
            fx.send(to, Direct::SourceKept { id });
            self.departures.remove(vm);
        }
    }

    fn refuse_arrivals(&mut self, reason: &str, fx: &mut Effects) {
        for vm in self.arrivals.vms() {
            let Some(id) = self.arrivals.get(vm).map(|arrival| arrival.id) else { continue };
            if self.prepares_later(id) {
                fx.drop_preparation(id);
                fx.erase(&Key::Arrival(id));
                fx.send(id.source, Direct::Reserved { id, answer: Err(reason.into()) });
                self.arrivals.remove(vm);
            }
        }
    }

    /// Whether the order to make ready for an arrival still waits for the journal.
    fn prepares_later(&self, arrival: MoveId) -> bool {
        self.held.iter().any(
            |(_, output)| matches!(output, Output::PrepareArrival { id, .. } if *id == arrival),
        )
    }
}
