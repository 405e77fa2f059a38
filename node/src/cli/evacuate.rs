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
        return Err(Failure::Usage(
            "there is no terminal to ask on whether to start, so nothing was started; give --yes \
             to start without asking, or see first what would happen with `lifeboat plan`"
                .to_owned(),
        ));
    }
    // A plan that cannot be had must not hold up what was wanted without asking.
    let no_plan = show_plan(daemon, args).await.err();
    if !args.yes {
        if let Some(error) = no_plan {
            return Err(error);
        }
        if !ask("\nStart this evacuation?")? {
            return Err(Failure::NotDone("not confirmed; nothing was started".to_owned()));
        }
    }
    let interrupt = Interrupt::catch()?;
    let started: Started = daemon.ask(&Request::Evacuate(args.terms.terms())).await?;
    if let Some(error) = no_plan {
        remark(&format!("There was no plan to show: {error}"));
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

async fn show_plan(daemon: &Daemon, args: &EvacuateArgs) -> Result<(), Failure> {
    let plan: PlanInfo = daemon.ask(&Request::Plan(args.terms.terms())).await?;
    if args.client.json {
        print_json_line(&json!({ "plan": plan }))
    } else {
        print(&plan::render(&plan, args.terms.deadline))
    }
}
