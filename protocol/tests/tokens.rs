//! Ledger, issuer and holder together, without the rest of the node: under any interleaving of
//! messages, losses, repeats, delays, restarts and clock drift, the usable tokens of a link are
//! never more than the link.

use lifeboat_protocol::{
    Config, Incarnation, Instant, LinkId, NodeId,
    membership::Membership,
    message::{Echo, Heartbeat, HostReport, QueueReport},
    tokens::{
        HandOn,
        holder::Holder,
        issuer::{Issuer, Target},
        ledger::Ledger,
        slices,
    },
};
use proptest::prelude::*;
use std::time::Duration;

const LINK: LinkId = LinkId(7);
const SENDERS: usize = 3;
const ISSUERS: usize = 3;
const PULSE_MS: u64 = 200;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes; the issuers hear each other.
    Pass { pulses: u8 },
    /// A sender speaks; what it says may arrive at any time, or never.
    Speak { sender: usize },
    /// Something that was once said arrives, perhaps again.
    Arrive { back: usize, at: usize },
    /// A sender hands all that it has on.
    HandOn { from: usize, to: usize },
    /// A handed-on lease arrives, perhaps again.
    TakeHandOn { back: usize },
    /// The order changes.
    Want { tokens: [u16; SENDERS] },
    /// A node's daemon restarts; the carrier goes on with what it was granted.
    Restart { node: usize },
}

struct Player {
    id: NodeId,
    life: u64,
    number: u64,
    clock_permyriad: u64,
    membership: Membership,
    holder: Option<Holder>,
    /// What former lives left with the carrier.
    ghosts: Vec<Holder>,
    issuer: Option<Issuer>,
}

impl Player {
    fn new(index: usize, drift: i8) -> Self {
        let id = NodeId(100 + index as u64);
        let clock_permyriad = 10_000_u64.saturating_add_signed(i64::from(drift));
        let mut player = Self {
            id,
            life: 0,
            number: 0,
            clock_permyriad,
            membership: Membership::new(id, Incarnation(1), &Config::default()),
            holder: None,
            ghosts: Vec::new(),
            issuer: None,
        };
        player.start(0, index < SENDERS);
        player
    }

    fn start(&mut self, true_ns: u64, sends: bool) {
        let config = Config::default();
        self.life += 1;
        self.number = 0;
        self.membership = Membership::new(self.id, Incarnation(self.life), &config);
        self.ghosts.extend(self.holder.take());
        if sends {
            self.holder = Some(Holder::new(self.local(true_ns), LINK, &config));
        } else {
            self.issuer = Some(Issuer::new(LINK, config.lease_with_drift()));
        }
    }

    fn local(&self, true_ns: u64) -> Instant {
        Instant(true_ns / 10_000 * self.clock_permyriad + self.id.0 * 1_000_000_000_000)
    }

    fn life(&self) -> Incarnation {
        Incarnation(self.life)
    }

    fn speak(&mut self, true_ns: u64) -> Heartbeat {
        let now = self.local(true_ns);
        self.number += 1;
        self.membership.sent(now, self.number);
        let echoes: Vec<Echo> = self.membership.echoes(now);
        Heartbeat {
            incarnation: self.life(),
            number: self.number,
            leaving: false,
            echoes,
            host: HostReport::default(),
            links: Vec::new(),
            queue: QueueReport::default(),
            tables: self.issuer.iter().map(|issuer| issuer.table().clone()).collect(),
            accepted: self.holder.as_mut().map(|one| one.acceptances(now)).unwrap_or_default(),
            capacities: Vec::new(),
            evacuations: Vec::new(),
        }
    }

    fn hear(&mut self, true_ns: u64, from: NodeId, heartbeat: &Heartbeat) {
        let now = self.local(true_ns);
        if self.membership.heard(now, from, heartbeat.clone()).is_err() {
            return;
        }
        let me = (self.id, self.life());
        if let Some(issuer) = &mut self.issuer {
            for accepted in &heartbeat.accepted {
                issuer.accepted(from, me, accepted);
            }
        }
        if let Some(holder) = &mut self.holder {
            for table in &heartbeat.tables {
                let issuer = (from, heartbeat.incarnation);
                // A table that is older than the one gone by is not taken; that is all.
                let _ = holder.take(now, issuer, table, me, &self.membership);
            }
        }
    }

    fn usable(&self, true_ns: u64) -> u16 {
        let now = self.local(true_ns);
        let all = self.ghosts.iter().chain(&self.holder);
        all.map(|holder| holder.usable(now)).max().unwrap_or(0)
    }
}

struct Table {
    now: u64,
    players: Vec<Player>,
    targets: Vec<Target>,
    said: Vec<(usize, Heartbeat)>,
    handed: Vec<(usize, usize, HandOn)>,
    most_used: u16,
}

impl Table {
    fn new(drifts: &[i8]) -> Self {
        let players: Vec<Player> =
            drifts.iter().enumerate().map(|(index, drift)| Player::new(index, *drift)).collect();
        let mut table = Self {
            now: 0,
            players,
            targets: Vec::new(),
            said: Vec::new(),
            handed: Vec::new(),
            most_used: 0,
        };
        table.want(&[1000, 0, 0]);
        table
    }

    fn want(&mut self, tokens: &[u16]) {
        let mut left = 1000;
        self.targets.clear();
        for (player, wanted) in self.players.iter().zip(tokens) {
            let tokens = left.min(*wanted);
            left -= tokens;
            self.targets.push(Target { sender: player.id, tokens });
        }
    }

    fn issue(&mut self) {
        let issuers: Vec<NodeId> = self.players[SENDERS..].iter().map(|player| player.id).collect();
        for player in &mut self.players[SENDERS..] {
            let now = player.local(self.now);
            let issuer = player.issuer.as_mut().expect("an issuer");
            issuer.update_claims(now, player.id, &issuers, &player.membership);
            issuer.issue(now, player.id, &issuers, &player.membership, &self.targets);
        }
    }

    /// Every issuer speaks; the other issuers hear it at once, the senders perhaps later.
    fn pulse(&mut self) {
        self.now += PULSE_MS * 1_000_000;
        self.issue();
        for from in SENDERS..SENDERS + ISSUERS {
            let heartbeat = self.players[from].speak(self.now);
            let id = self.players[from].id;
            for to in (SENDERS..SENDERS + ISSUERS).filter(|to| *to != from) {
                self.players[to].hear(self.now, id, &heartbeat);
            }
            self.said.push((from, heartbeat));
        }
        self.issue();
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Pass { pulses } => {
                for _ in 0..*pulses {
                    self.pulse();
                    self.check();
                }
            }
            Step::Speak { sender } => {
                let heartbeat = self.players[*sender].speak(self.now);
                self.said.push((*sender, heartbeat));
            }
            Step::Arrive { back, at } => {
                let Some(index) = self.said.len().checked_sub(1 + back) else { return };
                let (from, heartbeat) = self.said[index].clone();
                // Senders hear issuers and each other; issuers hear senders.
                if from != *at {
                    let id = self.players[from].id;
                    self.players[*at].hear(self.now, id, &heartbeat);
                    self.issue();
                }
            }
            Step::HandOn { from, to } => self.hand_on(*from, *to),
            Step::TakeHandOn { back } => {
                let Some(index) = self.handed.len().checked_sub(1 + back) else { return };
                let (from, to, hand_on) = self.handed[index];
                let from = self.players[from].id;
                let player = &mut self.players[to];
                let (now, life) = (player.local(self.now), player.life());
                let membership = &player.membership;
                let holder = player.holder.as_mut().expect("a sender");
                holder.receive(now, from, &hand_on, life, membership);
            }
            Step::Want { tokens } => self.want(tokens),
            Step::Restart { node } => {
                self.players[*node].start(self.now, *node < SENDERS);
            }
        }
    }

    fn hand_on(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let receiver = self.players[to].id;
        let player = &mut self.players[from];
        let now = player.local(self.now);
        let Some(peer) = player.membership.peer(receiver) else { return };
        let (life, number, heard_at) =
            (peer.heartbeat.incarnation, peer.heartbeat.number, peer.heard_at);
        let holder = player.holder.as_mut().expect("a sender");
        for hand_on in holder.hand_on(now, receiver, life, number, heard_at) {
            self.handed.push((from, to, hand_on));
        }
    }

    fn check(&mut self) {
        let held: Vec<u16> =
            self.players[..SENDERS].iter().map(|player| player.usable(self.now)).collect();
        let sum: u32 = held.iter().map(|tokens| u32::from(*tokens)).sum();
        assert!(sum <= 1000, "{sum} tokens are usable: {held:?} at {} ms", self.now / 1_000_000);
        self.most_used = self.most_used.max(sum as u16);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sender = 0..SENDERS;
    let step = prop_oneof![
        3 => (1_u8..8).prop_map(|pulses| Step::Pass { pulses }),
        6 => sender.clone().prop_map(|sender| Step::Speak { sender }),
        // Mostly what was said lately, sometimes something old.
        12 => (prop_oneof![4 => 0_usize..6, 1 => 0_usize..80], 0..SENDERS + ISSUERS)
            .prop_map(|(back, at)| Step::Arrive { back, at }),
        2 => (sender.clone(), sender.clone()).prop_map(|(from, to)| Step::HandOn { from, to }),
        3 => (0_usize..6).prop_map(|back| Step::TakeHandOn { back }),
        2 => proptest::array::uniform3(0_u16..=1000).prop_map(|tokens| Step::Want { tokens }),
        1 => (0..SENDERS + ISSUERS).prop_map(|node| Step::Restart { node }),
    ];
    proptest::collection::vec(step, 1..160)
}

/// The issuers have waited and every sender was heard and hears.
fn settled(drifts: &[i8]) -> Table {
    let mut table = Table::new(drifts);
    for _ in 0..60 {
        exchange(&mut table);
    }
    table
}

/// Everyone speaks and hears everyone.
fn exchange(table: &mut Table) {
    table.pulse();
    for sender in 0..SENDERS {
        let heartbeat = table.players[sender].speak(table.now);
        table.said.push((sender, heartbeat));
    }
    let latest = table.said.len() - SENDERS - ISSUERS;
    for (from, heartbeat) in &table.said[latest..] {
        let id = table.players[*from].id;
        for to in (0..table.players.len()).filter(|to| to != from) {
            table.players[to].hear(table.now, id, heartbeat);
        }
    }
    table.issue();
    table.check();
}

/// Found by [`conservation`]: a grant within what was handed on outlived it.
#[test]
fn a_grant_within_what_was_handed_on_needs_room_after_it() {
    let mut table = settled(&[0; SENDERS + ISSUERS]);
    let steps = [
        Step::Pass { pulses: 2 },
        Step::Arrive { back: 3, at: 0 },
        Step::HandOn { from: 0, to: 2 },
        Step::Arrive { back: 1, at: 0 },
        Step::Arrive { back: 2, at: 0 },
        Step::Speak { sender: 0 },
        Step::Speak { sender: 0 },
        Step::Arrive { back: 0, at: 4 },
        Step::Want { tokens: [0, 0, 3] },
        Step::Pass { pulses: 2 },
        Step::Arrive { back: 4, at: 2 },
        Step::TakeHandOn { back: 0 },
        Step::Pass { pulses: 5 },
        Step::Pass { pulses: 6 },
        Step::Pass { pulses: 1 },
        Step::Pass { pulses: 3 },
    ];
    for step in &steps {
        table.play(step);
        table.check();
    }
}

proptest! {
    // The same cases in every run: what fails fails again. Another seed is another sweep.
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2026),
        ..ProptestConfig::default()
    })]

    #[test]
    fn conservation(
        drifts in proptest::array::uniform6(-100_i8..=100),
        steps in steps(),
    ) {
        let mut table = settled(&drifts);
        for step in &steps {
            table.play(step);
            table.check();
        }
    }

    #[test]
    fn after_any_chaos_all_tokens_are_in_use_again(
        drifts in proptest::array::uniform6(-100_i8..=100),
        steps in steps(),
    ) {
        let mut table = settled(&drifts);
        for step in &steps {
            table.play(step);
        }
        table.want(&[200, 300, 500]);
        for _ in 0..75 {
            exchange(&mut table);
        }
        let held: Vec<u16> =
            table.players[..SENDERS].iter().map(|player| player.usable(table.now)).collect();
        let sum: u16 = held.iter().sum();
        prop_assert!(sum >= 990, "{held:?}");
        prop_assert!(held[0].abs_diff(200) < 6 && held[1].abs_diff(300) < 6, "{held:?}");
    }
}

#[test]
fn an_undisturbed_table_gives_everything_out() {
    let table = settled(&[0; SENDERS + ISSUERS]);
    assert_eq!(table.most_used, 1000);
}

#[test]
fn the_ledger_forgets_only_what_was_confirmed_or_ran_out() {
    let (one, other) = (NodeId(1), NodeId(2));
    let at = |seconds: u64| Instant(seconds * 1_000_000_000);
    let mut ledger = Ledger::default();
    ledger.grant(one, 1, 600, at(4));
    ledger.grant(one, 2, 100, at(5));
    assert_eq!(ledger.out(one), 600, "it may not have heard of the second");
    ledger.confirm(one, 1, &[]);
    assert_eq!(ledger.out(one), 600);
    ledger.confirm(one, 2, &[(other, 50)]);
    assert_eq!((ledger.out(one), ledger.out(other)), (100, 50));
    ledger.expire(at(5) + Duration::from_nanos(1));
    assert_eq!((ledger.out(one), ledger.out(other)), (0, 0));
    assert_eq!(ledger.next_expiry(), None);
}

#[test]
fn slices_move_only_with_their_issuer() {
    let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
    for slice in 0..slices::SLICES {
        let all = slices::issuer_of(LINK, slice, nodes.iter().copied());
        let without =
            slices::issuer_of(LINK, slice, nodes.iter().copied().filter(|node| node.0 != 3));
        assert!(all == Some(NodeId(3)) || all == without);
    }
    assert_eq!(slices::tokens_in(u64::MAX), 1000);
    assert_eq!(slices::issuer_of(LINK, 0, std::iter::empty()), None);
}

#[test]
fn whoever_has_handed_on_receives_nothing_of_the_same_issuer() {
    let mut table = settled(&[0; SENDERS + ISSUERS]);
    table.want(&[500, 500, 0]);
    for _ in 0..20 {
        exchange(&mut table);
    }
    table.hand_on(1, 2);
    table.hand_on(0, 1);
    for back in 0..table.handed.len() {
        table.play(&Step::TakeHandOn { back });
    }
    let held: Vec<u16> =
        table.players[..SENDERS].iter().map(|player| player.usable(table.now)).collect();
    assert_eq!(held, [0, 0, 500]);
}
