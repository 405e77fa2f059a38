//! Names of things on the wire.
//!
//! Nodes, sites and links are known by a 64-bit FNV-1a hash of their configured name, so that two
//! nodes with different cluster files still mean the same thing. [`crate::directory`] refuses a
//! cluster file in which two names collide.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! named_by_hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The id of the thing with this configured name.
            pub fn of(name: &str) -> Self {
                Self(fnv1a(name.as_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }
    };
}

named_by_hash!(
    /// A node: one host's daemon.
    NodeId
);
named_by_hash!(
    /// A site: hosts with a fast network between them.
    SiteId
);
named_by_hash!(
    /// A link: the directed path from one site to others.
    LinkId
);

named_by_hash!(
    /// A group of VMs that belong together.
    GroupId
);

/// One life of a node's daemon. A later life has a higher number.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Incarnation(pub u64);

/// A VM's UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VmId(pub [u8; 16]);

/// One evacuation. Chosen at random where it is started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EvacuationId(pub u64);

/// One attempt to move one VM. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MoveId {
    /// The VM.
    pub vm: VmId,
    /// The node that it leaves.
    pub source: NodeId,
    /// The life of the source's daemon in which the attempt began.
    pub incarnation: Incarnation,
    /// Number of the attempt in that life.
    pub attempt: u64,
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VmId({self})")
    }
}

impl fmt::Display for EvacuationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for EvacuationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EvacuationId({self})")
    }
}

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All of it: a VM that comes back meets the names of its first way at the same carriers.
        let Self { vm, source, incarnation, attempt } = self;
        write!(f, "{vm}-{:016x}-{:x}-{attempt:x}", source.0, incarnation.0)
    }
}

/// A name made of sorted parts, such as a link's `a>b+c`.
pub(crate) fn link_name(from: &str, to: &[&str]) -> String {
    let mut name = String::from(from);
    for (index, site) in to.iter().enumerate() {
        name.push(if index == 0 { '>' } else { '+' });
        name.push_str(site);
    }
    name
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl VmId {
    /// A word of all its bytes, for hashing.
    pub(crate) fn spread(self) -> u64 {
        let (left, right) = self.0.split_at(8);
        let word =
            |bytes: &[u8]| bytes.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        mixed(word(left), word(right))
    }
}

/// A well-mixed hash of two words (SplitMix64's finalizer), for rendezvous hashing.
pub(crate) fn mixed(left: u64, right: u64) -> u64 {
    let mut word = left.wrapping_add(right.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
