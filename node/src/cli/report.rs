//! `lifeboat report`: how an evacuation went so far, measured against physics.

use std::fmt::Write as _;

use super::args::ReportArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::follow;
use super::output::{print, print_json};
use super::table::{row, table, text};
use super::vms;
use super::words::{
    self, known, maybe_time, not_heard_from, percent, rate_in_both, short, size, time,
};
use crate::api::{Arrived, DoubleInfo, EvacuationInfo, Measures, Report, Request, VmInfo};

/// Asks and prints, or follows.
pub(super) async fn run(daemon: &Daemon, args: &ReportArgs) -> Result<(), Failure> {
    let report: Report = daemon.ask(&Request::Report { id: args.id.clone() }).await?;
    if args.follow {
        let interrupt = follow::Interrupt::catch()?;
        return follow::to_the_end(daemon, &report.evacuation.id, args.client.json, interrupt)
            .await;
    }
    if args.client.json { print_json(&report) } else { print(&render(&report)) }
}

fn render(report: &Report) -> String {
    let mut out = heading(&report.evacuation);
    if !report.arrived.is_empty() {
        let _ = write!(out, "\n\nARRIVED\n{}", table_of_arrivals(&report.arrived));
    }
    if !report.waiting.is_empty() {
        let stays = has_ended(&report.evacuation) && report.goes_on.is_empty();
        let what = if stays { "STILL THERE" } else { "STILL TO LEAVE" };
        let _ = write!(out, "\n\n{what}\n{}", vms::render(&report.waiting));
    }
    let elsewhere = uncertain_elsewhere(report);
    if !elsewhere.is_empty() {
        let _ = write!(out, "\n\nNOT CERTAIN WHERE THEY RUN\n{}", vms::render(&elsewhere));
    }
    if !report.late.is_empty() {
        let _ = write!(out, "\n\n{}", words::not_in_time(report.late.iter()));
    }
    for double in &report.doubles {
        let _ = write!(out, "\n\n{}", words::runs_twice(double));
    }
    for one in &report.evacuation.ended {
        let _ = write!(out, "\n\n{}", words::ended(one));
    }
    let _ = write!(out, "\n\n{}", summary(report));
    out
}

/// VMs of which it is not certain where they run, and that are not among those to leave.
fn uncertain_elsewhere(report: &Report) -> Vec<VmInfo> {
    let listed = |one: &&VmInfo| report.waiting.iter().any(|vm| vm.id == one.id);
    let all = report.uncertain.iter().filter(|_| report.evacuation.vms_unknown > 0);
    all.filter(|one| !listed(one)).cloned().collect()
}

fn heading(one: &EvacuationInfo) -> String {
    let mut out = format!(
        "evacuation {} of {} to {}: {}, started on {} {} ago",
        one.id,
        one.from.join(", "),
        one.to.join(", "),
        one.state,
        one.initiator,
        time(one.age_ms)
    );
    if let Some(id) = &one.merged_into {
        let _ = write!(out, "\nmerged into {id}, an earlier one with the same terms");
    }
    match one.deadline_left_ms.filter(|_| one.state == "active") {
        Some(0) => out.push_str("\nits deadline is past"),
        Some(left) => {
            let _ = write!(out, "\n{} left until its deadline", time(left));
        }
        None => {}
    }
    if !one.silent.is_empty() {
        let _ = write!(out, "\n{}", not_heard_from(one));
    }
    if !one.distant.is_empty() {
        let hosts = one.distant.join(", ");
        let _ = write!(out, "\nnot known here what is left on: {hosts}");
    }
    if !one.hypervisor_down.is_empty() {
        let _ = write!(out, "\nno hypervisor answers on: {}", one.hypervisor_down.join(", "));
    }
    out
}

fn table_of_arrivals(arrived: &[Arrived]) -> String {
    let mut made = table(&[
        "vm",
        "from",
        "to",
        ">started",
        ">arrived",
        ">took",
        ">paused",
        ">sent",
        "?>needed",
        "?>ratio",
        "?>attempts",
    ]);
    for one in arrived {
        // Of what ended on its way nothing had to be sent.
        let needed = one.bytes_needed > 0;
        made.add_row(row([
            short(&one.name),
            one.from.clone(),
            one.to.clone(),
            time(one.start_ms),
            time(one.end_ms),
            time(one.end_ms.saturating_sub(one.start_ms)),
            if one.ran { maybe_time(one.downtime_ms) } else { "-".to_owned() },
            known(one.bytes_sent.map(size)),
            size(one.bytes_needed),
            match needed {
                true => known(one.bytes_sent.map(|sent| percent(sent, one.bytes_needed))),
                false => "-".to_owned(),
            },
            one.attempts.to_string(),
        ]));
    }
    text(made)
}

/// What it came to.
pub(super) fn summary(report: &Report) -> String {
    let one = &report.evacuation;
    let mut out = how_many(report);
    out.push_str(&missed_deadline(report));
    if !one.ended.is_empty() {
        let _ = write!(out, ", {} of them shut off, having ended on the way", one.ended.len());
    }
    let stuck = (one.vms_stuck as usize).saturating_sub(doubles_to_leave(report));
    if stuck > 0 {
        let _ = write!(out, ", {stuck} cannot leave for now");
    }
    if one.vms_unknown > 0 {
        let _ = write!(out, ", of {} it is not certain where they run", one.vms_unknown);
    }
    for other in &report.moved_by {
        let have = if other.vms == 1 { "has" } else { "have" };
        let _ = write!(out, ", {} {have} left by evacuation {}", words::vms(other.vms), other.id);
    }
    match &report.measures {
        Some(measures) => {
            let _ = write!(out, "\n\n{}", table_of_measures(measures));
        }
        None => out.push_str("; there is nothing to measure yet"),
    }
    out
}

/// How many of how many have arrived: of those that had still to leave while it was active.
fn how_many(report: &Report) -> String {
    let one = &report.evacuation;
    if !has_ended(one) {
        let left = [one.vms_left, one.vms_stuck, one.vms_not_heard];
        let left = left.iter().map(|count| *count as usize).sum::<usize>();
        let all = one.vms_arrived + left.saturating_sub(counted_twice(report));
        return format!("{} of {} arrived", one.vms_arrived, words::vms(all));
    }
    let stay = report.waiting.len();
    if !report.goes_on.is_empty() {
        let have = if one.vms_arrived == 1 { "has" } else { "have" };
        return format!(
            "{} {have} arrived, {stay} have still to leave: evacuation {} goes on to move them",
            words::vms(one.vms_arrived),
            report.goes_on.join(", ")
        );
    }
    let all = words::vms(one.vms_arrived + stay);
    match stay {
        0 => format!("{} of {all} arrived", one.vms_arrived),
        stay => format!("{} of {all} arrived, {stay} stayed", one.vms_arrived),
    }
}

/// That the last one arrived after the deadline, if it did.
fn missed_deadline(report: &Report) -> String {
    let last = report.arrived.iter().map(|one| one.end_ms).max();
    match (last, report.evacuation.deadline_ms) {
        (Some(last), Some(deadline)) if last > deadline => {
            let (late, deadline) = (time(last - deadline), time(deadline));
            format!(", the last one {late} after the deadline of {deadline}")
        }
        _ => String::new(),
    }
}

/// What its hosts count as VMs that cannot leave because they run twice: it is said of these that it is
/// not certain where they run.
fn doubles_to_leave(report: &Report) -> usize {
    let sources = &report.evacuation.sources;
    let hosts = report.doubles.iter().flat_map(|double| &double.hosts);
    hosts.filter(|host| sources.contains(host)).count()
}

/// What its hosts count as left although it has arrived, or is counted at another one: VMs that run
/// twice.
fn counted_twice(report: &Report) -> usize {
    let sources = &report.evacuation.sources;
    let once_too_often = |double: &DoubleInfo| {
        let hosts = double.hosts.iter().filter(|host| sources.contains(host)).count();
        let arrived = report.arrived.iter().any(|one| one.name == double.name);
        if arrived { hosts } else { hosts.saturating_sub(1) }
    };
    report.doubles.iter().map(once_too_often).sum()
}

/// Whether somebody ended it: nothing more has to leave because of it.
fn has_ended(one: &EvacuationInfo) -> bool {
    !matches!(one.state.as_str(), "active" | "done")
}

fn table_of_measures(measures: &Measures) -> String {
    let bound = |bound: u64| format!("physics allows {} at best", time(bound));
    let score = match measures.score < 1.0 {
        false => "sqrt(total / its bound x mean individual / its bound); 1.00 is physics",
        true => {
            "below 1.00, where every byte is sent once: compression or empty memory saved some, or \
             the capacity is underestimated"
        }
    };
    let mut made = table(&["measure", ">value", "~"]);
    for (name, value, note) in [
        ("total time", time(measures.total_ms), bound(measures.bound_total_ms)),
        (
            "mean individual time",
            time(measures.mean_individual_ms),
            bound(measures.bound_individual_ms),
        ),
        (
            "mean completion time",
            time(measures.mean_completion_ms),
            "from the start of the evacuation to each arrival".to_owned(),
        ),
        ("mean downtime", maybe_time(measures.mean_downtime_ms), String::new()),
        ("longest downtime", maybe_time(measures.max_downtime_ms), String::new()),
        ("bytes sent", known(measures.bytes_sent.map(size)), against_needed(measures)),
        (
            "link use",
            known(measures.link_use_permille.map(|use_of| percent(use_of, 1000))),
            format!(
                "of {}, {}",
                rate_in_both(measures.capacity_bytes_per_sec),
                match measures.capacity_from.as_str() {
                    "configured" => "as configured",
                    _ => "as estimated now",
                }
            ),
        ),
        ("score", format!("{:.2}", measures.score), score.to_owned()),
    ] {
        made.add_row(row([name.to_owned(), value, note]));
    }
    text(made)
}

/// What was sent against what had to be; a daemon that died in the middle of a move has forgotten it.
fn against_needed(measures: &Measures) -> String {
    let not_known = match measures.vms_not_counted {
        0 => String::new(),
        count => format!("not known for {}", words::vms(count as usize)),
    };
    let Some(sent) = measures.bytes_sent else { return not_known };
    let needed = measures.bytes_needed;
    let separator = if not_known.is_empty() { "" } else { "; " };
    format!("{} of the {} needed{separator}{not_known}", percent(sent, needed), size(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::MovedBy, cli::samples};

    #[test]
    fn a_report_is_complete() {
        let waiting = VmInfo {
            reasons: vec!["b1: no room".to_owned()],
            ..samples::vm("web", "a2", "queued")
        };
        let report = Report {
            evacuation: EvacuationInfo {
                vms_arrived: 1,
                vms_stuck: 1,
                silent: vec!["a3".to_owned()],
                vms_not_heard: 1,
                deadline_left_ms: Some(600_000),
                ..samples::evacuation()
            },
            arrived: vec![samples::arrived("db")],
            waiting: vec![waiting],
            measures: Some(samples::measures()),
            ..samples::report()
        };
        let text = render(&report);
        let squeezed: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for expect in [
            "evacuation 68f3a2c100000007 of a to b: active, started on a1 10s ago",
            "10m left until its deadline",
            "not heard from: a3, where 1 VM had still to leave when last heard",
            "db a1 b1 1.0s 26s 25s 80ms 1.1 GiB 1 GiB 109% 1",
            "web a2 queued running 50 1 GiB 1 GiB b1: no room",
            "1 of 3 VMs arrived, 1 cannot leave for now",
            "total time 26s physics allows 22s at best",
            "mean individual time 25s physics allows 22s at best",
            "bytes sent 1.1 GiB 109% of the 1 GiB needed",
            "link use 91% of 400 Mbit/s (47.7 MiB/s), as estimated now",
            "score 1.19 sqrt(total / its bound x mean individual / its bound); 1.00 is physics",
        ] {
            assert!(squeezed.iter().any(|line| line == expect), "{text}\n{expect}");
        }
    }

    #[test]
    fn a_vm_that_runs_twice_is_one() {
        let double = |name: &str, hosts: &[&str]| DoubleInfo {
            name: name.to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        let evacuation = EvacuationInfo {
            vms_arrived: 1,
            vms_stuck: 3,
            vms_unknown: 2,
            ..samples::evacuation()
        };
        let report = Report {
            evacuation,
            arrived: vec![samples::arrived("db")],
            waiting: vec![samples::vm("web", "a1", "queued"), samples::vm("web", "a2", "queued")],
            doubles: vec![double("web", &["a1", "a2"]), double("db", &["a1", "b1"])],
            ..samples::report()
        };
        let text = render(&report);
        let summary = "\n1 of 2 VMs arrived, of 2 it is not certain where they run";
        assert!(text.contains(summary), "{text}");
        assert!(text.contains("db runs twice: a1 and b1 say that they run it"), "{text}");
    }

    #[test]
    fn what_has_to_be_started_is_named() {
        let evacuation = EvacuationInfo {
            state: "done".to_owned(),
            vms_arrived: 2,
            ended: vec![samples::ended("db")],
            ..samples::evacuation()
        };
        let arrived = vec![samples::arrived("db"), samples::arrived("web")];
        let text = render(&Report { evacuation, arrived, ..samples::report() });
        for expect in [
            "\n\ndb ran when its move began, ended at a1 while it moved, and is at b1, shut off: start it \
             there\n\n",
            "\n2 of 2 VMs arrived, 1 of them shut off, having ended on the way;",
        ] {
            assert!(text.contains(expect), "{text}");
        }
    }

    #[test]
    fn a_missed_deadline_is_told_when_all_is_over() {
        let evacuation = EvacuationInfo {
            state: "done".to_owned(),
            vms_arrived: 1,
            deadline_ms: Some(20_000),
            deadline_left_ms: Some(0),
            ..samples::evacuation()
        };
        let report =
            Report { evacuation, arrived: vec![samples::arrived("db")], ..samples::report() };
        let text = render(&report);
        let expect = "1 of 1 VM arrived, the last one 6.0s after the deadline of 20s";
        assert!(text.contains(expect), "{text}");
    }

    #[test]
    fn what_waits_at_a_destination_is_named() {
        let copy = VmInfo {
            reasons: vec!["it is complete here and paused".to_owned()],
            ..samples::vm("web", "b1", "unknown")
        };
        let evacuation = EvacuationInfo { vms_unknown: 1, ..samples::evacuation() };
        let report = Report { evacuation, uncertain: vec![copy], ..samples::report() };
        let text = render(&report);
        assert!(text.contains("\nNOT CERTAIN WHERE THEY RUN\n"), "{text}");
        assert!(text.contains("it is complete here and paused"), "{text}");
    }

    #[test]
    fn one_that_was_ended_counts_what_stayed_and_has_no_deadline() {
        let report = Report {
            evacuation: EvacuationInfo {
                state: "aborted".to_owned(),
                vms_arrived: 1,
                deadline_left_ms: Some(600_000),
                ..samples::evacuation()
            },
            arrived: vec![samples::arrived("db")],
            waiting: vec![samples::vm("web", "a2", "resting"), samples::vm("x", "a2", "resting")],
            measures: Some(samples::measures()),
            ..samples::report()
        };
        let text = render(&report);
        assert!(text.contains("\n1 of 3 VMs arrived, 2 stayed\n"), "{text}");
        assert!(text.contains("\nSTILL THERE\n"), "{text}");
        assert!(!text.contains("deadline") && !text.contains("STILL TO LEAVE"), "{text}");
    }

    #[test]
    fn what_another_evacuation_goes_on_to_move_has_not_stayed() {
        let report = Report {
            evacuation: EvacuationInfo {
                state: "cancelled".to_owned(),
                vms_arrived: 1,
                ..samples::evacuation()
            },
            waiting: vec![samples::vm("web", "a2", "moving"), samples::vm("x", "a2", "queued")],
            goes_on: vec!["5".to_owned()],
            ..samples::report()
        };
        let text = render(&report);
        let expect = "\n1 VM has arrived, 2 have still to leave: evacuation 5 goes on to move them";
        assert!(text.contains(expect), "{text}");
        assert!(text.contains("\nSTILL TO LEAVE\n") && !text.contains("stayed"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_called_nothing() {
        let text = table_of_measures(&Measures {
            max_downtime_ms: None,
            mean_downtime_ms: None,
            bytes_needed: 0,
            bytes_sent: None,
            vms_not_counted: 1,
            link_use_permille: None,
            ..samples::measures()
        });
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for expect in [
            "mean downtime unknown longest downtime unknown",
            "bytes sent unknown not known for 1 VM link use unknown of 400 Mbit/s",
        ] {
            assert!(squeezed.contains(expect), "{squeezed}");
        }
    }

    #[test]
    fn a_score_below_physics_is_explained() {
        let text = table_of_measures(&Measures { score: 0.8, ..samples::measures() });
        assert!(text.contains("0.80") && text.contains("compression"), "{text}");
    }

    #[test]
    fn what_another_evacuation_moved_is_said() {
        let moved_by = vec![MovedBy { id: "5".to_owned(), vms: 2 }];
        let text = summary(&Report { moved_by, ..samples::report() });
        assert!(text.starts_with("0 of 0 VMs arrived, 2 VMs have left by evacuation 5"), "{text}");
    }

    #[test]
    fn before_the_first_arrival_there_is_nothing_to_measure() {
        let text = summary(&samples::report());
        assert_eq!(text, "0 of 0 VMs arrived; there is nothing to measure yet");
    }
}
