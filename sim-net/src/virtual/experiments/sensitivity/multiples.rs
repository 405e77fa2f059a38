//! The drawing: a row for each constant, a panel for each figure, a line for each kind of world.

use lifeboat_protocol::tuning::{Name, Times};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    super::figure::COLOURS,
    compared::{Changes, Compared},
    variants::FIGURES,
    worlds::KINDS,
};

/// Width of the names, of a panel and of the room between two, pixels.
const NAMES: i32 = 300;
const PANEL: i32 = 150;
const BETWEEN: i32 = 14;
/// Height of the head and of a row, pixels.
const HEAD: i32 = 74;
const ROW: i32 = 48;
/// Half the height of a panel, pixels.
const REACH: i32 = 19;
/// What a panel shows at most of each figure, either way, as a part. What is beyond lies on its edge.
const SHOWN: [f64; FIGURES.len()] = [0.05, 0.05, 0.05, 0.5];

/// Where a change stands in a panel, pixels above its middle.
fn height(figure: usize, change: f64) -> i32 {
    let part = (change / SHOWN[figure]).clamp(-1.0, 1.0);
    (part * f64::from(REACH)) as i32
}

/// Draws all constants but those that change nothing at all.
pub(super) fn drawing(compared: &Compared) -> Result<String, String> {
    let mut out = String::new();
    draw(compared, &mut out).map_err(|error| format!("the drawing: {error}"))?;
    Ok(out)
}

fn draw(compared: &Compared, out: &mut String) -> Result<(), Box<dyn std::error::Error + 'static>> {
    let differs =
        |name: &&Name| compared.turned.iter().any(|one| one.name == **name && one.differs);
    let names: Vec<Name> = Name::ALL.iter().filter(differs).copied().collect();
    let width = NAMES + (PANEL + BETWEEN) * FIGURES.len() as i32;
    let height = HEAD + ROW * names.len() as i32 + BETWEEN;
    let area = SVGBackend::with_string(out, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    let text = |text: String, size: u32, at: (i32, i32), side: HPos| {
        let style = ("sans-serif", size).into_font().color(&BLACK);
        let style = style.pos(Pos::new(side, VPos::Center));
        area.draw(&Text::new(text, at, style)).map_err(|error| error.to_string())
    };
    let line = |points: Vec<(i32, i32)>, style: ShapeStyle| {
        area.draw(&PathElement::new(points, style)).map_err(|error| error.to_string())
    };
    for (kind, name) in KINDS.into_iter().enumerate() {
        let x = 12 + 120 * kind as i32;
        line(vec![(x, 16), (x + 22, 16)], COLOURS[kind].stroke_width(2))?;
        text(name.to_owned(), 14, (x + 28, 16), HPos::Left)?;
    }
    let about = "half, as it is, double: mean change, upward is worse";
    text(about.into(), 12, (12, 46), HPos::Left)?;
    let left = |figure: usize| NAMES + (PANEL + BETWEEN) * figure as i32;
    for (figure, name) in FIGURES.into_iter().enumerate() {
        let middle = left(figure) + PANEL / 2;
        text(name.to_owned(), 13, (middle, 40), HPos::Center)?;
        let scale = format!("±{} %", SHOWN[figure] * 100.0);
        text(scale, 11, (middle, 56), HPos::Center)?;
    }
    for (row, name) in names.iter().enumerate() {
        let middle = HEAD + ROW * row as i32 + ROW / 2;
        let values = Times::ALL.map(|times| name.shown(times)).join(", ");
        text(name.path().to_owned(), 12, (12, middle - 8), HPos::Left)?;
        text(values, 11, (12, middle + 8), HPos::Left)?;
        let of = |times| compared.turned.iter().find(|one| (one.name, one.times) == (*name, times));
        let (Some(half), Some(double)) = (of(Times::Half), of(Times::Two)) else { continue };
        for figure in 0..FIGURES.len() {
            let x = [0, PANEL / 2, PANEL].map(|x| left(figure) + x);
            let frame = [(x[0], middle - REACH), (x[2], middle + REACH)];
            area.draw(&Rectangle::new(frame, BLACK.mix(0.2))).map_err(|error| error.to_string())?;
            line(vec![(x[0], middle), (x[2], middle)], BLACK.mix(0.3).stroke_width(1))?;
            for (kind, colour) in COLOURS.iter().enumerate().take(KINDS.len()) {
                let at = |changes: &Changes| middle - self::height(figure, changes[figure][kind]);
                let points =
                    vec![(x[0], at(&half.changes)), (x[1], middle), (x[2], at(&double.changes))];
                line(points, colour.stroke_width(2))?;
            }
        }
    }
    area.present().map_err(|error| error.to_string())?;
    drop(area);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_panel_lies_on_its_edge() {
        assert_eq!(height(2, 0.0), 0);
        assert_eq!(height(2, f64::INFINITY), REACH);
        assert_eq!(height(2, -1.0), -REACH);
        assert!(height(2, 0.02) > 0 && height(2, 0.02) < REACH);
    }
}
