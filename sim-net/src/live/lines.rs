//! Reading lines of bounded length from a peer that may send anything.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Longest line that either side of a control connection accepts, in bytes.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// Reads the next line without its line end; `None` at the end of the stream.
///
/// # Errors
/// `InvalidData` if the line is longer than [`MAX_LINE`], `UnexpectedEof` if the stream ends
/// within a line. The stream is unusable afterwards.
pub(crate) async fn next_line<R>(reader: &mut R) -> io::Result<Option<Vec<u8>>>
where
    R: AsyncBufRead + Unpin,
{
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            let cut_short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the line has no end");
            return if line.is_empty() { Ok(None) } else { Err(cut_short()) };
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&available[..end.unwrap_or(available.len())]);
        let used = end.map_or(available.len(), |end| end + 1);
        reader.consume(used);
        if line.len() > MAX_LINE {
            let message = format!("a line is longer than {MAX_LINE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}
