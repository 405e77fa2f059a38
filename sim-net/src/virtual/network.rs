//! A **model** of how messages travel: late, lost, twice, overtaking each other, and not at all
//! across a cut.
//!
//! What a message meets depends on the seed and on how many went the same way before it, not on
//! what happened elsewhere: leaving a fault out of a story changes as little as possible else.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use lifeboat_protocol::wire;

use super::{nanoseconds, scenario};
use crate::random::{SplitMix, mix};

/// Messages of each host that are kept for repeating.
const KEPT: usize = 64;

/// The network between the daemons.
#[derive(Debug)]
pub(crate) struct Network {
    spec: scenario::Network,
    seed: u64,
    sent: BTreeMap<(usize, usize), u64>,
    cuts: BTreeSet<(usize, usize)>,
    garbled_until: BTreeMap<usize, u64>,
    kept: BTreeMap<usize, VecDeque<Kept>>,
    /// Bytes that each host received.
    pub(crate) received: BTreeMap<usize, u64>,
    calm: bool,
}

/// A message that was sent, and to whom; `None` is everyone.
pub(crate) type Kept = (Option<usize>, Rc<[u8]>);

/// One copy of a message under way.
pub(crate) struct Copy {
    pub(crate) delay: u64,
    pub(crate) bytes: Rc<[u8]>,
}

impl Network {
    pub(crate) fn new(spec: scenario::Network, seed: u64) -> Self {
        Self {
            spec,
            seed,
            sent: BTreeMap::new(),
            cuts: BTreeSet::new(),
            garbled_until: BTreeMap::new(),
            kept: BTreeMap::new(),
            received: BTreeMap::new(),
            calm: false,
        }
    }

    /// From now on nothing is lost, repeated or garbled, and nothing is cut.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
        self.cuts.clear();
        self.garbled_until.clear();
    }

    /// Nothing passes from `from` to `to` any more.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Every cut is over.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Whether any two of these hosts cannot talk, in one direction or both.
    pub(crate) fn divides(&self, hosts: &[usize]) -> bool {
        self.cuts.iter().any(|(from, to)| hosts.contains(from) && hosts.contains(to))
    }

    pub(crate) fn garble(&mut self, host: usize, until: u64) {
        self.garbled_until.insert(host, until);
    }

    /// Remembers a message for later repetition.
    pub(crate) fn keep(&mut self, host: usize, to: Option<usize>, bytes: &Rc<[u8]>) {
        let kept = self.kept.entry(host).or_default();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((to, Rc::clone(bytes)));
    }

    /// The oldest messages of a host that are kept.
    pub(crate) fn old(&self, host: usize, count: usize) -> Vec<Kept> {
        self.kept.get(&host).into_iter().flatten().take(count).cloned().collect()
    }

    /// A message that is longer than any may be.
    pub(crate) fn oversized() -> Rc<[u8]> {
        vec![1; wire::LIMIT + 1].into()
    }

    /// Whether messages find their way around a cut.
    pub(crate) fn relays(&self) -> bool {
        self.spec.relay
    }

    /// What becomes of a message that has a way: the copies that arrive. `way` is the delay of the bare path.
    pub(crate) fn send(
        &mut self,
        now: u64,
        from: usize,
        to: usize,
        way: u64,
        bytes: &Rc<[u8]>,
    ) -> Vec<Copy> {
        let number = self.sent.entry((from, to)).or_default();
        *number += 1;
        let lane = mix((from as u64) << 32 | to as u64).wrapping_add(*number);
        let mut random = SplitMix::new(self.seed, lane);
        if !self.calm && random.permille(self.spec.loss_permille) {
            return Vec::new();
        }
        let twice = !self.calm && random.permille(self.spec.duplicate_permille);
        let garbled = self.garbled_until.get(&from).is_some_and(|until| now < *until);
        (0..1 + usize::from(twice))
            .map(|_| {
                let jitter = if self.calm { 0 } else { nanoseconds(self.spec.jitter) };
                let delay = way + random.below(jitter + 1);
                let bytes = if garbled { damaged(bytes, &mut random) } else { Rc::clone(bytes) };
                Copy { delay, bytes }
            })
            .collect()
    }

    /// One way within a site, nanoseconds.
    pub(crate) fn within_site(&self) -> u64 {
        nanoseconds(self.spec.within_site)
    }
}

/// Some bits flipped, and sometimes the end cut off; never something that can still be read: the
/// transport authenticates every byte, so that only a peer that writes nonsense gets through.
fn damaged(bytes: &[u8], random: &mut SplitMix) -> Rc<[u8]> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.between(1, 4) {
        let at = random.below(bytes.len() as u64) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
    if random.permille(300) {
        bytes.truncate(random.below(bytes.len() as u64) as usize);
    }
    while wire::decode::<lifeboat_protocol::message::Message>(&bytes).is_ok() {
        bytes.pop();
    }
    bytes.into()
}
