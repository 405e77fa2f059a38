//! How a stream begins: the dialling source says which move and which lane it is for and how far it has got,
//! the destination answers the same or refuses, and the source confirms the connection that it chose.
//!
//! Only a confirmed connection takes the lane over, so that several can be tried at once over a bad link. A
//! lane's generation grows with every try: a greeting that comes late or twice changes nothing.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::control::CloseReason;

/// Of the protocol between carriers.
pub(crate) const VERSION: u32 = 1;
/// The most data streams of a move.
pub(crate) const MAX_STREAMS: u16 = 64;
/// The longest greeting, in bytes.
const MAX_GREETING: usize = 4096;
const CONFIRMED: u8 = 1;

/// Which stream of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LaneKey {
    /// Acknowledgements, credits, pings, and frames without bytes.
    Control,
    /// Bytes, within the share.
    Data(u16),
}

/// The source's first words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    pub(crate) version: u32,
    pub(crate) move_id: String,
    /// Drawn by the source's carrier when the move was opened: a carrier that restarted has another one.
    pub(crate) session: u64,
    pub(crate) lane: LaneKey,
    pub(crate) generation: u64,
    /// All sequence numbers below this one have arrived here.
    pub(crate) next: u64,
}

/// The destination's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// The lane can be taken over.
    Welcome {
        /// As in [`Hello`], drawn by the destination's carrier when the move was accepted.
        session: u64,
        /// As in [`Hello`].
        next: u64,
    },
    /// It cannot.
    Refused(Refusal),
}

/// Why a stream is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// There is no accepted move from this peer.
    Stranger,
    /// There is no such move from this peer.
    UnknownMove,
    /// The move belongs to another session of the source's carrier.
    OtherSession,
    /// The lane has seen this generation or a later one, or there is no such lane.
    Stale,
    /// Another version of the protocol.
    Version,
    /// The move has ended.
    Closed(CloseReason),
}

/// Writes a greeting and sends it on its way.
pub(crate) async fn write_message<W>(stream: &mut W, message: &impl Serialize) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let body = serde_json::to_vec(message)?;
    let length = u16::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat()).await?;
    stream.flush().await
}

/// Reads a greeting of bounded length.
pub(crate) async fn read_message<R, M>(stream: &mut R) -> io::Result<M>
where
    R: AsyncRead + Unpin,
    M: DeserializeOwned,
{
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_GREETING {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the greeting is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// The source chose this connection.
pub(crate) async fn write_confirmation<W: AsyncWrite + Unpin>(stream: &mut W) -> io::Result<()> {
    stream.write_all(&[CONFIRMED]).await?;
    stream.flush().await
}

/// Waits until the source has chosen this connection.
pub(crate) async fn read_confirmation<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<()> {
    if stream.read_u8().await? == CONFIRMED {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not a confirmation"))
    }
}
