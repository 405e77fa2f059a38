//! Shares follow need: the link is filled with whole VM-sized shares down the common order.
//!
//! Invariants:
//! - the shares of a link never add up to more than its tokens;
//! - *head first*: no VM gets tokens while one before it in the order that could use them waits;
//! - a VM that is about to finish, or is switching over, keeps what it needs; the next one is begun
//!   just so early that its first bytes flow when the last ones of that have flowed, so that
//!   set-up and switchover never leave the link idle, and nothing is under way for longer than it must.

use alloc::vec::Vec;
use core::time::Duration;

use crate::{
    ids::{NodeId, VmId},
    message::Stage,
    order::Contender,
    tuning::{Constant, Name, Tuning},
    units::{BytesPerSec, LINK_TOKENS, scaled},
};

/// Tokens of all, where one VM at a time has the link, with which the next VM is set up while the last
/// one finishes: its connections and first windows need few, and whatever it has the other one lacks. With
/// less its streams have not gained speed when the link is theirs.
/// Measured (sensitivity): with half VMs complete 2.4 % later where round trips are long.
pub(crate) const STARTER: Constant<u16> = Name::Starter.of(50);
/// Tokens below which no further VM is started on what the others leave over, if it can make use of as
/// many: it would be under way all the longer for it, and the link gains less than a tenth. With more a
/// larger part of the link stays idle where no VM can fill it.
/// Measured (sensitivity): with twice as much VMs complete 3.4 % later where round trips are long.
pub(crate) const WORTH_STARTING: Constant<u16> = Name::WorthStarting.of(100);
/// Tokens that a VM keeps for its switchover once its last pages should have flowed: for the state of
/// its devices, and for pages that took longer than expected, at no worse than four times that. More leaves
/// as much of the link idle at each switchover.
pub(crate) const SWITCHING: Constant<u16> = Name::Switching.of(250);
/// Time until tokens have changed hands, besides round trips: the next division, and the spacing of
/// two messages. Less, and the link is idle before each VM; more, and two are under way that share it.
pub(crate) const HANDOVER: Constant<Duration> = Name::Handover.of(Duration::from_millis(120));
/// The same in half round trips: the lower table to the one, its word that it goes by it, the
/// higher table to the other. Less and more do what they do for [`HANDOVER`].
pub(crate) const HANDOVER_HALF_ROUND_TRIPS: Constant<u32> = Name::HandoverHalfRoundTrips.of(3);
/// Round trips after its first bytes in which a VM's streams carry next to nothing, since each begins
/// with a small window and doubles it in every round trip. Of some eight that slow start takes only these
/// are spent beside the one that ends: more takes from that what the link gains, less leaves a gap.
pub(crate) const SLOW_START_ROUND_TRIPS: Constant<u32> = Name::SlowStartRoundTrips.of(2);

/// What one VM gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The host that it leaves.
    pub source: NodeId,
    /// The host that it goes to, once that is settled.
    pub to: Option<NodeId>,
    /// The VM.
    pub vm: VmId,
    /// Tokens of the link.
    pub tokens: u16,
    /// The same once those that are about to finish have done so; zero if it is one of them.
    pub soon: u16,
}

/// How long it takes until tokens have changed hands.
fn handover(tuning: Tuning, round_trip: Duration) -> Duration {
    tuning.of(HANDOVER) + round_trip * tuning.of(HANDOVER_HALF_ROUND_TRIPS) / 2
}

/// How long before the end of one VM the first of those that wait is begun.
fn lead(tuning: Tuning, round_trip: Duration, order: &[Contender]) -> Duration {
    let setup = order.iter().find(|one| one.waits()).map(|one| one.vm.setup());
    let slow_start = round_trip * tuning.of(SLOW_START_ROUND_TRIPS);
    setup.unwrap_or_default() + handover(tuning, round_trip) + slow_start
}

/// Divides a link among the VMs in `order`, at least `width` of them if so many can start above their
/// floors. `capacity` is what may be divided.
pub fn allocate(
    tuning: Tuning,
    capacity: BytesPerSec,
    width: u16,
    round_trip: Duration,
    order: &[Contender],
) -> Vec<Share> {
    let lead = lead(tuning, round_trip, order);
    let each = LINK_TOKENS.div_ceil(width.max(1));
    let part = |tokens: Constant<u16>| tuning.of(tokens).div_ceil(width.max(1));
    let mut left = LINK_TOKENS;
    // The same once those that are about to finish have done so.
    let mut left_soon = LINK_TOKENS;
    let mut shares: Vec<Share> = Vec::new();
    for (index, contender) in order.iter().enumerate() {
        if left == 0 {
            break;
        }
        let vm = &contender.vm;
        let others_wait = index + 1 < order.len();
        let floor = tokens_for(capacity, vm.floor);
        let wanted = |most: u16| most.min(each.max(floor));
        let all = wanted(most(capacity, contender, shares.iter().copied())).min(left);
        let later = shares.iter().map(|share| Share { tokens: share.soon, ..*share });
        let soon = wanted(most(capacity, contender, later)).min(left_soon);
        let over_within = |time| finishes_within(time, capacity.share(all), contender);
        let all_but_starter = all.saturating_sub(part(STARTER)).max(all / 2);
        let (tokens, soon) = match vm.stage {
            // Its pages should all have flowed.
            Stage::Switching if others_wait && over_within(Duration::ZERO) => {
                (all.min(part(SWITCHING)), 0)
            }
            Stage::Switching if others_wait => (all_but_starter, 0),
            Stage::Moving if others_wait && over_within(lead) => (all_but_starter, 0),
            Stage::Switching | Stage::Moving => (all, soon),
            Stage::Reserved | Stage::Queued => {
                let nobody = core::iter::empty();
                let worth = part(WORTH_STARTING).min(most(capacity, contender, nobody));
                if left_soon < floor.max(worth) && !shares.is_empty() {
                    break;
                }
                // Its source is busy with another one: one further down may do better.
                if soon < worth && !shares.is_empty() {
                    continue;
                }
                (all.max(part(STARTER)).min(left), soon)
            }
        };
        left -= tokens;
        left_soon -= soon;
        let (source, to, vm) = (contender.source, vm.to, vm.vm);
        shares.push(Share { source, to, vm, tokens, soon });
    }
    // What nobody further down could use goes to the first that can.
    for contender in order {
        let under_way = matches!(contender.vm.stage, Stage::Moving | Stage::Switching);
        let more = most(capacity, contender, shares.iter().copied()).min(left);
        let mut shares = shares.iter_mut().filter(|_| under_way);
        if let Some(share) = shares.find(|share| share.vm == contender.vm.vm) {
            share.tokens += more;
            left -= more;
        }
    }
    shares
}

/// How many VMs would be under way if `capacity` could be divided, between the moments in which one
/// ends and the next begins.
pub fn under_way(
    tuning: Tuning,
    capacity: BytesPerSec,
    width: u16,
    round_trip: Duration,
    order: &[Contender],
) -> usize {
    let lead = lead(tuning, round_trip, order);
    let lasting = order.iter().filter(|contender| match contender.vm.stage {
        Stage::Switching => false,
        Stage::Moving => !finishes_within(lead, capacity, contender),
        Stage::Reserved | Stage::Queued => true,
    });
    let lasting: Vec<Contender> = lasting.copied().collect();
    allocate(tuning, capacity, width, round_trip, &lasting).len()
}

/// The most tokens that its streams can make use of, besides what it has, and the interfaces of its
/// source and its destination, besides what all others through them have.
fn most(
    capacity: BytesPerSec,
    contender: &Contender,
    shares: impl Iterator<Item = Share> + Clone,
) -> u16 {
    let used = |mine: fn(&Share, &Contender) -> bool| {
        let mine = shares.clone().filter(|share| mine(share, contender));
        mine.fold(0, |sum: u16, share| sum.saturating_add(share.tokens))
    };
    let left = |most: BytesPerSec, used: u16| match most {
        BytesPerSec(0) => LINK_TOKENS,
        most => tokens_for(capacity, most).saturating_sub(used),
    };
    let by_itself = used(|share, contender| share.vm == contender.vm.vm);
    let by_source = used(|share, contender| share.source == contender.source);
    let by_destination = used(|share, contender| share.to.is_some() && share.to == contender.vm.to);
    let alone = left(contender.vm.reach, by_itself).min(left(contender.vm.most, by_itself));
    let beside_others =
        left(contender.source_nic, by_source).min(left(contender.destination_nic, by_destination));
    alone.min(beside_others)
}

fn tokens_for(capacity: BytesPerSec, rate: BytesPerSec) -> u16 {
    let tokens = scaled(rate.0, LINK_TOKENS.into(), capacity.0).saturating_add(1);
    u16::try_from(tokens).unwrap_or(LINK_TOKENS).min(LINK_TOKENS)
}

fn finishes_within(lead: Duration, rate: BytesPerSec, contender: &Contender) -> bool {
    contender.vm.takes_at(rate) <= lead
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{EvacuationId, LinkId},
        message::HeadVm,
    };

    const CAPACITY: BytesPerSec = BytesPerSec(50_000_000);

    fn contender(number: u8, stage: Stage, bytes: u64, floor: u64) -> Contender {
        Contender {
            source: NodeId(number.into()),
            vm: HeadVm {
                vm: VmId([number; 16]),
                evacuation: EvacuationId(1),
                link: LinkId(1),
                stage,
                priority: 50,
                bytes,
                dirty_rate: 0,
                floor: BytesPerSec(floor),
                most: BytesPerSec(0),
                reach: BytesPerSec(0),
                to: None,
                rate: BytesPerSec(0),
                setup_ms: 200,
                yields: false,
                group: None,
            },
            source_bytes: bytes,
            source_nic: BytesPerSec(0),
            destination_nic: BytesPerSec(0),
            time_left: None,
        }
    }

    fn shares(width: u16, order: &[Contender]) -> Vec<Share> {
        allocate(Tuning::default(), CAPACITY, width, Duration::from_millis(40), order)
    }

    fn tokens(order: &[Contender]) -> Vec<u16> {
        shares(1, order).iter().map(|share| share.tokens).collect()
    }

    #[test]
    fn one_vm_at_a_time_while_it_has_far_to_go() {
        let order =
            [contender(1, Stage::Moving, 1 << 30, 0), contender(2, Stage::Queued, 1 << 28, 0)];
        assert_eq!(tokens(&order), [1000]);
    }

    #[test]
    fn the_next_starts_while_the_last_finishes() {
        let order =
            [contender(1, Stage::Moving, 1 << 20, 0), contender(2, Stage::Queued, 1 << 28, 0)];
        assert_eq!(tokens(&order), [950, 50]);
        let mut order = order;
        order[1].vm.setup_ms = 10_000;
        order[0].vm.bytes = 300_000_000;
        assert_eq!(tokens(&order), [950, 50], "earlier where a start takes longer");
        order[1].vm.setup_ms = 100;
        assert_eq!(tokens(&order), [1000]);
    }

    #[test]
    fn the_last_pages_have_the_link_until_they_should_have_flowed() {
        let next = contender(2, Stage::Moving, 1 << 28, 0);
        assert_eq!(tokens(&[contender(1, Stage::Switching, 1 << 20, 0), next]), [950, 50]);
        assert_eq!(tokens(&[contender(1, Stage::Switching, 0, 0), next]), [250, 750]);
    }

    #[test]
    fn a_host_starts_one_vm_for_one_that_ends() {
        let through_an_interface = |number, stage, bytes| {
            let mut one = contender(number, stage, bytes, 0);
            one.source = NodeId(1);
            one.source_nic = BytesPerSec(CAPACITY.0 / 4);
            one.vm.most = one.source_nic;
            one
        };
        let order = [
            through_an_interface(1, Stage::Moving, 1 << 20),
            through_an_interface(2, Stage::Moving, 1 << 28),
            through_an_interface(3, Stage::Queued, 1 << 28),
            contender(4, Stage::Queued, 1 << 28, 0),
        ];
        let all = shares(1, &order);
        let vms: Vec<u8> = all.iter().map(|share| share.vm.0[0]).collect();
        assert_eq!(vms, [1, 2, 4], "the second has what the first leaves: {all:?}");
        let all = shares(1, &[order[0], order[2], order[2]]);
        assert_eq!(all.len(), 2, "{all:?}");
    }

    /// Each interface carries what passes through it: one that is slower than the other is not full
    /// because the other one is busy.
    #[test]
    fn a_slow_interface_at_one_end_is_not_filled_at_the_other() {
        let between = |number, source, to, reach| {
            let mut one = contender(number, Stage::Queued, 1 << 30, 0);
            (one.source, one.vm.to) = (NodeId(source), Some(NodeId(to)));
            one.vm.reach = BytesPerSec(reach);
            one
        };
        let (slow, fast) = (BytesPerSec(CAPACITY.0 / 4), BytesPerSec(CAPACITY.0 * 4));
        let mut first = between(1, 1, 11, CAPACITY.0 / 2);
        first.vm.stage = Stage::Moving;
        (first.source_nic, first.destination_nic, first.vm.most) = (fast, fast, fast);
        let mut to_a_slow_host = between(2, 1, 12, 0);
        (to_a_slow_host.source_nic, to_a_slow_host.destination_nic) = (fast, slow);
        let mut from_a_slow_host = between(3, 2, 11, 0);
        (from_a_slow_host.source_nic, from_a_slow_host.destination_nic) = (slow, fast);
        for mut next in [to_a_slow_host, from_a_slow_host] {
            next.vm.most = slow;
            assert_eq!(tokens(&[first, next]), [501, 251]);
        }
    }

    #[test]
    fn a_part_of_the_link_is_no_less_than_the_floor() {
        let order = [contender(1, Stage::Queued, 1 << 30, 26_000_000)];
        let shares = shares(3, &order);
        assert!(CAPACITY.share(shares[0].tokens) >= order[0].vm.floor, "{shares:?}");
    }

    #[test]
    fn none_starts_below_the_floor_that_it_will_soon_need() {
        let dirty = contender(2, Stage::Queued, 1 << 28, 40_000_000);
        assert_eq!(tokens(&[contender(1, Stage::Moving, 1 << 30, 10_000_000), dirty]), [1000]);
        let mut half = contender(1, Stage::Moving, 1 << 30, 0);
        half.vm.most = BytesPerSec(CAPACITY.0 / 2);
        assert_eq!(tokens(&[half, dirty]), [501], "half of the link is less than its floor");
        let ending = contender(1, Stage::Moving, 1 << 20, 0);
        assert_eq!(tokens(&[ending, dirty]), [950, 50], "all of it will be free");
    }
}
