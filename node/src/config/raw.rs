//! The configuration file as it was written: known keys, any values.

use super::document::{Entry, Problems, Section};

/// The whole file. Unknown keys were reported when this was read.
#[derive(Debug)]
pub(super) struct RawConfig {
    pub(super) name: Option<Entry>,
    pub(super) key_file: Option<Entry>,
    pub(super) state_dir: Option<Entry>,
    pub(super) run_dir: Option<Entry>,
    pub(super) listen: Option<Entry>,
    pub(super) control_group: Option<Entry>,
    pub(super) log: RawLog,
    pub(super) hypervisor: RawHypervisor,
    pub(super) host: RawHost,
    pub(super) timing: RawTiming,
    pub(super) nodes: Vec<RawNode>,
    pub(super) links: Vec<RawLink>,
}

#[derive(Debug)]
pub(super) struct RawLog {
    pub(super) level: Option<Entry>,
    pub(super) target: Option<Entry>,
}

#[derive(Debug)]
pub(super) struct RawHypervisor {
    pub(super) kind: Option<Entry>,
    pub(super) uri: Option<Entry>,
    pub(super) socket: Option<Entry>,
    pub(super) copy_storage: Option<Entry>,
    pub(super) direct: Option<Entry>,
}

#[derive(Debug)]
pub(super) struct RawHost {
    pub(super) runtime: Option<Entry>,
    pub(super) nic: Option<Entry>,
    pub(super) interfaces: Option<Entry>,
    pub(super) memory_reserve: Option<Entry>,
}

#[derive(Debug)]
pub(super) struct RawTiming {
    pub(super) line: usize,
    pub(super) preset: Option<Entry>,
    pub(super) heartbeat: Option<Entry>,
    pub(super) dead_after: Option<Entry>,
    pub(super) lease: Option<Entry>,
}

#[derive(Debug)]
pub(super) struct RawNode {
    pub(super) line: usize,
    pub(super) name: Option<Entry>,
    pub(super) site: Option<Entry>,
    pub(super) peer: Option<Entry>,
    pub(super) address: Option<Entry>,
}

#[derive(Debug)]
pub(super) struct RawLink {
    pub(super) line: usize,
    pub(super) from: Option<Entry>,
    pub(super) to: Option<Entry>,
    pub(super) ceiling: Option<Entry>,
    pub(super) reserve: Option<Entry>,
    pub(super) initial: Option<Entry>,
}

impl RawConfig {
    /// Takes every known key of a document and reports the others.
    pub(super) fn read(mut top: Section, problems: &mut Problems) -> Self {
        let raw = Self {
            name: top.take("name"),
            key_file: top.take("key_file"),
            state_dir: top.take("state_dir"),
            run_dir: top.take("run_dir"),
            listen: top.take("listen"),
            control_group: top.take("control_group"),
            log: RawLog::read(top.table("log", problems), problems),
            hypervisor: RawHypervisor::read(top.table("hypervisor", problems), problems),
            host: RawHost::read(top.table("host", problems), problems),
            timing: RawTiming::read(top.table("timing", problems), problems),
            nodes: read_all(top.tables("node", problems), problems, RawNode::read),
            links: read_all(top.tables("link", problems), problems, RawLink::read),
        };
        top.finish(problems);
        raw
    }
}

fn read_all<T>(
    sections: Vec<Section>,
    problems: &mut Problems,
    read: fn(Section, &mut Problems) -> T,
) -> Vec<T> {
    sections.into_iter().map(|section| read(section, problems)).collect()
}

impl RawLog {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let raw = Self { level: section.take("level"), target: section.take("target") };
        section.finish(problems);
        raw
    }
}

impl RawHypervisor {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let raw = Self {
            kind: section.take("kind"),
            uri: section.take("uri"),
            socket: section.take("socket"),
            copy_storage: section.take("copy_storage"),
            direct: section.take("direct"),
        };
        section.finish(problems);
        raw
    }
}

impl RawHost {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let raw = Self {
            runtime: section.take("runtime"),
            nic: section.take("nic"),
            interfaces: section.take("interfaces"),
            memory_reserve: section.take("memory_reserve"),
        };
        section.finish(problems);
        raw
    }
}

impl RawTiming {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let raw = Self {
            line: section.line,
            preset: section.take("preset"),
            heartbeat: section.take("heartbeat"),
            dead_after: section.take("dead_after"),
            lease: section.take("lease"),
        };
        section.finish(problems);
        raw
    }
}

impl RawNode {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let raw = Self {
            line: section.line,
            name: section.take("name"),
            site: section.take("site"),
            peer: section.take("peer"),
            address: section.take("address"),
        };
        section.finish(problems);
        raw
    }
}

impl RawLink {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let raw = Self {
            line: section.line,
            from: section.take("from"),
            to: section.take("to"),
            ceiling: section.take("ceiling"),
            reserve: section.take("reserve"),
            initial: section.take("initial"),
        };
        section.finish(problems);
        raw
    }
}
