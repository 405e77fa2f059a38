//! The client side of a control socket.
//!
//! One connection per request: there is no connection state to go wrong, and requests never wait
//! for each other. A reply that does not come is the caller's to time out.

use std::{io, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{control::Refusal, lines::next_line};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service was not reached; it did not get the request.
    #[error("{0}")]
    Unreachable(io::Error),
    /// The connection broke before the reply came: the outcome is unknown.
    #[error("the connection broke before the reply came: {0}")]
    Broken(io::Error),
    /// The service answered no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Asks the service at `socket` for one thing.
///
/// # Errors
/// See [`CallError`]; only a refusal says for certain that nothing has changed.
pub async fn call<Q, A>(socket: &Path, request: &Q) -> Result<A, CallError>
where
    Q: Serialize + Sync,
    A: DeserializeOwned,
{
    let (mut reader, mut writer) = dial(socket).await.map_err(CallError::Unreachable)?;
    let answer = ask(&mut reader, &mut writer, request).await?;
    serde_json::from_value(answer).map_err(|reason| CallError::Broken(reason.into()))
}

/// A stream of a service's events.
#[derive(Debug)]
pub struct Subscription {
    reader: BufReader<OwnedReadHalf>,
    // Kept open: a closed half would end the subscription.
    _writer: OwnedWriteHalf,
}

impl Subscription {
    /// Subscribes at `socket`; every event from then on is delivered.
    ///
    /// # Errors
    /// As of [`call`].
    pub async fn open(socket: &Path) -> Result<Self, CallError> {
        let (mut reader, mut writer) = dial(socket).await.map_err(CallError::Unreachable)?;
        ask(&mut reader, &mut writer, &json!({ "do": "subscribe" })).await?;
        Ok(Self { reader, _writer: writer })
    }

    /// The next event; `None` once the service has closed the stream. Cancelling a call may lose
    /// an event.
    ///
    /// # Errors
    /// If the connection broke or an event is not of type `E`.
    pub async fn next<E: DeserializeOwned>(&mut self) -> io::Result<Option<E>> {
        match next_line(&mut self.reader).await? {
            Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
            None => Ok(None),
        }
    }
}

async fn dial(socket: &Path) -> io::Result<(BufReader<OwnedReadHalf>, OwnedWriteHalf)> {
    let (reader, writer) = UnixStream::connect(socket).await?.into_split();
    Ok((BufReader::new(reader), writer))
}

async fn ask<Q: Serialize>(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    request: &Q,
) -> Result<Value, CallError> {
    let mut line = serde_json::to_vec(request).map_err(|e| CallError::Unreachable(e.into()))?;
    line.push(b'\n');
    writer.write_all(&line).await.map_err(CallError::Broken)?;
    let reply = next_line(reader).await.map_err(CallError::Broken)?;
    let reply = reply.ok_or_else(|| CallError::Broken(io::ErrorKind::UnexpectedEof.into()))?;
    let mut reply: Value =
        serde_json::from_slice(&reply).map_err(|e| CallError::Broken(e.into()))?;
    match reply.get_mut("error") {
        Some(refusal) => {
            let refusal: Refusal = serde_json::from_value(refusal.take())
                .map_err(|reason| CallError::Broken(reason.into()))?;
            Err(CallError::Refused(refusal))
        }
        None => Ok(reply.get_mut("ok").map(Value::take).unwrap_or_default()),
    }
}
