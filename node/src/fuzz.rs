//! What the daemon decodes, for the fuzzer: bytes in, no panic.
//!
//! Compiled only with the cargo feature `fuzz`.

use std::path::Path;

use futures::FutureExt;
use lifeboat_protocol::{Incarnation, Instant, Node, NodeId, vm::Vm};
use serde_json::Value;

use crate::{
    api,
    config::Config,
    control::{self, Line, read_line},
    daemon,
};

/// Lines on the daemon's control socket, as either end reads them.
///
/// # Panics
/// If a request that was read is not written so that it reads the same.
pub fn control(bytes: &[u8]) {
    let mut reader = bytes;
    while let Some(Ok(Line::Text(line))) = read_line(&mut reader).now_or_never() {
        if let Ok(value) = serde_json::from_slice::<Value>(&line)
            && let Ok(request) = serde_json::from_value::<api::Request>(value)
        {
            let written = control::encode(&request).expect("what fitted a line fits one");
            let again = serde_json::from_slice::<api::Request>(&written);
            assert_eq!(again.ok().as_ref(), Some(&request), "a request is read as it is written");
        }
        answer(&line);
    }
}

/// What the command line makes of a line.
fn answer(line: &[u8]) {
    let Ok(reply) = serde_json::from_slice::<control::Reply>(line) else { return };
    let (control::Reply::More(value) | control::Reply::Done(value)) = reply else { return };
    drop(serde_json::from_value::<api::Status>(value.clone()));
    drop(serde_json::from_value::<Vec<api::VmInfo>>(value.clone()));
    drop(serde_json::from_value::<api::PlanInfo>(value.clone()));
    drop(serde_json::from_value::<api::EventInfo>(value.clone()));
    drop(serde_json::from_value::<api::Report>(value));
}

/// Reads a configuration, and makes of it what a daemon needs to start.
///
/// # Panics
/// If a configuration that was accepted is none for a daemon.
pub fn config(text: &str) {
    let config = match Config::parse(Path::new("/etc/lifeboat/lifeboat.toml"), text) {
        Ok(config) => config,
        Err(error) => return drop(error.to_string()),
    };
    assert!(!config.sites().is_empty());
    assert!(config.other_nodes().count() + 1 == config.nodes.len(), "names are unique");
    let directory = daemon::directory(&config).expect("an accepted configuration is a cluster");
    let timers = daemon::timers(&config);
    let me = NodeId::of(&config.own_node().name);
    let node = Node::new(Instant(1), me, Incarnation(1), timers, directory, &[]);
    let mut node = node.expect("an accepted configuration starts a node");
    node.handle(Instant(2), lifeboat_protocol::Input::Wake);
    drop((node.links_view(Instant(3)), node.nodes_view(Instant(3))));
}

/// A VM of a hypervisor in the protocol's words.
pub fn vm(one: lifeboat_hypervisor::Vm) -> Vm {
    daemon::convert_vm(one, true)
}
