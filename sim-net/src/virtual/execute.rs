//! Doing what a daemon wants done.

use std::rc::Rc;

use lifeboat_protocol::{
    Input, NodeId, Output,
    input::{ArrivalEvent, DepartureEvent},
};

use super::{
    MILLISECOND, World,
    carrier::Right,
    event::Event,
    hypervisor::{Guest, Place},
    nanoseconds,
    world::said,
};

/// Time until a write is on disk.
const WRITE: u64 = MILLISECOND;
/// Time until a hypervisor has answered a question.
const LOOK: u64 = 2 * MILLISECOND;
/// Time until a guest has been resumed.
const RESUME: u64 = 5 * MILLISECOND;

impl World {
    pub(crate) fn execute(&mut self, host: usize, output: Output) {
        self.tell_tracer(host, || match &output {
            Output::Broadcast(bytes) => format!("says to all {}", said(bytes)),
            Output::Send { to, bytes } => format!("says to {to:?} {}", said(bytes)),
            other => format!("wants {other:?}"),
        });
        self.checks.before(&self.hosts[host], &output, self.now);
        match output {
            Output::Broadcast(bytes) => {
                let bytes: Rc<[u8]> = bytes.into();
                self.stats.broadcasts += 1;
                self.network.keep(host, None, &bytes);
                for to in (0..self.hosts.len()).filter(|to| *to != host) {
                    self.send(host, to, &bytes);
                }
            }
            Output::Send { to, bytes } => {
                let bytes: Rc<[u8]> = bytes.into();
                let to = self.index(to);
                self.network.keep(host, Some(to), &bytes);
                self.send(host, to, &bytes);
            }
            Output::Persist { sequence, changes } => {
                let one = &mut self.hosts[host];
                let soon = self.now + WRITE;
                let at = soon.max(one.journal.full_until);
                let life = one.life;
                if at > soon {
                    one.journal.told_full = true;
                    let input = Input::Journal(Err("the disk is full".into()));
                    self.events.push(soon, Event::Answer { host, life, input });
                }
                self.events.push(at, Event::Durable { host, life, sequence, changes });
            }
            Output::Grant { link, rate, until } => {
                let life = self.hosts[host].life;
                let right = Right { rate: rate.0 as f64, until, tokens: 0, life };
                self.hosts[host].carrier.rights.insert(link, right);
                self.note_holder(host);
            }
            Output::Look { vm } => {
                if !self.hosts[host].hypervisor.down {
                    let copy = self.hosts[host].hypervisor.look(vm);
                    let outgoing = self.is_outgoing(host, vm);
                    self.answer(host, LOOK, Input::Looked { vm, copy, outgoing });
                }
            }
            Output::ReadDefinition { id } => {
                if !self.hosts[host].hypervisor.down {
                    let event = DepartureEvent::Definition(Ok("<domain/>".into()));
                    self.answer(host, LOOK, Input::Departure(id, event));
                }
            }
            Output::OpenMove { .. } | Output::SetGuest { .. } | Output::Restore { .. } => {}
            Output::BeginMove { id, vm, to, max_downtime_ms } => {
                let to = self.index(to);
                self.begin(host, id, vm, to, max_downtime_ms);
            }
            Output::SetWeight { id, weight } => self.set_weight(id, weight),
            Output::Escalate { id, step } => self.escalate(id, step),
            Output::AbortMove { id } => self.abort(host, id.vm),
            Output::DestroySource { id } => self.destroy_source(host, id.vm),
            Output::ResumeSource { id } => {
                if !self.hosts[host].hypervisor.down && self.run_on(host, id.vm) {
                    self.departure(host, id, DepartureEvent::GuestResumed);
                }
            }
            Output::Forget { id } => {
                let place = self.hosts[host].hypervisor.place(id.vm);
                if matches!(place, Some(Place::MovedAway | Place::ShutOff)) {
                    self.remove(host, id.vm);
                }
            }
            Output::PrepareArrival { id, vm, definition } => {
                let hypervisor = &mut self.hosts[host].hypervisor;
                let ready = self.now >= hypervisor.refuses_until && !hypervisor.down;
                let answer = if ready {
                    hypervisor.prepared.insert(vm.id, id);
                    if definition.is_some() {
                        self.put(host, Guest { vm, place: Place::ShutOff, stamp: 0 });
                    }
                    Ok(())
                } else {
                    Err("the hypervisor refuses".to_string())
                };
                let event = ArrivalEvent::Prepared(answer);
                self.answer(host, nanoseconds(self.timing.prepare), Input::Arrival(id, event));
            }
            Output::Resume { id } => {
                let hypervisor = &self.hosts[host].hypervisor;
                let arrived = hypervisor.place(id.vm) == Some(Place::Arrived);
                let done = if hypervisor.down {
                    Err("the hypervisor does not answer".to_string())
                } else if arrived {
                    let paused_at = self.paused.remove(&id.vm);
                    self.stood_still(id.vm, paused_at);
                    self.turn(host, id.vm, Place::Running);
                    Ok(())
                } else {
                    Err("there is nothing to resume".to_string())
                };
                let event = ArrivalEvent::Resumed(done);
                self.answer(host, RESUME, Input::Arrival(id, event));
            }
            Output::Discard { id } => {
                if !self.hosts[host].hypervisor.down {
                    self.remove(host, id.vm);
                }
            }
            Output::CloseMove { id } => {
                if let Some(index) =
                    self.moves.iter().position(|one| one.id == id && one.from == host)
                {
                    self.give_up(index, "its carrier closed it");
                }
                let prepared = &mut self.hosts[host].hypervisor.prepared;
                if prepared.get(&id.vm) == Some(&id) {
                    prepared.remove(&id.vm);
                }
            }
            Output::Notice(notice) => self.notice(host, notice),
        }
    }

    fn destroy_source(&mut self, host: usize, vm: lifeboat_protocol::VmId) {
        let hypervisor = &self.hosts[host].hypervisor;
        if hypervisor.down {
            return;
        }
        if matches!(hypervisor.place(vm), Some(Place::Switching | Place::Running)) {
            self.turn(host, vm, Place::MovedAway);
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &Rc<[u8]>) {
        self.stats.messages += 1;
        self.stats.message_bytes += bytes.len() as u64;
        self.hosts[from].load.sent_bytes += bytes.len() as u64;
        let Some(way) = self.message_way(from, to) else { return };
        for copy in self.network.send(self.now, from, to, way, bytes) {
            let (at, bytes) = (self.now + copy.delay, copy.bytes);
            self.events.push(at, Event::Deliver { from, to, bytes });
        }
    }

    pub(crate) fn index(&self, id: NodeId) -> usize {
        self.hosts_by_id[&id]
    }
}
