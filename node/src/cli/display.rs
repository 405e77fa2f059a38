//! Showing progress: bars on a terminal, a line per change elsewhere, JSON for programs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::failure::Failure;
use super::output::{can_redraw, print, print_json_line, remark};
use super::tracker::Change;
use super::words::{maybe_time, moment, percent, rate, size, time, time_left, vms};
use crate::api::{Report, VmInfo};

/// Most VMs with a bar of their own.
const BARS: usize = 12;

/// How progress is shown.
pub(super) enum Display {
    /// A line with a time per change.
    Lines,
    /// A JSON value per change.
    Json,
    /// Bars that are drawn anew, and lines above them.
    Bars(Bars),
}

impl Display {
    /// The way that suits stdout.
    pub(super) fn new(json: bool) -> Self {
        match (json, can_redraw()) {
            (true, _) => Self::Json,
            (false, true) => Self::Bars(Bars::new()),
            (false, false) => Self::Lines,
        }
    }

    /// Says that something changed.
    pub(super) fn change(&self, change: &Change) -> Result<(), Failure> {
        let now = moment(SystemTime::now());
        match self {
            Self::Json => print_json_line(&json!({ "time": now, "change": change })),
            Self::Lines => print(&format!("{now} {}", change.text)),
            Self::Bars(bars) => {
                bars.all.println(format!("{now} {}", change.text)).map_err(Failure::Output)
            }
        }
    }

    /// Shows how far everything is.
    pub(super) fn progress(&mut self, report: &Report) {
        if let Self::Bars(bars) = self {
            bars.show(report);
        }
    }

    /// Says something about the watching itself.
    pub(super) fn remark(&self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Bars(bars) => bars.all.println(text).map_err(Failure::Output),
            Self::Lines | Self::Json => {
                remark(text);
                Ok(())
            }
        }
    }

    /// Takes away what may be wrong by now.
    pub(super) fn no_news(&mut self) {
        if let Self::Bars(bars) = self {
            bars.clear();
            bars.total.set_message("no news");
        }
    }

    /// Takes away what was only for the time being.
    pub(super) fn close(&mut self) {
        if let Self::Bars(bars) = self {
            bars.close();
        }
    }
}

/// A bar for everything and one for each VM on its way.
pub(super) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    vms: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let total = all.add(bar("{bar:30} {percent:>3}%  {msg}"));
        Self { all, total, vms: BTreeMap::new() }
    }

    fn show(&mut self, report: &Report) {
        let moving: Vec<&VmInfo> =
            report.waiting.iter().filter(|vm| is_under_way(vm)).take(BARS).collect();
        self.vms.retain(|id, bar| {
            let stays = moving.iter().any(|vm| vm.id == *id);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for vm in moving {
            let made = || self.all.insert_before(&self.total, bar("  {bar:20} {msg}"));
            let bar = self.vms.entry(vm.id.clone()).or_insert_with(made);
            let (done, all) = bytes_of(vm);
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(about(vm));
        }
        let (done, all) = bytes(report);
        self.total.set_length(all);
        self.total.set_position(done);
        self.total.set_message(overall(report));
    }

    fn clear(&mut self) {
        self.vms.values().for_each(ProgressBar::finish_and_clear);
        self.vms.clear();
    }

    fn close(&mut self) {
        self.clear();
        self.total.finish_and_clear();
    }
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is sound");
    ProgressBar::new(1).with_style(style.progress_chars("=> "))
}

fn is_under_way(vm: &VmInfo) -> bool {
    matches!(vm.state.as_str(), "reserved" | "moving" | "switching" | "committing" | "unknown")
}

/// Bytes that a VM has behind it, and all of its bytes.
fn bytes_of(vm: &VmInfo) -> (u64, u64) {
    let all = vm.memory_bytes.max(vm.remaining_bytes);
    (all - vm.remaining_bytes, all)
}

/// The same for everything.
fn bytes(report: &Report) -> (u64, u64) {
    let arrived: u64 = report.arrived.iter().map(|one| one.bytes_needed).sum();
    report.waiting.iter().map(bytes_of).fold((arrived, arrived), |(done, all), one| {
        (done.saturating_add(one.0), all.saturating_add(one.1))
    })
}

fn about(vm: &VmInfo) -> String {
    format!("{} on {}: {}, {} to send", vm.name, vm.host, vm.state, size(vm.remaining_bytes))
}

fn overall(report: &Report) -> String {
    let one = &report.evacuation;
    let all = report.arrived.len() + report.waiting.len();
    let mut parts = vec![format!("{} of {}", report.arrived.len(), vms(all))];
    if one.vms_stuck > 0 {
        parts.push(format!("{} cannot go", one.vms_stuck));
    }
    for link in &report.links {
        parts.push(format!(
            "{} {} ({})",
            link.name,
            rate(link.arrived_bytes_per_sec),
            percent(link.arrived_bytes_per_sec, link.capacity_bytes_per_sec)
        ));
    }
    parts.push(format!("time left {}", maybe_time(time_left(one))));
    match one.deadline_left_ms {
        Some(0) => parts.push("deadline past".to_owned()),
        Some(left) => parts.push(format!("deadline in {}", time(left))),
        None => {}
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::EvacuationInfo;
    use crate::cli::samples::{arrived, evacuation, link, report, vm};

    #[test]
    fn the_total_counts_bytes() {
        let half = VmInfo { remaining_bytes: 1 << 29, ..vm("db", "a1", "moving") };
        let dirty = VmInfo { remaining_bytes: 3 << 30, ..vm("db", "a1", "moving") };
        assert_eq!(bytes_of(&dirty), (0, 3 << 30));
        let report = Report {
            arrived: vec![arrived("web")],
            waiting: vec![half, vm("batch", "a1", "queued")],
            ..report()
        };
        assert_eq!(bytes(&report), (3 << 29, 3 << 30));
    }

    #[test]
    fn the_line_below_says_how_it_stands() {
        let report = Report {
            evacuation: EvacuationInfo {
                vms_left: 1,
                vms_stuck: 1,
                remaining_ms: Some(65_000),
                deadline_left_ms: Some(600_000),
                ..evacuation()
            },
            links: vec![link("a>b")],
            arrived: vec![arrived("web")],
            waiting: vec![vm("db", "a1", "moving")],
            uncertain: Vec::new(),
            doubles: Vec::new(),
            late: Vec::new(),
            goes_on: Vec::new(),
            moved_by: Vec::new(),
            measures: None,
        };
        assert_eq!(
            overall(&report),
            "1 of 2 VMs, 1 cannot go, a>b 320 Mbit/s (80%), time left 1m 5s, deadline in 10m"
        );
        assert_eq!(about(&report.waiting[0]), "db on a1: moving, 1 GiB to send");
    }
}
