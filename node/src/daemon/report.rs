//! What became of an evacuation: which VMs arrived, which are still there, and how well that went.

use std::collections::BTreeSet;

use lifeboat_protocol::{
    evacuation::State,
    message::VmState,
    units::BytesPerSec,
    view::{EvacuationView, LinkView, VmView},
    vm::RunState,
};

use super::{
    Daemon, clock,
    infos::{arrived, late_info, link_info, milliseconds, vm_info},
    measure,
};
use crate::api::{Arrived, DoubleInfo, MovedBy, Report, VmInfo};

impl Daemon {
    pub(super) fn report(&self, id: Option<&str>) -> Result<Report, String> {
        let now = clock::now();
        let views = self.node.evacuations_view(now);
        let all = views.clone();
        let view = match id {
            Some(id) => {
                views.into_iter().find(|view| view.id.to_string() == id).ok_or_else(|| {
                    format!("there is no evacuation {id}; `lifeboat status --all` lists them")
                })?
            }
            None => latest(views).ok_or("no evacuation has been started yet")?,
        };
        let arrived: Vec<Arrived> =
            self.node.outcomes_view(view.id).into_iter().map(arrived).collect();
        let sources = self.sources(&view);
        let vms = self.node.vms_view(now);
        let waiting: Vec<VmInfo> = vms
            .iter()
            .filter(|one| sources.contains(&one.host) && one.vm.state != VmState::Arriving)
            .filter(|one| !is_left_over(one, &vms))
            .filter(|one| {
                let id = one.vm.vm.id.to_string();
                arrived.iter().all(|arrived| arrived.id != id)
            })
            .cloned()
            .map(vm_info)
            .collect();
        let concerned: Vec<String> = self
            .config
            .nodes
            .iter()
            .filter(|node| sources.contains(&node.name) || view.to.contains(&node.site))
            .map(|node| node.name.clone())
            .collect();
        let uncertain = vms
            .into_iter()
            .filter(|one| one.heard && one.vm.state == VmState::Unknown)
            .filter(|one| concerned.contains(&one.host))
            .map(vm_info)
            .collect();
        let doubles = self
            .node
            .doubles_view(now)
            .into_iter()
            .filter(|(_, hosts)| hosts.iter().any(|host| concerned.contains(host)))
            .map(|(name, hosts)| DoubleInfo { name, hosts })
            .collect();
        let used: Vec<LinkView> = self
            .node
            .links_view(now)
            .into_iter()
            .filter(|link| self.is_used(link, &view))
            .collect();
        let used = self.with_vms(used, &arrived, &waiting);
        let (capacity, source) = self.capacity(&used);
        let measures = measure::measures(&arrived, capacity, source);
        let links = used.into_iter().map(link_info).collect();
        let goes_on = match view.state {
            State::Active => Vec::new(),
            State::Cancelled | State::Aborted => self.goes_on(&all, &[view.id], &view),
        };
        let moved_by = self.moved_by(&all, &view, &sources);
        let late = self.node.late_view(now, view.id).into_iter().map(late_info).collect();
        let evacuation = self.evacuation_info(view);
        Ok(Report {
            evacuation,
            links,
            arrived,
            waiting,
            uncertain,
            doubles,
            late,
            goes_on,
            moved_by,
            measures,
        })
    }

    /// What other evacuations have moved away from its hosts since it was started.
    fn moved_by(
        &self,
        all: &[EvacuationView],
        view: &EvacuationView,
        sources: &[String],
    ) -> Vec<MovedBy> {
        let others = all.iter().filter(|other| {
            let is_same = other.id == view.id || view.merged_into == Some(other.id);
            !is_same && other.merged_into.is_none()
        });
        let moved = others.map(|other| {
            let before_ms = milliseconds(other.age.saturating_sub(view.age));
            let moved = self.node.outcomes_view(other.id);
            let vms =
                moved.iter().filter(|one| one.end_ms > before_ms && sources.contains(&one.from));
            MovedBy { id: other.id.to_string(), vms: vms.count() }
        });
        moved.filter(|one| one.vms > 0).collect()
    }

    fn is_used(&self, link: &LinkView, view: &EvacuationView) -> bool {
        self.node.directory().link(link.id).is_some_and(|entry| {
            let from = self.node.directory().site_name(entry.from);
            let sources =
                self.config.nodes.iter().filter(|node| {
                    view.from.contains(&node.site) || view.from.contains(&node.name)
                });
            sources.into_iter().any(|node| node.site == from)
                && entry.to.iter().any(|to| view.to.contains(&self.node.directory().site_name(*to)))
        })
    }

    /// Of the links away from the hosts to be emptied those by which a VM has left, or is to leave; all of
    /// them if there is no VM.
    fn with_vms(
        &self,
        links: Vec<LinkView>,
        arrived: &[Arrived],
        waiting: &[VmInfo],
    ) -> Vec<LinkView> {
        let hosts = arrived.iter().map(|one| &one.from).chain(waiting.iter().map(|vm| &vm.host));
        let hosts: BTreeSet<&String> = hosts.collect();
        let nodes = self.config.nodes.iter().filter(|node| hosts.contains(&node.name));
        let sites: BTreeSet<&String> = nodes.map(|node| &node.site).collect();
        let leaves = |link: &LinkView| {
            let entry = self.node.directory().link(link.id);
            entry.is_some_and(|entry| sites.contains(&self.node.directory().site_name(entry.from)))
        };
        if !links.iter().any(leaves) {
            return links;
        }
        links.into_iter().filter(leaves).collect()
    }

    /// The capacity that bounds rest on: the configured ceiling where there is one.
    fn capacity(&self, links: &[LinkView]) -> (u64, &'static str) {
        let ceiling =
            |link: &LinkView| self.node.directory().link(link.id).and_then(|entry| entry.ceiling);
        let configured: Option<Vec<BytesPerSec>> = links.iter().map(ceiling).collect();
        match configured.filter(|all| !all.is_empty()) {
            Some(all) => (all.iter().map(|rate| rate.0).sum(), "configured"),
            None => (links.iter().map(|link| link.capacity.0).sum(), "estimate"),
        }
    }
}

/// Whether a definition is what was left of a VM that runs on another host.
fn is_left_over(one: &VmView, all: &[VmView]) -> bool {
    let runs_elsewhere = |other: &VmView| {
        let at_another = other.vm.vm.id == one.vm.vm.id && other.host != one.host;
        at_another && other.vm.vm.state == RunState::Running
    };
    let rests = (one.vm.vm.state, one.vm.state) == (RunState::ShutOff, VmState::Resting);
    rests && all.iter().any(runs_elsewhere)
}

/// The evacuation that is meant if none is named: the newest that is active or has moved something.
/// One that another with the same terms moves the VMs of, or that found nothing to move, tells
/// nothing.
fn latest(mut views: Vec<EvacuationView>) -> Option<EvacuationView> {
    // Ids grow with time; ages are not known to the second after restarts.
    views.sort_by_key(|view| view.id);
    let tells = |view: &EvacuationView| {
        let active = view.state == State::Active && !view.done;
        view.merged_into.is_none() && (active || view.arrived > 0)
    };
    let told = views.iter().rposition(tells);
    told.map(|at| views.swap_remove(at)).or_else(|| views.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::infos::tests as infos;
    use lifeboat_protocol::EvacuationId;
    use std::time::Duration;

    fn view(id: u64, state: State, done: bool, arrived: usize) -> EvacuationView {
        EvacuationView {
            id: EvacuationId(id),
            initiator: "a1".to_owned(),
            from: vec!["a".to_owned()],
            to: vec!["b".to_owned()],
            state,
            merged_into: None,
            age: Duration::ZERO,
            deadline: None,
            time_left: None,
            vms_left: 0,
            stuck: 0,
            unknown: 0,
            bytes_left: 0,
            arrived,
            ended: Vec::new(),
            silent: Vec::new(),
            not_heard: 0,
            distant: Vec::new(),
            hypervisor_down: Vec::new(),
            done,
            remaining: None,
        }
    }

    #[test]
    fn the_evacuation_that_is_meant_is_one_that_tells_something() {
        let check = |views: Vec<EvacuationView>, expect: Option<u64>| {
            assert_eq!(latest(views).map(|view| view.id.0), expect);
        };
        check(Vec::new(), None);
        check(vec![view(1, State::Active, true, 0)], Some(1));
        check(vec![view(1, State::Active, true, 3), view(2, State::Active, true, 0)], Some(1));
        check(
            vec![view(1, State::Aborted, false, 3), view(2, State::Cancelled, false, 0)],
            Some(1),
        );
        check(vec![view(1, State::Active, true, 3), view(2, State::Active, false, 0)], Some(2));
        let merged = EvacuationView {
            merged_into: Some(EvacuationId(1)),
            ..view(2, State::Active, false, 3)
        };
        check(vec![view(1, State::Active, false, 3), merged], Some(1));
    }

    #[test]
    fn a_definition_of_what_runs_elsewhere_is_not_still_to_leave() {
        let on = |host: &str, run_state: RunState, state: VmState| VmView {
            host: host.to_owned(),
            ..infos::sample(run_state, state, true)
        };
        let check = |at: &VmView, other: VmView, expect: bool| {
            assert_eq!(is_left_over(at, &[at.clone(), other]), expect);
        };
        let definition = on("a1", RunState::ShutOff, VmState::Resting);
        check(&definition, on("b1", RunState::Running, VmState::Resting), true);
        check(&definition, on("b1", RunState::ShutOff, VmState::Resting), false);
        let leaves = on("a1", RunState::ShutOff, VmState::Queued);
        check(&leaves, on("b1", RunState::Running, VmState::Resting), false);
    }
}
