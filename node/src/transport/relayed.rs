//! A direct message that takes the way of broadcasts, because the way between the two nodes is cut while
//! others hear both.
//!
//! All listed nodes can read it. It is signed by its author, as every broadcast is, and only the node that
//! it names takes it.

/// The message and whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relayed<'a> {
    /// The name of the node that it is for, at most 255 bytes.
    pub(super) to: &'a str,
    /// The message.
    pub(super) bytes: &'a [u8],
}

impl<'a> Relayed<'a> {
    /// Length of the name, name, message.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let name = self.to.as_bytes();
        let length = u8::try_from(name.len()).expect("the configuration refuses longer names");
        [&[length], name, self.bytes].concat()
    }

    /// `None` if it is not one.
    pub(super) fn decoded(encoded: &'a [u8]) -> Option<Self> {
        let (length, rest) = encoded.split_first()?;
        let (name, bytes) = rest.split_at_checked(usize::from(*length))?;
        Some(Self { to: std::str::from_utf8(name).ok()?, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let relayed = Relayed { to: "host-1", bytes: b"let it run" };
        assert_eq!(Relayed::decoded(&relayed.encoded()), Some(relayed));
    }

    #[test]
    fn what_ends_within_the_name_or_names_nobody_is_none() {
        for bad in [&b""[..], b"\x05four", b"\x02\xff\xfe?"] {
            assert_eq!(Relayed::decoded(bad), None);
        }
    }
}
