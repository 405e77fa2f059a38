//! Nothing is taken in by a host that knows that it is being evacuated.

use lifeboat_protocol::{Output, evacuation::State};

use super::{Check, Checks};
use crate::r#virtual::host::Host;

impl Checks {
    pub(super) fn evacuated(&mut self, host: &Host, output: &Output, now: u64) {
        let Output::PrepareArrival { vm, .. } = output else { return };
        let Some(node) = &host.daemon else { return };
        let site = node.directory().site_of(host.id);
        let emptied = node.evacuation_records().any(|record| {
            let site_is_named = site.is_some_and(|site| record.from_sites.contains(&site));
            let named = record.from_hosts.contains(&host.id) || site_is_named;
            record.state == State::Active && named
        });
        if emptied {
            let what = format!("{} takes {} in while it is being emptied", host.name, vm.name);
            self.object(Check::Evacuated, now, what);
        }
    }
}
