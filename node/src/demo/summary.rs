//! What is said at the end, for people.

use super::{
    record::{KillRecord, Record, VmRecord},
    words::{percent, rate, seconds, vms},
};
use crate::{
    api::{Arrived, Measures},
    units::ByteSize,
};

/// Shorter than this, a link that carries nothing was not idle: one VM follows another.
const IDLE_MS: u64 = 500;

/// All of it.
pub(super) fn text(record: &Record) -> String {
    let mut parts = vec![table(record), accounted(record)];
    match &record.measures {
        Some(measures) => parts.push(figures(record, measures)),
        None => parts.push("No VM arrived: nothing can be measured.".to_owned()),
    }
    parts.extend(record.kill.as_ref().map(|kill| after_the_kill(record, kill)));
    parts.join("\n\n")
}

fn table(record: &Record) -> String {
    let mut lines = vec![format!(
        "{:<8} {:<11} {:>5} {:>9} {:>8} {:>8} {:>7} {:>8} {:>6} {:>5}",
        "VM", "from > to", "class", "memory", "start", "end", "took", "paused", "sent", "tries"
    )];
    let mut vms: Vec<&VmRecord> = record.vms.iter().collect();
    vms.sort_by_key(|vm| vm.arrived_at_ms.unwrap_or(u64::MAX));
    lines.extend(vms.into_iter().map(row));
    lines.join("\n")
}

fn row(vm: &VmRecord) -> String {
    let seen = vm.seen();
    let known = |of: &dyn Fn(&Arrived) -> Option<String>| {
        seen.as_ref().and_then(of).unwrap_or_else(|| "?".to_owned())
    };
    format!(
        "{:<8} {:<11} {:>5} {:>9} {:>8} {:>8} {:>7} {:>8} {:>6} {:>5}",
        vm.name,
        format!("{} > {}", vm.from, vm.to.as_deref().unwrap_or("?")),
        vm.priority,
        ByteSize(vm.memory_bytes).to_string(),
        known(&|seen| Some(seconds(seen.start_ms))),
        known(&|seen| Some(seconds(seen.end_ms))),
        known(&|seen| Some(seconds(seen.end_ms.saturating_sub(seen.start_ms)))),
        known(&|seen| Some(format!("{}ms", seen.downtime_ms?))),
        known(&|seen| Some(format!("{}%", percent(seen.bytes_sent?, seen.bytes_needed)))),
        known(&|seen| Some(seen.attempts.to_string())),
    )
}

fn accounted(record: &Record) -> String {
    let verdict = &record.verdict;
    let all = verdict.vms.len();
    if verdict.all_intact {
        let how = match all {
            1 => "The VM arrived once, intact: it runs on exactly one host, was not rebooted"
                .to_owned(),
            all => format!(
                "All {all} VMs arrived once, intact: each runs on exactly one host, none was rebooted"
            ),
        };
        return format!("{how},\nand of {} pages of memory none is wrong.", verdict.pages_verified);
    }
    let failures: Vec<String> =
        verdict.failures().map(|(name, fate)| format!("  {name} {fate}")).collect();
    format!(
        "NOT ALL ARRIVED INTACT: {} of {}.\n{}",
        all - failures.len(),
        vms(all),
        failures.join("\n")
    )
}

fn figures(record: &Record, measures: &Measures) -> String {
    let against = |value: u64, bound: u64| {
        let ratio = value as f64 / bound.max(1) as f64;
        format!("{:<8} physics allows {:<8} x {ratio:.2}", seconds(value), seconds(bound))
    };
    let capacity = record.setting.capacity_bytes_per_sec;
    let missing = record.vms.iter().filter(|vm| vm.arrived_at_ms.is_none()).count();
    let mut lines = vec![
        format!("Total              {}", against(measures.total_ms, measures.bound_total_ms)),
        format!(
            "Each VM, mean      {}",
            against(measures.mean_individual_ms, measures.bound_individual_ms)
        ),
        format!("Score              {:.2}, 1.0 being physics", measures.score),
        format!(
            "Until a VM is out  {:<8} on average, from the command to its arrival",
            seconds(measures.mean_completion_ms)
        ),
        format!(
            "Guests paused for  {} on average, {} at most",
            pause(measures.mean_downtime_ms),
            pause(measures.max_downtime_ms)
        ),
        bytes_sent(measures),
        format!(
            "On the WAN         {} from a to b and {} back, gossip and all",
            ByteSize(record.wan_sent_bytes),
            ByteSize(record.wan_returned_bytes)
        ),
        format!(
            "Link use           {} of {} from the command to the last arrival",
            measures
                .link_use_permille
                .map_or_else(|| "?".to_owned(), |used| format!("{}%", percent(used, 1000))),
            rate(capacity)
        ),
        format!(
            "While VMs waited   it idled for {} at a time at most, and was less than half full for {}",
            seconds(record.longest_idle(0).lasted_ms()),
            seconds(record.longest_half_empty(0).lasted_ms())
        ),
    ];
    if missing > 0 {
        lines.push(format!(
            "{} did not arrive: not in the figures, nor in what physics allows.",
            vms(missing)
        ));
    }
    lines.join("\n")
}

/// A daemon that was killed in the middle of a move may not know what it had sent.
fn bytes_sent(measures: &Measures) -> String {
    let needed = measures.bytes_needed;
    let Some(sent) = measures.bytes_sent else {
        return "Bytes sent         not known: the daemon that counted them was killed".to_owned();
    };
    let mut text = format!(
        "Bytes sent         {} for {} that had to be sent ({}%)",
        ByteSize(sent),
        ByteSize(needed),
        percent(sent, needed)
    );
    if measures.vms_not_counted > 0 {
        let count = usize::try_from(measures.vms_not_counted).unwrap_or(usize::MAX);
        text += &format!("; not known for {}", vms(count));
    }
    text
}

fn after_the_kill(record: &Record, kill: &KillRecord) -> String {
    let host = &kill.host;
    let back = match kill.restarted_at_ms {
        Some(at) => format!("started again at {}", seconds(at)),
        None => "all was over before it would have been started again".to_owned(),
    };
    let under_way = if kill.under_way.is_empty() {
        "No VM was on its way to or from it at that moment.".to_owned()
    } else {
        format!("On their way to or from it at that moment: {}.", kill.under_way.join(", "))
    };
    let under_way = [under_way].into_iter().chain(record.stood_still(kill).into_iter().map(|vm| {
        let pause = seconds(vm.downtime_ms.map_or(0, |pause| pause.round() as u64));
        format!(
            "{} stood still for {pause}: its switchover waited for {host}'s daemon to come back.",
            vm.name
        )
    }));
    let under_way = under_way.collect::<Vec<_>>().join("\n  ");
    let gap = record.longest_idle(kill.killed_at_ms);
    let flow = if gap.lasted_ms() < IDLE_MS {
        "Bytes flowed without a break until the last guest was paused for its switchover."
            .to_owned()
    } else {
        format!(
            "Bytes flowed again {} after it, when the link had idled for {}.",
            seconds(gap.to_ms - kill.killed_at_ms),
            seconds(gap.lasted_ms())
        )
    };
    format!(
        "{host}'s daemon was killed at {}; {back}.\n  {under_way}\n  {flow}\n  \
         From then on, while VMs waited, it was less than half full for {} at a time at most.",
        seconds(kill.killed_at_ms),
        seconds(record.longest_half_empty(kill.killed_at_ms).lasted_ms()),
    )
}

fn pause(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(|| "?".to_owned(), |pause| format!("{pause}ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{record::measured, samples::record, verdict::Fate};

    #[test]
    fn every_vm_is_accounted_for() {
        let text = text(&record());
        for n in 0..3 {
            assert!(text.contains(&format!("<vm>-{n}")), "{text}");
        }
        assert!(text.contains("All 3 VMs arrived once, intact"), "{text}");
        assert!(text.contains("80ms on average, 80ms at most"), "{text}");
        assert!(text.contains("a1's daemon was killed at 2.0s; started again at 5.0s"), "{text}");
    }

    #[test]
    fn what_went_wrong_is_named() {
        let mut record = record();
        record.verdict.vms[1].1 = Fate::Missing;
        record.verdict.all_intact = false;
        record.vms[1].arrived_at_ms = None;
        let text = text(&record);
        assert!(text.contains("NOT ALL ARRIVED INTACT: 2 of 3 VMs"), "{text}");
        assert!(text.contains("<vm>-1 is LOST"), "{text}");
        assert!(text.contains("1 VM did not arrive: not in the figures"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let mut record = record();
        record.vms[1].reported = None;
        record.measures = measured(&record.vms, 50_000_000, record.wan_sent_bytes);
        let text = text(&record);
        let row: Vec<&str> = text
            .lines()
            .find(|line| line.starts_with("<vm>-1"))
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(row[row.len() - 3..], ["80ms", "?", "2"], "{text}");
        assert!(text.contains("(105%); not known for 1 VM"), "{text}");
    }

    #[test]
    fn what_is_printed_is_what_is_written() {
        let record = record();
        let measures = record.measures.as_ref().unwrap();
        let text = text(&record);
        for expect in [
            format!("physics allows {}", seconds(measures.bound_total_ms)),
            format!(
                "{}ms on average, {}ms at most",
                measures.mean_downtime_ms.unwrap(),
                measures.max_downtime_ms.unwrap()
            ),
            format!("Link use           {}%", (measures.link_use_permille.unwrap() + 5) / 10),
        ] {
            assert!(text.contains(&expect), "{expect}: {text}");
        }
    }

    #[test]
    fn after_a_kill_the_flow_counts_and_not_the_tokens() {
        let mut record = record();
        let flows = text(&record);
        assert!(flows.contains("flowed without a break until the last guest"), "{flows}");
        // Every daemon has its tokens at once, and nothing flows from 2.5 s to 4.5 s.
        for sample in &mut record.link {
            if (2600..4600).contains(&sample.at_ms) {
                sample.bytes_per_sec = 0;
            }
        }
        let idles = text(&record);
        assert!(
            idles.contains("Bytes flowed again 2.5s after it, when the link had idled for 2.0s."),
            "{idles}"
        );
    }

    #[test]
    fn a_guest_that_stood_still_because_of_the_kill_is_named() {
        let mut record = record();
        // Begun after the kill: nothing was on its way at that moment.
        record.kill.as_mut().unwrap().under_way.clear();
        assert!(!text(&record).contains("stood still"), "{}", text(&record));
        let vm = &mut record.vms[2];
        (vm.from, vm.paused_at_ms) = ("a1".to_owned(), Some(3000));
        (vm.arrived_at_ms, vm.downtime_ms) = (Some(5200), Some(2200.0));
        let text = text(&record);
        assert!(
            text.contains("<vm>-2 stood still for 2.2s: its switchover waited for a1's"),
            "{text}"
        );
        assert!(text.contains("No VM was on its way to or from it at that moment."), "{text}");
    }

    #[test]
    fn one_vm_is_not_all_of_them() {
        let mut record = record();
        record.verdict.vms.truncate(1);
        let text = text(&record);
        assert!(text.contains("The VM arrived once, intact: it runs on exactly one"), "{text}");
    }

    #[test]
    fn bytes_that_nobody_counted_are_not_called_nothing() {
        let mut record = record();
        record.vms.iter_mut().for_each(|vm| vm.reported = None);
        record.measures = measured(&record.vms, 50_000_000, record.wan_sent_bytes);
        assert!(text(&record).contains("Bytes sent         not known"), "{}", text(&record));
    }

    #[test]
    fn nothing_measured_is_said() {
        let mut record = record();
        record.measures = None;
        assert!(text(&record).contains("nothing can be measured"));
    }
}
