//! Blocking calls with a deadline, at a bounded number of a time.
//!
//! A call that outlives its deadline is left to finish on its thread and keeps its place until it
//! does: a libvirt that hangs can hold up at most [`PLACES`] threads, and never the runtime. The
//! threads are not the runtime's own, so that a stuck one does not hold up its shutdown either.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    time,
};

/// Calls at a time. libvirtd answers five requests of one client at a time by default; more wait
/// there instead of here.
const PLACES: usize = 8;

/// No answer within the deadline; the outcome is unknown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overdue;

pub(super) struct Pool {
    places: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Runs a blocking call. Waiting for a place counts towards the deadline.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overdue> {
        let places = Arc::clone(&self.places);
        let answer = async move {
            let place = places.acquire_owned().await.map_err(|_| Overdue)?;
            let (sender, receiver) = oneshot::channel();
            thread::Builder::new()
                .name("libvirt-call".into())
                .spawn(move || {
                    let answer = call();
                    drop(place);
                    // Nobody waits any more if the deadline has passed.
                    let _ = sender.send(answer);
                })
                .map_err(|_| Overdue)?;
            receiver.await.map_err(|_| Overdue)
        };
        time::timeout(deadline, answer).await.map_err(|_| Overdue)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn hung_calls_are_overdue_and_keep_their_places_until_they_end() {
        let pool = Pool::new();
        let mut stuck = Vec::new();
        for _ in 0..PLACES {
            let (release, hang) = mpsc::channel::<()>();
            assert_eq!(pool.run(SHORT, move || hang.recv().is_ok()).await, Err(Overdue));
            stuck.push(release);
        }
        assert_eq!(pool.run(SHORT, || 1).await, Err(Overdue));
        drop(stuck);
        assert_eq!(pool.run(LONG, || 2).await, Ok(2));
    }
}
