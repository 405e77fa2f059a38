//! What is said at the end, for people.

use super::{
    record::{KillRecord, Record, VmRecord},
    words::{percent, rate, seconds, vms},
};
use crate::{
    api::{Arrived, Measures},
    units::ByteSize,
};

/// All of it.
pub(super) fn text(record: &Record) -> String {
    let mut parts = vec![table(record), accounted(record)];
    match &record.measures {
        Some(measures) => parts.push(figures(record, measures)),
        None => parts.push("No move was reported: nothing can be measured.".to_owned()),
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
    let told = vm.timed();
    let told = told.as_ref();
    let times =
        |of: &dyn Fn(&Arrived) -> u64| told.map_or("?".to_owned(), |told| seconds(of(told)));
    format!(
        "{:<8} {:<11} {:>5} {:>9} {:>8} {:>8} {:>7} {:>8} {:>6} {:>5}",
        vm.name,
        format!("{} > {}", vm.from, vm.to.as_deref().unwrap_or("?")),
        vm.priority,
        ByteSize(vm.memory_bytes).to_string(),
        times(&|told| told.start_ms),
        times(&|told| told.end_ms),
        times(&|told| told.end_ms.saturating_sub(told.start_ms)),
        vm.downtime_ms.map_or("?".to_owned(), |pause| format!("{pause:.0}ms")),
        told.map_or("?".to_owned(), |told| {
            match told.bytes_sent {
                0 => "?".to_owned(),
                sent => format!("{}%", percent(sent, told.bytes_needed)),
            }
        }),
        told.map_or("?".to_owned(), |told| told.attempts.to_string()),
    )
}

fn accounted(record: &Record) -> String {
    let verdict = &record.verdict;
    let all = verdict.vms.len();
    if verdict.all_intact {
        return format!(
            "All {} arrived once, intact: each runs on exactly one host, none was rebooted or stood \
             still,\nand of {} pages of memory none is wrong.",
            vms(all),
            verdict.pages_verified
        );
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
    let could = u128::from(capacity) * u128::from(measures.total_ms) / 1000;
    let carried = percent(record.wan_sent_bytes, u64::try_from(could).unwrap_or(u64::MAX));
    let pauses: Vec<f64> = record.vms.iter().filter_map(|vm| vm.downtime_ms).collect();
    let mean = pauses.iter().sum::<f64>() / pauses.len().max(1) as f64;
    let longest = pauses.iter().copied().fold(0.0, f64::max);
    let unreported = record.vms.iter().filter(|vm| vm.reported.is_none()).count();
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
        format!("Guests paused for  {mean:.0}ms on average, {longest:.0}ms at most"),
        bytes_sent(record),
        format!(
            "On the WAN         {} from a to b and {} back, gossip and all",
            ByteSize(record.wan_sent_bytes),
            ByteSize(record.wan_returned_bytes)
        ),
        format!(
            "Link use           {carried}% of {} from the command to the last arrival",
            rate(capacity)
        ),
        format!(
            "While VMs waited   it idled for {} at a time at most, and was less than half full for {}",
            seconds(record.longest_below_ms(10, 0)),
            seconds(record.longest_below_ms(50, 0))
        ),
    ];
    if unreported > 0 {
        lines.push(format!(
            "The daemons have not told of {}: these are not in the figures.",
            vms(unreported)
        ));
    }
    lines.join("\n")
}

/// A daemon that was killed in the middle of a move may not know what it had sent.
fn bytes_sent(record: &Record) -> String {
    let told = record.vms.iter().filter_map(|vm| vm.reported.as_ref());
    let (known, unknown): (Vec<&Arrived>, Vec<&Arrived>) =
        told.partition(|told| told.bytes_sent > 0);
    let sent = known.iter().map(|told| told.bytes_sent).sum();
    let needed = known.iter().map(|told| told.bytes_needed).sum();
    let mut text = format!(
        "Bytes sent         {} for {} that had to be sent ({}%)",
        ByteSize(sent),
        ByteSize(needed),
        percent(sent, needed)
    );
    if !unknown.is_empty() {
        text += &format!("; not counted for {}", vms(unknown.len()));
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
        "No VM was on its way to or from it.".to_owned()
    } else {
        format!("On their way to or from it: {}.", kill.under_way.join(", "))
    };
    let regained = match record.regained_after_ms(kill) {
        Some(after) => format!("{} later the living hosts held the link's tokens.", seconds(after)),
        None => "The living hosts never held nine tenths of the link's tokens after it.".to_owned(),
    };
    format!(
        "{host}'s daemon was killed at {}; {back}.\n  {under_way}\n  {regained}\n  \
         From then on, while VMs waited, the link idled for {} at a time at most, and was less than\n  \
         half full for {}.",
        seconds(kill.killed_at_ms),
        seconds(record.longest_below_ms(10, kill.killed_at_ms)),
        seconds(record.longest_below_ms(50, kill.killed_at_ms)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{samples::record, verdict::Fate};

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
        record.vms[1].reported = None;
        let text = text(&record);
        assert!(text.contains("NOT ALL ARRIVED INTACT: 2 of 3 VMs"), "{text}");
        assert!(text.contains("<vm>-1 is LOST"), "{text}");
        assert!(text.contains("not told of 1 VM"), "{text}");
    }

    #[test]
    fn nothing_measured_is_said() {
        let mut record = record();
        record.measures = None;
        assert!(text(&record).contains("nothing can be measured"));
    }
}
