//! What is shown of it: what it is compared with, what matters, and what does not.

use lifeboat_protocol::tuning::{Name, Times};

use super::{
    super::{Table, numbers::shown},
    compared::{Compared, Spread, Turned},
    variants::{FIGURES, Runs, Variant},
    worlds::{KINDS, Tried},
};

/// Index of the score.
const SCORE: usize = 2;

/// A median and the worst, in so many digits.
fn cell(figure: usize, spread: Spread) -> String {
    let digits = if FIGURES[figure].ends_with("ms") { 0 } else { 3 };
    format!("{} / {}", shown(spread.median, digits), shown(spread.worst, digits))
}

fn cells(spreads: &[Spread; FIGURES.len()]) -> impl Iterator<Item = String> {
    spreads.iter().enumerate().map(|(figure, spread)| cell(figure, *spread))
}

/// A change in percent.
fn percent(change: f64) -> String {
    if change.is_finite() { format!("{:+.1}", change * 100.0) } else { "fails".into() }
}

pub(super) fn tables(compared: &Compared) -> Vec<Table> {
    vec![as_it_is(compared), what_matters(compared), the_rest(compared)]
}

fn as_it_is(compared: &Compared) -> Table {
    let heading: Vec<&str> = ["worlds"]
        .into_iter()
        .chain(FIGURES)
        .chain(["other luck changes the score by, %"])
        .collect();
    let mut table = Table::new("Constants as they are: median / worst", &heading);
    let kinds = KINDS.into_iter().chain(["all"]);
    for (kind, (name, spreads)) in kinds.zip(&compared.as_it_is).enumerate() {
        let luck = compared.luck[SCORE]
            .get(kind)
            .map_or("-".into(), |luck| format!("up to {}", shown(luck * 100.0, 1)));
        table.row([name.to_owned()].into_iter().chain(cells(spreads)).chain([luck]));
    }
    table
}

fn what_matters(compared: &Compared) -> Table {
    let of_kinds = KINDS.map(|kind| format!("score, {kind}, %"));
    let heading: Vec<&str> = ["constant", "is", "tried"]
        .into_iter()
        .chain(FIGURES)
        .chain(of_kinds.iter().map(String::as_str))
        .collect();
    let title = "What changes any of these by more than luck: median / worst of all worlds, and the mean \
                 change of the score in each kind (bold: more than luck; fails: see below)";
    let mut table = Table::new(title, &heading);
    for turned in compared.turned.iter().filter(|turned| compared.matters(turned)) {
        let Turned { name, times, spreads, changes, .. } = turned;
        let scores = changes[SCORE].iter().enumerate().map(|(kind, change)| {
            let shown = percent(*change);
            if compared.counts(SCORE, kind, *change) { format!("**{shown}**") } else { shown }
        });
        let constant = [format!("`{}`", name.path()), name.shown(Times::One), name.shown(*times)];
        table.row(constant.into_iter().chain(cells(spreads)).chain(scores));
    }
    table
}

fn the_rest(compared: &Compared) -> Table {
    let mut table = Table::new("The others", &["at half and double", "constants"]);
    let both = |is: &dyn Fn(&Turned) -> bool| {
        let is_so = |name: &&Name| compared.turned.iter().filter(|one| one.name == **name).all(is);
        let names = Name::ALL.iter().filter(is_so).map(|name| format!("`{}`", name.path()));
        names.collect::<Vec<_>>().join(", ")
    };
    table.row(["nothing else happens in these worlds".into(), both(&|turned| !turned.differs)]);
    let matters = |turned: &Turned| compared.matters(turned);
    let differs = |name: Name| compared.turned.iter().any(|one| one.name == name && one.differs);
    let no_more = both(&|turned| !matters(turned) && differs(turned.name));
    table.row(["no more changes than by luck".into(), no_more]);
    let at = |turned: &Turned| {
        format!("`{}` at {}", turned.name.path(), turned.name.shown(turned.times))
    };
    let listed = |all: Vec<String>| if all.is_empty() { "none".into() } else { all.join(", ") };
    let failing = compared.turned.iter().filter(|turned| !turned.failures.is_empty());
    let failing =
        failing.map(|turned| format!("{} ({})", at(turned), turned.failures.join(", "))).collect();
    table.row(["a run fails".into(), listed(failing)]);
    let promising = compared.turned.iter().filter(|turned| compared.is_promising(turned));
    let promising = listed(promising.map(at).collect());
    table.row(["better somewhere and nowhere worse by more than luck".into(), promising]);
    let better = compared.turned.iter().filter(|turned| compared.is_better(turned));
    table.row([
        "better somewhere and nowhere worse at all".into(),
        listed(better.map(at).collect()),
    ]);
    table
}

/// Every run.
pub(super) fn data(worlds: &[Tried], runs: &Runs) -> Table {
    let heading: Vec<&str> = ["constant", "value", "worlds", "seed"]
        .into_iter()
        .chain(FIGURES)
        .chain(["left behind", "ended", "hash"])
        .collect();
    let mut table = Table::new("", &heading);
    for (variant, runs) in runs {
        let (constant, value) = match variant {
            Variant::AsItIs => ("as it is", String::new()),
            Variant::Luck(number) => ("other luck", number.to_string()),
            Variant::Constant(name, times) => (name.path(), name.shown(*times)),
        };
        for (world, run) in worlds.iter().zip(runs) {
            let which = [constant.into(), value.clone(), KINDS[world.kind].into()];
            let figures = run.figures.map(|figure| shown(figure, 4));
            let end = [run.left.to_string(), run.ended.clone(), run.hash.clone()];
            let seed = [world.seed.to_string()];
            table.row(which.into_iter().chain(seed).chain(figures).chain(end));
        }
    }
    table
}
