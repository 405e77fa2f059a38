//! What can be said to `lifeboat demo`, checked before anything is started.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

use crate::units::{Rate, format_duration, parse_duration};

/// The thinnest link: below it the demo would take hours.
const LEAST_WAN: Rate = Rate::from_bits_per_sec(1_000_000);
/// The thickest one: the WAN emulator is one process.
const MOST_WAN: Rate = Rate::from_bits_per_sec(10_000_000_000);
/// A satellite and back, twice; beyond it hosts take each other for dead.
const MOST_RTT: Duration = Duration::from_secs(1);

/// `lifeboat demo`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DemoOptions {
    /// Hosts at each of the two sites.
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=20))]
    pub hosts: u16,
    /// Virtual machines in all, of about 96 MiB each.
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=500))]
    pub vms: u16,
    /// What the link between the sites carries, in each direction.
    #[arg(long, value_name = "RATE", default_value = "400Mbit/s", value_parser = wan)]
    pub wan: Rate,
    /// Its round-trip time.
    #[arg(long, value_name = "TIME", default_value = "40ms", value_parser = rtt)]
    pub rtt: Duration,
    /// Decides what the guests hold, how large they are and how much they write.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Whose daemon is killed: `initiator` (the host that the command was given to, after the
    /// second arrival and in the middle of a move of its own), `none`, or a host and a time, such as
    /// `b2@10s`. It is started again 8 seconds later.
    #[arg(long, value_name = "WHOM", default_value_t = Kill::Initiator)]
    pub kill: Kill,
    /// Write everything that was seen to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the course of it in this file, as SVG.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Keep configurations, journals and logs in this directory, which must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Whose daemon is killed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kill {
    /// That of the host that was given the command, after the second arrival.
    Initiator,
    /// Nobody's.
    None,
    /// That of a host, so long after the start of the evacuation.
    Host {
        /// Its name.
        name: String,
        /// When.
        at: Duration,
    },
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once('@')) {
            ("initiator", _) => Ok(Self::Initiator),
            ("none", _) => Ok(Self::None),
            (_, Some((name, at))) if !name.is_empty() => {
                let at = parse_duration(at).map_err(|error| error.to_string())?;
                Ok(Self::Host { name: name.to_owned(), at })
            }
            _ => Err("it must be `initiator`, `none`, or a host and a time, such as b2@10s".into()),
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initiator => out.write_str("initiator"),
            Self::None => out.write_str("none"),
            Self::Host { name, at } => {
                write!(out, "{name}@{}", format_duration(*at).replace(' ', ""))
            }
        }
    }
}

impl DemoOptions {
    /// All hosts by name, each with its site: a1, a2, ... b1, b2, ...
    pub(super) fn host_names(&self) -> Vec<(String, String)> {
        let site = |site: &'static str| {
            (1..=self.hosts).map(move |number| (format!("{site}{number}"), site.to_owned()))
        };
        site("a").chain(site("b")).collect()
    }

    /// Checks what one option alone does not tell.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let Kill::Host { name, .. } = &self.kill {
            let hosts = self.host_names();
            anyhow::ensure!(
                hosts.iter().any(|(host, _)| host == name),
                "--kill {name}: there is no such host; there are {} to {} and {} to {}",
                hosts[0].0,
                hosts[hosts.len() / 2 - 1].0,
                hosts[hosts.len() / 2].0,
                hosts[hosts.len() - 1].0,
            );
        }
        Ok(())
    }
}

fn wan(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse().map_err(|error: crate::units::UnitError| error.to_string())?;
    if (LEAST_WAN..=MOST_WAN).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("{rate} is not between {LEAST_WAN} and {MOST_WAN}"))
    }
}

fn rtt(text: &str) -> Result<Duration, String> {
    let rtt = parse_duration(text).map_err(|error| error.to_string())?;
    if rtt > MOST_RTT {
        return Err(format!(
            "{} is more than {}, the longest at which hosts do not take each other for dead",
            format_duration(rtt),
            format_duration(MOST_RTT)
        ));
    }
    Ok(rtt)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: DemoOptions,
    }

    fn parse(line: &str) -> Result<DemoOptions, clap::Error> {
        let words = std::iter::once("demo").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.options)
    }

    #[test]
    fn nothing_need_be_said() {
        let options = parse("").unwrap();
        assert_eq!((options.hosts, options.vms), (4, 16));
        assert_eq!(options.wan, Rate::from_bits_per_sec(400_000_000));
        assert_eq!(options.rtt, Duration::from_millis(40));
        assert_eq!(options.kill, Kill::Initiator);
        assert_eq!(options.host_names().len(), 8);
        assert_eq!(options.host_names()[4], ("b1".to_owned(), "b".to_owned()));
    }

    #[test]
    fn what_is_said_is_taken() {
        let options = parse("--hosts 2 --vms 5 --wan 10MB/s --rtt 1s --kill b2@1m30s").unwrap();
        assert_eq!((options.hosts, options.vms), (2, 5));
        assert_eq!(options.wan, Rate::from_bits_per_sec(80_000_000));
        let kill = Kill::Host { name: "b2".to_owned(), at: Duration::from_secs(90) };
        assert_eq!(options.kill, kill);
        assert_eq!(kill.to_string().parse(), Ok(kill));
        assert_eq!(parse("--kill none").unwrap().kill, Kill::None);
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let check = |line: &str, expect: &str| {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(expect), "{line}: {error}");
        };
        check("--hosts 0", "1..=20");
        check("--hosts 21", "1..=20");
        check("--vms 0", "1..=500");
        check("--vms many", "invalid digit");
        check("--wan 400", "no unit");
        check("--wan 400Mb", "Mbit/s");
        check("--wan 1kbit/s", "not between 1 Mbit/s and 10 Gbit/s");
        check("--wan 1000Gbit/s", "not between");
        check("--rtt 40", "no unit");
        check("--rtt 1h", "more than 1s");
        check("--rtt 1001ms", "do not take each other for dead");
        check("--kill a1", "such as b2@10s");
        check("--kill @10s", "such as b2@10s");
        check("--kill a1@10", "no unit");
    }

    #[test]
    fn a_victim_must_exist() {
        let check = |line: &str| parse(line).unwrap().check().map_err(|error| error.to_string());
        assert_eq!(check("--hosts 2 --kill b2@1s"), Ok(()));
        let refused = check("--hosts 2 --kill b3@1s").unwrap_err();
        assert!(refused.contains("a1 to a2 and b1 to b2"), "{refused}");
    }
}
