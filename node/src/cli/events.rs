//! `lifeboat events`: what happened, as the host asked has seen it.

use std::time::{Duration, UNIX_EPOCH};

use super::args::EventsArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{print, print_json_line};
use super::words::moment;
use crate::api::{EventInfo, Request};

/// Asks and prints, line by line.
pub(super) async fn run(daemon: &Daemon, args: &EventsArgs) -> Result<(), Failure> {
    let mut events = daemon.stream(&Request::Events { follow: args.follow }).await?;
    while let Some(event) = events.next::<EventInfo>().await? {
        if !args.kind.is_empty() && !args.kind.contains(&event.kind) {
            continue;
        }
        if args.client.json {
            print_json_line(&event)?;
        } else {
            print(&line(&event))?;
        }
    }
    if args.follow {
        return Err(Failure::NotDone(
            "the daemon on this host is stopping, so there are no further events from it; follow \
             them on another host, or give the command again once it runs"
                .to_owned(),
        ));
    }
    Ok(())
}

fn line(event: &EventInfo) -> String {
    let since = Duration::from_secs(event.unix_seconds)
        .saturating_add(Duration::from_millis(event.milliseconds.into()));
    let time = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
    format!("{} {:<10} {}", moment(time), event.kind, event.text.replace('\n', "; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line() {
        let event = EventInfo {
            unix_seconds: 1_700_000_000,
            milliseconds: 7,
            kind: "alarm".to_owned(),
            vm: None,
            evacuation: None,
            text: "the disk is full\nfree some".to_owned(),
        };
        assert_eq!(line(&event), "2023-11-14T22:13:20.007Z alarm      the disk is full; free some");
    }
}
