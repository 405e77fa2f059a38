//! Where the program's own words go: the terminal, or the system journal.
//!
//! What each level promises: `error`, something is broken and a person must act; `warn`, something
//! went wrong and the node goes on; `info`, what an operator wants to read afterwards; `debug` and
//! `trace`, for those who read the code.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Overrides the configured level; a level or a `tracing` filter such as `debug,libp2p=info`.
pub const LOG_VARIABLE: &str = "LIFEBOAT_LOG";

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// And what went wrong.
    Warn,
    /// And what happened. The default.
    #[default]
    Info,
    /// And why.
    Debug,
    /// Everything.
    Trace,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// Standard error, one compact line each. The default.
    #[default]
    Terminal,
    /// The systemd journal, with fields.
    Journald,
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The environment variable does not hold a filter.
    #[error(
        "{LOG_VARIABLE}=\"{value}\" is not a log filter: {reason}; \
         use error, warn, info, debug or trace, or unset it"
    )]
    BadFilter {
        /// What it holds.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no journal to write to.
    #[error("cannot reach the system journal: {0}; set log target = \"terminal\"")]
    NoJournal(io::Error),
    /// Called twice in one process.
    #[error("logging is set up already: {0}")]
    Twice(String),
}

impl FromStr for LogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(()),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

impl FromStr for LogTarget {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "terminal" => Ok(Self::Terminal),
            "journald" => Ok(Self::Journald),
            _ => Err(()),
        }
    }
}

/// Sets up logging for the whole process. Call once, before anything else runs.
pub fn init(level: LogLevel, target: LogTarget) -> Result<(), LoggingError> {
    let registry = tracing_subscriber::registry().with(filter(level, from_environment())?);
    match target {
        LogTarget::Terminal => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            // A terminal that has gone away is no reason to stop: what cannot be written is lost.
            let lines = tracing_subscriber::fmt::layer().compact().log_internal_errors(false);
            registry
                .with(lines.with_ansi(colours).with_writer(io::stderr))
                .try_init()
                .map_err(twice)?;
        }
        LogTarget::Journald => {
            let journal = tracing_journald::layer().map_err(LoggingError::NoJournal)?;
            registry.with(journal).try_init().map_err(twice)?;
        }
    }
    Ok(())
}

fn twice(error: TryInitError) -> LoggingError {
    LoggingError::Twice(error.to_string())
}

fn from_environment() -> Option<String> {
    std::env::var(LOG_VARIABLE).ok().filter(|value| !value.is_empty())
}

/// The level holds for our own crates; libraries speak up only about trouble.
fn filter(level: LogLevel, environment: Option<String>) -> Result<EnvFilter, LoggingError> {
    let value = environment.unwrap_or_else(|| level.to_string());
    let directives = match value.parse::<LogLevel>() {
        Ok(LogLevel::Error) => "error".to_owned(),
        Ok(level) => format!("warn,lifeboat={level}"),
        Err(()) => value.clone(),
    };
    EnvFilter::try_new(directives)
        .map_err(|error| LoggingError::BadFilter { value, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_for_our_own_crates() {
        assert_eq!(filter(LogLevel::Debug, None).unwrap().to_string(), "lifeboat=debug,warn");
        assert_eq!(filter(LogLevel::Error, None).unwrap().to_string(), "error");
    }

    #[test]
    fn the_environment_wins() {
        let level = filter(LogLevel::Info, Some("trace".to_owned())).unwrap();
        assert_eq!(level.to_string(), "lifeboat=trace,warn");
        let full = filter(LogLevel::Info, Some("libp2p=debug".to_owned())).unwrap();
        assert_eq!(full.to_string(), "libp2p=debug");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let refused = filter(LogLevel::Info, Some("lifeboat=loud".to_owned()));
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("lifeboat=loud") && message.contains("debug"), "{message}");
    }

    #[test]
    fn levels_and_targets_are_written_in_one_way() {
        assert_eq!("info".parse(), Ok(LogLevel::Info));
        assert_eq!("INFO".parse::<LogLevel>(), Err(()));
        assert_eq!("journald".parse(), Ok(LogTarget::Journald));
        assert_eq!("file".parse::<LogTarget>(), Err(()));
    }
}
