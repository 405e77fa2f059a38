//! The two ends of the commit: the source says it, and the destination goes by it.
//!
//! [`crate::departures`] and [`crate::arrivals`] know their own end of one move. What speaks against it
//! from outside is seen here, at the last moment before it counts.
//!
//! Invariants:
//! - *the commit vouches for itself*: it names the newest heartbeat of the destination that the source
//!   had heard, and counts only while the source cannot have taken the destination for dead since. So a
//!   commit that was on its way when a person declared the destination dead at the source is void;
//! - a VM that a third host claims ([`super::claims`]) is neither given away nor resumed.

use alloc::{format, string::String};
use core::time::Duration;

use super::Node;
use crate::{
    arrivals::Arrival,
    effects::Effects,
    message::{Direct, Echo},
    time::Instant,
};

/// Time in which a restarted daemon hears all that are up: connections have to be made first.
const HEARD_WITHIN: Duration = Duration::from_millis(1500);
/// Time in which those have told what they run, as a rule: it waits for them no longer.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

impl Node {
    /// Says the commits of this step, to destinations that are heard: others could not go by them.
    pub(super) fn say_commits(&mut self, now: Instant, fx: &mut Effects) {
        for commit in core::mem::take(&mut fx.commits) {
            let Some(heard) = self.membership.echo_for(now, commit.to) else { continue };
            if commit.id.incarnation != self.incarnation && !self.has_heard_all(now) {
                continue;
            }
            if self.third_running(commit.id.vm, commit.to).is_some() {
                continue;
            }
            let (id, paused_ms, resumes) = (commit.id, commit.paused_ms, commit.resumes);
            fx.send(commit.to, Direct::SourceGone { id, paused_ms, resumes, heard });
        }
    }

    /// Whether this life of the daemon has been told what the others run: meanwhile a person may have
    /// started a VM cold that a former life gave away.
    fn has_heard_all(&self, now: Instant) -> bool {
        let since = now.since(self.started_at);
        let told = |node| self.inventories.get(&node).is_some_and(|one| !one.is_untold());
        self.is_large()
            || since >= TOLD_WITHIN
            || since >= HEARD_WITHIN && self.membership.up(now).all(|(node, _)| told(node))
    }

    /// Whether nobody can have taken this node for dead since a commit was said that names the
    /// heartbeat `heard` of it.
    pub(super) fn vouches(&self, now: Instant, heard: &Echo) -> bool {
        (heard.node, heard.incarnation) == (self.me, self.incarnation)
            && self.membership.is_vouched(now, heard.number)
    }

    /// Runs what is complete and given to this host, if nothing speaks against it.
    pub(super) fn resume_ready(&mut self, now: Instant, fx: &mut Effects) {
        for vm in self.arrivals.vms() {
            let Some(arrival) = self.arrivals.get(vm).filter(|one| one.is_ready()) else {
                continue;
            };
            if self.why_not_resumed(now, arrival).is_some() {
                continue;
            }
            if let Some(arrival) = self.arrivals.get_mut(vm) {
                arrival.run(now, fx);
            }
        }
    }

    /// Why a complete copy that was given to this host is not resumed, if so.
    pub(super) fn why_not_resumed(&self, now: Instant, arrival: &Arrival) -> Option<String> {
        let source = arrival.id.source;
        if let Some(node) = self.third_running(arrival.id.vm, source) {
            let node = self.directory.name(node);
            return Some(format!("{node} says that it runs it: end one of the two by hand"));
        }
        let up = self.membership.is_up(now, source);
        arrival.wants_confirmation(now, up).then(|| {
            format!(
                "the daemon here was restarted and waits for {} to say again that its copy is gone",
                self.directory.name(source)
            )
        })
    }
}
