//! What one step of the node wants done, collected while it runs.

use alloc::{string::String, vec::Vec};

use crate::{
    ids::{EvacuationId, MoveId, NodeId, VmId},
    journal::{Change, Key, Value, change},
    message::{Direct, Message},
    output::{Notice, NoticeKind, Output},
    wire,
};

/// The collector. The node turns it into outputs at the end of the step.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) changes: Vec<Change>,
    pub(crate) now: Vec<Output>,
    pub(crate) after_durable: Vec<Output>,
    pub(crate) urgent: bool,
    pub(crate) dropped: Vec<MoveId>,
    pub(crate) commits: Vec<Commit>,
}

/// A source's word that nothing of a VM can run there any more, before it is said.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) to: NodeId,
    pub(crate) id: MoveId,
    pub(crate) paused_ms: Option<u64>,
    pub(crate) resumes: bool,
}

impl Effects {
    pub(crate) fn out(&mut self, output: Output) {
        self.now.push(output);
    }

    /// Done only once everything that this step persists is durable.
    pub(crate) fn out_after_durable(&mut self, output: Output) {
        self.after_durable.push(output);
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Direct) {
        self.now.push(Output::Send { to, bytes: wire::encode(&Message::Direct(message)) });
    }

    pub(crate) fn send_after_durable(&mut self, to: NodeId, message: Direct) {
        let bytes = wire::encode(&Message::Direct(message));
        self.after_durable.push(Output::Send { to, bytes });
    }

    /// The node says it at the end of the step, unless something speaks against that.
    pub(crate) fn commit(&mut self, to: NodeId, id: MoveId, paused_ms: Option<u64>, resumes: bool) {
        self.commits.push(Commit { to, id, paused_ms, resumes });
    }

    pub(crate) fn persist(&mut self, key: &Key, value: &Value) {
        self.changes.push(change(key, Some(value)));
    }

    pub(crate) fn erase(&mut self, key: &Key) {
        self.changes.push(change(key, None));
    }

    pub(crate) fn notice(&mut self, kind: NoticeKind, text: String) {
        self.now.push(Output::Notice(Notice { kind, vm: None, evacuation: None, text }));
    }

    pub(crate) fn vm_notice(
        &mut self,
        kind: NoticeKind,
        vm: VmId,
        evacuation: EvacuationId,
        text: String,
    ) {
        let (vm, evacuation) = (Some(vm), Some(evacuation));
        self.now.push(Output::Notice(Notice { kind, vm, evacuation, text }));
    }

    /// Preparations of this arrival that still wait for the journal are not made any more.
    pub(crate) fn drop_preparation(&mut self, id: MoveId) {
        self.dropped.push(id);
    }

    /// The next heartbeat goes out as soon as spacing allows.
    pub(crate) fn urgent(&mut self) {
        self.urgent = true;
    }
}
