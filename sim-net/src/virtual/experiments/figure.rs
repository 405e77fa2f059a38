//! Drawings: lines over a common pair of axes, as SVG.

use plotters::prelude::*;

/// Colours that people with any eyesight tell apart (Okabe and Ito).
pub(crate) const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];
/// Width and height, pixels.
const SIZE: (u32, u32) = (900, 460);
/// Line of the text, pixels.
const TEXT: u32 = 14;

/// One line and its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A drawing of some lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub(crate) title: String,
    /// What the axes show, with units.
    pub(crate) axes: (&'static str, &'static str),
    pub(crate) lines: Vec<Line>,
}

impl Figure {
    pub(crate) fn new(title: &str, x: &'static str, y: &'static str) -> Self {
        Self { title: title.to_owned(), axes: (x, y), lines: Vec::new() }
    }

    pub(crate) fn line(&mut self, name: impl ToString, points: Vec<(f64, f64)>) {
        self.lines.push(Line { name: name.to_string(), points });
    }

    /// The share of `values` that is at most so much, in percent: one step for each value.
    pub(crate) fn distribution(&mut self, name: impl ToString, mut values: Vec<f64>) {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let points = values.into_iter().zip(1..);
        self.line(name, points.map(|(value, at)| (value, f64::from(at) / count * 100.0)).collect());
    }

    /// The drawing as an SVG document.
    ///
    /// # Errors
    /// What the drawing library objects to.
    pub fn svg(&self) -> Result<String, String> {
        let mut out = String::new();
        self.draw(&mut out).map_err(|error| format!("{}: {error}", self.title))?;
        Ok(out)
    }

    /// The smallest and largest of some coordinates, a little apart.
    fn range(&self, of: impl Fn(&(f64, f64)) -> f64) -> std::ops::Range<f64> {
        let all = || self.lines.iter().flat_map(|line| &line.points).map(&of);
        let least = all().fold(0.0, f64::min);
        let most = all().fold(least, f64::max);
        least..most + (most - least).max(1e-9) * 0.04
    }

    fn draw(&self, out: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let area = SVGBackend::with_string(out, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", TEXT + 2))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(self.range(|point| point.0), self.range(|point| point.1))?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(self.axes.0)
            .y_desc(self.axes.1)
            .label_style(("sans-serif", TEXT))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            let sample =
                move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
            chart.draw_series(series)?.label(&line.name).legend(sample);
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", TEXT))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_and_named() {
        let mut figure = Figure::new("How it went", "time, s", "VMs out");
        figure.line("ours", vec![(0.0, 0.0), (10.0, 3.0)]);
        figure.distribution("theirs", vec![2.0, 1.0, f64::INFINITY]);
        assert_eq!(figure.lines[1].points, [(1.0, 50.0), (2.0, 100.0)]);
        let svg = figure.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["How it went", "time, s", "VMs out", "ours", "theirs"] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
    }

    #[test]
    fn an_empty_drawing_is_one() {
        assert!(Figure::new("Nothing", "x", "y").svg().unwrap().contains("Nothing"));
    }
}
