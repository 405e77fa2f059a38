//! Taking in what happened.

use alloc::{format, sync::Arc, vec::Vec};
use core::time::Duration;

use super::{
    KnownInventory, NOT_ANSWERED_YET, Node, elsewhere, ended::ended_on_its_way, news::is_news,
    stranded::Stranding,
};
use crate::{
    arrivals::{Arrival, Room},
    command::Command,
    departures::{Answer, Asked, GivingUp, answer_without_record, step::Ended},
    effects::Effects,
    evacuation::{Evacuations, Record, State},
    ids::{EvacuationId, MoveId, NodeId, VmId},
    input::Input,
    journal::{Key, Value},
    membership::{Liveness, Stale},
    message::{Direct, Heartbeat, Inventory, Message},
    output::{NoticeKind, Output},
    planted::Bug,
    time::Instant,
    tuning::{Constant, Name},
    vm::{Copy, Outcome, RunState, Vm},
    wire,
};

/// How long a start takes is a mean in which the newest counts for one of so many. With fewer one hiccup
/// of a hypervisor lets the next VM begin too early; with more a hypervisor that has become slow leaves the
/// link idle at each start.
pub(crate) const SETUPS_IN_MEAN: Constant<u32> = Name::SetupsInMean.of(4);
/// Time between two records of how long ago evacuations started.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// The same for those that are over: their ages are for people only.
const KEEP_ALL_EVERY: Duration = Duration::from_secs(60);
/// Longest pause before a failed move is tried again: with nothing else to move, the link is idle for as
/// long.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long a destination is passed over at which a move has failed.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// The same where nothing flowed to it: whatever hangs there, or is cut, takes longer to mend.
const STOOD_STILL_FOR: Duration = Duration::from_secs(60);
/// How often in a row the hypervisor must list a VM as running that is gone: one list may be older than that.
const LISTED_AGAIN: u8 = 2;
/// Most VMs that one part of an inventory may hold.
pub(super) const INVENTORY_PART: usize = 100;

impl Node {
    pub(super) fn absorb(&mut self, now: Instant, input: Input, fx: &mut Effects) {
        match input {
            Input::Wake => {}
            Input::Received { from, bytes } => self.received(now, from, &bytes, fx),
            Input::Durable(sequence) => self.durable(now, sequence, fx),
            Input::Journal(taken) => self.journal_told(now, taken, fx),
            Input::Command(command) => self.command(now, command, fx),
            Input::Host(sample) => {
                self.host = sample;
                self.arrivals.count(now, &self.vms);
            }
            Input::Vms(vms) => self.listed(now, vms, fx),
            Input::HypervisorDown(reason) => {
                let before = self.hypervisor_down.as_deref();
                if before.is_none_or(|before| before == NOT_ANSWERED_YET) {
                    fx.notice(
                        NoticeKind::Failed,
                        format!("the hypervisor here does not answer ({reason}); waiting for it"),
                    );
                }
                self.hypervisor_down = Some(reason);
            }
            Input::Link(sample) => {
                self.samples.take_in(now, sample);
            }
            Input::Looked { vm, copy, outgoing } => self.looked(now, vm, copy, outgoing, fx),
            Input::Departure(id, event) => {
                if let Some(departure) = self.departures.by_id(id) {
                    let known = departure.setup().is_some();
                    let ended = departure.happened(now, self.config.tuning(), event, fx);
                    if let Some(setup) = departure.setup().filter(|_| !known) {
                        let many = self.config.tuning().of(SETUPS_IN_MEAN);
                        let mean = |before: Duration| (before * (many - 1) + setup) / many;
                        self.setup = Some(self.setup.map_or(setup, mean));
                    }
                    self.departure_ended(now, id.vm, ended, fx);
                }
            }
            Input::Arrival(id, event) => {
                if let Some(arrival) = self.arrivals.by_id(id)
                    && arrival.happened(now, event, fx)
                {
                    self.arrivals.remove(id.vm);
                }
            }
        }
    }

    fn listed(&mut self, now: Instant, vms: Vec<Vm>, fx: &mut Effects) {
        self.hypervisor_down = None;
        self.inventories_changed = true;
        self.watch_ended(&vms, fx);
        self.vms.clear();
        let mut again_here = alloc::vec::Vec::new();
        let mut turned = alloc::vec::Vec::new();
        for mut vm in vms {
            if vm.state != RunState::ShutOff {
                self.nothing_remains(vm.id, fx);
            } else if self.given_away.contains_key(&vm.id) {
                // Remains of a VM that runs elsewhere are not a VM of this host.
                continue;
            }
            if let Some(departure) = self.departures.get_mut(vm.id) {
                let again = departure.is_gone() && vm.state == RunState::Running;
                departure.listed_again = if again { departure.listed_again + 1 } else { 0 };
                if departure.listed_again >= LISTED_AGAIN {
                    again_here.push(vm.id);
                }
                let live = |state| state != RunState::ShutOff;
                if departure.begun() || !live(vm.state) || !live(departure.vm.state) {
                    // A guest that is paused for its switchover is still one that runs.
                    vm.state = departure.vm.state;
                } else if vm.state != departure.vm.state {
                    // Its destination was told how it is to be there.
                    turned.push(vm.id);
                }
            }
            self.vms.insert(vm.id, vm);
        }
        for vm in turned {
            self.give_room_back(now, vm, fx);
        }
        for vm in again_here {
            self.strand(vm, Stranding::StartedHere, fx);
        }
        // One that has left and is not settled yet is listed here no more.
        let (vms, departures) = (&self.vms, &self.departures);
        self.setbacks.retain(|vm, _| vms.contains_key(vm) || departures.get(*vm).is_some());
    }

    /// The hypervisor has forgotten a VM that was given away, or it is one of this host again.
    fn nothing_remains(&mut self, vm: VmId, fx: &mut Effects) {
        if let Some(id) = self.given_away.remove(&vm) {
            fx.erase(&Key::Remains(id));
        }
    }

    fn reject(&self, from: NodeId, why: &str, fx: &mut Effects) {
        let name = self.directory.name(from);
        fx.notice(NoticeKind::Rejected, format!("a message from {name} was refused: {why}"));
    }

    fn received(&mut self, now: Instant, from: NodeId, bytes: &[u8], fx: &mut Effects) {
        if self.directory.node(from).is_none() || from == self.me {
            return self.reject(from, "the sender is not another listed node", fx);
        }
        match wire::decode::<Message>(bytes) {
            Err(error) => self.reject(from, &format!("{error}"), fx),
            Ok(Message::Heartbeat(heartbeat)) => {
                self.heard_every(now, from, heartbeat, Duration::ZERO, fx);
            }
            Ok(Message::Inventory(inventory)) => self.inventoried(now, from, inventory, fx),
            Ok(Message::Direct(direct)) => {
                self.news = true;
                self.direct(now, from, direct, fx);
            }
            Ok(Message::Addressed(said)) => self.heard_addressed(now, from, said, fx),
        }
    }

    /// Takes in a heartbeat of a node that speaks again within `every`, or as configured if that is
    /// zero. Returns whether it was new.
    pub(super) fn heard_every(
        &mut self,
        now: Instant,
        from: NodeId,
        heartbeat: Heartbeat,
        every: Duration,
        fx: &mut Effects,
    ) -> bool {
        let heartbeat = Arc::new(heartbeat);
        let before = self.membership.peer(from).map(|peer| Arc::clone(&peer.heartbeat));
        let life = before.as_ref().map(|before| before.incarnation);
        self.news |= before.is_none_or(|before| is_news(&before, &heartbeat))
            || self.membership.liveness(now, from) != Liveness::Alive;
        match self.membership.heard_every(now, from, Arc::clone(&heartbeat), every) {
            Ok(()) => self.members_heard = Some(from),
            // Repeats and overtaken heartbeats are what networks do.
            Err(Stale::OldNumber) if self.config.planted(Bug::TableGoesBack) => {}
            Err(Stale::OldNumber) => return false,
            Err(Stale::FormerLife) => {
                self.reject(from, "it is of a former life of that node", fx);
                return false;
            }
        }
        for record in &heartbeat.evacuations {
            self.learn_evacuation(now, record, fx);
        }
        self.heard_of_groups(&heartbeat);
        let heard_of = self.heard_of.entry(from).or_default();
        if life != Some(heartbeat.incarnation) {
            heard_of.clear();
            // It knows of nothing that runs here.
            self.inventory_at = Instant::default();
        }
        heard_of.extend(heartbeat.evacuations.iter().map(|record| record.id));
        heard_of.retain(|id| self.evacuations.get(*id).is_some());
        for gossip in &heartbeat.capacities {
            if let Some(capacity) = self.capacities.get_mut(&gossip.link) {
                self.news |= capacity.adopt(gossip);
            }
        }
        let me = (self.me, self.incarnation);
        for accepted in &heartbeat.accepted {
            if let Some(issuer) = self.issuers.get_mut(&accepted.link) {
                let out = issuer.out(from);
                issuer.accepted(from, me, accepted);
                self.news |= issuer.out(from) != out;
            }
        }
        for table in &heartbeat.tables {
            if !self.candidates.get(&table.link).is_some_and(|nodes| nodes.contains(&from)) {
                continue;
            }
            let Some(holder) = self.holders.get_mut(&table.link) else { continue };
            let before = holder.usable(now);
            let issuer = (from, heartbeat.incarnation);
            let taken = holder.take(now, issuer, table, me, &self.membership).is_ok();
            let usable = holder.usable(now);
            self.news |= usable != before;
            if taken && usable < before {
                // The issuer can give the difference to the next only once this is confirmed.
                fx.urgent();
                self.audience.hurry(now, from);
            }
        }
        true
    }

    pub(super) fn learn_evacuation(&mut self, now: Instant, record: &Record, fx: &mut Effects) {
        if self.config.planted(Bug::CancelledRevived) {
            self.evacuations.forget_cancelled(record.id);
        }
        if !self.evacuations.merge(now, record) {
            return;
        }
        let known = self.evacuations.get(record.id).map(|known| known.record.clone());
        let Some(record) = known else { return };
        fx.persist(&Key::Evacuation(record.id), &Value::Evacuation(record.clone()));
        fx.urgent();
        self.hurry_all(now);
        let what = match record.state {
            State::Active => "has started",
            State::Cancelled => "is cancelled: moves under way go on to their end",
            State::Aborted => "is cancelled and its moves under way are given up",
        };
        fx.out(Output::Notice(crate::output::Notice {
            kind: NoticeKind::Evacuation,
            vm: None,
            evacuation: Some(record.id),
            text: format!(
                "evacuation {} (asked for at {}) {what}",
                record.id,
                self.directory.name(record.initiator)
            ),
        }));
        if record.state == State::Active {
            // Room and destinations are seen anew.
            self.setbacks.clear();
        }
    }

    fn inventoried(&mut self, now: Instant, from: NodeId, inventory: Inventory, fx: &mut Effects) {
        if inventory.vms.len() > INVENTORY_PART || inventory.part >= inventory.parts {
            return self.reject(from, "its inventory is not in the parts that it says", fx);
        }
        let known = self.inventories.entry(from).or_default();
        let newer = (inventory.incarnation, inventory.version);
        if newer < (known.incarnation, known.version) {
            return;
        }
        if newer > (known.incarnation, known.version) {
            let (complete, running) =
                (core::mem::take(&mut known.complete), core::mem::take(&mut known.running));
            let (live, told_at) = (core::mem::take(&mut known.live), known.told_at);
            *known = KnownInventory {
                incarnation: inventory.incarnation,
                version: inventory.version,
                complete,
                running,
                live,
                told_at,
                ..KnownInventory::default()
            };
        }
        known.parts.insert(inventory.part, inventory.vms);
        if known.parts.len() == usize::from(inventory.parts) {
            known.complete = known.parts.values().flatten().cloned().collect();
            known.running = elsewhere::running(&known.complete);
            known.live = elsewhere::live(&known.complete);
            known.told_at = now;
            self.inventories_changed = true;
        }
        for (evacuation, outcome) in inventory.outcomes {
            if self.evacuations.get(evacuation).is_none() {
                continue;
            }
            // The source decides how its move ended; the destination can only repeat what that said.
            let name = self.directory.name(from);
            let known = self.outcomes.get(&(evacuation, outcome.vm));
            let repeats = known.is_none_or(|known| known.end_ms < outcome.end_ms);
            if outcome.from == name || outcome.to == name && repeats {
                self.learn_outcome(evacuation, outcome, fx);
            }
        }
    }

    /// Remembers how a move ended, so that it is known even when its source is lost.
    fn learn_outcome(&mut self, evacuation: EvacuationId, outcome: Outcome, fx: &mut Effects) {
        let vm = outcome.vm;
        if self.outcomes.get(&(evacuation, vm)) != Some(&outcome) {
            fx.persist(&Key::Outcome(evacuation, vm), &Value::Outcome(outcome.clone()));
            self.outcomes.insert((evacuation, vm), outcome);
        }
    }

    /// Keeps up in the journal how long ago evacuations started, so that deadlines do not begin anew
    /// when all daemons restart; erases what is not remembered any more.
    pub(super) fn keep_evacuations(&mut self, now: Instant, fx: &mut Effects) {
        for id in self.evacuations.forgotten() {
            fx.erase(&Key::Evacuation(id));
            let of = self.outcomes.keys().filter(|(evacuation, _)| *evacuation == id).copied();
            for (evacuation, vm) in of.collect::<Vec<_>>() {
                fx.erase(&Key::Outcome(evacuation, vm));
                self.outcomes.remove(&(evacuation, vm));
            }
        }
        if now.since(self.evacuations_kept_at) < KEEP_EVERY {
            return;
        }
        self.evacuations_kept_at = now;
        let all = now.since(self.all_kept_at) >= KEEP_ALL_EVERY;
        if all {
            self.all_kept_at = now;
        }
        for record in self.evacuations.records(now, all) {
            fx.persist(&Key::Evacuation(record.id), &Value::Evacuation(record));
        }
    }

    fn command(&mut self, now: Instant, command: Command, fx: &mut Effects) {
        match command {
            Command::Evacuate { id, from_sites, from_hosts, to, deadline_ms } => {
                let refusals = Evacuations::refusals(
                    &self.directory,
                    &from_sites,
                    &from_hosts,
                    &to,
                    deadline_ms,
                );
                if let Some(reason) = refusals.first() {
                    return fx.notice(NoticeKind::Rejected, reason.clone());
                }
                let record = Record {
                    id,
                    initiator: self.me,
                    from_sites,
                    from_hosts,
                    to,
                    age_ms: 0,
                    deadline_ms,
                    state: State::Active,
                };
                self.tell_all_stewards(now);
                self.learn_evacuation(now, &record, fx);
            }
            Command::Cancel { id, abort } => {
                let Some(known) = self.evacuations.get(id) else {
                    return fx.notice(NoticeKind::Rejected, format!("there is no evacuation {id}"));
                };
                let state = if abort { State::Aborted } else { State::Cancelled };
                let record = Record { state, ..known.record.clone() };
                self.tell_all_stewards(now);
                self.learn_evacuation(now, &record, fx);
            }
            Command::DeclareDead { node, whole_site } => {
                match self.declaration_refused(now, node, whole_site) {
                    Some(reason) => fx.notice(NoticeKind::Rejected, reason),
                    None => self.declared_dead(now, node, fx),
                }
            }
            Command::Leave => {
                self.leaving = true;
                fx.urgent();
            }
        }
    }

    fn direct(&mut self, now: Instant, from: NodeId, direct: Direct, fx: &mut Effects) {
        match direct {
            Direct::HandOn(hand_on) => self.receive_hand_on(now, from, &hand_on, fx),
            Direct::Ask { id, offline } if id.source == self.me => {
                self.asked_as_source(now, id, offline, from, fx);
            }
            // From the source to us, the destination: only the source itself may speak.
            Direct::Reserve { id, .. }
            | Direct::Renew { id }
            | Direct::SourceGone { id, .. }
            | Direct::Withheld { id }
            | Direct::SourceKept { id }
            | Direct::Closed { id }
            | Direct::Ask { id, .. }
                if id.source == from =>
            {
                self.said_by_source(now, from, id, direct, fx);
            }
            // From the destination to us, the source.
            Direct::Reserved { id, .. }
            | Direct::Preparing { id }
            | Direct::Settled { id, .. }
            | Direct::Discarded { id }
            | Direct::DestinationHas { id, .. }
                if id.source == self.me =>
            {
                self.said_by_destination(now, from, id, direct, fx);
            }
            _ => self.reject(from, "it speaks of a move that is not its own", fx),
        }
    }

    fn said_by_source(
        &mut self,
        now: Instant,
        from: NodeId,
        id: MoveId,
        direct: Direct,
        fx: &mut Effects,
    ) {
        if let Direct::Reserve { evacuation, vm, definition, .. } = direct {
            if vm.id != id.vm {
                return self.reject(from, "it asks for room for another VM than it names", fx);
            }
            let room = self.room(now, vm.id, from);
            let asked = Arrival::asked_for(now, id, evacuation, vm, definition);
            self.arrivals.asked(now, asked, &room, fx);
            if self.arrivals.by_id(id).is_some() {
                // What comes back takes the place of what was left.
                self.nothing_remains(id.vm, fx);
            }
            return;
        }
        let id = match self.arrivals.get(id.vm) {
            Some(arrival) if self.config.planted(Bug::FormerAttemptBelieved) => arrival.id,
            _ => id,
        };
        if self.arrivals.settled.said_by_source(id, &direct, fx) {
            return;
        }
        if let Direct::SourceGone { heard, .. } = &direct
            && !self.vouches(now, heard)
        {
            // A person may have declared this host dead since it was said.
            return fx.send(from, Direct::Ask { id, offline: false });
        }
        let Some(arrival) = self.arrivals.by_id(id) else {
            match direct {
                // What is asked for is done already, in this life or a former one.
                Direct::SourceKept { .. } => fx.send(from, Direct::Discarded { id }),
                Direct::SourceGone { resumes, .. } => {
                    self.given_here.insert(id.vm, (id, resumes));
                    self.departures.asked.insert(id.vm, Asked { id, from, offline: false });
                    fx.out(Output::Look { vm: id.vm });
                }
                Direct::Ask { .. } | Direct::Withheld { .. } => {
                    self.departures.asked.insert(id.vm, Asked { id, from, offline: false });
                    fx.out(Output::Look { vm: id.vm });
                }
                Direct::Renew { .. } => {
                    let answer = Err("the reservation is not known here any more".into());
                    fx.send(from, Direct::Reserved { id, answer });
                }
                _ => {}
            }
            return;
        };
        match direct {
            Direct::Renew { .. } => arrival.renewed(now),
            Direct::SourceGone { paused_ms, .. } => arrival.source_gone(now, paused_ms, fx),
            Direct::SourceKept { .. } => arrival.source_kept(now, fx),
            Direct::Withheld { .. } => arrival.source_withholds(fx),
            Direct::Ask { .. } => {
                self.departures.asked.insert(id.vm, Asked { id, from, offline: false });
                fx.out(Output::Look { vm: id.vm });
            }
            _ => {}
        }
    }

    fn said_by_destination(
        &mut self,
        now: Instant,
        from: NodeId,
        id: MoveId,
        direct: Direct,
        fx: &mut Effects,
    ) {
        if self.said_of_stranded(now, from, id, &direct, fx) {
            return;
        }
        let claimed = self.third_running(id.vm, from).is_some();
        let Some(departure) = self.departures.by_id(id).filter(|departure| departure.to == from)
        else {
            if let Direct::Settled { .. } = direct {
                fx.send(from, Direct::Closed { id });
            }
            if let Direct::Reserved { answer: Ok(()), .. } = direct {
                // It may be a late one of an attempt that succeeded, or a former life may have begun
                // it and have forgotten: the hypervisor knows.
                self.departures.asked.insert(id.vm, Asked { id, from, offline: false });
                fx.out(Output::Look { vm: id.vm });
            }
            return;
        };
        let ended = match direct {
            Direct::Reserved { answer, .. } => departure.answered(now, answer, fx),
            Direct::Preparing { .. } => {
                departure.prepares();
                Ended::No
            }
            Direct::Settled { downtime_ms, .. } => departure.settled(downtime_ms, fx),
            Direct::DestinationHas { copy, .. } => {
                departure.destination_has(now, copy, claimed, fx);
                Ended::No
            }
            Direct::Discarded { .. } => {
                if matches!(departure.phase, crate::departures::Phase::Kept { .. }) {
                    fx.erase(&Key::Departure(id));
                    self.departures.remove(id.vm);
                }
                Ended::No
            }
            _ => Ended::No,
        };
        self.departure_ended(now, id.vm, ended, fx);
    }

    /// A destination asks what became of the source's copy.
    fn asked_as_source(
        &mut self,
        now: Instant,
        id: MoveId,
        offline: bool,
        from: NodeId,
        fx: &mut Effects,
    ) {
        let departure = self.departures.by_id(id).map(|departure| &*departure);
        match departure.map(|departure| departure.decided) {
            Some(_) if self.config.planted(Bug::CommitToldOnce) => {}
            Some(crate::journal::Decided::Gone) => {
                let resumes = departure.is_some_and(|departure| departure.vm.state.resumes());
                let paused_ms = departure.and_then(|departure| departure.paused_ms(now));
                fx.commit(from, id, paused_ms, resumes);
            }
            Some(crate::journal::Decided::Kept) => fx.send(from, Direct::SourceKept { id }),
            // It is under way: the outcome will be told.
            Some(_) => {}
            None if self.stranded.has(id) => fx.send_after_durable(from, Direct::Withheld { id }),
            None => {
                self.departures.asked.insert(id.vm, Asked { id, from, offline });
                fx.out(Output::Look { vm: id.vm });
            }
        }
    }

    fn looked(&mut self, now: Instant, vm: VmId, copy: Copy, outgoing: bool, fx: &mut Effects) {
        if let Some(Asked { id, from, offline }) = self.departures.asked.remove(&vm) {
            let concerned = self.departures.by_id(id).is_some();
            let answer = if id.source == self.me {
                // A later attempt under way makes the hypervisor's answer say nothing of this one.
                let busy = self.departures.get(vm).is_some_and(|departure| departure.begun());
                if outgoing && self.departures.get(vm).is_none() {
                    // A former life began it and has forgotten it: nobody asks for a share for it.
                    fx.out(Output::AbortMove { id });
                }
                let elsewhere = self.has_settled_elsewhere(vm, from);
                match elsewhere && !copy.is_live() {
                    _ if busy => None,
                    true => Some(Answer::Kept),
                    false => answer_without_record(offline, copy, outgoing),
                }
            } else if let Some(arrival) = self.arrivals.by_id(id) {
                let nothing = arrival.has_no_guest(copy);
                Some(Answer::Has(if nothing { Copy::Absent } else { copy }))
            } else if copy == Copy::Absent {
                Some(Answer::Has(copy))
            } else if copy == Copy::Running {
                Some(Answer::Settled)
            } else {
                self.take_without_record(id, copy, fx)
            };
            self.given_here.remove(&vm);
            match answer.filter(|_| !concerned) {
                // Whether it ran is forgotten here; only a destination that forgot it, too, goes by this.
                Some(Answer::Gone) => fx.commit(from, id, None, true),
                Some(Answer::Kept) => fx.send(from, Direct::SourceKept { id }),
                Some(Answer::Has(copy)) => fx.send(from, Direct::DestinationHas { id, copy }),
                Some(Answer::Settled) => fx.send(from, Direct::Settled { id, downtime_ms: None }),
                None => {}
            }
        }
        if copy == Copy::Absent {
            self.nothing_remains(vm, fx);
        }
        if let Some(departure) = self.departures.get_mut(vm) {
            let ended = departure.looked(now, copy, outgoing, fx);
            self.departure_ended(now, vm, ended, fx);
        }
        if let Some(arrival) = self.arrivals.get_mut(vm)
            && arrival.looked(now, copy, &self.config, fx)
        {
            self.arrivals.remove(vm);
        }
    }

    /// The journal here was lost, and with it what came: the commit still says whose the copy is. The
    /// source repeats it until the VM runs here.
    fn take_without_record(&mut self, id: MoveId, copy: Copy, fx: &mut Effects) -> Option<Answer> {
        let (given, resumes) = *self.given_here.get(&id.vm)?;
        if given != id || copy != Copy::Paused || self.departures.get(id.vm).is_some() {
            return None;
        }
        if resumes {
            fx.out(Output::Resume { id });
            return None;
        }
        Some(Answer::Settled)
    }

    /// Whether a VM of this host is known to have settled on another host than `asking`: then
    /// what `asking` has of it is left over from an attempt that failed.
    fn has_settled_elsewhere(&self, vm: VmId, asking: NodeId) -> bool {
        let name = self.directory.name(asking);
        let own = self.directory.name(self.me);
        self.outcomes
            .iter()
            .filter(|((_, moved), outcome)| *moved == vm && outcome.from == own)
            .max_by_key(|((evacuation, _), _)| {
                self.evacuations.get(*evacuation).map(|known| known.started_at)
            })
            .is_some_and(|(_, outcome)| outcome.to != name)
    }

    pub(super) fn departure_ended(
        &mut self,
        now: Instant,
        vm: VmId,
        ended: Ended,
        fx: &mut Effects,
    ) {
        match ended {
            Ended::No => {}
            Ended::Settled { downtime_ms } => {
                let Some(departure) = self.departures.remove(vm) else { return };
                self.vms.remove(&vm);
                self.leave_remains(departure.id, fx);
                let in_vain = self.setbacks.remove(&vm).map_or(0, |setback| setback.sent);
                let known = self.evacuations.get(departure.evacuation);
                let age = known.map(|known| known.age(now));
                let late = known.and_then(|known| known.late_by(now));
                let outcome = Outcome {
                    vm,
                    name: departure.vm.name.clone(),
                    from: self.directory.name(self.me),
                    to: self.directory.name(departure.to),
                    start_ms: departure.start_ms,
                    end_ms: age.map_or(0, crate::time::milliseconds),
                    ran: departure.vm.state.resumes(),
                    ended: self.had_ended(&departure, fx),
                    downtime_ms,
                    bytes_needed: departure.vm.bytes(),
                    bytes_sent: departure.bytes_sent().saturating_add(in_vain),
                    attempts: departure.attempts,
                    dirty_rate: departure.progress.dirty_rate,
                };
                let key = Key::Outcome(departure.evacuation, vm);
                fx.persist(&key, &Value::Outcome(outcome.clone()));
                let (name, to) = (&outcome.name, &outcome.to);
                let text = match departure.vm.state {
                    RunState::Running => format!("{name} runs at {to}"),
                    RunState::Paused => format!("{name} is at {to}, paused"),
                    RunState::ShutOff => format!("{name} is at {to}, shut off"),
                };
                let text = match late {
                    Some(late) => format!("{text}, {}s after the deadline", late.as_secs()),
                    None => text,
                };
                fx.vm_notice(NoticeKind::Vm, vm, departure.evacuation, text);
                if outcome.ended {
                    let text = ended_on_its_way(name, &outcome.from, to);
                    fx.vm_notice(NoticeKind::Failed, vm, departure.evacuation, text);
                }
                self.outcomes.insert((departure.evacuation, vm), outcome);
                self.inventory_at = Instant::default();
                fx.urgent();
            }
            Ended::Failed(reason) => self.departure_failed(now, vm, reason, fx),
            Ended::ShutDown(reason) => {
                self.departure_shut_down(vm, fx);
                self.departure_failed(now, vm, reason, fx);
            }
            Ended::Vanished(reason) => self.departure_vanished(vm, &reason, fx),
        }
    }

    /// A VM has ended while it moved, and its host has nothing of it any more.
    fn departure_vanished(&mut self, vm: VmId, reason: &str, fx: &mut Effects) {
        let Some(departure) = self.departures.get(vm) else { return };
        let (name, to) = (&departure.vm.name, self.directory.name(departure.to));
        let text = format!(
            "{name} did not move to {to}: it ended here while it moved ({reason}), and nothing of it is \
             left to move"
        );
        fx.vm_notice(NoticeKind::Failed, vm, departure.evacuation, text);
        self.vms.remove(&vm);
        self.setbacks.remove(&vm);
        self.inventory_at = Instant::default();
        fx.urgent();
    }

    fn departure_failed(
        &mut self,
        now: Instant,
        vm: VmId,
        reason: alloc::string::String,
        fx: &mut Effects,
    ) {
        let Some(departure) = self.departures.get(vm) else { return };
        let (to, evacuation, name) =
            (departure.to, departure.evacuation, departure.vm.name.clone());
        let (begun, giving_up, sent) =
            (departure.begun(), departure.giving_up, departure.bytes_sent());
        let telling = matches!(departure.phase, crate::departures::Phase::Kept { .. });
        let not_begun = departure.phase == crate::departures::Phase::Reading;
        if !telling || reason.is_empty() {
            self.departures.remove(vm);
        }
        if reason.is_empty() {
            if not_begun {
                // The hypervisor has no such VM, although it listed it: its next list may tell.
                self.setbacks.entry(vm).or_default().not_before = now + self.config.retry;
            }
            return;
        }
        let wanted = self.is_emptied();
        // Given up for its destination's sake, whatever the hypervisor calls it.
        let (up, there) = (self.membership.is_up(now, to), self.directory.name(to));
        let reason = match giving_up {
            Some(GivingUp::Silence) if up => format!("{there} was not heard for a moment"),
            Some(GivingUp::Silence) => format!("{there} is not heard any more"),
            Some(GivingUp::StandsStill) => format!("nothing of it flowed to {there}"),
            Some(GivingUp::PausedTooLong) => format!(
                "its guest stood still for longer than its policy allows: less flowed to {there} than \
                 expected"
            ),
            Some(GivingUp::Asked) | None => reason,
        };
        let stood_still = giving_up == Some(GivingUp::StandsStill);
        let over_it = if stood_still { self.behind_the_same_link(now, to) } else { Vec::new() };
        let setback = self.setbacks.entry(vm).or_default();
        setback.failures += 1;
        setback.sent = setback.sent.saturating_add(sent);
        // What never began has cost nothing: it is tried again soon, somewhere else if it can be.
        let doublings = if begun { (setback.failures - 1).min(5) } else { 0 };
        let pause = self.config.retry * (1 << doublings);
        setback.not_before = now + pause.min(LONGEST_PAUSE);
        let passed_over = now + if stood_still { STOOD_STILL_FOR } else { REFUSED_FOR };
        for node in over_it.into_iter().chain([to]) {
            setback.refused.insert(node, (passed_over, reason.clone()));
        }
        let next = if wanted { "it is tried again" } else { "it stays here" };
        let text = format!("{name} did not move to {there}: {reason}; {next}");
        setback.reason = reason;
        fx.vm_notice(NoticeKind::Failed, vm, evacuation, text);
        fx.urgent();
    }

    fn room(&self, now: Instant, vm: VmId, source: NodeId) -> Room {
        let elsewhere = self.others_running(now, vm).find(|node| *node != source);
        let refusal = if let Some(reason) = &self.hypervisor_down {
            Some(format!("its hypervisor does not answer: {reason}"))
        } else if let Some(node) = elsewhere {
            Some(format!("the VM runs at {}, as said there", self.directory.name(node)))
        } else if let Some(reason) = self.unwritable() {
            Some(reason)
        } else if self.is_emptied() && !self.config.planted(Bug::ArrivesWhileEvacuated) {
            let by = self.evacuations.covering(self.me, self.site).next();
            let by = by.map(|known| format!(" by evacuation {}", known.record.id));
            Some(format!("it is itself being evacuated{}", by.unwrap_or_default()))
        } else if self.leaving {
            Some("its daemon is stopping".into())
        } else {
            None
        };
        Room {
            memory_free: match self.config.planted(Bug::BeyondFreeMemory) {
                true => u64::MAX,
                false => self.host.memory_free,
            },
            refusal,
            present: self.vms.contains_key(&vm) && self.arrivals.get(vm).is_none()
                || self.arrivals.settled.is_new(vm),
        }
    }

    /// Sees whose standing has changed: of who was heard, and of all when a silence has become too
    /// long.
    pub(super) fn watch_members(&mut self, now: Instant, fx: &mut Effects) {
        let heard = self.members_heard.take();
        let nodes: Vec<NodeId> = if now >= self.members_due {
            self.membership.peers().map(|(node, _)| node).collect()
        } else {
            heard.into_iter().collect()
        };
        if !nodes.is_empty() {
            self.members_due = self.membership.next_change(now).unwrap_or(Instant(u64::MAX));
        }
        for node in nodes {
            let liveness = self.membership.liveness(now, node);
            let before = self.liveness.insert(node, liveness);
            self.inventories_changed |= before != Some(liveness);
            // The silence of those who have no reason to speak to this node is no news.
            if before == Some(liveness) || !self.expects(node) {
                continue;
            }
            let name = self.directory.name(node);
            let text = match liveness {
                Liveness::Alive if before == Some(Liveness::Suspected) => continue,
                Liveness::Alive => format!("{name} is alive"),
                Liveness::Suspected => continue,
                Liveness::Dead => format!("{name} is silent and counts as dead"),
                Liveness::Left => format!("{name} has left"),
                Liveness::Unseen => continue,
            };
            fx.notice(NoticeKind::Member, text);
            if !self.is_large() {
                fx.urgent();
            }
        }
    }
}
