//! What either end of the control socket reads, for the fuzzer.

use super::{
    AcceptMove, Channel, Compress, Event, LinkStatus, MoveState, OpenMove, SetMove, SetShare,
    Status,
    message::{Envelope, GuestState, Outcome, Reply, Request},
    server::understand,
};

/// Reads a line as a carrier and as a daemon would.
///
/// # Panics
/// If a request that was read is not written so that it reads the same.
pub(crate) fn fuzz_line(line: &[u8]) {
    match understand(line) {
        Ok(envelope) => {
            let written = serde_json::to_vec(&envelope).expect("a request is plain data");
            let Ok(again) = understand(&written) else {
                panic!("{} cannot be read", String::from_utf8_lossy(&written));
            };
            assert_eq!(format!("{envelope:?}"), format!("{again:?}"));
        }
        Err(reply) => drop(serde_json::to_vec(&reply).expect("a reply is plain data")),
    }
    if serde_json::from_slice::<Reply>(line).is_err() {
        drop(serde_json::from_slice::<Event>(line));
    }
}

/// Lines of every kind.
pub(crate) fn fuzz_seeds() -> Vec<Vec<u8>> {
    let channels = vec![Channel { name: "memory".to_owned(), path: "/run/m.sock".into() }];
    let move_id = || "a1-7".to_owned();
    let peer = || "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".to_owned();
    let requests = [
        Request::OpenMove(OpenMove {
            move_id: move_id(),
            link: "a>b".to_owned(),
            peer_id: peer(),
            addresses: vec![([127, 0, 0, 1], 7420).into()],
            streams: 4,
            channels: channels.clone(),
            weight: 1,
            compress: Compress::Always,
        }),
        Request::AcceptMove(AcceptMove { move_id: move_id(), from_peer: peer(), channels }),
        Request::SetMove(SetMove {
            move_id: move_id(),
            weight: Some(3),
            streams: Some(8),
            guest: Some(GuestState::MayPause),
        }),
        Request::CloseMove { move_id: move_id() },
        Request::SetShare(SetShare {
            link: "a>b".to_owned(),
            rate_bytes_per_sec: 1_000_000,
            valid_until_ns: u64::MAX,
        }),
        Request::SetUpstream { address: Some(([127, 0, 0, 1], 4000).into()) },
        Request::Status,
        Request::Subscribe,
    ];
    let status = Status {
        links: vec![LinkStatus {
            link: "a>b".to_owned(),
            rate_bytes_per_sec: 7,
            valid_until_ns: 8,
            wire_sent_bytes: 9,
            limited_by: super::LimitedBy::default(),
        }],
        ..Status::default()
    };
    let replies = [Outcome::Ok(()), Outcome::Status(Box::new(status)), Outcome::Error("no".into())];
    let event = Event::MoveState { move_id: move_id(), state: MoveState::Held };
    let mut lines: Vec<String> = Vec::new();
    for (id, request) in (1..).zip(requests) {
        lines.push(text(&Envelope { id, request }));
    }
    for outcome in replies {
        lines.push(text(&Reply { id: Some(1), outcome }));
    }
    lines.push(text(&event));
    lines.into_iter().map(|line| (line + "\n").into_bytes()).collect()
}

fn text(message: &impl serde::Serialize) -> String {
    serde_json::to_string(message).expect("a message is plain data")
}
