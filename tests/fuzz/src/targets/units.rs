//! Sizes, rates, shares and lengths of time, as people write them.

use std::{fmt::Debug, str::FromStr};

use lifeboat_units::{ByteSize, PerMille, Rate, Span};
use serde::{Serialize, de::DeserializeOwned};

use super::Target;

/// Quantities with their units.
pub(super) const TARGET: Target =
    Target { name: "units", run, seeds, longest: 64, share_permille: 90 };

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    read::<ByteSize>(text);
    read::<Rate>(text);
    read::<PerMille>(text);
    read::<Span>(text);
}

fn read<T: FromStr + Serialize + DeserializeOwned + PartialEq + Debug>(text: &str)
where
    T::Err: ToString,
{
    match text.parse::<T>() {
        Ok(value) => {
            let written = serde_json::to_value(&value).expect("a quantity is a text");
            let again = serde_json::from_value::<T>(written.clone());
            assert_eq!(again.ok().as_ref(), Some(&value), "{text:?} is written as {written}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    ["1.5GiB", "16777215TiB", "200Mbit/s", "25MB/s", "2.5%", "1h 30m", "500ms", "7200s", "12"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}
