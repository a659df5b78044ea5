//! The results as bars: an SVG that reads in light and dark, and whose text is text.

use std::fmt::Write;

use super::{cases::Case, results::Row};

const WIDTH: f64 = 780.0;
const LEFT: f64 = 12.0;
const PANEL_HEIGHT: f64 = 210.0;
const BARS_HEIGHT: f64 = 130.0;
const LEGEND_HEIGHT: f64 = 40.0;
/// Between two groups, in bars.
const GAP: f64 = 1.0;

/// Strong enough on white and on near-black.
const COLOURS: &[(&str, &str)] = &[
    ("probe", "#8b949e"),
    ("SDK alone", "#8b949e"),
    ("Millrace", "#2f81f7"),
    ("@tus/server", "#d29922"),
    ("tus-server", "#db6d28"),
    ("rclone", "#a371f7"),
];

struct Panel<'a> {
    title: &'a str,
    store: &'a str,
    value: fn(&Row) -> f64,
}

pub(super) fn svg(rows: &[Row]) -> String {
    let panels = [
        Panel { title: "MB/s to an S3 that discards", store: "discarding S3", value: |row| row.mb_per_s.median() },
        Panel {
            title: "CPU-s per GB, the same (less is better)",
            store: "discarding S3",
            value: |row| row.cpu_s_per_gb.median(),
        },
        Panel { title: "MB/s to Garage", store: "Garage", value: |row| row.mb_per_s.median() },
    ];
    let height = LEGEND_HEIGHT + PANEL_HEIGHT * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\">\n\
         <title>Uploads into S3, beside peers</title>\n\
         <style>text{{fill:#1f2328}}line{{stroke:#8b949e}}\
         @media (prefers-color-scheme:dark){{text{{fill:#e6edf3}}}}</style>\n"
    );
    legend(&mut svg, rows);
    for (n, panel) in panels.iter().enumerate() {
        let found: Vec<&Row> = rows.iter().filter(|row| row.store == panel.store).collect();
        if !found.is_empty() {
            bars(&mut svg, panel, &found, LEGEND_HEIGHT + PANEL_HEIGHT * n as f64);
        }
    }
    svg + "</svg>\n"
}

fn colour(side: &str) -> &'static str {
    COLOURS.iter().find(|(name, _)| *name == side).map_or("#8b949e", |(_, colour)| colour)
}

fn legend(svg: &mut String, rows: &[Row]) {
    let known = COLOURS.iter().filter(|(name, _)| rows.iter().any(|row| row.side == *name));
    for (n, (name, colour)) in known.enumerate() {
        let x = LEFT + 125.0 * n as f64;
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"12\" width=\"12\" height=\"12\" fill=\"{colour}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"22\" font-size=\"12\">{name}</text>", x + 17.0);
    }
}

fn bars(svg: &mut String, panel: &Panel<'_>, rows: &[&Row], top: f64) {
    let mut cases: Vec<Case> = rows.iter().map(|row| row.case).collect();
    cases.dedup();
    let groups = cases.len() as f64;
    let width = (WIDTH - 2.0 * LEFT) / (rows.len() as f64 + GAP * groups);
    let most = rows.iter().map(|row| (panel.value)(row)).fold(0.0, f64::max);
    let ground = top + 40.0 + BARS_HEIGHT;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-size=\"14\">{}</text>", top + 16.0, panel.title);
    let mut x = LEFT;
    for case in cases {
        let begun = x;
        for row in rows.iter().filter(|row| row.case == case) {
            let value = (panel.value)(row);
            let (height, middle) = (BARS_HEIGHT * value / most, x + width / 2.0);
            let (y, fill) = (ground - height, colour(row.side));
            let wide = width - 2.0;
            let _ = write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\" fill=\"{fill}\">"
            );
            let _ = writeln!(svg, "<title>{}, {}: {value:.2}</title></rect>", row.side, case.name());
            let text = if value >= 20.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            let _ = write!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" font-size=\"9\"", y - 3.0);
            let _ = writeln!(svg, " text-anchor=\"middle\">{text}</text>");
            x += width;
        }
        let middle = (begun + x) / 2.0;
        let name = case.name();
        for (n, line) in name.split(", ").enumerate() {
            let y = ground + 13.0 + 11.0 * n as f64;
            let _ = write!(svg, "<text x=\"{middle:.1}\" y=\"{y:.1}\" font-size=\"10\"");
            let _ = writeln!(svg, " text-anchor=\"middle\">{line}</text>");
        }
        x += GAP * width;
    }
    let _ = writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{ground}\" x2=\"{}\" y2=\"{ground}\"/>", WIDTH - LEFT);
}
