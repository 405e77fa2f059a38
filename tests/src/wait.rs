//! Waiting for something, with a deadline.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Looks until there is something, and answers it.
///
/// # Errors
/// If there is nothing `within` that time, or if a look fails.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", within.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
