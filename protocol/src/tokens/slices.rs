//! How a link's tokens are divided among the nodes that may issue them.

use crate::{
    ids::{LinkId, NodeId, mixed},
    units::LINK_TOKENS,
};

/// Slices of a link.
pub const SLICES: u16 = 40;
/// Tokens of one slice.
pub const SLICE_TOKENS: u16 = LINK_TOKENS / SLICES;

/// The issuer of a slice: the candidate with the highest rendezvous hash. When it dies, only its
/// own slices move.
pub fn issuer_of(
    link: LinkId,
    slice: u16,
    candidates: impl Iterator<Item = NodeId>,
) -> Option<NodeId> {
    let key = mixed(link.0, u64::from(slice));
    candidates.max_by_key(|node| (mixed(key, node.0), *node))
}

/// Tokens of the slices whose bits are set.
pub fn tokens_in(mask: u64) -> u16 {
    let slices = u16::try_from(mask.count_ones()).unwrap_or(SLICES).min(SLICES);
    slices * SLICE_TOKENS
}
