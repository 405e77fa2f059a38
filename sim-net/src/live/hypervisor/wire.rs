//! The bytes of a migration, between two embedded hypervisors.
//!
//! ```text
//! source -> destination:  "LBMOVE01"  length:u32  header:JSON
//!                         { 'P'  slab:u32  pages:u64  zeros:u64  4096 bytes per page of pages & !zeros }
//!                         'E'  length:u32  ending:JSON
//! destination -> source:  length:u32  reply:JSON
//! ```
//!
//! Numbers are little-endian. The source sends nothing after the ending, and the destination
//! nothing before its reply.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{guest::Life, memory::Taken, protocol::Definition};

/// First bytes of a stream; the last two are the version.
pub(crate) const MAGIC: &[u8; 8] = b"LBMOVE01";
/// First byte of a frame of pages.
pub(crate) const PAGES: u8 = b'P';
/// First byte of the ending.
pub(crate) const END: u8 = b'E';
/// Bytes of a page frame before its pages, without the first.
pub(crate) const PAGES_HEAD: usize = 20;
/// Longest JSON that is accepted, in bytes.
const MAX_JSON: usize = 64 << 10;

/// What the destination must know first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// What is coming.
    pub(crate) definition: Definition,
}

/// What makes the copy complete.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// The guest's record at the pause.
    pub(crate) life: Life,
    /// Digest of the whole memory at the pause, in hexadecimal.
    pub(crate) digest: String,
    /// When the guest was paused, on the machine's monotonic clock; only another process of the
    /// same machine can make use of it.
    pub(crate) paused_at_ns: u64,
    /// Bytes per second that the guest dirties by then.
    pub(crate) dirty_rate: u64,
}

/// What the destination says in the end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The copy is complete and verified; it waits there, paused.
    Arrived,
    /// There is no copy there, and why.
    Failed(String),
}

/// Writes a page frame's head, its first byte included, to the front of `frame`.
pub(crate) fn put_pages_head(frame: &mut [u8], slab: usize, taken: Taken) {
    let slab = u32::try_from(slab).expect("slabs fit 32 bits");
    frame[0] = PAGES;
    frame[1..5].copy_from_slice(&slab.to_le_bytes());
    frame[5..13].copy_from_slice(&taken.pages.to_le_bytes());
    frame[13..21].copy_from_slice(&taken.zeros.to_le_bytes());
}

/// Reads a page frame's head, after its first byte.
pub(crate) fn get_pages_head(stream: &mut impl Read) -> io::Result<(usize, Taken)> {
    let mut head = [0; PAGES_HEAD];
    stream.read_exact(&mut head)?;
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let slab = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
    Ok((slab as usize, Taken { pages: word(4), zeros: word(12) }))
}

/// Whether a connection has broken, and nothing was wrong with what came over it.
pub(crate) fn is_broken(reason: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(reason.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Writes a length and a JSON text.
pub(crate) fn put_json(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).expect("a message is short");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&text);
    stream.write_all(&bytes)
}

/// Reads a length and a JSON text.
///
/// # Errors
/// `InvalidData` if it is too long or makes no sense.
pub(crate) fn get_json<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_JSON {
        return Err(nonsense(format!("a message of {length} bytes, more than {MAX_JSON}")));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    serde_json::from_slice(&text).map_err(|reason| nonsense(reason.to_string()))
}

/// The stream does not hold what it must.
pub(crate) fn nonsense(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the migration stream is corrupt: {what}"))
}
