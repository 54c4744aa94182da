//! The chart: CPU time per unit of work relative to Envoy, a group of bars for each scenario. Plain
//! SVG that is readable on light and dark pages alike.

use std::fmt::Write;

use crate::report::{Report, Row};

const LEFT: f64 = 390.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
/// Pixels of Envoy's bar, which is 1.00 by definition.
const WHOLE: f64 = 330.0;
/// Bars that are longer are cut off; their figure says how long they are.
const LONGEST: f64 = 1.5;
const COLOURS: [(&str, &str); 3] = [
    ("Envoy", "#8a8a94"),
    ("HAProxy", "#5b8bd0"),
    ("Weir", "#1f9d6b"),
];
const OTHER: &str = "#c9a227";

pub(crate) fn draw(report: &Report) -> String {
    let rows: Vec<(&Row, f64)> = report
        .rows
        .iter()
        .filter_map(|row| Some((row, row.to_envoy()?)))
        .collect();
    let mut body = String::new();
    let mut top = 44.0;
    let mut last = "";
    for (row, ratio) in rows {
        if last != row.title {
            top += GAP;
            text(&mut body, LEFT - 90.0, top + 12.0, "end", row.title);
            last = row.title;
        }
        bar(&mut body, top, row, ratio);
        top += BAR + 2.0;
    }
    let (width, height) = (LEFT + WHOLE * LONGEST + 60.0, top + GAP);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"28\" font-size=\"15\" font-weight=\"bold\">CPU time per unit of work, Envoy = 1.00 \
         (shorter is better, red: goal)</text>\n{body}</svg>\n"
    )
}

fn bar(body: &mut String, top: f64, row: &Row, ratio: f64) {
    let colour = COLOURS.iter().find(|(name, _)| *name == row.proxy);
    let colour = colour.map_or(OTHER, |(_, colour)| *colour);
    let width = ratio.min(LONGEST) * WHOLE;
    text(body, LEFT - 8.0, top + 12.0, "end", &row.proxy);
    // Writing into a String cannot fail.
    let _ = writeln!(
        body,
        "<rect x=\"{LEFT}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
    );
    // Behind the mark of the goal, where that would be in the way.
    let mark = row.goal.map_or(0.0, |goal| goal * WHOLE);
    let end = if mark > width && mark < width + 40.0 {
        mark
    } else {
        width
    };
    text(
        body,
        LEFT + end + 6.0,
        top + 12.0,
        "start",
        &format!("{ratio:.2}"),
    );
    if let Some(goal) = row.goal {
        let x = LEFT + goal * WHOLE;
        let bottom = top + BAR;
        let _ = writeln!(
            body,
            "<line x1=\"{x:.1}\" y1=\"{top:.0}\" x2=\"{x:.1}\" y2=\"{bottom:.0}\" stroke=\"#b00020\" \
             stroke-width=\"2\"><title>goal {goal:.2}</title></line>"
        );
    }
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{content}</text>"
    );
}
