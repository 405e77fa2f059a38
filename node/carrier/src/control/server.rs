//! The carrier's end of the control socket.

use std::{io, os::unix::net::UnixStream as BlockingUnixStream, path::Path, sync::Arc};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{broadcast, mpsc},
};
use tracing::{debug, warn};

use super::{
    line::{Line, read_line},
    message::{Envelope, Event, Outcome, Reply, Request},
};
use crate::{carrier::Carrier, socket::listen_private};

/// Lines that a slow reader may have waiting.
const LINES_WAITING: usize = 64;

/// Listens on the control socket; an error if another carrier is alive there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if BlockingUnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another carrier already listens on {}", path.display()),
        ));
    }
    listen_private(path)
}

/// Serves daemons for ever.
pub(crate) async fn serve(carrier: Arc<Carrier>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let carrier = carrier.clone();
                tokio::spawn(async move {
                    let _attended = carrier.attend();
                    if let Err(error) = converse(&carrier, stream).await {
                        debug!(%error, "a control connection ended");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(crate::socket::ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(carrier: &Arc<Carrier>, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let (lines, mut waiting) = mpsc::channel::<Vec<u8>>(LINES_WAITING);
    let write = async {
        while let Some(line) = waiting.recv().await {
            writer.write_all(&line).await?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = write => outcome,
        outcome = read_requests(carrier, BufReader::new(reader), lines) => outcome,
    }
}

async fn read_requests(
    carrier: &Arc<Carrier>,
    mut reader: BufReader<tokio::net::unix::OwnedReadHalf>,
    lines: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut events: Option<broadcast::Receiver<Event>> = None;
    let mut request = Box::pin(next_request(&mut reader));
    loop {
        let line = tokio::select! {
            asked = &mut request => match asked? {
                None => return Ok(()),
                Some(asked) => {
                    carrier.asked();
                    let (reply, subscribe) = answer(carrier, asked);
                    if subscribe {
                        events = Some(carrier.events());
                    }
                    drop(request);
                    request = Box::pin(next_request(&mut reader));
                    encode(&reply)?
                }
            },
            event = next_event(&mut events) => encode(&event)?,
        };
        if lines.send(line).await.is_err() {
            return Ok(());
        }
    }
}

fn encode(message: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// A request as it was understood, or the reply that says why not.
pub(super) type Asked = Result<Envelope, Reply>;

async fn next_request(
    reader: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
) -> io::Result<Option<Asked>> {
    let line = match read_line(reader).await? {
        Line::End => return Ok(None),
        Line::Text(line) => line,
        Line::TooLong => {
            let outcome = Outcome::Error("the line is longer than 1 MiB".to_owned());
            return Ok(Some(Err(Reply { id: None, outcome })));
        }
    };
    Ok(Some(understand(&line)))
}

/// Reads a request's line; what cannot be read is answered with the id, if it has one.
pub(super) fn understand(line: &[u8]) -> Asked {
    serde_json::from_slice(line).map_err(|error| {
        let id = serde_json::from_slice::<serde_json::Value>(line).ok();
        let id = id.and_then(|value| value.get("id").and_then(serde_json::Value::as_u64));
        Reply { id, outcome: Outcome::Error(format!("not a request: {error}")) }
    })
}

async fn next_event(events: &mut Option<broadcast::Receiver<Event>>) -> Event {
    let Some(receiver) = events else { return std::future::pending().await };
    match receiver.recv().await {
        Ok(event) => event,
        Err(broadcast::error::RecvError::Lagged(events)) => Event::Missed { events },
        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
    }
}

fn answer(carrier: &Arc<Carrier>, asked: Asked) -> (Reply, bool) {
    let Envelope { id, request } = match asked {
        Ok(envelope) => envelope,
        Err(reply) => return (reply, false),
    };
    let subscribe = matches!(request, Request::Subscribe);
    let done = match request {
        Request::OpenMove(request) => carrier.open_move(request),
        Request::AcceptMove(request) => carrier.accept_move(request),
        Request::SetMove(request) => carrier.set_move(&request),
        Request::CloseMove { move_id } => carrier.close_move(&move_id),
        Request::SetShare(request) => {
            carrier.set_share(request);
            Ok(())
        }
        Request::SetUpstream { address } => {
            carrier.set_upstream(address);
            Ok(())
        }
        Request::Subscribe => Ok(()),
        Request::Status => {
            let outcome = Outcome::Status(Box::new(carrier.status()));
            return (Reply { id: Some(id), outcome }, false);
        }
    };
    let outcome = match done {
        Ok(()) => Outcome::Ok(()),
        Err(error) => Outcome::Error(error.to_string()),
    };
    (Reply { id: Some(id), outcome }, subscribe)
}
