//! Quantities as people read them, always with their unit.

use std::time::{Duration, SystemTime};

use crate::api::{DoubleInfo, EndedInfo, EvacuationInfo, LateInfo, VmInfo};
use crate::units::{ByteSize, Rate, format_duration};

/// Bytes.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// Bytes per second, in bits: the unit of links.
pub(super) fn rate(bytes_per_sec: u64) -> String {
    Rate::from_bytes_per_sec(bytes_per_sec).to_string()
}

/// Bytes per second, in bits and in bytes.
pub(super) fn rate_in_both(bytes_per_sec: u64) -> String {
    format!("{} ({}/s)", rate(bytes_per_sec), size(bytes_per_sec))
}

/// A time, with as many digits as matter.
pub(super) fn time(milliseconds: u64) -> String {
    let rounded = |unit: u64| {
        let units = milliseconds.saturating_add(unit / 2) / unit;
        Duration::from_millis(units.saturating_mul(unit))
    };
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..9_950 => {
            let tenths = (milliseconds + 50) / 100;
            format!("{}.{}s", tenths / 10, tenths % 10)
        }
        9_950..3_600_000 => format_duration(rounded(1_000)),
        3_600_000..86_400_000 => format_duration(rounded(60_000)),
        _ => format_duration(rounded(3_600_000)),
    }
}

/// A time that may not be known.
pub(super) fn maybe_time(milliseconds: Option<u64>) -> String {
    known(milliseconds.map(time))
}

/// What may not be known.
pub(super) fn known(value: Option<String>) -> String {
    value.unwrap_or_else(|| "unknown".to_owned())
}

/// Longest name of a VM in a table, in characters.
const LONGEST_NAME: usize = 32;

/// A VM's name as tables show it: of a long one both ends, in which such names differ.
pub(super) fn short(name: &str) -> String {
    let length = name.chars().count();
    if length <= LONGEST_NAME {
        return name.to_owned();
    }
    let end = LONGEST_NAME / 2;
    let begin = LONGEST_NAME - end - 1;
    let first: String = name.chars().take(begin).collect();
    let last: String = name.chars().skip(length - end).collect();
    format!("{first}…{last}")
}

/// Which VM waits for whom, and what can be done.
pub(super) fn uncertain(vm: &VmInfo) -> String {
    let why = match vm.reasons.as_slice() {
        [] => "both ends look at what they have".to_owned(),
        reasons => reasons.join("; "),
    };
    format!("{} on {}: it is not certain where it runs: {why}", vm.name, vm.host)
}

/// That a VM runs twice, and what to do.
pub(super) fn runs_twice(double: &DoubleInfo) -> String {
    lifeboat_protocol::view::runs_twice(&double.name, &double.hosts)
}

/// That a VM ended on its way, and what to do.
pub(super) fn ended(one: &EndedInfo) -> String {
    lifeboat_protocol::view::ended_on_its_way(&one.name, &one.from, &one.to)
}

/// That VMs are not expected to leave in time.
pub(super) fn not_in_time<'a>(late: impl Iterator<Item = &'a LateInfo>) -> String {
    let late = late.map(|one| (&one.name[..], one.by_ms, one.limit == "power"));
    lifeboat_protocol::node::foresight::not_in_time(late)
}

/// When an evacuation ends at the present rate: only what can leave has a rate.
pub(super) fn time_left(evacuation: &EvacuationInfo) -> Option<u64> {
    evacuation.remaining_ms.filter(|_| evacuation.vms_left > 0)
}

/// Part of a whole in per cent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let permille = u128::from(part) * 1000 / u128::from(whole.max(1));
    match (permille / 10, permille % 10) {
        (whole, tenth) if whole < 10 => format!("{whole}.{tenth}%"),
        (whole, _) => format!("{whole}%"),
    }
}

/// Whether a cluster of so many hosts is one in which not all speak to each other.
pub(super) fn is_large(hosts: usize) -> bool {
    hosts > lifeboat_protocol::Config::default().mesh
}

/// "1 VM", "2 VMs".
pub(super) fn vms(count: usize) -> String {
    match count {
        1 => "1 VM".to_owned(),
        count => format!("{count} VMs"),
    }
}

/// The hosts to be emptied that are not heard, and what is known to be left there.
pub(super) fn not_heard_from(evacuation: &EvacuationInfo) -> String {
    let hosts = evacuation.silent.join(", ");
    match evacuation.vms_not_heard {
        0 => format!("not heard from: {hosts}: it is not known what is left there"),
        left => format!(
            "not heard from: {hosts}, where {} had still to leave when last heard",
            vms(left as usize)
        ),
    }
}

/// A moment in UTC.
pub(super) fn moment(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_matter() {
        let check = |milliseconds: u64, expect: &str| assert_eq!(time(milliseconds), expect);
        check(0, "0ms");
        check(999, "999ms");
        check(1_000, "1.0s");
        check(3_449, "3.4s");
        check(9_949, "9.9s");
        check(9_950, "10s");
        check(59_999, "1m");
        check(200_400, "3m 20s");
        check(3_599_600, "1h");
        check(5_430_000, "1h 31m");
        check(90_000_000, "1day 1h");
        time(u64::MAX);
    }

    #[test]
    fn rates_name_both_units() {
        assert_eq!(rate_in_both(50_000_000), "400 Mbit/s (47.7 MiB/s)");
        assert_eq!(percent(1, 3), "33%");
        assert_eq!(percent(1, 40), "2.5%");
        assert_eq!(percent(1, 0), "100%");
    }

    #[test]
    fn long_names_are_shortened_in_the_middle() {
        assert_eq!(short("web"), "web");
        let long = format!("{}-1", "database".repeat(20));
        assert_eq!(short(&long), "databasedatabas…tabasedatabase-1");
        assert_eq!(short(&long).chars().count(), LONGEST_NAME);
    }

    #[test]
    fn moments_are_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(moment(time), "2023-11-14T22:13:20.123Z");
    }
}
