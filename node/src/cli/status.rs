//! `lifeboat status`: what is wrong, hosts, links, evacuations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::Cell;

use super::args::StatusArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{print, print_json};
use super::table::{Mood, Sheet, cell, row, table, text};
use super::words::{
    ended, maybe_time, not_heard_from, percent, rate, rate_in_both, runs_twice, size, time,
    time_left, uncertain, vms,
};
use crate::api::{EvacuationInfo, HostInfo, LinkInfo, Request, Status};

/// Evacuations that ended are shown for so long after they were started: an hour.
const SHOWN_FOR_MS: u64 = 3_600_000;

/// Most VMs that are nowhere for certain of which each has a line among the problems.
const UNCERTAIN_SHOWN: usize = 8;

/// Asks and prints.
pub(super) async fn run(daemon: &Daemon, args: &StatusArgs) -> Result<(), Failure> {
    let status: Status = daemon.ask(&Request::Status).await?;
    match args.client.json {
        true => print_json(&status),
        false => print(&render(&status, args.all)),
    }
}

/// All of it; of the evacuations that ended long ago only if `all`.
fn render(status: &Status, all: bool) -> String {
    let mut out = String::new();
    let problems = problems(status);
    if !problems.is_empty() {
        out.push_str("PROBLEMS\n");
        for problem in problems {
            let _ = writeln!(out, "! {problem}");
        }
        out.push('\n');
    }
    let _ = write!(out, "HOSTS, as {} in {} sees them\n{}\n", status.node, status.site, {
        hosts(&status.hosts)
    });
    out.push_str(&who_sees_more(status));
    if !status.links.is_empty() {
        let _ = write!(out, "\nLINKS\n{}\n", links(&status.links));
    }
    out.push_str(&evacuations(&status.evacuations, all));
    out
}

fn evacuations(evacuations: &[EvacuationInfo], all: bool) -> String {
    let shown: Vec<&EvacuationInfo> =
        evacuations.iter().filter(|one| all || is_of_now(one)).collect();
    let older = match evacuations.len() - shown.len() {
        0 => String::new(),
        1 => "\nOne that ended is older than an hour: `lifeboat status --all` shows it.".to_owned(),
        n => {
            format!("\n{n} that ended are older than an hour: `lifeboat status --all` shows them.")
        }
    };
    match (evacuations, shown.as_slice()) {
        ([], _) => "\nNo evacuation has been started.".to_owned(),
        (_, []) => format!("\nNo evacuation is active.{older}"),
        (_, shown) => format!("\nEVACUATIONS\n{}{older}", table_of_evacuations(shown)),
    }
}

/// In a large cluster: that this host does not see all, and whom to ask.
fn who_sees_more(status: &Status) -> String {
    if !status.hosts.iter().any(|host| host.state == "distant") {
        return String::new();
    }
    let mut stewards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in status.hosts.iter().filter(|host| host.steward) {
        stewards.entry(&host.site).or_default().push(&host.name);
    }
    let mut text = format!(
        "\nThis cluster has {} hosts, more than 32: hosts that are distant have no reason to speak to \
         {}.\nAll hosts of a site are heard by its stewards:\n",
        status.hosts.len(),
        status.node
    );
    for (site, stewards) in stewards {
        let _ = writeln!(text, "  {site}: {}", stewards.join(", "));
    }
    text
}

/// Whether it was not ended; one that is done takes what comes back, and still bars arrivals.
fn is_active(one: &EvacuationInfo) -> bool {
    matches!(one.state.as_str(), "active" | "done")
}

/// Whether it is shown without being asked for.
fn is_of_now(one: &EvacuationInfo) -> bool {
    is_active(one) || one.age_ms <= SHOWN_FOR_MS
}

/// Everything that a person should look at, the worst first.
fn problems(status: &Status) -> Vec<String> {
    let own = &status.node;
    let mut problems = Vec::new();
    if let Some(why) = &status.hypervisor_down {
        problems.push(format!("the hypervisor of {own} does not answer: {why}"));
    }
    if let Some(why) = &status.journal_failed {
        problems.push(format!(
            "the journal of {own} cannot be written, so it starts no move and takes no arrival: {why}"
        ));
    }
    if !status.carrier_up {
        let what = "nothing can move from or to this host";
        problems.push(match &status.carrier_failed {
            Some(why) => format!("the carrier of {own} cannot be started, so {what}: {why}"),
            None => format!("the carrier of {own} does not answer: {what}"),
        });
    }
    if let Some(why) = &status.carrier_differs {
        problems.push(format!(
            "the carrier of {own} runs with another configuration than its daemon: {why}. It is \
             replaced as soon as nothing moves from or to this host; to have it at once, at the cost of \
             what moves, stop the daemon, give `lifeboat carrier --stop`, and start the daemon"
        ));
    }
    for host in status.hosts.iter().filter(|host| host.name != *own) {
        match host.state.as_str() {
            "alive" | "left" | "distant" => {}
            "unseen" => problems.push(format!("{} has not been heard yet", host.name)),
            state => problems.push(format!("{} is {state}", host.name)),
        }
        if is_heard(host) && !host.hypervisor_up {
            problems.push(format!("the hypervisor of {} does not answer", host.name));
        }
        if is_heard(host) && host.journal_fails {
            problems.push(format!(
                "the journal of {0} cannot be written, so it starts no move and takes no arrival: \
                 `lifeboat status` on {0} says why",
                host.name
            ));
        }
    }
    for link in status.links.iter().filter(|link| link.contested_slices > 0) {
        problems.push(format!(
            "two issuers claim {} slices of link {}: its receiving site is split",
            link.contested_slices, link.name
        ));
    }
    problems.extend(status.doubles.iter().map(runs_twice));
    problems.extend(status.uncertain.iter().take(UNCERTAIN_SHOWN).map(uncertain));
    let movers =
        status.evacuations.iter().filter(|one| one.merged_into.is_none() && is_of_now(one));
    problems.extend(movers.flat_map(|one| &one.ended).map(ended));
    let shown = status.doubles.len() + status.uncertain.len().min(UNCERTAIN_SHOWN);
    status.evacuations.iter().for_each(|one| problems.extend(troubles(one, shown)));
    problems
}

/// `shown`: how many VMs are named already that are nowhere for certain.
fn troubles(one: &EvacuationInfo, shown: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if one.state != "active" {
        return problems;
    }
    let id = &one.id;
    if one.vms_unknown as usize > shown {
        problems.push(format!(
            "evacuation {id}: of {} the place is not certain; see `lifeboat vms --state unknown`",
            vms(one.vms_unknown as usize)
        ));
    }
    if one.vms_stuck > 0 {
        problems.push(format!(
            "evacuation {id}: {} cannot leave for now; `lifeboat report {id}` says why",
            vms(one.vms_stuck as usize)
        ));
    }
    if !one.silent.is_empty() {
        problems.push(format!("evacuation {id}: {}", not_heard_from(one)));
    }
    if !one.distant.is_empty() {
        let hosts = one.distant.join(", ");
        problems.push(format!("evacuation {id}: not known here what is left on: {hosts}"));
    }
    if !one.hypervisor_down.is_empty() {
        let hosts = one.hypervisor_down.join(", ");
        problems.push(format!("evacuation {id}: no hypervisor answers on: {hosts}"));
    }
    if let (Some(left), Some(deadline)) = (time_left(one), one.deadline_left_ms)
        && left > deadline
    {
        problems.push(format!(
            "evacuation {id}: at the present rate it ends {} after its deadline",
            time(left - deadline)
        ));
    }
    problems
}

fn is_heard(host: &HostInfo) -> bool {
    matches!(host.state.as_str(), "alive" | "suspected")
}

fn hosts(hosts: &[HostInfo]) -> String {
    text(sheet_of_hosts(hosts))
}

fn sheet_of_hosts(hosts: &[HostInfo]) -> Sheet {
    let mut made = table(&[
        "host",
        "site",
        "state",
        ">free",
        "?>of",
        "?>cpu idle",
        "?>sends",
        "?>receives",
        ">runtime",
        ">to leave",
        ">stuck",
        "?>rtt",
    ]);
    for host in hosts {
        let (state, mood) = state_of(host);
        let known = |text: String| if is_heard(host) { text } else { "-".to_owned() };
        let idle = percent(u64::from(host.cpu_free_permille), 1000);
        let stuck = if host.vms_stuck == 0 { Mood::Plain } else { Mood::Warning };
        made.add_row(vec![
            Cell::new(&host.name),
            Cell::new(&host.site),
            cell(state, mood),
            Cell::new(known(size(host.memory_free_bytes))),
            Cell::new(known(size(host.memory_total_bytes))),
            Cell::new(known(idle)),
            Cell::new(known(rate(host.nic_sent_bytes_per_sec))),
            Cell::new(known(rate(host.nic_received_bytes_per_sec))),
            Cell::new(known(maybe_time(host.runtime_left_ms))),
            Cell::new(known(host.vms_left.to_string())),
            cell(known(host.vms_stuck.to_string()), stuck),
            Cell::new(host.round_trip_us.map_or_else(|| "-".to_owned(), round_trip)),
        ]);
    }
    made
}

fn state_of(host: &HostInfo) -> (String, Mood) {
    let mood = match host.state.as_str() {
        "alive" | "distant" => Mood::Plain,
        "suspected" | "unseen" | "left" => Mood::Warning,
        _ => Mood::Bad,
    };
    if !is_heard(host) {
        return (host.state.clone(), mood);
    }
    match (host.hypervisor_up, host.takes_arrivals) {
        (false, _) => (format!("{}, no hypervisor", host.state), Mood::Bad),
        _ if host.journal_fails => (format!("{}, no journal", host.state), Mood::Bad),
        (true, false) => (format!("{}, no arrivals", host.state), mood),
        (true, true) => (host.state.clone(), mood),
    }
}

fn round_trip(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds}us"),
        _ => format!("{}.{}ms", microseconds / 1_000, microseconds % 1_000 / 100),
    }
}

/// The links, with who may use them.
pub(super) fn links(links: &[LinkInfo]) -> String {
    let mut made =
        table(&["link", ">carries", ">arrives", ">use", "?>rtt", "~tokens of 1000", "?issued by"]);
    for link in links {
        let senders =
            link.senders.iter().filter(|one| one.tokens > 0 || one.sent_bytes_per_sec > 0);
        let senders = senders.map(|one| {
            let sent = rate(one.sent_bytes_per_sec);
            format!("{} {}: {sent}, {}", one.host, one.tokens, held_back(&one.held_back))
        });
        let issuers = link.issuers.iter().map(|one| format!("{} {}", one.host, one.tokens));
        made.add_row(row([
            link.name.clone(),
            rate_in_both(link.capacity_bytes_per_sec),
            rate(link.arrived_bytes_per_sec),
            percent(link.arrived_bytes_per_sec, link.capacity_bytes_per_sec),
            round_trip(link.round_trip_us),
            or_dash(senders.collect()),
            or_dash(issuers.collect()),
        ]));
    }
    text(made)
}

fn held_back(by: &str) -> &str {
    match by {
        "tokens" => "held back by its tokens",
        "link" => "held back by the link",
        "source" => "held back by its own host",
        other => other,
    }
}

fn or_dash(lines: Vec<String>) -> String {
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n") }
}

fn table_of_evacuations(evacuations: &[&EvacuationInfo]) -> String {
    text(sheet_of_evacuations(evacuations))
}

fn sheet_of_evacuations(evacuations: &[&EvacuationInfo]) -> Sheet {
    let mut made = table(&[
        "id",
        "from",
        "to",
        "state",
        "?>started",
        ">arrived",
        ">to leave",
        ">stuck",
        "?>left",
        ">ends in",
        "?>deadline in",
    ]);
    for one in evacuations {
        let state = match &one.merged_into {
            Some(id) if one.state == "active" => format!("active, merged into {id}"),
            _ => one.state.clone(),
        };
        let if_active = |text: String| match one.state.as_str() {
            "active" => text,
            _ => "-".to_owned(),
        };
        let deadline = match one.deadline_left_ms {
            Some(0) => "past".to_owned(),
            Some(left) => time(left),
            None => "none".to_owned(),
        };
        made.add_row(row([
            one.id.clone(),
            one.from.join(", "),
            one.to.join(", "),
            state,
            format!("{} ago", time(one.age_ms)),
            one.vms_arrived.to_string(),
            if_active((one.vms_left + one.vms_not_heard).to_string()),
            if_active(one.vms_stuck.to_string()),
            if_active(size(one.bytes_left)),
            if_active(maybe_time(time_left(one))),
            if_active(deadline),
        ]));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DoubleInfo, IssuerInfo, SenderInfo, VmInfo};
    use crate::cli::samples::{self, evacuation, host, link, status, vm};
    use crate::cli::table::text_within;

    #[test]
    fn where_all_is_well_there_are_no_problems() {
        let text = render(&status(), false);
        assert!(text.starts_with("HOSTS, as a1 in a sees them\nHOST"), "{text}");
        assert!(text.contains("No evacuation has been started."), "{text}");
    }

    #[test]
    fn problems_come_first_and_the_worst_of_them_first() {
        let mut status = status();
        status.hypervisor_down = Some("connection refused".to_owned());
        status.journal_failed = Some("no space left".to_owned());
        status.carrier_up = false;
        status.hosts[1].state = "dead".to_owned();
        status.evacuations = vec![EvacuationInfo {
            vms_left: 3,
            vms_stuck: 1,
            silent: vec!["a2".to_owned()],
            vms_not_heard: 2,
            vms_unknown: 1,
            remaining_ms: Some(90_000),
            deadline_left_ms: Some(60_000),
            ..evacuation()
        }];
        let hosts = vec!["a1".to_owned(), "b1".to_owned()];
        status.doubles = vec![DoubleInfo { name: "db".to_owned(), hosts }];
        status.uncertain = vec![VmInfo {
            reasons: vec!["a2 does not say".to_owned()],
            ..vm("web", "b1", "unknown")
        }];
        let text = render(&status, false);
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
        let expect = [
            "hypervisor of a1 does not answer: connection refused",
            "no space left",
            "carrier of a1",
            "b1 is dead",
            "db runs twice: a1 and b1 say that they run it",
            "web on b1: it is not certain where it runs: a2 does not say",
            "1 VM cannot leave",
            "not heard from: a2, where 2 VMs had still to leave when last heard",
            "ends 30s after its deadline",
        ];
        assert_eq!(found.len(), expect.len(), "{text}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found}: {expect}");
        }
        assert!(text.starts_with("PROBLEMS\n"), "{text}");
        let left = text.lines().last().unwrap().split_whitespace().nth(7);
        assert_eq!(left, Some("5"), "what is at a silent host has not left: {text}");
        status.carrier_failed = Some("the port 7420 is taken".to_owned());
        let text = render(&status, false);
        assert!(text.contains("cannot be started, so nothing can move"), "{text}");
        assert!(text.contains("this host: the port 7420 is taken\n"), "{text}");
    }

    #[test]
    fn what_has_to_be_started_is_a_problem_while_its_evacuation_is_of_now() {
        let mut status = status();
        let done = EvacuationInfo {
            state: "done".to_owned(),
            age_ms: 9_000_000,
            ended: vec![samples::ended("db")],
            ..evacuation()
        };
        let merged = EvacuationInfo { merged_into: Some(done.id.clone()), ..done.clone() };
        status.evacuations = vec![done, merged];
        let text = render(&status, false);
        let expect = "PROBLEMS\n! db ran when its move began, ended at a1 while it moved, and is at b1, \
                      shut off: start it there\n\n";
        assert!(text.starts_with(expect), "{text}");
        status.evacuations[0].state = "cancelled".to_owned();
        assert!(!render(&status, true).contains("PROBLEMS"));
    }

    #[test]
    fn a_journal_that_fails_on_another_host_is_a_problem() {
        let mut status = status();
        status.hosts[1].journal_fails = true;
        status.hosts[1].takes_arrivals = false;
        let text = render(&status, false);
        assert!(
            text.contains("! the journal of b1 cannot be written, so it starts no move"),
            "{text}"
        );
        assert!(text.contains("b1    b     alive, no journal"), "{text}");
        status.hosts[1].state = "dead".to_owned();
        assert!(!render(&status, false).contains("journal"), "what it said last is old");
    }

    #[test]
    fn what_ended_long_ago_is_only_counted() {
        let one = |id: &str, state: &str, age_ms| EvacuationInfo {
            id: id.to_owned(),
            state: state.to_owned(),
            age_ms,
            vms_left: 77,
            ..evacuation()
        };
        let many =
            [one("1", "cancelled", 9_000_000), one("2", "done", 9_000_000), one("3", "aborted", 9)];
        let text = evacuations(&many, false);
        let ids: Vec<&str> = text.lines().filter_map(|line| line.split("  ").next()).collect();
        assert_eq!(ids[..4], ["", "EVACUATIONS", "ID", "2"], "{text}");
        assert!(text.contains("\n3 ") && !text.contains("\n1 "), "{text}");
        assert!(
            text.ends_with(
                "One that ended is older than an hour: `lifeboat status --all` shows it."
            )
        );
        assert!(!text.contains("77"), "the figures of another one: {text}");
        assert!(evacuations(&many, true).contains("\n1 "));
        assert!(evacuations(&many[..1], false).contains("No evacuation is active."));
    }

    #[test]
    fn tables_fit_a_terminal_of_80_columns() {
        let mut gone = host("a1", "a");
        gone.takes_arrivals = false;
        gone.runtime_left_ms = Some(1_200_000);
        let made = sheet_of_hosts(&[gone, host("b1", "b")]);
        let text = text_within(made, Some(80));
        assert!(text.lines().all(|line| line.starts_with('(') || line.len() <= 80), "{text}");
        assert!(text.contains("alive, no arrivals") && text.contains("20m"), "{text}");
        let one = EvacuationInfo { deadline_left_ms: Some(600_000), ..evacuation() };
        let text = text_within(sheet_of_evacuations(&[&one]), Some(80));
        assert!(text.lines().all(|line| line.starts_with('(') || line.len() <= 80), "{text}");
        assert!(text.contains("68f3a2c100000007  a"), "{text}");
    }

    #[test]
    fn links_show_who_holds_what() {
        let text = links(&[LinkInfo {
            senders: vec![
                SenderInfo {
                    host: "a1".to_owned(),
                    tokens: 600,
                    sent_bytes_per_sec: 25_000_000,
                    held_back: "tokens".to_owned(),
                },
                SenderInfo {
                    host: "a2".to_owned(),
                    tokens: 0,
                    sent_bytes_per_sec: 0,
                    held_back: "idle".to_owned(),
                },
            ],
            issuers: vec![IssuerInfo { host: "b1".to_owned(), tokens: 1000 }],
            ..link("a>b")
        }]);
        assert!(text.contains("400 Mbit/s (47.7 MiB/s)"), "{text}");
        assert!(text.contains("a1 600: 200 Mbit/s, held back by its tokens"), "{text}");
        assert!(!text.contains("a2"), "{text}");
        assert!(text.contains("b1 1000"), "{text}");
    }

    #[test]
    fn a_distant_host_is_no_problem_and_it_is_said_whom_to_ask() {
        let mut status = status();
        status.hosts.push(HostInfo { steward: true, ..host("a2", "a") });
        status.hosts.push(HostInfo { steward: true, ..host("b2", "b") });
        status.hosts[1].state = "distant".to_owned();
        status.hosts[1].hypervisor_up = false;
        let text = render(&status, false);
        assert!(!text.contains("PROBLEMS"), "{text}");
        assert!(text.contains("b1    b     distant"), "{text}");
        assert!(text.contains("has 4 hosts, more than 32"), "{text}");
        assert!(text.contains("by its stewards:\n  a: a2\n  b: b2\n"), "{text}");
    }

    #[test]
    fn what_is_not_heard_is_not_made_up() {
        let mut silent = host("b1", "b");
        silent.state = "unseen".to_owned();
        silent.hypervisor_up = false;
        let text = hosts(&[silent]);
        assert!(text.contains("unseen") && !text.contains("hypervisor"), "{text}");
        assert!(!text.contains("GiB"), "{text}");
    }
}
