//! What happened lately, for `lifeboat events` and the log.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use lifeboat_protocol::output::{Notice, NoticeKind};
use tokio::sync::broadcast;
use tracing::{Level, error, info, warn};

use crate::{api::EventInfo, legible};

/// Events remembered.
const REMEMBERED: usize = 2000;

/// The memory of events.
pub(super) struct EventLog {
    past: VecDeque<EventInfo>,
    live: broadcast::Sender<EventInfo>,
}

impl EventLog {
    pub(super) fn new() -> Self {
        Self { past: VecDeque::new(), live: broadcast::Sender::new(1024) }
    }

    /// Remembers, logs and passes on.
    pub(super) fn add(&mut self, notice: Notice) {
        let text = legible::text(&notice.text);
        match level(notice.kind) {
            Level::ERROR => error!("{text}"),
            Level::WARN => warn!("{text}"),
            _ => info!("{text}"),
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = EventInfo {
            unix_seconds: now.as_secs(),
            milliseconds: now.subsec_millis(),
            kind: kind_name(notice.kind).to_owned(),
            vm: notice.vm.map(|vm| vm.to_string()),
            evacuation: notice.evacuation.map(|id| id.to_string()),
            text,
        };
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(event.clone());
        // Nobody has to listen.
        let _ = self.live.send(event);
    }

    /// Everything remembered.
    pub(super) fn past(&self) -> Vec<EventInfo> {
        self.past.iter().cloned().collect()
    }

    /// What comes from now on.
    pub(super) fn follow(&self) -> broadcast::Receiver<EventInfo> {
        self.live.subscribe()
    }
}

fn level(kind: NoticeKind) -> Level {
    match kind {
        NoticeKind::Alarm => Level::ERROR,
        NoticeKind::Failed | NoticeKind::Unknown | NoticeKind::Rejected => Level::WARN,
        NoticeKind::Member | NoticeKind::Evacuation | NoticeKind::Vm | NoticeKind::Link => {
            Level::INFO
        }
    }
}

fn kind_name(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Rejected => "rejected",
        NoticeKind::Member => "member",
        NoticeKind::Evacuation => "evacuation",
        NoticeKind::Vm => "vm",
        NoticeKind::Failed => "failed",
        NoticeKind::Unknown => "unknown",
        NoticeKind::Link => "link",
        NoticeKind::Alarm => "alarm",
    }
}
