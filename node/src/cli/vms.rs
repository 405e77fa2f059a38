//! `lifeboat vms`: the virtual machines of all hosts.

use comfy_table::Cell;

use super::args::VmsArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{print, print_json};
use super::table::{Mood, cell, table, text};
use super::words::size;
use crate::api::{Request, Status, VmInfo};

/// Asks and prints.
pub(super) async fn run(daemon: &Daemon, args: &VmsArgs) -> Result<(), Failure> {
    if !args.host.is_empty() {
        let status: Status = daemon.ask(&Request::Status).await?;
        let known: Vec<&str> = status.hosts.iter().map(|host| host.name.as_str()).collect();
        unknown(&args.host, &known)?;
    }
    let mut vms: Vec<VmInfo> = daemon.ask(&Request::Vms).await?;
    vms.retain(|vm| is_wanted(args, vm));
    vms.sort_by(|one, other| (&one.host, &one.name).cmp(&(&other.host, &other.name)));
    if args.client.json {
        return print_json(&vms);
    }
    match (vms.as_slice(), args.host.is_empty() && args.state.is_empty()) {
        ([], true) => print("There is no VM on any host that is heard."),
        ([], false) => print("No VM matches; `lifeboat vms` lists all of them."),
        (vms, _) => print(&render(vms)),
    }
}

/// Refuses names that no host has.
fn unknown(asked: &[String], known: &[&str]) -> Result<(), Failure> {
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

/// The VMs with what keeps them.
pub(super) fn render(vms: &[VmInfo]) -> String {
    let mut made = table(&[
        "vm",
        "host",
        "state",
        "guest",
        "?>priority",
        "?>memory",
        ">to send",
        "~why it does not move",
    ]);
    for vm in vms {
        let mood = match vm.state.as_str() {
            "failed" | "unknown" => Mood::Bad,
            _ if !vm.reasons.is_empty() => Mood::Warning,
            _ => Mood::Plain,
        };
        made.add_row(vec![
            Cell::new(&vm.name),
            Cell::new(&vm.host),
            cell(&vm.state, mood),
            Cell::new(vm.run_state.replace('_', " ")),
            Cell::new(vm.priority),
            Cell::new(size(vm.memory_bytes)),
            Cell::new(size(vm.remaining_bytes)),
            Cell::new(vm.reasons.join("\n")),
        ]);
    }
    text(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::ClientArgs;
    use crate::cli::samples::vm;

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
    fn a_host_that_does_not_exist_is_refused() {
        let asked =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(unknown(&asked(&["a1", "b1"]), &["a1", "b1"]).is_ok());
        let refused = unknown(&asked(&["a1", "zz"]), &["a1", "b1"]);
        assert!(matches!(refused, Err(Failure::Usage(why)) if why.contains("\"zz\"")));
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
