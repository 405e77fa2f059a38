//! Quantities as the demo prints them, always with their unit.

use crate::units::Rate;

/// A time, with as many digits as matter.
pub(super) fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..100_000 => format!("{:.1}s", milliseconds as f64 / 1000.0),
        _ => format!("{}min {:02}s", milliseconds / 60_000, milliseconds / 1000 % 60),
    }
}

/// Bytes per second in bits, the unit of links.
pub(super) fn rate(bytes_per_sec: u64) -> String {
    Rate::from_bytes_per_sec(bytes_per_sec).to_string()
}

/// Part of a whole in whole per cent.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let percent = (u128::from(part) * 100 + u128::from(whole) / 2) / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// "1 VM", "2 VMs".
pub(super) fn vms(count: usize) -> String {
    format!("{count} {}", if count == 1 { "VM" } else { "VMs" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_matter() {
        let check = |milliseconds: u64, expect: &str| assert_eq!(seconds(milliseconds), expect);
        check(0, "0ms");
        check(999, "999ms");
        check(1_234, "1.2s");
        check(99_999, "100.0s");
        check(125_000, "2min 05s");
    }

    #[test]
    fn parts_are_rounded() {
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(2, 3), 67);
        assert_eq!(percent(1, 0), 100);
        assert_eq!((vms(1), vms(2)), ("1 VM".to_owned(), "2 VMs".to_owned()));
    }
}
