//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{Line, MAX_LINE_BYTES, Reply, encode, read_line};

/// Clients at a time; more are told so.
const MAX_CLIENTS: usize = 64;
/// Clients that are told so and waited for at a time; from more the connection is closed at once.
const MAX_REFUSED: usize = 64;
/// How long such a client may take to read it.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// Requests that wait for the daemon.
const MAX_WAITING: usize = 64;
/// Lines that wait for one client.
const MAX_LINES: usize = 16;
/// A client that takes no line for this long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may be connected without asking anything, so that forgotten ones do not keep others out.
const ASKS_WITHIN: Duration = Duration::from_secs(300);
/// How often is looked whether a client has gone that asks nothing more.
const GONE_EVERY: Duration = Duration::from_millis(200);
const GROUP_FILE: &str = "/etc/group";

/// Why there is no control socket.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Another daemon answers there.
    #[error(
        "another lifeboat daemon is running and answers at {0}; stop it first, or give this one \
         its own run_dir"
    )]
    AlreadyRunning(PathBuf),
    /// Something else has the name.
    #[error("{0} exists and is not a socket; remove it, or choose another run_dir")]
    NotASocket(PathBuf),
    /// The group does not exist.
    #[error(
        "control_group \"{0}\" is neither in {GROUP_FILE} nor a number; create it with \
         `groupadd {0}`, or correct the configuration"
    )]
    NoSuchGroup(String),
    /// The system refused.
    #[error("cannot make the control socket {path}: {cause}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The client has gone; nothing more needs to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the client has gone")]
pub struct ClientGone;

/// Listens for the command line. Dropping it closes and removes the socket.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    inode: u64,
    accepting: JoinHandle<()>,
}

/// What a client asks, and the way to answer it.
#[derive(Debug)]
pub struct Request {
    /// What was asked, as it was written.
    pub value: Value,
    /// The way to answer.
    pub responder: Responder,
}

/// Answers one request. Dropping it unfinished tells the client that there is no answer.
#[derive(Debug)]
pub struct Responder {
    lines: mpsc::Sender<Reply>,
}

impl Responder {
    /// Sends a part of the answer. Waits while the client is slow, at most for some seconds.
    pub async fn send(&self, value: &impl Serialize) -> Result<(), ClientGone> {
        self.reply(as_value(value).map_or_else(Reply::Error, Reply::More)).await
    }

    /// Sends the last part of the answer.
    pub async fn finish(self, value: &impl Serialize) -> Result<(), ClientGone> {
        self.reply(as_value(value).map_or_else(Reply::Error, Reply::Done)).await
    }

    /// Says that there is no answer: what happened, to what, and what to do next.
    pub async fn fail(self, reason: impl Into<String>) -> Result<(), ClientGone> {
        self.reply(Reply::Error(reason.into())).await
    }

    /// Says that what was asked cannot be meant, and that nothing was done.
    pub async fn wrong(self, reason: impl Into<String>) -> Result<(), ClientGone> {
        self.reply(Reply::Wrong(reason.into())).await
    }

    /// Resolves when the client has gone.
    pub async fn gone(&self) {
        self.lines.closed().await;
    }

    /// Whether the client has gone.
    pub fn is_gone(&self) -> bool {
        self.lines.is_closed()
    }

    async fn reply(&self, reply: Reply) -> Result<(), ClientGone> {
        self.lines.send(reply).await.map_err(|_| ClientGone)
    }
}

fn as_value(value: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| format!("the answer cannot be written: {error}"))
}

impl ControlServer {
    /// Makes the socket with mode 0660 and begins to listen. A socket that a dead daemon left is
    /// replaced. Must be called within a tokio runtime.
    pub fn bind(
        path: &Path,
        group: Option<&str>,
    ) -> Result<(Self, mpsc::Receiver<Request>), ControlError> {
        let failed = |cause| ControlError::Io { path: path.to_owned(), cause };
        let group = group.map(group_id).transpose()?;
        refuse_occupied(path)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let (listener, inode) = listen(path, group).map_err(failed)?;
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let accepting = tokio::spawn(accept(listener, requests));
        Ok((Self { path: path.to_owned(), inode, accepting }, receiver))
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.accepting.abort();
        // Only our own socket: another daemon may have put its own there meanwhile.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refuse_occupied(path: &Path) -> Result<(), ControlError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(ControlError::NotASocket(path.to_owned()));
    }
    match StdStream::connect(path) {
        Ok(_) => Err(ControlError::AlreadyRunning(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Binds beside the path and moves the socket there once its mode and group are right, so that it
/// is never open to others, not even for a moment.
fn listen(path: &Path, group: Option<u32>) -> io::Result<(UnixListener, u64)> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdListener::bind(&unfinished)?;
    listener.set_nonblocking(true)?;
    if group.is_some() {
        chown(&unfinished, None, group)?;
    }
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o660))?;
    let inode = fs::symlink_metadata(&unfinished)?.ino();
    fs::rename(&unfinished, path)?;
    Ok((UnixListener::from_std(listener)?, inode))
}

fn group_id(name: &str) -> Result<u32, ControlError> {
    let listed = fs::read_to_string(GROUP_FILE).unwrap_or_default();
    find_group(&listed, name)
        .or_else(|| name.parse().ok())
        .ok_or_else(|| ControlError::NoSuchGroup(name.to_owned()))
}

/// Lines are `name:password:id:members`.
fn find_group(listed: &str, name: &str) -> Option<u32> {
    listed.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<Request>) {
    let room = Arc::new(Semaphore::new(MAX_CLIENTS));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSED));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: let some be closed.
                warn!(%error, "cannot accept a command");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let requests = requests.clone();
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                tokio::spawn(async move {
                    serve(stream, requests, ASKS_WITHIN).await;
                    drop(permit);
                });
            }
            Err(_) => {
                let permit = Arc::clone(&refusals).try_acquire_owned();
                let (reader, mut client) = parts(stream);
                // There is room in a new connection for the reason: nothing waits here.
                if !client.write(Reply::Error(reason_full())).await {
                    continue;
                }
                let Ok(permit) = permit else { continue };
                tokio::spawn(async move {
                    see_off(reader).await;
                    drop((client, permit));
                });
            }
        }
    }
}

fn parts(stream: UnixStream) -> (OwnedReadHalf, Client) {
    let (reader, writer) = stream.into_split();
    (reader, Client { writer })
}

fn reason_full() -> String {
    format!("{MAX_CLIENTS} clients are connected already, and nothing was read; try again later")
}

/// Waits until a client that was refused has gone: one that finds the connection closed when it asks may
/// not look for what was said.
async fn see_off(mut reader: OwnedReadHalf) {
    // It is let go all the same.
    let _ = timeout(REFUSED_WITHIN, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
}

/// Serves one client until it goes, request by request, or asks nothing for too long.
async fn serve(stream: UnixStream, requests: mpsc::Sender<Request>, asks_within: Duration) {
    let (reader, mut client) = parts(stream);
    let mut reader = BufReader::new(reader);
    loop {
        let Ok(read) = timeout(asks_within, read_line(&mut reader)).await else {
            let seconds = asks_within.as_secs();
            let reason = format!("nothing was asked for {seconds} s; connect again to ask more");
            client.write(Reply::Error(reason)).await;
            return;
        };
        let line = match read {
            // One that was cut off is no JSON, and is answered like that.
            Ok(Line::Text(line) | Line::Rest(line)) => line,
            Ok(Line::TooLong) => {
                let reason = format!("the request is longer than {MAX_LINE_BYTES} bytes");
                client.write(Reply::Error(reason)).await;
                return;
            }
            Ok(Line::End) | Err(_) => return,
        };
        let goes_on = match serde_json::from_slice(&line) {
            Ok(value) => answer(&mut reader, &mut client, value, &requests).await,
            Err(error) => {
                let reason = format!("the request is not one line of JSON: {error}");
                client.write(Reply::Error(reason)).await
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Hands a request to the daemon and its answer to the client. `false` once the client has gone.
async fn answer(
    reader: &mut BufReader<OwnedReadHalf>,
    client: &mut Client,
    value: Value,
    requests: &mpsc::Sender<Request>,
) -> bool {
    let (lines, mut replies) = mpsc::channel(MAX_LINES);
    let request = Request { value, responder: Responder { lines } };
    if requests.send(request).await.is_err() {
        return client.write(Reply::Error("the daemon is stopping".to_owned())).await;
    }
    // Bytes of a next request stay in the buffer; they only say that the client is there. One that has
    // nothing more to ask may have closed its own direction alone, and still waits for the answer.
    let (mut more_was_asked, mut asks_no_more) = (false, false);
    loop {
        tokio::select! {
            biased;
            reply = replies.recv() => {
                let reply = reply.unwrap_or_else(|| {
                    Reply::Error("the daemon gave no answer; look into its log".to_owned())
                });
                let last = !matches!(reply, Reply::More(_));
                if !client.write(reply).await {
                    return false;
                }
                if last {
                    return true;
                }
            }
            heard = reader.fill_buf(), if !more_was_asked && !asks_no_more => match heard {
                Ok([]) => asks_no_more = true,
                Ok(_) => more_was_asked = true,
                Err(_) => return false,
            },
            () = client.gone(), if asks_no_more => return false,
        }
    }
}

struct Client {
    writer: OwnedWriteHalf,
}

impl Client {
    /// Resolves once the client takes nothing more, either.
    async fn gone(&self) {
        while let Ok(ready) = self.writer.ready(Interest::WRITABLE).await {
            if ready.is_write_closed() {
                return;
            }
            sleep(GONE_EVERY).await;
        }
    }

    /// `false` if the client has gone.
    async fn write(&mut self, reply: Reply) -> bool {
        let line = encode(&reply).or_else(|| {
            encode(&Reply::Error(format!("the answer is longer than {MAX_LINE_BYTES} bytes")))
        });
        let Some(line) = line else { return false };
        match timeout(WRITE_TIMEOUT, self.writer.write_all(&line)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                debug!(%error, "a client has gone");
                false
            }
            Err(_) => {
                debug!("a client takes nothing");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_asks_nothing_is_told_so_and_let_go() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (requests, _waiting) = mpsc::channel(1);
        serve(ours, requests, Duration::ZERO).await;
        let mut theirs = BufReader::new(theirs);
        let Ok(Line::Text(said)) = read_line(&mut theirs).await else { panic!("nothing was said") };
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("connect again to ask more"), "{said}");
        assert!(matches!(read_line(&mut theirs).await, Ok(Line::End)));
    }

    #[test]
    fn groups_are_found_by_name() {
        let listed = "root:x:0:\nlifeboat:x:977:ann,bob\nlife:x:5:\nbroken\n";
        assert_eq!(find_group(listed, "lifeboat"), Some(977));
        assert_eq!(find_group(listed, "life"), Some(5));
        assert_eq!(find_group(listed, "broken"), None);
        assert_eq!(find_group(listed, "977"), None);
    }
}
