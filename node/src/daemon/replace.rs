//! A carrier that was started with another configuration than this daemon's: said, and replaced as soon
//! as that costs nothing.
//!
//! The carrier outlives the daemon, so what is changed between two daemons in what the carrier was started
//! with is not in force. It is ended only while it has no move and none is about to begin here; the
//! [supervisor](super::carrier::Supervisor) starts the next one.

use std::collections::BTreeMap;

use lifeboat_carrier::Status;
use lifeboat_protocol::output::NoticeKind;
use tracing::warn;

use super::{Daemon, carrier};
use crate::carrier_process;

impl Daemon {
    /// Compares what the carrier says that it was started with.
    pub(super) fn watch_settings(&mut self, status: &Status) {
        let mut wanted = carrier_process::settings(&self.config);
        wanted.insert(KEY.to_owned(), self.config.own_node().peer.to_string());
        let differs = differences(&wanted, status);
        if differs != self.carrier_differs {
            if let Some(why) = &differs {
                let text = format!(
                    "the carrier here runs with another configuration than its daemon: {why}. It is \
                     replaced as soon as nothing moves from or to this host"
                );
                self.notice(NoticeKind::Failed, text);
            }
            self.carrier_differs = differs;
        }
        let works = status.moves.iter().any(|one| carrier::is_open(one.state))
            || self.node.departures().all().next().is_some()
            || self.node.arrivals().all().next().is_some();
        if self.carrier_differs.is_none() || works || self.carrier_replaced {
            return;
        }
        self.carrier_replaced = true;
        self.notice(NoticeKind::Member, "the carrier here is replaced; nothing moves".to_owned());
        let socket = self.config.carrier_socket();
        tokio::spawn(async move {
            if let Err(reason) = carrier_process::end(&socket).await {
                warn!(reason, "the carrier could not be replaced");
            }
        });
    }
}

/// The name of the one setting that a carrier reads from its key.
const KEY: &str = "peer";

/// In what a carrier was started otherwise, in words; `None` if in nothing, or if it does not tell.
fn differences(wanted: &BTreeMap<String, String>, status: &Status) -> Option<String> {
    if status.settings.is_empty() {
        return None;
    }
    let mut found = status.settings.clone();
    found.insert(KEY.to_owned(), status.peer_id.clone());
    let other = wanted.iter().filter(|(name, value)| found.get(*name) != Some(value));
    let words = other.map(|(name, value)| match found.get(name) {
        Some(found) => format!("{name} is {found} there, and {value} is configured"),
        None => format!("{name} is configured as {value}"),
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let map = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let wanted = map(&[("listen", "[::]:2"), ("peer", "12D")]);
        let status = |settings: &[(&str, &str)]| Status {
            peer_id: "12D".to_owned(),
            settings: map(settings),
            ..Status::default()
        };
        assert_eq!(differences(&wanted, &status(&[])), None, "one that does not tell");
        assert_eq!(differences(&wanted, &status(&[("listen", "[::]:2")])), None);
        let found = differences(&wanted, &status(&[("listen", "[::]:1")]));
        assert_eq!(found.as_deref(), Some("listen is [::]:1 there, and [::]:2 is configured"));
    }
}
