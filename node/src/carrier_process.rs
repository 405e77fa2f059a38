//! The carrier of this host as a process: what it is started with, and how it is ended from outside.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{io::AsyncReadExt, net::UnixStream, time::timeout};

use crate::config::Config;

/// How long a carrier may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What of a configuration a carrier is started with, as people write it there.
pub(crate) fn settings(config: &Config) -> BTreeMap<String, String> {
    let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let settings = [
        ("listen", config.listen.to_string()),
        ("key_file", config.key_file.display().to_string()),
        ("level of [log]", word(&config.log.level)),
        ("target of [log]", word(&config.log.target)),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What became of the order to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It has ended.
    Ended,
    /// None runs.
    NoneRuns,
}

/// Ends the carrier that listens on a socket, and waits until it has ended.
///
/// # Errors
/// A sentence, if it cannot be reached or does not end.
pub(crate) async fn end(socket: &Path) -> Result<End, String> {
    let mut connection = match UnixStream::connect(socket).await {
        Ok(connection) => connection,
        Err(error) if is_nobody(error.kind()) => return Ok(End::NoneRuns),
        Err(error) => return Err(format!("cannot reach {}: {error}", socket.display())),
    };
    // Whoever listens there is the carrier, whatever a file says.
    let owner = connection.peer_cred().ok().and_then(|owner| owner.pid());
    let pid = owner
        .and_then(Pid::from_raw)
        .ok_or_else(|| format!("it is not known which process listens at {}", socket.display()))?;
    kill_process(pid, Signal::TERM).map_err(|error| {
        format!("cannot end the carrier, process {}: {error}", owner.unwrap_or(0))
    })?;
    let mut rest = Vec::new();
    match timeout(ENDS_WITHIN, connection.read_to_end(&mut rest)).await {
        Ok(_) => Ok(End::Ended),
        Err(_) => Err(format!(
            "the carrier, process {}, has not ended within {} s",
            owner.unwrap_or(0),
            ENDS_WITHIN.as_secs()
        )),
    }
}

/// Ends a carrier at once, whatever it does, even if it was stopped. Its number must be known to be its
/// own still.
///
/// # Errors
/// A sentence, if the system does not do it.
pub(crate) fn kill(process: Option<i32>) -> Result<(), String> {
    let pid = process
        .and_then(Pid::from_raw)
        .ok_or_else(|| "it is not known which process is the carrier".to_owned())?;
    kill_process(pid, Signal::KILL)
        .map_err(|error| format!("cannot end the carrier, process {pid}: {error}"))
}

fn is_nobody(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
