//! Each constant at half and double against what it is, world by world.

use lifeboat_protocol::tuning::{Name, Times};

use super::{
    super::{
        Goal,
        numbers::{largest, median},
    },
    variants::{FIGURES, Run, Runs, Variant},
    worlds::{KINDS, Tried},
};

/// A change below this is none, as a part.
const NOTHING: f64 = 0.01;
/// A change counts if it is more than so many times the most that other luck changes. One time would be too
/// few: each constant has twenty changes, and one of them may well be larger than each of four lucks.
const TIMES_LUCK: f64 = 2.0;
/// As much worse may be what counts as better everywhere, as a part.
const HARDLY: f64 = 0.002;

/// A median and the worst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) worst: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        Self { median: median(values), worst: largest(values) }
    }
}

/// Mean changes of each figure in each kind of world, as parts.
pub(super) type Changes = [[f64; KINDS.len()]; FIGURES.len()];

/// A constant that is another than it is.
#[derive(Debug, Clone)]
pub(super) struct Turned {
    pub(super) name: Name,
    pub(super) times: Times,
    /// Of each figure over all worlds.
    pub(super) spreads: [Spread; FIGURES.len()],
    pub(super) changes: Changes,
    /// Whether anything at all happened otherwise.
    pub(super) differs: bool,
    /// The worlds in which it fails, and how.
    pub(super) failures: Vec<String>,
}

/// All constants, and what they are compared with.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    /// Of each kind of world, and at the end of all.
    pub(super) as_it_is: Vec<[Spread; FIGURES.len()]>,
    /// The most that other luck changes, either way.
    pub(super) luck: Changes,
    /// Each constant at half and then at double, in the order of the constants.
    pub(super) turned: Vec<Turned>,
}

fn spreads<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> [Spread; FIGURES.len()] {
    std::array::from_fn(|figure| {
        Spread::of(&runs.clone().map(|run| run.figures[figure]).collect::<Vec<_>>())
    })
}

fn failures(worlds: &[Tried], runs: &[Run]) -> Vec<String> {
    let failed = worlds.iter().zip(runs).filter(|(_, run)| run.fails());
    failed
        .map(|(world, run)| format!("{} {}: {}", KINDS[world.kind], world.seed, run.ended))
        .collect()
}

impl Compared {
    pub(super) fn of(worlds: &[Tried], runs: &Runs) -> Self {
        let as_it_is = &runs[0].1;
        let changes = |runs: &[Run]| -> Changes {
            std::array::from_fn(|figure| {
                std::array::from_fn(|kind| {
                    let of_kind = worlds.iter().zip(runs).zip(as_it_is);
                    let of_kind = of_kind.filter(|((world, _), _)| world.kind == kind);
                    let changes: Vec<f64> = of_kind
                        .map(|((_, run), before)| {
                            run.figures[figure] / before.figures[figure] - 1.0
                        })
                        .collect();
                    changes.iter().sum::<f64>() / changes.len() as f64
                })
            })
        };
        let mut luck: Changes = Default::default();
        let mut turned = Vec::new();
        for (variant, runs) in runs {
            match *variant {
                Variant::AsItIs => {}
                Variant::Luck(_) => {
                    for (most, changes) in luck.iter_mut().zip(changes(runs)) {
                        for (most, change) in most.iter_mut().zip(changes) {
                            *most = most.max(change.abs());
                        }
                    }
                }
                Variant::Constant(name, times) => turned.push(Turned {
                    name,
                    times,
                    spreads: spreads(runs.iter()),
                    changes: changes(runs),
                    failures: failures(worlds, runs),
                    differs: runs.iter().zip(as_it_is).any(|(run, before)| run.hash != before.hash),
                }),
            }
        }
        let of_kind = |kind| {
            let of_kind = worlds.iter().zip(as_it_is).filter(move |(world, _)| world.kind == kind);
            spreads(of_kind.map(|(_, run)| run))
        };
        let kinds = (0..KINDS.len()).map(of_kind);
        Self { as_it_is: kinds.chain([spreads(as_it_is.iter())]).collect(), luck, turned }
    }

    /// Whether a change is more than luck.
    pub(super) fn counts(&self, figure: usize, kind: usize, change: f64) -> bool {
        change.abs() > (self.luck[figure][kind] * TIMES_LUCK).max(NOTHING)
    }

    /// Changes of a constant, with the figure and the kind of world.
    fn changes(turned: &Turned) -> impl Iterator<Item = (usize, usize, f64)> {
        let figures = turned.changes.iter().enumerate();
        figures.flat_map(|(figure, kinds)| {
            kinds.iter().enumerate().map(move |(kind, change)| (figure, kind, *change))
        })
    }

    /// Whether a constant changes more than luck does, anywhere.
    pub(super) fn matters(&self, turned: &Turned) -> bool {
        Self::changes(turned).any(|(figure, kind, change)| self.counts(figure, kind, change))
    }

    /// Whether a constant would do better somewhere, and nowhere worse, by more than luck.
    pub(super) fn is_promising(&self, turned: &Turned) -> bool {
        let mut counted = Self::changes(turned)
            .filter(|(figure, kind, change)| self.counts(*figure, *kind, *change))
            .peekable();
        counted.peek().is_some() && counted.all(|(.., change)| change < 0.0)
    }

    /// Whether it would do better, somewhere by more than luck, and nowhere worse at all.
    pub(super) fn is_better(&self, turned: &Turned) -> bool {
        self.is_promising(turned) && Self::changes(turned).all(|(.., change)| change <= HARDLY)
    }

    /// No constant would do better at half or double.
    pub(super) fn goal(&self) -> Goal {
        let better = self.turned.iter().filter(|turned| self.is_better(turned)).count();
        Goal::at_most("constants that would do better at half or double", better as f64, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r#virtual::experiments::sensitivity::worlds;

    fn runs(worlds: &[Tried], scores: &[f64]) -> Vec<Run> {
        let run = |score: &f64| Run {
            figures: [1.0, 1.0, *score, 300.0],
            left: 0,
            ended: "done".into(),
            hash: format!("{score}"),
        };
        worlds.iter().zip(scores.iter().cycle()).map(|(_, score)| run(score)).collect()
    }

    #[test]
    fn what_luck_does_counts_for_nothing() {
        let worlds = worlds::all(1);
        let compared = |score: f64| {
            Compared::of(
                &worlds,
                &vec![
                    (Variant::AsItIs, runs(&worlds, &[1.0])),
                    (Variant::Luck(1), runs(&worlds, &[0.95])),
                    (Variant::Constant(Name::FirstStep, Times::Half), runs(&worlds, &[score])),
                ],
            )
        };
        let shown = |score: f64| {
            let compared = compared(score);
            let turned = &compared.turned[0];
            (turned.differs, compared.matters(turned), compared.is_better(turned))
        };
        assert_eq!(shown(1.0), (false, false, false));
        assert_eq!(shown(0.91), (true, false, false));
        assert_eq!(shown(0.89), (true, true, true));
        assert_eq!(shown(1.11), (true, true, false));
        assert_eq!(shown(f64::INFINITY), (true, true, false));
        assert!(compared(0.91).goal().met && !compared(0.89).goal().met);
    }

    #[test]
    fn better_in_one_world_and_a_little_worse_in_another_is_not_better() {
        let worlds = worlds::all(1);
        let runs = vec![
            (Variant::AsItIs, runs(&worlds, &[1.0])),
            (Variant::Constant(Name::FirstStep, Times::Half), runs(&worlds, &[0.9, 1.005])),
        ];
        let compared = Compared::of(&worlds, &runs);
        let turned = &compared.turned[0];
        assert!(compared.matters(turned));
        assert!(compared.is_promising(turned) && !compared.is_better(turned));
    }
}
