//! A queue that never grows: what is oldest and matters least gives way, and is counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much an item matters when there is no room, and whether age spoils it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Gives way first; worthless when old. The next one says the same, newer.
    WhileFresh,
    /// Gives way when nothing else does; worthless when old.
    Longer,
    /// Gives way last and does not age.
    Always,
}

/// Bounded, first in, first out.
#[derive(Debug)]
pub(super) struct BoundedQueue<T> {
    items: VecDeque<(Instant, Keep, T)>,
    capacity: usize,
    max_age: Duration,
}

impl<T> BoundedQueue<T> {
    pub(super) fn new(capacity: usize, max_age: Duration) -> Self {
        assert!(capacity > 0, "a queue that holds nothing delivers nothing");
        Self { items: VecDeque::new(), capacity, max_age }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds an item and returns how many had to go for it.
    pub(super) fn push(&mut self, now: Instant, keep: Keep, item: T) -> u64 {
        let full = self.items.len() >= self.capacity;
        if full {
            let victim = [Keep::WhileFresh, Keep::Longer, Keep::Always]
                .into_iter()
                .find_map(|rank| self.items.iter().position(|(_, keep, _)| *keep == rank));
            self.items.remove(victim.unwrap_or(0));
        }
        self.items.push_back((now, keep, item));
        u64::from(full)
    }

    /// The oldest item that is still worth something, and how many before it were not.
    pub(super) fn pop(&mut self, now: Instant) -> (Option<T>, u64) {
        let mut spoilt = 0;
        while let Some((since, keep, item)) = self.items.pop_front() {
            if keep == Keep::Always || now.saturating_duration_since(since) <= self.max_age {
                return (Some(item), spoilt);
            }
            spoilt += 1;
        }
        (None, spoilt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut BoundedQueue<u8>, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop(now).0).collect()
    }

    #[test]
    fn the_oldest_broadcast_gives_way_first() {
        let now = Instant::now();
        let mut queue = BoundedQueue::new(3, Duration::from_secs(5));
        assert_eq!(queue.push(now, Keep::Always, 1), 0);
        assert_eq!(queue.push(now, Keep::WhileFresh, 2), 0);
        assert_eq!(queue.push(now, Keep::Longer, 3), 0);
        assert_eq!(queue.push(now, Keep::WhileFresh, 4), 1);
        assert_eq!(queue.push(now, Keep::Always, 5), 1);
        assert_eq!(queue.push(now, Keep::Always, 6), 1);
        assert_eq!(drain(&mut queue, now), [1, 5, 6]);
        assert!(queue.is_empty());
    }

    #[test]
    fn age_spoils_messages_but_not_notices() {
        let then = Instant::now();
        let now = then + Duration::from_secs(6);
        let mut queue = BoundedQueue::new(9, Duration::from_secs(5));
        queue.push(then, Keep::WhileFresh, 1);
        queue.push(then, Keep::Longer, 2);
        queue.push(then, Keep::Always, 3);
        queue.push(now, Keep::WhileFresh, 4);
        assert_eq!(queue.pop(now), (Some(3), 2));
        assert_eq!(queue.pop(now), (Some(4), 0));
        assert_eq!(queue.pop(now), (None, 0));
    }
}
