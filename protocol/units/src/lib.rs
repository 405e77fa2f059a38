//! Values with units, as people write them in the configuration and on the command line.
//!
//! With serde, every type here is written and read as such a text.
//!
//! A bare number is refused everywhere: tools of this field print MiB/s, KiB/s, Mbit/s and bytes
//! per second, and people mix them up. Parsing is integer arithmetic, so what is written is what
//! is used. `Display` rounds for reading; `exact` gives a text that parses to the same value.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// What a size may be written with, for messages to people.
pub const SIZE_SUFFIXES: &str = "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB (for example 1.5GiB)";
/// What a rate may be written with, for messages to people.
pub const RATE_SUFFIXES: &str = "bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s (for example 200Mbit/s)";
/// What a duration may be written with, for messages to people.
pub const DURATION_SUFFIXES: &str = "ms, s, m, h, d (for example 500ms or 1h 30m)";
/// What a share may be written with, for messages to people.
pub const SHARE_SUFFIXES: &str = "% (for example 5% or 2.5%)";

/// Unit and its worth in bytes, largest first within each family.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Unit and its worth in bits per second.
const RATE_UNITS: &[(&str, u64)] = &[
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
    ("bit/s", 1),
    ("GiB/s", 8 << 30),
    ("MiB/s", 8 << 20),
    ("KiB/s", 8 << 10),
    ("GB/s", 8_000_000_000),
    ("MB/s", 8_000_000),
    ("kB/s", 8_000),
    ("B/s", 8),
];

/// Why a text is not a value with a unit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// A number without a unit.
    #[error("\"{text}\" has no unit; write it with one of {accepted}")]
    Bare {
        /// What was written.
        text: String,
        /// The suffixes that are accepted.
        accepted: &'static str,
    },
    /// A unit that does not exist, or is written in another case.
    #[error("\"{unit}\" in \"{text}\" is not a unit used here; accepted are {accepted}")]
    UnknownUnit {
        /// What was written.
        text: String,
        /// The unit in it.
        unit: String,
        /// The suffixes that are accepted.
        accepted: &'static str,
    },
    /// Not a number before the unit.
    #[error("\"{text}\" is not a number with a unit; accepted are {accepted}")]
    NotANumber {
        /// What was written.
        text: String,
        /// The suffixes that are accepted.
        accepted: &'static str,
    },
    /// Larger than can be held, or more than the value may be.
    #[error("\"{text}\" is too large; the most is {most}")]
    TooLarge {
        /// What was written.
        text: String,
        /// The upper limit, readable.
        most: &'static str,
    },
}

/// An amount of memory, disk or traffic, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A speed, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(u64);

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

/// A part of a whole, in thousandths, 0 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PerMille(u16);

impl Rate {
    /// A rate of so many bits per second.
    pub const fn from_bits_per_sec(bits: u64) -> Self {
        Self(bits)
    }

    /// A rate of so many bytes per second. Saturates at the largest rate.
    pub const fn from_bytes_per_sec(bytes: u64) -> Self {
        Self(bytes.saturating_mul(8))
    }

    /// Bits per second.
    pub const fn bits_per_sec(self) -> u64 {
        self.0
    }

    /// Whole bytes per second, rounded down.
    pub const fn bytes_per_sec(self) -> u64 {
        self.0 / 8
    }

    /// The shortest text that parses to exactly this rate.
    pub fn exact(self) -> String {
        exact(self.0, RATE_UNITS)
    }
}

impl ByteSize {
    /// The shortest text that parses to exactly this size.
    pub fn exact(self) -> String {
        exact(self.0, SIZE_UNITS)
    }
}

impl PerMille {
    /// So many thousandths; `None` above 1000.
    pub const fn new(thousandths: u16) -> Option<Self> {
        if thousandths <= 1000 { Some(Self(thousandths)) } else { None }
    }

    /// The thousandths.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, SIZE_UNITS, SIZE_SUFFIXES, "16777215TiB").map(Self)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, RATE_UNITS, RATE_SUFFIXES, "18446744073Gbit/s").map(Self)
    }
}

impl FromStr for PerMille {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let thousandths = parse(text, &[("%", 10)], SHARE_SUFFIXES, "100%")?;
        u16::try_from(thousandths)
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| UnitError::TooLarge { text: text.to_owned(), most: "100%" })
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_duration(text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format_duration(self.0))
    }
}

/// Writes and reads a type as a text.
macro_rules! as_text {
    ($name:ident, $written:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let written: fn(&Self) -> String = $written;
                serializer.serialize_str(&written(self))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(ByteSize, |size| size.exact());
as_text!(Rate, |rate| rate.exact());
as_text!(PerMille, ToString::to_string);
as_text!(Span, ToString::to_string);

/// Reads a duration such as `500ms`, `20m` or `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let accepted = DURATION_SUFFIXES;
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        return Err(UnitError::Bare { text: text.to_owned(), accepted });
    }
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } => {
            UnitError::UnknownUnit { text: text.to_owned(), unit, accepted }
        }
        humantime::DurationError::NumberOverflow => {
            UnitError::TooLarge { text: text.to_owned(), most: "some centuries" }
        }
        _ => UnitError::NotANumber { text: text.to_owned(), accepted },
    })
}

/// A duration as a person writes it, such as `1h 30m` or `4s`; parses back to the same value.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&readable(self.0, &SIZE_UNITS[..4], "B"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&readable(self.0, &RATE_UNITS[..3], "bit/s"))
    }
}

impl fmt::Display for PerMille {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => out.pad(&format!("{}%", self.0 / 10)),
            tenths => out.pad(&format!("{}.{tenths}%", self.0 / 10)),
        }
    }
}

/// Splits number and unit and multiplies without rounding up.
fn parse(
    text: &str,
    units: &[(&str, u64)],
    accepted: &'static str,
    most: &'static str,
) -> Result<u64, UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    if number.is_empty() {
        return Err(UnitError::NotANumber { text: text.to_owned(), accepted });
    }
    if unit.is_empty() {
        return Err(UnitError::Bare { text: text.to_owned(), accepted });
    }
    let Some((_, worth)) = units.iter().find(|(name, _)| *name == unit) else {
        let unit = unit.to_owned();
        return Err(UnitError::UnknownUnit { text: text.to_owned(), unit, accepted });
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(UnitError::NotANumber { text: text.to_owned(), accepted });
    }
    let too_large = || UnitError::TooLarge { text: text.to_owned(), most };
    // Twelve decimals decide a byte of a tebibyte; more of them cannot matter.
    let fraction = &fraction[..fraction.len().min(12)];
    let scale = 10u128.pow(fraction.len() as u32);
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let fraction: u128 = fraction.parse().map_err(|_| too_large())?;
    let worth = u128::from(*worth);
    let value = u128::from(whole) * worth + fraction * worth / scale;
    u64::try_from(value).map_err(|_| too_large())
}

/// The largest unit that divides the value, so that nothing is lost.
fn exact(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .filter(|(_, worth)| value != 0 && value.is_multiple_of(*worth))
        .map(|(unit, worth)| format!("{}{unit}", value / worth))
        .min_by_key(String::len)
        .unwrap_or_else(|| format!("0{}", units[units.len() - 1].0))
}

/// At most one decimal, in the largest unit that the value reaches.
fn readable(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let Some((unit, worth)) = units.iter().find(|(_, worth)| value >= *worth) else {
        return format!("{value} {smallest}");
    };
    let tenths = (u128::from(value) * 10 + u128::from(worth / 2)) / u128::from(*worth);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        let check = |text: &str, bytes: u64| {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
        };
        check("0B", 0);
        check("1.5GiB", 1_610_612_736);
        check("1.5 GiB", 1_610_612_736);
        check(" 7kB ", 7_000);
        check("0.1KiB", 102);
        check("16777215TiB", 16_777_215 << 40);
    }

    #[test]
    fn rates_of_bits_and_bytes_agree() {
        let check = |text: &str, bits: u64| {
            assert_eq!(text.parse::<Rate>(), Ok(Rate(bits)), "{text}");
        };
        check("200Mbit/s", 200_000_000);
        check("25MB/s", 200_000_000);
        check("1MiB/s", 8_388_608);
        check("0.5kbit/s", 500);
        check("9B/s", 72);
    }

    #[test]
    fn what_is_refused_names_what_is_accepted() {
        let check = |text: &str, expect: &str| {
            let message = text.parse::<Rate>().unwrap_err().to_string();
            assert!(message.contains(expect), "{text}: {message}");
        };
        check("200", "no unit");
        check("200", "Mbit/s");
        check("200mbit/s", "\"mbit/s\"");
        check("Mbit/s", "not a number");
        check("1.2.3Mbit/s", "not a number");
        check(".5Mbit/s", "not a number");
        check("-5Mbit/s", "not a number");
        check("", "not a number");
        check("99999999999999999999Mbit/s", "too large");
        check("19000000000Gbit/s", "too large");
    }

    #[test]
    fn durations_want_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert!(matches!(parse_duration("5"), Err(UnitError::Bare { .. })));
        assert!(matches!(parse_duration("0"), Err(UnitError::Bare { .. })));
        assert!(matches!(parse_duration("5 parsecs"), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!(parse_duration("soon"), Err(UnitError::NotANumber { .. })));
    }

    #[test]
    fn shares_stay_within_the_whole() {
        assert_eq!("5%".parse::<PerMille>(), Ok(PerMille(50)));
        assert_eq!("2.5%".parse::<PerMille>(), Ok(PerMille(25)));
        assert_eq!("100%".parse::<PerMille>(), Ok(PerMille(1000)));
        assert!(matches!("100.1%".parse::<PerMille>(), Err(UnitError::TooLarge { .. })));
        assert!(matches!("5".parse::<PerMille>(), Err(UnitError::Bare { .. })));
    }

    #[test]
    fn people_read_units() {
        assert_eq!(ByteSize(1_610_612_736).to_string(), "1.5 GiB");
        assert_eq!(ByteSize(512).to_string(), "512 B");
        assert_eq!(Rate(400_000_000).to_string(), "400 Mbit/s");
        assert_eq!(Rate(12).to_string(), "12 bit/s");
        assert_eq!(PerMille(25).to_string(), "2.5%");
        assert_eq!(format_duration(Duration::from_secs(5_400)), "1h 30m");
    }

    #[test]
    fn they_travel_as_texts() {
        let span = Span(Duration::from_millis(1_500));
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"1s 500ms\"");
        assert_eq!(serde_json::from_str::<Span>("\"1s 500ms\"").unwrap(), span);
        assert_eq!(serde_json::from_str::<Rate>("\"25MB/s\"").unwrap(), Rate(200_000_000));
        let error = serde_json::from_str::<Rate>("\"25\"").unwrap_err().to_string();
        assert!(error.contains("no unit"), "{error}");
    }

    #[test]
    fn exact_texts_parse_back() {
        for value in [0, 1, 999, 1_000, 1_024, 1_610_612_736, 8_388_608, 123_456_789, u64::MAX] {
            assert_eq!(ByteSize(value).exact().parse(), Ok(ByteSize(value)));
            assert_eq!(Rate(value).exact().parse(), Ok(Rate(value)));
        }
    }
}
