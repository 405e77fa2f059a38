//! An issuer's book of what is out.
//!
//! A grant stays in the book until it has surely run out by the sender's clock, or the sender has
//! confirmed that it goes by a later version. What a sender may be using is the most of all its
//! grants that are still in the book: it uses one of them, and nobody knows which. What a former
//! life of the sender was granted counts besides, as long as it runs: that life may have handed it
//! on and died before it could say so.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    ids::{Incarnation, NodeId},
    time::Instant,
};

#[derive(Debug, Clone, Copy, Hash)]
struct Out {
    version: u64,
    tokens: u16,
    expires: Instant,
}

/// The book.
#[derive(Debug, Clone, Default, Hash)]
pub struct Ledger {
    lives: BTreeMap<NodeId, Incarnation>,
    grants: BTreeMap<NodeId, Vec<Out>>,
    former: Vec<Out>,
    handed: BTreeMap<(NodeId, NodeId), Out>,
}

impl Ledger {
    /// The sender is in this life now: what its former lives were granted is theirs.
    pub fn lives(&mut self, sender: NodeId, life: Incarnation) {
        let before = self.lives.insert(sender, life);
        if before.is_some_and(|before| before != life)
            && let Some(grants) = self.grants.remove(&sender)
        {
            let expires = grants.iter().map(|out| out.expires).max();
            let most = grants.into_iter().max_by_key(|out| out.tokens);
            self.former.extend(most.zip(expires).map(|(out, expires)| Out { expires, ..out }));
        }
    }

    /// For [`crate::planted::Bug::FormerLifeForgotten`].
    pub(crate) fn forget_former(&mut self) {
        self.former.clear();
    }

    /// Writes down that `version` of the table grants `tokens` to `sender` until `expires`.
    pub fn grant(&mut self, sender: NodeId, version: u64, tokens: u16, expires: Instant) {
        let grants = self.grants.entry(sender).or_default();
        // An older grant that ends no later and is no larger says nothing any more.
        grants.retain(|out| out.tokens > tokens || out.expires > expires);
        grants.push(Out { version, tokens, expires });
    }

    /// The sender goes by `version` and by none before it, and has handed `handed` on. Handed
    /// tokens stay in the book under the receiver's name for as long as they were out.
    pub fn confirm(&mut self, sender: NodeId, version: u64, handed: &[(NodeId, u16)]) {
        let Some(grants) = self.grants.get_mut(&sender) else { return };
        if let Some(expires) = grants.iter().map(|out| out.expires).max() {
            for (receiver, tokens) in handed {
                let out = self.handed.entry((sender, *receiver)).or_insert(Out {
                    version,
                    tokens: *tokens,
                    expires,
                });
                out.tokens = out.tokens.max(*tokens);
                out.expires = out.expires.max(expires);
            }
        }
        grants.retain(|out| out.version >= version);
    }

    /// Forgets what has run out.
    pub fn expire(&mut self, now: Instant) {
        self.grants.retain(|_, grants| {
            grants.retain(|out| out.expires > now);
            !grants.is_empty()
        });
        self.handed.retain(|_, out| out.expires > now);
        self.former.retain(|out| out.expires > now);
    }

    /// The most that all senders together may be using.
    pub fn total(&self) -> u16 {
        let now = self.senders().into_iter().map(|sender| self.out(sender));
        now.chain(self.former.iter().map(|out| out.tokens)).fold(0, u16::saturating_add)
    }

    /// The most that all senders together may be using once what was handed on has run out.
    pub fn total_granted(&self) -> u16 {
        let now = self.grants.keys().map(|sender| self.granted(*sender));
        now.chain(self.former.iter().map(|out| out.tokens)).fold(0, u16::saturating_add)
    }

    /// The most that this life of `sender` was granted by this issuer and may still go by.
    pub fn granted(&self, sender: NodeId) -> u16 {
        let grants = self.grants.get(&sender);
        grants.and_then(|grants| grants.iter().map(|out| out.tokens).max()).unwrap_or(0)
    }

    /// The most that this life of `sender` may be using, what was handed to it included.
    pub fn out(&self, sender: NodeId) -> u16 {
        let granted = self.granted(sender);
        let handed = self
            .handed
            .iter()
            .filter(|((_, receiver), _)| *receiver == sender)
            .map(|(_, out)| out.tokens)
            .fold(0, u16::saturating_add);
        granted.max(handed)
    }

    fn senders(&self) -> Vec<NodeId> {
        let mut senders: Vec<NodeId> = self.grants.keys().copied().collect();
        senders.extend(self.handed.keys().map(|(_, receiver)| *receiver));
        senders.sort_unstable();
        senders.dedup();
        senders
    }

    /// When the next grant runs out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let grants = self.grants.values().flatten().map(|out| out.expires);
        let handed = self.handed.values().map(|out| out.expires);
        grants.chain(handed).chain(self.former.iter().map(|out| out.expires)).min()
    }
}
