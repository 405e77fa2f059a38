//! Why a command did not do what was asked, and the exit status that says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;

use super::output::remark;
use crate::config::{ConfigError, InitError};
use crate::control::ClientError;
use crate::logging::LoggingError;

/// Why a command did not do what was asked. What it prints says what to do next.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The command cannot mean what it says; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// Something was not done, or not all of it.
    #[error("{0}")]
    NotDone(String),
    /// The daemon could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon is there and says nothing.
    #[error(
        "the daemon at {path} has taken the request and not answered it for {waited:?}; it may \
         still do it. Look into its log, or ask another host",
        path = path.display()
    )]
    NoAnswer {
        /// Its socket.
        path: PathBuf,
        /// For how long.
        waited: Duration,
    },
    /// A configuration that was named cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no new configuration.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The log cannot be written.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A process of the daemon's could not do its work.
    #[error("{0:#}")]
    Process(#[from] anyhow::Error),
}

impl Failure {
    /// Says it, unless nobody listens any more, and chooses the exit status.
    pub(super) fn tell(&self) -> ExitCode {
        if !matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            remark(&format!("error: {self}"));
        }
        ExitCode::from(self.status())
    }

    fn status(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Config(_)
            | Self::Client(ClientError::Wrong(_))
            | Self::Logging(LoggingError::BadFilter { .. })
            | Self::Init(InitError::BadName { .. } | InitError::Unsound(_)) => 2,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_wrong_usage() {
        let check =
            |failure: Failure, expect: u8| assert_eq!(failure.status(), expect, "{failure}");
        check(Failure::Usage("no such host".to_owned()), 2);
        check(ConfigError::Missing("/c".into()).into(), 2);
        check(ClientError::Wrong("no site x".to_owned()).into(), 2);
        check(LoggingError::BadFilter { value: "x".to_owned(), reason: "y".to_owned() }.into(), 2);
        check(Failure::NotDone("not all have left".to_owned()), 1);
        check(ClientError::Refused("a1 is heard".to_owned()).into(), 1);
        check(anyhow::anyhow!("the port is taken").into(), 1);
    }
}
