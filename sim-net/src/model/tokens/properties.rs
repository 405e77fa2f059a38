//! What is asked of a state.

use super::{player::Player, state::State};
use lifeboat_protocol::{
    NodeId,
    tokens::{issuer::Issuer, slices::tokens_in},
    units::LINK_TOKENS,
};

impl State {
    pub(super) fn senders(&self) -> impl Iterator<Item = &Player> {
        self.players[..self.senders].iter().map(|player| &**player)
    }

    fn receivers(&self) -> impl Iterator<Item = &Player> {
        self.players[self.senders..].iter().map(|player| &**player)
    }

    /// The issuers whose daemons run.
    fn issuers(&self) -> impl Iterator<Item = (&Player, &Issuer)> {
        self.receivers().filter_map(|player| Some((player, player.issuer.as_ref()?)))
    }

    /// Tokens by which bytes may flow now, over all senders.
    pub(super) fn usable(&self) -> u32 {
        self.senders().map(|sender| u32::from(sender.usable())).sum()
    }

    /// Tokens of slices that two issuers may grant now.
    pub(super) fn granted_twice(&self) -> u16 {
        let mut seen = 0;
        let mut twice = 0;
        for (_, issuer) in self.issuers() {
            twice |= seen & issuer.mask();
            seen |= issuer.mask();
        }
        tokens_in(twice)
    }

    /// Tokens of slices that an issuer may grant while leases of another one, perhaps dead, may run.
    pub(super) fn granted_too_early(&self) -> u16 {
        let issuers = self.players[self.senders..].iter().enumerate();
        let early = issuers.filter_map(|(index, player)| {
            let mask = player.issuer.as_ref()?.mask();
            let others = self.granted.iter().enumerate().filter(|(other, _)| *other != index);
            let running = others.flat_map(|(_, granted)| granted).fold(0, |all, one| all | one);
            Some(mask & running)
        });
        tokens_in(early.fold(0, |all, one| all | one))
    }

    /// Tokens of an issuer that a sender's daemon goes by.
    fn used(sender: &Player, issuer: NodeId) -> u16 {
        let Some(holder) = &sender.holder else { return 0 };
        let by_issuer = holder.by_issuer(sender.now).into_iter();
        by_issuer.filter(|(node, _)| *node == issuer).map(|(_, tokens)| tokens).sum()
    }

    fn used_by_all(&self, issuer: NodeId) -> u16 {
        self.senders().map(|sender| Self::used(sender, issuer)).sum()
    }

    /// Whether what is used of an issuer's tokens is in its book, as long as no restart has lost
    /// the book or the names in it.
    pub(super) fn is_in_the_books(&self) -> bool {
        let restarted = self.players.iter().any(|player| player.life > 1);
        restarted
            || self.issuers().all(|(player, issuer)| {
                let out: u16 = self.senders().map(|sender| issuer.out(sender.id())).sum();
                self.used_by_all(player.id()) <= out
            })
    }

    /// A sender's right has ended by its own clock, and its issuer still counts it as out.
    pub(super) fn has_lapsed(&self) -> bool {
        self.issuers().any(|(_, issuer)| {
            let mut lapsed = self.senders().filter(|sender| sender.up && sender.has_no_right());
            lapsed.any(|sender| issuer.out(sender.id()) > 0)
        })
    }

    /// A sender uses what another one handed to it.
    pub(super) fn uses_what_was_handed_on(&self) -> bool {
        self.issuers().any(|(player, issuer)| {
            self.senders().any(|sender| Self::used(sender, player.id()) > issuer.out(sender.id()))
        })
    }

    /// One issuer is down and the whole link is in use by the other's grants.
    pub(super) fn is_taken_over(&self) -> bool {
        self.receivers().any(|player| !player.up)
            && self.issuers().any(|(player, _)| self.used_by_all(player.id()) == LINK_TOKENS)
    }

    /// A restarted issuer's grant is in use, while the other one issues its own slices again.
    pub(super) fn restarted_issuer_grants(&self) -> bool {
        self.issuers().all(|(_, issuer)| issuer.tokens() > 0)
            && self.issuers().any(|(player, issuer)| {
                player.life > 1 && issuer.tokens() > 0 && self.used_by_all(player.id()) > 0
            })
    }

    /// A restarted sender holds tokens in its new life.
    pub(super) fn restarted_sender_holds(&self) -> bool {
        self.senders().any(|sender| {
            sender.life > 1
                && sender.holder.as_ref().is_some_and(|holder| holder.usable(sender.now) > 0)
        })
    }

    /// A sender's daemon is down and its carrier goes on.
    pub(super) fn carrier_goes_on(&self) -> bool {
        self.senders().any(|sender| !sender.up && sender.usable() > 0)
    }
}
