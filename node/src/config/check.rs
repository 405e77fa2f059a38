//! From what was written to what is used: the one place with all the rules.
//!
//! Every check goes on after a problem with a stand-in value, so that a person sees all problems
//! at once; a rule that ties values together is only applied when each of them is sound.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::PeerId;

use super::document::{Entry, Problems, Value};
use super::raw::{RawConfig, RawHost, RawHypervisor, RawLink, RawLog, RawNode, RawTiming};
use super::{
    Config, DEFAULT_PORT, HostConfig, HypervisorConfig, HypervisorKind, KEY_FILE_NAME, LinkConfig,
    LogConfig, NodeConfig, Timing,
};
use crate::units::{ByteSize, PerMille, Rate, parse_duration};

/// Names go into file names, domain metadata and messages of bounded size.
const MAX_NAME_CHARS: usize = 63;
/// Longest path that a UNIX socket can have, in bytes.
const LONGEST_SOCKET: usize = 107;
/// Longest `run_dir`, in bytes: the longest socket in it is `/moves/`, a VM's UUID, `-drv` or `.out`,
/// and a `~` while it is made.
pub(crate) const LONGEST_RUN_DIR: usize = LONGEST_SOCKET - 7 - 36 - 4 - 1;
/// A dead node's tokens must be in use again within this.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(10);

/// All rules. `None` only together with a problem.
pub(super) fn check(path: &Path, raw: RawConfig, problems: &mut Problems) -> Option<Config> {
    let name = required(raw.name, "name", "the file", 1, problems, parse_name);
    let nodes = check_nodes(raw.nodes, problems);
    if let Some(name) = &name
        && !nodes.iter().any(|node| node.name == *name)
    {
        let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        problems.at(
            1,
            format!(
                "this host is name = \"{name}\", but no [[node]] has that name ({}); add one for it",
                if known.is_empty() { "there is none".to_owned() } else { known.join(", ") }
            ),
        );
    }
    let links = check_links(raw.links, &nodes, problems);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let run_dir = optional(raw.run_dir, problems, parse_run_dir)
        .unwrap_or_else(|| PathBuf::from("/run/lifeboat"));
    Some(Config {
        file: path.to_owned(),
        key_file: optional(raw.key_file, problems, parse_path)
            .unwrap_or_else(|| directory.join(KEY_FILE_NAME)),
        state_dir: optional(raw.state_dir, problems, parse_path)
            .unwrap_or_else(|| PathBuf::from("/var/lib/lifeboat")),
        listen: optional(raw.listen, problems, parse_address)
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT))),
        control_group: optional(raw.control_group, problems, parse_name),
        log: check_log(raw.log, problems),
        hypervisor: check_hypervisor(raw.hypervisor, &run_dir, problems),
        host: check_host(raw.host, problems),
        timing: check_timing(raw.timing, problems),
        run_dir,
        name: name?,
        nodes,
        links,
    })
}

fn check_log(raw: RawLog, problems: &mut Problems) -> LogConfig {
    LogConfig {
        level: optional(raw.level, problems, |text| {
            text.parse().map_err(|()| "accepted are error, warn, info, debug, trace".to_owned())
        })
        .unwrap_or_default(),
        target: optional(raw.target, problems, |text| {
            text.parse().map_err(|()| "accepted are terminal, journald".to_owned())
        })
        .unwrap_or_default(),
    }
}

fn check_hypervisor(
    raw: RawHypervisor,
    run_dir: &Path,
    problems: &mut Problems,
) -> HypervisorConfig {
    let embedded = optional(raw.kind, problems, |text| match text {
        "libvirt" => Ok(false),
        "embedded" => Ok(true),
        _ => Err("accepted are libvirt, embedded".to_owned()),
    })
    .unwrap_or(false);
    let misplaced = if embedded { &raw.uri } else { &raw.socket };
    if let Some(entry) = misplaced {
        let kind = if embedded { "libvirt" } else { "embedded" };
        problems.at(
            entry.line,
            format!(
                "{} only belongs to kind = \"{kind}\"; remove it, or change the kind",
                entry.key
            ),
        );
    }
    let kind = if embedded {
        let socket = optional(raw.socket, problems, parse_socket);
        let socket = socket.unwrap_or_else(|| run_dir.join("hypervisor.sock"));
        HypervisorKind::Embedded { socket }
    } else {
        let uri = optional(raw.uri, problems, |text| match text.contains("://") {
            true => Ok(text.to_owned()),
            false => {
                Err("it must be a libvirt connection address such as qemu:///system".to_owned())
            }
        });
        HypervisorKind::Libvirt { uri: uri.unwrap_or_else(|| "qemu:///system".to_owned()) }
    };
    HypervisorConfig {
        kind,
        copy_storage: flag(raw.copy_storage, problems),
        direct: flag(raw.direct, problems),
    }
}

fn check_host(raw: RawHost, problems: &mut Problems) -> HostConfig {
    HostConfig {
        runtime: optional(raw.runtime, problems, |text| match text {
            "unknown" => Ok(None),
            text => {
                parse_duration(text).map(Some).map_err(|error| format!("{error}, or \"unknown\""))
            }
        })
        .flatten(),
        nic: optional(raw.nic, problems, parse_rate),
        interfaces: texts(raw.interfaces, problems, |text| Ok(text.to_owned())),
        memory_reserve: optional(raw.memory_reserve, problems, |text| {
            text.parse::<ByteSize>().map_err(|error| error.to_string())
        })
        .unwrap_or(ByteSize(1 << 30)),
    }
}

fn check_timing(raw: RawTiming, problems: &mut Problems) -> Timing {
    let before = problems.count();
    let line = raw.line;
    let base = optional(raw.preset, problems, |text| match text {
        "lan" => Ok(Timing::LAN),
        "wan" => Ok(Timing::WAN),
        "slow" => Ok(Timing::SLOW),
        _ => Err("accepted are lan, wan, slow".to_owned()),
    })
    .unwrap_or(Timing::WAN);
    let duration = |text: &str| parse_duration(text).map_err(|error| error.to_string());
    let timing = Timing {
        heartbeat: optional(raw.heartbeat, problems, duration).unwrap_or(base.heartbeat),
        dead_after: optional(raw.dead_after, problems, duration).unwrap_or(base.dead_after),
        lease: optional(raw.lease, problems, duration).unwrap_or(base.lease),
    };
    if problems.count() == before {
        check_timing_rules(timing, line, problems);
    }
    timing
}

fn check_timing_rules(timing: Timing, line: usize, problems: &mut Problems) {
    let Timing { heartbeat, dead_after, lease } = timing;
    let mut refuse = |what: String| problems.at(line, format!("[timing]: {what}"));
    if heartbeat < Duration::from_millis(100) || heartbeat > Duration::from_secs(2) {
        refuse(format!("heartbeat is {heartbeat:?}; it must be from 100ms to 2s"));
    }
    if dead_after < heartbeat.saturating_mul(3) {
        refuse(format!(
            "dead_after is {dead_after:?}; it must be at least three heartbeats of {heartbeat:?}, \
             or two lost messages would count as a death"
        ));
    }
    if lease <= heartbeat.saturating_mul(2) {
        refuse(format!(
            "lease is {lease:?}; it must be more than two heartbeats of {heartbeat:?}, \
             or one lost renewal would stop a sender"
        ));
    }
    // The drift allowance of the protocol's own configuration: 25 thousandths.
    let hand_over = dead_after.saturating_add(lease).saturating_add(lease / 40);
    if hand_over >= HAND_OVER_LIMIT {
        refuse(format!(
            "dead_after {dead_after:?} and 1.025 x lease {lease:?} make {hand_over:?}; together they \
             must be below 10s, in which the share of a dead host is in use again"
        ));
    }
}

fn check_nodes(raw: Vec<RawNode>, problems: &mut Problems) -> Vec<NodeConfig> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut peers: BTreeMap<PeerId, usize> = BTreeMap::new();
    let mut at: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    let mut nodes = Vec::new();
    for raw in raw {
        let line = raw.line;
        let place = "[[node]]";
        let name = required(raw.name, "name", place, line, problems, parse_name);
        let site = required(raw.site, "site", place, line, problems, parse_name);
        let peer = required(raw.peer, "peer", place, line, problems, parse_peer);
        if raw.address.is_none() {
            missing("address", place, line, problems);
        }
        let addresses = texts(raw.address, problems, parse_reachable);

        let mut unique = |what: String, first: Option<usize>| {
            if let Some(first) = first {
                problems.at(
                    line,
                    format!("{what} is listed already in line {first}; each node has its own"),
                );
            }
        };
        if let Some(name) = &name {
            unique(format!("node name \"{name}\""), names.insert(name.clone(), line));
        }
        if let Some(peer) = peer {
            unique(format!("peer {peer}"), peers.insert(peer, line));
        }
        for address in &addresses {
            unique(format!("address {address}"), at.insert(*address, line));
        }
        // A name whose other values are wrong is still a node for the rules that follow.
        if let (Some(name), Some(site)) = (name, site) {
            let peer = peer.unwrap_or_else(PeerId::random);
            nodes.push(NodeConfig { name, site, peer, addresses });
        }
    }
    for node in nodes.iter().filter(|node| nodes.iter().any(|other| other.site == node.name)) {
        problems.at(
            names.get(&node.name).copied().unwrap_or(1),
            format!(
                "node name \"{0}\" is also the name of a site, and `--from {0}` could mean either; \
                 give one of them another name",
                node.name
            ),
        );
    }
    nodes
}

fn check_links(
    raw: Vec<RawLink>,
    nodes: &[NodeConfig],
    problems: &mut Problems,
) -> Vec<LinkConfig> {
    let mut sites: Vec<&str> = nodes.iter().map(|node| node.site.as_str()).collect();
    sites.sort_unstable();
    sites.dedup();
    let mut pairs: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut links = Vec::new();
    for raw in raw {
        let line = raw.line;
        let site = |text: &str| match sites.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!(
                "no [[node]] is in a site of that name; there are {}",
                sites.join(", ")
            )),
        };
        let from = required(raw.from, "from", "[[link]]", line, problems, site);
        if raw.to.is_none() {
            missing("to", "[[link]]", line, problems);
        }
        let to = texts(raw.to, problems, site);
        let ceiling = optional(raw.ceiling, problems, parse_rate);
        let initial = optional(raw.initial, problems, parse_rate);
        let reserve = optional(raw.reserve, problems, parse_reserve).unwrap_or(DEFAULT_RESERVE);
        if let (Some(ceiling), Some(initial)) = (ceiling, initial)
            && initial > ceiling
        {
            problems
                .at(line, format!("initial {initial} is above the ceiling {ceiling} of this link"));
        }
        let Some(from) = from else { continue };
        for to in &to {
            if *to == from {
                problems.at(
                    line,
                    format!("site \"{from}\" is linked to itself; a link joins two sites"),
                );
            }
            if let Some(first) = pairs.insert((from.clone(), to.clone()), line) {
                problems.at(
                    line,
                    format!(
                        "the link from \"{from}\" to \"{to}\" is listed already in line {first}"
                    ),
                );
            }
        }
        links.push(LinkConfig { from, to, ceiling, reserve, initial });
    }
    links
}

const DEFAULT_RESERVE: PerMille = PerMille::new(50).expect("5 % is a share");
const MAX_RESERVE: PerMille = PerMille::new(500).expect("50 % is a share");

fn parse_reserve(text: &str) -> Result<PerMille, String> {
    let reserve = text.parse::<PerMille>().map_err(|error| error.to_string())?;
    match reserve <= MAX_RESERVE {
        true => Ok(reserve),
        false => Err(format!("at most {MAX_RESERVE} of a link may be kept free")),
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    match text.parse::<Rate>() {
        Ok(rate) if rate.bytes_per_sec() == 0 => Err("it must be more than nothing".to_owned()),
        Ok(rate) => Ok(rate),
        Err(error) => Err(error.to_string()),
    }
}

/// The names that hosts, sites and groups may have.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts_well && text.len() <= MAX_NAME_CHARS && text.chars().all(sound) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a name has 1 to {MAX_NAME_CHARS} letters, digits, - _ or . and starts with a letter or digit"
    ))
}

fn parse_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => Err("it must be an absolute path".to_owned()),
    }
}

fn parse_run_dir(text: &str) -> Result<PathBuf, String> {
    let path = parse_path(text)?;
    match text.len() <= LONGEST_RUN_DIR {
        true => Ok(path),
        false => Err(format!(
            "it has {} bytes and may have {LONGEST_RUN_DIR} bytes, since the sockets of moves stand \
             below it and the system limits their paths; choose a shorter one",
            text.len()
        )),
    }
}

fn parse_socket(text: &str) -> Result<PathBuf, String> {
    let path = parse_path(text)?;
    match text.len() <= LONGEST_SOCKET {
        true => Ok(path),
        false => Err(format!(
            "it has {} bytes and a socket's path may have {LONGEST_SOCKET}; choose a shorter one",
            text.len()
        )),
    }
}

fn parse_peer(text: &str) -> Result<PeerId, String> {
    text.parse().map_err(|_| {
        "it is not a peer id; `lifeboat init` on that host prints it (it starts with 12D3KooW)"
            .to_owned()
    })
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err("the port must not be 0".to_owned()),
        Ok(address) => Ok(address),
        Err(_) => Err(format!(
            "it must be an IP address with a port, such as 10.0.0.1:{DEFAULT_PORT} or [fd00::1]:{DEFAULT_PORT}; \
             host names are not accepted, since name servers may be gone when this is needed"
        )),
    }
}

/// Where others reach a host: all addresses of a machine at once are none.
fn parse_reachable(text: &str) -> Result<SocketAddr, String> {
    let address = parse_address(text)?;
    match address.ip().is_unspecified() || address.ip().is_multicast() {
        false => Ok(address),
        true => Err(format!(
            "no host is reached at {}; name an address of its own, such as 10.0.0.1",
            address.ip()
        )),
    }
}

fn missing(key: &str, place: &str, line: usize, problems: &mut Problems) {
    problems.at(line, format!("{place} has no {key}; it is needed"));
}

fn required<T>(
    entry: Option<Entry>,
    key: &str,
    place: &str,
    line: usize,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    if entry.is_none() {
        missing(key, place, line, problems);
    }
    optional(entry, problems, parse)
}

fn optional<T>(
    entry: Option<Entry>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let entry = entry?;
    scalar(&entry, problems, &parse)
}

/// One text, or a list of them; an empty list is a problem.
fn texts<T>(
    entry: Option<Entry>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let Some(entry) = entry else { return Vec::new() };
    match &entry.value {
        Value::List(items) if items.is_empty() => {
            problems.at(entry.line, format!("{} is an empty list; name at least one", entry.key));
            Vec::new()
        }
        Value::List(items) => {
            items.iter().filter_map(|item| scalar(item, problems, &parse)).collect()
        }
        _ => scalar(&entry, problems, &parse).into_iter().collect(),
    }
}

/// Numbers reach the parser as written, so that it can say which unit they lack.
fn scalar<T>(
    entry: &Entry,
    problems: &mut Problems,
    parse: &impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let Entry { key, line, value } = entry;
    let (shown, parsed) = match value {
        Value::Text(text) => (format!("\"{text}\""), parse(text)),
        Value::Number(text) => (text.clone(), parse(text)),
        Value::Flag(flag) => (flag.to_string(), Err("it must be text in quotes".to_owned())),
        Value::List(_) => ("[...]".to_owned(), Err("it must be one text in quotes".to_owned())),
        Value::Other(kind) => (format!("a {kind}"), Err("it must be text in quotes".to_owned())),
    };
    parsed.map_err(|reason| problems.at(*line, format!("{key} = {shown}: {reason}"))).ok()
}

fn flag(entry: Option<Entry>, problems: &mut Problems) -> bool {
    match entry {
        None => false,
        Some(Entry { value: Value::Flag(flag), .. }) => flag,
        Some(Entry { key, line, .. }) => {
            problems.at(line, format!("{key} must be true or false, without quotes"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError, Problem};
    use super::*;

    const A: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
    const B: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn nodes() -> String {
        format!(
            "[[node]]\nname = \"a1\"\nsite = \"a\"\npeer = \"{A}\"\naddress = \"10.0.0.1:7420\"\n\
             [[node]]\nname = \"b1\"\nsite = \"b\"\npeer = \"{B}\"\naddress = \"10.1.0.1:7420\"\n"
        )
    }

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("/etc/lifeboat/lifeboat.toml"), text)
    }

    /// Parses `middle` between the name and two nodes and returns what is wrong with it.
    fn problems(middle: &str) -> Vec<Problem> {
        match parse(&format!("name = \"a1\"\n{middle}\n{}", nodes())) {
            Ok(_) => vec![],
            Err(ConfigError::Invalid { problems, .. }) => problems,
            Err(error) => panic!("{error}"),
        }
    }

    /// One problem, in this line, that says all of these things.
    fn refused(middle: &str, line: usize, says: &[&str]) {
        let found = problems(middle);
        assert_eq!(found.len(), 1, "{middle}: {found:?}");
        assert_eq!(found[0].line, line, "{middle}: {found:?}");
        for part in says {
            assert!(found[0].what.contains(part), "{middle}: \"{part}\" not in {found:?}");
        }
    }

    #[test]
    fn the_smallest_file_has_working_defaults() {
        let config = parse(&format!("name = \"a1\"\n{}", nodes())).unwrap();
        assert_eq!(config.key_file, Path::new("/etc/lifeboat/node.key"));
        assert_eq!(config.listen.port(), DEFAULT_PORT);
        assert_eq!(config.timing, Timing::WAN);
        assert_eq!(config.host.memory_reserve, ByteSize(1 << 30));
        assert_eq!(
            config.hypervisor.kind,
            HypervisorKind::Libvirt { uri: "qemu:///system".to_owned() }
        );
        assert_eq!(config.own_node().site, "a");
        assert_eq!(config.other_nodes().count(), 1);
        assert_eq!(config.sites(), ["a", "b"]);
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(&format!(
            "name = \"a1\"\nkey_file = \"/k\"\nstate_dir = \"/s\"\nrun_dir = \"/r\"\n\
             listen = \"127.0.0.1:9\"\ncontrol_group = \"ops\"\n\
             [log]\nlevel = \"debug\"\ntarget = \"journald\"\n\
             [hypervisor]\nkind = \"embedded\"\nsocket = \"/x.sock\"\ncopy_storage = true\ndirect = true\n\
             [host]\nruntime = \"20m\"\nnic = \"1Gbit/s\"\ninterfaces = [\"eth0\", \"eth1\"]\nmemory_reserve = \"2GiB\"\n\
             [timing]\npreset = \"slow\"\nlease = \"4s\"\n\
             {}[[link]]\nfrom = \"a\"\nto = [\"b\"]\nceiling = \"400Mbit/s\"\nreserve = \"2.5%\"\ninitial = \"50Mbit/s\"\n",
            nodes()
        ))
        .unwrap();
        assert_eq!(config.control_socket(), Path::new("/r/lifeboat.sock"));
        assert_eq!(config.host.runtime, Some(Duration::from_secs(1200)));
        assert_eq!(config.host.interfaces, ["eth0", "eth1"]);
        assert_eq!(config.timing.heartbeat, Timing::SLOW.heartbeat);
        assert_eq!(config.timing.lease, Duration::from_secs(4));
        assert_eq!(config.links[0].ceiling, Some(Rate::from_bits_per_sec(400_000_000)));
        assert_eq!(config.links[0].reserve.get(), 25);
        assert!(config.hypervisor.copy_storage && config.hypervisor.direct);
    }

    #[test]
    fn presets_keep_the_rules() {
        for preset in ["lan", "wan", "slow"] {
            assert_eq!(problems(&format!("[timing]\npreset = \"{preset}\"")), []);
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        refused(
            "lisen = \"0.0.0.0:1\"",
            2,
            &["\"lisen\"", "at the top", "did you mean \"listen\"?"],
        );
        refused("[timing]\nheartbeet = \"1s\"", 3, &["in [timing]", "\"heartbeat\"?"]);
        refused("[timng]\nlease = \"1s\"", 2, &["\"timng\"", "\"timing\"?"]);
        refused("[log]\ncolour = \"blue\"", 3, &["known here are level, target"]);
    }

    #[test]
    fn wrong_values_say_what_is_accepted() {
        refused("listen = \"node1:7420\"", 2, &["listen", "IP address", "name servers"]);
        refused("listen = 7420", 2, &["listen = 7420", "IP address"]);
        refused("state_dir = \"state\"", 2, &["absolute"]);
        refused(&format!("run_dir = \"/{}\"", "x".repeat(59)), 2, &["60 bytes", "59 bytes"]);
        assert_eq!(problems(&format!("run_dir = \"/{}\"", "x".repeat(58))), []);
        let socket =
            format!("[hypervisor]\nkind = \"embedded\"\nsocket = \"/{}\"", "x".repeat(107));
        refused(&socket, 4, &["108 bytes", "may have 107"]);
        refused("control_group = true", 2, &["text in quotes"]);
        refused("[log]\nlevel = \"loud\"", 3, &["\"loud\"", "info"]);
        refused("[hypervisor]\nkind = \"xen\"", 3, &["libvirt, embedded"]);
        refused("[hypervisor]\nsocket = \"/x\"", 3, &["kind = \"embedded\""]);
        refused("[hypervisor]\nkind = \"embedded\"\nuri = \"qemu:///system\"", 4, &["\"libvirt\""]);
        refused("[hypervisor]\ndirect = \"yes\"", 3, &["true or false"]);
        refused("[host]\nruntime = 20", 3, &["no unit", "unknown"]);
        refused("[host]\nnic = \"1Gbps\"", 3, &["\"Gbps\"", "Gbit/s"]);
        refused("[host]\nmemory_reserve = 1024", 3, &["no unit", "GiB"]);
        refused("[host]\ninterfaces = []", 3, &["empty list"]);
        refused("[timing]\nlease = \"soon\"", 3, &["lease = \"soon\"", "ms"]);
        refused("[[log]]\nlevel = \"info\"", 2, &["write [log]"]);
    }

    #[test]
    fn timing_rules_hold_together() {
        refused("[timing]\nheartbeat = \"50ms\"", 2, &["100ms to 2s"]);
        refused("[timing]\ndead_after = \"1s\"", 2, &["three heartbeats"]);
        refused("[timing]\nlease = \"1s\"", 2, &["two heartbeats"]);
        refused("[timing]\nlease = \"8s\"", 2, &["below 10s"]);
        refused("[timing]\ndead_after = \"5920ms\"", 2, &["below 10s"]);
    }

    #[test]
    fn nodes_are_distinct_and_complete() {
        let twice = |change: &str, key: &str, says: &str| {
            let third = format!(
                "[[node]]\nname = \"c1\"\nsite = \"c\"\npeer = \"{}\"\naddress = \"10.2.0.1:1\"\n",
                PeerId::random()
            );
            let line = third.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
            let found = problems(&third.replace(&line, change));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].what.contains(says), "{found:?}");
        };
        twice("name = \"a1\"", "name", "node name \"a1\" is listed already");
        twice(&format!("peer = \"{A}\""), "peer", "is listed already");
        twice("address = \"10.0.0.1:7420\"", "address", "is listed already");
        twice("peer = \"me\"", "peer", "not a peer id");
        twice("address = \"10.2.0.1\"", "address", "with a port");
        twice("address = \"10.2.0.1:0\"", "address", "must not be 0");
        twice("address = \"0.0.0.0:7420\"", "address", "no host is reached at 0.0.0.0");
        twice("address = \"[::]:7420\"", "address", "no host is reached at ::");
        twice("name = \"c/1\"", "name", "letters, digits");
        twice("name = \"b\"", "name", "\"b\" is also the name of a site");
        twice("site = \"a1\"", "site", "\"a1\" is also the name of a site");
        twice("", "site", "has no site");
        twice("", "address", "has no address");
    }

    #[test]
    fn a_host_that_is_not_listed_is_refused() {
        let error = parse(&format!("name = \"z9\"\n{}", nodes())).unwrap_err().to_string();
        assert!(error.contains("lifeboat.toml:1:") && error.contains("\"z9\""), "{error}");
        assert!(error.contains("a1, b1"), "{error}");
    }

    #[test]
    fn links_join_two_known_sites() {
        let link = |lines: &str| format!("[[link]]\n{lines}");
        refused(&link("from = \"a\"\nto = \"a\""), 2, &["linked to itself"]);
        refused(&link("from = \"a\"\nto = [\"z\"]"), 4, &["\"z\"", "there are a, b"]);
        refused(&link("from = \"a\"\nto = []"), 4, &["empty list"]);
        refused(&link("from = \"a\""), 2, &["has no to"]);
        refused(&link("from = \"a\"\nto = [\"b\", \"b\"]"), 2, &["listed already in line 2"]);
        refused(&link("from = \"a\"\nto = \"b\"\nreserve = \"60%\""), 5, &["at most 50%"]);
        refused(
            &link("from = \"a\"\nto = \"b\"\nceiling = \"0Mbit/s\""),
            5,
            &["more than nothing"],
        );
        refused(
            &link("from = \"a\"\nto = \"b\"\nceiling = \"1Mbit/s\"\ninitial = \"2Mbit/s\""),
            2,
            &["above the ceiling"],
        );
        refused("[link]\nfrom = \"a\"\nto = \"b\"", 2, &["[[link]]"]);
    }

    #[test]
    fn all_problems_come_at_once_in_order() {
        let found = problems("listen = \"x\"\nfoo = 1\n[log]\nlevel = \"x\"\n[timing]\nlease = 4");
        let lines: Vec<usize> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 5, 7], "{found:?}");
    }

    #[test]
    fn broken_toml_names_its_line() {
        let error = parse("name = \"a1\"\nlisten = \n").unwrap_err().to_string();
        assert!(error.contains("lifeboat.toml:2: not valid TOML"), "{error}");
        let error = parse("name = \"a1\"\nname = \"a2\"\n").unwrap_err().to_string();
        assert!(error.contains("lifeboat.toml:2: not valid TOML"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_says_how_to_make_one() {
        let error = Config::load(Path::new("/nonexistent/lifeboat.toml")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent") && error.contains("lifeboat init"), "{error}");
    }

    #[test]
    fn a_key_that_is_not_the_listed_one_is_refused() {
        let config = parse(&format!("name = \"a1\"\n{}", nodes())).unwrap();
        assert!(config.verify_identity(A.parse().unwrap()).is_ok());
        let error = config.verify_identity(B.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(A) && error.contains(B) && error.contains("node.key"), "{error}");
    }
}
