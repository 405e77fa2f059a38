//! What the carriers are doing, asked of themselves.

use std::time::Duration;

use anyhow::Context;
use lifeboat::identity::NodeIdentity;
use lifeboat_carrier::{Client, MoveState, MoveStatus};

use crate::World;

/// A move as its source's carrier counts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// The attempt.
    pub id: String,
    /// The UUID of the VM that moves.
    pub vm: String,
    /// The host that it leaves.
    pub from: String,
    /// The host that it goes to.
    pub to: String,
    /// Whether it is not over yet.
    pub open: bool,
    /// What the hypervisor gave the carrier, in bytes.
    pub given: u64,
    /// Of that, what has arrived at the far carrier.
    pub arrived: u64,
    /// Bytes put on the wire.
    pub wire: u64,
}

impl World {
    /// Moves out of a host, those that ended lately included; none if its carrier does not answer.
    ///
    /// # Errors
    /// If there is no such host.
    pub async fn flows_of(&self, host: &str) -> anyhow::Result<Vec<Flow>> {
        let socket = self.cluster().host(host)?.socket().with_file_name("carrier.sock");
        let status = async { Client::connect(&socket).await?.status().await };
        let Ok(Ok(status)) = tokio::time::timeout(Duration::from_secs(2), status).await else {
            return Ok(Vec::new());
        };
        let leaving = status.moves.into_iter().filter(|one| one.link.is_some());
        leaving.map(|one| self.flow(host, one)).collect()
    }

    /// Moves out of all hosts.
    ///
    /// # Errors
    /// Never; for `?`.
    pub async fn flows(&self) -> anyhow::Result<Vec<Flow>> {
        let mut flows = Vec::new();
        for host in self.cluster().hosts() {
            flows.extend(self.flows_of(&host.name).await?);
        }
        Ok(flows)
    }

    fn flow(&self, from: &str, one: MoveStatus) -> anyhow::Result<Flow> {
        let to = self.cluster().hosts().iter().find(|host| {
            let key = host.config().with_file_name("node.key");
            NodeIdentity::load(&key).is_ok_and(|key| key.peer_id().to_string() == one.peer_id)
        });
        Ok(Flow {
            vm: one.move_id.chars().take(36).collect(),
            from: from.to_owned(),
            to: to.context("a move goes to no host of the cluster")?.name.clone(),
            open: !matches!(one.state, MoveState::Closed { .. }),
            given: one.local_in_bytes,
            arrived: one.acked_bytes,
            wire: one.wire_sent_bytes,
            id: one.move_id,
        })
    }
}
