//! Searching small worlds whole: every order of everything that can happen, on the shipped code.
//!
//! Two kinds of worlds. [`tokens`] drives the shipped issuer, holder, ledger and membership of
//! `lifeboat-protocol`; [`handover`] drives two whole shipped nodes through one VM's move. Both are
//! explored by the model checker stateright, breadth first, until there is no new state; a state
//! counts as known by a 64-bit hash, so that with ten million states the chance of having missed one
//! is about one in a million.
//!
//! Invariants: nothing of what is checked is copied or re-written here; the only stand-ins are the
//! network, the clocks, the disks and the hypervisors. A property that a search never saw broken is
//! trusted only because `tests/model.rs` plants bugs and sees it broken.

pub mod catalogue;
pub mod handover;
pub mod report;
mod search;
pub mod tokens;

pub use catalogue::{NoSuchModel, Size, names, run};
pub use report::{Report, Verdict};
pub use search::search;
