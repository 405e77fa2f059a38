//! Who may use how much of a link.
//!
//! A link is 1000 tokens, cut into [`slices`]. Each slice has one [`issuer`] at the receiving
//! site, which keeps a [`ledger`] of what is out and says in a [`Table`] on its heartbeat who may
//! use how much. Each sender is a [`holder`]: what it holds runs out by its own clock, counted from
//! its own heartbeat, before the issuer counts it as free.
//!
//! Invariant *conservation*: over all living senders, usable tokens of a link never exceed 1000
//! while the receiving site is connected.

pub mod holder;
pub mod issuer;
pub mod ledger;
pub mod slices;

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, LinkId, NodeId};

/// What one issuer grants on one link. Has one writer; a newer version replaces an older one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Table {
    /// The link.
    pub link: LinkId,
    /// Version, growing within the issuer's life.
    pub version: u64,
    /// The slices that it issues, one bit each.
    pub slices: u64,
    /// Who may use how much.
    pub entries: Vec<Entry>,
}

/// One sender's line in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The sender.
    pub sender: NodeId,
    /// The sender's life that is meant.
    pub incarnation: Incarnation,
    /// The sender's heartbeat that is answered: the lease counts from its sending.
    pub answering: u64,
    /// Tokens granted.
    pub tokens: u16,
}

/// A sender's word that it goes by this version of an issuer's table, and by none before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acceptance {
    /// The link.
    pub link: LinkId,
    /// The issuer.
    pub issuer: NodeId,
    /// The issuer's life.
    pub incarnation: Incarnation,
    /// The version gone by.
    pub version: u64,
    /// Tokens of this issuer that this sender has handed on to others, and that still run.
    pub handed: Vec<(NodeId, u16)>,
}

/// The rest of a lease, handed from one sender directly to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HandOn {
    /// The link.
    pub link: LinkId,
    /// Who issued the tokens.
    pub issuer: NodeId,
    /// In which life.
    pub issuer_incarnation: Incarnation,
    /// How many.
    pub tokens: u16,
    /// The receiver's life that is meant.
    pub incarnation: Incarnation,
    /// The receiver's heartbeat from whose sending `remaining_us` counts.
    pub answering: u64,
    /// What was left of the lease when the giver heard that heartbeat, in microseconds, already
    /// shortened by the drift allowance.
    pub remaining_us: u64,
}
