//! The one order of all VMs that want the link, computed identically everywhere from gossip.
//!
//! What is under way comes first (nothing is paused half way), nearest to its end first, whatever its
//! class, but for a VM that does not converge and may not be escalated: that has what all others leave
//! over. Of those that wait:
//! 1. those that can still make their deadline, before the rest: in each priority class, highest
//!    first, the largest set that can (Moore 1968), in order of their deadlines;
//! 2. priority class;
//! 3. those that would outlast everything else if they waited longer: a VM whose streams or whose
//!    source's interface are slower than the link, or one of a host whose whole queue is, longest
//!    first, so that the end does not wait for it;
//! 4. weight over predicted time, largest first (Smith 1956), which with equal weights is the
//!    shortest first; ties by VM id.
//!
//! VMs of a group go as one: with the highest class among them, critical if one of them is, with the mean
//! of their times, and before all others of their class once one of them has begun.

use alloc::{collections::BTreeSet, vec::Vec};
use core::{cmp::Reverse, time::Duration};

use crate::{
    groups::{Unit, Units},
    ids::{GroupId, NodeId, VmId},
    message::{HeadVm, Stage},
    tuning::{Constant, Name, Tuning},
    units::BytesPerSec,
};

/// Part of the time that all together still take from which on a VM or a host that would take as long
/// alone must not wait any longer, thousandths: less than the whole, since it will not have its best
/// rate all the time. With less long VMs go first that could have waited, and all others complete later;
/// with more the end waits for the last one.
/// Measured (sensitivity): with 700 the score is 6 % worse where round trips are long.
pub(crate) const CRITICAL_PERMILLE: Constant<u32> = Name::Critical.of(850).near(1000);
/// How many trials' time a VM may still take for its end to be one that comes soon after a trial. With less
/// hardly any VM ends just then; with more the VM that was begun for a trial waits all the longer for room.
pub(crate) const ENDS_WITHIN_TRIALS: Constant<u32> = Name::EndsWithinTrials.of(2);

/// A VM, and what is known of the host that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// The host.
    pub source: NodeId,
    /// The VM.
    pub vm: HeadVm,
    /// Bytes that the host has still to send, of all its VMs.
    pub source_bytes: u64,
    /// What its source's interface carries of all that leaves through it, bytes per second; zero if
    /// unknown.
    pub source_nic: BytesPerSec,
    /// The same of all that comes to its destination; zero until that is settled.
    pub destination_nic: BytesPerSec,
    /// What is left until the evacuation's deadline or the end of the host's power, whichever is
    /// first. `None` without either, and once it is past.
    pub time_left: Option<Duration>,
}

impl Contender {
    /// The rate that it reaches alone on a link of this capacity.
    fn best_rate(&self, capacity: BytesPerSec) -> BytesPerSec {
        let known = [self.vm.most, self.vm.reach].into_iter().filter(|rate| rate.0 > 0);
        known.fold(capacity, BytesPerSec::min)
    }

    /// How long it takes alone.
    fn alone(&self, capacity: BytesPerSec) -> Duration {
        self.vm.takes_at(self.best_rate(capacity))
    }

    /// Whether it is under way and will be over once a trial that takes so long has been judged, and not
    /// much later. `capacity` counts where it is not known how fast it flows.
    pub(crate) fn ends_after_trial(
        &self,
        tuning: Tuning,
        capacity: BytesPerSec,
        trial: Duration,
    ) -> bool {
        let rate = if self.vm.rate.0 > 0 { self.vm.rate } else { capacity };
        let left = self.vm.takes_at(rate);
        self.vm.stage == Stage::Moving
            && left >= trial
            && left <= trial * tuning.of(ENDS_WITHIN_TRIALS)
    }

    pub(crate) fn waits(&self) -> bool {
        matches!(self.vm.stage, Stage::Queued | Stage::Reserved)
    }

    /// Whether it, or its host, would be the last one even if it began now.
    fn is_critical(&self, tuning: Tuning, capacity: BytesPerSec, remaining: u64) -> bool {
        let all = capacity.time_for(remaining) * tuning.of(CRITICAL_PERMILLE) / 1000;
        let vm = self.best_rate(capacity) < capacity && self.alone(capacity) >= all;
        // Its streams and its destination hold back the VM, but not the others of its host.
        let interface = self.source_nic;
        let slow = interface.0 > 0 && interface < capacity;
        vm || slow && interface.time_for(self.source_bytes) >= all
    }
}

/// Sorts the VMs that want a link into the common order. `remaining`: bytes that all hosts together
/// have still to send.
pub fn common_order(
    tuning: Tuning,
    capacity: BytesPerSec,
    remaining: u64,
    mut order: Vec<Contender>,
) -> Vec<Contender> {
    let figures = Figures { tuning, capacity, remaining };
    let units = Units::of(&order, |one| (figures.critical(one), one.vm.takes_at(capacity)));
    for one in order.iter_mut().filter(|one| one.waits()) {
        one.vm.priority = units.get(&one.vm).map_or(one.vm.priority, |unit| unit.priority);
    }
    let late = late(capacity, &order);
    order.sort_by_cached_key(|contender| figures.key(&units, &late, contender));
    order
}

/// VMs that wait and cannot all make their deadlines: in each class, highest first, the longest of
/// those that do not fit are left out until the rest does.
pub fn late(capacity: BytesPerSec, all: &[Contender]) -> BTreeSet<VmId> {
    let mut late = BTreeSet::new();
    let mut waiting: Vec<&Contender> =
        all.iter().filter(|one| one.waits() && one.time_left.is_some()).collect();
    if waiting.is_empty() {
        return late;
    }
    waiting.sort_by_key(|one| (Reverse(one.vm.priority), one.time_left, one.vm.vm));
    let time = |one: &Contender| one.vm.takes_at(capacity);
    let mut at: Duration = all.iter().filter(|one| !one.waits()).map(time).sum();
    let mut class: Vec<(Duration, VmId)> = Vec::new();
    let mut priority = None;
    for one in waiting {
        if priority.replace(one.vm.priority) != Some(one.vm.priority) {
            class.clear();
        }
        let alone = one.alone(capacity);
        at += time(one);
        class.push((time(one), one.vm.vm));
        let too_slow = one.time_left.is_some_and(|left| alone > left);
        if too_slow {
            let (took, vm) = class.pop().expect("just pushed");
            at -= took;
            late.insert(vm);
        } else if one.time_left.is_some_and(|left| at > left) {
            let longest = class.iter().enumerate().max_by_key(|(_, one)| **one);
            let (took, vm) = class.remove(longest.map_or(0, |(index, _)| index));
            at -= took;
            late.insert(vm);
        }
    }
    late
}

/// By what the order is made, see the module.
type Key = (
    u8,
    bool,
    Reverse<Option<u8>>,
    Duration,
    bool,
    Reverse<Option<Duration>>,
    Duration,
    Option<GroupId>,
    Duration,
    VmId,
);

/// What the keys of all are made from.
struct Figures {
    tuning: Tuning,
    capacity: BytesPerSec,
    remaining: u64,
}

impl Figures {
    /// How long one takes alone that must not wait any longer.
    fn critical(&self, one: &Contender) -> Option<Duration> {
        let critical = one.waits() && one.is_critical(self.tuning, self.capacity, self.remaining);
        critical.then(|| one.alone(self.capacity))
    }

    fn key(&self, units: &Units, late: &BTreeSet<VmId>, contender: &Contender) -> Key {
        let vm = &contender.vm;
        let rank = match vm.stage {
            Stage::Switching => 0,
            Stage::Moving if vm.yields => 3,
            Stage::Moving => 1,
            Stage::Reserved | Stage::Queued => 2,
        };
        let late = late.contains(&vm.vm);
        let waits = contender.waits();
        let before = contender.time_left.filter(|_| waits && !late).unwrap_or(Duration::MAX);
        let time = vm.takes_at(self.capacity);
        let class = waits.then_some(vm.priority);
        let unit = units.get(vm).filter(|_| waits);
        let begun = unit.is_some_and(|unit| unit.begun);
        let critical = unit.map_or_else(|| self.critical(contender), |unit| unit.critical);
        let mean = unit.map_or(time, Unit::mean);
        let group = unit.and(vm.group).map(|group| group.id);
        let (class, critical) = (Reverse(class), Reverse(critical));
        (rank, late, class, before, !begun, critical, mean, group, time, vm.vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        groups::Grouped,
        ids::{EvacuationId, LinkId},
    };

    const CAPACITY: BytesPerSec = BytesPerSec(100_000_000);

    fn contender(number: u8, seconds: u64, priority: u8, left: Option<u64>) -> Contender {
        Contender {
            source: NodeId(number.into()),
            vm: HeadVm {
                vm: VmId([number; 16]),
                evacuation: EvacuationId(1),
                link: LinkId(1),
                stage: Stage::Queued,
                priority,
                bytes: CAPACITY.0 * seconds,
                dirty_rate: 0,
                floor: BytesPerSec(0),
                most: BytesPerSec(0),
                reach: BytesPerSec(0),
                to: None,
                rate: BytesPerSec(0),
                setup_ms: 0,
                yields: false,
                group: None,
            },
            source_bytes: CAPACITY.0 * seconds,
            source_nic: BytesPerSec(0),
            destination_nic: BytesPerSec(0),
            time_left: left.map(Duration::from_secs),
        }
    }

    fn numbers(all: &[Contender]) -> Vec<u8> {
        let remaining = all.iter().map(|one| one.vm.bytes).sum();
        let order = common_order(Tuning::default(), CAPACITY, remaining, all.to_vec());
        order.iter().map(|one| one.vm.vm.0[0]).collect()
    }

    #[test]
    fn without_deadlines_the_shortest_of_the_highest_class_is_first() {
        let all = [
            contender(1, 9, 50, None),
            contender(2, 3, 50, None),
            contender(3, 20, 90, None),
            contender(4, 5, 50, None),
        ];
        assert_eq!(numbers(&all), [3, 2, 4, 1]);
    }

    fn of_group(name: &str, mut contender: Contender) -> Contender {
        contender.vm.group = Some(Grouped { id: GroupId::of(name), begun: None });
        contender
    }

    #[test]
    fn a_group_leaves_together_where_its_mean_stands() {
        let all = [
            of_group("shop", contender(1, 1, 50, None)),
            contender(2, 3, 50, None),
            of_group("shop", contender(3, 9, 50, None)),
            contender(4, 6, 50, None),
            of_group("mail", contender(5, 5, 50, None)),
        ];
        // The mean of the first group is five seconds, as long as the only one of the other takes.
        let order = numbers(&all);
        assert!(order == [2, 1, 3, 5, 4] || order == [2, 5, 1, 3, 4], "{order:?}");
    }

    #[test]
    fn a_group_that_has_begun_is_first_in_the_class_that_it_began_with() {
        let mut begun = contender(1, 20, 50, None);
        begun.vm.group = Some(Grouped { id: GroupId::of("shop"), begun: Some(90) });
        let others = [contender(2, 3, 50, None), contender(3, 9, 60, None)];
        let also = of_group("shop", contender(4, 30, 50, None));
        assert_eq!(numbers(&[begun, others[0], others[1], also]), [1, 4, 3, 2], "it began with 90");
        begun.vm.group = Some(Grouped { id: GroupId::of("shop"), begun: Some(50) });
        assert_eq!(numbers(&[begun, others[0], others[1], also]), [3, 1, 4, 2]);
        let mut moves = of_group("shop", contender(1, 20, 50, None));
        moves.vm.stage = Stage::Moving;
        assert_eq!(numbers(&[moves, others[0], others[1], also]), [1, 3, 4, 2]);
    }

    #[test]
    fn a_group_has_the_class_of_its_most_urgent() {
        let all = [
            contender(1, 1, 60, None),
            of_group("shop", contender(2, 5, 50, None)),
            of_group("shop", contender(3, 5, 90, None)),
        ];
        assert_eq!(numbers(&all), [2, 3, 1]);
    }

    #[test]
    fn a_group_does_not_wait_if_one_of_it_must_not() {
        let mut slow = of_group("shop", contender(1, 6, 50, None));
        slow.vm.reach = BytesPerSec(CAPACITY.0 / 3);
        let also = of_group("shop", contender(2, 5, 50, None));
        let all = [slow, also, contender(3, 4, 50, None)];
        assert_eq!(numbers(&all), [2, 1, 3]);
    }

    #[test]
    fn what_is_nearly_over_is_not_held_up_by_a_higher_class() {
        let mut all = [contender(1, 1, 60, None), contender(2, 5, 80, None)];
        all.iter_mut().for_each(|one| one.vm.stage = Stage::Moving);
        assert_eq!(numbers(&all), [1, 2]);
    }

    #[test]
    fn what_can_make_the_deadline_goes_before_what_cannot() {
        let left = Some(10);
        let all = [
            contender(1, 20, 90, left),
            contender(2, 4, 50, left),
            contender(3, 5, 50, left),
            contender(4, 6, 50, left),
        ];
        // The first takes longer than there is; of the others two fit.
        assert_eq!(numbers(&all), [2, 3, 1, 4]);
    }

    #[test]
    fn what_does_not_converge_has_what_the_others_leave_over() {
        let mut moving = contender(1, 1, 90, None);
        moving.vm.stage = Stage::Moving;
        moving.vm.yields = true;
        assert_eq!(numbers(&[moving, contender(2, 20, 10, None)]), [2, 1]);
    }

    #[test]
    fn absurd_numbers_are_ordered_like_others() {
        let mut absurd = contender(1, 1, 50, Some(10));
        absurd.vm.bytes = u64::MAX;
        absurd.vm.reach = BytesPerSec(1);
        absurd.source_bytes = u64::MAX;
        let mut moving = absurd;
        (moving.vm.vm, moving.vm.stage) = (VmId([2; 16]), Stage::Moving);
        let mut other = moving;
        other.vm.vm = VmId([3; 16]);
        let all = [absurd, moving, other, contender(4, 1, 50, None)];
        let order = common_order(Tuning::default(), BytesPerSec(1), u64::MAX, all.to_vec());
        assert_eq!(order.len(), 4);
    }

    #[test]
    fn the_host_whose_power_ends_first_goes_first() {
        let all = [contender(1, 2, 50, None), contender(2, 5, 50, Some(30))];
        assert_eq!(numbers(&all), [2, 1]);
    }

    #[test]
    fn a_slow_destination_does_not_make_its_whole_source_urgent() {
        let mut to_a_slow_one = contender(1, 6, 50, None);
        to_a_slow_one.source_bytes = CAPACITY.0 * 20;
        (to_a_slow_one.source_nic, to_a_slow_one.destination_nic) = (CAPACITY, BytesPerSec(1));
        to_a_slow_one.vm.most = BytesPerSec(CAPACITY.0 / 2);
        let all = [to_a_slow_one, contender(2, 5, 50, None), contender(3, 9, 50, None)];
        assert_eq!(numbers(&all), [2, 1, 3]);
        let mut slow = to_a_slow_one;
        slow.source_nic = slow.vm.most;
        assert_eq!(numbers(&[slow, all[1], all[2]]), [1, 2, 3]);
    }

    #[test]
    fn what_would_outlast_the_rest_does_not_wait() {
        let mut slow = contender(1, 6, 50, None);
        slow.vm.reach = BytesPerSec(CAPACITY.0 / 3);
        let all = [slow, contender(2, 4, 50, None), contender(3, 5, 50, None)];
        assert_eq!(numbers(&all), [1, 2, 3]);
        let more: Vec<u8> = (2..12).collect();
        let all: Vec<Contender> = core::iter::once(slow)
            .chain(more.iter().map(|number| contender(*number, 5, 50, None)))
            .collect();
        assert_eq!(numbers(&all).last(), Some(&1), "there is time yet");
    }
}
