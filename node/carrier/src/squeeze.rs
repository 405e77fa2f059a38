//! Compression of one substream's blocks, when it pays.

use std::{io, time::Instant};

use crate::{control::Compress, wire::Header};

const LEVEL: i32 = 1;
/// A block counts as shrunk below this many thousandths of its size.
const PAYS_BELOW: u64 = 900;
/// Blocks that go raw between two tries, after some that did not shrink.
const PAUSE_BLOCKS: u32 = 32;
/// Compressing must be this many times as fast as the share, so that it never holds the bytes back.
const HEADROOM: u64 = 2;
/// Assumed until measured: about what one slow core does.
const FIRST_GUESS_BYTES_PER_SEC: u64 = 200_000_000;

/// The compressor of one direction of one substream, with what it has learned about the bytes.
pub(crate) struct Squeezer {
    mode: Compress,
    compressor: zstd::bulk::Compressor<'static>,
    speed_bytes_per_sec: u64,
    shrunk_to_thousandths: u64,
    pause: u32,
}

impl Squeezer {
    pub(crate) fn new(mode: Compress) -> io::Result<Self> {
        Ok(Self {
            mode,
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            speed_bytes_per_sec: FIRST_GUESS_BYTES_PER_SEC,
            shrunk_to_thousandths: 500,
            pause: 0,
        })
    }

    /// Whether the next block should be tried at this share.
    pub(crate) fn worth_a_try(&mut self, share_bytes_per_sec: u64) -> bool {
        match self.mode {
            Compress::Never => false,
            Compress::Always => true,
            Compress::Auto => {
                let thin = share_bytes_per_sec < self.speed_bytes_per_sec / HEADROOM;
                let rests = self.pause > 0;
                self.pause = self.pause.saturating_sub(1);
                thin && !rests
            }
        }
    }

    /// Compresses what follows the spare header in `block`; `None` if it does not shrink. Takes a fraction of a
    /// millisecond: not for the runtime's threads.
    pub(crate) fn squeeze(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let raw = &block[Header::LENGTH..];
        let began = Instant::now();
        // A block that does not fit into less than its own size is an error to zstd, and no use to us.
        let mut packed = vec![0; block.len() - 1];
        let written = self.compressor.compress_to_buffer(raw, &mut packed[Header::LENGTH..]).ok();
        self.learn(raw.len(), written.unwrap_or(raw.len()), began.elapsed().as_nanos());
        packed.truncate(Header::LENGTH + written?);
        Some(packed)
    }

    fn learn(&mut self, raw: usize, packed: usize, took_ns: u128) {
        let speed = raw as u128 * 1_000_000_000 / took_ns.max(1);
        let speed = u64::try_from(speed).unwrap_or(u64::MAX / 8).min(u64::MAX / 8);
        self.speed_bytes_per_sec = (7 * self.speed_bytes_per_sec + speed) / 8;
        let shrunk = packed as u64 * 1000 / raw as u64;
        self.shrunk_to_thousandths = (3 * self.shrunk_to_thousandths + shrunk) / 4;
        if shrunk < PAYS_BELOW {
            self.shrunk_to_thousandths = self.shrunk_to_thousandths.min(PAYS_BELOW - 1);
        } else if self.shrunk_to_thousandths >= PAYS_BELOW {
            self.pause = PAUSE_BLOCKS;
        }
    }
}

/// Undoes [`Squeezer::squeeze`]; the result has exactly `raw_len` bytes.
pub(crate) fn expand(packed: &[u8], raw_len: usize) -> io::Result<Vec<u8>> {
    let raw = zstd::bulk::decompress(packed, raw_len)?;
    if raw.len() == raw_len {
        Ok(raw)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a block of another length than announced"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn shrinks_and_expands() {
        let mut squeezer = Squeezer::new(Compress::Always).expect("zstd starts");
        let block = [vec![0; Header::LENGTH], b"abcd".repeat(10_000)].concat();
        let packed = squeezer.squeeze(&block).expect("it shrinks");
        let raw = expand(&packed[Header::LENGTH..], 40_000).expect("it expands");
        assert_eq!(raw, block[Header::LENGTH..]);
        assert!(expand(&packed[Header::LENGTH..], 39_999).is_err());
        assert!(expand(&packed[Header::LENGTH..], 40_001).is_err());
    }

    #[test]
    fn noise_goes_raw_and_is_tried_seldom() {
        let mut squeezer = Squeezer::new(Compress::Auto).expect("zstd starts");
        let block = noise(65_560);
        let tried = (0..330).filter(|_| {
            squeezer.worth_a_try(1_000_000) && {
                assert!(squeezer.squeeze(&block).is_none());
                true
            }
        });
        assert!(tried.count() < 20);
    }

    #[test]
    fn a_wide_share_is_not_worth_it() {
        let mut squeezer = Squeezer::new(Compress::Auto).expect("zstd starts");
        assert!(!squeezer.worth_a_try(1 << 40));
        assert!(squeezer.worth_a_try(1_000_000));
    }

    #[test]
    fn random_bytes_never_panic() {
        let bytes = noise(100_000);
        for at in (0..90_000).step_by(97) {
            assert!(expand(&bytes[at..at + at % 1000], 65_536).is_err());
        }
    }
}
