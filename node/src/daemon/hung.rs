//! When a carrier counts as hung: it leaves a request without an answer for too long.
//!
//! What a hypervisor sends to a hung carrier waits, and with it a guest that is paused for its last bytes.
//! Only time in which this daemon itself ran counts: a daemon that stood still, alone or with its host, has
//! not heard a carrier that answered.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use lifeboat_carrier::ClientError;
use tokio::time::{Instant, sleep};

/// The steps in which time is counted; a longer one counts as one.
const STEP: Duration = Duration::from_millis(100);
/// A step of this length says that the daemon stood still, and the carrier gets its time anew.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// How many steps a carrier may take to answer: 5 s. It never waits for the network before it does, and
/// its end costs the moves of this host what they have sent.
const MOST_STEPS: u32 = 50;
/// How many while a guest of this host is paused for its move, whose pause grows by as much: 2 s, which
/// is longer than carriers wait for each other then.
const MOST_STEPS_PAUSED: u32 = 20;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The carrier hangs.
    Hangs,
    /// The carrier refused, or is gone.
    Failed(ClientError),
}

/// Whether a guest of this host is paused for its move, as the daemon's loop knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct GuestPaused(Arc<AtomicBool>);

impl GuestPaused {
    pub(super) fn set(&self, paused: bool) {
        self.0.store(paused, Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// How long a request has been waiting, in steps.
#[derive(Debug, Default)]
struct Waited(u32);

impl Waited {
    fn step(&mut self, took: Duration) {
        self.0 = if took < STOOD_STILL { self.0 + 1 } else { 0 };
    }

    fn is_too_long(&self, guest_paused: bool) -> bool {
        self.0 >= if guest_paused { MOST_STEPS_PAUSED } else { MOST_STEPS }
    }
}

/// Asks until there is an answer, or the carrier counts as hung.
pub(super) async fn answered<T, F>(
    guest_paused: &GuestPaused,
    ask: impl Fn() -> F,
) -> Result<T, Unanswered>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut asked = pin!(ask());
    let mut waited = Waited::default();
    loop {
        let began = Instant::now();
        tokio::select! {
            biased;
            answer = &mut asked => match answer {
                // Late by the clock, but not yet by the time in which this daemon ran.
                Err(ClientError::Late) => asked.set(ask()),
                answer => return answer.map_err(Unanswered::Failed),
            },
            () = sleep(STEP) => {
                waited.step(began.elapsed());
                if waited.is_too_long(guest_paused.get()) {
                    return Err(Unanswered::Hangs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until the carrier counts as hung.
    fn steps(guest_paused: bool, mut waited: Waited, took: Duration) -> u32 {
        let mut steps = 0;
        while !waited.is_too_long(guest_paused) {
            waited.step(took);
            steps += 1;
        }
        steps
    }

    #[test]
    fn a_paused_guest_waits_less_long() {
        assert_eq!(steps(false, Waited::default(), STEP) * STEP, Duration::from_secs(5));
        assert_eq!(steps(true, Waited::default(), STEP) * STEP, Duration::from_secs(2));
        assert_eq!(steps(true, Waited(30), STEP), 0, "a pause that begins while it hangs");
    }

    #[test]
    fn time_in_which_the_daemon_stood_still_does_not_count() {
        // On a machine that has too much to do, steps take longer.
        assert_eq!(steps(false, Waited::default(), STEP * 5), MOST_STEPS);
        let mut waited = Waited(MOST_STEPS - 1);
        waited.step(Duration::from_secs(60));
        assert_eq!(steps(false, waited, STEP), MOST_STEPS, "it has its time anew");
    }

    #[tokio::test]
    async fn what_is_late_by_the_clock_alone_is_asked_again() {
        let asked = std::cell::Cell::new(0);
        let nobody = GuestPaused::default();
        let answer = answered(&nobody, || {
            asked.set(asked.get() + 1);
            std::future::ready(if asked.get() < 3 {
                Err(ClientError::Late)
            } else {
                Ok(asked.get())
            })
        });
        assert!(matches!(answer.await, Ok(3)));
    }
}
