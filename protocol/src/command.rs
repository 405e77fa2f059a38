//! What an operator asks of a node.

use alloc::vec::Vec;

use crate::ids::{EvacuationId, NodeId, SiteId};

/// An operator's request, checked by name already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Start an evacuation.
    Evacuate {
        /// Its id, chosen at random by whoever asks; later starts have higher ids.
        id: EvacuationId,
        /// Sites to be emptied.
        from_sites: Vec<SiteId>,
        /// Hosts to be emptied.
        from_hosts: Vec<NodeId>,
        /// Where the VMs go.
        to: Vec<SiteId>,
        /// Deadline, in milliseconds from now.
        deadline_ms: Option<u64>,
    },
    /// End an evacuation; `abort` gives moves under way up, too.
    Cancel {
        /// Which.
        id: EvacuationId,
        /// Whether moves under way are given up.
        abort: bool,
    },
    /// The operator's word that a host is dead and its VMs cannot run: arrivals that wait for its
    /// word may be resumed, and VMs that have left for it may be started elsewhere.
    DeclareDead {
        /// The host.
        node: NodeId,
        /// Whether he knows that of a host of whose site nobody is heard, which looks like a cut link.
        whole_site: bool,
    },
    /// Say goodbye: the daemon stops on purpose.
    Leave,
}
