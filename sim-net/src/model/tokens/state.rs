//! One state of the token world, and what can happen in it.

use super::{
    bounds::{Bounds, FAST_STEP, LEASE_TICKS, SLOW_STEP},
    canonical::{Origin, Words, node_id},
    planted::Planted,
    player::{Player, Said},
};
use lifeboat_protocol::{
    Config, NodeId,
    time::nanoseconds,
    tokens::{HandOn, issuer::Target},
    units::LINK_TOKENS,
};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// What a world goes by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) bounds: Bounds,
    pub(super) planted: Planted,
    pub(super) config: Config,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A tick passes on every clock, and every living player sends its heartbeat to all.
    Tick,
    /// A player sends one more heartbeat in the same tick, as it does when something is urgent.
    Speak {
        /// The player.
        player: usize,
    },
    /// A heartbeat arrives: the newest of `from`, or an older one.
    Hear {
        /// Who hears it.
        to: usize,
        /// Whose it is.
        from: usize,
        /// How many newer ones of that player there are.
        back: usize,
    },
    /// An issuer learns that the link is to be divided otherwise.
    Want {
        /// The issuer.
        issuer: usize,
        /// Which division.
        division: u8,
    },
    /// A sender hands all that it has on.
    HandOn {
        /// The giver.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// A lease that was handed on arrives, perhaps again.
    TakeHandOn {
        /// Which of those under way.
        which: usize,
    },
    /// A player's daemon dies.
    Crash {
        /// The player.
        player: usize,
    },
    /// A player's daemon starts, with nothing remembered.
    Start {
        /// The player.
        player: usize,
    },
    /// One direction between two issuers is cut, or passes again.
    Cut {
        /// Whose heartbeats are concerned.
        from: usize,
        /// Who does not hear them.
        to: usize,
    },
    /// A player's clock, slow until now, is fast from now on, or the other way round.
    Turn {
        /// The player.
        player: usize,
    },
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Budget {
    ticks: Option<u8>,
    losses: Option<u8>,
    sender_crashes: u8,
    issuer_crashes: u8,
    wants: u8,
    hand_ons: u8,
    clock_steps: u8,
    urgent: u8,
    cuts: u8,
}

/// One direction between two issuers. What passes, passes at once.
#[derive(Debug, Clone, Copy, Hash)]
struct Direction {
    from: usize,
    to: usize,
    cut: bool,
    /// Ticks since the one heard the other, both being up.
    silent: u8,
}

/// The whole world at one moment.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) players: Vec<Arc<Player>>,
    pub(super) senders: usize,
    /// The newest heartbeats of each player, newest last.
    said: Vec<Vec<Arc<Said>>>,
    handed: Vec<(usize, usize, HandOn)>,
    /// How each issuer was told to divide the link.
    divisions: Vec<u8>,
    fast: u8,
    /// Whether senders listen to each other.
    hands_on: bool,
    /// Between the issuers.
    directions: Vec<Direction>,
    pub(super) split: bool,
    /// For each of several issuers, the slices that it granted in this tick, in the one before, and
    /// so on, as long as a lease of then may still run.
    pub(super) granted: Vec<[u64; LEASE_TICKS]>,
    budget: Budget,
    identity: u64,
}

impl State {
    /// The world after everyone has started, heard everyone, and holds what it should.
    pub(super) fn settled(rules: &Rules, fast: u8) -> Self {
        let all = rules.bounds.senders + rules.bounds.issuers;
        let player = |index| Arc::new(Player::new(index, rules.bounds.senders, &rules.config));
        let issuers: Vec<usize> = (rules.bounds.senders..all).collect();
        let pairs = issuers.iter().flat_map(|from| issuers.iter().map(move |to| (*from, *to)));
        let mut state = Self {
            players: (0..all).map(player).collect(),
            senders: rules.bounds.senders,
            said: vec![Vec::new(); all],
            handed: Vec::new(),
            divisions: vec![0; rules.bounds.issuers],
            fast,
            hands_on: rules.bounds.hand_ons > 0,
            directions: pairs
                .filter(|(from, to)| from != to)
                .map(|(from, to)| Direction { from, to, cut: false, silent: 0 })
                .collect(),
            split: false,
            granted: vec![
                [0; LEASE_TICKS];
                if rules.bounds.issuers > 1 { rules.bounds.issuers } else { 0 }
            ],
            budget: Budget {
                ticks: None,
                losses: None,
                sender_crashes: rules.bounds.sender_crashes,
                issuer_crashes: rules.bounds.issuer_crashes,
                wants: rules.bounds.wants,
                hand_ons: rules.bounds.hand_ons,
                clock_steps: rules.bounds.clock_steps,
                urgent: rules.bounds.urgent,
                cuts: rules.bounds.cuts,
            },
            identity: 0,
        };
        for _ in 0..12 {
            state.tick(rules);
            for to in 0..all {
                for from in (0..all).filter(|from| *from != to) {
                    state.hear(to, from, 0, rules);
                }
            }
        }
        state.budget.ticks = rules.bounds.ticks;
        state.budget.losses = rules.bounds.losses;
        state.identify(rules);
        state
    }

    /// Whether this state may be left by a tick.
    fn may_tick(&self, rules: &Rules) -> bool {
        let lost = self.budget.losses.is_some_and(|losses| losses < self.unheard(rules));
        self.budget.ticks != Some(0) && !lost
    }

    /// Newest heartbeats of players that are up which others that are up have not heard, by pairs.
    fn unheard(&self, rules: &Rules) -> u8 {
        let all = 0..self.players.len();
        let pairs = all.clone().flat_map(|to| all.clone().map(move |from| (to, from)));
        let missed = pairs.filter(|(to, from)| {
            let hearer = &self.players[*to];
            let said = self.said[*from].last();
            hearer.up
                && self.players[*from].up
                && self.listens(*to, *from, rules)
                && said.is_some_and(|said| !hearer.knows(node_id(*from), said))
        });
        missed.count() as u8
    }

    /// All that can happen now.
    pub(super) fn actions(&self, rules: &Rules, actions: &mut Vec<Action>) {
        let all = 0..self.players.len();
        for player in all.clone().filter(|player| self.players[*player].up) {
            if self.budget.urgent > 0 {
                actions.push(Action::Speak { player });
            }
        }
        for to in all.clone().filter(|to| self.players[*to].up) {
            for from in all.clone().filter(|from| self.listens(to, *from, rules)) {
                for back in 0..self.said[from].len() {
                    if !self.players[to].knows(node_id(from), self.said_by(from, back)) {
                        actions.push(Action::Hear { to, from, back });
                    }
                }
            }
        }
        self.hand_on_actions(actions);
        self.fault_actions(actions);
        if self.may_tick(rules) {
            actions.push(Action::Tick);
        }
    }

    fn hand_on_actions(&self, actions: &mut Vec<Action>) {
        for from in (0..self.senders).filter(|_| self.budget.hand_ons > 0) {
            let giver = &self.players[from];
            for to in (0..self.senders).filter(|to| *to != from) {
                if giver.usable() > 0 && giver.membership.peer(node_id(to)).is_some() {
                    actions.push(Action::HandOn { from, to });
                }
            }
        }
        for (which, (_, to, _)) in self.handed.iter().enumerate() {
            if self.players[*to].up {
                actions.push(Action::TakeHandOn { which });
            }
        }
    }

    fn fault_actions(&self, actions: &mut Vec<Action>) {
        for (index, division) in self.divisions.iter().enumerate() {
            let issuer = self.senders + index;
            for other in (0..divisions(self.senders)).filter(|other| other != division) {
                if self.budget.wants > 0 && self.players[issuer].up {
                    actions.push(Action::Want { issuer, division: other });
                }
            }
        }
        if self.budget.cuts > 0 {
            for Direction { from, to, .. } in self.directions.iter().copied() {
                actions.push(Action::Cut { from, to });
            }
        }
        for (player, one) in self.players.iter().enumerate() {
            let crashes = if player < self.senders {
                self.budget.sender_crashes
            } else {
                self.budget.issuer_crashes
            };
            if !one.up {
                actions.push(Action::Start { player });
            } else if crashes > 0 {
                actions.push(Action::Crash { player });
            }
            if self.budget.clock_steps > 0 {
                actions.push(Action::Turn { player });
            }
        }
    }

    /// Whether what `from` says means anything to `to`, and does not reach it at once anyhow.
    fn listens(&self, to: usize, from: usize, rules: &Rules) -> bool {
        match (to < self.senders, from < self.senders) {
            (true, true) => to != from && rules.bounds.hand_ons > 0,
            // What passes between issuers passes at once.
            (false, false) => false,
            _ => true,
        }
    }

    fn said_by(&self, player: usize, back: usize) -> &Said {
        let said = &self.said[player];
        &said[said.len() - 1 - back]
    }

    /// The state after something happened; `None` if that changes nothing.
    pub(super) fn after(&self, action: Action, rules: &Rules) -> Option<Self> {
        let mut next = self.clone();
        match action {
            Action::Tick => next.tick(rules),
            Action::Speak { player } => {
                next.budget.urgent -= 1;
                next.speak(player, rules);
            }
            Action::Hear { to, from, back } if rules.bounds.together && to >= next.senders => {
                for to in next.senders..next.players.len() {
                    if next.players[to].up {
                        next.hear(to, from, back, rules);
                    }
                }
            }
            Action::Hear { to, from, back } => next.hear(to, from, back, rules),
            Action::Want { issuer, division } => {
                next.budget.wants -= 1;
                next.divisions[issuer - self.senders] = division;
                next.follow(issuer, rules);
            }
            Action::HandOn { from, to } => next.hand_on(from, to, rules),
            Action::TakeHandOn { which } => next.take_hand_on(which, rules),
            Action::Crash { player } => next.crash(player, rules),
            Action::Start { player } => next.start(player, rules),
            Action::Cut { from, to } => {
                next.budget.cuts -= 1;
                for one in &mut next.directions {
                    one.cut ^= (one.from, one.to) == (from, to);
                }
            }
            Action::Turn { player } => {
                next.budget.clock_steps -= 1;
                next.fast ^= 1 << player;
            }
        }
        next.identify(rules);
        (next.identity != self.identity).then_some(next)
    }

    fn player(&mut self, index: usize) -> &mut Player {
        Arc::make_mut(&mut self.players[index])
    }

    fn tick(&mut self, rules: &Rules) {
        if let Some(ticks) = &mut self.budget.ticks {
            *ticks -= 1;
        }
        let unheard = self.unheard(rules);
        if let Some(losses) = &mut self.budget.losses {
            *losses -= unheard;
        }
        for index in 0..self.players.len() {
            let step = if self.fast & (1 << index) == 0 { SLOW_STEP } else { FAST_STEP };
            self.player(index).pass(step, rules.config.lease);
        }
        self.pass_in_silence(rules.bounds.mutual_silence);
        for granted in &mut self.granted {
            granted.rotate_right(1);
            granted[0] = 0;
        }
        self.exchange(rules);
        for issuer in self.senders..self.players.len() {
            self.follow(issuer, rules);
        }
        for player in 0..self.players.len() {
            if self.players[player].up {
                self.speak(player, rules);
            }
        }
    }

    /// Within a site a round trip is far shorter than a tick: before an issuer does anything in it,
    /// it has heard the others' echoes of what it said in it.
    fn exchange(&mut self, rules: &Rules) {
        let rounds = if self.directions.is_empty() { 0 } else { 2 };
        let issuers = self.senders..self.players.len();
        for issuer in (0..rounds).flat_map(|_| issuers.clone()) {
            if self.players[issuer].up {
                self.say(issuer, rules);
                self.pass_within_site(issuer);
            }
        }
    }

    /// A tick passes in which issuers may not hear each other.
    fn pass_in_silence(&mut self, most: u8) {
        for direction in &mut self.directions {
            if self.players[direction.from].up && self.players[direction.to].up {
                direction.silent = (direction.silent + 1).min(most + 1);
            }
        }
        let silent = |from, to| {
            self.directions.iter().any(|one| (one.from, one.to) == (from, to) && one.silent > most)
        };
        self.split |=
            self.directions.iter().any(|one| silent(one.from, one.to) && silent(one.to, one.from));
    }

    fn speak(&mut self, player: usize, rules: &Rules) {
        self.say(player, rules);
        for to in self.pass_within_site(player) {
            self.follow(to, rules);
        }
    }

    fn say(&mut self, player: usize, rules: &Rules) {
        let said = Arc::new(self.player(player).speak());
        self.said[player].push(said);
        let more = self.said[player].len().saturating_sub(rules.bounds.kept);
        self.said[player].drain(..more);
    }

    /// What an issuer has just said reaches the others, where it is not cut. Returns whom.
    fn pass_within_site(&mut self, player: usize) -> Vec<usize> {
        let passing: Vec<usize> = self
            .directions
            .iter()
            .filter(|one| one.from == player && !one.cut && self.players[one.to].up)
            .map(|one| one.to)
            .collect();
        let said = self.said_by(player, 0).clone();
        for to in &passing {
            self.player(*to).hear(node_id(player), &said);
            let same = |one: &&mut Direction| (one.from, one.to) == (player, *to);
            self.directions.iter_mut().filter(same).for_each(|one| one.silent = 0);
        }
        passing
    }

    fn hear(&mut self, to: usize, from: usize, back: usize, rules: &Rules) {
        let said = self.said_by(from, back).clone();
        let said = rules.planted.heard(&self.players[to], said);
        if !self.player(to).hear(node_id(from), &said) {
            return;
        }
        self.player(from).was_heard(said.incarnation, said.number);
        self.follow(to, rules);
    }

    fn follow(&mut self, index: usize, rules: &Rules) {
        let Some(division) = index.checked_sub(self.senders).map(|index| self.divisions[index])
        else {
            return;
        };
        let receivers: Vec<NodeId> = (self.senders..self.players.len()).map(node_id).collect();
        let targets = targets(self.senders, division);
        let player = self.player(index);
        let version = player.issuer.as_ref().map(|issuer| issuer.table().version);
        rules.planted.before_following(player, &rules.config);
        player.follow(&receivers, &targets);
        rules.planted.after_following(player);
        let table = player.issuer.as_ref().map(|issuer| issuer.table());
        let made = table.filter(|table| Some(table.version) != version).map(|table| table.slices);
        let first = self.senders;
        if let (Some(mask), Some(granted)) = (made, self.granted.get_mut(index - first)) {
            granted[0] |= mask;
        }
    }

    fn hand_on(&mut self, from: usize, to: usize, rules: &Rules) {
        self.budget.hand_ons -= 1;
        let giver = self.player(from);
        let Some(peer) = giver.membership.peer(node_id(to)) else { return };
        let (life, number, heard_at) =
            (peer.heartbeat.incarnation, peer.heartbeat.number, peer.heard_at);
        let now = giver.now;
        let Some(holder) = &mut giver.holder else { return };
        let before = holder.clone();
        let handed = holder.hand_on(now, node_id(to), life, number, heard_at);
        if rules.planted == Planted::HandedOnAndKept {
            *holder = before;
        }
        self.handed.extend(handed.into_iter().map(|one| (from, to, one)));
        // The giver's word stands for a heartbeat of the receiver that was heard.
        self.player(to).was_heard(life, number);
    }

    fn take_hand_on(&mut self, which: usize, rules: &Rules) {
        let (from, to, hand_on) = self.handed[which];
        let player = self.player(to);
        let hand_on = rules.planted.taken(player, hand_on);
        let (now, life) = (player.now, player.incarnation());
        if let Some(holder) = &mut player.holder {
            holder.receive(now, node_id(from), &hand_on, life, &player.membership);
        }
    }

    fn crash(&mut self, player: usize, rules: &Rules) {
        if player < self.senders {
            self.budget.sender_crashes -= 1;
        } else {
            self.budget.issuer_crashes -= 1;
        }
        self.player(player).crash(&rules.config);
        self.hush(player);
    }

    fn start(&mut self, player: usize, rules: &Rules) {
        self.player(player).start(&rules.config);
        rules.planted.after_starting(self.player(player), &rules.config);
        self.hush(player);
        self.follow(player, rules);
    }

    fn hush(&mut self, player: usize) {
        for one in &mut self.directions {
            if player == one.from || player == one.to {
                one.silent = 0;
            }
        }
    }

    /// Whether what was said may still change anything.
    fn is_news(&self, from: usize, said: &Said) -> bool {
        let budget = &self.budget;
        budget.sender_crashes + budget.issuer_crashes > 0
            || self.players.iter().enumerate().any(|(to, player)| {
                let hears = (to < self.senders) != (from < self.senders)
                    || to < self.senders && to != from && self.hands_on;
                hears && !(player.up && player.knows(node_id(from), said))
            })
    }

    fn identify(&mut self, rules: &Rules) {
        let mut words = Words::default();
        for player in &self.players {
            player.hash(&mut words);
        }
        for (from, said) in self.said.iter().enumerate() {
            for one in said.iter().filter(|one| self.is_news(from, one)) {
                if from < self.senders {
                    one.hash(&mut words);
                } else {
                    (one.incarnation, &one.tables).hash(&mut words);
                }
            }
            for sender in self.players[..self.senders].iter().filter(|_| from >= self.senders) {
                for one in said {
                    sender.knows(node_id(from), one).hash(&mut words);
                }
            }
            words.write_u8(u8::MAX);
        }
        (&self.handed, &self.divisions, self.fast).hash(&mut words);
        (&self.directions, &self.granted, self.split, self.budget).hash(&mut words);
        let origin = Origin {
            clocks: self.players.iter().map(|player| player.now).collect(),
            numbers: self.players.iter().map(|player| player.number).collect(),
            forgotten: nanoseconds(rules.config.lease_with_drift().max(rules.config.dead_after)),
        };
        let bytes: Vec<u8> =
            words.canonical(&origin).iter().flat_map(|word| word.to_le_bytes()).collect();
        self.identity = xxhash_rust::xxh3::xxh3_64(&bytes);
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.identity);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// Divisions of the link that an issuer may be told: all of it to one sender, or even parts.
fn divisions(senders: usize) -> u8 {
    if senders == 1 { 2 } else { senders as u8 + 1 }
}

fn targets(senders: usize, division: u8) -> Vec<Target> {
    let target = |sender: usize, tokens| Target { sender: node_id(sender), tokens };
    match usize::from(division) {
        one if one < senders => vec![target(one, LINK_TOKENS)],
        _ if senders == 1 => vec![target(0, LINK_TOKENS / 2)],
        _ => {
            let part = LINK_TOKENS / senders as u16;
            (0..senders).map(|sender| target(sender, part)).collect()
        }
    }
}
