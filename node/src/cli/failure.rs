//! Why a command did not do what was asked, and the exit status that says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;

use crate::config::{ConfigError, InitError};
use crate::control::ClientError;

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
    Output(#[source] io::Error),
    /// A process of the daemon's could not do its work.
    #[error("{0:#}")]
    Process(#[from] anyhow::Error),
}

impl Failure {
    /// Says it, unless nobody listens any more, and chooses the exit status.
    pub(super) fn tell(&self) -> ExitCode {
        if !matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            eprintln!("error: {self}");
        }
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            Self::Init(InitError::BadName { .. } | InitError::Unsound(_)) => ExitCode::from(2),
            _ => ExitCode::from(1),
        }
    }
}
