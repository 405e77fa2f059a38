//! The one place where messages and journal records become bytes and back.
//!
//! One version byte, then bincode. A decoder never takes more than [`LIMIT`] bytes, allocates no
//! more than that, and refuses what is left over. Another codec is a swap of this file.

use alloc::{string::String, string::ToString, vec::Vec};
use serde::{Serialize, de::DeserializeOwned};

/// First byte of everything encoded.
pub const VERSION: u8 = 1;
/// Most bytes of one encoded thing.
pub const LIMIT: usize = 64 * 1024;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than [`LIMIT`].
    TooLong(usize),
    /// Empty, or of another version.
    Version(Option<u8>),
    /// Not what it should be.
    Malformed(String),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong(length) => write!(f, "{length} bytes, more than the {LIMIT} allowed"),
            Self::Version(Some(version)) => {
                write!(f, "version {version} where this node speaks version {VERSION}")
            }
            Self::Version(None) => f.write_str("empty"),
            Self::Malformed(reason) => write!(f, "malformed: {reason}"),
        }
    }
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Encodes a value.
///
/// # Panics
/// If the value cannot be encoded, which no type of this crate is.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = alloc::vec![VERSION];
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("the protocol's own types always encode");
    bytes.extend_from_slice(&body);
    bytes
}

/// Decodes a value that stands alone in `bytes`.
///
/// # Errors
/// [`DecodeError`], without side effects.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > LIMIT {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (version, body) = bytes.split_first().ok_or(DecodeError::Version(None))?;
    if *version != VERSION {
        return Err(DecodeError::Version(Some(*version)));
    }
    let (value, used) = bincode::serde::decode_from_slice(body, codec())
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if used != body.len() {
        return Err(DecodeError::Malformed("bytes are left over".to_string()));
    }
    Ok(value)
}
