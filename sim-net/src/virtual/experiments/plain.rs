//! A plain world: four hosts to four, equal VMs, one link that one VM can fill.

use std::time::Duration;

use lifeboat_units::{ByteSize, Rate, Span};

use crate::r#virtual::scenario::{Change, Evacuation, Host, Link, Scenario, Vm};

/// What the link carries at first, bytes per second: 1 Gbit/s.
pub(crate) const CAPACITY: u64 = 125_000_000;

/// A length of so many seconds.
pub(crate) fn seconds(seconds: f64) -> Span {
    Span(Duration::from_secs_f64(seconds))
}

/// So many VMs of 1 GiB that rewrite little, spread over four hosts. The link changes as told, in
/// seconds after the evacuation was asked for; nodes know at first what it carries.
pub(crate) fn plain(vms: usize, changes: Vec<(f64, Change)>) -> Scenario {
    let sites = ["here", "there"];
    let hosts = sites
        .iter()
        .flat_map(|site| (1..=4).map(move |number| Host::named(&format!("{site}{number}"), site)));
    let evacuation = Evacuation::of("here", "there", "here1");
    let start = evacuation.at.0;
    let changes = changes
        .into_iter()
        .map(|(at, change)| Change { at: Span(start + seconds(at).0), ..change });
    let link = Link {
        rtt: seconds(0.04),
        initial: Rate::from_bytes_per_sec(CAPACITY),
        changes: changes.collect(),
        ..Link::between("here", "there", Rate::from_bytes_per_sec(CAPACITY))
    };
    let vm = |number: usize| Vm {
        dirty_rate: Rate::from_bytes_per_sec(1_000_000),
        working_set: Some(ByteSize(64 << 20)),
        ..Vm::sized(&format!("vm{number}"), &format!("here{}", number % 4 + 1), ByteSize(1 << 30))
    };
    Scenario {
        hosts: hosts.collect(),
        links: vec![link],
        vms: (0..vms).map(vm).collect(),
        evacuations: vec![evacuation],
        ..Scenario::default()
    }
}

/// A change of what the link carries, to so many thousandths of [`CAPACITY`].
pub(crate) fn carries(permille: u64) -> Change {
    // A link of nothing at all is a cut, not a capacity.
    let rate = Rate::from_bytes_per_sec((CAPACITY * permille / 1000).max(1000));
    Change { capacity: Some(rate), ..Change::default() }
}
