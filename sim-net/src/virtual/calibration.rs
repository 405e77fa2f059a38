//! The link model against published goodput.
//!
//! Source of the measured figures: the lead author's published experiment logs of 2013-14 for Kang et
//! al. (UCC 2014), aggregate goodput of k live migrations at once over one path of 1 Gbit/s, one
//! stream each. The model's parameters were fitted to them once: a window of 2.2 MB, at most 45 MB/s
//! in one stream, and the law by which many streams saturate in `link`.

use std::time::Duration;

use lifeboat_protocol::LinkId;
use lifeboat_units::{ByteSize, Rate, Span};
use serde::Serialize;

use super::{link::Link, scenario};

/// Round-trip time in milliseconds, and goodput in MB/s for each of [`STREAMS`].
const MEASURED: [(u64, [f64; 8]); 2] = [
    (20, [30.0, 74.7, 83.9, 88.5, 90.4, 82.4, 95.6, 84.8]),
    (180, [12.3, 23.2, 36.3, 43.0, 48.5, 47.6, 47.9, 46.9]),
];
const STREAMS: [u32; 8] = [1, 2, 4, 6, 8, 10, 20, 30];
/// The one cell that the hypervisor's own cap of that time decided, not the link.
const CAPPED: (u64, u32) = (20, 1);

/// One cell of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cell {
    /// Round-trip time, milliseconds.
    pub rtt_ms: u64,
    /// Migrations at once, one stream each.
    pub streams: u32,
    /// Published, MB/s.
    pub measured: f64,
    /// The model's, MB/s.
    pub modelled: f64,
    /// Whether the published figure was capped by something else than the link.
    pub capped: bool,
}

impl Cell {
    /// How far the model is off, as a part of the measured figure.
    pub fn error(&self) -> f64 {
        self.modelled / self.measured - 1.0
    }
}

/// The link of the published experiment.
pub(crate) fn published_link(rtt_ms: u64) -> scenario::Link {
    scenario::Link {
        from: "here".into(),
        to: vec!["there".into()],
        capacity: Rate::from_bytes_per_sec(118_000_000),
        rtt: Span(Duration::from_millis(rtt_ms)),
        window: ByteSize(2_200_000),
        stream_ceiling: Some(Rate::from_bytes_per_sec(45_000_000)),
        loss_ppm: 0,
        saturates: true,
        streams: 1,
        production: Rate::from_bytes_per_sec(0),
        ceiling: None,
        initial: Rate::from_bytes_per_sec(12_500_000),
        reserve_permille: 0,
        changes: Vec::new(),
    }
}

/// All cells.
pub fn table() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (rtt_ms, row) in MEASURED {
        let link = Link::new(LinkId(0), &published_link(rtt_ms));
        for (streams, measured) in STREAMS.into_iter().zip(row) {
            let wanted = f64::from(streams) * link.stream_rate();
            let modelled = link.reach(wanted) / 1e6;
            let capped = (rtt_ms, streams) == CAPPED;
            cells.push(Cell { rtt_ms, streams, measured, modelled, capped });
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_within_ten_percent() {
        for cell in table().iter().filter(|cell| !cell.capped) {
            assert!(cell.error().abs() <= 0.10, "{cell:?}: {:.3}", cell.error());
        }
    }
}
