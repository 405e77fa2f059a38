//! The daemon's end of the control socket.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{broadcast, oneshot},
    task::AbortHandle,
    time::timeout,
};

use super::{
    line::{Line, read_line},
    message::{
        AcceptMove, Envelope, Event, OpenMove, Outcome, Reply, Request, SetMove, SetShare, Status,
    },
};

/// How long a reply may take; the carrier never waits for the network before it replies.
const REPLY_WITHIN: Duration = Duration::from_secs(5);
const EVENTS_KEPT: usize = 1024;

/// Why a request came to nothing.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The carrier refused it, and says why; its state is unchanged.
    #[error("the carrier refused: {0}")]
    Refused(String),
    /// There is no carrier any more on this connection; whether the request was done is unknown.
    #[error("the connection to the carrier is gone; connect again and ask for its status")]
    Disconnected,
    /// The carrier did not reply in 5 s; whether the request was done is unknown.
    #[error("the carrier did not reply within 5 s")]
    Late,
    /// The socket.
    #[error("the control socket of the carrier: {0}")]
    Io(#[from] io::Error),
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Outcome>>>>;

/// A connection to the carrier of this host. While at least one is open, the carrier trusts that somebody will
/// tell it when a guest is paused.
pub struct Client {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    next_id: AtomicU64,
    waiting: Waiting,
    events: broadcast::WeakSender<Event>,
    reader: AbortHandle,
    process: Option<i32>,
}

/// Events in the order in which they happened.
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the connection is gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(events)) => Some(Event::Missed { events }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Client {
    /// Connects to the carrier's control socket.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).await?;
        let process = stream.peer_cred()?.pid();
        let (reader, writer) = stream.into_split();
        let waiting = Waiting::default();
        let events = broadcast::Sender::new(EVENTS_KEPT);
        let weak = events.downgrade();
        let reader = tokio::spawn(read_replies(reader, waiting.clone(), events));
        Ok(Self {
            writer: tokio::sync::Mutex::new(writer),
            next_id: AtomicU64::new(1),
            waiting,
            events: weak,
            reader: reader.abort_handle(),
            process,
        })
    }

    /// The number of the carrier's process, if the system tells it. It stays that process's as long as this
    /// connection is there, since what a process has open goes with it.
    pub fn process(&self) -> Option<i32> {
        self.process
    }

    /// Opens a move at the source. When this returns, its sockets are listening.
    pub async fn open_move(&self, request: OpenMove) -> Result<(), ClientError> {
        self.order(Request::OpenMove(request)).await
    }

    /// Accepts a move at the destination. To be done before the source opens it.
    pub async fn accept_move(&self, request: AcceptMove) -> Result<(), ClientError> {
        self.order(Request::AcceptMove(request)).await
    }

    /// Changes a move.
    pub async fn set_move(&self, request: SetMove) -> Result<(), ClientError> {
        self.order(Request::SetMove(request)).await
    }

    /// Ends a move at both ends and removes its sockets; no error if it has ended already.
    pub async fn close_move(&self, move_id: &str) -> Result<(), ClientError> {
        self.order(Request::CloseMove { move_id: move_id.to_owned() }).await
    }

    /// Sets a link's share; it acts at once.
    pub async fn set_share(&self, request: SetShare) -> Result<(), ClientError> {
        self.order(Request::SetShare(request)).await
    }

    /// Says where the daemon's libp2p listens; `None` refuses its connections.
    pub async fn set_upstream(&self, address: Option<SocketAddr>) -> Result<(), ClientError> {
        self.order(Request::SetUpstream { address }).await
    }

    /// Everything the carrier knows: what a restarted daemon adopts.
    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.request(Request::Status).await? {
            Outcome::Status(status) => Ok(*status),
            Outcome::Error(why) => Err(ClientError::Refused(why)),
            Outcome::Ok(()) => Err(ClientError::Disconnected),
        }
    }

    /// Events from now on.
    pub async fn subscribe(&self) -> Result<Events, ClientError> {
        let events = self.events.upgrade().ok_or(ClientError::Disconnected)?;
        let events = Events(events.subscribe());
        self.order(Request::Subscribe).await?;
        Ok(events)
    }

    async fn order(&self, request: Request) -> Result<(), ClientError> {
        match self.request(request).await? {
            Outcome::Error(why) => Err(ClientError::Refused(why)),
            Outcome::Ok(()) | Outcome::Status(_) => Ok(()),
        }
    }

    async fn request(&self, request: Request) -> Result<Outcome, ClientError> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let mut line = serde_json::to_vec(&Envelope { id, request }).map_err(io::Error::from)?;
        line.push(b'\n');
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().expect("nothing panics under this lock").insert(id, sender);
        if self.reader.is_finished() {
            return Err(ClientError::Disconnected);
        }
        let replied = timeout(REPLY_WITHIN, async {
            self.writer.lock().await.write_all(&line).await?;
            receiver.await.map_err(|_| ClientError::Disconnected)
        });
        let outcome = replied.await;
        self.waiting.lock().expect("nothing panics under this lock").remove(&id);
        outcome.map_err(|_| ClientError::Late)?
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_replies(reader: OwnedReadHalf, waiting: Waiting, events: broadcast::Sender<Event>) {
    let mut reader = BufReader::new(reader);
    while let Ok(Line::Text(line)) = read_line(&mut reader).await {
        if let Ok(Reply { id: Some(id), outcome }) = serde_json::from_slice(&line) {
            let sender = waiting.lock().expect("nothing panics under this lock").remove(&id);
            if let Some(sender) = sender {
                // Who asked may have given up meanwhile.
                let _ = sender.send(outcome);
            }
        } else if let Ok(event) = serde_json::from_slice(&line) {
            // Nobody has to listen.
            let _ = events.send(event);
        }
    }
    waiting.lock().expect("nothing panics under this lock").clear();
}
