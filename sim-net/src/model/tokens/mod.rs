//! The token protocol, searched whole: the shipped issuer, holder, ledger and membership, driven
//! through every order of messages, losses, repeats, deaths, restarts, and clock drift.
//!
//! Invariants of the model: a message may arrive at any time after it was said and any number of
//! times, until its sender has said [`Bounds::kept`] newer ones, and need not arrive at all. So loss,
//! delay, repetition, reordering and every partition, one-way or not, are what the search does
//! anyhow, and need no actions of their own.
//!
//! Left out, since tokens do not depend on it: hosts, queues, capacity. Whoever wants the link is
//! replaced by an issuer being told so ([`Action::Want`]), each issuer by itself.

mod bounds;
mod canonical;
mod planted;
mod player;
mod properties;
mod state;

pub use bounds::{Bounds, Clocks};
pub use planted::Planted;
pub use state::{Action, State};

use lifeboat_protocol::units::LINK_TOKENS;
use player::Player;
use state::Rules;
use stateright::{Model, Property};

/// A world of the token protocol within bounds.
#[derive(Debug, Clone)]
pub struct Tokens {
    rules: Rules,
}

impl Tokens {
    /// The shipped code, or the shipped code with a bug around it.
    pub fn new(bounds: Bounds, planted: Planted) -> Self {
        let config = bounds.clocks.config();
        Self { rules: Rules { bounds, planted, config } }
    }
}

impl Model for Tokens {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let fast = self.rules.bounds.fast.iter();
        fast.map(|fast| State::settled(&self.rules, *fast)).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(&self.rules, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.after(action, &self.rules)
    }

    fn within_boundary(&self, state: &State) -> bool {
        !state.split
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(
                "conservation: no more is usable than the link",
                |_, state: &State| state.usable() <= u32::from(LINK_TOKENS),
            ),
            Property::always("a slice is granted by one issuer at a time", |_, state: &State| {
                state.granted_twice() == 0
            }),
            Property::always("what is used is in its issuer's book", |_, state: &State| {
                state.is_in_the_books()
            }),
            Property::always(
                "nothing is used a lease after the sending of what it answers",
                |_, state: &State| state.senders().all(Player::uses_only_valid),
            ),
            Property::sometimes("reached: the whole link is in use", |_, state: &State| {
                state.usable() == u32::from(LINK_TOKENS)
            }),
        ];
        let Bounds { senders, issuers, clocks, wants, .. } = self.rules.bounds;
        let Bounds { sender_crashes, issuer_crashes, hand_ons, .. } = self.rules.bounds;
        if clocks == Clocks::Drift {
            properties.push(Property::sometimes(
                "reached: a grant lapses before its issuer gives it on",
                |_, state: &State| state.has_lapsed(),
            ));
        }
        if issuers > 1 {
            properties.push(Property::always(
                "a slice changes hands only when the former issuer's leases have run out",
                |_, state: &State| state.granted_too_early() == 0,
            ));
        }
        if senders > 1 && wants > 0 {
            properties.push(Property::sometimes(
                "reached: two senders use the link",
                |_, state: &State| state.senders().filter(|one| one.usable() > 0).count() > 1,
            ));
        }
        if sender_crashes > 0 {
            properties.push(Property::sometimes(
                "reached: a carrier goes on without its daemon",
                |_, state: &State| state.carrier_goes_on(),
            ));
            properties.push(Property::sometimes(
                "reached: a restarted sender holds tokens",
                |_, state: &State| state.restarted_sender_holds(),
            ));
        }
        if issuer_crashes > 0 {
            properties.push(Property::sometimes(
                "reached: a restarted issuer grants",
                |_, state: &State| state.restarted_issuer_grants(),
            ));
        }
        if issuer_crashes > 0 && issuers > 1 {
            properties.push(Property::sometimes(
                "reached: a dead issuer's slices are taken over",
                |_, state: &State| state.is_taken_over(),
            ));
        }
        if hand_ons > 0 {
            properties.push(Property::sometimes(
                "reached: a lease is handed on and used",
                |_, state: &State| state.uses_what_was_handed_on(),
            ));
        }
        properties
    }
}
