//! `lifeboat evacuate`: the plan, the question, the start, and following it to the end.

use serde_json::json;

use super::args::EvacuateArgs;
use super::connect::Daemon;
use super::failure::Failure;
use super::follow::{self, Interrupt};
use super::output::{ask, can_ask, print, print_json_line, remark};
use super::plan;
use crate::api::{PlanInfo, Request, Started};

/// Shows the plan, asks, starts, follows.
pub(super) async fn run(daemon: &Daemon, args: &EvacuateArgs) -> Result<(), Failure> {
    if !args.yes && !can_ask() {
        // Terms that cannot be meant are worth more words than a missing terminal.
        let _: PlanInfo = daemon.ask(&Request::Plan(args.terms.terms())).await?;
        return Err(Failure::Usage(
            "there is no terminal to ask on whether to start, so nothing was started; give --yes \
             to start without asking, or see first what would happen with `lifeboat plan`"
                .to_owned(),
        ));
    }
    // A plan that cannot be had must not hold up what was wanted without asking.
    let plan = show_plan(daemon, args).await;
    if !args.yes {
        if let Err(error) = plan {
            return Err(error);
        }
        if !ask("\nStart this evacuation?")? {
            return Err(Failure::NotDone("not confirmed; nothing was started".to_owned()));
        }
    }
    let interrupt = Interrupt::catch()?;
    let started: Started = daemon.ask(&Request::Evacuate(args.terms.terms())).await?;
    match &plan {
        Ok(plan) => remarks(plan, &started).iter().for_each(|text| remark(text)),
        Err(error) => remark(&format!("There was no plan to show: {error}")),
    }
    let id = &started.id;
    if args.client.json {
        print_json_line(&json!({ "started": started }))?;
    } else {
        print(&format!("\nEvacuation {id} is started."))?;
    }
    if !args.detach {
        return follow::to_the_end(daemon, id, args.client.json, interrupt).await;
    }
    if !args.client.json {
        print(&format!(
            "`lifeboat status` shows it, `lifeboat report --follow {id}` follows it, `lifeboat \
             cancel {id}` ends it."
        ))?;
    }
    Ok(())
}

async fn show_plan(daemon: &Daemon, args: &EvacuateArgs) -> Result<PlanInfo, Failure> {
    let plan: PlanInfo = daemon.ask(&Request::Plan(args.terms.terms())).await?;
    if args.client.json {
        print_json_line(&json!({ "plan": plan }))?;
    } else {
        print(&plan::render(&plan, args.terms.deadline))?;
    }
    Ok(plan)
}

/// What the one who started it should know.
fn remarks(plan: &PlanInfo, started: &Started) -> Vec<String> {
    let mut remarks = Vec::new();
    if !plan.silent.is_empty() {
        remarks.push(format!(
            "Not heard here, so that they learn of it only when they are: {}",
            plan.silent.join(", ")
        ));
    }
    if let Some(id) = &started.merged_into {
        remarks.push(format!(
            "Evacuation {id} with the same terms is active already and moves these VMs: to end it all, \
             both have to be cancelled."
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_who_does_not_know_and_who_moves_the_vms() {
        let mut started = Started { id: "8".to_owned(), merged_into: None };
        assert!(remarks(&PlanInfo::default(), &started).is_empty());
        started.merged_into = Some("7".to_owned());
        let plan = PlanInfo { silent: vec!["a1".to_owned()], ..PlanInfo::default() };
        let said = remarks(&plan, &started);
        assert!(said[0].ends_with("only when they are: a1"), "{said:?}");
        assert!(said[1].starts_with("Evacuation 7 with the same terms"), "{said:?}");
    }
}
