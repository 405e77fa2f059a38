//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest line, in bytes.
pub(crate) const MAX_LINE: usize = 1024 * 1024;

/// A line, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without its end.
    Text(Vec<u8>),
    /// It was too long, and was skipped.
    TooLong,
    /// The other side has closed.
    End,
}

/// Reads the next line, keeping no more than [`MAX_LINE`] of it.
pub(crate) async fn read_line<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let room = (MAX_LINE + 1 - line.len()) as u64;
        let read = (&mut *reader).take(room).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(Line::End);
        }
        let ended = line.last() == Some(&b'\n');
        match (ended, too_long) {
            (true, true) => return Ok(Line::TooLong),
            (true, false) => {
                line.pop();
                return Ok(Line::Text(line));
            }
            (false, _) => {
                too_long |= line.len() > MAX_LINE;
                if too_long {
                    line.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_skipped() {
        let mut bytes = vec![b'x'; 3 * MAX_LINE];
        bytes.extend_from_slice(b"\nnext\nrest");
        let mut reader = &bytes[..];
        assert_eq!(read_line(&mut reader).await.expect("reads"), Line::TooLong);
        assert_eq!(read_line(&mut reader).await.expect("reads"), Line::Text(b"next".to_vec()));
        assert_eq!(read_line(&mut reader).await.expect("reads"), Line::End);
    }
}
