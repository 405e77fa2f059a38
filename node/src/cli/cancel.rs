//! `lifeboat cancel`: ending evacuations, and the operator's word that a host is dead.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::args::CancelArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::output::{ask, can_ask, print, print_json, remark};
use super::vms;
use crate::api::{Cancelled, Declared, Request, Status, VmInfo};

/// How long VMs may take to run once their source is declared dead.
const RUNS_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Does what was asked.
pub(super) async fn run(daemon: &Daemon, args: &CancelArgs) -> Result<(), Failure> {
    match &args.declare_dead {
        Some(host) => declare_dead(daemon, args, host).await,
        None => cancel(daemon, args).await,
    }
}

async fn cancel(daemon: &Daemon, args: &CancelArgs) -> Result<(), Failure> {
    let request = Request::Cancel { id: args.id.clone(), abort: args.abort };
    let cancelled: Vec<Cancelled> = daemon.ask(&request).await?;
    if args.client.json {
        return print_json(&cancelled);
    }
    cancelled.iter().try_for_each(|one| print(&what_it_is_now(one)))
}

fn what_it_is_now(one: &Cancelled) -> String {
    let Cancelled { id, state, was_so, was_done, goes_on } = one;
    let now = match (was_so, was_done) {
        (true, _) => format!("evacuation {id} was {state} before, and stays so"),
        (false, true) => format!("evacuation {id}, which was done, is {state}"),
        (false, false) => format!("evacuation {id} is {state}"),
    };
    let then = match state.as_str() {
        _ if !goes_on.is_empty() => {
            let others = goes_on.join(", ");
            return format!(
                "{now}, but VMs go on to leave its hosts: still active there is {others}; `lifeboat \
                 cancel` ends all that are active"
            );
        }
        _ if *was_done => "the hosts that it emptied take arrivals again",
        "aborted" => {
            "no further VM starts to move, those on their way stay where they are unless they have \
             switched over already"
        }
        _ => "no further VM starts to move, those on their way arrive",
    };
    format!("{now}: {then}")
}

async fn declare_dead(daemon: &Daemon, args: &CancelArgs, host: &str) -> Result<(), Failure> {
    let status: Status = daemon.ask(&Request::Status).await?;
    let known: Vec<&str> = status.hosts.iter().map(|host| host.name.as_str()).collect();
    vms::refuse_unknown(&[host.to_owned()], &known)?;
    let vms: Vec<VmInfo> = daemon.ask(&Request::Vms).await?;
    if !args.yes {
        if !can_ask() {
            return Err(Failure::Usage(
                "there is no terminal to ask on whether the host is really dead; if you know that \
                 it is, give --yes"
                    .to_owned(),
            ));
        }
        remark(&what_waits(&status.node, &vms));
        let question = format!(
            "If {host} runs one of them, or another host does by then, it will run twice and its disks \
             may be destroyed.\nDo you KNOW that {host} is dead, its power off?"
        );
        if !ask(&question)? {
            return Err(Failure::NotDone("not confirmed; nothing was done".to_owned()));
        }
    }
    let request = Request::DeclareDead { host: host.to_owned(), whole_site: args.whole_site };
    let declared: Declared = daemon.ask(&request).await?;
    if args.client.json {
        return print_json(&declared);
    }
    let here = &status.node;
    let Declared { not_given, freed } = declared;
    let mut waited = waiting_on(here, &vms);
    waited.retain(|name| !not_given.contains(name));
    let said = [what_is_not_given(host, here, &not_given), what_is_free(host, here, &freed)];
    for text in said.iter().flatten() {
        print(text)?;
    }
    if waited.is_empty() && said.iter().any(Option::is_some) {
        return Ok(());
    }
    let left = until_they_run(daemon, here, &waited).await?;
    print(&what_came_of_it(host, here, &waited, &left, &vms))
}

/// What can be done with VMs that had left for a host which is dead.
fn what_is_not_given(dead: &str, here: &str, names: &[String]) -> Option<String> {
    let text = format!(
        "{here} takes {dead} for dead and will never let it run what left for it: {}. Start it cold from \
         its disk on another host now; if {dead} comes back, end the copy there by hand",
        names.join(", ")
    );
    (!names.is_empty()).then_some(text)
}

/// What becomes of VMs that did not move because a host which is dead had said that it runs them, too.
fn what_is_free(dead: &str, here: &str, names: &[String]) -> Option<String> {
    let text = format!(
        "{here} takes {dead} for dead: what it said to run holds nothing back here any more: {}",
        names.join(", ")
    );
    (!names.is_empty()).then_some(text)
}

/// The names of the VMs that wait on a host for the word of another.
fn waiting_on(here: &str, vms: &[VmInfo]) -> Vec<String> {
    let waiting = vms.iter().filter(|vm| vm.state == "unknown" && vm.host == here);
    waiting.map(|vm| vm.name.clone()).collect()
}

/// Those of `waited` that still wait after a while: they wait for the word of a third host.
async fn until_they_run(
    daemon: &Daemon,
    here: &str,
    waited: &[String],
) -> Result<Vec<String>, Failure> {
    let deadline = Instant::now() + RUNS_WITHIN;
    let mut left = waited.to_vec();
    while !left.is_empty() && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
        let now = waiting_on(here, &daemon.ask::<Vec<VmInfo>>(&Request::Vms).await?);
        left.retain(|name| now.contains(name));
    }
    Ok(left)
}

fn what_came_of_it(
    dead: &str,
    here: &str,
    waited: &[String],
    left: &[String],
    vms: &[VmInfo],
) -> String {
    let run: Vec<&str> =
        waited.iter().filter(|name| !left.contains(name)).map(String::as_str).collect();
    let mut text = format!("{here} takes {dead} for dead: ");
    text += &match run.as_slice() {
        [] if waited.is_empty() => {
            format!("no VM waited here for its word{}", waits_elsewhere(&[dead, here], vms))
        }
        [] => "no VM that waits here runs by that".to_owned(),
        run => format!("it is certain now of {}; see `lifeboat vms --host {here}`", run.join(", ")),
    };
    if !left.is_empty() {
        text += &format!("; still waiting here: {}", left.join(", "));
    }
    text
}

/// Where else it is not certain of a VM where it runs: there the word may be meant to be given.
fn waits_elsewhere(but: &[&str], vms: &[VmInfo]) -> String {
    let unknown = vms.iter().filter(|vm| vm.state == "unknown" && !but.contains(&vm.host.as_str()));
    let mut hosts: Vec<&str> = unknown.map(|vm| vm.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    match hosts.as_slice() {
        [] => String::new(),
        hosts => format!(
            "; VMs of which it is not certain where they run are on: {}. The word has to be given \
             there.",
            hosts.join(", ")
        ),
    }
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

    fn cancelled(state: &str, was_so: bool) -> Cancelled {
        let (was_done, goes_on) = (false, Vec::new());
        Cancelled { id: "7".to_owned(), state: state.to_owned(), was_so, was_done, goes_on }
    }

    #[test]
    fn it_is_said_that_another_one_goes_on() {
        let goes_on = vec!["5".to_owned()];
        let text = what_it_is_now(&Cancelled { goes_on, ..cancelled("cancelled", false) });
        assert!(text.contains("is cancelled, but VMs go on to leave its hosts"), "{text}");
        assert!(text.contains("active there is 5;") && !text.contains("no further"), "{text}");
    }

    #[test]
    fn what_was_done_only_takes_arrivals_again() {
        let text = what_it_is_now(&Cancelled { was_done: true, ..cancelled("cancelled", false) });
        let expect = "evacuation 7, which was done, is cancelled: the hosts that it emptied take \
                      arrivals again";
        assert_eq!(text, expect);
    }

    #[test]
    fn the_answer_is_what_it_is_now() {
        let check = |state: &str, was_so, expect: &str| {
            let one = cancelled(state, was_so);
            let text = what_it_is_now(&one);
            assert!(text.starts_with(expect), "{text}");
            assert_eq!(text.ends_with("arrive"), state == "cancelled", "{text}");
        };
        check("cancelled", false, "evacuation 7 is cancelled: ");
        check("aborted", false, "evacuation 7 is aborted: ");
        check("aborted", true, "evacuation 7 was aborted before, and stays so: ");
    }

    #[test]
    fn what_came_of_the_word_is_what_was_seen() {
        let check = |waited: &[&str], left: &[&str], expect: &str| {
            let elsewhere = [vm("web", "b2", "unknown"), vm("old", "a3", "unknown")];
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let (waited, left): (Vec<String>, Vec<String>) = (owned(waited), owned(left));
            let text = what_came_of_it("a3", "b1", &waited, &left, &elsewhere);
            assert_eq!(text, format!("b1 takes a3 for dead: {expect}"));
        };
        check(
            &[],
            &[],
            "no VM waited here for its word; VMs of which it is not certain where they run are on: \
             b2. The word has to be given there.",
        );
        let text = what_came_of_it("a3", "b1", &[], &[], &[]);
        assert_eq!(text, "b1 takes a3 for dead: no VM waited here for its word");
        check(&["web"], &["web"], "no VM that waits here runs by that; still waiting here: web");
        check(
            &["web", "db"],
            &["db"],
            "it is certain now of web; see `lifeboat vms --host b1`; still waiting here: db",
        );
        let vms = [vm("web", "b1", "unknown"), vm("db", "b2", "unknown"), vm("x", "b1", "moving")];
        assert_eq!(waiting_on("b1", &vms), ["web"]);
    }

    #[test]
    fn what_left_for_a_dead_host_can_be_started_cold() {
        let text = what_is_not_given("b1", "a1", &["web".to_owned()]).expect("one");
        assert!(text.contains("left for it: web. Start it cold"), "{text}");
        let text = what_is_free("b1", "a1", &["web".to_owned()]).expect("one");
        assert!(text.ends_with("holds nothing back here any more: web"), "{text}");
        assert_eq!(
            (what_is_not_given("b1", "a1", &[]), what_is_free("b1", "a1", &[])),
            (None, None)
        );
    }

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
