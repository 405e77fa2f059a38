//! A **model** of a daemon's journal on a disk that may lie, be full, or lose everything.

use std::collections::BTreeMap;

use lifeboat_protocol::journal::Change;

/// How many writes are remembered for undoing.
const UNDOABLE: usize = 64;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    pairs: Pairs,
    /// What each of the newest writes replaced, oldest first.
    replaced: Vec<Vec<Change>>,
    /// How many of the newest writes the disk will have lost when the host crashes.
    pub(crate) unsynced: usize,
    /// Whether all that it held was lost once.
    pub(crate) was_lost: bool,
    /// Until when nothing can be written.
    pub(crate) full_until: u64,
    /// Whether the daemon was told that nothing can be written.
    pub(crate) told_full: bool,
}

impl Journal {
    /// Makes a write durable, or lets the disk say so.
    pub(crate) fn write(&mut self, changes: Vec<Change>) {
        let mut replaced = Vec::with_capacity(changes.len());
        for Change { key, value } in changes {
            let before = match value {
                Some(value) => self.pairs.insert(key.clone(), value),
                None => self.pairs.remove(&key),
            };
            replaced.push(Change { key, value: before });
        }
        self.replaced.push(replaced);
        if self.replaced.len() > UNDOABLE {
            self.replaced.remove(0);
        }
    }

    /// The daemon is killed while the disk held writes back: they are gone.
    pub(crate) fn lose_unsynced(&mut self) {
        self.was_lost |= self.unsynced > 0;
        for _ in 0..std::mem::take(&mut self.unsynced) {
            let Some(replaced) = self.replaced.pop() else { break };
            for Change { key, value } in replaced.into_iter().rev() {
                match value {
                    Some(value) => self.pairs.insert(key, value),
                    None => self.pairs.remove(&key),
                };
            }
        }
    }

    /// Everything is gone.
    pub(crate) fn lose_everything(&mut self) {
        self.was_lost = true;
        self.pairs.clear();
        self.replaced.clear();
    }

    /// All that a new life of the daemon reads.
    pub(crate) fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.pairs.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }
}
