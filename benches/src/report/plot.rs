//! A plot a group: a line a row, a dot a peer, on a logarithmic scale of how many times better divisi is.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{LIMIT, summary::Summary, title};

const WIDTH: u32 = 960;
const ROW: u32 = 22;
const MARGIN: u32 = 64;
/// Room for the rows' names.
const LABELS: i32 = 380;
/// The scale reaches at least from a quarter to four times.
const LEAST_REACH: f64 = 4.0;

/// What is beyond (against nothing, everything is) is drawn at the edge.
const FARTHEST: f64 = 20_000.0;

const COLOURS: [RGBColor; 8] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x88, 0x88, 0x88),
    RGBColor(0x66, 0x33, 0x99),
];

/// A row's name and, for each peer, its index among the contenders with low, median and high of the ratio.
struct Line {
    name: String,
    dots: Vec<(usize, [f64; 3])>,
}

/// Draws the group; `false` when it has nothing to compare.
pub(super) fn draw(group: &str, rows: &[&Summary], path: &Path) -> Result<bool, String> {
    let mut contenders: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for row in rows {
        let mut dots = Vec::new();
        for lane in &row.lanes {
            let name = lane.contender.as_str();
            let Some(ratio) = lane.ratio.filter(|_| !name.starts_with(LIMIT)) else {
                continue;
            };
            let index = contenders
                .iter()
                .position(|contender| *contender == name)
                .unwrap_or_else(|| {
                    contenders.push(name);
                    contenders.len() - 1
                });
            dots.push((index, [ratio.low, ratio.median, ratio.high]));
        }
        if !dots.is_empty() {
            lines.push(Line {
                name: title(row),
                dots,
            });
        }
    }
    if lines.is_empty() {
        return Ok(false);
    }
    let height = ROW * lines.len() as u32 + 2 * MARGIN;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    plot(&area, group, &contenders, &lines)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(true)
}

fn plot(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    group: &str,
    contenders: &[&str],
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let values: Vec<_> = lines
        .iter()
        .flat_map(|line| &line.dots)
        .flat_map(|(_, ratio)| ratio.map(|ratio| ratio.clamp(1.0 / FARTHEST, FARTHEST)))
        .collect();
    let highest = values.iter().copied().fold(LEAST_REACH, f64::max).log10();
    let lowest = values
        .iter()
        .copied()
        .fold(1.0 / LEAST_REACH, f64::min)
        .log10();
    let left = LABELS;
    let right = WIDTH as i32 - 24;
    let top = MARGIN as i32;
    let bottom = top + (ROW as usize * lines.len()) as i32;
    let x = |ratio: f64| {
        let part = (ratio.log10().clamp(lowest, highest) - lowest) / (highest - lowest);
        left + (part * f64::from(right - left)) as i32
    };
    let small = ("sans-serif", 12).into_font();
    let anchored = |at| small.clone().into_text_style(area).pos(at);
    let right_aligned = anchored(Pos::new(HPos::Right, VPos::Center));
    let centred = anchored(Pos::new(HPos::Center, VPos::Top));
    let left_aligned = anchored(Pos::new(HPos::Left, VPos::Center));

    area.fill(&WHITE)?;
    let heading = format!("{group}: how many times better divisi is");
    area.draw(&Text::new(heading, (12, 8), ("sans-serif", 16).into_font()))?;
    for decade in -6..=6 {
        for step in [1.0, 2.0, 5.0] {
            let ratio = step * 10_f64.powi(decade);
            if !(lowest..=highest).contains(&ratio.log10()) {
                continue;
            }
            let colour = if ratio == 1.0 {
                BLACK.mix(0.8)
            } else {
                BLACK.mix(0.12)
            };
            area.draw(&PathElement::new(
                vec![(x(ratio), top), (x(ratio), bottom)],
                colour,
            ))?;
            if step == 1.0 || highest - lowest < 4.0 {
                area.draw(&Text::new(
                    format!("{ratio}"),
                    (x(ratio), bottom + 4),
                    centred.clone(),
                ))?;
            }
        }
    }
    for (index, line) in lines.iter().enumerate() {
        let y = top + (ROW as usize * index) as i32 + ROW as i32 / 2;
        area.draw(&Text::new(
            line.name.clone(),
            (left - 8, y),
            right_aligned.clone(),
        ))?;
        for (contender, [low, median, high]) in &line.dots {
            let colour = COLOURS[contender % COLOURS.len()];
            area.draw(&PathElement::new(
                vec![(x(*low), y), (x(*high), y)],
                colour.stroke_width(2),
            ))?;
            area.draw(&Circle::new((x(*median), y), 4, colour.filled()))?;
        }
    }
    let mut at = left;
    for (index, contender) in contenders.iter().enumerate() {
        let y = top - 18;
        area.draw(&Circle::new(
            (at, y),
            4,
            COLOURS[index % COLOURS.len()].filled(),
        ))?;
        area.draw(&Text::new(
            (*contender).to_owned(),
            (at + 8, y),
            left_aligned.clone(),
        ))?;
        /// About the width of a letter.
        const LETTER: usize = 7;
        at += (28 + contender.len() * LETTER) as i32;
    }
    area.present()?;
    Ok(())
}
