//! `lifeboat cancel`: ending evacuations, and the operator's word that a host is dead.

use super::args::CancelArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{ask, can_ask, print, print_json};
use crate::api::{Request, Status, VmInfo};

/// Does what was asked.
pub(super) async fn run(daemon: &Daemon, args: &CancelArgs) -> Result<(), Failure> {
    match &args.declare_dead {
        Some(host) => declare_dead(daemon, args, host).await,
        None => cancel(daemon, args).await,
    }
}

async fn cancel(daemon: &Daemon, args: &CancelArgs) -> Result<(), Failure> {
    let request = Request::Cancel { id: args.id.clone(), abort: args.abort };
    let ids: Vec<String> = daemon.ask(&request).await?;
    if args.client.json {
        return print_json(&ids);
    }
    for id in &ids {
        print(&format!(
            "evacuation {id} is {}",
            match args.abort {
                false => "cancelled: no further VM starts to move, those on their way arrive",
                true => {
                    "aborted: no further VM starts to move, those on their way stay where they are"
                }
            }
        ))?;
    }
    Ok(())
}

async fn declare_dead(daemon: &Daemon, args: &CancelArgs, host: &str) -> Result<(), Failure> {
    let status: Status = daemon.ask(&Request::Status).await?;
    let vms: Vec<VmInfo> = daemon.ask(&Request::Vms).await?;
    if !args.yes {
        if !can_ask() {
            return Err(Failure::Usage(
                "there is no terminal to ask on whether the host is really dead; if you know that \
                 it is, give --yes"
                    .to_owned(),
            ));
        }
        eprintln!("{}", what_waits(&status.node, &vms));
        let question = format!(
            "If {host} still runs one of them, it will run twice and its disks may be destroyed.\n\
             Do you KNOW that {host} is dead, its power off?"
        );
        if !ask(&question)? {
            return Err(Failure::NotDone("not confirmed; nothing was done".to_owned()));
        }
    }
    let answer: () = daemon.ask(&Request::DeclareDead { host: host.to_owned() }).await?;
    if args.client.json {
        return print_json(&answer);
    }
    print(&format!(
        "{} takes {host} for dead: VMs that wait here for its word run here now",
        status.node
    ))
}

/// The VMs that the word is about: only a host where copies wait can act on it.
fn what_waits(here: &str, vms: &[VmInfo]) -> String {
    let unknown = || vms.iter().filter(|vm| vm.state == "unknown");
    let on_here: Vec<&str> =
        unknown().filter(|vm| vm.host == here).map(|vm| vm.name.as_str()).collect();
    let mut elsewhere: Vec<&str> =
        unknown().filter(|vm| vm.host != here).map(|vm| vm.host.as_str()).collect();
    elsewhere.sort_unstable();
    elsewhere.dedup();
    match (on_here.as_slice(), elsewhere.as_slice()) {
        ([], []) => "No VM waits for the word of another host.".to_owned(),
        ([], elsewhere) => format!(
            "No VM waits on {here}; VMs of which it is not certain where they run are on: {}. The \
             word has to be given there.",
            elsewhere.join(", ")
        ),
        (on_here, _) => format!(
            "On {here} it is not certain of these VMs whether they run elsewhere: {}.",
            on_here.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::vm;

    #[test]
    fn the_word_is_given_where_a_copy_waits() {
        let check = |vms: &[VmInfo], expect: &str| {
            let text = what_waits("b1", vms);
            assert!(text.contains(expect), "{text}");
        };
        check(&[vm("web", "b1", "moving")], "No VM waits for the word");
        check(&[vm("web", "b1", "unknown"), vm("db", "b2", "unknown")], "elsewhere: web.");
        check(&[vm("web", "b2", "unknown"), vm("db", "b2", "unknown")], "are on: b2. The word");
    }
}
