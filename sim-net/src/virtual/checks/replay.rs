//! A journal leads to the same state in whatever order it is read.

use lifeboat_protocol::Node;

use super::{Check, Checks};

type Pairs = [(Vec<u8>, Vec<u8>)];

/// What a node took from its journal.
fn taken(node: &Node) -> String {
    let departures: Vec<_> = node.departures().all().collect();
    let arrivals: Vec<_> = node.arrivals().all().collect();
    let settled: Vec<_> = node.arrivals().settled().collect();
    format!("{departures:?} {arrivals:?} {settled:?}")
}

impl Checks {
    /// A daemon has read its journal; `make` makes one more from the same journal.
    pub(crate) fn replayed(
        &mut self,
        name: &str,
        node: &Node,
        journal: &Pairs,
        make: impl Fn(&Pairs) -> Node,
    ) {
        let backwards: Vec<_> = journal.iter().rev().cloned().collect();
        if taken(node) != taken(&make(&backwards)) {
            let what = format!("{name}: the journal read backwards is another one");
            self.object(Check::Replay, 0, what);
        }
    }
}
