//! `lifeboat plan`: what an evacuation would do.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::Cell;

use super::args::PlanArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{print, print_json};
use super::table::{Mood, cell, table, text};
use super::words::{rate, short, size, time, vms};
use crate::api::{GuessInfo, PlanInfo, PlannedVmInfo, Request};
use crate::units::format_duration;

/// Asks and prints.
pub(super) async fn run(daemon: &Daemon, args: &PlanArgs) -> Result<(), Failure> {
    let plan: PlanInfo = daemon.ask(&Request::Plan(args.terms.terms())).await?;
    if args.client.json { print_json(&plan) } else { print(&render(&plan, args.terms.deadline)) }
}

/// The plan as text, its totals last.
pub(super) fn render(plan: &PlanInfo, deadline: Option<Duration>) -> String {
    let (go, stay): (Vec<&PlannedVmInfo>, Vec<&PlannedVmInfo>) =
        plan.vms.iter().partition(|vm| vm.reasons.is_empty());
    let mut out = String::new();
    if !go.is_empty() {
        let _ = write!(out, "{}\n\n", order(&go));
    }
    if !stay.is_empty() {
        out.push_str("CANNOT GO NOW\n");
        for vm in &stay {
            let _ = writeln!(out, "{} on {}, {}:", vm.name, vm.from, size(vm.memory_bytes));
            for reason in &vm.reasons {
                let _ = writeln!(out, "  - {reason}");
            }
        }
        out.push('\n');
    }
    if !plan.silent.is_empty() {
        let _ = write!(
            out,
            "NOT HEARD, so that it is not known what they run: {}\n\n",
            plan.silent.join(", ")
        );
    }
    if !plan.hypervisor_down.is_empty() {
        let _ = write!(
            out,
            "NO HYPERVISOR ANSWERS, so that it is not known what they run now: {}\n\n",
            plan.hypervisor_down.join(", ")
        );
    }
    if !plan.untold.is_empty() {
        let _ = write!(
            out,
            "NOT TOLD HERE what they run: {}\nIn a cluster of more than 32 hosts none tells the others \
             of its VMs: `lifeboat plan` on each of these shows them.\n\n",
            plan.untold.join(", ")
        );
    }
    if !plan.not_told_yet.is_empty() {
        let _ = write!(
            out,
            "NOT TOLD YET what they run: {}\nThey have been heard for some seconds only: ask again.\n\n",
            plan.not_told_yet.join(", ")
        );
    }
    out.push_str(&totals(plan, go.len(), deadline));
    out
}

/// Where the column of groups stands, if any VM belongs to one.
const GROUP_AT: usize = 3;

fn order(go: &[&PlannedVmInfo]) -> String {
    let with_groups = go.iter().any(|vm| vm.group.is_some());
    let mut titles = vec![
        ">#",
        "vm",
        ">priority",
        ">memory",
        "from",
        "to",
        ">starts",
        ">arrives",
        "?>paused",
        "",
    ];
    if with_groups {
        titles.insert(GROUP_AT, "?group");
    }
    let mut made = table(&titles);
    for (number, vm) in go.iter().enumerate() {
        let mut row = vec![
            Cell::new(number + 1),
            Cell::new(short(&vm.name)),
            Cell::new(vm.priority),
            Cell::new(size(vm.memory_bytes)),
            Cell::new(&vm.from),
            Cell::new(vm.to.as_deref().unwrap_or("-")),
            Cell::new(time(vm.start_ms)),
            Cell::new(time(vm.finish_ms)),
            Cell::new(time(vm.downtime_ms)),
            match vm.limit.as_deref().filter(|_| vm.late) {
                Some("power") => cell("POWER ENDS", Mood::Bad),
                Some(_) => cell("LATE", Mood::Bad),
                None => Cell::new(""),
            },
        ];
        if with_groups {
            row.insert(GROUP_AT, Cell::new(vm.group.as_deref().unwrap_or("-")));
        }
        made.add_row(row);
    }
    text(made)
}

fn totals(plan: &PlanInfo, go: usize, deadline: Option<Duration>) -> String {
    let unknown = [&plan.silent, &plan.hypervisor_down, &plan.untold, &plan.not_told_yet];
    if plan.vms.is_empty() {
        return match unknown.iter().all(|hosts| hosts.is_empty()) {
            true => "There is no VM to move.".to_owned(),
            false => "It is not known whether there is a VM to move; see above.".to_owned(),
        };
    }
    let mut out = if go == plan.vms.len() {
        format!("{} can go", vms(go))
    } else {
        format!("{go} of {} can go", vms(plan.vms.len()))
    };
    if go > 0 {
        let _ = write!(out, ": {} in about {}", size(plan.bytes), time(plan.total_ms));
    }
    out.push('.');
    for GuessInfo { link, bytes_per_sec } in &plan.guessed {
        let rate = rate(*bytes_per_sec);
        let _ = write!(
            out,
            " Nobody has measured {link} yet: {rate} are assumed, and times may be quite different."
        );
    }
    let late_for = |what: &str| {
        plan.vms.iter().filter(|vm| vm.late && vm.limit.as_deref() == Some(what)).count()
    };
    let (late, powerless) = (late_for("deadline"), late_for("power"));
    if powerless > 0 {
        let _ = write!(out, " The power of their hosts would end before {} left.", vms(powerless));
    }
    if let Some(deadline) = deadline {
        let deadline = format_duration(deadline);
        let _ = match late {
            0 if powerless > 0 => write!(out, " All others make the deadline of {deadline}."),
            0 => write!(out, " All of these make the deadline of {deadline}."),
            late => write!(out, " {} would miss the deadline of {deadline}.", vms(late)),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::planned;

    #[test]
    fn what_cannot_go_has_all_its_reasons() {
        let stuck = PlannedVmInfo {
            to: None,
            reasons: vec!["it has a PCI device".to_owned(), "b1: no room".to_owned()],
            ..planned("web")
        };
        let limit = Some("deadline".to_owned());
        let late = PlannedVmInfo { late: true, limit, ..planned("batch") };
        let plan = PlanInfo {
            vms: vec![planned("db"), late, stuck],
            silent: vec!["a3".to_owned()],
            hypervisor_down: vec!["a4".to_owned()],
            untold: vec!["a5".to_owned(), "a6".to_owned()],
            not_told_yet: vec!["a7".to_owned()],
            guessed: vec![GuessInfo { link: "a>b".to_owned(), bytes_per_sec: 12_500_000 }],
            total_ms: 200_000,
            bytes: 2 << 30,
        };
        let text = render(&plan, Some(Duration::from_secs(60)));
        for expect in [
            "CANNOT GO NOW\nweb on a1, 1 GiB:\n  - it has a PCI device\n  - b1: no room\n",
            "not known what they run: a3\n",
            "not known what they run now: a4\n",
            "NOT TOLD HERE what they run: a5, a6\n",
            "NOT TOLD YET what they run: a7\nThey have been heard for some seconds only: ask again.",
            "2 of 3 VMs can go: 2 GiB in about 3m 20s. Nobody has measured a>b yet: 100 Mbit/s are \
             assumed, and times may be quite different. 1 VM would miss the deadline of 1m.",
        ] {
            assert!(text.contains(expect), "{text}\n{expect}");
        }
        let marks: Vec<bool> = text.lines().map(|line| line.ends_with("LATE")).collect();
        assert_eq!(marks[..3], [false, false, true], "{text}");
    }

    #[test]
    fn a_plan_without_trouble_is_short() {
        let plan = PlanInfo {
            vms: vec![planned("db")],
            total_ms: 5_000,
            bytes: 1 << 30,
            ..PlanInfo::default()
        };
        let text = render(&plan, None);
        assert!(text.ends_with("\n\n1 VM can go: 1 GiB in about 5.0s."), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn nothing_to_move_is_said() {
        assert_eq!(render(&PlanInfo::default(), None), "There is no VM to move.");
    }

    #[test]
    fn what_is_not_known_is_not_called_nothing() {
        let hosts = || vec!["a1".to_owned()];
        for plan in [
            PlanInfo { silent: hosts(), ..PlanInfo::default() },
            PlanInfo { hypervisor_down: hosts(), ..PlanInfo::default() },
            PlanInfo { untold: hosts(), ..PlanInfo::default() },
            PlanInfo { not_told_yet: hosts(), ..PlanInfo::default() },
        ] {
            let text = render(&plan, None);
            assert!(text.contains("a1") && text.contains("not known whether"), "{text}");
        }
    }
}
