//! The daemon: the protocol's state machine between its drivers.
//!
//! One loop owns the protocol and everything that it decides; drivers run beside it and speak to
//! it through channels. Nothing in the loop waits for anything but the next thing that happens.

mod act;
mod answer;
mod carrier;
mod carrier_log;
mod clock;
mod convert;
mod events;
mod hung;
mod infos;
pub mod measure;
mod queues;
mod replace;
mod report;
mod start;
mod watch;

#[cfg(feature = "fuzz")]
pub(crate) use {
    convert::vm as convert_vm,
    start::{directory, timers},
};

use std::{collections::BTreeMap, sync::Arc};

use lifeboat_carrier::{LimitedBy, SetShare, Status};
use lifeboat_hypervisor::HypervisorEvent;
use lifeboat_protocol::{
    Input, LinkId, MoveId, Node, NodeId, Output, VmId,
    departures::Departure,
    input::{ArrivalEvent, DepartureEvent, LinkSample},
    message::HeldBack,
    output::{Notice, NoticeKind},
    units::BytesPerSec,
    vm::Progress,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, error::TryRecvError};
use tracing::{info, warn};

use crate::{
    config::Config,
    control::{ControlServer, Request},
    journal::{Change, JournalState, JournalWriter},
    transport::{Transport, TransportEvent},
};
use act::{Endpoint, Task};
use carrier::{CarrierLink, CarrierNews, Loss, Rates};
use events::EventLog;
use hung::GuestPaused;
use queues::Queues;

pub use start::run;

/// Bytes in flight that one stream is counted on for: below this per round trip one stream is
/// enough; more streams fill what one cannot. Linux grows a socket's window beyond it by itself,
/// but not at once.
const STREAM_WINDOW: u64 = 512 * 1024;
/// Most streams of one move.
const MOST_STREAMS: u64 = 16;

/// The daemon's loop and what it owns.
struct Daemon {
    config: Arc<Config>,
    node: Node,
    transport: Transport,
    journal: JournalWriter,
    journal_state: JournalState,
    actor: Queues<Task>,
    carrier: CarrierLink,
    supervisor: tokio::task::JoinHandle<()>,
    carrier_up: bool,
    /// Why it could not be started when that was last tried.
    carrier_failed: Option<String>,
    carrier_adopted: bool,
    /// In what it was started otherwise than this daemon would, if it was.
    carrier_differs: Option<String>,
    /// Whether it was told to end for that.
    carrier_replaced: bool,
    guest_paused: GuestPaused,
    shares: BTreeMap<LinkId, tokio::sync::watch::Sender<Option<SetShare>>>,
    endpoints: BTreeMap<NodeId, Endpoint>,
    rates: Rates,
    events: EventLog,
    progress_wanted: UnboundedSender<(VmId, MoveId, u64)>,
    inputs: UnboundedSender<Input>,
    _control: ControlServer,
}

/// Everything that the loop waits for.
struct Sources {
    inputs: UnboundedReceiver<Input>,
    hypervisor: UnboundedReceiver<HypervisorEvent>,
    carrier: UnboundedReceiver<CarrierNews>,
    transport: tokio::sync::mpsc::Receiver<TransportEvent>,
    journal: tokio::sync::watch::Receiver<JournalState>,
    control: tokio::sync::mpsc::Receiver<Request>,
}

impl Daemon {
    async fn serve(mut self, mut sources: Sources) {
        let mut stop = start::StopSignal::new();
        loop {
            self.drain();
            self.guest_paused.set(self.node.departures().all().any(Departure::guest_is_paused));
            let deadline = clock::wake_at(self.node.next_deadline());
            tokio::select! {
                Some(input) = sources.inputs.recv() => {
                    self.handle(input);
                    // Whatever else has come meanwhile is taken in before anything is decided anew.
                    while let Ok(input) = sources.inputs.try_recv() {
                        self.handle(input);
                    }
                }
                Some(event) = sources.hypervisor.recv() => self.hypervisor_event(event),
                Some(news) = sources.carrier.recv() => self.carrier_news(news),
                event = sources.transport.recv() => match event {
                    Some(event) => self.transport_event(event),
                    None => break,
                },
                Ok(()) = sources.journal.changed() => {
                    let state = sources.journal.borrow_and_update().clone();
                    self.journal_moved(state);
                }
                Some(request) = sources.control.recv() => self.answer(request),
                () = tokio::time::sleep_until(deadline) => self.handle(Input::Wake),
                () = stop.recv() => {
                    self.supervisor.abort();
                    // It has nothing to tell, and ends at the next thing that it waits for.
                    let _ = (&mut self.supervisor).await;
                    self.handle(Input::Command(lifeboat_protocol::command::Command::Leave));
                    self.drain();
                    info!("stopping; the carrier and its moves go on");
                    // The goodbye leaves through the transport's own task.
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    break;
                }
            }
            match sources.hypervisor.try_recv() {
                Ok(event) => self.hypervisor_event(event),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(clock::now(), input);
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Broadcast(bytes) => self.transport.broadcast(bytes),
            Output::Send { to, bytes } => {
                self.transport.send(&self.node.directory().name(to), bytes);
            }
            Output::Persist { sequence, changes } => {
                let changes = changes.into_iter().map(|change| match change.value {
                    Some(value) => Change::Put { key: change.key, value },
                    None => Change::Remove { key: change.key },
                });
                self.journal.submit(sequence, changes.collect());
            }
            Output::Grant { link, rate, until } => {
                let name = self.link_name(link);
                let share =
                    SetShare { link: name, rate_bytes_per_sec: rate.0, valid_until_ns: until.0 };
                let carrier = &self.carrier;
                let sender = self.shares.entry(link).or_insert_with(|| start::shares(carrier));
                sender.send_replace(Some(share));
            }
            Output::Look { vm } => self.actor.submit(vm, Task::Look),
            Output::ReadDefinition { id } => self.actor.submit(id.vm, Task::ReadDefinition(id)),
            Output::OpenMove { id, to, link } => {
                let task = Task::Open {
                    id,
                    to: self.endpoint(to),
                    link: self.link_name(link),
                    streams: self.streams(link),
                };
                self.actor.submit(id.vm, task);
            }
            Output::BeginMove { id, vm, to, max_downtime_ms } => {
                let (vm, to) = (Box::new(vm), self.endpoint(to));
                let rate = self.granted_rate(id);
                let task = Task::Begin { id, vm, to, rate, max_downtime_ms };
                self.actor.submit(id.vm, task);
            }
            Output::SetWeight { id, weight } => self.actor.submit(id.vm, Task::Weight(id, weight)),
            Output::SetGuest { id, guest } => self.actor.submit(id.vm, Task::Guest(id, guest)),
            Output::Escalate { id, step } => self.actor.submit(id.vm, Task::Escalate(step)),
            Output::AbortMove { id } => self.actor.submit(id.vm, Task::Abort(id)),
            Output::DestroySource { id } => self.actor.submit(id.vm, Task::Destroy),
            Output::ResumeSource { id } => self.actor.submit(id.vm, Task::ResumeSource),
            Output::Forget { id } => self.actor.submit(id.vm, Task::Forget),
            Output::Restore { vm } => self.actor.submit(vm, Task::Restore),
            Output::PrepareArrival { id, vm, definition } => {
                let from = self.endpoint(id.source);
                let task = Task::Prepare { id, vm: Box::new(vm), definition, from };
                self.actor.submit(id.vm, task);
            }
            Output::Resume { id } => self.actor.submit(id.vm, Task::Resume(id)),
            Output::Discard { id } => self.actor.submit(id.vm, Task::Discard(id)),
            Output::CloseMove { id } => self.actor.submit(id.vm, Task::Close(id)),
            Output::Notice(notice) => self.events.add(notice),
        }
    }

    fn endpoint(&self, node: NodeId) -> Endpoint {
        self.endpoints.get(&node).cloned().expect("the protocol names only listed nodes")
    }

    fn link_name(&self, link: LinkId) -> String {
        self.node.directory().link(link).map(|entry| entry.name.clone()).unwrap_or_default()
    }

    /// Streams for a move that may get the whole link: what the pipe holds, over what one stream is
    /// counted on for.
    fn streams(&self, link: LinkId) -> u16 {
        let view = self.node.links_view(clock::now());
        let pipe = view
            .iter()
            .find(|one| one.id == link)
            .map_or(0, |one| one.usable.bytes_in(one.round_trip));
        let streams = pipe.div_ceil(STREAM_WINDOW).clamp(2, MOST_STREAMS);
        u16::try_from(streams).unwrap_or(2)
    }

    fn granted_rate(&self, id: MoveId) -> u64 {
        let now = clock::now();
        let link = self.node.departures().get(id.vm).map(|departure| departure.link);
        link.map_or(0, |link| {
            let tokens = self.node.usable_tokens(now, link);
            let views = self.node.links_view(now);
            let view = views.iter().find(|view| view.id == link);
            view.map_or(0, |view| view.usable.share(tokens).0)
        })
    }

    fn transport_event(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Received { from, bytes, .. } => {
                self.handle(Input::Received { from: NodeId::of(&from), bytes });
            }
            TransportEvent::PeerUp(node) => info!(node, "connected"),
            TransportEvent::PeerDown(node) => info!(node, "connection lost; dialling again"),
            TransportEvent::StrangerRefused { peer, address } => self.notice(
                NoticeKind::Rejected,
                format!(
                    "a stranger was refused: {peer} at {address} is not listed in the cluster file"
                ),
            ),
            TransportEvent::Rejected { from, reason } => {
                self.notice(
                    NoticeKind::Rejected,
                    format!("a message from {from} was refused: {reason}"),
                );
            }
        }
    }

    fn notice(&mut self, kind: NoticeKind, text: String) {
        self.events.add(Notice { kind, vm: None, evacuation: None, text });
    }

    fn journal_moved(&mut self, state: JournalState) {
        if state.failed != self.journal_state.failed {
            match &state.failed {
                Some(reason) => {
                    let text = format!("the journal cannot be written, trying again: {reason}");
                    self.notice(NoticeKind::Alarm, text);
                }
                None => self.notice(NoticeKind::Member, "the journal is written again".into()),
            }
            self.handle(Input::Journal(state.failed.clone().map_or(Ok(()), Err)));
        }
        self.handle(Input::Durable(state.durable));
        self.journal_state = state;
    }

    fn hypervisor_event(&mut self, event: HypervisorEvent) {
        let (vm, departure, arrival) = match event {
            HypervisorEvent::Connected => return info!("the hypervisor answers"),
            HypervisorEvent::Disconnected(reason) => {
                return self.handle(Input::HypervisorDown(reason));
            }
            HypervisorEvent::Changed(vm) => {
                let vm = convert::vm_id(vm);
                // Something unasked-for may have happened to a VM that is on its way.
                if self.node.arrivals().get(vm).is_some() {
                    self.actor.submit(vm, Task::Look);
                }
                return;
            }
            HypervisorEvent::GuestPaused(vm) => (vm, Some(DepartureEvent::GuestPaused), None),
            HypervisorEvent::GuestResumed(vm) => (vm, Some(DepartureEvent::GuestResumed), None),
            HypervisorEvent::SourceGone(vm) => (vm, Some(DepartureEvent::SourceGone), None),
            HypervisorEvent::ProcessExited(vm) => (vm, Some(DepartureEvent::ProcessExited), None),
            HypervisorEvent::JobEnded(vm, end) => (vm, Some(DepartureEvent::JobEnded(end)), None),
            HypervisorEvent::Arrived(vm) => (vm, None, Some(ArrivalEvent::Complete)),
        };
        let vm = convert::vm_id(vm);
        let leaving = self.node.departures().get(vm).map(|departure| departure.id);
        if let (Some(event), Some(id)) = (departure, leaving) {
            if matches!(
                event,
                DepartureEvent::SourceGone
                    | DepartureEvent::ProcessExited
                    | DepartureEvent::JobEnded(_)
            ) {
                self.count_last(id);
            }
            self.handle(Input::Departure(id, event));
        }
        let coming = self.node.arrivals().get(vm).map(|arrival| arrival.id);
        if let (Some(event), Some(id)) = (arrival, coming) {
            self.handle(Input::Arrival(id, event));
        }
    }

    /// Asks the carrier once more what it sent for a move whose hypervisor has handed over all that it
    /// had: the switchover takes less than the time between two counts. Nothing waits for that; the
    /// word that the guest runs at its destination takes a round trip at least.
    fn count_last(&self, id: MoveId) {
        let (carrier, inputs) = (self.carrier.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let Ok(client) = carrier.client() else { return };
            // A carrier that does not answer is noticed by those who need it.
            let Ok(status) = client.status().await else { return };
            let name = id.to_string();
            if let Some(one) = status.moves.iter().find(|one| one.move_id == name) {
                let event = DepartureEvent::Sent(one.wire_sent_bytes);
                // The loop has ended only if the daemon has.
                let _ = inputs.send(Input::Departure(id, event));
            }
        });
    }

    fn carrier_news(&mut self, news: CarrierNews) {
        match news {
            CarrierNews::Up => {
                self.carrier_up = true;
                self.carrier_failed = None;
                self.carrier_adopted = false;
                (self.carrier_differs, self.carrier_replaced) = (None, false);
                for shares in self.shares.values() {
                    shares.send_modify(|_| {});
                }
            }
            CarrierNews::Down(loss) => {
                let (what, text) = loss.words();
                self.carrier_differs = None;
                let was_up = std::mem::replace(&mut self.carrier_up, false);
                if (was_up || loss == Loss::Ended) && !self.carrier_replaced {
                    self.notice(NoticeKind::Failed, text.into());
                }
                let lost: Vec<MoveId> =
                    self.node.departures().all().map(|departure| departure.id).collect();
                for id in lost {
                    let event = DepartureEvent::CarrierClosed(what.into());
                    self.handle(Input::Departure(id, event));
                }
            }
            CarrierNews::NotStarted(reason) => {
                self.notice(
                    NoticeKind::Failed,
                    format!(
                        "the carrier here cannot be started ({reason}): no VM can leave or arrive \
                         until it can; trying again"
                    ),
                );
                self.carrier_failed = Some(reason);
            }
            CarrierNews::Closed { id, reason } => {
                let closed = self
                    .node
                    .departures()
                    .all()
                    .map(|departure| departure.id)
                    .find(|known| known.to_string() == id);
                if let Some(id) = closed {
                    self.handle(Input::Departure(id, DepartureEvent::CarrierClosed(reason)));
                }
            }
            CarrierNews::Stranger { peer, address } => self.carrier_refused(&peer, &address),
            CarrierNews::Status(status) => self.carrier_status(&status),
        }
    }

    fn carrier_refused(&mut self, peer: &str, address: &str) {
        let config = Arc::clone(&self.config);
        let listed = config.nodes.iter().find(|node| node.peer.to_string() == peer);
        match listed {
            // It was on its way when the move ended or the carrier was restarted.
            Some(node) => info!(node = node.name, "a move that is not expected here was refused"),
            None => self.notice(
                NoticeKind::Rejected,
                format!("a stranger was refused by the carrier: {peer} at {address}"),
            ),
        }
    }

    fn carrier_status(&mut self, status: &Status) {
        if !std::mem::replace(&mut self.carrier_adopted, true) {
            self.adopt(status);
        }
        self.watch_settings(status);
        let mut samples: BTreeMap<LinkId, LinkSample> = BTreeMap::new();
        let empty = |link| LinkSample {
            link,
            sent: BytesPerSec(0),
            arrived: BytesPerSec(0),
            held_back: HeldBack::Idle,
            round_trip: None,
        };
        for link in &status.links {
            let id = LinkId::of(&link.link);
            let sample = samples.entry(id).or_insert_with(|| empty(id));
            let name = format!("sent {}", link.link);
            sample.sent =
                BytesPerSec(self.rates.per_second(name, status.at_ns, link.wire_sent_bytes));
            sample.held_back = held_back(link.limited_by);
            let round_trip = status
                .moves
                .iter()
                .filter(|one| carrier::is_open(one.state) && one.link.as_ref() == Some(&link.link))
                .filter_map(|one| one.rtt_us)
                .min();
            sample.round_trip = round_trip.map(std::time::Duration::from_micros);
        }
        let site = self.node.directory().site_of(self.node.id());
        for peer in &status.received {
            let from = self.endpoints.iter().find(|(_, one)| one.peer == peer.from_peer);
            let from = from.and_then(|(node, _)| self.node.directory().site_of(*node));
            let link =
                from.zip(site).and_then(|(from, to)| self.node.directory().link_between(from, to));
            let Some(link) = link else { continue };
            let name = format!("arrived {}", peer.from_peer);
            let rate = self.rates.per_second(name, status.at_ns, peer.wire_received_bytes);
            let sample = samples.entry(link).or_insert_with(|| empty(link));
            sample.arrived.0 += rate;
        }
        for sample in samples.into_values() {
            self.handle(Input::Link(sample));
        }
        let under_way: Vec<MoveId> = self
            .node
            .departures()
            .all()
            .filter(|departure| departure.begun())
            .map(|departure| departure.id)
            .collect();
        for id in under_way {
            let name = id.to_string();
            let wire = status.moves.iter().find(|one| one.move_id == name);
            let wire = wire.map_or(0, |one| one.wire_sent_bytes);
            // The poller has ended only if the daemon has.
            let _ = self.progress_wanted.send((id.vm, id, wire));
        }
    }

    /// A carrier that was found running: moves that the protocol knows go on, others are closed.
    fn adopt(&mut self, status: &Status) {
        let known: Vec<String> = self
            .node
            .departures()
            .all()
            .map(|departure| departure.id)
            .chain(self.node.arrivals().all().map(|arrival| arrival.id))
            .map(|id| id.to_string())
            .collect();
        for one in status.moves.iter().filter(|one| carrier::is_open(one.state)) {
            if known.contains(&one.move_id) {
                info!(id = one.move_id, "a move under way is adopted");
            } else {
                warn!(id = one.move_id, "a move that nobody knows is closed");
                let carrier = self.carrier.clone();
                let id = one.move_id.clone();
                tokio::spawn(async move {
                    if let Ok(client) = carrier.client() {
                        // If it cannot be closed, it ends by itself when nothing uses it.
                        let _ = client.close_move(&id).await;
                    }
                });
            }
        }
    }
}

fn held_back(limited: LimitedBy) -> HeldBack {
    let LimitedBy { tokens_ms, link_ms, source_ms } = limited;
    match tokens_ms.max(link_ms).max(source_ms) {
        0 => HeldBack::Idle,
        most if most == link_ms => HeldBack::Link,
        most if most == tokens_ms => HeldBack::Tokens,
        _ => HeldBack::Source,
    }
}

/// Asks the hypervisor how far moves are, so that the loop does not wait for it.
async fn poll_progress(
    hypervisor: Arc<dyn lifeboat_hypervisor::Hypervisor>,
    mut wanted: UnboundedReceiver<(VmId, MoveId, u64)>,
    inputs: UnboundedSender<Input>,
) {
    while let Some((vm, id, wire)) = wanted.recv().await {
        let event = match hypervisor.progress(convert::hypervisor_id(vm)).await {
            Ok(Some(found)) => DepartureEvent::Progress(Progress {
                remaining: found.remaining,
                sent: found.sent,
                wire,
                dirty_rate: found.dirty_rate.unwrap_or(0),
                pass: found.pass,
                rewritten_counted: found.rewritten_counted,
            }),
            Ok(None) | Err(_) => DepartureEvent::Sent(wire),
        };
        let told = inputs.send(Input::Departure(id, event));
        if told.is_err() {
            return;
        }
    }
}
