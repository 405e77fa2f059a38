//! What a link can carry, learnt from what arrives.
//!
//! The issuer of a link's first slice estimates; everyone else goes by its word, and the next
//! estimator goes on from there. Receivers say what arrived, senders what held them back:
//! while tokens held them back and what they sent arrived, there may be more, and the estimate
//! probes upward in growing steps; when clearly less arrived than tokens allowed, round after round,
//! the link is full, and the estimate becomes the most that arrived in the last rounds: a windowed
//! maximum, so that one hiccup of a sender or a receiver is not taken for the link.
//!
//! A *wide* probe is one that the VMs under way cannot follow, since their interfaces carry no more: it
//! takes a further one. If it fails, that VM is under way for nothing, so failed wide probes are
//! repeated ever more seldom, and a wide step is large enough to be worth a start. A link that is full
//! for several VMs is tried with one more by the same rule: [`crate::width`].

use alloc::vec::Vec;
use core::time::Duration;

use crate::{
    message::{CapacityGossip, HeldBack},
    time::Instant,
    tuning::{Constant, Name, Tuning},
    units::{BytesPerSec, LINK_TOKENS, scaled},
    width::{Verdict, Width, trial},
};

/// Never estimate less, bytes per second: gossip itself takes some of it. Less, and what is divided rounds
/// down to nothing; more, and a slow link is asked for more than it has for ever.
pub(crate) const LEAST: Constant<u64> = Name::Least.of(32 * 1024);
/// First upward step, thousandths: small, since a link that is in fact full pays for it; from a third
/// of the link the steps, doubling, lead back to all of it in five rounds. Smaller steps take longer,
/// and those below what [`FOLLOWED_PERMILLE`] overlooks are taken to be followed on a full link, too.
/// Measured (`lifeboat-sim experiment sensitivity`): a link that steps to a tenth and back is done 3 % sooner
/// with twice as much, and nothing else is worse by more than luck.
pub(crate) const FIRST_STEP_PERMILLE: Constant<u64> = Name::FirstStep.of(80);
/// Largest upward step, thousandths: doubling, as TCP's slow start does. Less finds a link that was believed
/// to be slow later; more asks for several times what there is before anybody can say so.
/// Measured (sensitivity): with half as much one world of long round trips stays oversubscribed for too long.
pub(crate) const LARGEST_STEP_PERMILLE: Constant<u64> = Name::LargestStep.of(1000);
/// Pause between probes of a link that was found full: three rounds, as many as a cut looks back on. Less
/// oversubscribes a full link more often; more is slower to see that it carries more again.
pub(crate) const PROBE_PAUSE: Constant<Duration> = Name::ProbePause.of(Duration::from_secs(2));
/// Smallest wide step, thousandths: a VM that is started for it gets a third of the link. With less it is
/// under way for long and carries little; with more the link must have half as much again for the step
/// to be followed.
pub(crate) const WIDE_STEP_PERMILLE: Constant<u64> = Name::WideStep.of(500);
/// Part of the estimate before a wide probe below which what it brought counts as nothing, thousandths: as
/// much as the reserve and the measuring may be off by. With less a failure passes for a success and is
/// repeated at once; with more it is the other way about.
pub(crate) const BROUGHT_PERMILLE: Constant<u64> = Name::Brought.of(1100).near(1000);
/// Part of the estimate that must still arrive for a link that is found full to be tried with one VM
/// more, thousandths: it is what it was, not another one. Nearer to all of it, a hiccup discards what was
/// learnt of how many VMs share it well; further off, that outlives the link that it was learnt on.
pub(crate) const SAME_PERMILLE: Constant<u64> = Name::Same.of(750).near(1000);
/// Part of what arrived that an estimate is set to after a trial, thousandths: enough for all of it to
/// be divided again, less the usual reserve. Less loses a part with each trial; more asks for what the link
/// has just shown not to carry.
pub(crate) const ARRIVED_PERMILLE: Constant<u64> = Name::Arrived.of(1050).near(1000);
/// Shortest round: a change acts, arrives, is measured over a heartbeat, and is told. With less the round
/// shows what was before the change; with more the estimate follows the link that much later.
/// Measured (sensitivity): where the link is scarce VMs complete 2.5 % later with twice as much, 1.4 % sooner
/// with half.
pub(crate) const SHORTEST_ROUND: Constant<Duration> =
    Name::ShortestRound.of(Duration::from_millis(600));
/// Round trips of a round where these are longer: the grant goes out, its bytes arrive, and streams need
/// another one to follow. Less and more do what they do for [`SHORTEST_ROUND`].
pub(crate) const ROUND_TRIPS_OF_A_ROUND: Constant<u32> = Name::RoundTripsOfARound.of(3);
/// Part of a round that is left out, its beginning, one in so many: what it brings was sent before the last
/// change acted. A smaller one lets in what was before; a larger one leaves fewer samples to a mean.
/// Measured (sensitivity): leaving half out is 2 % sooner on a link that steps, and no worse elsewhere.
pub(crate) const UNSETTLED_PART: Constant<u32> = Name::UnsettledPart.of(3);
/// What must have arrived of what was allowed, on the mean of a round, for the allowance to count as
/// the limit, thousandths. A probe of a full link by the first step yields 943 at most. Less takes that for
/// success and probes without end; more is never reached, since carriers stay a little below their share.
pub(crate) const FOLLOWED_PERMILLE: Constant<u64> = Name::Followed.of(950).near(1000);
/// The same where those with half of the tokens say that these are the limit: while one VM ends and the
/// next one begins they do, whatever arrives. Less, and the estimate rises at every handover; more, and it
/// does not rise while VMs are short.
pub(crate) const MOSTLY_PERMILLE: Constant<u64> = Name::Mostly.of(800).near(1000);
/// Part of the tokens that may be with senders whom the link holds back, for the others' word to count,
/// thousandths: hardly any. Less, and one slow stream silences all; more, and a full link is probed.
pub(crate) const HARDLY_PERMILLE: Constant<u64> = Name::Hardly.of(100);
/// What must be missing of it for the link to count as full: arrivals below this, thousandths of what
/// was allowed. Between this and [`FOLLOWED_PERMILLE`] the estimate stays. Less, and a link that has lost
/// a tenth goes on being oversubscribed; more, and what carriers leave unused is taken for a full link.
/// Measured (sensitivity): 800 takes 6 % less time where round trips are long and 3 % less on a link that
/// steps, and is worse nowhere by more than luck; this value is not known to be the best.
pub(crate) const FULL_PERMILLE: Constant<u64> = Name::Full.of(900).near(1000);
/// Tokens held, thousandths of those for which there is a use, from which on their number can be what
/// holds senders back. Less, and an estimate is raised by senders who have not got what there is; more, and
/// a single slice whose issuer is slow keeps it down.
/// Measured (sensitivity): with 950 VMs complete 2 % later where the link is scarce.
pub(crate) const WHOLE_PERMILLE: Constant<u64> = Name::Whole.of(900).near(1000);
/// The same where many hold some and nearly all of these are used up: where VMs are small and hosts many,
/// tokens change hands all the time, and an eighth of them lies with nobody. Less and more do what they do
/// for [`WHOLE_PERMILLE`].
pub(crate) const CHANGING_HANDS_PERMILLE: Constant<u64> = Name::ChangingHands.of(750).near(1000);
/// How many senders are many for that. With fewer, one of them that starts late is a quarter of the link
/// and more, not what always changes hands; asked for more, clusters of some hosts are left out.
pub(crate) const MANY_SENDERS: Constant<usize> = Name::ManySenders.of(4);
/// What of the tokens held must be used up for that, thousandths: of ten senders one may be between two VMs.
/// Less, and senders that wait for their guests raise the estimate; more, and it never is so.
pub(crate) const NEARLY_ALL_PERMILLE: Constant<u64> = Name::NearlyAll.of(850).near(1000);
/// Full rounds in a row before a cut: one may be a hiccup, and tokens that change hands leave a gap in one.
/// More follows a link that has really shrunk a round later each.
pub(crate) const ROUNDS_TO_CUT: Constant<u8> = Name::RoundsToCut.of(2);
/// Smallest part of the estimate that one cut leaves, thousandths: less than a tenth within two
/// seconds is rather a hiccup of everyone at once, and from a sixteenth it is back after four rounds.
/// With less it takes longer; with more a link that has shrunk that far is found in several cuts.
pub(crate) const LEAST_CUT_PERMILLE: Constant<u64> = Name::LeastCut.of(63);
/// Part of the most that was ever seen to arrive below which an estimate rises on whatever those who
/// send carry, thousandths: two doublings. With less one that is stuck keeps it down; with more it rises on
/// the word of a few.
pub(crate) const SUNKEN_PERMILLE: Constant<u64> = Name::Sunken.of(250);
/// Idleness after which an estimate that was cut is doubted: nobody tries a link that is taken to be
/// slow, so nobody would learn that it is not. As long as a link may be idle while VMs wait. Sooner, every
/// pause between two VMs brings an estimate back that was cut for good reason.
pub(crate) const DOUBTED_AFTER: Constant<Duration> = Name::DoubtedAfter.of(Duration::from_secs(10));
/// Part of the most that was ever seen to arrive that a doubted estimate is raised to, thousandths. With
/// less nobody chooses the link still; with more one that really shrank is flooded.
pub(crate) const DOUBTED_TO_PERMILLE: Constant<u64> = Name::DoubtedTo.of(500);
/// Rounds whose best arrival an estimate is cut to. With the shortest round a step in capacity has
/// settled after two seconds; twice as many would miss five. With fewer a hiccup is taken for the link.
pub(crate) const REMEMBERED_ROUNDS: Constant<usize> = Name::RememberedRounds.of(3);

/// What one sender said of its sending on a link.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport {
    /// Bytes per second put on the link.
    pub sent: BytesPerSec,
    /// What held it back.
    pub held_back: HeldBack,
    /// Tokens that it had.
    pub tokens: u16,
}

/// What would become of a link with another estimate.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<F> {
    /// Tokens for which there is a use as long as the estimate is what it is.
    pub divided: u16,
    /// Whether one of those under way will be over soon after a trial that begins now. A further VM that
    /// is begun for the trial then takes that one's place, should it bring nothing.
    pub one_ends: bool,
    /// How many VMs would be under way if so much could be divided among so many at least.
    pub under_way: F,
}

/// Means over the last part of a round: bytes per second, and tokens.
#[derive(Debug, Clone, Copy, Default, Hash)]
struct Round {
    arrived: u64,
    sent: u64,
    tokens: u64,
    /// Of the tokens, those of senders that used them up.
    used_up: u64,
    /// Of the tokens, those of senders that the link held back.
    blocked: u64,
    /// Of the tokens, those that senders had to spare which their own hosts held back.
    spare: u64,
}

impl Round {
    fn add(&mut self, sample: &Self) {
        self.arrived = self.arrived.saturating_add(sample.arrived);
        self.sent = self.sent.saturating_add(sample.sent);
        self.tokens = self.tokens.saturating_add(sample.tokens);
        self.used_up = self.used_up.saturating_add(sample.used_up);
        self.blocked = self.blocked.saturating_add(sample.blocked);
        self.spare = self.spare.saturating_add(sample.spare);
    }

    fn mean(self, samples: u64) -> Self {
        Self {
            arrived: self.arrived / samples,
            sent: self.sent / samples,
            tokens: (self.tokens / samples).min(LINK_TOKENS.into()),
            used_up: self.used_up / samples,
            blocked: self.blocked / samples,
            spare: self.spare / samples,
        }
    }

    /// Whether those who can tell say that their tokens are the limit, and hardly anyone that the link
    /// is: the others gain speed, or wait for their guests.
    fn is_used_up(&self, tuning: Tuning) -> bool {
        let hardly_any = self.tokens * tuning.of(HARDLY_PERMILLE);
        self.used_up * 2 >= self.tokens && self.blocked * 1000 <= hardly_any
    }
}

/// One link's estimate.
#[derive(Debug, Clone, Hash)]
pub struct Capacity {
    value: BytesPerSec,
    epoch: u64,
    ceiling: Option<BytesPerSec>,
    reserve_permille: u16,
    step_permille: u64,
    full_rounds: u8,
    round: Round,
    /// What arrived in the last rounds, bytes per second, newest first.
    recent: Vec<u64>,
    /// Sums over the round so far.
    sums: Round,
    samples: u64,
    round_ends: Instant,
    /// The most that was ever seen to arrive while tokens were the limit.
    seen: BytesPerSec,
    /// Since when nothing has been sent.
    idle_since: Option<Instant>,
    probe_from: Instant,
    /// The estimate before the last wide probe, while what came of it is not known, and from when on
    /// that can be seen.
    wide_probe: Option<(BytesPerSec, Instant)>,
    width: Width,
    tuning: Tuning,
}

impl Capacity {
    /// Starts from a first guess.
    pub fn new(
        initial: BytesPerSec,
        ceiling: Option<BytesPerSec>,
        reserve_permille: u16,
        tuning: Tuning,
    ) -> Self {
        Self {
            value: ceiling.map_or(initial, |ceiling| initial.min(ceiling)),
            epoch: 0,
            ceiling,
            reserve_permille,
            step_permille: tuning.of(LARGEST_STEP_PERMILLE),
            full_rounds: 0,
            round: Round::default(),
            recent: Vec::new(),
            sums: Round::default(),
            samples: 0,
            round_ends: Instant::default(),
            seen: BytesPerSec(0),
            idle_since: None,
            probe_from: Instant::default(),
            wide_probe: None,
            width: Width::new(tuning),
            tuning,
        }
    }

    /// The estimate.
    pub fn value(&self) -> BytesPerSec {
        self.value
    }

    /// Whether nobody has measured it yet, and nobody has configured what the link carries.
    pub fn is_guess(&self) -> bool {
        self.epoch == 0 && self.ceiling.is_none()
    }

    /// What may be divided among the senders: the estimate less the reserve.
    pub fn usable(&self) -> BytesPerSec {
        self.divided(self.value)
    }

    fn divided(&self, estimate: BytesPerSec) -> BytesPerSec {
        estimate.permille(1000 - u64::from(self.reserve_permille))
    }

    /// VMs among which the link is divided at least, as long as so many want it.
    pub fn width(&self) -> u16 {
        self.width.vms()
    }

    /// What to tell the others.
    pub fn gossip(&self, link: crate::ids::LinkId) -> CapacityGossip {
        CapacityGossip { link, capacity: self.value, epoch: self.epoch, width: self.width.vms() }
    }

    /// Goes by another's estimate if it is newer. Returns whether it was.
    pub fn adopt(&mut self, gossip: &CapacityGossip) -> bool {
        let newer = (gossip.epoch, gossip.capacity) > (self.epoch, self.value);
        if newer {
            self.epoch = gossip.epoch;
            self.value = self.bounded(gossip.capacity);
            self.width.adopt(gossip.width);
        }
        newer
    }

    fn bounded(&self, value: BytesPerSec) -> BytesPerSec {
        let least = BytesPerSec(self.tuning.of(LEAST));
        value.max(least).min(self.ceiling.unwrap_or(BytesPerSec(u64::MAX / 2000)))
    }

    /// The estimator's step: `arrived` is the sum over all receivers. Returns whether the estimate changed.
    pub fn learn(
        &mut self,
        now: Instant,
        round_trip: Duration,
        arrived: BytesPerSec,
        senders: &[SenderReport],
        outlook: &Outlook<impl Fn(BytesPerSec, u16) -> usize>,
    ) -> bool {
        let tuning = self.tuning;
        let all = senders.iter().fold(0_u64, |sum, one| sum.saturating_add(one.sent.0));
        let shortest = self.shortest_round(round_trip);
        if now + (shortest - shortest / tuning.of(UNSETTLED_PART)) >= self.round_ends {
            let by = |reason| senders.iter().filter(move |one| one.held_back == reason);
            let tokens = |one: &SenderReport| u64::from(one.tokens);
            self.sums.add(&Round {
                arrived: arrived.0,
                sent: all,
                tokens: senders.iter().map(tokens).sum(),
                used_up: by(HeldBack::Tokens).map(tokens).sum(),
                blocked: by(HeldBack::Link).map(tokens).sum(),
                spare: by(HeldBack::Source).map(|one| self.spare(one)).sum(),
            });
            self.samples += 1;
        }
        if now < self.round_ends {
            return false;
        }
        let samples = core::mem::take(&mut self.samples).max(1);
        let round = core::mem::take(&mut self.sums).mean(samples);
        self.round_ends = now + shortest;
        let before = core::mem::replace(&mut self.round, round);
        self.recent.insert(0, round.arrived);
        self.recent.truncate(tuning.of(REMEMBERED_ROUNDS));
        let held_back = |reason: HeldBack| -> bool {
            let by = senders.iter().filter(|one| one.held_back == reason);
            by.fold(0, |sum: u64, one| sum.saturating_add(one.sent.0)) > round.sent / 2
        };
        let allowed = scaled(self.usable().0, before.tokens.min(round.tokens), LINK_TOKENS.into());
        // What arrives lags behind what is sent: only what two rounds sent can be missed in this one.
        let sent = scaled(before.sent.min(round.sent), tuning.of(FOLLOWED_PERMILLE), 1000);
        // Senders that could not use all tokens say nothing of what more there is; but an estimate far
        // below what the link once carried must not stay there because one of them is stuck.
        let held = before.tokens.min(round.tokens) * 1000;
        let of_divided = |permille: u64| u64::from(outlook.divided) * permille;
        let used_up = round.used_up * 1000 >= round.tokens * tuning.of(NEARLY_ALL_PERMILLE);
        let many = senders.iter().filter(|one| one.tokens > 0).count() >= tuning.of(MANY_SENDERS);
        let whole = held >= of_divided(tuning.of(WHOLE_PERMILLE))
            || held >= of_divided(tuning.of(CHANGING_HANDS_PERMILLE)) && used_up && many;
        let sunken = self.value < self.seen.permille(tuning.of(SUNKEN_PERMILLE));
        let arrives = round.arrived >= scaled(allowed, tuning.of(FOLLOWED_PERMILLE), 1000);
        let followed = whole && arrives
            || whole
                && round.arrived >= sent.max(scaled(allowed, tuning.of(MOSTLY_PERMILLE), 1000))
                && round.is_used_up(tuning)
            || sunken && round.arrived > 0 && round.arrived >= sent && held_back(HeldBack::Tokens);
        let queueing = round.arrived < sent;
        // What a host cannot use does not have to arrive.
        let could = before.tokens.min(round.tokens).saturating_sub(before.spare.max(round.spare));
        let could = scaled(self.usable().0, could, LINK_TOKENS.into());
        let short = round.arrived < scaled(could, tuning.of(FULL_PERMILLE), 1000);
        if round.sent == 0 && round.arrived == 0 && senders.iter().all(|one| one.tokens == 0) {
            let since = *self.idle_since.get_or_insert(now);
            self.full_rounds = 0;
            let doubted = self.seen.permille(tuning.of(DOUBTED_TO_PERMILLE));
            return now.since(since) >= tuning.of(DOUBTED_AFTER)
                && self.set(self.value.max(doubted));
        }
        self.idle_since = None;
        if self.width.on_trial() {
            let best = self.recent.iter().take(2).copied().max().unwrap_or(0);
            (self.full_rounds, self.probe_from) = (0, now + tuning.of(PROBE_PAUSE));
            return match self.width.judge(now, best) {
                None => false,
                Some(Verdict::Wider) => {
                    self.set(BytesPerSec(best).permille(tuning.of(ARRIVED_PERMILLE)))
                }
                Some(Verdict::Back(estimate)) => self.set(estimate),
            };
        }
        if self.wide_probe.is_some_and(|(_, judged_from)| now < judged_from) && !(whole && arrives)
        {
            self.full_rounds = 0;
            return false;
        }
        if followed {
            self.seen = self.seen.max(BytesPerSec(round.arrived));
        }
        let pushing = held_back(HeldBack::Link) || held_back(HeldBack::Tokens);
        if round.sent == 0 || !pushing && !followed {
            self.full_rounds = 0;
            false
        } else if short && (held_back(HeldBack::Link) || queueing) {
            // Tokens changing hands leave a gap in one round, hardly in two.
            self.found_full(now, round_trip, outlook)
        } else {
            self.full_rounds = 0;
            followed && self.probe(now, round_trip, pushing, outlook)
        }
    }

    /// Forgets what was measured lately, and the rounds before: it was not the whole.
    pub fn start_round(&mut self, now: Instant, round_trip: Duration) {
        (self.sums, self.samples) = (Round::default(), 0);
        self.round = Round::default();
        self.recent.clear();
        self.full_rounds = 0;
        self.round_ends = now + self.shortest_round(round_trip);
    }

    fn shortest_round(&self, round_trip: Duration) -> Duration {
        let round_trips = round_trip * self.tuning.of(ROUND_TRIPS_OF_A_ROUND);
        self.tuning.of(SHORTEST_ROUND).max(round_trips)
    }

    /// Tokens that a sender has beyond what it sends.
    fn spare(&self, sender: &SenderReport) -> u64 {
        let used = scaled(sender.sent.0, LINK_TOKENS.into(), self.usable().0.max(1));
        u64::from(sender.tokens).saturating_sub(used)
    }

    fn found_full(
        &mut self,
        now: Instant,
        round_trip: Duration,
        outlook: &Outlook<impl Fn(BytesPerSec, u16) -> usize>,
    ) -> bool {
        self.full_rounds = self.full_rounds.saturating_add(1);
        let first_step = self.tuning.of(FIRST_STEP_PERMILLE);
        // At the start and after two steps on end it is the last step that was too much, and no hiccup.
        let overshot = self.step_permille > first_step * 2;
        if !overshot && self.full_rounds < self.tuning.of(ROUNDS_TO_CUT) {
            return false;
        }
        let best = BytesPerSec(self.recent.iter().copied().max().unwrap_or(0));
        if best.0 == 0 {
            // Nothing at all arrives: an outage, which says nothing of what the link carries.
            return false;
        }
        let best = best.max(self.value.permille(self.tuning.of(LEAST_CUT_PERMILLE)));
        self.full_rounds = 0;
        self.step_permille = first_step;
        self.probe_from = now + self.tuning.of(PROBE_PAUSE);
        let brought = self.tuning.of(BROUGHT_PERMILLE);
        if self.wide_probe.take().is_some_and(|(before, _)| best < before.permille(brought)) {
            self.width.failed(now);
        }
        if best < self.value.permille(self.tuning.of(SAME_PERMILLE)) {
            self.width.forget();
        } else if let Some(vms) = self.one_more(now, outlook) {
            let tried = self.width.begin(now, round_trip, best, best.0, vms);
            return self.set(tried);
        }
        self.set(best.min(self.value))
    }

    /// How many VMs at a time to try on a link that is full for several, if there is one more.
    fn one_more(
        &self,
        now: Instant,
        outlook: &Outlook<impl Fn(BytesPerSec, u16) -> usize>,
    ) -> Option<u16> {
        let under_way = &outlook.under_way;
        let vms = under_way(self.usable(), self.width.vms());
        let may_try = vms > 1 && self.width.may_try(now, outlook.one_ends);
        let more = u16::try_from(vms + 1).ok().filter(|_| may_try)?;
        let raised = BytesPerSec(scaled(self.usable().0, more.into(), u64::from(more) - 1));
        (under_way(raised, more) > vms).then_some(more)
    }

    /// Raises the estimate, which has been followed so far. `pushing`: those under way could use more;
    /// otherwise it is raised only for a further one.
    fn probe(
        &mut self,
        now: Instant,
        round_trip: Duration,
        pushing: bool,
        outlook: &Outlook<impl Fn(BytesPerSec, u16) -> usize>,
    ) -> bool {
        if now < self.probe_from {
            return false;
        }
        if self.wide_probe.take().is_some() {
            self.width.succeeded();
        }
        let wide_step = self.value.permille(1000 + self.tuning.of(WIDE_STEP_PERMILLE));
        let under_way = &outlook.under_way;
        let mut raised = self.value.permille(1000 + self.step_permille);
        let vms = self.width.vms();
        let before = under_way(self.usable(), vms);
        let further =
            |raised: BytesPerSec| under_way(self.divided(raised), vms).saturating_sub(before);
        if !pushing {
            raised = raised.max(wide_step);
        }
        let wide = further(raised) > 0;
        if !wide && !pushing {
            return false;
        }
        if wide {
            if !self.width.may_try(now, outlook.one_ends) {
                return false;
            }
            raised = raised.max(wide_step);
            // Half as many more at a time: those that find no room would be under way for nothing.
            let at_a_time = (before / 2).max(1);
            let first_step = self.tuning.of(FIRST_STEP_PERMILLE);
            let smaller = [1, 2, 4].map(|times| self.value.permille(1000 + first_step * times));
            if further(raised) > at_a_time {
                let fits = |step: &BytesPerSec| (1..=at_a_time).contains(&further(*step));
                let most = smaller.into_iter().rev().find(fits);
                let least = || smaller.into_iter().find(|step| further(*step) > 0);
                raised = most.or_else(least).unwrap_or(raised);
            }
        }
        if wide {
            self.wide_probe = Some((self.value, now + trial(self.tuning, round_trip)));
        }
        self.step_permille = (self.step_permille * 2).min(self.tuning.of(LARGEST_STEP_PERMILLE));
        self.set(raised)
    }

    fn set(&mut self, value: BytesPerSec) -> bool {
        let value = self.bounded(value);
        if value == self.value {
            return false;
        }
        self.value = value;
        self.epoch = self.epoch.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `line` bytes per second on which one sender uses all tokens.
    fn settle(capacity: &mut Capacity, from: u64, rounds: u64, line: u64) -> u64 {
        for round in from..from + rounds {
            let allowed = capacity.usable().0;
            let arrived = allowed.min(line);
            let held_back = if allowed > line { HeldBack::Link } else { HeldBack::Tokens };
            let sender = SenderReport { sent: BytesPerSec(arrived), held_back, tokens: 1000 };
            capacity.learn(
                Instant(round * 700_000_000),
                Duration::from_millis(40),
                BytesPerSec(arrived),
                &[sender],
                &Outlook { divided: LINK_TOKENS, one_ends: false, under_way: |_, _| 1 },
            );
        }
        from + rounds
    }

    #[test]
    fn follows_a_link_that_nobody_configured_and_its_steps() {
        let mut capacity = Capacity::new(BytesPerSec(12_500_000), None, 50, Tuning::default());
        let at = settle(&mut capacity, 0, 8, 50_000_000);
        assert!((45_000_000..=56_000_000).contains(&capacity.value().0), "{capacity:?}");
        let at = settle(&mut capacity, at, 6, 5_000_000);
        assert!((4_500_000..=5_500_000).contains(&capacity.value().0), "{capacity:?}");
        settle(&mut capacity, at, 14, 50_000_000);
        assert!((42_000_000..=60_000_000).contains(&capacity.value().0), "{capacity:?}");
    }

    #[test]
    fn an_outage_is_no_capacity_and_a_low_estimate_is_doubted_when_idle() {
        let mut capacity = Capacity::new(BytesPerSec(12_500_000), None, 50, Tuning::default());
        let at = settle(&mut capacity, 0, 10, 50_000_000);
        let before = capacity.value();
        let at = settle(&mut capacity, at, 20, 0);
        assert_eq!(capacity.value(), before, "nothing arrives");
        let at = settle(&mut capacity, at, 20, 100_000);
        assert!(capacity.value().0 < 200_000, "{capacity:?}");
        for round in at..at + 30 {
            let now = Instant(round * 700_000_000);
            capacity.learn(
                now,
                Duration::from_millis(40),
                BytesPerSec(0),
                &[],
                &Outlook { divided: LINK_TOKENS, one_ends: false, under_way: |_, _| 0 },
            );
        }
        assert!(capacity.value().0 > 20_000_000, "{capacity:?}");
    }

    /// Many hosts with small VMs: an eighth of the tokens is always on its way from one to the next.
    #[test]
    fn tokens_that_change_hands_do_not_keep_an_estimate_down() {
        let mut capacity = Capacity::new(BytesPerSec(12_500_000), None, 50, Tuning::default());
        for round in 0..20 {
            let (sent, held_back) = (capacity.usable().share(87), HeldBack::Tokens);
            let senders = [SenderReport { sent, held_back, tokens: 87 }; 10];
            let arrived = BytesPerSec(sent.0 * 10);
            let outlook = Outlook { divided: LINK_TOKENS, one_ends: true, under_way: |_, _| 1 };
            let now = Instant(round * 700_000_000);
            capacity.learn(now, Duration::from_millis(40), arrived, &senders, &outlook);
        }
        assert!(capacity.value().0 > 100_000_000, "{capacity:?}");
    }

    /// The host that has nearly all tokens moves a guest that hangs.
    #[test]
    fn tokens_that_a_host_cannot_use_are_not_missed() {
        let mut capacity = Capacity::new(BytesPerSec(12_500_000), None, 50, Tuning::default());
        let from = settle(&mut capacity, 0, 10, 50_000_000);
        let before = capacity.value();
        for round in from..from + 20 {
            let sent = capacity.usable().share(49);
            let hangs =
                SenderReport { sent: BytesPerSec(0), held_back: HeldBack::Source, tokens: 951 };
            let flows = SenderReport { sent, held_back: HeldBack::Tokens, tokens: 49 };
            // Small figures are told less exactly.
            let arrived = sent.permille(930);
            let outlook = Outlook { divided: LINK_TOKENS, one_ends: false, under_way: |_, _| 1 };
            let now = Instant(round * 700_000_000);
            capacity.learn(now, Duration::from_millis(40), arrived, &[hangs, flows], &outlook);
        }
        assert_eq!(capacity.value(), before);
    }

    #[test]
    fn wide_probes_that_fail_become_seldom() {
        // The link and the one sender's interface carry nearly the same.
        let (line, nic) = (50_000_000, 52_000_000);
        let mut capacity = Capacity::new(BytesPerSec(12_500_000), None, 50, Tuning::default());
        let mut beyond = [0_u32; 2];
        for round in 0..600 {
            let allowed = capacity.usable().0;
            let arrived = allowed.min(line);
            let held_back = if allowed > line { HeldBack::Link } else { HeldBack::Tokens };
            let sent = BytesPerSec(arrived);
            let sender = SenderReport { sent, held_back, tokens: 1000 };
            let now = Instant(round * 700_000_000);
            let under_way = |divided: BytesPerSec, _| 1 + usize::from(divided.0 > nic);
            let outlook = Outlook { divided: LINK_TOKENS, one_ends: true, under_way };
            capacity.learn(now, Duration::from_millis(40), sent, &[sender], &outlook);
            let wide = capacity.usable().0 > nic;
            beyond[usize::from(round >= 300)] += u32::from(wide);
        }
        assert!(beyond[0] > 0, "it is tried");
        assert!(beyond[1] * 2 <= beyond[0], "ever more seldom: {beyond:?}");
        assert!((47_000_000..=55_500_000).contains(&capacity.value().0), "{capacity:?}");
    }

    #[test]
    fn streams_that_carry_all_they_can_let_in_a_further_vm_and_raise_nothing_else() {
        // One VM's streams carry 45 MB/s, which is known; the estimate has come to 50.
        let sender = SenderReport {
            sent: BytesPerSec(45_000_000),
            held_back: HeldBack::Source,
            tokens: 947,
        };
        let learnt = |others_wait: bool| {
            let mut capacity = Capacity::new(BytesPerSec(50_000_000), None, 50, Tuning::default());
            let under_way =
                |divided: BytesPerSec, _| 1 + usize::from(others_wait && divided.0 > 50_000_000);
            let outlook = Outlook { divided: 948, one_ends: false, under_way };
            for round in 0..5 {
                let now = Instant(round * 700_000_000);
                let round_trip = Duration::from_millis(20);
                capacity.learn(now, round_trip, sender.sent, &[sender], &outlook);
            }
            capacity.value().0
        };
        assert!(learnt(true) >= 75_000_000, "a second one is let in: {}", learnt(true));
        assert_eq!(learnt(false), 50_000_000, "nobody would use more");
    }

    #[test]
    fn respects_the_ceiling_and_ignores_old_gossip() {
        let ceiling = Some(BytesPerSec(20_000_000));
        let mut capacity = Capacity::new(BytesPerSec(12_500_000), ceiling, 50, Tuning::default());
        settle(&mut capacity, 0, 10, 50_000_000);
        assert_eq!(capacity.value(), BytesPerSec(20_000_000));
        let mut old = capacity.gossip(crate::ids::LinkId(1));
        old.epoch -= 1;
        assert!(!capacity.adopt(&old));
    }
}
