//! `lifeboat vms`: the virtual machines of all hosts.

use comfy_table::Cell;

use super::args::VmsArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{print, print_json, remark};
use super::table::{Mood, cell, table, text};
use super::words::{is_large, short, size};
use crate::api::{HostInfo, Request, Status, VmInfo};

/// Asks and prints.
pub(super) async fn run(daemon: &Daemon, args: &VmsArgs) -> Result<(), Failure> {
    let status: Status = daemon.ask(&Request::Status).await?;
    let known: Vec<&str> = status.hosts.iter().map(|host| host.name.as_str()).collect();
    refuse_unknown(&args.host, &known)?;
    let mut vms: Vec<VmInfo> = daemon.ask(&Request::Vms).await?;
    vms.retain(|vm| is_wanted(args, vm));
    vms.sort_by(|one, other| (&one.host, &one.name).cmp(&(&other.host, &other.name)));
    let not_known = not_known(&status, &args.host);
    if args.client.json {
        not_known.iter().for_each(|why| remark(why));
        return print_json(&vms);
    }
    let listed = match (vms.as_slice(), args.host.is_empty() && args.state.is_empty()) {
        ([], true) if not_known.is_empty() => "There is no VM on any host.".to_owned(),
        ([], true) => "No VM is known.".to_owned(),
        ([], false) => "No VM matches; `lifeboat vms` lists all of them.".to_owned(),
        (vms, _) => render(vms),
    };
    print(&[vec![listed], not_known].concat().join("\n"))
}

/// Of which of the hosts that were asked for it is not known what they run, and why.
fn not_known(status: &Status, asked: &[String]) -> Vec<String> {
    let hosts = |is_meant: &dyn Fn(&HostInfo) -> bool| -> Vec<&str> {
        let asked_for = |host: &&HostInfo| asked.is_empty() || asked.contains(&host.name);
        let meant = status.hosts.iter().filter(asked_for).filter(|host| is_meant(host));
        meant.map(|host| host.name.as_str()).collect()
    };
    let heard = |host: &HostInfo| matches!(host.state.as_str(), "alive" | "suspected");
    let down = hosts(&|host| heard(host) && !host.hypervisor_up);
    let told = |host: &HostInfo| host.vms_told || down.contains(&host.name.as_str());
    let untold = hosts(&|host| !told(host) && (heard(host) || host.state == "distant"));
    let silent = hosts(&|host| !heard(host) && host.state != "distant");
    let mut text = Vec::new();
    if !silent.is_empty() {
        text.push(format!(
            "Not heard, so that it is not known what they run now: {}",
            silent.join(", ")
        ));
    }
    if !down.is_empty() {
        text.push(format!(
            "No hypervisor answers, so that it is not known what they run now: {}",
            down.join(", ")
        ));
    }
    if !untold.is_empty() {
        let why = match is_large(status.hosts.len()) {
            true => {
                "In a cluster of more than 32 hosts none tells the others of its VMs: `lifeboat vms` \
                 on each of these lists them."
            }
            false => "They have been heard for some seconds only: ask again.",
        };
        text.push(format!("Not told here what they run: {}. {why}", untold.join(", ")));
    }
    text
}

/// Refuses names that no host has.
pub(super) fn refuse_unknown(asked: &[String], known: &[&str]) -> Result<(), Failure> {
    match asked.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Failure::Usage(format!(
            "there is no host {name:?} in the cluster file; known: {}",
            known.join(", ")
        ))),
    }
}

fn is_wanted(args: &VmsArgs, vm: &VmInfo) -> bool {
    (args.host.is_empty() || args.host.contains(&vm.host))
        && (args.state.is_empty() || args.state.contains(&vm.state))
}

/// Where the column of groups stands, if any VM belongs to one.
const GROUP_AT: usize = 5;

/// The VMs with what keeps them.
pub(super) fn render(vms: &[VmInfo]) -> String {
    let with_groups = vms.iter().any(|vm| vm.group.is_some());
    let mut titles = vec![
        "vm",
        "host",
        "state",
        "guest",
        "?>priority",
        "?>memory",
        ">to send",
        "~why it does not move",
    ];
    if with_groups {
        titles.insert(GROUP_AT, "?group");
    }
    let mut made = table(&titles);
    for vm in vms {
        let mood = match vm.state.as_str() {
            "failed" | "unknown" => Mood::Bad,
            _ if !vm.reasons.is_empty() => Mood::Warning,
            _ => Mood::Plain,
        };
        let mut row = vec![
            Cell::new(short(&vm.name)),
            Cell::new(&vm.host),
            cell(&vm.state, mood),
            Cell::new(vm.run_state.replace('_', " ")),
            Cell::new(vm.priority),
            Cell::new(size(vm.memory_bytes)),
            Cell::new(size(vm.remaining_bytes)),
            Cell::new(why(vm)),
        ];
        if with_groups {
            row.insert(GROUP_AT, Cell::new(vm.group.as_deref().unwrap_or("-")));
        }
        made.add_row(row);
    }
    text(made)
}

/// What keeps it, or why no more is known of it.
fn why(vm: &VmInfo) -> String {
    let is_old = vm.run_state == "unknown" && vm.state != "unknown" && vm.reasons.is_empty();
    match is_old {
        true => format!("{} is not heard: this is what it said last", vm.host),
        false => vm.reasons.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::ClientArgs;
    use crate::cli::samples::{host, status, vm};

    #[test]
    fn groups_are_shown_where_there_are_any() {
        let alone = vm("web", "a1", "queued");
        let grouped = VmInfo { group: Some("shop".to_owned()), ..vm("db", "a1", "queued") };
        assert!(!render(std::slice::from_ref(&alone)).contains("GROUP"));
        let text = render(&[alone, grouped]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("PRIORITY  GROUP"), "{text}");
        assert!(lines[1].contains(" - ") && lines[2].contains(" shop "), "{text}");
    }

    #[test]
    fn all_reasons_are_shown() {
        let text = render(&[VmInfo {
            reasons: vec!["it has a PCI device".to_owned(), "b1: no room".to_owned()],
            ..vm("web", "a1", "queued")
        }]);
        assert!(text.contains("it has a PCI device\n"), "{text}");
        assert!(text.contains("b1: no room"), "{text}");
    }

    #[test]
    fn what_a_silent_host_said_last_is_called_that() {
        let unheard = VmInfo { run_state: "unknown".to_owned(), ..vm("web", "a1", "moving") };
        let text = render(std::slice::from_ref(&unheard));
        assert!(text.contains("a1 is not heard: this is what it said last"), "{text}");
        let uncertain = VmInfo { state: "unknown".to_owned(), ..unheard };
        assert!(!render(&[uncertain]).contains("not heard"), "its host may well be heard");
    }

    #[test]
    fn a_host_that_does_not_exist_is_refused() {
        let asked =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(refuse_unknown(&asked(&["a1", "b1"]), &["a1", "b1"]).is_ok());
        let refused = refuse_unknown(&asked(&["a1", "zz"]), &["a1", "b1"]);
        assert!(matches!(refused, Err(Failure::Usage(why)) if why.contains("\"zz\"")));
    }

    #[test]
    fn hosts_that_may_run_more_are_named() {
        let mut status = status();
        assert!(not_known(&status, &[]).is_empty());
        status.hosts[0].hypervisor_up = false;
        status.hosts[0].vms_told = false;
        status.hosts[1].state = "distant".to_owned();
        status.hosts[1].vms_told = false;
        let said = not_known(&status, &[]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("No hypervisor answers") && said[0].ends_with("a1"));
        assert!(said[1].starts_with("Not told here what they run: b1. They have been heard"));
        let hosts = status.hosts.clone();
        status.hosts.extend((0..31).map(|n| host(&format!("c{n}"), "c")));
        let said = not_known(&status, &[]);
        assert!(said[1].contains("In a cluster of more than 32 hosts"), "{said:?}");
        status.hosts = hosts;
        status.hosts[1].state = "dead".to_owned();
        let said = not_known(&status, &["b1".to_owned()]);
        assert_eq!(said, ["Not heard, so that it is not known what they run now: b1"]);
    }

    #[test]
    fn filters_are_all_met() {
        let check = |hosts: &[&str], states: &[&str], expect: bool| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let client = ClientArgs { socket: None, json: false };
            let args = VmsArgs { host: owned(hosts), state: owned(states), client };
            assert_eq!(is_wanted(&args, &vm("web", "a1", "queued")), expect, "{args:?}");
        };
        check(&[], &[], true);
        check(&["a1", "a2"], &[], true);
        check(&["a2"], &[], false);
        check(&["a1"], &["failed"], false);
        check(&["a1"], &["failed", "queued"], true);
    }
}
