//! The socket through which the command line speaks to the daemon on the same host.
//!
//! One JSON value per line in either direction. A request gets any number of `more` lines and ends
//! with one `done` or `error` line; then the next request may follow. Only the owner of the daemon
//! and its group can connect, which is all the authority there is. The meaning of requests is the
//! daemon's; here they are values.

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

pub use client::{ClientError, ControlClient};
pub use server::{ClientGone, ControlError, ControlServer, Request, Responder};

/// The longest line in either direction, in bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// A line from the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// A part of the answer; more follows.
    More(Value),
    /// The last part of the answer.
    Done(Value),
    /// There is no answer, for this reason.
    Error(String),
    /// What was asked cannot be meant, for this reason; nothing was done.
    Wrong(String),
}

/// What reading a line came to.
pub(crate) enum Line {
    Text(Vec<u8>),
    /// The other end has said all that it has to say, and did not end the line.
    Rest(Vec<u8>),
    TooLong,
    End,
}

/// Reads one line, and never more than a line may have.
pub(crate) async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Line> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(Line::End),
        Some(b'\n') => Ok(Line::Text(line)),
        Some(_) if line.len() >= MAX_LINE_BYTES => Ok(Line::TooLong),
        Some(last) => {
            line.push(last);
            Ok(Line::Rest(line))
        }
    }
}

/// A value as a line; `None` if it is too long for one.
pub(crate) fn encode(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(value).ok()?;
    line.push(b'\n');
    (line.len() <= MAX_LINE_BYTES).then_some(line)
}
