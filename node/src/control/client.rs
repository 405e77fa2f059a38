//! The command line's end of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{Line, MAX_LINE_BYTES, Reply, encode, read_line};

/// Why the daemon could not be asked, or did not answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "the lifeboat daemon is not running on this host: nobody answers at {0}; \
         start it with `systemctl start lifeboat`, or check run_dir in its configuration"
    )]
    NotRunning(PathBuf),
    /// The socket is closed to this user.
    #[error(
        "no permission to use {0}; run this as root, or as a member of the group that \
         control_group names in the configuration of the daemon"
    )]
    Denied(PathBuf),
    /// The request does not fit into a line.
    #[error("the request is longer than {MAX_LINE_BYTES} bytes; ask for less at once")]
    TooLong,
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
    /// The daemon said that the request cannot be meant as it is; nothing was done.
    #[error("{0}")]
    Wrong(String),
    /// The connection ended before the answer did.
    #[error(
        "the daemon ended the connection before it had answered; it may have been restarted, \
         and what was asked may or may not have been done: look with `lifeboat status`"
    )]
    Ended,
    /// The answer cannot be read.
    #[error(
        "the daemon's answer cannot be read ({0}); are daemon and command line of the same version?"
    )]
    Garbled(String),
    /// The system refused.
    #[error("cannot speak to the daemon at {path}: {cause}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A connection to the daemon. One request at a time.
#[derive(Debug)]
pub struct ControlClient {
    path: PathBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl ControlClient {
    /// Connects to the daemon's socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied(path.to_owned()),
            _ => ClientError::Io { path: path.to_owned(), cause: error },
        })?;
        let (reader, writer) = stream.into_split();
        Ok(Self { path: path.to_owned(), reader: BufReader::new(reader), writer })
    }

    /// Asks. Read the answer with [`ControlClient::next`] until it is done.
    pub async fn request(&mut self, request: &impl Serialize) -> Result<(), ClientError> {
        let line = encode(request).ok_or(ClientError::TooLong)?;
        let Err(error) = self.writer.write_all(&line).await else { return Ok(()) };
        // A daemon that ended the connection without reading may have said why.
        match self.next().await {
            Err(refused @ ClientError::Refused(_)) => Err(refused),
            _ => Err(self.failed(error)),
        }
    }

    /// The next part of the answer: `More` or `Done`. A refusal is an error.
    pub async fn next(&mut self) -> Result<Reply, ClientError> {
        let line = match read_line(&mut self.reader).await {
            Ok(Line::Text(line)) => line,
            Ok(Line::TooLong) => return Err(ClientError::Garbled("it is too long".to_owned())),
            Ok(Line::Rest(_) | Line::End) => return Err(ClientError::Ended),
            Err(error) => return Err(self.failed(error)),
        };
        match serde_json::from_slice(&line) {
            Ok(Reply::Error(reason)) => Err(ClientError::Refused(reason)),
            Ok(Reply::Wrong(reason)) => Err(ClientError::Wrong(reason)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(ClientError::Garbled(error.to_string())),
        }
    }

    /// Asks, and waits for the last part of the answer.
    pub async fn call(&mut self, request: &impl Serialize) -> Result<Value, ClientError> {
        self.request(request).await?;
        loop {
            match self.next().await? {
                Reply::Done(value) => return Ok(value),
                Reply::More(_) => {}
                Reply::Error(reason) => return Err(ClientError::Refused(reason)),
                Reply::Wrong(reason) => return Err(ClientError::Wrong(reason)),
            }
        }
    }

    fn failed(&self, cause: io::Error) -> ClientError {
        match cause.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Ended,
            _ => ClientError::Io { path: self.path.clone(), cause },
        }
    }
}
