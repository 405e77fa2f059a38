//! The server side of a control socket: one JSON object per line, over a UNIX socket.
//!
//! A request is `{"id": <anything>, "do": "<what>", ...}`; its reply is `{"id": ..., "ok": ...}` or
//! `{"id": ..., "error": {"kind": "...", "reason": "..."}}`. Requests of one connection are
//! answered in order; connections do not wait for each other. The request `subscribe` turns its
//! connection into a stream of events, if the service has any.
//!
//! Invariants:
//! - *Bounded*: a line longer than 1 MiB is answered with an error and ends its connection.
//! - *Total*: nothing that a client sends stops the service.
//! - *No silent gap*: a subscriber that falls too far behind is disconnected, so that it looks
//!   at everything again.

use std::{
    future::Future,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::broadcast,
};

use super::lines::next_line;

/// Events that may wait for one subscriber before it is disconnected.
const EVENT_BACKLOG: usize = 4096;

/// What kind of no a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request was not understood. Nothing has changed.
    Malformed,
    /// It names something that is not there. Nothing has changed.
    NotFound,
    /// It was understood and not done. Nothing has changed.
    Refused,
}

/// A no, with its reason for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct Refusal {
    /// For programs.
    pub kind: RefusalKind,
    /// For persons: what was wrong with what.
    pub reason: String,
}

impl Refusal {
    /// The request was not understood.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Malformed, reason: reason.into() }
    }

    /// It names something that is not there.
    pub fn not_found(reason: impl Into<String>) -> Self {
        Self { kind: RefusalKind::NotFound, reason: reason.into() }
    }

    /// It was understood and not done.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Refused, reason: reason.into() }
    }
}

/// Who may be told of events; cheap to clone.
pub(crate) type Events = broadcast::Sender<Value>;

/// A new set of event subscribers.
pub(crate) fn events() -> Events {
    broadcast::channel(EVENT_BACKLOG).0
}

/// Something that answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// What it is asked for.
    type Request: DeserializeOwned + Send;

    /// Answers one request.
    fn answer(&self, request: Self::Request)
    -> impl Future<Output = Result<Value, Refusal>> + Send;

    /// Its events, if it has any.
    fn events(&self) -> Option<&Events> {
        None
    }

    /// Returns when the service is willing to talk; at once unless it was told to hang.
    fn awake(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Binds a control socket that only its owner may use, in place of a dead one.
///
/// # Errors
/// If another process still answers there, or the path cannot be bound.
pub(crate) fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another process already answers at {}; stop it first", path.display());
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path)
        .with_context(|| format!("the control socket {} cannot be bound", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes a socket that a dead process left; leaves anything else alone.
pub(crate) fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Serves every connection to `listener`, for ever.
pub(crate) async fn serve<S: Service>(listener: UnixListener, service: Arc<S>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&service)));
            }
            Err(reason) => {
                // Out of file descriptors, as a rule: wait for some to come free.
                tracing::warn!(%reason, "a control connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse<S: Service>(stream: UnixStream, service: Arc<S>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let ended: io::Result<()> = async {
        loop {
            let line = match next_line(&mut reader).await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(reason) => {
                    let refusal = Refusal::malformed(reason.to_string());
                    return send(&mut writer, &reply(Value::Null, Err(refusal))).await;
                }
            };
            service.awake().await;
            let (id, request) = open(&line);
            if let (Ok(request), Some(events)) = (&request, service.events())
                && request.get("do").is_some_and(|what| what == "subscribe")
            {
                let events = events.subscribe();
                send(&mut writer, &reply(id, Ok(json!({ "subscribed": true })))).await?;
                return publish(&mut reader, &mut writer, events, &*service).await;
            }
            let answer = match request.and_then(understand) {
                Ok(request) => service.answer(request).await,
                Err(refusal) => Err(refusal),
            };
            send(&mut writer, &reply(id, answer)).await?;
        }
    }
    .await;
    if let Err(reason) = ended {
        tracing::debug!(%reason, "a control connection broke");
    }
}

/// Takes the identifier out of a request's line.
fn open(line: &[u8]) -> (Value, Result<Value, Refusal>) {
    match serde_json::from_slice(line) {
        Ok(Value::Object(mut request)) => {
            let id = request.remove("id").unwrap_or(Value::Null);
            (id, Ok(Value::Object(request)))
        }
        Ok(_) => (Value::Null, Err(Refusal::malformed("a request must be a JSON object"))),
        Err(reason) => {
            (Value::Null, Err(Refusal::malformed(format!("the request is not JSON: {reason}"))))
        }
    }
}

/// A request as it is written again, if it is one; for the fuzzer.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz_line<R: DeserializeOwned + Serialize>(line: &[u8]) -> Option<Value> {
    let (id, request) = open(line);
    let understood = request.and_then(understand::<R>);
    let answer = understood.as_ref().map(|_| Value::Null).map_err(Clone::clone);
    drop(reply(id, answer).to_string());
    let understood = understood.ok()?;
    Some(serde_json::to_value(&understood).expect("a request is plain data"))
}

fn understand<R: DeserializeOwned>(request: Value) -> Result<R, Refusal> {
    serde_json::from_value(request)
        .map_err(|reason| Refusal::malformed(format!("the request makes no sense: {reason}")))
}

fn reply(id: Value, answer: Result<Value, Refusal>) -> Value {
    match answer {
        Ok(answer) => json!({ "id": id, "ok": answer }),
        Err(refusal) => json!({ "id": id, "error": refusal }),
    }
}

async fn send(writer: &mut OwnedWriteHalf, message: &Value) -> io::Result<()> {
    let mut line = message.to_string();
    line.push('\n');
    writer.write_all(line.as_bytes()).await
}

async fn publish<S: Service>(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    mut events: broadcast::Receiver<Value>,
    service: &S,
) -> io::Result<()> {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    service.awake().await;
                    send(writer, &event).await?;
                }
                Err(_) => return Ok(()),
            },
            // A subscriber has nothing more to say: a line or an end both end it.
            _ = next_line(reader) => return Ok(()),
        }
    }
}
