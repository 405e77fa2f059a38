//! Finding the daemon and asking it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::args::ClientArgs;
use super::failure::Failure;
use crate::api::Request;
use crate::config::{Config, DEFAULT_PATH};
use crate::control::{ClientError, ControlClient, Reply};

/// Where a daemon listens whose configuration says nothing else.
const DEFAULT_SOCKET: &str = "/run/lifeboat/lifeboat.sock";
/// A daemon answers within milliseconds unless its host is in serious trouble.
const PATIENCE: Duration = Duration::from_secs(15);

/// A daemon to ask. Every question is a connection of its own, so that a restart in between does
/// not matter.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// The daemon that was named; else that of the configuration, if it can be read; else the one
    /// at the usual place.
    pub(super) fn find(args: &ClientArgs, config: Option<&Path>) -> Result<Self, Failure> {
        let socket = match (&args.socket, config) {
            (Some(socket), _) => socket.clone(),
            // What was named must be right.
            (None, Some(file)) => Config::load(file)?.control_socket(),
            (None, None) => match Config::load(Path::new(DEFAULT_PATH)) {
                Ok(config) => config.control_socket(),
                Err(_) => PathBuf::from(DEFAULT_SOCKET),
            },
        };
        Ok(Self { socket })
    }

    /// Asks, and waits for the one answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Failure> {
        let answer = async {
            let mut client = ControlClient::connect(&self.socket).await?;
            client.call(request).await
        };
        let answer = timeout(PATIENCE, answer)
            .await
            .map_err(|_| Failure::NoAnswer { path: self.socket.clone(), waited: PATIENCE })??;
        read(answer)
    }

    /// Asks, and lets the parts of the answer come one by one.
    pub(super) async fn stream(&self, request: &Request) -> Result<Answers, Failure> {
        let mut client = ControlClient::connect(&self.socket).await?;
        client.request(request).await?;
        Ok(Answers { client })
    }
}

/// An answer of many parts.
pub(super) struct Answers {
    client: ControlClient,
}

impl Answers {
    /// The next part; `None` after the last one.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        match self.client.next().await? {
            Reply::More(value) => read(value).map(Some),
            Reply::Done(_) => Ok(None),
            Reply::Error(reason) => Err(ClientError::Refused(reason).into()),
            Reply::Wrong(reason) => Err(ClientError::Wrong(reason).into()),
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| ClientError::Garbled(error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(socket: Option<&str>, config: Option<&Path>) -> Result<PathBuf, Failure> {
        let args = ClientArgs { socket: socket.map(PathBuf::from), json: false };
        Daemon::find(&args, config).map(|daemon| daemon.socket)
    }

    #[test]
    fn a_named_socket_comes_first() {
        let found = found(Some("/s"), Some(Path::new("/does/not/exist"))).unwrap();
        assert_eq!(found, Path::new("/s"));
    }

    #[test]
    fn a_named_configuration_must_be_there() {
        let missing = found(None, Some(Path::new("/does/not/exist")));
        assert!(matches!(missing, Err(Failure::Config(_))));
    }

    #[test]
    fn a_configuration_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = crate::config::InitOptions::new("a", "127.0.0.1:7420".parse().unwrap());
        options.run_dir = "/elsewhere".into();
        let made = crate::config::init(dir.path(), "a1", &options).unwrap();
        let found = found(None, Some(&made.config_file)).unwrap();
        assert_eq!(found, Path::new("/elsewhere/lifeboat.sock"));
    }
}
