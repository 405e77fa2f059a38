//! Other ways to evacuate, on the very same worlds.
//!
//! A rival runs no protocol: no daemons, no tokens, no reservations. It decides by its own rule
//! which VM begins when, and drives the same hypervisors, interfaces and links. How its migrations
//! share a link is TCP's matter: equally per stream.
//!
//! One engine ([`engine`]), one rule in each of the other files. Where a rival's real model would be
//! worse off than the engine treats it, the rival has the benefit: it knows all VMs and their sizes
//! at once, orders of a central program take no time, guests are resumed where they arrive without
//! waiting for anybody's word, and destinations never refuse.

mod at_once;
mod capped;
mod central;
mod engine;
mod per_host;
mod rule;
mod sharing;

use std::{fmt, str::FromStr};

pub use central::Feedback;
pub(crate) use engine::Engine;

use super::{World, scenario::Scenario};

/// Who decides what moves when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The real protocol.
    Lifeboat,
    /// One of the others.
    Rival(Rival),
}

/// A rival and how it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rival {
    /// Its rule.
    pub kind: Kind,
    /// TCP streams of each of its migrations, as far as the link's own limit allows.
    pub streams: u32,
    /// The order in which it takes the VMs.
    pub order: Order,
}

/// A rival's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Everything begins at once.
    AtOnce,
    /// Each host for itself, one VM after the other.
    PerHost,
    /// So many at a time; one is strictly sequential.
    AtATime(u32),
    /// Five at a time, two of a host.
    Kubevirt,
    /// The seed's controller.
    Central(Feedback),
}

/// An order of VMs by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// As the scenario lists them.
    #[default]
    AsListed,
    /// Most memory first (LF).
    LargestFirst,
    /// Least memory first (SF).
    SmallestFirst,
    /// As the scenario's seed shuffles them.
    Random,
}

impl Order {
    /// Every order, by name.
    const NAMES: [(&str, Self); 4] = [
        ("as-listed", Self::AsListed),
        ("largest-first", Self::LargestFirst),
        ("smallest-first", Self::SmallestFirst),
        ("random", Self::Random),
    ];
}

impl Rival {
    /// A rival with one stream for each migration, which takes the VMs as the scenario lists them.
    pub fn plain(kind: Kind) -> Self {
        Self { kind, streams: 1, order: Order::AsListed }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) =
            Self::NAMES.iter().find(|(_, one)| one == self).expect("every one has a name");
        out.write_str(name)
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        let names = Self::NAMES.map(|(name, _)| name).join(", ");
        found.map(|(_, one)| *one).ok_or(format!("\"{text}\" is no order; there are {names}"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce => out.write_str("at-once"),
            Self::PerHost => out.write_str("per-host"),
            Self::AtATime(1) => out.write_str("sequential"),
            Self::AtATime(number) => write!(out, "fixed-{number}"),
            Self::Kubevirt => out.write_str("kubevirt"),
            Self::Central(Feedback::Aggregate) => out.write_str("central-ac"),
            Self::Central(Feedback::Individual) => out.write_str("central-ic"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("fixed-").and_then(|number| number.parse().ok());
        match text {
            "at-once" => Ok(Self::AtOnce),
            "per-host" => Ok(Self::PerHost),
            "sequential" => Ok(Self::AtATime(1)),
            "kubevirt" => Ok(Self::Kubevirt),
            "central-ac" => Ok(Self::Central(Feedback::Aggregate)),
            "central-ic" => Ok(Self::Central(Feedback::Individual)),
            _ => number.filter(|number| *number > 0).map(Self::AtATime).ok_or(format!(
                "\"{text}\" is no policy; there are lifeboat, at-once, per-host, sequential, \
                 fixed-NUMBER, kubevirt, central-ac, central-ic"
            )),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifeboat => out.write_str("lifeboat"),
            Self::Rival(rival) if rival.streams == 1 => rival.kind.fmt(out),
            Self::Rival(rival) => write!(out, "{} x{}", rival.kind, rival.streams),
        }
    }
}

impl World {
    /// The world of a scenario under a policy.
    ///
    /// # Errors
    /// A sentence, if the scenario describes no cluster.
    pub fn under(scenario: &Scenario, policy: Policy) -> Result<Self, String> {
        let mut world = Self::new(scenario)?;
        if let Policy::Rival(rival) = policy {
            world.rival = Some(Engine::new(rival, scenario));
        }
        Ok(world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let kinds = [
            Kind::AtOnce,
            Kind::PerHost,
            Kind::AtATime(1),
            Kind::AtATime(8),
            Kind::Kubevirt,
            Kind::Central(Feedback::Aggregate),
            Kind::Central(Feedback::Individual),
        ];
        for kind in kinds {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for (name, order) in Order::NAMES {
            assert_eq!((order.to_string().as_str(), name.parse()), (name, Ok(order)));
        }
        assert!("fixed-0".parse::<Kind>().unwrap_err().contains("fixed-NUMBER"));
        assert!("upwards".parse::<Order>().unwrap_err().contains("largest-first"));
    }
}
