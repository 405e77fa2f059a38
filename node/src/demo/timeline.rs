//! The course of a demo as a drawing: above, each VM's move; below, who might use how much of the
//! link, and what flowed.

use std::fmt::Write;

use super::{
    record::{Record, ShareSample, VmRecord},
    words::{rate, vms},
};
use crate::units::ByteSize;

const WIDTH: f64 = 1180.0;
/// From the left edge to the moment of the command.
const LEFT: f64 = 130.0;
/// From the right edge to the end: room for the last VM's label.
const RIGHT: f64 = 90.0;
/// From the top to the first VM.
const TOP: f64 = 104.0;
const ROW: f64 = 20.0;
/// Height of the lower panel.
const LINK: f64 = 200.0;
/// Between the panels.
const GAP: f64 = 44.0;
/// Below the lower panel.
const BOTTOM: f64 = 48.0;

/// Colours that people with any eyesight tell apart (Okabe and Ito), in a light and a dark round.
const COLOURS: [&str; 14] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#004d78",
    "#9c6b00", "#00664a", "#8a4f70", "#3a7ca1", "#8f3f00", "#a89f2e",
];

/// The drawing, an SVG document.
pub(super) fn svg(record: &Record) -> String {
    let stage = Stage::new(record);
    let mut out = String::new();
    open(&mut out, &stage);
    heading(&mut out, record);
    legend(&mut out, record);
    time_axis(&mut out, &stage);
    rows(&mut out, record, &stage);
    link(&mut out, record, &stage);
    kill(&mut out, record, &stage);
    out.push_str("</svg>\n");
    out
}

/// Where everything goes.
struct Stage {
    /// Length of what is shown.
    until_ms: f64,
    /// The largest rate that is shown, in bytes per second.
    most: f64,
    /// Upper edge of the lower panel.
    link_top: f64,
    height: f64,
}

impl Stage {
    fn new(record: &Record) -> Self {
        let restart = record.kill.as_ref().and_then(|kill| kill.restarted_at_ms);
        let last_try = record.vms.iter().flat_map(|vm| &vm.attempts);
        let last_try = last_try.map(|attempt| attempt.end_ms.unwrap_or(attempt.start_ms)).max();
        let ends = [Some(record.last_arrival_ms()), restart, last_try];
        let until = ends.into_iter().flatten().max().unwrap_or(0).max(1000);
        let link_top = TOP + ROW * record.vms.len() as f64 + GAP;
        Self {
            until_ms: until as f64 * 1.02,
            most: most_shown(record),
            link_top,
            height: link_top + LINK + BOTTOM,
        }
    }

    fn x(&self, at_ms: u64) -> f64 {
        LEFT + (at_ms as f64 / self.until_ms).min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Height of a rate in the lower panel.
    fn y(&self, bytes_per_sec: u64) -> f64 {
        self.link_bottom() - (bytes_per_sec as f64 / self.most).min(1.0) * LINK
    }

    fn link_bottom(&self) -> f64 {
        self.link_top + LINK
    }
}

/// Room for the capacity, and for shares of what the hosts took it for, up to its double.
fn most_shown(record: &Record) -> f64 {
    let shared = |sample: &ShareSample| sample.hosts.iter().map(|share| share.bytes_per_sec).sum();
    let most: u64 = record.shares.iter().map(shared).max().unwrap_or(0);
    let capacity = record.setting.capacity_bytes_per_sec as f64;
    (most as f64 * 1.05).clamp(capacity * 1.15, capacity * 2.1)
}

/// Writing into a `String` cannot fail.
macro_rules! draw {
    ($out:expr, $($what:tt)*) => {
        writeln!($out, $($what)*).expect("a string takes everything")
    };
}

fn open(out: &mut String, stage: &Stage) {
    let height = stage.height;
    draw!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" \
         font-size=\"12\" fill=\"#222\">"
    );
    draw!(out, "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
}

fn heading(out: &mut String, record: &Record) {
    let setting = &record.setting;
    let memory = ByteSize(record.vms.iter().map(|vm| vm.memory_bytes).sum());
    let title = format!(
        "{}, {memory}, leave {} hosts over {} with {} ms round-trip time",
        vms(record.vms.len()),
        setting.hosts_per_site,
        rate(setting.capacity_bytes_per_sec),
        setting.rtt_ms
    );
    let verdict = if record.verdict.all_intact {
        "all arrived once, intact"
    } else {
        "NOT ALL ARRIVED INTACT"
    };
    let figures = record.measures.as_ref().map_or(String::new(), |measures| {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        format!(
            "; {:.1} s in all (physics allows {:.1} s); each VM {:.1} s (physics allows {:.1} s); \
             score {:.2}",
            seconds(measures.total_ms),
            seconds(measures.bound_total_ms),
            seconds(measures.mean_individual_ms),
            seconds(measures.bound_individual_ms),
            measures.score
        )
    });
    label(out, 20.0, 28.0, "font-size=\"17\" font-weight=\"bold\"", &title);
    label(out, 20.0, 49.0, "fill=\"#444\"", &format!("{verdict}{figures}"));
}

fn legend(out: &mut String, record: &Record) {
    let mut x = 20.0;
    for (index, host) in record.setting.sources().iter().enumerate() {
        let colour = colour(index);
        draw!(out, "<rect x=\"{x:.1}\" y=\"62\" width=\"14\" height=\"12\" fill=\"{colour}\"/>");
        label(out, x + 19.0, 72.0, "", host);
        x += 34.0 + 8.0 * host.len() as f64;
    }
    x += 14.0;
    draw!(out, "<rect x=\"{x:.1}\" y=\"62\" width=\"4\" height=\"12\" fill=\"#000\"/>");
    label(out, x + 9.0, 72.0, "", "switchover: the guest is paused");
    let failed = x + 220.0;
    draw!(
        out,
        "<rect x=\"{failed:.1}\" y=\"62\" width=\"14\" height=\"12\" fill=\"#999\" \
         fill-opacity=\"0.35\" stroke=\"#999\"/>"
    );
    label(out, failed + 19.0, 72.0, "", "an attempt that did not arrive");
}

fn time_axis(out: &mut String, stage: &Stage) {
    let step = step(stage.until_ms / 1000.0, 12.0);
    let (top, bottom) = (TOP - 6.0, stage.link_bottom());
    let mut at = 0.0;
    while at * 1000.0 <= stage.until_ms {
        let x = stage.x((at * 1000.0) as u64);
        draw!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#e4e4e4\"/>"
        );
        label(out, x, bottom + 16.0, "text-anchor=\"middle\"", &format!("{at} s"));
        at += step;
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    label(out, middle, bottom + 36.0, "text-anchor=\"middle\"", "after the command to evacuate");
}

/// The VMs in the order in which they began to leave.
fn rows(out: &mut String, record: &Record, stage: &Stage) {
    let mut vms: Vec<&VmRecord> = record.vms.iter().collect();
    vms.sort_by_key(|vm| {
        let began = vm.attempts.last().map_or(u64::MAX, |attempt| attempt.start_ms);
        (began, vm.arrived_at_ms)
    });
    for (index, vm) in vms.into_iter().enumerate() {
        let source = record.setting.sources().iter().position(|host| *host == vm.from);
        row(out, vm, TOP + ROW * index as f64, colour(source.unwrap_or(0)), stage);
    }
}

fn row(out: &mut String, vm: &VmRecord, y: f64, colour: &str, stage: &Stage) {
    let middle = y + ROW * 0.65;
    let name = format!("{}  {} MiB", vm.name, vm.memory_bytes >> 20);
    label(out, LEFT - 8.0, middle, "text-anchor=\"end\"", &name);
    draw!(out, "<g class=\"vm\" data-vm=\"{}\">", escaped(&vm.name));
    let attempts = vm.attempts.len();
    for (index, attempt) in vm.attempts.iter().enumerate() {
        let end = attempt.end_ms.map_or(LEFT + (WIDTH - LEFT - RIGHT), |end| stage.x(end));
        let arrived = index + 1 == attempts && vm.arrived_at_ms.is_some();
        let look = if arrived { "" } else { " fill-opacity=\"0.3\" stroke-dasharray=\"3 2\"" };
        let x = stage.x(attempt.start_ms);
        draw!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\" \
             stroke=\"{colour}\" rx=\"2\"{look}/>",
            y + 3.0,
            (end - x).max(1.5),
            ROW - 6.0
        );
    }
    if let (Some(paused), Some(arrived)) = (vm.paused_at_ms, vm.arrived_at_ms) {
        let x = stage.x(paused);
        draw!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#000\"/>",
            y + 1.0,
            (stage.x(arrived) - x).max(2.0),
            ROW - 2.0
        );
    }
    let end = vm.arrived_at_ms.map_or(LEFT, |at| stage.x(at));
    let to = match (&vm.to, vm.attempts.is_empty()) {
        (Some(host), _) => format!("> {host}"),
        (None, true) => "did not leave".to_owned(),
        (None, false) => "did not arrive".to_owned(),
    };
    label(out, end + 5.0, middle, "fill=\"#555\" font-size=\"11\"", &to);
    out.push_str("</g>\n");
}

fn link(out: &mut String, record: &Record, stage: &Stage) {
    let (top, bottom) = (stage.link_top, stage.link_bottom());
    let (right, capacity) = (WIDTH - RIGHT, record.setting.capacity_bytes_per_sec);
    let caption = "Link: each host's share (areas) and what really flowed (black line)";
    label(out, LEFT, top - 8.0, "font-weight=\"bold\"", caption);
    rate_axis(out, stage);
    areas(out, record, stage);
    flow(out, record, stage);
    let y = stage.y(capacity);
    draw!(
        out,
        "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#c00\" \
         stroke-width=\"1.5\" stroke-dasharray=\"7 4\"/>"
    );
    label(out, right + 5.0, y + 4.0, "fill=\"#c00\" font-size=\"11\"", "capacity");
    if overshoots(record) {
        let why = "Above the capacity: the hosts take the link for more until they have learnt it";
        let look = "fill=\"#555\" font-size=\"11\" text-anchor=\"end\"";
        label(out, right, top - 8.0, look, why);
    }
    draw!(out, "<path d=\"M {LEFT} {top} V {bottom} H {right}\" fill=\"none\" stroke=\"#666\"/>");
}

/// Whether the hosts took the link for more than it carries, visibly so.
fn overshoots(record: &Record) -> bool {
    let capacity = record.setting.capacity_bytes_per_sec;
    let shared = |sample: &ShareSample| -> u64 {
        sample.hosts.iter().map(|share| share.bytes_per_sec).sum()
    };
    record.shares.iter().any(|sample| shared(sample) > capacity + capacity / 20)
}

fn rate_axis(out: &mut String, stage: &Stage) {
    let most = stage.most * 8.0 / 1e6;
    let step = step(most, 5.0);
    let mut megabits = 0.0;
    while megabits <= most {
        let y = stage.y((megabits * 1e6 / 8.0) as u64);
        let text = format!("{megabits} Mbit/s");
        label(out, LEFT - 8.0, y + 4.0, "text-anchor=\"end\" font-size=\"11\"", &text);
        megabits += step;
    }
}

/// One area per host, each upon that of the host before.
fn areas(out: &mut String, record: &Record, stage: &Stage) {
    let mut below: Vec<u64> = vec![0; record.shares.len()];
    for index in 0..record.setting.hosts_per_site {
        let above: Vec<u64> = record
            .shares
            .iter()
            .zip(&below)
            .map(|(sample, below)| {
                below + sample.hosts.get(index).map_or(0, |share| share.bytes_per_sec)
            })
            .collect();
        let edge = |heights: &[u64]| -> Vec<String> {
            let samples = record.shares.iter().zip(heights);
            samples
                .map(|(sample, rate)| format!("{:.1},{:.1}", stage.x(sample.at_ms), stage.y(*rate)))
                .collect()
        };
        let mut points = edge(&above);
        points.extend(edge(&below).into_iter().rev());
        let colour = colour(index);
        draw!(
            out,
            "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.6\"/>",
            points.join(" ")
        );
        below = above;
    }
}

fn flow(out: &mut String, record: &Record, stage: &Stage) {
    // Three samples at a time: what the eye takes for the rate.
    let points: Vec<String> = record
        .link
        .windows(3)
        .map(|samples| {
            let mean = samples.iter().map(|sample| sample.bytes_per_sec).sum::<u64>() / 3;
            format!("{:.1},{:.1}", stage.x(samples[1].at_ms), stage.y(mean))
        })
        .collect();
    draw!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#000\" stroke-width=\"1.3\"/>",
        points.join(" ")
    );
}

fn kill(out: &mut String, record: &Record, stage: &Stage) {
    let Some(kill) = &record.kill else { return };
    mark(out, stage, kill.killed_at_ms, "#c00", &format!("{} is killed", kill.host));
    if let Some(at) = kill.restarted_at_ms {
        mark(out, stage, at, "#060", &format!("{} starts again", kill.host));
    }
}

fn mark(out: &mut String, stage: &Stage, at_ms: u64, colour: &str, text: &str) {
    let (x, bottom) = (stage.x(at_ms), stage.link_bottom());
    let top = TOP - 8.0;
    draw!(
        out,
        "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\" \
         stroke-width=\"1.5\" stroke-dasharray=\"4 3\"/>"
    );
    let look = format!("fill=\"{colour}\" text-anchor=\"middle\" font-weight=\"bold\"");
    label(out, x, top - 4.0, &look, text);
}

fn label(out: &mut String, x: f64, y: f64, look: &str, text: &str) {
    draw!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {look}>{}</text>", escaped(text));
}

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// A step of 1, 2 or 5 times a power of ten that divides `length` into at most so many parts.
fn step(length: f64, parts: f64) -> f64 {
    let power = 10_f64.powf((length / parts).max(0.1).log10().floor());
    let fitting = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power * parts >= length);
    fitting.unwrap_or(10.0) * power
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::samples::record;

    /// Every tag is closed in its order, every attribute is quoted, and nothing is left raw.
    fn check_well_formed(text: &str) {
        let mut open: Vec<String> = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            assert!(!rest[..at].contains(['>']), "a raw sign in {:?}", &rest[..at]);
            let end = rest.find('>').expect("every tag ends");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains(['<', '&']) || tag.contains("data-vm"), "{tag}");
            assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
            match (tag.strip_prefix('/'), tag.ends_with('/')) {
                (Some(name), _) => assert_eq!(open.pop().as_deref(), Some(name)),
                (None, true) => {}
                (None, false) => open.push(tag.split(' ').next().unwrap().to_owned()),
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    #[test]
    fn every_vm_has_a_bar() {
        let record = record();
        let text = svg(&record);
        check_well_formed(&text);
        for vm in &record.vms {
            let group = format!("data-vm=\"{}\"", escaped(&vm.name));
            let (_, rest) = text.split_once(&group).expect("it has a group");
            let (row, _) = rest.split_once("</g>").unwrap();
            // Each attempt, and the switchover.
            assert_eq!(row.matches("<rect").count(), vm.attempts.len() + 1, "{row}");
        }
        assert!(text.contains("a1 is killed") && text.contains("a1 starts again"));
        assert_eq!(text.matches("<polygon").count(), record.setting.hosts_per_site);
    }

    #[test]
    fn shares_above_the_capacity_are_explained() {
        let mut record = record();
        assert!(!svg(&record).contains("until they have learnt it"));
        record.shares[0].hosts[0].bytes_per_sec = 90_000_000;
        let text = svg(&record);
        check_well_formed(&text);
        assert!(text.contains("until they have learnt it"));
    }

    #[test]
    fn a_demo_that_came_to_nothing_is_drawn_too() {
        let mut record = record();
        record.measures = None;
        record.kill = None;
        record.link.clear();
        record.shares.clear();
        for vm in &mut record.vms {
            vm.attempts.clear();
            (vm.to, vm.arrived_at_ms, vm.paused_at_ms) = (None, None, None);
        }
        let text = svg(&record);
        check_well_formed(&text);
        assert_eq!(text.matches("did not leave").count(), 3);
    }

    #[test]
    fn steps_are_round() {
        let check = |length: f64, expect: f64| {
            assert!((step(length, 10.0) - expect).abs() < 1e-9, "{length}: {}", step(length, 10.0));
        };
        check(10.0, 1.0);
        check(35.0, 5.0);
        check(61.0, 10.0);
        check(1999.0, 200.0);
        check(0.5, 0.1);
    }
}
