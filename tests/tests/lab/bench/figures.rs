//! What a run comes to: the figures of an evacuation's report, from what was seen from outside.

use std::fmt;

use lifeboat::{api::Arrived, daemon::measure};
use serde::Serialize;

use super::{settings::CAPACITY_BYTES_PER_SEC, watch::Seen};

/// Of one run, or the medians of several.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Figures {
    pub(super) total_s: f64,
    pub(super) bound_total_s: f64,
    pub(super) mean_individual_s: f64,
    pub(super) bound_individual_s: f64,
    pub(super) mean_completion_s: f64,
    pub(super) longest_pause_ms: f64,
    pub(super) wan_mb: f64,
    pub(super) score: f64,
}

impl Figures {
    /// By the same formulas as the daemons' own reports.
    pub(super) fn of(seen: &Seen) -> Self {
        let arrived: Vec<Arrived> = seen
            .journeys
            .iter()
            .map(|journey| Arrived {
                id: String::new(),
                name: journey.guest.name.to_owned(),
                from: String::new(),
                to: String::new(),
                start_ms: journey.start_ms,
                end_ms: journey.end_ms,
                ran: true,
                downtime_ms: Some(journey.pause_ms),
                bytes_needed: journey.guest.memory_mib << 20,
                bytes_sent: None,
                attempts: 1,
                dirty_bytes_per_sec: journey.guest.dirty_mb_per_sec * 1_000_000,
            })
            .collect();
        let measures = measure::measures(&arrived, CAPACITY_BYTES_PER_SEC, "configured")
            .expect("a run that ended has arrivals");
        let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
        Self {
            total_s: seconds(measures.total_ms),
            bound_total_s: seconds(measures.bound_total_ms),
            mean_individual_s: seconds(measures.mean_individual_ms),
            bound_individual_s: seconds(measures.bound_individual_ms),
            mean_completion_s: seconds(measures.mean_completion_ms),
            longest_pause_ms: measures.max_downtime_ms.expect("every pause is known") as f64,
            wan_mb: seen.wan_bytes / 1e6,
            score: measures.score,
        }
    }

    /// Figure by figure.
    pub(super) fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure).collect());
        Self {
            total_s: of(|one| one.total_s),
            bound_total_s: of(|one| one.bound_total_s),
            mean_individual_s: of(|one| one.mean_individual_s),
            bound_individual_s: of(|one| one.bound_individual_s),
            mean_completion_s: of(|one| one.mean_completion_s),
            longest_pause_ms: of(|one| one.longest_pause_ms),
            wan_mb: of(|one| one.wan_mb),
            score: of(|one| one.score),
        }
    }

    pub(super) fn total_by_bound(&self) -> f64 {
        self.total_s / self.bound_total_s
    }

    pub(super) fn individual_by_bound(&self) -> f64 {
        self.mean_individual_s / self.bound_individual_s
    }

    /// What the WAN carried, against what it could have carried in the total time.
    pub(super) fn link_use(&self) -> f64 {
        self.wan_mb * 1e6 / (self.total_s * CAPACITY_BYTES_PER_SEC as f64)
    }
}

/// The columns of [`Figures`] as it is displayed, as a row of a Markdown table.
pub(super) const COLUMNS: &str = "total | / bound | mean individual | / bound | mean completion | \
                                  longest pause | WAN | link use | score";

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s | {:.2} | {:.1} s | {:.2} | {:.1} s | {:.0} ms | {:.0} MB | {:.0} % | {:.2}",
            self.total_s,
            self.total_by_bound(),
            self.mean_individual_s,
            self.individual_by_bound(),
            self.mean_completion_s,
            self.longest_pause_ms,
            self.wan_mb,
            100.0 * self.link_use(),
            self.score,
        )
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
