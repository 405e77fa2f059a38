//! Shares follow need: the link is filled with whole VM-sized shares down the common order.
//!
//! Invariants:
//! - the shares of a link never add up to more than its tokens;
//! - *head first*: no VM gets tokens while one before it in the order that could use them waits;
//! - a VM that is about to finish, or is switching over, keeps what it needs; what it leaves is
//!   the start of the next, so that set-up and switchover never leave the link idle.

use alloc::vec::Vec;
use core::time::Duration;

use crate::{
    ids::{NodeId, VmId},
    message::Stage,
    order::Contender,
    units::{BytesPerSec, LINK_TOKENS, scaled},
    vm::precopy_time,
};

/// Tokens of all, where one VM at a time has the link, with which the next VM starts while the last one
/// finishes: enough to set up its
/// connections and to fill them, little enough not to delay the one that finishes.
const STARTER: u16 = 150;
/// Tokens below which no further VM is started on what the others leave over, if it can make use of as
/// many: it would be under way all the longer for it, and the link gains less than a tenth.
const WORTH_STARTING: u16 = 100;
/// Tokens that a VM keeps for its switchover: its last pages fit the allowed downtime at the rate
/// that it had, and half of that keeps them within twice the downtime at worst.
const SWITCHING: u16 = 500;
/// Time for the local part of a start: how far a move is, is measured and told every 250 ms each, so
/// it is known half a second late at worst; sockets, processes and the journal take the rest.
const LOCAL_SETUP: Duration = Duration::from_millis(900);
/// Round trips that a start needs: reservation, three for the streams, two for the tokens.
const SETUP_ROUND_TRIPS: u32 = 6;

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
}

/// Divides a link among the VMs in `order`, at least `width` of them if so many can start above their
/// floors. `capacity` is what may be divided.
pub fn allocate(
    capacity: BytesPerSec,
    width: u16,
    round_trip: Duration,
    order: &[Contender],
) -> Vec<Share> {
    let lead = LOCAL_SETUP + round_trip * SETUP_ROUND_TRIPS;
    let each = LINK_TOKENS.div_ceil(width.max(1));
    let part = |tokens: u16| tokens.div_ceil(width.max(1));
    let mut left = LINK_TOKENS;
    let mut shares: Vec<Share> = Vec::new();
    for (index, contender) in order.iter().enumerate() {
        if left == 0 {
            break;
        }
        let vm = &contender.vm;
        let others_wait = index + 1 < order.len();
        let floor = tokens_for(capacity, vm.floor);
        let all = most(capacity, contender, &shares).min(each.max(floor)).min(left);
        let tokens = match vm.stage {
            Stage::Switching if others_wait => all.min(part(SWITCHING)),
            Stage::Moving
                if others_wait && finishes_within(lead, capacity.share(all), contender) =>
            {
                all.saturating_sub(part(STARTER)).max(all / 2)
            }
            Stage::Switching | Stage::Moving => all,
            Stage::Reserved | Stage::Queued => {
                let worth = part(WORTH_STARTING).min(most(capacity, contender, &[]));
                if left < floor.max(worth) && !shares.is_empty() {
                    break;
                }
                // Its source is busy with another one: one further down may do better.
                if all < worth && !shares.is_empty() {
                    continue;
                }
                all
            }
        };
        left -= tokens;
        shares.push(Share { source: contender.source, to: vm.to, vm: vm.vm, tokens });
    }
    // What nobody further down could use goes to the first that can.
    for contender in order {
        let under_way = matches!(contender.vm.stage, Stage::Moving | Stage::Switching);
        let more = most(capacity, contender, &shares).min(left);
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
    capacity: BytesPerSec,
    width: u16,
    round_trip: Duration,
    order: &[Contender],
) -> usize {
    let lead = LOCAL_SETUP + round_trip * SETUP_ROUND_TRIPS;
    let lasting = order.iter().filter(|contender| match contender.vm.stage {
        Stage::Switching => false,
        Stage::Moving => !finishes_within(lead, capacity, contender),
        Stage::Reserved | Stage::Queued => true,
    });
    allocate(capacity, width, round_trip, &lasting.copied().collect::<Vec<_>>()).len()
}

/// The most tokens that its streams can make use of, besides what it has, and the interfaces of its
/// source and its destination, besides what all others through them have.
fn most(capacity: BytesPerSec, contender: &Contender, shares: &[Share]) -> u16 {
    let used = |mine: fn(&Share, &Contender) -> bool| {
        let mine = shares.iter().filter(|share| mine(share, contender));
        mine.fold(0, |sum: u16, share| sum.saturating_add(share.tokens))
    };
    let left = |most: BytesPerSec, used: u16| match most {
        BytesPerSec(0) => LINK_TOKENS,
        most => tokens_for(capacity, most).saturating_sub(used),
    };
    let by_streams = used(|share, contender| share.vm == contender.vm.vm);
    let by_source = used(|share, contender| share.source == contender.source);
    let by_destination = used(|share, contender| share.to.is_some() && share.to == contender.vm.to);
    let by_interfaces = by_source.max(by_destination);
    left(contender.vm.reach, by_streams).min(left(contender.vm.most, by_interfaces))
}

fn tokens_for(capacity: BytesPerSec, rate: BytesPerSec) -> u16 {
    let tokens = scaled(rate.0, LINK_TOKENS.into(), capacity.0).saturating_add(1);
    u16::try_from(tokens).unwrap_or(LINK_TOKENS).min(LINK_TOKENS)
}

fn finishes_within(lead: Duration, rate: BytesPerSec, contender: &Contender) -> bool {
    precopy_time(contender.vm.bytes, rate.0, contender.vm.dirty_rate) <= lead
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
            },
            source_bytes: bytes,
            time_left: None,
        }
    }

    fn tokens(order: &[Contender]) -> Vec<u16> {
        allocate(CAPACITY, 1, Duration::from_millis(40), order).iter().map(|s| s.tokens).collect()
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
        assert_eq!(tokens(&order), [850, 150]);
        let order = [contender(1, Stage::Switching, 0, 0), contender(2, Stage::Moving, 1 << 28, 0)];
        assert_eq!(tokens(&order), [500, 500]);
    }

    #[test]
    fn a_part_of_the_link_is_no_less_than_the_floor() {
        let order = [contender(1, Stage::Queued, 1 << 30, 26_000_000)];
        let shares = allocate(CAPACITY, 3, Duration::from_millis(40), &order);
        assert!(CAPACITY.share(shares[0].tokens) >= order[0].vm.floor, "{shares:?}");
    }

    #[test]
    fn none_starts_below_its_floor() {
        let order = [
            contender(1, Stage::Moving, 1 << 20, 0),
            contender(2, Stage::Queued, 1 << 28, 40_000_000),
        ];
        assert_eq!(tokens(&order), [1000]);
    }
}
