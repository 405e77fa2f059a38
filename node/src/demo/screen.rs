//! What is shown while it goes on: a picture drawn anew in place on a terminal; elsewhere a line
//! per second and a line per event.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thiserror::Error;

use super::{
    picture::{Now, Phase, Picture},
    record::{Share, VmRecord},
    words::{percent, rate, vms},
};
use crate::units::ByteSize;

/// Most VMs with a line of their own.
const LINES: usize = 16;
/// Most hosts whose share is shown; where there are more, only those that have one.
const SHARES: usize = 6;
/// Signs of a bar.
const BAR: usize = 24;

/// Whoever read the output has gone: the demo ends then, and leaves nothing behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("nobody reads the output any more")]
pub struct NobodyReads;

/// Where it is shown.
pub(super) enum Screen {
    /// A terminal: lines that stay, and below them a picture.
    Live(ProgressBar),
    /// Anything else.
    Plain {
        /// The second of which was told last.
        told: Option<u64>,
    },
}

impl Screen {
    /// The way that suits stdout.
    pub(super) fn new() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stdout().is_terminal() || is_dumb {
            return Self::Plain { told: None };
        }
        let style = ProgressStyle::with_template("{msg}").expect("the template is sound");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        Self::Live(bar.with_style(style))
    }

    /// Prints a line that stays.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(super) fn say(&self, text: &str) -> anyhow::Result<()> {
        let said = match self {
            Self::Live(bar) => bar.suspend(|| write_line(text)),
            Self::Plain { .. } => write_line(text),
        };
        said.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => NobodyReads.into(),
            _ => anyhow::Error::new(error).context("cannot write the output"),
        })
    }

    /// Prints that something happened.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(super) fn tell(&self, at_ms: u64, text: &str) -> anyhow::Result<()> {
        self.say(&format!("{} {text}", clock(at_ms)))
    }

    /// Shows how everything stands, and what was done to whom.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(super) fn show(
        &mut self,
        at_ms: u64,
        picture: &Picture,
        down: Option<&str>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Live(bar) => bar.set_message(drawn(at_ms, picture, down)),
            Self::Plain { told } => {
                let second = at_ms / 1000;
                if told.replace(second) != Some(second) {
                    let line = format!("{} {}", clock(at_ms), line(picture, down));
                    return self.say(&line);
                }
            }
        }
        Ok(())
    }

    /// Takes away what was only for the time being.
    pub(super) fn close(&self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn write_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}

fn clock(at_ms: u64) -> String {
    format!("{:5}.{}s ", at_ms / 1000, at_ms / 100 % 10)
}

/// All of it in a line.
fn line(picture: &Picture, down: Option<&str>) -> String {
    let (_, left) = picture.bytes();
    format!(
        "{} of {}, {} to send, {}; link {}; shares {}",
        picture.arrived(),
        vms(picture.vms.len()),
        ByteSize(left),
        time_left(picture),
        link(picture),
        shares(picture, down),
    )
}

/// All of it in a picture.
fn drawn(at_ms: u64, picture: &Picture, down: Option<&str>) -> String {
    let (all, left) = picture.bytes();
    let capacity = picture.setting.capacity_bytes_per_sec;
    let mut lines = vec![
        String::new(),
        format!(
            "{}  {} of {} arrived, {}",
            clock(at_ms).trim_start(),
            picture.arrived(),
            vms(picture.vms.len()),
            time_left(picture)
        ),
        format!("  sent   {} {} of {}", bar(all - left, all), ByteSize(all - left), ByteSize(all)),
        format!("  link   {} {}", bar(picture.rate(), capacity), link(picture)),
        format!("  share  {}", shares(picture, down)),
    ];
    let mut shown: Vec<(&VmRecord, &Now)> = picture.vms.iter().zip(&picture.now).collect();
    let hidden = shown.len().saturating_sub(LINES);
    if hidden > 0 {
        // What is on its way first, then what waits.
        shown.sort_by_key(|(_, now)| match now.phase {
            Phase::Moves | Phase::Switches => 0,
            Phase::Waits(_) => 1,
            Phase::Arrived => 2,
        });
        shown.truncate(LINES);
    }
    lines.extend(shown.into_iter().map(|(vm, now)| vm_line(vm, now, down)));
    if hidden > 0 {
        lines.push(format!("  and {hidden} more"));
    }
    lines.join("\n")
}

fn vm_line(vm: &VmRecord, now: &Now, down: Option<&str>) -> String {
    let sent = vm.memory_bytes.saturating_sub(now.remaining);
    let state = match &now.phase {
        Phase::Waits(_) if down == Some(&vm.from) => "waits for its daemon".to_owned(),
        Phase::Waits(state) => state.clone(),
        Phase::Moves => format!("moves, {} to send", ByteSize(now.remaining)),
        Phase::Switches => "switches over".to_owned(),
        Phase::Arrived => arrival(vm),
    };
    format!("  {:<7}{:<4}{} {state}", vm.name, vm.from, bar(sent, vm.memory_bytes))
}

fn arrival(vm: &VmRecord) -> String {
    let host = vm.to.as_deref().unwrap_or_default();
    let pause = vm.downtime_ms.map_or(String::new(), |pause| format!(", paused for {pause:.0}ms"));
    format!("on {host}{pause}")
}

fn bar(part: u64, whole: u64) -> String {
    let full = usize::try_from(percent(part, whole)).unwrap_or(100).min(100) * BAR / 100;
    format!("[{}{}]", "=".repeat(full), " ".repeat(BAR - full))
}

fn link(picture: &Picture) -> String {
    let capacity = picture.setting.capacity_bytes_per_sec;
    format!(
        "{} of {} ({}%)",
        rate(picture.rate()),
        rate(capacity),
        percent(picture.rate(), capacity)
    )
}

fn shares(picture: &Picture, down: Option<&str>) -> String {
    let hosts = picture.setting.sources().iter().zip(picture.share());
    let many = picture.setting.hosts_per_site > SHARES;
    let is_shown = |host: &str, share: &Share| !many || share.tokens > 0 || down == Some(host);
    let hosts = hosts.filter(|(host, share)| is_shown(host, share));
    let words: Vec<String> = hosts
        .map(|(host, share)| match down {
            Some(down) if down == host => format!("{host} DOWN"),
            _ => format!("{host} {}%", (share.tokens + 5) / 10),
        })
        .collect();
    match words.as_slice() {
        [] => "none".to_owned(),
        words => words[..words.len().min(SHARES)].join("  "),
    }
}

fn time_left(picture: &Picture) -> String {
    match picture.time_left_ms() {
        Some(left) => format!("about {} s left", left.div_ceil(1000)),
        None => "time left unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{
        DemoOptions, guests,
        record::Setting,
        samples::{options, report, setting},
        watch::News,
    };

    fn names(options: &DemoOptions) -> Vec<String> {
        options.host_names().into_iter().map(|(name, _)| name).collect()
    }

    fn picture(vms: u16) -> Picture {
        let options = DemoOptions { vms, ..options() };
        Picture::new(setting(), &guests::guests(&options))
    }

    #[test]
    fn everything_fits_a_small_terminal() {
        for vms in [1, 16, 200] {
            let text = drawn(12_345, &picture(vms), Some("a1"));
            assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
            assert!(text.lines().count() <= 24, "{text}");
        }
    }

    #[test]
    fn what_moves_is_shown_first() {
        let mut picture = picture(200);
        picture.now[150].phase = Phase::Moves;
        let text = drawn(0, &picture, None);
        assert!(text.contains(&picture.vms[150].name), "{text}");
        assert!(text.contains("and 184 more"), "{text}");
    }

    #[test]
    fn of_many_hosts_those_with_a_share_are_shown() {
        let options = DemoOptions { hosts: 20, ..options() };
        let setting = Setting { hosts_per_site: 20, hosts: names(&options), ..setting() };
        let mut picture = Picture::new(setting, &guests::guests(&options));
        assert_eq!(shares(&picture, None), "none");
        for (host, name) in [(2, "a3"), (16, "a17")] {
            let report = Some(Box::new(report(name, 400)));
            picture.take(0, News::Daemon { host, report });
        }
        picture.sample_shares(0);
        assert_eq!(shares(&picture, Some("a9")), "a3 40%  a9 DOWN  a17 40%");
    }

    #[test]
    fn a_dead_host_is_marked() {
        let picture = picture(16);
        assert!(line(&picture, Some("a2")).contains("a1 0%  a2 DOWN  a3 0%"));
        assert!(drawn(0, &picture, Some("a2")).contains("waits for its daemon"));
        assert!(!drawn(0, &picture, None).contains("waits for its daemon"));
    }
}
