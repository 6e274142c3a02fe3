//! What was measured: tables for people, one JSON object for machines.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    thread::available_parallelism,
};

use serde_json::{Map, Value, json};

use super::meter::{Run, median};

/// Everything that one run of the bench found.
#[derive(Debug, Default)]
pub(super) struct Report {
    ratios: Vec<Ratio>,
    tables: Vec<Table>,
}

/// One figure over another of the same run.
#[derive(Debug)]
pub(super) struct Ratio {
    /// Its name in the JSON.
    pub(super) key: &'static str,
    pub(super) value: f64,
    pub(super) bar: Bar,
}

/// What a ratio has to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Absolute figures, which say as much about the machine as about the service.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name in the JSON.
    pub(super) key: &'static str,
    pub(super) title: String,
    /// Names of the columns, each with its unit at the end.
    pub(super) columns: Vec<&'static str>,
    /// A name and a value for each column; NaN where it has none.
    pub(super) rows: Vec<(String, Vec<f64>)>,
}

impl Report {
    pub(super) fn ratio(&mut self, key: &'static str, value: f64, bar: Bar) {
        self.ratios.push(Ratio { key, value, bar });
    }

    pub(super) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// One figure, if it was measured.
    pub(super) fn figure(&self, table: &str, row: &str, column: &str) -> Option<f64> {
        let table = self
            .tables
            .iter()
            .find(|candidate| candidate.key == table)?;
        let column = table.columns.iter().position(|name| *name == column)?;
        let (_, values) = table.rows.iter().find(|(name, _)| name == row)?;
        values.get(column).copied()
    }

    /// One object: `ratios`, `bars`, `figures` and `machine`.
    pub(super) fn to_json(&self) -> Value {
        let object = |pairs: Vec<(&str, Value)>| -> Value {
            let named = pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            Value::Object(named.collect())
        };
        let ratios = self
            .ratios
            .iter()
            .map(|ratio| (ratio.key, json!(ratio.value)));
        let bars = self
            .ratios
            .iter()
            .map(|ratio| (ratio.key, ratio.bar.to_json()));
        let figures = self.tables.iter().map(|table| (table.key, table.to_json()));
        json!({
            "ratios": object(ratios.collect()),
            "bars": object(bars.collect()),
            "figures": object(figures.collect()),
            "machine": machine(),
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        if !self.ratios.is_empty() {
            writeln!(f, "ratios within this run")?;
        }
        for Ratio { key, value, bar } in &self.ratios {
            let verdict = if bar.is_met(*value) { "✓" } else { "✗" };
            let value = figure(*value);
            writeln!(f, "  {verdict} {key:<44} {value:>10}   {bar}")?;
        }
        Ok(())
    }
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
        }
    }

    fn to_json(self) -> Value {
        match self {
            Self::AtLeast(bar) => json!({ "at_least": bar }),
            Self::AtMost(bar) => json!({ "at_most": bar }),
        }
    }
}

impl Display for Bar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bar) => write!(f, "at least {bar}"),
            Self::AtMost(bar) => write!(f, "at most {bar}"),
        }
    }
}

impl Table {
    /// A table of what was done in a second and the processor time it took.
    pub(super) fn of_runs(key: &'static str, title: impl Into<String>) -> Self {
        Self {
            key,
            title: title.into(),
            columns: vec![
                "per_s",
                "service_cpu_s_per_10k",
                "redis_cpu_s_per_10k",
                "generator_cpu_s_per_10k",
            ],
            rows: Vec::new(),
        }
    }

    /// Adds a row with the medians of runs.
    pub(super) fn runs(&mut self, name: impl Into<String>, runs: &[Run]) {
        let figures = [
            Run::per_s,
            Run::service_cpu,
            Run::redis_cpu,
            Run::generator_cpu,
        ];
        let medians = figures.map(|figure| median(runs, figure));
        self.rows.push((name.into(), medians.into()));
    }

    fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, values)| {
            let cells = self.columns.iter().zip(values);
            let cells = cells
                .filter(|(_, value)| value.is_finite())
                .map(|(column, value)| ((*column).to_owned(), json!(value)));
            (name.clone(), Value::Object(cells.collect()))
        });
        Value::Object(rows.collect::<Map<_, _>>())
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let heads: Vec<String> = self.columns.iter().map(|name| spaced(name)).collect();
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0);
        writeln!(f, "{}", self.title)?;
        write!(f, "  {:width$}", "")?;
        for head in &heads {
            write!(f, "  {head:>10}")?;
        }
        writeln!(f)?;
        for (name, values) in &self.rows {
            write!(f, "  {:width$}", spaced(name))?;
            for (head, value) in heads.iter().zip(values) {
                write!(f, "  {:>1$}", figure(*value), head.len().max(10))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// A figure with as many digits as mean something.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    match value.is_finite() {
        true => format!("{value:.decimals$}"),
        false => "-".to_owned(),
    }
}

/// What the figures were measured on.
fn machine() -> Value {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    json!({
        "cpu": model.unwrap_or_default().trim_start_matches([' ', '\t', ':']),
        "cores": available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "throughline": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.ratio("new_vs_old", 1.25, Bar::AtLeast(1.0));
        report.table(Table {
            key: "latency",
            title: "latency".to_owned(),
            columns: vec!["p50_ms", "target_ms"],
            rows: vec![("append".to_owned(), vec![0.25, f64::NAN])],
        });
        report
    }

    #[test]
    fn the_json_has_each_figure_by_its_names() {
        let json = report().to_json();
        assert_eq!(json["ratios"]["new_vs_old"], 1.25);
        assert_eq!(json["bars"]["new_vs_old"]["at_least"], 1.0);
        assert_eq!(json["figures"]["latency"]["append"]["p50_ms"], 0.25);
        assert!(json["figures"]["latency"]["append"]["target_ms"].is_null());
        assert!(json["machine"]["cores"].is_u64());
    }

    #[test]
    fn people_see_which_bar_is_met() {
        let text = report().to_string();
        assert!(text.contains("p50 ms"), "{text}");
        assert!(text.contains("✓ new_vs_old"), "{text}");
        assert!(Bar::AtMost(1.0).is_met(1.0) && !Bar::AtMost(1.0).is_met(1.1));
    }
}
