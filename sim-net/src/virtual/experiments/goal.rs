//! What was aimed at, what was measured, and whether that is enough. A goal that is not met is shown
//! as such.

use super::table::Table;

/// A goal and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// What is demanded, of what, with units.
    pub what: String,
    /// What was measured.
    pub measured: String,
    /// Whether that is enough.
    pub met: bool,
}

impl Goal {
    /// `what` must be at most `most`.
    pub(crate) fn at_most(what: &str, measured: f64, most: f64) -> Self {
        Self {
            what: format!("{what} <= {most}"),
            measured: format!("{measured:.3}"),
            met: measured <= most,
        }
    }

    /// `what` must be at least `least`.
    pub(crate) fn at_least(what: &str, measured: f64, least: f64) -> Self {
        Self {
            what: format!("{what} >= {least}"),
            measured: format!("{measured:.3}"),
            met: measured >= least,
        }
    }
}

/// All goals as a table.
pub(crate) fn table(goals: &[Goal]) -> Table {
    let mut table = Table::new("Goals", &["goal", "measured", "met"]);
    for goal in goals {
        let met = if goal.met { "yes" } else { "**no**" };
        table.row([goal.what.as_str(), goal.measured.as_str(), met]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_shown() {
        let goals = [Goal::at_most("score", 1.2, 1.25), Goal::at_least("out", 24.0, 25.0)];
        let rows = table(&goals).rows;
        assert_eq!(rows[0], ["score <= 1.25", "1.200", "yes"]);
        assert_eq!(rows[1], ["out >= 25", "24.000", "**no**"]);
        assert!(!Goal::at_most("anything", f64::NAN, 1.0).met);
    }
}
