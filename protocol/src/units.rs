//! Quantities with their units.

use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::time::nanoseconds;

/// All tokens of one link: its whole capacity.
pub const LINK_TOKENS: u16 = 1000;

/// Bytes per second.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BytesPerSec(pub u64);

impl BytesPerSec {
    /// From a figure in bits per second.
    pub const fn from_bits(bits_per_second: u64) -> Self {
        Self(bits_per_second / 8)
    }

    /// `permille` thousandths of this rate.
    pub fn permille(self, permille: u64) -> Self {
        Self(scaled(self.0, permille, 1000))
    }

    /// The part of this rate that `tokens` thousandths stand for.
    pub fn share(self, tokens: u16) -> Self {
        self.permille(u64::from(tokens))
    }

    /// How long `bytes` take at this rate; a very long time at rate zero.
    pub fn time_for(self, bytes: u64) -> Duration {
        Duration::from_nanos(scaled(bytes, 1_000_000_000, self.0.max(1)))
    }

    /// How many bytes pass in `duration`.
    pub fn bytes_in(self, duration: Duration) -> u64 {
        scaled(self.0, nanoseconds(duration), 1_000_000_000)
    }

    /// The rate at which `bytes` passed in `duration`.
    pub fn measured(bytes: u64, duration: Duration) -> Self {
        Self(scaled(bytes, 1_000_000_000, nanoseconds(duration).max(1)))
    }
}

/// `value * numerator / denominator` without overflow on the way, saturated at `u64::MAX`.
pub fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    if let Some(product) = value.checked_mul(numerator) {
        return product / denominator.max(1);
    }
    let wide = u128::from(value) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}
