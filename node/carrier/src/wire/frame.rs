//! Frames: a header of 24 bytes, big-endian, and a payload whose length is bounded by the kind.
//!
//! ```text
//! 0      1      2        4          8        16           20          24
//! | kind | form | zero   | substream | number | wire length | raw length | payload ...
//! ```
//!
//! `number` is the sequence number of the sequenced kinds (`Open`, `Data`, `Fin`, `Reset`) and the value of the
//! others. Sequenced frames may arrive on any stream, in any order and more than once. Decoding never panics;
//! whatever breaks a bound is [`Malformed`], and the stream it came on is closed.

use thiserror::Error;

/// Bytes of a header.
pub(crate) const HEADER: usize = 24;
/// The largest block of a substream's bytes in one frame, before compression.
pub(crate) const MAX_BLOCK: usize = 64 * 1024;
/// The longest name of a channel, in bytes.
pub(crate) const MAX_CHANNEL_NAME: usize = 64;
/// The longest reason in a `Close`, in bytes.
const MAX_REASON: usize = 64;
/// A TLS 1.3 record: its largest payload, and what it adds (header, content type, tag).
const RECORD: usize = 16 * 1024;
const RECORD_OVERHEAD: usize = 22;

/// What a frame means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new substream; the payload is the channel's name. Sequenced.
    Open = 1,
    /// Bytes of a substream. Sequenced.
    Data = 2,
    /// No more bytes follow in this direction of the substream. Sequenced.
    Fin = 3,
    /// The substream broke at the sender's end. Sequenced.
    Reset = 4,
    /// All sequence numbers below `number` have arrived.
    Ack = 5,
    /// The sender may have sent `number` raw bytes on the substream since it began.
    Credit = 6,
    /// `number` is to be sent back; `substream` says how the guest is.
    Ping = 7,
    /// Answers a ping.
    Pong = 8,
    /// The move ends; the payload says why.
    Close = 9,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Ack, Close, Credit, Data, Fin, Open, Ping, Pong, Reset};
        [Open, Data, Fin, Reset, Ack, Credit, Ping, Pong, Close]
            .into_iter()
            .find(|&kind| kind as u8 == byte)
    }

    fn longest_payload(self) -> usize {
        match self {
            Self::Open => MAX_CHANNEL_NAME,
            Self::Data => MAX_BLOCK,
            Self::Close => MAX_REASON,
            Self::Fin | Self::Reset | Self::Ack | Self::Credit | Self::Ping | Self::Pong => 0,
        }
    }
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The payload is compressed with zstd.
    pub(crate) compressed: bool,
    pub(crate) substream: u32,
    pub(crate) number: u64,
    pub(crate) wire_len: u32,
    pub(crate) raw_len: u32,
}

/// A header that breaks the rules.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No such kind.
    #[error("unknown kind of frame {0}")]
    Kind(u8),
    /// Lengths that this kind cannot have.
    #[error("a {kind:?} frame of {wire_len} bytes for {raw_len} raw bytes")]
    Length {
        /// Of the frame.
        kind: Kind,
        /// On the wire.
        wire_len: u32,
        /// Before compression.
        raw_len: u32,
    },
    /// Reserved bits are set.
    #[error("reserved bits are set")]
    Reserved,
}

impl Header {
    /// Bytes of an encoded header.
    pub(crate) const LENGTH: usize = HEADER;

    /// Encodes the header.
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind as u8;
        bytes[1] = u8::from(self.compressed);
        bytes[4..8].copy_from_slice(&self.substream.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.wire_len.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.raw_len.to_be_bytes());
        bytes
    }

    /// Decodes a header and checks its bounds.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Result<Self, Malformed> {
        let [kind, form, zero @ ..] = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let kind = Kind::from_byte(kind).ok_or(Malformed::Kind(kind))?;
        if form > 1 || zero != [0, 0] {
            return Err(Malformed::Reserved);
        }
        let header = Self {
            kind,
            compressed: form == 1,
            substream: word(4),
            number: u64::from(word(8)) << 32 | u64::from(word(12)),
            wire_len: word(16),
            raw_len: word(20),
        };
        if header.lengths_fit() {
            Ok(header)
        } else {
            Err(Malformed::Length { kind, wire_len: header.wire_len, raw_len: header.raw_len })
        }
    }

    fn lengths_fit(&self) -> bool {
        let (wire, raw) = (self.wire_len as usize, self.raw_len as usize);
        let raw_fits = match (self.kind, self.compressed) {
            (Kind::Data, true) => wire > 0 && wire < raw && raw <= MAX_BLOCK,
            (Kind::Data, false) => wire > 0 && wire == raw,
            (_, true) => false,
            (_, false) => raw == 0,
        };
        raw_fits && wire <= self.kind.longest_payload()
    }
}

/// A frame as it arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

/// An encoded sequenced frame; `block` begins with [`HEADER`] spare bytes, which are filled in here and, with the
/// sequence number, by [`stamp`].
pub(crate) fn sequenced_frame(
    kind: Kind,
    substream: u32,
    raw_len: usize,
    compressed: bool,
    mut block: Vec<u8>,
) -> Vec<u8> {
    let wire_len = (block.len() - HEADER) as u32;
    let raw_len = raw_len as u32;
    let header = Header { kind, compressed, substream, number: 0, wire_len, raw_len };
    block[..HEADER].copy_from_slice(&header.encode());
    block
}

/// Room for a frame with a payload of `length` bytes.
pub(crate) fn blank_frame(length: usize) -> Vec<u8> {
    vec![0; HEADER + length]
}

/// Writes the sequence number into an encoded frame.
pub(crate) fn stamp(frame: &mut [u8], number: u64) {
    frame[8..16].copy_from_slice(&number.to_be_bytes());
}

/// An encoded frame of a kind that is not sequenced.
pub(crate) fn control_frame(kind: Kind, substream: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    let wire_len = payload.len() as u32;
    let header = Header { kind, compressed: false, substream, number, wire_len, raw_len: 0 };
    [&header.encode()[..], payload].concat()
}

/// What `length` bytes of frames take on the wire inside TLS.
pub(crate) fn wire_length(length: usize) -> usize {
    length + length.div_ceil(RECORD) * RECORD_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(wire_len: u32, raw_len: u32, compressed: bool) -> Header {
        Header { kind: Kind::Data, compressed, substream: 7, number: 1 << 40, wire_len, raw_len }
    }

    #[test]
    fn golden_bytes() {
        let bytes = data(3, 5, true).encode();
        assert_eq!(bytes, [2, 1, 0, 0, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 5]);
        assert_eq!(Header::decode(&bytes), Ok(data(3, 5, true)));
    }

    #[test]
    fn lengths_are_bounded() {
        for (wire_len, raw_len, compressed) in
            [(0, 0, false), (65_537, 65_537, false), (5, 6, false), (6, 6, true), (5, 65_537, true)]
        {
            let header = data(wire_len, raw_len, compressed);
            assert!(Header::decode(&header.encode()).is_err(), "{header:?}");
        }
        let ack = Header { kind: Kind::Ack, wire_len: 1, raw_len: 0, ..data(0, 0, false) };
        assert!(Header::decode(&ack.encode()).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            let mut bytes = [0; HEADER];
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
            bytes[0] %= 12;
            bytes[1] %= 3;
            if let Ok(header) = Header::decode(&bytes) {
                assert!(header.wire_len as usize <= MAX_BLOCK);
            }
        }
    }
}
