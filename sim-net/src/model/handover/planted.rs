//! Bugs that are put back around the shipped code, to see that the checker sees them.

use super::{
    host::Place,
    world::{DESTINATION, Rules, SOURCE, World},
};
use lifeboat_protocol::{
    Input,
    arrivals::Phase,
    message::{Direct, Message},
    wire,
};

/// A bug. All but the first must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The shipped code as it is.
    Nothing,
    /// The destination resumes a copy as soon as it is complete.
    ResumesWithoutCommit,
    /// The destination takes the silence of a dead source for its word that the copy is its own.
    SilenceIsCommit,
    /// The destination takes the silence of a dead source for its word that it keeps the VM.
    SilenceIsKept,
    /// The source takes a lost answer for a failure, and starts the VM from what is left of it.
    LostReplyIsFailure,
    /// The destination goes by a commit however old it is.
    OldCommitBelieved,
    /// A restarted destination goes by the commit of its former life without asking.
    FormerCommitBelieved,
}

impl Planted {
    /// All bugs.
    pub const ALL: [Planted; 6] = [
        Planted::ResumesWithoutCommit,
        Planted::SilenceIsCommit,
        Planted::SilenceIsKept,
        Planted::LostReplyIsFailure,
        Planted::OldCommitBelieved,
        Planted::FormerCommitBelieved,
    ];

    /// A message, as the destination takes it.
    pub(super) fn as_delivered(self, world: &World, bytes: &[u8]) -> Vec<u8> {
        let direct = match wire::decode(bytes) {
            Ok(Message::Direct(direct)) if self == Planted::OldCommitBelieved => direct,
            _ => return bytes.to_vec(),
        };
        let Direct::SourceGone { id, paused_ms, resumes, .. } = direct else {
            return bytes.to_vec();
        };
        let newest = world.hosts[DESTINATION].daemon().map(|node| node.newest_heartbeat());
        let Some(heard) = newest else { return bytes.to_vec() };
        wire::encode(&Message::Direct(Direct::SourceGone { id, paused_ms, resumes, heard }))
    }

    /// Done after every step.
    pub(super) fn after_step(self, world: &mut World, rules: &Rules) {
        match self {
            Planted::Nothing => {}
            Planted::ResumesWithoutCommit => {
                world.hosts[DESTINATION].turn(Place::Arrived, Some(Place::Running));
            }
            Planted::SilenceIsCommit if waits_for_a_dead_source(world) => {
                forge_commit(world, rules);
            }
            Planted::FormerCommitBelieved if has_a_former_commit(world) => {
                forge_commit(world, rules);
            }
            Planted::SilenceIsKept if waits_for_a_dead_source(world) => {
                forge(world, rules, |id| Direct::SourceKept { id });
            }
            Planted::LostReplyIsFailure => {
                let forgotten = world.migration.is_none();
                let destination_has_it = world.hosts[DESTINATION].place == Some(Place::Running);
                if forgotten && destination_has_it {
                    world.hosts[SOURCE].turn(Place::MovedAway, Some(Place::Running));
                }
            }
            _ => {}
        }
    }
}

fn waits_for_a_dead_source(world: &World) -> bool {
    !world.hosts[SOURCE].powered && world.hosts[DESTINATION].place == Some(Place::Arrived)
}

fn has_a_former_commit(world: &World) -> bool {
    let node = world.hosts[DESTINATION].daemon();
    node.is_some_and(|node| {
        node.arrivals()
            .all()
            .any(|one| one.committed && matches!(one.phase, Phase::Complete { .. }))
    })
}

fn forge_commit(world: &mut World, rules: &Rules) {
    let Some(node) = world.hosts[DESTINATION].daemon() else { return };
    let heard = node.newest_heartbeat();
    forge(world, rules, |id| Direct::SourceGone { id, paused_ms: None, resumes: true, heard });
}

/// The destination believes that its source said so.
fn forge(world: &mut World, rules: &Rules, say: impl Fn(lifeboat_protocol::MoveId) -> Direct) {
    let waiting = world.hosts[DESTINATION].daemon().and_then(|node| {
        node.arrivals()
            .all()
            .find(|arrival| matches!(arrival.phase, Phase::Complete { .. }))
            .map(|arrival| arrival.id)
    });
    if let Some(id) = waiting {
        let bytes = wire::encode(&Message::Direct(say(id)));
        let from = world.hosts[SOURCE].id;
        world.input(DESTINATION, Input::Received { from, bytes }, rules);
    }
}
