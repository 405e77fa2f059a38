//! Whom a node of a large cluster speaks to, how often, and when next.
//!
//! A node *wishes* to speak to some: its stewards, the issuers of its links, the other ends of its
//! moves. And it *answers* whoever wishes to hear it, as often as that one speaks. So two nodes speak
//! to each other as often as the one that needs it more wants it, and most pairs never do.
//!
//! Invariants:
//! - whoever was spoken to is spoken to again within the interval that was promised, or gets a last
//!   word;
//! - two heartbeats to one node are never closer than the urgent spacing.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use crate::{ids::NodeId, time::Instant};

#[derive(Debug, Clone, Default, Hash)]
struct Listener {
    /// How often this node wants to speak to it.
    wish: Option<Duration>,
    /// How often it speaks, and wants to be answered.
    answer: Option<Duration>,
    spoken_at: Option<Instant>,
    due: Instant,
}

impl Listener {
    fn interval(&self) -> Option<Duration> {
        match (self.wish, self.answer) {
            (Some(wish), Some(answer)) => Some(wish.min(answer)),
            (wish, answer) => wish.or(answer),
        }
    }
}

/// A heartbeat that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// To whom.
    pub(crate) to: NodeId,
    /// When the next one follows at the latest; zero if none does.
    pub(crate) every: Duration,
    /// How often it is to answer; `None` if it need not.
    pub(crate) wanted: Option<Duration>,
    /// When it was last spoken to.
    pub(crate) before: Option<Instant>,
}

/// All whom a node speaks to.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Audience {
    spacing: Duration,
    wishes: BTreeMap<NodeId, Duration>,
    listeners: BTreeMap<NodeId, Listener>,
    due: BTreeSet<(Instant, NodeId)>,
}

impl Audience {
    /// Nobody yet. `spacing` is the shortest time between two heartbeats to one node.
    pub(crate) fn new(spacing: Duration) -> Self {
        let (wishes, listeners, due) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { spacing, wishes, listeners, due }
    }

    /// From now on this node wants to speak to these, so often. Who is new, or is to be spoken to at
    /// another interval, or no more, hears of it at once.
    pub(crate) fn wish(&mut self, now: Instant, wishes: BTreeMap<NodeId, Duration>) {
        if wishes == self.wishes {
            return;
        }
        let before = core::mem::replace(&mut self.wishes, wishes);
        let nodes: BTreeSet<NodeId> = before.keys().chain(self.wishes.keys()).copied().collect();
        for node in nodes {
            let wish = self.wishes.get(&node).copied();
            if before.get(&node).copied() != wish {
                self.listeners.entry(node).or_default().wish = wish;
                self.hurry(now, node);
            }
        }
    }

    /// Whether this node wants to speak to `node`.
    pub(crate) fn wishes(&self, node: NodeId) -> bool {
        self.wishes.contains_key(&node)
    }

    /// All to whom this node wants to speak at least so often.
    pub(crate) fn wished_within(&self, interval: Duration) -> Vec<NodeId> {
        let often = self.wishes.iter().filter(|(_, wish)| **wish <= interval);
        often.map(|(node, _)| *node).collect()
    }

    /// All who are spoken to.
    pub(crate) fn all(&self) -> Vec<NodeId> {
        self.listeners.keys().copied().collect()
    }

    /// `node` wants to be spoken to so often, or does not care.
    pub(crate) fn heard(&mut self, now: Instant, node: NodeId, answer: Option<Duration>) {
        if answer.is_none() && !self.listeners.contains_key(&node) {
            return;
        }
        let listener = self.listeners.entry(node).or_default();
        if listener.answer == answer {
            return;
        }
        let sooner = answer.is_some_and(|every| listener.interval().is_none_or(|now| every < now));
        listener.answer = answer;
        if sooner {
            self.hurry(now, node);
        }
    }

    /// `node` is to be spoken to as soon as spacing allows, if it is spoken to at all.
    pub(crate) fn hurry(&mut self, now: Instant, node: NodeId) {
        let Some(listener) = self.listeners.get_mut(&node) else { return };
        let due = listener.spoken_at.map_or(now, |at| now.max(at + self.spacing));
        self.due.remove(&(listener.due, node));
        listener.due = due;
        self.due.insert((due, node));
    }

    /// When somebody is to be spoken to next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Who is to be spoken to now. Those who are only answered and are not `up` any more are
    /// forgotten.
    pub(crate) fn take_due(&mut self, now: Instant, up: impl Fn(NodeId) -> bool) -> Vec<Turn> {
        let mut turns = Vec::new();
        while let Some((at, to)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, to));
            let Some(listener) = self.listeners.get_mut(&to) else { continue };
            let before = listener.spoken_at;
            if listener.wish.is_none() && !up(to) {
                self.listeners.remove(&to);
                continue;
            }
            let wanted = listener.wish;
            let Some(every) = listener.interval() else {
                self.listeners.remove(&to);
                turns.push(Turn { to, every: Duration::ZERO, wanted, before });
                continue;
            };
            listener.spoken_at = Some(now);
            listener.due = now + every;
            self.due.insert((listener.due, to));
            turns.push(Turn { to, every, wanted, before });
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_millis(500);
    const SPACING: Duration = Duration::from_millis(15);

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn due(audience: &mut Audience, ms: u64) -> Vec<(u64, bool)> {
        let turns = audience.take_due(at(ms), |_| true);
        turns.into_iter().map(|turn| (turn.to.0, turn.wanted.is_some())).collect()
    }

    #[test]
    fn speaks_at_once_then_at_the_interval_and_gives_a_last_word() {
        let mut audience = Audience::new(SPACING);
        audience.wish(at(0), [(NodeId(1), HALF)].into());
        assert_eq!(due(&mut audience, 0), [(1, true)]);
        assert_eq!(due(&mut audience, 499), []);
        assert_eq!(due(&mut audience, 500), [(1, true)]);
        audience.wish(at(600), BTreeMap::new());
        assert_eq!(due(&mut audience, 600), [(1, false)]);
        assert_eq!(audience.next(), None);
    }

    #[test]
    fn answers_as_often_as_it_is_spoken_to_while_that_is_wanted() {
        let mut audience = Audience::new(SPACING);
        audience.heard(at(0), NodeId(2), Some(HALF));
        assert_eq!(due(&mut audience, 0), [(2, false)]);
        audience.heard(at(100), NodeId(2), Some(HALF * 4));
        assert_eq!(due(&mut audience, 500), [(2, false)]);
        assert_eq!(due(&mut audience, 2000), []);
        assert_eq!(due(&mut audience, 2500), [(2, false)]);
        audience.heard(at(2600), NodeId(2), None);
        assert_eq!(due(&mut audience, 4500), [(2, false)]);
        assert_eq!(audience.next(), None);
    }

    #[test]
    fn who_is_only_answered_is_forgotten_when_it_is_silent() {
        let mut audience = Audience::new(SPACING);
        audience.heard(at(0), NodeId(2), Some(HALF));
        assert!(audience.take_due(at(0), |_| false).is_empty());
        assert_eq!(audience.next(), None);
    }

    /// Two that want each other slow down again when both want it: what one says to want is its own
    /// wish, not how often it happens to speak.
    #[test]
    fn a_pair_slows_down_again() {
        let mut audience = Audience::new(SPACING);
        audience.wish(at(0), [(NodeId(1), HALF * 4)].into());
        audience.heard(at(0), NodeId(1), Some(HALF));
        let turn = audience.take_due(at(0), |_| true)[0];
        assert_eq!((turn.every, turn.wanted), (HALF, Some(HALF * 4)));
        audience.heard(at(1), NodeId(1), Some(HALF * 4));
        assert_eq!(audience.take_due(at(500), |_| true)[0].every, HALF * 4);
    }

    #[test]
    fn urgent_news_keeps_the_spacing() {
        let mut audience = Audience::new(SPACING);
        audience.wish(at(0), [(NodeId(1), HALF)].into());
        assert_eq!(due(&mut audience, 0), [(1, true)]);
        audience.hurry(at(5), NodeId(1));
        assert_eq!(audience.next(), Some(at(15)));
    }
}
