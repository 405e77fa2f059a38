//! Watching a run from outside: when each guest left and arrived, as the hypervisors' events tell,
//! and what left the site meanwhile.
//!
//! A guest's way begins when the destination's QEMU is started for it, and ends when it runs there;
//! its pause lasts from its last switchover at the source until then.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::{
    cluster::Cluster,
    guests::Guest,
    shares,
    triggers::{Event, Events, PAUSED, RAN_ON, STARTED},
};

/// How long one run may take.
pub(super) const WITHIN: Duration = Duration::from_secs(600);

/// A run that is under way.
pub(super) struct Watch<'a> {
    events: &'a Events,
    wan_before: f64,
    began: Instant,
}

/// What was seen of a run.
pub(super) struct Seen {
    pub(super) journeys: Vec<Journey>,
    /// With headers, whoever sent them.
    pub(super) wan_bytes: f64,
}

/// One guest's way. Times count from the command.
#[derive(Debug, Serialize)]
pub(super) struct Journey {
    #[serde(flatten)]
    pub(super) guest: Guest,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) pause_ms: u64,
}

impl<'a> Watch<'a> {
    /// Just before the command.
    pub(super) fn begin(cluster: &Cluster, events: &'a Events) -> anyhow::Result<Self> {
        let wan_before = shares::leaving(cluster, &cluster.home)?;
        Ok(Self { events, wan_before, began: Instant::now() })
    }

    /// Waits until every guest runs at the other site.
    pub(super) fn end(self, cluster: &Cluster, guests: &[Guest]) -> anyhow::Result<Seen> {
        let destinations = cluster.lab.hosts_of(&cluster.away());
        let mut told: Vec<Told> = guests.iter().map(|_| Told::default()).collect();
        while told.iter().any(|told| told.arrived.is_none()) {
            let left = WITHIN.saturating_sub(self.began.elapsed());
            let event =
                self.events.next("all guests arrive", left, |event| event.at >= self.began)?;
            let of = guests.iter().position(|guest| guest.name == event.guest);
            let at_destination = destinations.contains(&event.host);
            told[of.with_context(|| event.guest.clone())?].hear(&event, at_destination);
        }
        let wan_bytes = shares::leaving(cluster, &cluster.home)? - self.wan_before;
        let journeys = guests.iter().zip(told).map(|(guest, told)| {
            let since = |at: Option<Instant>, what: &str| {
                let at = at.with_context(|| format!("{} was not seen to {what}", guest.name))?;
                anyhow::Ok(at.saturating_duration_since(self.began).as_millis() as u64)
            };
            let start_ms = since(told.started, "start")?;
            let end_ms = since(told.arrived, "arrive")?;
            let pause_ms = end_ms.saturating_sub(since(told.paused, "pause")?);
            Ok(Journey { guest: *guest, start_ms, end_ms, pause_ms })
        });
        Ok(Seen { journeys: journeys.collect::<anyhow::Result<_>>()?, wan_bytes })
    }
}

/// What was heard of a guest so far.
#[derive(Default)]
struct Told {
    started: Option<Instant>,
    paused: Option<Instant>,
    arrived: Option<Instant>,
}

impl Told {
    fn hear(&mut self, event: &Event, at_destination: bool) {
        match event.what.as_str() {
            STARTED if at_destination => self.started = self.started.or(Some(event.at)),
            PAUSED if !at_destination => self.paused = Some(event.at),
            what if at_destination && what.starts_with(RAN_ON) => {
                self.arrived = self.arrived.or(Some(event.at));
            }
            _ => {}
        }
    }
}
