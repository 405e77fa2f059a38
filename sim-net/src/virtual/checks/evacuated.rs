//! Nothing is taken in by a host that knows that it is being evacuated.

use lifeboat_protocol::{Output, evacuation::State};

use super::{Check, Checks};
use crate::r#virtual::host::Host;

impl Checks {
    pub(super) fn evacuated(&mut self, host: &Host, output: &Output, now: u64) {
        let Output::PrepareArrival { vm, .. } = output else { return };
        let Some(node) = &host.daemon else { return };
        let site = node.directory().site_of(host.id).map(|site| node.directory().site_name(site));
        let emptied = node.evacuations_view(host.local(now)).into_iter().any(|evacuation| {
            let named = |name: &String| *name == host.name || Some(name) == site.as_ref();
            evacuation.state == State::Active && evacuation.from.iter().any(named)
        });
        if emptied {
            let what = format!("{} takes {} in while it is being emptied", host.name, vm.name);
            self.object(Check::Evacuated, now, what);
        }
    }
}
