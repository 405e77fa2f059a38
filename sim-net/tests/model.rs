//! Small worlds of the protocol, searched whole; and bugs put back around the shipped code, each of
//! which the search must see. `lifeboat-model` searches larger ones.

use lifeboat_sim_net::model::{Report, Size, handover, names, run, search, tokens};

/// Nothing is broken, in a world that may be too small to reach everything.
fn nothing_broken(name: &str) {
    let report = run(name, Size::Small, 2).expect("a model of the catalogue");
    assert!(report.broken().next().is_none(), "{report}");
    assert!(report.unique > 50, "hardly anything was searched: {report}");
}

#[test]
fn tokens_are_conserved_in_small_worlds() {
    names().filter(|name| name.starts_with("tokens")).for_each(nothing_broken);
}

#[test]
fn a_handover_loses_nothing_and_doubles_nothing() {
    let restarted = "handover-restarted";
    names()
        .filter(|name| name.starts_with("handover") && *name != restarted)
        .for_each(nothing_broken);
}

/// A destination that dies before its commit is durable, and then hears a source that answers a
/// repeated `Reserved` with `SourceKept` although it gave the VM away, destroys the only copy.
#[test]
fn a_handover_survives_a_daemon_that_dies() {
    nothing_broken("handover-restarted");
}

#[test]
fn everything_is_reached_with_one_sender_and_one_issuer() {
    let mut bounds = tokens::Bounds::new(1, 1);
    (bounds.sender_crashes, bounds.issuer_crashes) = (1, 1);
    let report = search("1x1", tokens::Tokens::new(bounds, tokens::Planted::Nothing), 2);
    assert!(report.holds(), "{report}");
}

#[test]
fn a_model_that_does_not_exist_is_refused() {
    assert!(run("nonsense", Size::Small, 1).is_err());
}

fn tokens_with(bounds: tokens::Bounds, planted: tokens::Planted) -> Report {
    search("planted", tokens::Tokens::new(bounds, planted), 1)
}

fn seen(report: &Report, property: &str) {
    let found = report.broken().any(|verdict| verdict.property.starts_with(property));
    assert!(found, "the bug was not seen by {property:?}: {report}");
}

#[test]
fn planted_lease_counted_from_receipt() {
    let report = tokens_with(tokens::Bounds::new(2, 1), tokens::Planted::LeaseFromReceipt);
    seen(&report, "nothing is used a lease after");
}

#[test]
fn planted_lowered_grant_given_on_before_it_is_confirmed() {
    let report = tokens_with(tokens::Bounds::new(2, 1), tokens::Planted::LoweredBeforeConfirmed);
    seen(&report, "what is used is in its issuer's book");
}

#[test]
fn planted_slice_taken_over_without_waiting() {
    let mut bounds = tokens::Bounds::new(1, 2);
    (bounds.wants, bounds.issuer_crashes, bounds.losses) = (0, 1, Some(0));
    let report = tokens_with(bounds, tokens::Planted::TakenOverAtOnce);
    seen(&report, "a slice changes hands only");
}

#[test]
fn planted_restarted_issuer_grants_at_once() {
    let mut bounds = tokens::Bounds::new(2, 1);
    (bounds.issuer_crashes, bounds.urgent) = (1, 1);
    let report = tokens_with(bounds, tokens::Planted::RestartedGrantsAtOnce);
    seen(&report, "conservation");
}

#[test]
fn planted_answer_to_a_former_life() {
    let mut bounds = tokens::Bounds::new(1, 1);
    (bounds.wants, bounds.sender_crashes) = (0, 1);
    let report = tokens_with(bounds, tokens::Planted::FormerLifeAnswered);
    seen(&report, "nothing is used a lease after");
}

#[test]
fn planted_lease_handed_on_and_kept() {
    let mut bounds = tokens::Bounds::new(2, 1);
    (bounds.wants, bounds.hand_ons) = (0, 1);
    let report = tokens_with(bounds, tokens::Planted::HandedOnAndKept);
    seen(&report, "conservation");
}

#[test]
fn planted_lease_handed_on_counted_from_receipt() {
    let mut bounds = tokens::Bounds::new(2, 1);
    (bounds.wants, bounds.hand_ons) = (0, 1);
    let report = tokens_with(bounds, tokens::Planted::HandedOnFromReceipt);
    seen(&report, "nothing is used a lease after");
}

const ONE_DEATH: handover::Bounds = handover::Bounds {
    pauses: 1,
    long_pauses: 0,
    crashes: 0,
    deaths: 1,
    breaks: 0,
    lost_jobs: 0,
    cuts: 0,
    cold_starts: 0,
    arrivals: 1,
    stale_looks: false,
};

fn handover_with(planted: handover::Planted) -> Report {
    search("planted", handover::Handover::new(ONE_DEATH, planted), 1)
}

/// A person takes a silent destination for dead and starts the VM cold elsewhere.
fn declared_with(planted: handover::Planted) -> Report {
    let bounds = handover::Bounds {
        pauses: 0,
        long_pauses: 1,
        crashes: 1,
        deaths: 0,
        cold_starts: 1,
        ..ONE_DEATH
    };
    search("planted", handover::Handover::new(bounds, planted), 1)
}

#[test]
fn planted_destination_resumes_without_commit() {
    let report = handover_with(handover::Planted::ResumesWithoutCommit);
    seen(&report, "it runs at its destination only after");
}

#[test]
fn planted_silence_of_a_dead_source_taken_for_its_commit() {
    let report = handover_with(handover::Planted::SilenceIsCommit);
    seen(&report, "it runs at its destination only after");
}

#[test]
fn planted_silence_of_a_dead_source_taken_for_keeping() {
    let report = handover_with(handover::Planted::SilenceIsKept);
    seen(&report, "never no copy");
}

#[test]
fn planted_lost_reply_taken_for_a_failure() {
    let report = handover_with(handover::Planted::LostReplyIsFailure);
    seen(&report, "never two running");
}

#[test]
fn planted_commit_from_before_the_word_believed() {
    let report = declared_with(handover::Planted::OldCommitBelieved);
    seen(&report, "never two running");
}

#[test]
fn planted_commit_of_a_former_life_believed() {
    let report = declared_with(handover::Planted::FormerCommitBelieved);
    seen(&report, "never two running");
}
