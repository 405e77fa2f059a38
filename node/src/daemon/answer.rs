//! Answering the command line.

use std::time::Duration;

use lifeboat_protocol::{
    EvacuationId, NodeId, SiteId,
    command::Command,
    evacuation::{Evacuations, State},
    message::{Stage, VmState},
    plan,
    view::EvacuationView,
};

use super::{
    Daemon, clock,
    infos::{ended_info, host_info, link_info, milliseconds, plan_info, state_name, vm_info},
};
use crate::{
    api::{Cancelled, Declared, DoubleInfo, EvacuationInfo, Request, Started, Status, Terms},
    control::{self, Responder},
};

/// How long the journal may take to make a person's word durable.
const DURABLE_WITHIN: Duration = Duration::from_secs(10);

impl Daemon {
    /// Answers one request, or says why not.
    pub(super) fn answer(&mut self, request: control::Request) {
        let control::Request { value, responder } = request;
        let request: Request = match serde_json::from_value(value) {
            Ok(request) => request,
            Err(error) => {
                return refuse(responder, format!("this request is not understood: {error}"));
            }
        };
        match request {
            Request::Status => finish(responder, &self.status()),
            Request::Vms => {
                let vms = self.node.vms_view(clock::now());
                finish(responder, &vms.into_iter().map(vm_info).collect::<Vec<_>>());
            }
            Request::Plan(terms) => match self.terms(&terms) {
                Ok(terms) => {
                    let plan = self.node.plan(clock::now(), &terms);
                    finish(responder, &plan_info(plan));
                }
                Err(reasons) => wrong(responder, reasons.join("\n")),
            },
            Request::Evacuate(terms) => match self.terms(&terms) {
                Ok(terms) => {
                    let id = self.new_id();
                    self.handle(lifeboat_protocol::Input::Command(Command::Evacuate {
                        id,
                        from_sites: terms.from_sites,
                        from_hosts: terms.from_hosts,
                        to: terms.to,
                        deadline_ms: terms.deadline_ms,
                    }));
                    let views = self.node.evacuations_view(clock::now());
                    let merged_into = views
                        .into_iter()
                        .find(|view| view.id == id)
                        .and_then(|one| one.merged_into);
                    finish(
                        responder,
                        &Started {
                            id: id.to_string(),
                            merged_into: merged_into.map(|id| id.to_string()),
                        },
                    );
                }
                Err(reasons) => wrong(responder, reasons.join("\n")),
            },
            Request::Cancel { id, abort } => self.cancel(responder, id.as_deref(), abort),
            Request::DeclareDead { host, whole_site } => match self.host(&host) {
                Ok(node) => self.declare_dead(responder, node, whole_site),
                Err(reason) => wrong(responder, reason),
            },
            Request::Events { follow } => self.tell_events(responder, follow),
            Request::Report { id } => match self.report(id.as_deref()) {
                Ok(report) => finish(responder, &report),
                Err(reason) => refuse(responder, reason),
            },
        }
    }

    fn status(&self) -> Status {
        let now = clock::now();
        Status {
            node: self.config.name.clone(),
            site: self.config.own_node().site.clone(),
            hypervisor_down: self.node.hypervisor_down().map(str::to_owned),
            journal_failed: self.journal_state.failed.clone(),
            carrier_up: self.carrier_up,
            carrier_differs: self.carrier_differs.clone(),
            carrier_failed: self.carrier_failed.clone().filter(|_| !self.carrier_up),
            uncertain: self
                .node
                .vms_view(now)
                .into_iter()
                .filter(|one| one.heard && one.vm.state == VmState::Unknown)
                .map(vm_info)
                .collect(),
            doubles: self
                .node
                .doubles_view(now)
                .into_iter()
                .map(|(name, hosts)| DoubleInfo { name, hosts })
                .collect(),
            hosts: self.node.nodes_view(now).into_iter().map(host_info).collect(),
            links: self.node.links_view(now).into_iter().map(link_info).collect(),
            evacuations: self
                .node
                .evacuations_view(now)
                .into_iter()
                .map(|view| self.evacuation_info(view))
                .collect(),
        }
    }

    /// Checks the names and the sense of an evacuation's terms: all that is wrong with them.
    fn terms(&self, terms: &Terms) -> Result<plan::Terms, Vec<String>> {
        let mut wrong = Vec::new();
        let mut checked = plan::Terms { deadline_ms: terms.deadline_ms, ..plan::Terms::default() };
        for name in &terms.from {
            if self.config.sites().contains(&name.as_str()) {
                checked.from_sites.push(SiteId::of(name));
            } else if self.config.node(name).is_some() {
                checked.from_hosts.push(NodeId::of(name));
            } else {
                wrong.push(self.unknown("site or host", name));
            }
        }
        for name in &terms.to {
            if self.config.sites().contains(&name.as_str()) {
                checked.to.push(SiteId::of(name));
            } else if self.config.node(name).is_some() {
                wrong.push(format!(
                    "--to {name} is a host: name a site, its hosts share what arrives"
                ));
            } else {
                wrong.push(self.unknown("site", name));
            }
        }
        for ids in [&mut checked.from_sites, &mut checked.to] {
            ids.sort_unstable();
            ids.dedup();
        }
        checked.from_hosts.sort_unstable();
        checked.from_hosts.dedup();
        if wrong.is_empty() {
            wrong = Evacuations::refusals(
                self.node.directory(),
                &checked.from_sites,
                &checked.from_hosts,
                &checked.to,
                checked.deadline_ms,
            );
        }
        if wrong.is_empty() { Ok(checked) } else { Err(wrong) }
    }

    fn unknown(&self, what: &str, name: &str) -> String {
        let mut known: Vec<&str> = Vec::new();
        if what.contains("site") {
            known.extend(self.config.sites());
        }
        if what.contains("host") {
            known.extend(self.config.nodes.iter().map(|node| node.name.as_str()));
        }
        format!("there is no {what} {name:?} in the cluster file; known: {}", known.join(", "))
    }

    /// An id that is higher than those of all earlier evacuations, whatever the clocks of the hosts show:
    /// seconds since 1970, then chance.
    fn new_id(&self) -> EvacuationId {
        use std::hash::{BuildHasher, RandomState};
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        let chance = RandomState::new().hash_one(seconds) & 0xffff_ffff;
        let known = self.node.evacuations_view(clock::now()).into_iter().map(|view| view.id.0);
        let newest = known.max().unwrap_or(0);
        EvacuationId((seconds << 32 | chance).max(newest.saturating_add(1)))
    }

    fn host(&self, name: &str) -> Result<NodeId, String> {
        match self.config.node(name) {
            Some(node) => Ok(NodeId::of(&node.name)),
            None => Err(self.unknown("host", name)),
        }
    }

    /// Answers only once it is durable: until then nobody may start anything cold.
    fn declare_dead(&mut self, responder: Responder, node: NodeId, whole_site: bool) {
        if let Some(reason) = self.node.declaration_refused(clock::now(), node, whole_site) {
            return refuse(responder, reason);
        }
        let freed = self.node.held_by(node);
        self.handle(lifeboat_protocol::Input::Command(Command::DeclareDead { node, whole_site }));
        let not_given = self.node.not_given_to(node);
        let (written, mut journal) = (self.node.written(), self.journal.state());
        tokio::spawn(async move {
            let durable = journal.wait_for(|state| state.durable >= written);
            let durable = tokio::time::timeout(DURABLE_WITHIN, durable).await;
            match durable {
                Ok(Ok(_)) => finish(responder, &Declared { not_given, freed }),
                _ => refuse(
                    responder,
                    "the journal here could not be written, so the word may be forgotten if this daemon \
                     restarts: start nothing cold; see `lifeboat status`"
                        .to_owned(),
                ),
            }
        });
    }

    fn cancel(&mut self, responder: Responder, id: Option<&str>, abort: bool) {
        let known = self.node.evacuations_view(clock::now());
        let done: Vec<String> =
            known.iter().filter(|view| is_done(view)).map(|view| view.id.to_string()).collect();
        let meant: Vec<EvacuationView> = known
            .into_iter()
            .filter(|view| match id {
                Some(id) => view.id.to_string() == id,
                None => match view.state {
                    // One that is done has ended well: that is not taken back by the way.
                    State::Active => !view.done,
                    // Aborting what was merely cancelled is a step further.
                    State::Cancelled => abort && self.has_moves(view),
                    State::Aborted => false,
                },
            })
            .collect();
        if meant.is_empty() {
            let reason = match id {
                Some(id) => {
                    format!("there is no evacuation {id}; `lifeboat status --all` lists them")
                }
                None => nothing_is_active(&done),
            };
            return refuse(responder, reason);
        }
        for view in &meant {
            let command = Command::Cancel { id: view.id, abort };
            self.handle(lifeboat_protocol::Input::Command(command));
        }
        let now = self.node.evacuations_view(clock::now());
        let ended: Vec<EvacuationId> = meant.iter().map(|view| view.id).collect();
        let after = |before: EvacuationView| {
            let goes_on = self.goes_on(&now, &ended, &before);
            let state = now
                .iter()
                .find(|view| view.id == before.id)
                .map_or(before.state, |view| view.state);
            Cancelled {
                id: before.id.to_string(),
                state: state_name(state, false).to_owned(),
                was_so: before.state == state,
                was_done: is_done(&before),
                goes_on,
            }
        };
        finish(responder, &meant.into_iter().map(after).collect::<Vec<_>>());
    }

    /// Of `all` those that go on to move VMs from hosts which one that was ended empties, too.
    pub(super) fn goes_on(
        &self,
        all: &[EvacuationView],
        ended: &[EvacuationId],
        of: &EvacuationView,
    ) -> Vec<String> {
        let sources = self.sources(of);
        let others = all
            .iter()
            .filter(|other| other.state == State::Active && !other.done)
            .filter(|other| !ended.contains(&other.id))
            .filter(|other| self.sources(other).iter().any(|host| sources.contains(host)));
        others.map(|other| other.id.to_string()).collect()
    }

    /// Whether it still moves a VM.
    fn has_moves(&self, view: &EvacuationView) -> bool {
        let nodes = self.node.nodes_view(clock::now());
        let mut heads = nodes.iter().flat_map(|node| &node.queue.head);
        heads.any(|one| one.evacuation == view.id && one.stage != Stage::Queued)
    }

    /// The hosts that an evacuation empties.
    pub(super) fn sources(&self, view: &EvacuationView) -> Vec<String> {
        let nodes = self.config.nodes.iter();
        let covered =
            nodes.filter(|node| view.from.contains(&node.site) || view.from.contains(&node.name));
        covered.map(|node| node.name.clone()).collect()
    }

    fn tell_events(&self, responder: Responder, follow: bool) {
        let past = self.events.past();
        let mut live = follow.then(|| self.events.follow());
        tokio::spawn(async move {
            for event in past {
                if responder.send(&event).await.is_err() {
                    return;
                }
            }
            while let Some(live) = &mut live {
                let event = tokio::select! {
                    event = live.recv() => event,
                    () = responder.gone() => return,
                };
                match event {
                    Ok(event) => {
                        if responder.send(&event).await.is_err() {
                            return;
                        }
                    }
                    // Some were missed by a slow reader; the next ones still come.
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                }
            }
            let _ = responder.finish(&()).await;
        });
    }

    pub(super) fn evacuation_info(&self, view: EvacuationView) -> EvacuationInfo {
        // What the hosts tell of their queues belongs to what empties them now.
        let current = view.state == State::Active;
        let of_now = |count: u32| if current { count } else { 0 };
        EvacuationInfo {
            id: view.id.to_string(),
            sources: self.sources(&view),
            initiator: view.initiator,
            from: view.from,
            to: view.to,
            state: state_name(view.state, view.done).to_owned(),
            merged_into: view.merged_into.map(|id| id.to_string()),
            age_ms: milliseconds(view.age),
            deadline_ms: view.deadline.map(milliseconds),
            deadline_left_ms: view.time_left.filter(|_| current).map(milliseconds),
            vms_left: of_now(view.vms_left),
            vms_stuck: of_now(view.stuck),
            vms_unknown: of_now(view.unknown),
            vms_not_heard: of_now(view.not_heard),
            vms_arrived: view.arrived,
            ended: view.ended.into_iter().map(ended_info).collect(),
            bytes_left: if current { view.bytes_left } else { 0 },
            silent: view.silent,
            distant: view.distant,
            hypervisor_down: view.hypervisor_down,
            remaining_ms: view.remaining.filter(|_| current).map(milliseconds),
        }
    }
}

fn finish(responder: Responder, answer: &impl serde::Serialize) {
    let answer = serde_json::to_value(answer);
    tokio::spawn(async move {
        // A client that has gone needs no answer.
        let _ = match answer {
            Ok(answer) => responder.finish(&answer).await,
            Err(error) => responder.fail(format!("the answer cannot be written: {error}")).await,
        };
    });
}

fn refuse(responder: Responder, reason: String) {
    tokio::spawn(async move {
        // A client that has gone needs no answer.
        let _ = responder.fail(reason).await;
    });
}

fn wrong(responder: Responder, reason: String) {
    tokio::spawn(async move {
        // A client that has gone needs no answer.
        let _ = responder.wrong(reason).await;
    });
}

fn is_done(view: &EvacuationView) -> bool {
    view.state == State::Active && view.done
}

fn nothing_is_active(done: &[String]) -> String {
    let reason = "no evacuation is active".to_owned();
    let Some(one) = done.first() else { return reason };
    format!(
        "{reason}. Done, and still barring arrivals at the hosts that they emptied, are: {}; `lifeboat \
         cancel {one}` ends that",
        done.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_named_where_nothing_is_active() {
        assert_eq!(nothing_is_active(&[]), "no evacuation is active");
        let said = nothing_is_active(&["7".to_owned(), "8".to_owned()]);
        assert!(said.contains("7, 8; `lifeboat cancel 7`"), "{said}");
    }
}
