//! Charts of a report, as SVG.

use std::{fs, path::Path};

use plotters::prelude::*;

use super::{BenchError, report::Report};

const WIDTH: u32 = 760;
const BAR_HEIGHT: i32 = 26;
const BAR_PITCH: i32 = 36;
const TOP: i32 = 56;
/// Where bars begin, right of their names.
const LEFT: i32 = 250;
/// Longest bar; its figure stands right of it.
const BAR_WIDTH: f64 = 400.0;
const LINES_HEIGHT: u32 = 380;

const OWN: RGBColor = RGBColor(31, 111, 180);
const OTHER: RGBColor = RGBColor(200, 110, 40);
const BARE: RGBColor = RGBColor(150, 150, 150);
const INK: RGBColor = RGBColor(50, 50, 50);

/// Horizontal bars of one column of a table.
struct Bars {
    file: &'static str,
    title: &'static str,
    /// Name, whose it is, table, row, column.
    bars: &'static [(
        &'static str,
        RGBColor,
        &'static str,
        &'static str,
        &'static str,
    )],
}

/// Two rows of points for growing numbers, both axes logarithmic.
struct Lines {
    file: &'static str,
    title: &'static str,
    table: &'static str,
    column: &'static str,
    x_title: &'static str,
    legend: SeriesLabelPosition,
    /// Row names without the design's, and where on the axis they are.
    points: &'static [(&'static str, f64)],
}

const BARS: [Bars; 3] = [
    Bars {
        file: "append.svg",
        title: "Appends a second, each acknowledged after Redis",
        bars: &[
            (
                "bare Redis: XADD, pipelined",
                BARE,
                "streamed_append",
                "pipelined_xadd",
                "per_s",
            ),
            (
                "WriteMessage, 16 streams",
                OWN,
                "streamed_append",
                "16x256",
                "per_s",
            ),
            (
                "WriteMessage, 256 streams",
                OWN,
                "streamed_append",
                "256x16",
                "per_s",
            ),
            (
                "no-op unary call, 64 callers",
                BARE,
                "unary_append",
                "noop_unary",
                "per_s",
            ),
            (
                "AppendText, 64 callers",
                OWN,
                "unary_append",
                "append_text",
                "per_s",
            ),
            (
                "naive design, 64 callers",
                OTHER,
                "unary_append",
                "naive_append_text",
                "per_s",
            ),
        ],
    },
    Bars {
        file: "delivery.svg",
        title: "Append sent to event received, p50 in ms, 1,000 events a second",
        bars: &[
            (
                "bare Redis: XADD to XREAD",
                BARE,
                "delivery",
                "xadd_to_xread_1000_per_s",
                "p50_ms",
            ),
            (
                "no-op unary call",
                BARE,
                "delivery",
                "noop_unary_1000_per_s",
                "p50_ms",
            ),
            (
                "Throughline",
                OWN,
                "delivery",
                "throughline_1000_per_s",
                "p50_ms",
            ),
            (
                "naive design",
                OTHER,
                "delivery",
                "naive_1000_per_s",
                "p50_ms",
            ),
        ],
    },
    Bars {
        file: "latency.svg",
        title: "One call at a time, p50 in ms",
        bars: &[
            (
                "bare Redis: XADD",
                BARE,
                "latency",
                "append",
                "redis_p50_ms",
            ),
            ("no-op unary call", BARE, "latency", "noop", "p50_ms"),
            ("create a message", OWN, "latency", "create", "p50_ms"),
            ("append", OWN, "latency", "append", "p50_ms"),
            ("update a task", OWN, "latency", "update_task", "p50_ms"),
            ("load a message of 10 KB", OWN, "latency", "load", "p50_ms"),
            (
                "append to another instance's watcher",
                OWN,
                "latency",
                "watch",
                "p50_ms",
            ),
        ],
    },
];

const LINES: [Lines; 2] = [
    Lines {
        file: "fanout.svg",
        title: "Deliveries a second of one message",
        table: "fanout",
        column: "per_s",
        x_title: "watchers",
        legend: SeriesLabelPosition::LowerRight,
        points: &[
            ("1", 1.0),
            ("10", 10.0),
            ("100", 100.0),
            ("1000", 1_000.0),
            ("2000", 2_000.0),
        ],
    },
    Lines {
        file: "growth.svg",
        title: "Appends a second to a message that has grown",
        table: "growth",
        column: "per_s",
        x_title: "text that it holds",
        legend: SeriesLabelPosition::LowerLeft,
        points: &[
            ("empty", 1_000.0),
            ("10_kb", 10_000.0),
            ("100_kb", 100_000.0),
            ("1_mb", 1_000_000.0),
        ],
    },
];

/// Draws every chart whose figures were measured.
pub(super) fn draw(report: &Report, directory: &Path) -> Result<(), BenchError> {
    fs::create_dir_all(directory)?;
    for chart in &BARS {
        chart.draw(report, directory)?;
    }
    for chart in &LINES {
        chart.draw(report, directory)?;
    }
    Ok(())
}

impl Bars {
    fn draw(&self, report: &Report, directory: &Path) -> Result<(), BenchError> {
        let figures = self
            .bars
            .iter()
            .map(|(_, _, table, row, column)| report.figure(table, row, column));
        let Some(figures) = figures.collect::<Option<Vec<f64>>>() else {
            return Ok(());
        };
        let path = directory.join(self.file);
        let height = TOP + BAR_PITCH * self.bars.len() as i32 + 8;
        let area = SVGBackend::new(&path, (WIDTH, height as u32)).into_drawing_area();
        self.draw_on(&area, &figures).map_err(drawing_failed)
    }

    fn draw_on(&self, area: &Area<'_>, figures: &[f64]) -> Drawn {
        begin(area, self.title)?;
        let largest = figures.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (number, ((name, color, ..), figure)) in self.bars.iter().zip(figures).enumerate() {
            let top = TOP + BAR_PITCH * number as i32;
            let right = LEFT + (BAR_WIDTH * figure / largest) as i32;
            let bar = Rectangle::new([(LEFT, top), (right, top + BAR_HEIGHT)], color.filled());
            area.draw(&bar)?;
            let middle = top + 6;
            area.draw(&Text::new(*name, (16, middle), label()))?;
            area.draw(&Text::new(readable(*figure), (right + 8, middle), label()))?;
        }
        area.present()
    }
}

impl Lines {
    fn draw(&self, report: &Report, directory: &Path) -> Result<(), BenchError> {
        let series = |design: &str| -> Option<Vec<(f64, f64)>> {
            let point = |(row, x): &(&str, f64)| {
                let row = format!("{design}_{row}");
                Some((*x, report.figure(self.table, &row, self.column)?))
            };
            self.points.iter().map(point).collect()
        };
        let (Some(own), Some(naive)) = (series("throughline"), series("naive")) else {
            return Ok(());
        };
        let path = directory.join(self.file);
        let area = SVGBackend::new(&path, (WIDTH, LINES_HEIGHT)).into_drawing_area();
        self.draw_on(&area, own, naive).map_err(drawing_failed)
    }

    fn draw_on(&self, area: &Area<'_>, own: Vec<(f64, f64)>, naive: Vec<(f64, f64)>) -> Drawn {
        begin(area, self.title)?;
        let (_, plot) = area.split_vertically(TOP);
        let all = || own.iter().chain(&naive);
        let xs = all().map(|(x, _)| *x);
        let ys = all().map(|(_, y)| *y);
        let x_range = xs.clone().fold(f64::MAX, f64::min)..xs.fold(0.0, f64::max) * 1.3;
        let y_range = ys.clone().fold(f64::MAX, f64::min) / 2.0..ys.fold(0.0, f64::max) * 2.0;
        let mut chart = ChartBuilder::on(&plot)
            .margin(16)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(x_range.log_scale(), y_range.log_scale())?;
        chart
            .configure_mesh()
            .x_desc(self.x_title)
            .label_style(label())
            .x_label_formatter(&|x| self.name_at(*x))
            .y_label_formatter(&|y| readable(*y))
            .light_line_style(WHITE)
            .draw()?;
        for (name, color, points) in [("Throughline", OWN, own), ("naive design", OTHER, naive)] {
            let marks = points
                .iter()
                .map(|point| Circle::new(*point, 4, color.filled()));
            chart.draw_series(marks)?;
            let line = LineSeries::new(points, color.stroke_width(2));
            chart
                .draw_series(line)?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, color.filled()));
        }
        chart
            .configure_series_labels()
            .label_font(label())
            .position(self.legend.clone())
            .draw()?;
        area.present()
    }

    fn name_at(&self, x: f64) -> String {
        let named = self.points.iter().find(|(_, at)| *at == x);
        named.map_or_else(String::new, |(name, _)| name.replace('_', " "))
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawingError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;
type Drawn = Result<(), DrawingError>;

fn begin(area: &Area<'_>, title: &str) -> Drawn {
    area.fill(&WHITE)?;
    let style = ("sans-serif", 19).into_font().color(&INK);
    area.draw(&Text::new(title, (16, 16), style))
}

fn label() -> TextStyle<'static> {
    ("sans-serif", 14).into_font().color(&INK)
}

fn drawing_failed(error: DrawingError) -> BenchError {
    BenchError::Plot(error.to_string())
}

/// A figure as people write it: 1.2 M, 340 k, 12, 0.35.
fn readable(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1} M", value / 1e6).replace(".0 ", " "),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 1e3 => format!("{:.1} k", value / 1e3).replace(".0 ", " "),
        value if value >= 10.0 => format!("{value:.0}"),
        value => format!("{value:.2}").trim_end_matches(".00").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_do() {
        let written = [
            1_250_000.0,
            2e6,
            340_400.0,
            1_000.0,
            1_234.0,
            12.4,
            1.0,
            0.354,
        ]
        .map(readable);
        assert_eq!(
            written,
            ["1.2 M", "2 M", "340 k", "1 k", "1.2 k", "12", "1", "0.35"]
        );
    }
}
