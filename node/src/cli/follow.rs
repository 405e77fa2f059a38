//! Following an evacuation to its end.
//!
//! The one who follows decides nothing: whether it looks on, is ended, or loses its daemon, the
//! evacuation goes on.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::connect::Daemon;
use super::display::Display;
use super::failure::Failure;
use super::output::{print, print_json_line, remark};
use super::report::summary;
use super::tracker::{Tracker, Verdict};
use super::words;
use crate::api::{EvacuationInfo, Report, Request, Status, VmInfo};
use crate::control::ClientError;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(500);
/// For how long a lost daemon is looked for.
const SEARCH: Duration = Duration::from_secs(60);

/// Ctrl-C, caught instead of killing.
pub(super) struct Interrupt {
    signal: Signal,
}

impl Interrupt {
    /// Catches it from now on.
    pub(super) fn catch() -> Result<Self, Failure> {
        let signal = signal(SignalKind::interrupt()).map_err(|error| {
            Failure::NotDone(format!("Ctrl-C cannot be caught, so nothing was started: {error}"))
        })?;
        Ok(Self { signal })
    }

    async fn came(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// How the following ended.
enum End {
    Over { report: Box<Report>, verdict: Verdict },
    Interrupted,
}

/// Follows until all is done, nothing can go on, it is ended, or Ctrl-C is pressed.
pub(super) async fn to_the_end(
    daemon: &Daemon,
    id: &str,
    json: bool,
    mut interrupt: Interrupt,
) -> Result<(), Failure> {
    let mut display = Display::new(json);
    let end = tokio::select! {
        end = watch(daemon, id, &mut display) => end,
        () = interrupt.came() => Ok(End::Interrupted),
    };
    display.close();
    match end? {
        End::Interrupted => {
            remark(&format!(
                "No longer following: the evacuation goes on. `lifeboat status` shows it, \
                 `lifeboat report --follow {id}` follows it again, `lifeboat cancel {id}` ends it."
            ));
            Ok(())
        }
        End::Over { report, verdict } => {
            let vanished = match &verdict {
                Verdict::DoneWithout(vanished) => vanished.as_slice(),
                _ => &[],
            };
            if json {
                print_json_line(&json!({ "report": report, "vanished": vanished }))?;
            } else {
                print(&format!(
                    "\n{}\n\n`lifeboat report {id}` lists every VM.",
                    summary(&report)
                ))?;
            }
            vanished.iter().for_each(|text| remark(text));
            conclude(&report.evacuation, verdict)
        }
    }
}

fn conclude(one: &EvacuationInfo, verdict: Verdict) -> Result<(), Failure> {
    let id = &one.id;
    let left = match verdict {
        Verdict::Done | Verdict::DoneWithout(_) | Verdict::GoesOn => None,
        Verdict::Ended(how) => {
            Some(format!("evacuation {id} was {how}, and not all VMs have left"))
        }
        Verdict::NotAll(missing) => Some(format!(
            "not all have left:\n  {}\n{}; `lifeboat cancel {id}` ends it.",
            missing.join("\n  "),
            match one.state.as_str() {
                "done" => "No host that is heard has anything to move, so the evacuation is done",
                _ => "The evacuation stays active and takes them as soon as they can go",
            }
        )),
    };
    let ended: Vec<String> = one.ended.iter().map(words::ended).collect();
    let ended = ended.join("\n  ");
    match (left, one.ended.is_empty()) {
        (None, true) => Ok(()),
        (None, false) => {
            Err(Failure::NotDone(format!("all have left, but not all run:\n  {ended}")))
        }
        (Some(left), true) => Err(Failure::NotDone(left)),
        (Some(left), false) => Err(Failure::NotDone(format!(
            "{left}\nOf those that have left, not all run:\n  {ended}"
        ))),
    }
}

async fn watch(daemon: &Daemon, id: &str, display: &mut Display) -> Result<End, Failure> {
    let mut tracker = Tracker::default();
    let mut lost_at: Option<Instant> = None;
    loop {
        match daemon.ask::<Report>(&Request::Report { id: Some(id.to_owned()) }).await {
            Ok(report) => {
                if lost_at.take().is_some() {
                    display.remark("The daemon answers again.")?;
                }
                let mut found = Vec::new();
                if tracker.has_lost(&report) {
                    // Without an answer it is asked again: what is not known to run is not out.
                    let all = daemon.ask::<Vec<VmInfo>>(&Request::Vms).await;
                    let status = daemon.ask::<Status>(&Request::Status).await;
                    if let (Ok(all), Ok(status)) = (all, status) {
                        let alive = status.hosts.iter().filter(|host| host.state == "alive");
                        let answer = alive.filter(|host| host.hypervisor_up && host.vms_told);
                        let heard: Vec<&str> = answer.map(|host| host.name.as_str()).collect();
                        found = tracker.find(Instant::now(), &report, &all, &heard);
                    }
                }
                let (changes, verdict) = tracker.take(Instant::now(), &report);
                for change in found.iter().chain(&changes) {
                    display.change(change)?;
                }
                display.progress(&report);
                if verdict != Verdict::GoesOn {
                    return Ok(End::Over { report: Box::new(report), verdict });
                }
            }
            // A daemon that was restarted hears of the evacuation again, too.
            Err(error) => {
                tracker.lost_sight();
                let since = match lost_at {
                    Some(since) => since,
                    None => {
                        display.no_news();
                        display.remark(&lost(&error))?;
                        *lost_at.insert(Instant::now())
                    }
                };
                if since.elapsed() >= SEARCH {
                    return Err(given_up(id, &error));
                }
            }
        }
        sleep(EVERY).await;
    }
}

fn lost(error: &Failure) -> String {
    format!(
        "{}. The evacuation goes on without it; looking for it for {}s. Any other host shows it, \
         too: `lifeboat status` there, or --socket with the socket of another daemon.",
        what_happened(error),
        SEARCH.as_secs()
    )
}

fn given_up(id: &str, error: &Failure) -> Failure {
    Failure::NotDone(format!(
        "{}, and did not come back. The evacuation goes on without it: follow it with `lifeboat \
         report --follow {id}` on another host, or with --socket",
        what_happened(error)
    ))
}

fn what_happened(error: &Failure) -> String {
    match error {
        Failure::Client(ClientError::NotRunning(path)) => {
            format!("The daemon at {} is gone", path.display())
        }
        Failure::Client(ClientError::Ended) => "The daemon has ended the connection".to_owned(),
        error => format!("The daemon gives no answer ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn of(state: &str) -> EvacuationInfo {
        EvacuationInfo { id: "7".to_owned(), state: state.to_owned(), ..samples::evacuation() }
    }

    fn check(one: &EvacuationInfo, verdict: Verdict, expect: &str) {
        match conclude(one, verdict) {
            Err(Failure::NotDone(text)) => assert!(text.contains(expect), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_good_end_is_success() {
        let (active, done) = (of("active"), of("done"));
        assert!(conclude(&done, Verdict::Done).is_ok());
        let named = vec!["db was on a2".to_owned()];
        assert!(conclude(&done, Verdict::DoneWithout(named)).is_ok());
        check(&active, Verdict::Ended("aborted".to_owned()), "evacuation 7 was aborted");
        let missing = vec!["web cannot leave a1: no room".to_owned()];
        check(&active, Verdict::NotAll(missing), "\n  web cannot");
        check(&active, Verdict::NotAll(Vec::new()), "stays active");
        let missing = vec!["db was on a2".to_owned()];
        check(&done, Verdict::NotAll(missing), "evacuation is done");
    }

    #[test]
    fn what_has_left_and_does_not_run_is_no_success() {
        let ended = vec![samples::ended("db"), samples::ended("web")];
        let done = EvacuationInfo { ended, ..of("done") };
        let db = "db ran when its move began, ended at a1";
        check(&done, Verdict::Done, &format!("all have left, but not all run:\n  {db}"));
        check(&done, Verdict::DoneWithout(Vec::new()), "start it there\n  web ran when");
        let left = format!("not all VMs have left\nOf those that have left, not all run:\n  {db}");
        check(&done, Verdict::Ended("aborted".to_owned()), &left);
        check(&done, Verdict::NotAll(Vec::new()), &format!("not all run:\n  {db}"));
    }
}
