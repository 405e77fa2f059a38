//! The configuration file of a host, with the cluster in it.

use std::path::Path;

use lifeboat::config::{InitOptions, NodeConfig, template};

use super::Target;

/// From a text to a node that could start.
pub(super) const TARGET: Target =
    Target { name: "config", run, seeds, longest: 4096, share_permille: 10 };

fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        lifeboat::fuzz::config(text);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let peers = [
        "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        "12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD",
    ];
    let node = |name: &str, site: &str, peer: &str| NodeConfig {
        name: name.to_owned(),
        site: site.to_owned(),
        peer: peer.parse().expect("a peer id"),
        addresses: vec![([192, 0, 2, 1], 7420).into()],
    };
    let own = node("a1", "here", peers[0]);
    let mut options = InitOptions::new("here", own.addresses[0]);
    let bare = template("a1", Path::new("node.key"), &own, &options);
    options.others.push(node("b1", "there", peers[1]));
    let full = template("a1", Path::new("node.key"), &own, &options);
    // Without the comments, which only cost a fuzzer time; and with every knob.
    let short: String = full
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .flat_map(|line| [line, "\n"])
        .collect();
    let knobs: String = full
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(knob) if knob.contains(" = ") && !knob.contains(": ") => knob,
            _ => line,
        })
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .flat_map(|line| [line, "\n"])
        .collect();
    let link = "[[link]]\nfrom = \"here\"\nto = [\"there\"]\nceiling = \"1Gbit/s\"\nreserve = \"5%\"\ninitial = \"100Mbit/s\"\n";
    vec![
        bare.into_bytes(),
        format!("{short}{link}").into_bytes(),
        short.into_bytes(),
        knobs.into_bytes(),
    ]
}
