//! The handover of one VM, searched whole: two shipped nodes with their journals, and between them
//! every order of messages, of the hypervisors' answers, of deaths and restarts.
//!
//! What concerns only the two travels as encoded bytes, and may arrive at any time after it was
//! sent, any number of times, or never. So lost replies and cut links are what the search does
//! anyhow. Gossip goes by time: heartbeats pass at once whenever time passes, unless cut.
//!
//! Time stands still but for [`Action::Pause`], so that timers run out only there.

mod bounds;
mod host;
mod mail;
mod migration;
mod planted;
mod world;

pub use bounds::Bounds;
pub use planted::Planted;
pub use world::{Action, World};

use host::Place;
use stateright::{Model, Property};
use world::{DESTINATION, Rules, SOURCE};

/// One handover within bounds.
#[derive(Debug, Clone)]
pub struct Handover {
    rules: Rules,
}

impl Handover {
    /// The shipped code, or the shipped code with a bug around it.
    pub fn new(bounds: Bounds, planted: Planted) -> Self {
        Self { rules: Rules { bounds, planted } }
    }
}

impl World {
    /// Copies that run.
    fn running(&self) -> usize {
        let runs = |host: &&host::Host| host.place == Some(Place::Running);
        self.hosts.iter().filter(runs).count() + usize::from(self.started_cold)
    }

    /// Whether the VM can go on from some copy.
    fn is_somewhere(&self) -> bool {
        self.started_cold || self.hosts.iter().any(|host| host.place.is_some_and(Place::is_whole))
    }

    /// Whether neither end has anything open.
    fn is_closed(&self) -> bool {
        self.hosts.iter().all(|host| {
            host.daemon().is_some_and(|node| {
                node.departures().all().next().is_none() && node.arrivals().all().next().is_none()
            })
        })
    }

    /// The destination has a whole copy and only a person can say whether it is the true one.
    fn nobody_knows(&self) -> bool {
        !self.hosts[SOURCE].powered
            && self.hosts[DESTINATION].place == Some(Place::Arrived)
            && !self.commit_was_sent()
    }
}

impl Model for Handover {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::settled(&self.rules)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.rules, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        world.after(&action, &self.rules)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("never two running", |_, world: &World| world.running() < 2),
            Property::always(
                "never no copy while an end that had one lives",
                |_, world: &World| world.is_somewhere() || world.died_with_host,
            ),
            Property::always(
                "it runs at its destination only after the source's word, or a person's",
                |_, world: &World| {
                    world.hosts[DESTINATION].place != Some(Place::Running)
                        || world.commit_was_sent()
                        || world.declared_dead
                },
            ),
            Property::sometimes(
                "reached: it has moved and both ends are done",
                |_, world: &World| {
                    world.hosts[DESTINATION].place == Some(Place::Running) && world.is_closed()
                },
            ),
        ];
        if self.rules.bounds.deaths > 0 {
            properties.push(Property::sometimes(
                "reached: nobody can know, and the copy waits",
                |_, world: &World| world.nobody_knows(),
            ));
            properties.push(Property::sometimes(
                "reached: a person's word lets it run",
                |_, world: &World| {
                    world.declared_dead
                        && !world.commit_was_sent()
                        && world.hosts[DESTINATION].place == Some(Place::Running)
                },
            ));
        }
        if self.rules.bounds.cold_starts > 0 {
            properties.push(Property::sometimes(
                "reached: it was started cold, and the copy that waited is ended",
                |_, world: &World| {
                    let nothing_there = world.hosts[DESTINATION].place.is_none();
                    world.started_cold
                        && nothing_there
                        && world.commit_was_sent()
                        && world.is_closed()
                },
            ));
        }
        if self.rules.bounds.crashes > 0 {
            properties.push(Property::sometimes(
                "reached: it moves although both daemons' lives changed",
                |_, world: &World| {
                    world.hosts.iter().any(|host| host.life > 1)
                        && world.hosts[DESTINATION].place == Some(Place::Running)
                },
            ));
        }
        if self.rules.bounds.breaks > 0 {
            properties.push(Property::sometimes(
                "reached: a whole copy is thrown away, since the guest runs on",
                |_, world: &World| {
                    world.hosts[SOURCE].place == Some(Place::Running)
                        && world.hosts[DESTINATION].place.is_none()
                        && world.migration.is_none()
                        && world.copy_was_refused()
                },
            ));
        }
        if self.rules.bounds.lost_jobs > 0 {
            properties.push(Property::sometimes(
                "reached: the hypervisor forgot, and the VM runs at its destination",
                |model: &Self, world: &World| {
                    world.job_was_lost(&model.rules)
                        && world.hosts[DESTINATION].place == Some(Place::Running)
                },
            ));
        }
        properties
    }
}
