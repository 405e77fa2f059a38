//! The hypervisors' part: how a migration under way goes on, or breaks.

use super::{
    host::{News, Place},
    world::{DESTINATION, SOURCE, World},
};
use lifeboat_protocol::{
    Input, MoveId,
    input::{ArrivalEvent, DepartureEvent},
};

/// How far the migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Streams are being opened.
    Opening,
    /// Memory is copied while the guest runs.
    Copying,
    /// The guest is paused; the last bytes flow.
    Flushing,
    /// The destination has all of it; its word is on its way back.
    Landed,
}

/// A migration under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Migration {
    pub(super) id: MoveId,
    pub(super) stage: Stage,
}

impl World {
    /// The source's hypervisor is told to migrate.
    pub(super) fn begin(&mut self, id: MoveId) {
        let runs = self.hosts[SOURCE].place == Some(Place::Running);
        let starts = runs && self.migration.is_none();
        if starts {
            self.migration = Some(Migration { id, stage: Stage::Opening });
        }
        let answer = if starts { Ok(()) } else { Err("it could not start".into()) };
        self.departure(id, DepartureEvent::Begun(answer));
    }

    pub(super) fn departure(&mut self, id: MoveId, event: DepartureEvent) {
        self.hosts[SOURCE].will_be_told(News::Input(Input::Departure(id, event)));
    }

    pub(super) fn arrival(&mut self, id: MoveId, event: ArrivalEvent) {
        self.hosts[DESTINATION].will_be_told(News::Input(Input::Arrival(id, event)));
    }

    /// The migration gets one stage further.
    pub(super) fn advance(&mut self) {
        let Some(Migration { id, stage }) = self.migration else { return };
        let destination = &mut self.hosts[DESTINATION];
        let next = match stage {
            Stage::Opening => {
                if destination.prepared != Some(id) || destination.place.is_some() {
                    return self.give_up();
                }
                destination.place = Some(Place::Incoming);
                Stage::Copying
            }
            Stage::Copying => {
                self.hosts[SOURCE].turn(Place::Running, Some(Place::Switching));
                self.departure(id, DepartureEvent::GuestPaused);
                Stage::Flushing
            }
            Stage::Flushing => {
                if !destination.turn(Place::Incoming, Some(Place::Arrived)) {
                    return self.give_up();
                }
                self.arrival(id, ArrivalEvent::Complete);
                Stage::Landed
            }
            Stage::Landed => {
                destination.prepared = None;
                self.hosts[SOURCE].turn(Place::Switching, Some(Place::MovedAway));
                self.departure(id, DepartureEvent::SourceGone);
                self.departure(id, DepartureEvent::JobEnded(Ok(())));
                self.migration = None;
                return;
            }
        };
        self.migration = Some(Migration { id, stage: next });
    }

    /// The carriers, or the source's hypervisor, give the migration up: the guest runs on at its
    /// source, and what has not arrived whole is dropped.
    pub(super) fn give_up(&mut self) {
        let Some(Migration { id, .. }) = self.migration.take() else { return };
        if self.hosts[SOURCE].turn(Place::Switching, Some(Place::Running)) {
            self.departure(id, DepartureEvent::GuestResumed);
        }
        self.departure(id, DepartureEvent::JobEnded(Err("the stream broke".into())));
        self.drop_incoming();
    }

    /// The source's hypervisor daemon forgets the migration; a paused guest stays paused. The carrier
    /// sees its socket close.
    pub(super) fn lose_job(&mut self) {
        let Some(Migration { id, .. }) = self.migration.take() else { return };
        self.departure(id, DepartureEvent::CarrierClosed("the hypervisor is gone".into()));
    }

    /// The destination's hypervisor drops what never became whole.
    pub(super) fn drop_incoming(&mut self) {
        let destination = &mut self.hosts[DESTINATION];
        destination.turn(Place::Incoming, None);
        destination.prepared = None;
    }
}
