//! No VM runs in two places.

use lifeboat_protocol::VmId;

use super::{Check, World};
use crate::r#virtual::Place;

impl World {
    pub(crate) fn check_runs_twice(&mut self, vm: VmId) {
        let places = self.places(vm);
        let running = places.iter().filter(|(_, place)| *place == Place::Running).count();
        if running > 1 {
            let what = format!("{} is at {places:?}", self.vms[&vm].spec.name);
            self.checks.object(Check::RunsTwice, self.now, what);
        }
    }
}
