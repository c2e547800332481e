//! Figures as a picture: a bar for each row, or a dark one in a light one, in SVG that needs no style sheet and reads on
//! white and on black.

use std::fmt::Write as _;

use super::table::{Cost, Row, Table};

/// Pixels of the whole, of a row, and of the names on the left.
const WIDTH: f64 = 900.0;
const ROW: f64 = 26.0;
const NAMES: f64 = 430.0;
/// Room for the figures behind the longest bar.
const FIGURES: f64 = 110.0;
/// Above the rows: the title and what the colours mean.
const HEAD: f64 = 56.0;

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// The first line.
    pub title: String,
    /// The second: what the bars are.
    pub legend: String,
    /// A name and one figure or two: a light bar, and a dark one in it; or why there is none. One alone is dark.
    pub rows: Vec<(String, Result<Vec<f64>, String>)>,
}

/// Draws a table: wall time light, CPU time dark.
pub fn svg(table: &Table) -> String {
    let row = |row: &Row| {
        let figures = row.cost.clone().map(|Cost { wall, cpu }| vec![wall, cpu]);
        (format!("({}) {}", row.key, row.what), figures)
    };
    let legend = "µs each: the light bar is wall time, the dark one CPU time of all processes";
    let rows = table.rows.iter().map(row).collect();
    draw(&Bars { title: table.title.clone(), legend: legend.to_owned(), rows })
}

/// Draws it. Rows that were not measured say why.
pub fn draw(bars: &Bars) -> String {
    let figures = bars.rows.iter().filter_map(|(_, figures)| figures.as_ref().ok());
    let longest = figures.flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - FIGURES) / longest;
    let height = HEAD + ROW * bars.rows.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#777\">\n"
    );
    text(&mut svg, 10.0, 20.0, &bars.title);
    text(&mut svg, 10.0, 40.0, &bars.legend);
    for (index, (name, figures)) in bars.rows.iter().enumerate() {
        let top = HEAD + ROW * index as f64;
        let base = top + 15.0;
        text(&mut svg, 10.0, base, name);
        match figures {
            Err(why) => text(&mut svg, NAMES, base, why),
            Ok(figures) => {
                if let [light, _] = figures[..] {
                    bar(&mut svg, top, 20.0, light * scale, "#9ecae1");
                }
                if let Some(dark) = figures.last() {
                    bar(&mut svg, top + 6.0, 8.0, dark * scale, "#3182bd");
                }
                let behind = NAMES + figures.iter().copied().fold(0.0, f64::max) * scale + 6.0;
                let words: Vec<String> = figures.iter().map(|figure| digits(*figure)).collect();
                text(&mut svg, behind, base, &words.join(" / "));
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Short figures keep what is behind their point.
fn digits(figure: f64) -> String {
    if figure < 20.0 { format!("{figure:.1}") } else { format!("{figure:.0}") }
}

fn bar(svg: &mut String, top: f64, height: f64, width: f64, colour: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{NAMES:.0}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{height:.0}\" fill=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\">{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures_and_words_cannot_break_out() {
        let row = |key, wall, cpu| Row { key, what: "x".to_owned(), cost: Ok(Cost { wall, cpu }) };
        let mut rows = vec![row("a", 100.0, 50.0), row("b", 400.0, 200.0)];
        rows.push(Row { key: "c", what: "a < b & c".to_owned(), cost: Err("not built yet".to_owned()) });
        let svg = svg(&Table { title: "t".to_owned(), rows, bars: Vec::new() });
        let widths: Vec<&str> =
            svg.split(" width=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(widths, ["90.0", "45.0", "360.0", "180.0"], "{svg}");
        assert!(
            svg.contains("(c) a &lt; b &amp; c</text>") && svg.contains(">not built yet</text>"),
            "{svg}"
        );
        assert!(svg.contains(">400 / 200</text>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
